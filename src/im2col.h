/* The im2col map: which element of the image each (tap, pixel) sees. */
#ifndef FC_IM2COL_H
#define FC_IM2COL_H

#include "gemm.h"

/* For `count` channels from `x` (one image's), pixels [first, first + pixels) as tap t sees them, in rows dst_step apart;
 * padding is zero. Rows are whole vectors, zero behind `pixels`, or with `exact` no longer than that.
 * pixels <= FC_GATHER_PIXELS. */
enum { FC_GATHER_PIXELS = 256 };
void fc_gather_pixels(const fc_correlation *c, const char *x, ptrdiff_t t, ptrdiff_t first, ptrdiff_t pixels, char *dst,
                      ptrdiff_t dst_step, ptrdiff_t count, int exact);

/* The outputs j of a row whose input j*stride + offset lies in [0, size): [*begin, *end) within [0, outputs). */
void fc_valid_outputs(ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t offset, ptrdiff_t size, ptrdiff_t *begin,
                      ptrdiff_t *end);

/* conv_im2col_weight.c: the weight gradient's product over `pixels` of one image. */
fc_gemm fc_weight_gemm(const fc_correlation *c, ptrdiff_t pixels);
void fc_im2col_correlate_weights(const fc_correlation *c, int threads, fc_workspace *workspace);

/* conv_im2col.c: the correlation on the calling thread, inside another algorithm's task. Its scratch is no larger for a
 * smaller plane. */
void fc_im2col_in_task(const fc_correlation *c, fc_workspace *workspace);

/* Cycles of one step of a register tile two vectors wide. */
static inline double fc_tile_step_cycles(double rows)
{
    const double loads = (rows + 2) / 2, latency = 4;
    return rows > loads ? (rows > latency ? rows : latency) : (loads > latency ? loads : latency);
}

#endif
