/* Average pooling. The divisor counts the taps inside the padded input, or inside the input alone. */
#include <string.h>

#include "correlation.h"
#include "parallel.h"
#include "pool_walk.h"

typedef struct {
    const fc_pool *p;
    const fc_kernels *kernels;
    size_t element;
    fc_view in, out;   /* x and y, or dx and dy */
    int count_include_pad;
    int backward;
    ptrdiff_t row_blocks;
} pool_job;

/* One task's plane (NCHW) or image (NHWC). */
typedef struct {
    const pool_job *job;
    ptrdiff_t n, c;
} pool_part;

static char *at(const pool_job *job, fc_view view, const pool_part *part, ptrdiff_t h, ptrdiff_t w)
{
    const ptrdiff_t *s = view.stride;
    return (char *)view.data + (part->n * s[0] + part->c * s[1] + h * s[2] + w * s[3]) * (ptrdiff_t)job->element;
}

static void average_span(void *context, const fc_pool_span *span)
{
    const pool_part *part = context;
    const pool_job *job = part->job;
    const fc_pool *p = job->p;
    const ptrdiff_t *in = job->in.stride;
    const int nhwc = p->layout == FC_NHWC;
    const fc_pool_row row = {
        .width = nhwc ? p->c : span->width,
        .taps_h = span->taps_h,
        .taps_w = span->taps_w,
        .x = at(job, job->in, part, span->first_h, span->first_w),
        .step = nhwc ? in[1] : p->stride_w * in[3],
        .tap_h = p->dilation_h * in[2],
        .tap_w = p->dilation_w * in[3],
        .y = at(job, job->out, part, span->row, span->column),
        .y_step = nhwc ? job->out.stride[1] : job->out.stride[3],
        .divisor = job->count_include_pad ? (double)span->padded_taps : (double)(span->taps_h * span->taps_w),
    };
    if (job->backward)
        job->kernels->avg_pool_spread(&row);
    else
        job->kernels->avg_pool_row(&row);
}

static void average_task(void *context, ptrdiff_t task, int thread)
{
    const pool_job *job = context;
    const fc_pool *p = job->p;
    (void)thread;
    const ptrdiff_t block = task % job->row_blocks, plane = task / job->row_blocks;
    const int nhwc = p->layout == FC_NHWC;
    pool_part part = {job, nhwc ? plane : plane / p->c, nhwc ? 0 : plane % p->c};
    if (job->backward)
        memset(at(job, job->in, &part, 0, 0), 0, (size_t)(p->h * p->w * (nhwc ? p->c : 1)) * job->element);
    fc_walk_pool(p, fc_part(p->oh, job->row_blocks, block), fc_part(p->oh, job->row_blocks, block + 1), nhwc,
                 average_span, &part);
}

static fc_status average(const fc_pool *pool, fc_view in, fc_view out, int count_include_pad, int backward, int threads)
{
    const fc_status status = fc_pool_check(pool);
    if (status != FC_OK)
        return status;
    pool_job job = {
        .p = pool,
        .kernels = fc_kernels_for(pool->dtype),
        .element = pool->dtype == FC_F32 ? sizeof(float) : sizeof(double),
        .in = in,
        .out = out,
        .count_include_pad = count_include_pad,
        .backward = backward,
    };
    const ptrdiff_t planes = pool->n * (pool->layout == FC_NHWC ? 1 : pool->c);
    threads = fc_useful_threads(threads, planes * pool->oh, fc_pool_seconds(pool));
    /* Windows overlap, so a gradient's plane belongs to one task. */
    job.row_blocks = backward ? 1 : fc_pool_row_blocks(pool, planes, threads);
    fc_parallel_for(threads, planes * job.row_blocks, average_task, &job);
    return FC_OK;
}

fc_status fc_avg_pool_forward(const fc_pool *pool, fc_view x, int count_include_pad, void *y, int threads)
{
    return average(pool, x, fc_dense_view(y, pool->layout, pool->c, pool->oh, pool->ow), count_include_pad, 0, threads);
}

fc_status fc_avg_pool_backward(const fc_pool *pool, fc_view dy, int count_include_pad, void *dx, int threads)
{
    return average(pool, fc_dense_view(dx, pool->layout, pool->c, pool->h, pool->w), dy, count_include_pad, 1, threads);
}
