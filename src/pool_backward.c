/* Gradients of pools, in two halves as the windows are reduced in two: dy goes to the rows of its windows, of a maximum
 * to that which holds it, and stays in scratch; then each element of dx gathers its row. */
#include <string.h>

#include "blocking.h"
#include "pool_walk.h"

typedef struct {
    const fc_pool_pass *pass;
    char *dx;
    int pair;
    ptrdiff_t next, pitch;  /* of what is kept */
    char *scratch;
    int has_taps;  /* each gradient with the tap that it is for */
    size_t scratch_bytes, gradient_bytes;
} backward_job;

static char *at(const backward_job *job, const void *base, ptrdiff_t elements)
{
    return (char *)base + elements * (ptrdiff_t)job->pass->element;
}

/* The rows of the output whose windows reach rows of dx. */
static void rows_that_reach(const fc_pool *p, ptrdiff_t row, ptrdiff_t row_end, ptrdiff_t *first, ptrdiff_t *end)
{
    const ptrdiff_t reach = row + p->pad_top - (p->kh - 1) * p->dilation_h;
    *first = reach <= 0 ? 0 : fc_ceil_div(reach, p->stride_h);
    *end = fc_max(*first, fc_min(p->oh, (row_end - 1 + p->pad_top) / p->stride_h + 1));
}

static void gather(const backward_job *job, const fc_pool_block *block, const fc_pool_scratch *kept)
{
    const fc_pool *p = job->pass->p;
    const ptrdiff_t lanes = job->pass->kernels->lanes;
    const int nhwc = p->layout == FC_NHWC;
    fc_pool_pixels pixels = {
        .columns =
            {
                .kept = *kept,
                .count = block->planes,
                .out_width = p->ow,
                .width = p->w,
                .stride_w = p->stride_w,
                .taps_w = p->kw,
                .tap_w = p->dilation_w,
                .pad_left = p->pad_left,
                .dx = at(job, job->dx,
                         nhwc ? (block->n * p->h + block->row) * p->w * p->c + block->c
                              : ((block->n * p->c + block->c) * p->h + block->row) * p->w),
                .dx_next = p->h * p->w,
                .dx_row = nhwc ? p->w * p->c : p->w,
            },
        .dx_pixel = p->c,
    };
    if (!nhwc) {
        job->pass->kernels->pool_gather(&pixels.columns);
        return;
    }
    char *dx = pixels.columns.dx;
    for (ptrdiff_t c = 0; c < block->planes; c += lanes) {
        pixels.lanes = (int)fc_min(lanes, block->planes - c);
        pixels.columns.kept.gradient = at(job, kept->gradient, c / lanes * kept->next);
        pixels.columns.kept.tap = kept->tap ? at(job, kept->tap, c / lanes * kept->next) : NULL;
        pixels.columns.dx = at(job, dx, c);
        job->pass->kernels->pool_gather_pixels(&pixels);
    }
}

static void backward_block(void *context, const fc_pool_block *block, int thread)
{
    const backward_job *job = context;
    const fc_pool *p = job->pass->p;
    const fc_kernels *kernels = job->pass->kernels;
    char *scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    fc_pool_scratch kept = {
        .gradient = at(job, scratch, kernels->lanes),
        .row = block->row,
        .rows = block->row_end - block->row,
        .pitch = job->pitch,
        .next = job->next,
        .pair = job->pair && block->planes > 1,
    };
    if (job->has_taps)
        kept.tap = at(job, scratch + job->gradient_bytes, kernels->lanes);
    const ptrdiff_t lanes = kernels->lanes;
    const ptrdiff_t rows = p->layout == FC_NHWC ? fc_ceil_div(block->planes, lanes)
                                                : kept.pair ? fc_ceil_div(block->planes, 2) : block->planes;
    memset(scratch, 0, (size_t)(rows * job->next + 2 * lanes) * job->pass->element);
    fc_pool_block out = *block;
    rows_that_reach(p, block->row, block->row_end, &out.row, &out.row_end);
    if (out.row < out.row_end)
        fc_pool_strips(job->pass, &out, &kept, kept.tap ? kernels->pool_max_gradient : kernels->pool_mean_gradient);
    gather(job, block, &kept);
}

/* Whether planes may share vectors in scratch, where what a column takes from beside its own plane must be empty. */
static int pairs_fit(const fc_pool_pass *pass)
{
    const fc_pool *p = pass->p;
    const ptrdiff_t half = pass->kernels->lanes / 2, columns = fc_ceil_div(p->w, p->stride_w);
    return fc_pool_pairs(pass) && p->stride_w <= 2 && p->dilation_w == 1 &&
           p->ow + (p->kw - 1) / p->stride_w <= half && columns + fc_ceil_div(p->pad_left, p->stride_w) <= half;
}

fc_status fc_pool_backward(const fc_pool_pass *pass, void *dx, int threads)
{
    const fc_pool *p = pass->p;
    const ptrdiff_t lanes = pass->kernels->lanes;
    if (p->kw > INT32_MAX || p->kh > INT32_MAX)  /* lanes hold the numbers of taps */
        return FC_OVERFLOW;
    backward_job job = {.pass = pass, .dx = dx, .pair = pairs_fit(pass)};
    fc_pool_grid grid = fc_pool_backward_grid(pass, backward_block, &job, &threads);
    ptrdiff_t planes;
    if (p->layout == FC_NHWC) {
        job.pitch = p->ow * lanes;
        planes = fc_ceil_div(fc_min(p->c, FC_POOL_CHANNELS), lanes);
    } else {
        /* Beside a row lies as much that is zero as its columns reach beyond it; pairs have it between the halves. */
        const ptrdiff_t columns = fc_ceil_div(p->w, p->stride_w) + fc_ceil_div(fc_min(p->pad_left, lanes), p->stride_w);
        const ptrdiff_t reach = fc_min(lanes, fc_ceil_div((p->kw - 1) * p->dilation_w, p->stride_w));
        job.pitch = job.pair ? lanes : fc_ceil_div(fc_max(p->ow, columns) + reach, lanes) * lanes;
        planes = grid.block_planes;
        if (job.pair) {
            grid.block_planes += planes % 2;
            planes = grid.block_planes / 2;
        }
    }
    job.next = grid.block_rows * job.pitch;
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(planes * job.next + 2 * lanes) * pass->element);
    job.gradient_bytes = sizes.used;
    job.has_taps = !pass->counted_h;
    if (job.has_taps)
        fc_take(&sizes, (size_t)(planes * job.next + 2 * lanes) * pass->element);
    job.scratch_bytes = fc_scratch_step(sizes.used, threads);
    job.scratch = fc_workspace_acquire((size_t)threads * job.scratch_bytes);
    if (!job.scratch)
        return FC_NO_MEMORY;
    fc_pool_run(&grid, threads);
    fc_workspace_release(job.scratch);
    return FC_OK;
}
