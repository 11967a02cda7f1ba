// Runs the kernels on the CPU, so that they can be proven right without a card.
//
// The threads of a block are fibers that switch at barriers, and where the lanes of a warp work together; blocks run one after another.
// All in an order that the caller chooses: results that depend on it come from a race. Shared memory is filled with NaN before each
// block and has a guard behind it.

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {

struct Index {
    unsigned x, y, z;
};

thread_local Index threadIdx, blockIdx, blockDim, gridDim;
thread_local unsigned char *shared_memory;

void barrier();
float to_tf32(float x);
void multiply_add(float c[4], const float a[4], const float b[2]);

unsigned atomicAdd(unsigned *at, unsigned value) {
    const unsigned before = *at;
    *at += value;
    return before;
}

}  // namespace

#define EMULATED
#define __device__
#define __forceinline__ inline
#define SHARED float *const shared = reinterpret_cast<float *>(shared_memory)
#define __syncthreads() barrier()
#define __threadfence() static_cast<void>(0)

namespace {

#include "../../kernels/prelude.cu"
#include "../../kernels/tf32.cu"
#include "../../kernels/convolution.cu"
#include "../../kernels/statistics.cu"
#include "../../kernels/epilogue.cu"
#include "../../kernels/score.cu"
#include "../../kernels/convolve_tf32.cu"
#include "../../kernels/convolve.cu"
#include "../../kernels/correlate.cu"
#include "../../kernels/correlate_tf32.cu"
#include "../../kernels/update.cu"
#include "../../kernels/regression.cu"

// The members in the order of gpu/src/shapes.rs.
struct ConvolveShape {
    int ci, split, mode0, mode1, co, hi, wi, ho, wo, so, si, lo0, lo1, n0, n1, taps, tile_images, tile_rows, tile_cols, tiles_x, tiles_y,
        chunk, cg, pg, ry, epilogue, out_split, accumulate, wm, wn, tap_rows;
    static constexpr int TAPS = 8, WINDOW = 2 * (TM - 1) + 8, RY = 2, WM = 16, WN = 8;
};

struct CorrelateShape {
    int ca, split_a, mode_a0, mode_a1, ha, wa, cb, split_b, mode_b0, mode_b1, hb, wb, stride, t, lo, rows, columns, ba, bb, ta, tb, wm, wn;
    static constexpr int TA = 4, TB = 4, T = 8, WINDOW = 2 * (TM - 1) + 8, WM = 2, WN = 4;
};

enum { KERNELS_BEGIN = 0 };

struct Call {
    const char *kernel;
    const void *arguments;
    const int *shape;
};

void run(const Call &call) {
    SHARED;
    const char *name = call.kernel;
    if (!strcmp(name, "convolve")) {
        convolve(*reinterpret_cast<const ConvolveShape *>(call.shape), *static_cast<const ConvolveArguments *>(call.arguments), shared);
    } else if (!strcmp(name, "correlate")) {
        correlate(*reinterpret_cast<const CorrelateShape *>(call.shape), *static_cast<const CorrelateArguments *>(call.arguments), shared);
    } else if (!strcmp(name, "correlate_tf32")) {
        correlate_tf32(*reinterpret_cast<const CorrelateShape *>(call.shape), *static_cast<const CorrelateArguments *>(call.arguments), shared);
    } else if (!strcmp(name, "pack")) {
        pack(*static_cast<const PackArguments *>(call.arguments));
    } else if (!strcmp(name, "evaluation_coefficients")) {
        evaluation_coefficients(*static_cast<const EvaluationArguments *>(call.arguments));
    } else if (!strcmp(name, "finish")) {
        finish(*static_cast<const FinishArguments *>(call.arguments), shared);
    } else if (!strcmp(name, "residual")) {
        residual(*static_cast<const RegressionArguments *>(call.arguments), shared);
    } else if (!strcmp(name, "slope")) {
        slope(*static_cast<const RegressionArguments *>(call.arguments), shared);
    } else {
        fprintf(stderr, "the emulator knows no kernel %s\n", name);
        abort();
    }
}

constexpr size_t STACK = 128 << 10, GUARD = 64, MOST_SHARED = 100 << 10;
constexpr unsigned LANES = 32;

// What a fiber came back for.
enum Wait { ENDED, AT_BARRIER, AT_PRODUCT };

// What a lane brings to a product of matrices.
struct Fragments {
    float a[4], b[2];
};

struct Fiber {
    std::unique_ptr<unsigned char[]> stack{new unsigned char[STACK]};
    ucontext_t context;
    jmp_buf at;
    bool started = false;
    Wait wait = ENDED;
    // Of this product and the one before: a lane is at most one ahead of the others.
    Fragments brought[2];
    unsigned products = 0;
};

struct Machine {
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::unique_ptr<unsigned char[]> shared{new unsigned char[MOST_SHARED + GUARD]};
    ucontext_t scheduler_context;
    jmp_buf scheduler;
    Fiber *current = nullptr;
    const char *wrong = nullptr;
    bool exact = false;
    Call call;
};

thread_local std::unique_ptr<Machine> machine;

void leave() {
    Machine &m = *machine;
    if (!_setjmp(m.current->at)) _longjmp(m.scheduler, 1);
}

void barrier() {
    machine->current->wait = AT_BARRIER;
    leave();
}

uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

float nearest_tf32(float x) {
    if (x != x) return x;
    const uint32_t bits = (bits_of(x) + 0x1000) & ~0x1fffu;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float to_tf32(float x) { return machine->exact ? x : nearest_tf32(x); }

// What lane `lane` gets of C + A·B, from what all lanes bring: PTX's m16n8k8 for TF32. Products are exact and their sum is rounded once;
// a card adds up in an order and with roundings of its own, which are as small as FP32's.
template <class Of>
void product_of_lane(float c[4], unsigned lane, Of brought) {
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = c[i];
        for (unsigned k = 0; k < 8; k++) {
            const float a = brought(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2], b = brought(column * 4 + k % 4).b[k / 4];
            sum += static_cast<double>(a) * b;
        }
        c[i] = static_cast<float>(sum);
    }
}

void multiply_add(float c[4], const float a[4], const float b[2]) {
    Machine &m = *machine;
    const unsigned turn = m.current->products++ % 2, lane = threadIdx.x % LANES, warp = threadIdx.x - lane;
    Fragments &own = m.current->brought[turn];
    memcpy(own.a, a, sizeof own.a);
    memcpy(own.b, b, sizeof own.b);
    for (const float x : {a[0], a[1], a[2], a[3], b[0], b[1]})
        if (!m.exact && x == x && (bits_of(x) & 0x1fff)) m.wrong = "an operand of a product is not rounded to TF32";
    m.current->wait = AT_PRODUCT;
    leave();
    product_of_lane(c, lane, [&](unsigned of) -> const Fragments & { return m.fibers[warp + of]->brought[turn]; });
}

// A fiber lives on and runs one call after another.
void fiber_main() {
    for (;;) {
        run(machine->call);
        machine->current->wait = ENDED;
        leave();
    }
}

void enter(Machine &m, Fiber &fiber) {
    m.current = &fiber;
    if (_setjmp(m.scheduler)) return;
    if (fiber.started) _longjmp(fiber.at, 1);
    fiber.started = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
    setcontext(&fiber.context);
}

std::vector<unsigned> order_of(unsigned count, uint64_t seed) {
    std::vector<unsigned> order(count);
    for (unsigned i = 0; i < count; i++) order[i] = i;
    if (seed == 0) return order;
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned i = count; i > 1; i--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        std::swap(order[i - 1], order[state % i]);
    }
    return order;
}

