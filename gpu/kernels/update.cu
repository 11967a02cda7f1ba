// Before a step: the weights in the form that convolutions read. After it: the sums of all weight gradients, and the optimizer.

// Weights of one direction and phase of a convolution. Some packed weights are sums of two or four: an upsampled map is read once
// where the network reads four equal values.
struct PackSegment {
    u32 from, to, length;             // in the parameters, in the packed weights
    int inputs, outputs, padded;      // channels; `padded` outputs to a multiple of 4
    int rows, columns;                // taps
    int input_stride, output_stride;  // in the parameters
    int kernel;
    u8 row_first[8], row_count[8], column_first[8], column_count[8];
    u32 unused;
};

struct PackArguments {
    const PackSegment *segments;
    const float *parameters;
    float *packed;
};

DEVICE void pack(const PackArguments &a) {
    const PackSegment &s = a.segments[blockIdx.y];
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= s.length) return;
    const int output = i % s.padded, column = i / s.padded % s.columns, row = i / (s.padded * s.columns) % s.rows;
    const int input = i / (s.padded * s.columns * s.rows);
    float sum = 0.0f;
    if (output < s.outputs) {
        const float *from = a.parameters + s.from + input * s.input_stride + output * s.output_stride;
        for (int y = 0; y < s.row_count[row]; y++)
            for (int x = 0; x < s.column_count[column]; x++)
                sum += from[(s.row_first[row] + y) * s.kernel + s.column_first[column] + x];
    }
    a.packed[s.to + i] = sum;
}

// Batch norm from the running statistics.
struct NormSegment {
    u32 channels, weight, bias, mean, variance, coefficients;
};

struct EvaluationArguments {
    const NormSegment *segments;
    const float *parameters, *running;
    float *coefficients;
};

DEVICE void evaluation_coefficients(const EvaluationArguments &a) {
    const NormSegment s = a.segments[blockIdx.x];
    for (u32 c = threadIdx.x; c < s.channels; c += blockDim.x) {
        float *k = a.coefficients + s.coefficients + c * COEFFICIENTS;
        const float inverse = (float)(1.0 / sqrt((double)a.running[s.variance + c] + 1e-5));
        k[MEAN] = a.running[s.mean + c];
        k[SCALE] = a.parameters[s.weight + c] * inverse;
        k[SHIFT] = a.parameters[s.bias + c];
        k[INVERSE] = inverse;
    }
}

enum { WEIGHT, ZERO, READY };
enum { NO_OPTIMIZER, DESCENT, MOMENTUM, RMSPROP, ADAM };

// Parameters of one kind that lie together.
struct FinishSegment {
    u32 start, length, kind;
    u32 partials, splits, entries;  // of its correlation
    int inner;                      // channels of the weight's second dimension
    int swapped;                    // the correlation's first channel is the weight's second
    int cb, t, kernel, count;       // `count` taps are added up by axis
    u8 first[8];                    // the first of them, by row or column of the kernel
};

// What a step's update depends on, from the host, computed in f64 there.
struct Rates {
    float rate, keep, step_size, root_correction;
};

struct FinishArguments {
    const FinishSegment *segments;
    const float *partials;
    float *gradient, *parameters, *slot0, *slot1;
    const Rates *rates;  // by the cursor
    u32 *cursor, *counter;
    u32 optimizer;
    float beta, rest, beta2, rest2, epsilon;
};

DEVICE float weight_gradient(const FinishSegment &s, const float *partials, u32 i) {
    const int kx = i % s.kernel, ky = i / s.kernel % s.kernel, pair = i / (s.kernel * s.kernel);
    const int outer = pair / s.inner, inner = pair % s.inner;
    const int a = s.swapped ? inner : outer, b = s.swapped ? outer : inner;
    const float *from = partials + s.partials + ((a * s.cb + b) * s.t + s.first[ky]) * s.t + s.first[kx];
    float sum = 0.0f;
    if (s.count == 1) {
#pragma unroll 8
        for (u32 k = 0; k < s.splits; k++) sum += from[k * s.entries];
    } else {
#pragma unroll 4
        for (u32 k = 0; k < s.splits; k++) {
            const float *at = from + k * s.entries;
            sum += (at[0] + at[1]) + (at[s.t] + at[s.t + 1]);
        }
    }
    return sum;
}

DEVICE void finish(const FinishArguments &a, float *shared) {
    const FinishSegment &s = a.segments[blockIdx.y];
    const u32 local = blockIdx.x * blockDim.x + threadIdx.x, i = s.start + local;
    if (local < s.length) {
        const float g = s.kind == WEIGHT ? weight_gradient(s, a.partials, local) : s.kind == ZERO ? 0.0f : a.gradient[i];
        if (s.kind != READY) a.gradient[i] = g;
        if (a.optimizer != NO_OPTIMIZER) {
            const Rates r = a.rates[*a.cursor];
            const float w = a.parameters[i];
            float moved = r.rate * g;
            if (a.optimizer == MOMENTUM) {
                const float v = a.beta * a.slot0[i] + g;
                a.slot0[i] = v;
                moved = r.rate * v;
            } else if (a.optimizer == RMSPROP) {
                const float v = a.beta * a.slot0[i] + a.rest * g * g;
                a.slot0[i] = v;
                moved = r.rate * g / sqrtf(v + a.epsilon);
            } else if (a.optimizer == ADAM) {
                const float m = a.slot0[i] + a.rest * (g - a.slot0[i]);
                const float v = a.beta2 * a.slot1[i] + a.rest2 * g * g;
                a.slot0[i] = m;
                a.slot1[i] = v;
                moved = r.step_size * m / (sqrtf(v) / r.root_correction + a.epsilon);
            }
            a.parameters[i] = r.keep * w - moved;
        }
    }
    if (last_block(a.counter, shared) && threadIdx.x == 0) *a.cursor += 1;
}
