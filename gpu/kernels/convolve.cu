// The body of a convolution: see convolution.cu.

// Sums of products over taps and input channels, in FP32: the thread's rows, pixels and channels.
template <class S, int PY, int PX>
DEVICE void accumulate(const S s, const ConvolveArguments &a, const Tile<S> &tile, int co0, float *weights, float acc[S::RY][TM][TN]) {
    const int ny = PY ? s.n1 : s.n0, nx = PX ? s.n1 : s.n0, lo_y = PY ? s.lo1 : s.lo0, lo_x = PX ? s.lo1 : s.lo0;
    const int taps = ny * nx, bn = s.cg * TN, cop = ceil_div(s.co, TN) * TN;
    const int gx = ceil_div(s.tile_cols, TM), gy = ceil_div(s.tile_rows, s.ry);
    const int images = a.batch.count;
    const int ir = s.si * (gy * s.ry - 1) + (ny > 0 ? ny : 1), ic = s.si * (gx * TM - 1) + (nx > 0 ? nx : 1);
    const int cg = threadIdx.x % s.cg, pg = threadIdx.x / s.cg;
    const int at_x = pg % gx * TM, at_y = pg / gx % gy * s.ry, at_n = pg / (gx * gy);
    float *const input = weights + s.chunk * s.taps * s.taps * bn;
    const float *const packed = a.weights[PY * 2 + PX];
    for (int r = 0; r < s.ry; r++)
        for (int i = 0; i < TM; i++)
            for (int j = 0; j < TN; j++) acc[r][i][j] = 0.0f;
    for (int c0 = 0; c0 < s.ci && taps > 0; c0 += s.chunk) {
        __syncthreads();
        for (int i = threadIdx.x; i < s.chunk * taps * bn; i += blockDim.x) {
            const int co = co0 + i % bn, rest = c0 * taps + i / bn;
            weights[i] = co < cop && rest < s.ci * taps ? packed[rest * cop + co] : 0.0f;
        }
        for (int i = threadIdx.x; i < s.chunk * s.tile_images * ir * ic; i += blockDim.x) {
            const int x = s.si * tile.x0 + lo_x + i % ic, y = s.si * tile.y0 + lo_y + i / ic % ir;
            const int image = tile.n0 + i / (ic * ir) % s.tile_images, c = c0 + i / (ic * ir * s.tile_images);
            float value = 0.0f;
            if (c < s.ci && image < images && y >= 0 && y < s.hi && x >= 0 && x < s.wi) {
                value = c < s.split ? fetch(s.mode0, a.input[0], a.batch, image, c, s.split, y, x, s.hi, s.wi)
                                    : fetch(s.mode1, a.input[1], a.batch, image, c - s.split, s.ci - s.split, y, x, s.hi, s.wi);
            }
            input[i] = value;
        }
        __syncthreads();
#pragma unroll 1
        for (int c = 0; c < s.chunk; c++) {
            const float *const plane = input + ((c * s.tile_images + at_n) * ir + at_y * s.si) * ic + at_x * s.si;
#pragma unroll
            for (int ty = 0; ty < ny; ty++) {
                Four w[S::TAPS];
#pragma unroll
                for (int tx = 0; tx < nx; tx++) w[tx] = *(const Four *)(weights + (c * taps + ty * nx + tx) * bn + cg * TN);
#pragma unroll
                for (int r = 0; r < s.ry; r++) {
                    float v[S::WINDOW];
#pragma unroll
                    for (int i = 0; i < s.si * (TM - 1) + nx; i++) v[i] = plane[(r * s.si + ty) * ic + i];
#pragma unroll
                    for (int tx = 0; tx < nx; tx++)
#pragma unroll
                        for (int i = 0; i < TM; i++)
#pragma unroll
                            for (int j = 0; j < TN; j++) acc[r][i][j] += v[i * s.si + tx] * w[tx].v[j];
                }
            }
        }
    }
    __syncthreads();
}

template <class S, int PY, int PX>
DEVICE void convolve_phase(const S s, const ConvolveArguments &a, float *shared) {
    const int bn = s.cg * TN, logits_stride = s.co | 1, pixels = s.pg * s.ry * TM;
    const Tile<S> tile(s, blockIdx.x);
    float *const own_logits = shared, *const behind = shared + ceil_div(pixels * logits_stride, 4) * 4;
    float *const weights = s.epilogue == LAST ? behind : shared;
    const int phase = s.so > 1 ? PY * 2 + PX : 0, block = phase * gridDim.x + blockIdx.x;

    for (int co0 = blockIdx.y * bn; co0 < s.co; co0 += gridDim.y * bn) {
        if (s.wm > 0 && s.epilogue == LAST) {
            multiply<S, PY, PX>(s, a, tile, co0, weights, own_logits);
            continue;
        }
        float acc[S::RY][TM][TN];
        if (s.wm > 0) multiply_into<S, PY, PX>(s, a, tile, co0, weights, acc);
        else accumulate<S, PY, PX>(s, a, tile, co0, weights, acc);
        epilogue<S, PY, PX>(s, a, acc, tile, co0, block, own_logits, weights);
    }
    if (s.epilogue == LAST) score<S, PY, PX>(s, a, tile, block, own_logits, (double *)behind);
}

// A convolution's work. Phases are blocks of their own.
template <class S>
DEVICE void convolve(const S s, const ConvolveArguments &a, float *shared) {
    if (s.so == 1 || blockIdx.z == 0) convolve_phase<S, 0, 0>(s, a, shared);
    else if (blockIdx.z == 1) convolve_phase<S, 0, 1>(s, a, shared);
    else if (blockIdx.z == 2) convolve_phase<S, 1, 0>(s, a, shared);
    else convolve_phase<S, 1, 1>(s, a, shared);
    const bool sums = a.training || s.epilogue == LAST || s.epilogue == BACKWARD;
    if (!sums || !last_block(a.counter, shared)) return;
    if (s.epilogue == BACKWARD) finish_gradient_sums(s, a, (double *)shared);
    else if (s.epilogue == LAST) finish_scores(s, a, (double *)shared);
    else finish_statistics(s, a, (double *)shared);
}
