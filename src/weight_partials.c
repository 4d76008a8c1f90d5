/* Partial sums of the weight gradient, cleared and added up in parallel. */
#include "weight_partials.h"

#include <string.h>

#include "blocking.h"
#include "parallel.h"

enum { SUM_BLOCK = 4096 };

static size_t weight_bytes(const fc_correlation *c) { return (size_t)(c->groups * c->m * c->q * c->taps) * c->element; }

/* Apart by whole pairs of lines and one more: copies do not meet in the same sets of a cache. */
static size_t copy_step(const fc_correlation *c) { return (weight_bytes(c) + 127) / 128 * 128 + 64; }

ptrdiff_t fc_most_chunks(const fc_correlation *c, ptrdiff_t units)
{
    return fc_max(1, fc_min(fc_min(units, FC_PARTIAL_CHUNKS), FC_PARTIAL_BYTES / (ptrdiff_t)copy_step(c)));
}

ptrdiff_t fc_chunks_beside(ptrdiff_t tiles)
{
    return fc_ceil_div(FC_PARTIAL_TASKS, tiles);
}

fc_weight_partials fc_plan_partials(const fc_correlation *c, ptrdiff_t rows, ptrdiff_t images, ptrdiff_t chunks,
                                    fc_workspace *workspace)
{
    fc_weight_partials p = {.rows = rows, .images = images, .dw = c->weights};
    p.units_in_image = fc_ceil_div(c->oh, rows);
    p.units = p.units_in_image * fc_ceil_div(c->n, images);
    p.bytes = weight_bytes(c);
    p.weights = (ptrdiff_t)(p.bytes / c->element);
    p.step = copy_step(c);
    p.chunks = fc_min(chunks, fc_most_chunks(c, p.units));
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
    fc_parallel_for(fc_useful_beside(threads, p->chunks, seconds), p->chunks, clear_task, (void *)p);
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
                                  fc_min(SUM_BLOCK, p->weights - first), 0);
}

void fc_sum_partials(const fc_weight_partials *p, const fc_correlation *c, int threads)
{
    if (p->chunks == 1)
        return;
    sum_job job = {p, c};
    const ptrdiff_t tasks = fc_ceil_div(p->weights, SUM_BLOCK);
    const double seconds = 1e-10 * (double)p->bytes * (double)p->chunks;
    fc_parallel_for(fc_useful_beside(threads, tasks, seconds), tasks, sum_task, &job);
}
