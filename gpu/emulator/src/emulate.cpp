// Runs the kernels on the CPU, so that they can be proven right without a card.
//
// The threads of a block are fibers that switch at barriers; blocks run one after another. Both in an order that the caller chooses:
// results that depend on it come from a race. Shared memory is filled with NaN before each block and has a guard behind it.

#include <setjmp.h>
#include <ucontext.h>

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
#include "../../kernels/convolution.cu"
#include "../../kernels/statistics.cu"
#include "../../kernels/epilogue.cu"
#include "../../kernels/score.cu"
#include "../../kernels/convolve.cu"
#include "../../kernels/correlate.cu"
#include "../../kernels/update.cu"
#include "../../kernels/regression.cu"

// The members in the order of gpu/src/shapes.rs.
struct ConvolveShape {
    int ci, split, mode0, mode1, co, hi, wi, ho, wo, so, si, lo0, lo1, n0, n1, taps, tile_images, tile_rows, tile_cols, tiles_x, tiles_y,
        chunk, cg, pg, ry, epilogue, out_split, accumulate;
    static constexpr int TAPS = 8, WINDOW = 2 * (TM - 1) + 8, RY = 2;
};

struct CorrelateShape {
    int ca, split_a, mode_a0, mode_a1, ha, wa, cb, split_b, mode_b0, mode_b1, hb, wb, stride, t, lo, rows, columns, ba, bb, ta, tb;
    static constexpr int TA = 4, TB = 4, T = 8, WINDOW = 2 * (TM - 1) + 8;
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

struct Fiber {
    std::unique_ptr<unsigned char[]> stack{new unsigned char[STACK]};
    ucontext_t context;
    jmp_buf at;
    bool started = false, waiting = false;
};

struct Machine {
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::unique_ptr<unsigned char[]> shared{new unsigned char[MOST_SHARED + GUARD]};
    ucontext_t scheduler_context;
    jmp_buf scheduler;
    Fiber *current = nullptr;
    Call call;
};

thread_local std::unique_ptr<Machine> machine;

void leave() {
    Machine &m = *machine;
    if (!_setjmp(m.current->at)) _longjmp(m.scheduler, 1);
}

void barrier() {
    machine->current->waiting = true;
    leave();
}

// A fiber lives on and runs one call after another.
void fiber_main() {
    for (;;) {
        run(machine->call);
        machine->current->waiting = false;
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

}  // namespace

// Launches a kernel. Returns null, or what is wrong with it.
extern "C" const char *trainyard_emulate(const char *kernel, const unsigned grid[3], unsigned threads, size_t shared_bytes,
                                         const void *arguments, const int *shape, uint64_t seed) {
    if (!machine) machine.reset(new Machine);
    Machine &m = *machine;
    if (shared_bytes > MOST_SHARED) return "too much shared memory";
    while (m.fibers.size() < threads) m.fibers.emplace_back(new Fiber);
    m.call = {kernel, arguments, shape};
    shared_memory = m.shared.get();
    blockDim = {threads, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    const std::vector<unsigned> of_threads = order_of(threads, seed);
    for (const unsigned block : order_of(grid[0] * grid[1] * grid[2], seed)) {
        blockIdx = {block % grid[0], block / grid[0] % grid[1], block / (grid[0] * grid[1])};
        memset(m.shared.get(), 0xff, shared_bytes);
        memset(m.shared.get() + shared_bytes, 0xa5, GUARD);
        for (unsigned waiting = 1; waiting > 0;) {
            waiting = 0;
            for (const unsigned t : of_threads) {
                threadIdx = {t, 0, 0};
                enter(m, *m.fibers[t]);
                waiting += m.fibers[t]->waiting;
            }
            if (waiting != 0 && waiting != threads) {
                machine.reset();
                return "some threads of a block wait at a barrier that others do not come to";
            }
        }
        for (size_t i = 0; i < GUARD; i++) {
            if (m.shared[shared_bytes + i] != 0xa5) return "shared memory was written behind its end";
        }
    }
    return nullptr;
}
