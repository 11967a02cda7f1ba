// A correlation on tensor cores: for each tap a matrix of A's channels (16 a tile) and pixels (8 a step) times one of pixels and B's
// channels (8 a tile), added up over pixels and images. See tf32.cu for how operands lie in shared memory: in planes by channel.
//
// A warp has one ty, all tx, and wm × wn tiles of channels.
template <class S>
DEVICE void correlate_tf32(const S s, const CorrelateArguments &args, float *shared) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int warps_a = s.ba / (16 * s.wm), warps_b = s.bb / (8 * s.wn);
    const int from_a = warp % warps_a * s.wm * 16, from_b = warp / warps_a % warps_b * s.wn * 8, ty = warp / (warps_a * warps_b);
    const int a0 = blockIdx.y * s.ba, b0 = blockIdx.z * s.bb;
    const int rows_b = s.stride * (s.rows - 1) + s.t, columns_b = s.stride * (s.columns - 1) + s.t, row_b = row_length(columns_b, s.stride);
    const int plane_a = odd_multiple(s.rows * s.columns, 4), plane_b = odd_multiple(rows_b * row_b, 4), quads = s.rows * s.columns / 4;
    float *const map_a = shared, *const map_b = shared + s.ba * plane_a;
    float acc[S::WM][S::WN][S::T][4];
    for (int i = 0; i < s.wm; i++)
        for (int j = 0; j < s.wn; j++)
            for (int tx = 0; tx < s.t; tx++)
                for (int k = 0; k < 4; k++) acc[i][j][tx][k] = 0.0f;
    const int begin = blockIdx.x * args.images_per_split, end = smaller(begin + args.images_per_split, args.batch.count);
    for (int n = begin; n < end; n++) {
        for (int y0 = 0; y0 < s.ha; y0 += s.rows)
            for (int x0 = 0; x0 < s.wa; x0 += s.columns) {
                __syncthreads();
                load<true>(s, args.a, args.batch, s.mode_a0, s.mode_a1, s.split_a, s.ca, a0, n, y0, x0, s.ha, s.wa, s.ba, s.rows,
                           s.columns, s.columns, plane_a, 1, map_a);
                load<true>(s, args.b, args.batch, s.mode_b0, s.mode_b1, s.split_b, s.cb, b0, n, s.stride * y0 + s.lo, s.stride * x0 + s.lo,
                           s.hb, s.wb, s.bb, rows_b, columns_b, row_b, plane_b, s.stride, map_b);
                __syncthreads();
                // Eight pixels are two fours, each within a row; where their number is odd, the last four has zeros beside it.
#pragma unroll 1
                for (int quad = 0; quad < quads; quad += 2) {
                    const bool both = quads % 2 == 0 || quad + 1 < quads;
                    int at_b[2];
#pragma unroll
                    for (int h = 0; h < 2; h++) {
                        const int pixel = (quad + h) * 4;
                        at_b[h] = (s.stride * (pixel / s.columns) + ty) * row_b + pixel % s.columns + t;
                    }
                    float own[S::WM][4];
#pragma unroll
                    for (int i = 0; i < s.wm; i++)
#pragma unroll
                        for (int k = 0; k < 4; k++) {
                            const float *const from = map_a + (from_a + i * 16 + k % 2 * 8 + g) * plane_a + quad * 4 + t;
                            own[i][k] = k < 2 ? from[0] : both ? from[4] : 0.0f;
                        }
#pragma unroll
                    for (int j = 0; j < s.wn; j++)
#pragma unroll
                        for (int tx = 0; tx < s.t; tx++) {
                            const float *const from = map_b + (from_b + j * 8 + g) * plane_b + place_in_row(tx, columns_b, s.stride);
                            const float v[2] = {from[at_b[0]], both ? from[at_b[1]] : 0.0f};
#pragma unroll
                            for (int i = 0; i < s.wm; i++) multiply_add(acc[i][j][tx], own[i], v);
                        }
                }
            }
    }
    float *const to = args.partials + (u64)blockIdx.x * s.ca * s.cb * s.t * s.t;
#pragma unroll
    for (int i = 0; i < s.wm; i++)
#pragma unroll
        for (int j = 0; j < s.wn; j++)
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const int a = a0 + from_a + i * 16 + k / 2 * 8 + g, b = b0 + from_b + j * 8 + 2 * t + k % 2;
                if (a >= s.ca || b >= s.cb) continue;
#pragma unroll
                for (int tx = 0; tx < s.t; tx++) to[((a * s.cb + b) * s.t + ty) * s.t + tx] = acc[i][j][tx][k];
            }
}
