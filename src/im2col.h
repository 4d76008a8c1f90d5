/* The im2col map: which element of the image each (tap, pixel) sees. */
#ifndef FC_IM2COL_H
#define FC_IM2COL_H

#include "gemm.h"

/* For `count` channels from `x` (one image's), pixels [first, first + pixels) as tap t sees them, in rows dst_step
 * apart; padding is zero. Rows are whole vectors, zero behind `pixels`, or with `exact` no longer than that. They are at
 * most FC_DEPTH_BLOCK pixels: a panel's columns, or the steps of a weight gradient. */
void fc_gather_pixels(const fc_correlation *c, const char *x, ptrdiff_t t, ptrdiff_t first, ptrdiff_t pixels, char *dst,
                      ptrdiff_t dst_step, ptrdiff_t count, int exact);

/* The outputs j of a row whose input j*stride + offset lies in [0, size): [*begin, *end) within [0, outputs). */
void fc_valid_outputs(ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t offset, ptrdiff_t size, ptrdiff_t *begin,
                      ptrdiff_t *end);

/* Whether the im2col matrix is the image as it lies: a 1x1 kernel that sees every pixel of dense NCHW planes once. */
static inline int fc_sees_image_itself(const fc_correlation *c)
{
    return c->layout == FC_NCHW && c->taps == 1 && c->stride_h == 1 && c->stride_w == 1 && c->tap[0].h == 0 &&
           c->tap[0].w == 0 && c->oh == c->h && c->ow == c->w && c->x_w == 1 && c->x_h == c->w;
}

/* Whether no output sees the padding. */
static inline int fc_taps_stay_inside(const fc_correlation *c)
{
    for (ptrdiff_t t = 0; t < c->taps; t++)
        if (c->tap[t].h < 0 || c->tap[t].w < 0 || (c->oh - 1) * c->stride_h + c->tap[t].h >= c->h ||
            (c->ow - 1) * c->stride_w + c->tap[t].w >= c->w)
            return 0;
    return 1;
}

/* Whether the im2col matrix has a pixel's channels for a row as they lie: a 1x1 kernel on NHWC that sees no padding. (To the
 * micro-kernel a step of 0, one pixel repeated, means packed rows.) */
static inline int fc_pixels_are_rows(const fc_correlation *c)
{
    return c->layout == FC_NHWC && c->taps == 1 && c->x_c == 1 && c->x_w != 0 && fc_taps_stay_inside(c);
}

/* Whether the pixels that a 1x1 kernel sees of an image follow each other at one step, from row to row too. */
static inline int fc_rows_follow(const fc_correlation *c)
{
    return c->oh == 1 || c->stride_h * c->x_h == c->ow * c->stride_w * c->x_w;
}

/* Whether a row's pixels are gathered by vectors: they lie side by side. */
static inline int fc_gathers_vectors(const fc_correlation *c)
{
    return c->layout == FC_NHWC || (c->stride_w == 1 && c->x_w == 1);
}

/* conv_im2col_weight.c */
double fc_im2col_weight_cycles(const fc_correlation *c);
void fc_im2col_correlate_weights(const fc_correlation *c, int threads, fc_workspace *workspace);

/* conv_im2col.c: the correlation on the calling thread, inside another algorithm's task. Its scratch is no larger for a
 * smaller plane. */
void fc_im2col_in_task(const fc_correlation *c, fc_workspace *workspace);

#endif