// The threads that may go on once none runs: warps whose lanes all bring their part of the same product, else all of the block where
// all are at a barrier, else none.
std::vector<unsigned> released(const Machine &m, const std::vector<unsigned> &of_threads) {
    std::vector<unsigned> of_warp(of_threads.size() / LANES);
    for (unsigned warp = 0; warp < of_warp.size(); warp++)
        for (unsigned t = warp * LANES; t < (warp + 1) * LANES; t++)
            of_warp[warp] += m.fibers[t]->wait == AT_PRODUCT && m.fibers[t]->products == m.fibers[warp * LANES]->products;
    std::vector<unsigned> ready;
    for (const unsigned t : of_threads)
        if (t / LANES < of_warp.size() && of_warp[t / LANES] == LANES) ready.push_back(t);
    if (!ready.empty()) return ready;
    const bool barrier = std::all_of(of_threads.begin(), of_threads.end(), [&](unsigned t) { return m.fibers[t]->wait == AT_BARRIER; });
    return barrier ? of_threads : ready;
}

}  // namespace

extern "C" float trainyard_to_tf32(float x) { return nearest_tf32(x); }

// The product of one warp: `a`, `b` and `c` by lane. Adds to `c`.
extern "C" void trainyard_multiply_add(const float a[32][4], const float b[32][2], float c[32][4]) {
    Fragments brought[LANES];
    for (unsigned lane = 0; lane < LANES; lane++) {
        memcpy(brought[lane].a, a[lane], sizeof brought[lane].a);
        memcpy(brought[lane].b, b[lane], sizeof brought[lane].b);
    }
    for (unsigned lane = 0; lane < LANES; lane++) product_of_lane(c[lane], lane, [&](unsigned of) -> const Fragments & { return brought[of]; });
}

// Launches a kernel. Returns null, or what is wrong with it. Where it is `exact`, nothing is rounded to TF32.
extern "C" const char *trainyard_emulate(const char *kernel, const unsigned grid[3], unsigned threads, size_t shared_bytes,
                                         const void *arguments, const int *shape, uint64_t seed, bool exact) {
    if (!machine) machine.reset(new Machine);
    Machine &m = *machine;
    if (shared_bytes > MOST_SHARED) return "too much shared memory";
    while (m.fibers.size() < threads) m.fibers.emplace_back(new Fiber);
    m.exact = exact;
    m.call = {kernel, arguments, shape};
    shared_memory = m.shared.get();
    blockDim = {threads, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    const std::vector<unsigned> of_threads = order_of(threads, seed);
    for (const unsigned block : order_of(grid[0] * grid[1] * grid[2], seed)) {
        blockIdx = {block % grid[0], block / grid[0] % grid[1], block / (grid[0] * grid[1])};
        memset(m.shared.get(), 0xff, shared_bytes);
        memset(m.shared.get() + shared_bytes, 0xa5, GUARD);
        for (unsigned t = 0; t < threads; t++) m.fibers[t]->products = 0;
        std::vector<unsigned> ready = of_threads;
        while (!ready.empty()) {
            for (const unsigned t : ready) {
                threadIdx = {t, 0, 0};
                enter(m, *m.fibers[t]);
            }
            ready = released(m, of_threads);
        }
        const bool ended = std::all_of(of_threads.begin(), of_threads.end(), [&](unsigned t) { return m.fibers[t]->wait == ENDED; });
        if (!ended) m.wrong = "some threads wait for others of their block, or lanes of their warp, that do not come";
        if (m.wrong) {
            const char *const wrong = m.wrong;
            machine.reset();
            return wrong;
        }
        for (size_t i = 0; i < GUARD; i++) {
            if (m.shared[shared_bytes + i] != 0xa5) return "shared memory was written behind its end";
        }
    }
    return nullptr;
}
