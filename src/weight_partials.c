/* Partial sums of the weight gradient, cleared and added up in parallel. */
#include "weight_partials.h"

#include <string.h>

#include "blocking.h"
#include "parallel.h"

enum { SUM_BLOCK = 4096 };

fc_weight_partials fc_plan_partials(const fc_correlation *c, ptrdiff_t rows, ptrdiff_t images, ptrdiff_t tiles,
                                    fc_workspace *workspace)
{
    fc_weight_partials p = {.rows = rows, .images = images, .dw = c->weights};
    p.units_in_image = fc_ceil_div(c->oh, rows);
    p.units = p.units_in_image * fc_ceil_div(c->n, images);
    p.weights = c->groups * c->m * c->q * c->taps;
    p.bytes = (size_t)p.weights * c->element;
    p.step = (p.bytes + 127) / 128 * 128 + 64;
    const ptrdiff_t wanted = fc_min(FC_PARTIAL_CHUNKS, fc_ceil_div(FC_PARTIAL_TASKS, tiles));
    p.chunks = fc_max(1, fc_min(fc_min(p.units, wanted), FC_PARTIAL_BYTES / (ptrdiff_t)p.step));
    if (p.chunks > 1)
        p.copies = fc_take(workspace, (size_t)p.chunks * p.step);
    return p;
}

static void clear_task(void *context, ptrdiff_t task, int thread)
{
    const fc_weight_partials *p = context;
    (void)thread;
    memset(fc_partial(p, task), 0, p->bytes);
}

void fc_clear_partials(const fc_weight_partials *p, int threads)
{
    const double seconds = 1e-10 * (double)p->bytes * (double)p->chunks;
    fc_parallel_for(fc_useful_threads(threads, p->chunks, seconds), p->chunks, clear_task, (void *)p);
}

typedef struct {
    const fc_weight_partials *p;
    const fc_correlation *c;
} sum_job;

static void sum_task(void *context, ptrdiff_t task, int thread)
{
    const sum_job *job = context;
    const fc_weight_partials *p = job->p;
    (void)thread;
    const ptrdiff_t first = task * SUM_BLOCK;
    job->c->kernels->sum_partials(fc_at(job->c, p->dw, first), fc_at(job->c, p->copies, first),
                                  (ptrdiff_t)(p->step / job->c->element), p->chunks,
                                  fc_min(SUM_BLOCK, p->weights - first));
}

void fc_sum_partials(const fc_weight_partials *p, const fc_correlation *c, int threads)
{
    if (p->chunks == 1)
        return;
    sum_job job = {p, c};
    const ptrdiff_t tasks = fc_ceil_div(p->weights, SUM_BLOCK);
    const double seconds = 1e-10 * (double)p->bytes * (double)p->chunks;
    fc_parallel_for(fc_useful_threads(threads, tasks, seconds), tasks, sum_task, &job);
}
