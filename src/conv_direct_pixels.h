/* Direct convolution with lanes along a row of pixels: what its plan decides and its tasks read. */
#ifndef FC_CONV_DIRECT_PIXELS_H
#define FC_CONV_DIRECT_PIXELS_H

#include "gemm.h"
#include "image_block.h"
#include "pack_weights.h"

typedef struct {
    const fc_correlation *c;
    fc_gemm gemm;             /* panels of the weights */
    int in_place;             /* 1x1: the image is read where it lies, as one row of pixels */
    int stores_in_place;      /* outputs go where they belong, and are not turned from a block */
    int asks;                 /* such an image lies beyond L2: each panel of pixels is asked for during the one before */
    ptrdiff_t width;          /* pixels of a panel, at most */
    ptrdiff_t rows;           /* output rows in a block */
    ptrdiff_t unit;           /* pixels that a row's blocks are multiples of, but for the last */
    ptrdiff_t row_blocks, column_blocks, a_blocks;
    fc_image_block block;
    int reads_weights;        /* where they lie; else they are packed */
    fc_weights weights;
    ptrdiff_t steps;          /* of the reduction between two visits of y */
    ptrdiff_t *offset;        /* in a copied image: of every step of the reduction, within its depth block */
    size_t c_bytes, scratch_bytes;
    size_t panel_bytes;       /* of an image read in place: a panel of pixels, the last ones, and offsets are kept */
    size_t image_bytes;
    char *scratch;
} fc_pixels_job;

/* Channels that steps [k, k + depth) touch. */
static inline void fc_channels_of_steps(const fc_correlation *c, ptrdiff_t k, ptrdiff_t depth, ptrdiff_t *first,
                                        ptrdiff_t *count)
{
    *first = k / c->taps;
    *count = (k + depth - 1) / c->taps - *first + 1;
}

/* A row of pixels in panels of whole vectors, of which the first have one more. */
typedef struct {
    ptrdiff_t panels;
    fc_parts vectors;
    int ends_odd;  /* the last panel is one vector */
} fc_row_panels;

static inline fc_row_panels fc_panels_of_row(const fc_correlation *c, ptrdiff_t columns, ptrdiff_t width)
{
    const ptrdiff_t lanes = c->kernels->lanes, vectors = fc_ceil_div(columns, lanes);
    fc_row_panels row = {.panels = fc_ceil_div(vectors * lanes, width)};
    row.vectors = fc_equal_parts(vectors, row.panels);
    row.ends_odd = row.vectors.length == 1;
    return row;
}

/* conv_direct_pixels_plan.c */
void fc_direct_pixels_plan(fc_pixels_job *job, const fc_correlation *c, int threads);

#endif
