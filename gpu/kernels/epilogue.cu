// What becomes of a tile of a convolution's output.

template <class S, int PY, int PX>
DEVICE void epilogue(const S s, const ConvolveArguments &a, float acc[S::RY][TM][TN], const Tile<S> &tile, int co0, int block,
                     float *logits, float *buffer) {
    const int gx = ceil_div(s.tile_cols, TM), gy = ceil_div(s.tile_rows, s.ry), cg = threadIdx.x % s.cg, pg = threadIdx.x / s.cg;
    const int first = co0 + cg * TN, images = a.batch.count;
    // A block of whole warps may have threads without a group of pixels: for them there is no image.
    const int row = tile.y0 + pg / gx % gy * s.ry, column = tile.x0 + pg % gx * TM, n = pg < s.pg ? tile.n0 + pg / (gx * gy) : images;
    if (s.epilogue != BACKWARD) {
#pragma unroll
        for (int j = 0; j < TN; j++) {
            const float bias = first + j < s.co ? a.bias[first + j] : 0.0f;
#pragma unroll
            for (int r = 0; r < s.ry; r++)
#pragma unroll
                for (int i = 0; i < TM; i++) acc[r][i][j] += bias;
        }
    }
    if (s.epilogue == LAST) {
        const int stride = s.co | 1;
        for (int r = 0; r < s.ry; r++)
            for (int i = 0; i < TM; i++)
                for (int j = 0; j < TN; j++)
                    if (first + j < s.co) logits[((pg * s.ry + r) * TM + i) * stride + first + j] = acc[r][i][j];
        return;
    }
    const int shrink = s.epilogue == FORWARD_POOLED ? 2 : 1;
    const int height = s.ho / shrink, width = s.wo / shrink, rows = s.ry / shrink, columns = TM / shrink;
    const int top = row / shrink * s.so + PY, left = column / shrink * s.so + PX;
    if (s.epilogue == FORWARD_POOLED) {
        // Of equal values the first is taken, and NaN wins, as in PyTorch.
#pragma unroll
        for (int i = 0; i < TM / 2; i++)
#pragma unroll
            for (int j = 0; j < TN; j++) {
                float best = acc[0][2 * i][j];
                u8 at = 0;
#pragma unroll
                for (int k = 1; k < 4; k++) {
                    const float v = acc[k / 2][2 * i + k % 2][j];
                    if (v > best || v != v) {
                        best = v;
                        at = k;
                    }
                }
                acc[0][i][j] = best;
                const int x = left + i, c = first + j;
                if (a.training && n < images && top < height && x < width && c < s.co)
                    a.argmax[((n * s.co + c) * height + top) * width + x] = at;
            }
    }
    float values[TN] = {0.0f, 0.0f, 0.0f, 0.0f}, values2[TN] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int j = 0; j < TN; j++) {
        const int c = first + j;
        const bool complete = s.epilogue != BACKWARD || c < s.out_split;
        const int channels = s.epilogue != BACKWARD ? s.co : complete ? s.out_split : s.co - s.out_split;
        float *const output = complete ? a.output : a.output2;
        const float *const k = a.coefficients + c * COEFFICIENTS;
#pragma unroll
        for (int r = 0; r < rows; r++)
#pragma unroll
            for (int i = 0; i < columns; i++) {
                const int y = top + r * s.so, x = left + i * s.so;
                if (n >= images || y >= height || x >= width || c >= s.co) {
                    acc[r][i][j] = 0.0f;
                    continue;
                }
                const int at = ((n * channels + (complete ? c : c - s.out_split)) * height + y) * width + x;
                if (s.accumulate) acc[r][i][j] += output[at];
                output[at] = acc[r][i][j];
                if (s.epilogue == BACKWARD && complete) {
                    const float centred = a.z[at] - k[MEAN], g = passed(acc[r][i][j], centred, k);
                    values[j] += g;
                    values2[j] += g * centred;
                } else if (s.epilogue != BACKWARD) {
                    values[j] += acc[r][i][j];
                }
            }
    }
    if (s.epilogue != BACKWARD && !a.training) return;
    float sums[TN], sums2[TN];
    channel_sums(s, values, buffer, sums);
    if (s.epilogue != BACKWARD) {
        // The squares about the tile's own mean, so that nothing cancels.
        const float count = (float)(tile.count(s, images) / (shrink * shrink));
#pragma unroll
        for (int j = 0; j < TN; j++) {
            const float mean = sums[j] / count;
#pragma unroll
            for (int r = 0; r < rows; r++)
#pragma unroll
                for (int i = 0; i < columns; i++) {
                    const bool inside = n < images && top + r * s.so < height && left + i * s.so < width;
                    const float off = inside ? acc[r][i][j] - mean : 0.0f;
                    values2[j] += off * off;
                }
        }
    }
    channel_sums(s, values2, buffer, sums2);
    if (pg != 0) return;
    for (int j = 0; j < TN; j++) {
        if (first + j >= s.co) continue;
        a.partials[(block * s.co + first + j) * 2] = sums[j];
        a.partials[(block * s.co + first + j) * 2 + 1] = sums2[j];
    }
}
