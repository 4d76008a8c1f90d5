/* Parallel loops. parallel.c is the only file that knows OpenMP. */
#ifndef FC_PARALLEL_H
#define FC_PARALLEL_H

#include <stddef.h>

/* Runs tasks 0 .. tasks-1 on at most `threads` threads; `thread` numbers the thread, 0 .. threads-1. Nothing a task
 * computes may depend on which thread runs it. */
typedef void (*fc_task)(void *context, ptrdiff_t task, int thread);
void fc_parallel_for(int threads, ptrdiff_t tasks, fc_task run, void *context);

/* How many threads are worth waking for this many seconds of work on one: never more than `tasks`. */
int fc_useful_threads(int threads, ptrdiff_t tasks, double seconds);
/* The same beside another loop of the call, for which they are woken anyway. */
int fc_useful_beside(int threads, ptrdiff_t tasks, double seconds);

#endif
