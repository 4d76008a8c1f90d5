/* OpenMP, or a serial loop where the compiler has none. */
#include "parallel.h"

#include "fastconv.h"
#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>

/* libgomp's pool does not survive a fork: a region in the child would wait for threads that do not exist. */
static int forked;
static void after_fork_in_child(void) { forked = 1; }
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }
#endif

/* Waking a sleeping pool takes 23-35 us, a spinning one 1 us (measured with libgomp, 2 threads): below this much
 * estimated work, which takes about twice as long with everything around it, a call stays serial. */
static const double serial_seconds = 10e-6;

int fc_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int fc_max_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

int fc_useful_threads(int threads, ptrdiff_t tasks, double seconds)
{
    if (seconds < serial_seconds || threads < 1)
        return 1;
    return tasks < threads ? (int)tasks : threads;
}

void fc_parallel_for(int threads, ptrdiff_t tasks, fc_task run, void *context)
{
#ifdef _OPENMP
    if (threads > 1 && tasks > 1 && !forked) {
#pragma omp parallel num_threads(threads)
        {
            const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
            for (ptrdiff_t task = 0; task < tasks; task++)
                run(context, task, thread);
        }
        return;
    }
#endif
    for (ptrdiff_t task = 0; task < tasks; task++)
        run(context, task, 0);
}
