/* Rows of an image copied once, padded and split by stride phase, so that every tap reads them with unit stride.
 *
 * Element i of phase f in a row is input column low_w + i*stride_w + f; a tap is then a constant offset.
 */
#ifndef FC_IMAGE_BLOCK_H
#define FC_IMAGE_BLOCK_H

#include "correlation.h"

typedef struct {
    ptrdiff_t low_h, low_w;    /* the least offset of any tap */
    ptrdiff_t span_h;          /* how far the taps reach beyond it */
    ptrdiff_t phases, phase_length, row_length;
    ptrdiff_t row_step;        /* the stride, where every tap sees the same of so many rows, or 1 */
    ptrdiff_t rows;            /* output rows in a block */
    ptrdiff_t plane;           /* elements of one channel of a block */
} fc_image_block;

/* The block for `rows` output rows; `overflows` tells that its plane alone is beyond the scratch limit. */
fc_image_block fc_image_block_for(const fc_correlation *c, ptrdiff_t rows);
/* Another number of rows: the taps are not looked through again, which takes longer than all the rest of a small plan. */
void fc_image_block_resize(fc_image_block *b, const fc_correlation *c, ptrdiff_t rows);
int fc_image_block_overflows(const fc_image_block *b, const fc_correlation *c);
/* Where tap t begins, relative to the block's output row and column 0. */
ptrdiff_t fc_tap_offset(const fc_image_block *b, const fc_correlation *c, ptrdiff_t t);
/* The same of `steps` steps of a reduction channel by channel, from `first` on, relative to its channel. */
void fc_step_offsets(const fc_image_block *b, const fc_correlation *c, ptrdiff_t first, ptrdiff_t steps,
                     ptrdiff_t *offset);
/* Between an output row and the next. */
static inline ptrdiff_t fc_block_row_step(const fc_image_block *b, const fc_correlation *c)
{
    return c->stride_h * b->row_length;
}
/* Whether one kernel copies whole rows. */
static inline int fc_rows_are_narrow(const fc_image_block *b, const fc_correlation *c)
{
    return c->x_w == 1 && c->w <= c->kernels->image_row &&
           b->row_length <= FC_IMAGE_ROW_VECTORS * c->kernels->lanes;
}
/* Copies `channels` channels from x (one image's) for output rows [row, row + rows). */
void fc_fill_image_block(const fc_image_block *b, const fc_correlation *c, const char *x, ptrdiff_t channels,
                         ptrdiff_t row, ptrdiff_t rows, char *block);

#endif
