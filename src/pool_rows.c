/* Pools forward over small windows of neighbours in NCHW planes. */
#include "blocking.h"
#include "parallel.h"
#include "pool_walk.h"

int fc_pool_rows_serve(const fc_pool_pass *pass)
{
    const fc_pool *p = pass->p;
    return p->layout == FC_NCHW && p->kh == p->kw && (p->kw == 2 || p->kw == 3) && p->dilation_h == 1 &&
           p->dilation_w == 1 && p->stride_h == p->stride_w && p->stride_w <= 2 && p->oh * p->ow > 1;
}

static void forward_block(void *context, const fc_pool_block *block, int thread)
{
    const fc_pool_pass *pass = context;
    const fc_pool *p = pass->p;
    const ptrdiff_t element = (ptrdiff_t)pass->element, *stride = pass->x.stride;
    (void)thread;
    pass->kernels->pool_rows(&(fc_pool_rows){
        .taps = (int)p->kw,
        .stride = (int)p->stride_w,
        .pair = block->planes > 1 && fc_pool_pairs(pass),
        .count = block->planes,
        .height = p->h,
        .width = p->w,
        .out_width = p->ow,
        .pad_top = p->pad_top,
        .pad_left = p->pad_left,
        .row = block->row,
        .row_end = block->row_end,
        .x = (const char *)pass->x.data + (block->n * stride[0] + block->c * stride[1]) * element,
        .x_row = stride[2],
        .x_next = stride[1],
        .y = pass->y + (block->n * p->c + block->c) * p->oh * p->ow * element,
        .y_next = p->oh * p->ow,
        .counted_h = pass->counted_h,
        .counted_w = pass->counted_w,
    });
}

void fc_pool_rows_run(fc_pool_pass *pass, int threads)
{
    const fc_pool *p = pass->p;
    threads = fc_useful_threads(threads, p->n * p->c * p->oh, fc_pool_seconds(p));
    fc_pool_grid grid = fc_pool_grid_of(p, p->oh, p->stride_h * p->w * (ptrdiff_t)pass->element, threads);
    grid.block_rows = p->oh;  /* rows are read in order and once: a cache has nothing to keep */
    grid.block_planes += fc_pool_pairs(pass) ? grid.block_planes % 2 : 0;
    grid.visit = forward_block;
    grid.context = pass;
    fc_pool_run(&grid, threads);
}
