// What all kernels share. This is CUDA C++ without any header, compiled by NVRTC for the card that is found, and by an ordinary C++
// compiler for the emulator of the tests (which defines the words of CUDA before it comes here).
//
// A kernel is a template over its shape. On the card a shape is a type whose members are constants, so that everything unrolls; the
// emulator has one whose members are read at run time, and compiles once. No kernel adds floats atomically: sums are taken within a
// block in a fixed order, written out by block, and added up by the block that is done last, again in a fixed order.

#ifndef EMULATED
#define SHARED extern __shared__ __align__(16) float shared[]
#endif
#define DEVICE static __device__ __forceinline__

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// Where the values of a map come from (Shape::mode).
enum { NONE, PLAIN, IMAGES, ACTIVATION, GRADIENT, POOLED_GRADIENT };

// The numbers of a channel of a stage. Forward: mean, weight over deviation, bias, one over deviation. Backward: the mean of the
// gradient that passes the rectifier, and the slope against the centred value.
enum { MEAN, SCALE, SHIFT, INVERSE, GRADIENT_MEAN, SLOPE, COEFFICIENTS = 8 };

// Consecutive pixels of a row, and channels, that a thread computes.
enum { TM = 4, TN = 4 };

struct alignas(16) Four { float v[4]; };
struct alignas(8) Two { float v[2]; };

// A map and what is made of it as it is read.
struct Operand {
    const float *values;        // z for ACTIVATION, the activation's gradient for GRADIENT
    const float *z;             // batch norm's input, for GRADIENT
    const float *coefficients;  // [channels][COEFFICIENTS]
    const u8 *argmax;           // which of its window each maximum was, for POOLED_GRADIENT
};

// Which images a pass sees: row `cursor` of a table.
struct Batch {
    u32 *cursor;
    const u32 *images;
    u32 stride;  // of the table's rows
    u32 count;   // images of this pass
};

DEVICE float activation(float z, const float *k) {
    const float a = (z - k[MEAN]) * k[SCALE] + k[SHIFT];
    return a < 0.0f ? 0.0f : a;  // NaN stays NaN
}

// The gradient that passes the rectifier.
DEVICE float passed(float g, float centred, const float *k) { return centred * k[SCALE] + k[SHIFT] > 0.0f ? g : 0.0f; }

// The gradient of batch norm's input from that of the activation.
DEVICE float through_norm(float g, float z, const float *k) {
    const float centred = z - k[MEAN];
    return k[SCALE] * ((passed(g, centred, k) - k[GRADIENT_MEAN]) - centred * k[SLOPE]);
}

// The value of a map of `channels` channels at a pixel inside it.
DEVICE float fetch(int mode, const Operand &o, const Batch &batch, int n, int c, int channels, int y, int x, int height, int width) {
    if (mode == POOLED_GRADIENT) {
        const int at = ((n * channels + c) * (height >> 1) + (y >> 1)) * (width >> 1) + (x >> 1);
        if (o.argmax[at] != (y & 1) * 2 + (x & 1)) return 0.0f;
        return through_norm(o.values[at], o.z[at], o.coefficients + c * COEFFICIENTS);
    }
    const int pixel = y * width + x, plane = height * width;
    if (mode == IMAGES) {
        const u64 image = batch.images[(u64)*batch.cursor * batch.stride + n];
        return o.values[(image * channels + c) * plane + pixel];
    }
    const int at = (n * channels + c) * plane + pixel;
    if (mode == ACTIVATION) return activation(o.values[at], o.coefficients + c * COEFFICIENTS);
    if (mode == GRADIENT) return through_norm(o.values[at], o.z[at], o.coefficients + c * COEFFICIENTS);
    return o.values[at];
}

DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }
DEVICE int smaller(int a, int b) { return a < b ? a : b; }

// Whether this block is the last of the grid to come here; what the others wrote before is visible to it then. All threads call it.
DEVICE bool last_block(u32 *counter, float *shared) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        const u32 blocks = gridDim.x * gridDim.y * gridDim.z;
        const bool last = atomicAdd(counter, 1u) == blocks - 1;
        if (last) *counter = 0;
        *(u32 *)shared = last;
    }
    __syncthreads();
    const bool last = *(u32 *)shared != 0;
    __syncthreads();
    if (last) __threadfence();
    return last;
}

// Sums of `count` columns over the threads of a block, each thread holding one value of column `column` (or none: column < 0): the
// threads of a column must be column, column + count, … Returns the sum to the first thread of each column. All threads call it.
DEVICE double column_sum(double value, int count, double *buffer) {
    buffer[threadIdx.x] = value;
    __syncthreads();
    double sum = 0.0;
    if ((int)threadIdx.x < count) {
        for (u32 i = threadIdx.x; i < blockDim.x; i += count) sum += buffer[i];
    }
    __syncthreads();
    return sum;
}
