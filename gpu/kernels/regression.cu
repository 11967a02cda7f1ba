// Full-batch least squares in f64: r = Xw − t with its square, then the gradient (2/n)·Xᵀr.
//
// X lies by rows. A block takes rows (residual) or columns (slope) and adds in an order that depends on the shape alone.

struct RegressionArguments {
    const double *x, *targets, *weights;  // [rows][columns], [rows], [columns]
    double *residual;                     // [rows]
    double *squares;                      // [blocks of `residual`]
    double *partials;                     // [blocks over rows][columns]
    double *gradient;                     // [columns]
    double *loss;                         // mean of the squares
    u32 *counter;
    u32 rows, columns, rows_per_block;
    double factor;                        // 2/n
};

// One row after another by the whole block: neighbouring threads read neighbouring numbers.
DEVICE void residual(const RegressionArguments &a, float *shared) {
    double *const buffer = (double *)shared;
    const u32 begin = blockIdx.x * a.rows_per_block;
    double squares = 0.0;
    for (u32 row = begin; row < begin + a.rows_per_block && row < a.rows; row++) {
        double sum = 0.0;
        for (u32 c = threadIdx.x; c < a.columns; c += blockDim.x) sum += a.x[(u64)row * a.columns + c] * a.weights[c];
        sum = block_sum(sum, buffer);
        if (threadIdx.x == 0) {
            const double r = sum - a.targets[row];
            a.residual[row] = r;
            squares += r * r;
        }
    }
    if (threadIdx.x == 0) a.squares[blockIdx.x] = squares;
    if (!last_block(a.counter, shared)) return;
    const volatile double *all = a.squares;
    double sum = 0.0;
    for (u32 b = threadIdx.x; b < gridDim.x; b += blockDim.x) sum += all[b];
    sum = block_sum(sum, buffer);
    if (threadIdx.x == 0) *a.loss = sum / a.rows;
}

// Column sums of a block of rows, then over the blocks of rows by the last of them.
DEVICE void slope(const RegressionArguments &a, float *shared) {
    const u32 c = blockIdx.x * blockDim.x + threadIdx.x, begin = blockIdx.y * a.rows_per_block;
    if (c < a.columns) {
        double sum = 0.0;
        for (u32 row = begin; row < begin + a.rows_per_block && row < a.rows; row++) sum += a.x[(u64)row * a.columns + c] * a.residual[row];
        a.partials[(u64)blockIdx.y * a.columns + c] = sum;
    }
    if (!last_block(a.counter, shared)) return;
    const volatile double *all = a.partials;
    for (u32 k = threadIdx.x; k < a.columns; k += blockDim.x) {
        double sum = 0.0;
        for (u32 b = 0; b < gridDim.y; b++) sum += all[(u64)b * a.columns + k];
        a.gradient[k] = a.factor * sum;
    }
}
