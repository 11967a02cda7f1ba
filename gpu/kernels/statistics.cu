// Sums over the batch for batch norm: by block, and by the last block over all of them.

// Writes the sum over the block's threads of each channel of `values`, and returns it for the thread's own channels.
template <class S>
DEVICE void channel_sums(const S s, const float values[TN], float *buffer, float sums[TN]) {
    const int bn = s.cg * TN, cg = threadIdx.x % s.cg, pg = threadIdx.x / s.cg;
    for (int j = 0; j < TN && pg < s.pg; j++) buffer[pg * bn + cg * TN + j] = values[j];
    __syncthreads();
    for (int c = threadIdx.x; c < bn; c += blockDim.x) {
        float sum = 0.0f;
        for (int p = 0; p < s.pg; p++) sum += buffer[p * bn + c];
        buffer[s.pg * bn + c] = sum;
    }
    __syncthreads();
    for (int j = 0; j < TN; j++) sums[j] = buffer[s.pg * bn + cg * TN + j];
    __syncthreads();
}

// Mean and variance of every channel from the blocks' sums and squares, and what batch norm does with them.
template <class S>
DEVICE void finish_statistics(const S s, const ConvolveArguments &a, double *buffer) {
    const int blocks = gridDim.x * gridDim.z, images = a.batch.count, shrink = s.epilogue == FORWARD_POOLED ? 4 : 1;
    const double total = (double)images * s.ho * s.wo / shrink;
    const volatile float *partials = a.partials;
    for (int first = 0; first < s.co; first += blockDim.x) {
        const int columns = smaller(s.co - first, blockDim.x), lanes = blockDim.x / columns;
        const int c = first + threadIdx.x % columns, lane = threadIdx.x / columns;
        double sum = 0.0;
        if (lane < lanes) {
            for (int b = lane; b < blocks; b += lanes) sum += partials[(b * s.co + c) * 2];
        }
        const double mean_here = column_sum(sum, columns, buffer) / total;
        if ((int)threadIdx.x < columns) buffer[blockDim.x + threadIdx.x] = mean_here;
        __syncthreads();
        const double mean = buffer[blockDim.x + threadIdx.x % columns];
        double squares = 0.0;
        if (lane < lanes) {
            for (int b = lane; b < blocks; b += lanes) {
                const double count = Tile<S>(s, b % gridDim.x).count(s, images) / shrink;
                const double off = partials[(b * s.co + c) * 2] / count - mean;
                squares += partials[(b * s.co + c) * 2 + 1] + count * off * off;
            }
        }
        const double variance = column_sum(squares, columns, buffer) / total;
        if ((int)threadIdx.x < columns) {
            float *k = a.coefficients + c * COEFFICIENTS;
            const float inverse = (float)(1.0 / sqrt(variance + 1e-5));
            k[MEAN] = (float)mean;
            k[SCALE] = a.norm_weight[c] * inverse;
            k[SHIFT] = a.norm_bias[c];
            k[INVERSE] = inverse;
            const float count = (float)total * a.copies;
            a.running_mean[c] = 0.9f * a.running_mean[c] + 0.1f * (float)mean;
            a.running_var[c] = 0.9f * a.running_var[c] + 0.1f * ((float)variance * (count / (count - 1.0f)));
        }
        __syncthreads();
    }
}

// The gradients of batch norm's weight and bias from the blocks' sums, and what its input's gradient takes from them.
template <class S>
DEVICE void finish_gradient_sums(const S s, const ConvolveArguments &a, double *buffer) {
    const int blocks = gridDim.x * gridDim.z;
    const double total = (double)a.batch.count * s.ho * s.wo;
    const volatile float *partials = a.partials;
    for (int first = 0; first < s.out_split; first += blockDim.x) {
        const int columns = smaller(s.out_split - first, blockDim.x), lanes = blockDim.x / columns;
        const int c = first + threadIdx.x % columns, lane = threadIdx.x / columns;
        double shift = 0.0, scale = 0.0;
        if (lane < lanes) {
            for (int b = lane; b < blocks; b += lanes) {
                shift += partials[(b * s.co + c) * 2];
                scale += partials[(b * s.co + c) * 2 + 1];
            }
        }
        shift = column_sum(shift, columns, buffer);
        scale = column_sum(scale, columns, buffer);
        if ((int)threadIdx.x < columns) {
            float *k = a.coefficients + c * COEFFICIENTS;
            scale *= k[INVERSE];
            a.gradient_weight[c] = (float)scale;
            a.gradient_bias[c] = (float)shift;
            k[GRADIENT_MEAN] = (float)(shift / total);
            k[SLOPE] = (float)(scale * k[INVERSE] / total);
        }
    }
}

