/* Max pooling. A NaN wins; ties and NaNs go to the first element in row-major order; padding never wins. */
#include <string.h>

#include "correlation.h"
#include "parallel.h"
#include "pool_walk.h"

/* Channels of an NHWC gradient that one task takes: all of its lines are whole cache lines. */
enum { CHANNEL_BLOCK = 64 };

typedef struct {
    const fc_pool *p;
    const fc_kernels *kernels;
    size_t element;
    fc_view x, dy;
    char *y, *dx;
    int64_t *index_out;
    const int64_t *index_in;
    ptrdiff_t row_blocks, channel_blocks;
    char *scratch;           /* backward: maxima and indices of one span a thread */
    size_t scratch_bytes, values_bytes;
} pool_job;

/* One task's part: a plane (NCHW), or channels [c, c + channels) of an image (NHWC). */
typedef struct {
    const pool_job *job;
    ptrdiff_t n, c, channels;
    char *values;
    int64_t *index;
} pool_part;

static char *at(const pool_job *job, const void *base, ptrdiff_t elements)
{
    return (char *)base + elements * (ptrdiff_t)job->element;
}

static int nhwc(const pool_job *job) { return job->p->layout == FC_NHWC; }

/* Where output (row, column) of a part lies in a dense array of y's shape. */
static ptrdiff_t output_at(const pool_part *part, const fc_pool_span *span)
{
    const fc_pool *p = part->job->p;
    if (nhwc(part->job))
        return ((part->n * p->oh + span->row) * p->ow + span->column) * p->c + part->c;
    return ((part->n * p->c + part->c) * p->oh + span->row) * p->ow + span->column;
}

static ptrdiff_t outputs_of(const pool_part *part, const fc_pool_span *span)
{
    return nhwc(part->job) ? part->channels : span->width;
}

static void maxima_of_span(const pool_part *part, const fc_pool_span *span, char *y, int64_t *index)
{
    const pool_job *job = part->job;
    const fc_pool *p = job->p;
    const ptrdiff_t *stride = job->x.stride;
    const fc_pool_row row = {
        .width = outputs_of(part, span),
        .taps_h = span->taps_h,
        .taps_w = span->taps_w,
        .x = at(job, job->x.data,
                part->n * stride[0] + part->c * stride[1] + span->first_h * stride[2] + span->first_w * stride[3]),
        .step = nhwc(job) ? stride[1] : p->stride_w * stride[3],
        .tap_h = p->dilation_h * stride[2],
        .tap_w = p->dilation_w * stride[3],
        .y = y,
        .index = index,
        .index_first = span->first_h * p->w + span->first_w,
        .index_step = nhwc(job) ? 0 : p->stride_w,
        .index_h = p->dilation_h * p->w,
        .index_w = p->dilation_w,
    };
    job->kernels->max_pool_row(&row);
}

static void forward_span(void *context, const fc_pool_span *span)
{
    const pool_part *part = context;
    const ptrdiff_t to = output_at(part, span);
    maxima_of_span(part, span, at(part->job, part->job->y, to),
                   part->job->index_out ? part->job->index_out + to : NULL);
}

static void forward_task(void *context, ptrdiff_t task, int thread)
{
    const pool_job *job = context;
    const fc_pool *p = job->p;
    (void)thread;
    const ptrdiff_t block = task % job->row_blocks, plane = task / job->row_blocks;
    pool_part part = {.job = job, .n = plane, .channels = p->c};
    if (!nhwc(job))
        part.n = plane / p->c, part.c = plane % p->c, part.channels = 1;
    fc_walk_pool(p, fc_part(p->oh, job->row_blocks, block), fc_part(p->oh, job->row_blocks, block + 1), nhwc(job),
                 forward_span, &part);
}

static pool_job new_job(const fc_pool *pool)
{
    return (pool_job){
        .p = pool,
        .kernels = fc_kernels_for(pool->dtype),
        .element = pool->dtype == FC_F32 ? sizeof(float) : sizeof(double),
    };
}

