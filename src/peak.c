/* The hardware's own limit: what speed is judged by. */
#include <time.h>

#include "dispatch.h"
#include "parallel.h"

enum { STEPS = 20000, ROUNDS = 8 };

static void run_loop(void *context, ptrdiff_t task, int thread)
{
    const fc_kernels *kernels = context;
    volatile double sink = kernels->peak(STEPS, 1e-3 * (double)(task + 1));
    (void)thread, (void)sink;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double fc_peak_gflops(fc_dtype dtype, int threads)
{
    const fc_kernels *kernels = fc_kernels_for(dtype);
    const double flops = 2.0 * STEPS * threads * kernels->tile_rows * kernels->tile_columns;
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = seconds();
        fc_parallel_for(threads, threads, run_loop, (void *)kernels);
        const double gflops = flops / (seconds() - start) * 1e-9;
        best = gflops > best ? gflops : best;
    }
    return best;
}
