// The gradient of a convolution's weights, as correlations of the smaller map A with the larger one B:
//
//     E[a][b][ty][tx] = Σ_{n, y, x} A[n][a][y][x] · B[n][b][stride·y + lo + ty][stride·x + lo + tx]
//
// A is the output's gradient where the convolution is plain or strided, and its input where it is transposed or upsampled. The batch
// is cut into splits; each writes sums of its own, which finish.cu adds up in order.

struct CorrelateArguments {
    Operand a[2], b[2];
    Batch batch;
    float *partials;  // [split][ca][cb][t][t]
    u32 images_per_split;
};

// Brings channels of a map to shared memory; `stride` says how far apart the columns are that will be read together (tf32.cu).
template <bool TF32, class S>
DEVICE void load(const S, const Operand operands[2], const Batch &batch, int mode0, int mode1, int split, int channels, int from, int n,
                 int top, int left, int height, int width, int count, int rows, int columns, int row_stride, int channel_stride, int stride,
                 float *to) {
    for (int i = threadIdx.x; i < count * rows * columns; i += blockDim.x) {
        const int x = i % columns, y = i / columns % rows, k = i / (columns * rows), c = from + k;
        float value = 0.0f;
        if (c < channels && top + y >= 0 && top + y < height && left + x >= 0 && left + x < width) {
            value = c < split ? fetch(mode0, operands[0], batch, n, c, split, top + y, left + x, height, width)
                              : fetch(mode1, operands[1], batch, n, c - split, channels - split, top + y, left + x, height, width);
        }
        to[k * channel_stride + y * row_stride + place_in_row(x, columns, stride)] = TF32 ? to_tf32(value) : value;
    }
}

// A block holds ba × bb pairs of channels; a thread TA × TB of them for one ty and all tx. The channels of a thread lie apart, so that
// neighbouring threads read neighbouring ones from shared memory without conflicts.
template <class S>
DEVICE void correlate(const S s, const CorrelateArguments &args, float *shared) {
    const int na = s.ba / s.ta, nb = s.bb / s.tb;
    const int ia = threadIdx.x % na, ib = threadIdx.x / na % nb, ty = threadIdx.x / (na * nb);
    const int a0 = blockIdx.y * s.ba, b0 = blockIdx.z * s.bb;
    const int rows_b = s.stride * (s.rows - 1) + s.t, columns_b = s.stride * (s.columns - 1) + s.t;
    const int plane_a = ceil_div(s.rows * s.columns, 32) * 32 + 4, plane_b = rows_b * columns_b | 1;
    float *const map_a = shared, *const map_b = shared + s.ba * plane_a;
    float acc[S::TA][S::TB][S::T];
    for (int i = 0; i < s.ta; i++)
        for (int j = 0; j < s.tb; j++)
            for (int tx = 0; tx < s.t; tx++) acc[i][j][tx] = 0.0f;
    const int begin = blockIdx.x * args.images_per_split, end = smaller(begin + args.images_per_split, args.batch.count);
    for (int n = begin; n < end; n++) {
        for (int y0 = 0; y0 < s.ha; y0 += s.rows)
            for (int x0 = 0; x0 < s.wa; x0 += s.columns) {
                __syncthreads();
                load<false>(s, args.a, args.batch, s.mode_a0, s.mode_a1, s.split_a, s.ca, a0, n, y0, x0, s.ha, s.wa, s.ba, s.rows,
                            s.columns, s.columns, plane_a, 1, map_a);
                load<false>(s, args.b, args.batch, s.mode_b0, s.mode_b1, s.split_b, s.cb, b0, n, s.stride * y0 + s.lo,
                            s.stride * x0 + s.lo, s.hb, s.wb, s.bb, rows_b, columns_b, columns_b, plane_b, 1, map_b);
                __syncthreads();
#pragma unroll 1
                for (int r = 0; r < s.rows; r++)
#pragma unroll 1
                    for (int x = 0; x < s.columns; x += TM) {
                        Four own[S::TA];
#pragma unroll
                        for (int i = 0; i < s.ta; i++) own[i] = *(const Four *)(map_a + (ia + i * na) * plane_a + r * s.columns + x);
#pragma unroll
                        for (int j = 0; j < s.tb; j++) {
                            const float *const row = map_b + (ib + j * nb) * plane_b + (s.stride * r + ty) * columns_b + s.stride * x;
                            float v[S::WINDOW];
#pragma unroll
                            for (int k = 0; k < s.stride * (TM - 1) + s.t; k++) v[k] = row[k];
#pragma unroll
                            for (int tx = 0; tx < s.t; tx++)
#pragma unroll
                                for (int i = 0; i < s.ta; i++)
#pragma unroll
                                    for (int k = 0; k < TM; k++) acc[i][j][tx] += own[i].v[k] * v[s.stride * k + tx];
                        }
                    }
            }
    }
    float *const to = args.partials + (u64)blockIdx.x * s.ca * s.cb * s.t * s.t;
    for (int i = 0; i < s.ta; i++)
        for (int j = 0; j < s.tb; j++) {
            const int a = a0 + ia + i * na, b = b0 + ib + j * nb;
            if (a >= s.ca || b >= s.cb) continue;
            for (int tx = 0; tx < s.t; tx++) to[((a * s.cb + b) * s.t + ty) * s.t + tx] = acc[i][j][tx];
        }
}