fc_status fc_max_pool_forward(const fc_pool *pool, fc_view x, void *y, int64_t *index, int threads)
{
    const fc_status status = fc_pool_check(pool);
    if (status != FC_OK)
        return status;
    pool_job job = new_job(pool);
    job.x = x, job.y = y, job.index_out = index;
    const ptrdiff_t planes = pool->n * (pool->layout == FC_NHWC ? 1 : pool->c);
    threads = fc_useful_threads(threads, planes * pool->oh, fc_pool_seconds(pool));
    job.row_blocks = fc_pool_row_blocks(pool, planes, threads);
    fc_parallel_for(threads, planes * job.row_blocks, forward_task, &job);
    return FC_OK;
}

static void backward_span(void *context, const fc_pool_span *span)
{
    const pool_part *part = context;
    const pool_job *job = part->job;
    const fc_pool *p = job->p;
    const ptrdiff_t *dy = job->dy.stride;
    const int64_t *index = part->index;
    if (job->index_in)
        index = job->index_in + output_at(part, span);
    else
        maxima_of_span(part, span, part->values, part->index);
    const char *from = at(job, job->dy.data,
                          part->n * dy[0] + part->c * dy[1] + span->row * dy[2] + span->column * dy[3]);
    const ptrdiff_t image = part->n * p->c * p->h * p->w;
    if (nhwc(job))
        job->kernels->max_pool_scatter(at(job, job->dx, image + part->c), p->c, 1, from, dy[1], index, part->channels);
    else
        job->kernels->max_pool_scatter(at(job, job->dx, image + part->c * p->h * p->w), 1, 0, from, dy[3], index,
                                       span->width);
}

static void backward_task(void *context, ptrdiff_t task, int thread)
{
    const pool_job *job = context;
    const fc_pool *p = job->p;
    char *scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    const ptrdiff_t block = task % job->channel_blocks;
    pool_part part = {
        .job = job,
        .n = task / job->channel_blocks,
        .c = fc_part(p->c, job->channel_blocks, block),
        .values = scratch,
        .index = (int64_t *)(void *)(scratch + job->values_bytes),
    };
    part.channels = fc_part(p->c, job->channel_blocks, block + 1) - part.c;
    char *image = at(job, job->dx, part.n * p->c * p->h * p->w);
    if (nhwc(job))
        for (ptrdiff_t i = 0; i < p->h * p->w; i++)
            memset(at(job, image, i * p->c + part.c), 0, (size_t)part.channels * job->element);
    else
        memset(at(job, image, part.c * p->h * p->w), 0, (size_t)(p->h * p->w) * job->element);
    fc_walk_pool(p, 0, p->oh, nhwc(job), backward_span, &part);
}

fc_status fc_max_pool_backward(const fc_pool *pool, fc_view dy, fc_view x, const int64_t *index, void *dx, int threads)
{
    const fc_status status = fc_pool_check(pool);
    if (status != FC_OK)
        return status;
    const ptrdiff_t outputs = pool->n * pool->c * pool->oh * pool->ow;
    for (ptrdiff_t i = 0; index && i < outputs; i++)
        if (index[i] < 0 || index[i] >= pool->h * pool->w)
            return FC_BAD_INDEX;
    pool_job job = new_job(pool);
    job.dy = dy, job.x = x, job.index_in = index, job.dx = dx;
    job.channel_blocks = pool->layout == FC_NHWC ? fc_ceil_div(pool->c, CHANNEL_BLOCK) : pool->c;
    const ptrdiff_t tasks = pool->n * job.channel_blocks;
    threads = fc_useful_threads(threads, tasks, 2 * fc_pool_seconds(pool));
    const size_t widest = (size_t)fc_max(pool->ow, CHANNEL_BLOCK);
    fc_workspace sizes = {0};
    fc_take(&sizes, widest * job.element);
    job.values_bytes = sizes.used;
    fc_take(&sizes, widest * sizeof(int64_t));
    job.scratch_bytes = sizes.used;
    job.scratch = fc_workspace_acquire((size_t)threads * job.scratch_bytes);
    if (!job.scratch)
        return FC_NO_MEMORY;
    fc_parallel_for(threads, tasks, backward_task, &job);
    fc_workspace_release(job.scratch);
    return FC_OK;
}
