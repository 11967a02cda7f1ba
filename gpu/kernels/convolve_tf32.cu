// The products of a convolution on tensor cores: a matrix of pixels (16 a tile) and input channels (8 a tile) times one of input and
// output channels (8 a tile), for each tap, added up. See tf32.cu for how operands lie in shared memory: inputs in planes by channel,
// weights in planes of output channels.
//
// A warp holds wm × wn tiles of the output, and the block's warps share them out. When all is added up it goes to shared memory, into
// the order of pixels that the epilogue has.

template <class S, int PY, int PX>
DEVICE void multiply(const S s, const ConvolveArguments &a, const Tile<S> &tile, int co0, float *weights, float *logits) {
    const int ny = PY ? s.n1 : s.n0, nx = PX ? s.n1 : s.n0, lo_y = PY ? s.lo1 : s.lo0, lo_x = PX ? s.lo1 : s.lo0;
    const int taps = ny * nx, cop = ceil_div(s.co, TN) * TN, images = a.batch.count;
    const int gx = ceil_div(s.tile_cols, TM), gy = ceil_div(s.tile_rows, s.ry), columns = gx * TM, rows = gy * s.ry;
    const int ir = s.si * (rows - 1) + (ny > 0 ? ny : 1), ic = s.si * (columns - 1) + (nx > 0 ? nx : 1);
    const int pixels = s.pg * s.ry * TM, tiles_m = ceil_div(pixels, 16), tiles_n = ceil_div(s.cg * TN, 8), bn = tiles_n * 8;
    const int row = row_length(ic, s.si), plane = odd_multiple(s.tile_images * ir * row, 8), stride = odd_multiple(bn, 8);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, warps_n = tiles_n / s.wn;
    const int m0 = warp / warps_n * s.wm, n0 = warp % warps_n * s.wn;
    float *const input = weights + s.tap_rows * s.taps * s.chunk * stride;
    const float *const packed = a.weights[PY * 2 + PX];

    int at[S::WM][2];
    float acc[S::WM][S::WN][4];
    for (int i = 0; i < s.wm; i++)
        for (int h = 0; h < 2; h++) {
            // Rows of the last tile that stand for no pixel read some pixel, and are dropped in the end.
            const int pixel = (m0 + i) * 16 + g + 8 * h, p = pixel < pixels ? pixel : 0;
            at[i][h] = (p / (columns * rows) * ir + p / columns % rows * s.si) * row + p % columns;
        }
    for (int i = 0; i < s.wm; i++)
        for (int j = 0; j < s.wn; j++)
            for (int k = 0; k < 4; k++) acc[i][j][k] = 0.0f;

    for (int c0 = 0; c0 < s.ci && taps > 0; c0 += s.chunk)
#pragma unroll 1
        for (int ty0 = 0; ty0 < ny; ty0 += s.tap_rows) {
            const int here = smaller(s.tap_rows, ny - ty0);
            __syncthreads();
            for (int i = threadIdx.x; i < here * nx * s.chunk * bn; i += blockDim.x) {
                const int n = i % bn, c = i / bn % s.chunk, tap = i / (bn * s.chunk);
                const bool inside = co0 + n < cop && c0 + c < s.ci;
                weights[i / bn * stride + n] = inside ? to_tf32(packed[((c0 + c) * taps + ty0 * nx + tap) * cop + co0 + n]) : 0.0f;
            }
            for (int i = threadIdx.x; ty0 == 0 && i < s.chunk * s.tile_images * ir * ic; i += blockDim.x) {
                const int column = i % ic, line = i / ic % (ir * s.tile_images), k = i / (ic * ir * s.tile_images), c = c0 + k;
                const int x = s.si * tile.x0 + lo_x + column, y = s.si * tile.y0 + lo_y + line % ir, image = tile.n0 + line / ir;
                float value = 0.0f;
                if (c < s.ci && image < images && y >= 0 && y < s.hi && x >= 0 && x < s.wi) {
                    value = c < s.split ? fetch(s.mode0, a.input[0], a.batch, image, c, s.split, y, x, s.hi, s.wi)
                                        : fetch(s.mode1, a.input[1], a.batch, image, c - s.split, s.ci - s.split, y, x, s.hi, s.wi);
                }
                input[k * plane + line * row + place_in_row(column, ic, s.si)] = to_tf32(value);
            }
            __syncthreads();
            if (m0 >= tiles_m) continue;  // a warp without tiles
#pragma unroll 1
            for (int ty = 0; ty < here; ty++)
#pragma unroll 1
                for (int c = 0; c < s.chunk; c += 8)
#pragma unroll
                    for (int tx = 0; tx < nx; tx++) {
                        const float *const from = input + (c + t) * plane + (ty0 + ty) * row + place_in_row(tx, ic, s.si);
                        const float *const of_tap = weights + ((ty * nx + tx) * s.chunk + c + t) * stride + n0 * 8 + g;
                        float own[S::WM][4];
#pragma unroll
                        for (int i = 0; i < s.wm; i++)
#pragma unroll
                            for (int k = 0; k < 4; k++) own[i][k] = from[k / 2 * 4 * plane + at[i][k % 2]];
#pragma unroll
                        for (int j = 0; j < s.wn; j++) {
                            const float w[2] = {of_tap[j * 8], of_tap[4 * stride + j * 8]};
#pragma unroll
                            for (int i = 0; i < s.wm; i++) multiply_add(acc[i][j], own[i], w);
                        }
                    }
        }

    __syncthreads();
#pragma unroll
    for (int i = 0; i < s.wm; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int p = (m0 + i) * 16 + g + 8 * h, x = p % columns, y = p / columns % rows, n = p / (columns * rows);
            if (p >= pixels) continue;
            // Groups of pixels as the epilogue's threads have them.
            const int place = (((n * gy + y / s.ry) * gx + x / TM) * s.ry + y % s.ry) * TM + x % TM;
#pragma unroll
            for (int j = 0; j < s.wn; j++) {
                const int c = (n0 + j) * 8 + 2 * t;
                if (s.epilogue != LAST) {
                    *(Two *)(weights + place * stride + c) = {acc[i][j][2 * h], acc[i][j][2 * h + 1]};
                    continue;
                }
#pragma unroll
                for (int k = 0; k < 2; k++)
                    if (c + k < s.cg * TN && co0 + c + k < s.co)
                        logits[place * (s.co | 1) + co0 + c + k] = acc[i][j][2 * h + k] + a.bias[co0 + c + k];
            }
        }
    __syncthreads();
}

// As `multiply`, and the results where the epilogue wants them.
template <class S, int PY, int PX>
DEVICE void multiply_into(const S s, const ConvolveArguments &a, const Tile<S> &tile, int co0, float *buffer, float acc[S::RY][TM][TN]) {
    const int cg = threadIdx.x % s.cg, pg = threadIdx.x / s.cg, stride = odd_multiple(ceil_div(s.cg * TN, 8) * 8, 8);
    multiply<S, PY, PX>(s, a, tile, co0, buffer, nullptr);
#pragma unroll
    for (int r = 0; r < s.ry; r++)
#pragma unroll
        for (int i = 0; i < TM; i++) {
            Four sums = {{0.0f, 0.0f, 0.0f, 0.0f}};
            if (pg < s.pg) sums = *(const Four *)(buffer + ((pg * s.ry + r) * TM + i) * stride + cg * TN);
#pragma unroll
            for (int j = 0; j < TN; j++) acc[r][i][j] = sums.v[j];
        }
    __syncthreads();
}
