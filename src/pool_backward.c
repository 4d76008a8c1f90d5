/* Gradients of pools: a block of dx is gathered from the windows that reach it. For a maximum the block's windows find theirs
 * again, and keep a tap number each in scratch. */
#include <string.h>

#include "blocking.h"
#include "pool_walk.h"
#include "parallel.h"

typedef struct {
    const fc_pool_pass *pass;
    fc_view dy;
    char *dx;
    int pair;
    ptrdiff_t out_rows;        /* of the output, that a block's rows of dx may need */
    ptrdiff_t next, pitch;     /* of the scratch */
    char *scratch;
    size_t scratch_bytes, argument_bytes;
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

static void gather_planes(const backward_job *job, const fc_pool_block *block, const fc_pool_block *out, char *argument,
                          char *dy)
{
    const fc_pool *p = job->pass->p;
    const ptrdiff_t *stride = job->dy.stride;
    const int pair = job->pair && block->planes > 1;
    const fc_pool_take take = {
        .count = block->planes,
        .rows = out->row_end - out->row,
        .width = p->ow,
        .pair = pair,
        .dy = at(job, job->dy.data, block->n * stride[0] + block->c * stride[1] + out->row * stride[2]),
        .dy_next = stride[1],
        .dy_row = stride[2],
        .scratch = dy,
        .next = job->next,
        .pitch = job->pitch,
        .counted_h = job->pass->counted_h ? job->pass->counted_h + out->row : NULL,
        .counted_w = job->pass->counted_w,
    };
    job->pass->kernels->pool_take(&take);
    const fc_pool_gather gather = {
        .count = block->planes,
        .next = job->next,
        .pitch = job->pitch,
        .pair = pair,
        .argument = argument,
        .dy = dy,
        .out_first = out->row,
        .out_end = out->row_end,
        .out_width = p->ow,
        .row = block->row,
        .row_end = block->row_end,
        .width = p->w,
        .stride_h = p->stride_h,
        .taps_h = p->kh,
        .tap_h = p->dilation_h,
        .pad_top = p->pad_top,
        .stride_w = p->stride_w,
        .taps_w = p->kw,
        .tap_w = p->dilation_w,
        .pad_left = p->pad_left,
        .dx = at(job, job->dx, (block->n * p->c + block->c) * p->h * p->w),
        .dx_next = p->h * p->w,
    };
    job->pass->kernels->pool_gather(&gather);
}

static void gather_channels(const backward_job *job, const fc_pool_block *block, const fc_pool_block *out, char *argument)
{
    const fc_pool *p = job->pass->p;
    const ptrdiff_t *stride = job->dy.stride, lanes = job->pass->kernels->lanes;
    fc_pool_pixels pixels = {
        .argument_row = job->pitch,
        .out_first = out->row,
        .out_width = p->ow,
        .dy_row = stride[2],
        .dy_pixel = stride[3],
        .width = p->w,
        .stride_h = p->stride_h,
        .taps_h = p->kh,
        .tap_h = p->dilation_h,
        .pad_top = p->pad_top,
        .stride_w = p->stride_w,
        .taps_w = p->kw,
        .tap_w = p->dilation_w,
        .pad_left = p->pad_left,
        .counted_h = job->pass->counted_h,
        .counted_w = job->pass->counted_w,
        .dx_pixel = p->c,
    };
    for (pixels.row = block->row; pixels.row < block->row_end; pixels.row++)
        for (ptrdiff_t c = 0; c < block->planes; c += lanes) {
            ptrdiff_t end;
            rows_that_reach(p, pixels.row, pixels.row + 1, &pixels.first, &end);
            pixels.last = end - 1;
            pixels.lanes = (int)fc_min(lanes, block->planes - c);
            pixels.argument = argument ? at(job, argument, c / lanes * job->next) : NULL;
            pixels.dy = at(job, job->dy.data, block->n * stride[0] + (block->c + c) * stride[1]);
            pixels.dx = at(job, job->dx, (block->n * p->h + pixels.row) * p->w * p->c + block->c + c);
            job->pass->kernels->pool_gather_pixels(&pixels);
        }
}

static void backward_block(void *context, const fc_pool_block *block, int thread)
{
    const backward_job *job = context;
    const fc_pool *p = job->pass->p;
    const ptrdiff_t lanes = job->pass->kernels->lanes, guard = p->layout == FC_NCHW ? lanes : 0;
    char *scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    char *argument = job->argument_bytes ? at(job, scratch, guard) : NULL;
    fc_pool_block out = *block;
    rows_that_reach(p, block->row, block->row_end, &out.row, &out.row_end);
    if (argument && out.row < out.row_end) {
        const fc_pool_arguments arguments = {argument, job->next, job->pitch, job->pair};
        fc_pool_strips(job->pass, &out, &arguments, job->pass->kernels->pool_argmax);
    }
    if (p->layout == FC_NHWC)
        gather_channels(job, block, &out, argument);
    else
        gather_planes(job, block, &out, argument, at(job, scratch + job->argument_bytes, guard));
}

/* Whether planes may share vectors in scratch, where what a column takes from beside its own plane must be empty. */
static int pairs_fit(const fc_pool_pass *pass)
{
    const fc_pool *p = pass->p;
    const ptrdiff_t half = pass->kernels->lanes / 2, columns = fc_ceil_div(p->w, p->stride_w);
    return fc_pool_pairs(pass) && p->stride_w <= 2 && p->dilation_w == 1 &&
           p->ow + (p->kw - 1) / p->stride_w <= half && columns + fc_ceil_div(p->pad_left, p->stride_w) <= half;
}

fc_status fc_pool_backward(const fc_pool_pass *pass, fc_view dy, void *dx, int threads)
{
    const fc_pool *p = pass->p;
    const ptrdiff_t lanes = pass->kernels->lanes, element = (ptrdiff_t)pass->element;
    const int maximum = !pass->counted_h;
    ptrdiff_t taps;
    if (maximum && (__builtin_mul_overflow(p->kh, p->kw, &taps) || taps > INT32_MAX))
        return FC_OVERFLOW;
    backward_job job = {.pass = pass, .dy = dy, .dx = dx, .pair = pairs_fit(pass)};
    threads = fc_useful_threads(threads, p->n * p->c * p->h, 2 * fc_pool_seconds(p));
    fc_pool_grid grid = fc_pool_grid_of(p, p->h, 2 * p->w * element, threads);
    threads = (int)fc_min(threads, grid.plane_parts * grid.row_parts);
    grid.visit = backward_block;
    grid.context = &job;
    job.out_rows = fc_min(p->oh, (grid.block_rows - 1 + (p->kh - 1) * p->dilation_h) / p->stride_h + 2);
    ptrdiff_t planes;
    if (p->layout == FC_NHWC) {
        job.pitch = p->ow * lanes;
        planes = fc_ceil_div(fc_min(p->c, FC_POOL_CHANNELS), lanes);
    } else {
        const ptrdiff_t columns = job.pair ? lanes : fc_max(p->ow, fc_ceil_div(p->w, p->stride_w));
        job.pitch = (fc_ceil_div(columns, lanes) + 1) * lanes;
        planes = job.pair ? (grid.block_planes + 1) / 2 : grid.block_planes;
    }
    job.next = job.out_rows * job.pitch;
    const size_t array = (size_t)(planes * job.next + 2 * lanes) * pass->element;
    fc_workspace sizes = {0};
    if (maximum)
        fc_take(&sizes, array);
    job.argument_bytes = sizes.used;
    if (p->layout == FC_NCHW)
        fc_take(&sizes, array);
    job.scratch_bytes = sizes.used;
    job.scratch = fc_workspace_acquire((size_t)threads * job.scratch_bytes + 1);
    if (!job.scratch)
        return FC_NO_MEMORY;
    /* What is read beside the rows: arguments that are no tap, and no gradient. */
    for (int i = 0; i < threads; i++) {
        char *scratch = job.scratch + (size_t)i * job.scratch_bytes;
        memset(scratch, 0xff, job.argument_bytes);
        memset(scratch + job.argument_bytes, 0, job.scratch_bytes - job.argument_bytes);
    }
    fc_pool_run(&grid, threads);
    fc_workspace_release(job.scratch);
    return FC_OK;
}
