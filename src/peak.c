/* The hardware's own limit: what speed is judged by. */
#include <time.h>

#include "dispatch.h"
#include "parallel.h"

enum { STEPS = 20000, ROUNDS = 8 };

typedef struct {
    const fc_kernels *kernels;
    volatile double sink;
} fc_peak_run;

static void run_loop(void *context, ptrdiff_t task, int thread)
{
    fc_peak_run *run = context;
    (void)thread;
    run->sink = run->kernels->peak(STEPS, 1e-3 * (double)(task + 1));
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double fc_peak_gflops(fc_dtype dtype, int threads)
{
    fc_peak_run run = {.kernels = fc_kernels_for(dtype)};
    const double flops =
        2.0 * STEPS * threads * run.kernels->tile_rows * run.kernels->tile_columns;
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = seconds();
        fc_parallel_for(threads, threads, run_loop, &run);
        const double gflops = flops / (seconds() - start) * 1e-9;
        best = gflops > best ? gflops : best;
    }
    return best;
}
