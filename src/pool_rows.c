/* A block of a pool forward over small windows of neighbours in NCHW planes. */
#include "pool_walk.h"

void fc_pool_rows_block(void *context, const fc_pool_block *block, int thread)
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
