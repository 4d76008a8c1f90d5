/* OpenMP, or a serial loop where the compiler has none. */
#include "parallel.h"

#include <stdatomic.h>

#include "fastconv.h"
#include "integers.h"
#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#endif

/* Neighbouring tasks read and write neighbouring memory, so each thread has a range of them, the same in every call of
 * a shape; one that is done takes what is left of the others'. (Tasks handed out one by one in turn cost up to 10 %.) */
enum { MOST_RANGES = 64 };
typedef struct {
    _Alignas(64) atomic_ptrdiff_t next;
    ptrdiff_t end;
} task_range;

typedef struct {
    int threads, ranges;
    ptrdiff_t tasks;
    fc_task run;
    void *context;
    task_range *range;
} parallel_loop;

/* Waking a sleeping pool takes 23-35 us, a spinning one 1 us (measured with libgomp, 2 threads): below this much
 * estimated work, which takes about twice as long with everything around it, a call stays serial. */
static const double serial_seconds = 10e-6;
/* Of a loop beside another, whose threads are awake: 5 microseconds of work took 3. */
static const double serial_seconds_beside = 2e-6;

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

static int threads_if(int is_useful, int threads, ptrdiff_t tasks)
{
    if (!is_useful || threads < 1)
        return 1;
    return tasks < threads ? (int)tasks : threads;
}

int fc_useful_threads(int threads, ptrdiff_t tasks, double seconds)
{
    return threads_if(seconds >= serial_seconds, threads, tasks);
}

int fc_useful_beside(int threads, ptrdiff_t tasks, double seconds)
{
    return threads_if(seconds >= serial_seconds_beside, threads, tasks);
}

static void run_serially(const parallel_loop *loop)
{
    for (ptrdiff_t task = 0; task < loop->tasks; task++)
        loop->run(loop->context, task, 0);
}

#ifdef _OPENMP
static void run_share(const parallel_loop *loop, int thread)
{
    for (int i = 0; i < loop->ranges; i++) {
        task_range *range = &loop->range[(thread + i) % loop->ranges];
        for (;;) {
            const ptrdiff_t task = atomic_fetch_add_explicit(&range->next, 1, memory_order_relaxed);
            if (task >= range->end)
                break;
            loop->run(loop->context, task, thread);
        }
    }
}

/* ThreadSanitizer does not see how libgomp's threads wait for each other (GCC bug 55561): it is told. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TELL(what, loop) __tsan_##what((void *)(loop))
#else
#define TELL(what, loop) ((void)0)
#endif

__attribute__((no_sanitize("thread"))) static void run_in_region(const parallel_loop *loop)
{
    TELL(release, loop);
#pragma omp parallel num_threads(loop->threads)
    {
        TELL(acquire, loop);
        run_share(loop, omp_get_thread_num());
        TELL(release, loop);
    }
    TELL(acquire, loop);
}

/* libgomp's pool belongs to the thread that opens regions and does not survive a fork: in the child, a region of the
 * thread that forked would wait for threads that do not exist. A new thread has a new pool, so that one opens regions
 * for it. It is one a process, since of the parent's threads a child has only the one that forked. */
static _Thread_local int pool_is_lost;
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const parallel_loop *loop;  /* what is asked for; NULL once it is done */
    int started;
} proxy = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0};

static void after_fork_in_child(void)
{
    pool_is_lost = 1;
    pthread_mutex_init(&proxy.lock, NULL);
    pthread_cond_init(&proxy.changed, NULL);
    proxy.loop = NULL;
    proxy.started = 0;
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

static void *serve_proxy(void *unused)
{
    pthread_mutex_lock(&proxy.lock);
    for (;;) {
        while (!proxy.loop)
            pthread_cond_wait(&proxy.changed, &proxy.lock);
        run_in_region(proxy.loop);
        proxy.loop = NULL;
        pthread_cond_broadcast(&proxy.changed);
    }
    return unused;
}

/* Whether there was a thread to run it. */
static int run_by_proxy(const parallel_loop *loop)
{
    if (!proxy.started) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_proxy, NULL) != 0)
            return 0;
        pthread_detach(thread);
        proxy.started = 1;
    }
    pthread_mutex_lock(&proxy.lock);
    proxy.loop = loop;
    pthread_cond_broadcast(&proxy.changed);
    while (proxy.loop)
        pthread_cond_wait(&proxy.changed, &proxy.lock);
    pthread_mutex_unlock(&proxy.lock);
    return 1;
}
#endif

void fc_parallel_for(int threads, ptrdiff_t tasks, fc_task run, void *context)
{
    parallel_loop loop = {.threads = threads, .tasks = tasks, .run = run, .context = context};
#ifdef _OPENMP
    if (threads > 1 && tasks > 1) {
        task_range range[MOST_RANGES];
        loop.range = range;
        loop.ranges = (int)fc_min(threads, MOST_RANGES);
        for (int i = 0; i < loop.ranges; i++) {
            atomic_init(&range[i].next, fc_part(tasks, loop.ranges, i));
            range[i].end = fc_part(tasks, loop.ranges, i + 1);
        }
        if (!pool_is_lost) {
            run_in_region(&loop);
            return;
        }
        if (run_by_proxy(&loop))
            return;
    }
#endif
    run_serially(&loop);
}
