/* The ways of the direct algorithm, by the axis of the lanes, and those of its weight gradient. */
#ifndef FC_CONV_DIRECT_H
#define FC_CONV_DIRECT_H

#include "blocking.h"
#include "correlation.h"
#include "image_block.h"
#include "im2col.h"

/* Whether zeros of the padding meet a weight that is not finite, and make a NaN: forward as the definition has it, which
 * has none around dy. */
static inline int fc_weights_spoil_padding(const fc_correlation *c)
{
    return c->weights && !fc_taps_stay_inside(c) && !fc_weights_are_finite(c);
}

/* conv_direct_pixels.c: why it cannot serve, or NULL. The steps of the reduction go channel by channel in both. */
const char *fc_direct_pixels_refusal(const fc_correlation *c);
double fc_direct_pixels_cycles(const fc_correlation *c);
void fc_direct_pixels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace);

/* conv_direct_channels_plan.c and conv_direct_channels.c: HUGE_VAL cycles of what does not fit into a thread's scratch. */
double fc_direct_channels_cycles(const fc_correlation *c);
void fc_direct_channels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace);

/* conv_direct_weight_pixels.c and conv_direct_weight_channels.c, as above */
double fc_direct_weight_pixels_cycles(const fc_correlation *c);
void fc_direct_weight_pixels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace);
double fc_direct_weight_channels_cycles(const fc_correlation *c);
void fc_direct_weight_channels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace);

/* conv_direct_depthwise.c: lanes along the groups of NHWC; weight gradients of what is turned to it, too. */
int fc_serves_depthwise(const fc_correlation *c);
double fc_direct_depthwise_cycles(const fc_correlation *c, fc_operation operation);
void fc_direct_depthwise_correlate(const fc_correlation *c, int threads, fc_workspace *workspace);
void fc_direct_depthwise_correlate_weights(const fc_correlation *c, int threads, fc_workspace *workspace);

/* Of one image whose channels lie side by side: adds its weight gradient to dw, tap by tap. */
void fc_depthwise_add_gradient(const fc_correlation *c, char *dw, fc_workspace *workspace);

/* conv_direct_turned.c: depthwise problems of NCHW on small planes, turned to NHWC; all correlations of an operation at once. */
int fc_serves_turned(const fc_correlation *c);
double fc_turned_cycles(const fc_correlation *c, fc_operation operation);
void fc_turned_operate(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                       fc_workspace *workspace);
void fc_turned_sum_gradients(const fc_correlation *c, int threads, fc_workspace *workspace);

/* conv_direct_planes.c: grouped NHWC with few channels a group, turned to NCHW; all correlations of an operation at once. */
int fc_serves_planes(const fc_correlation *c);
double fc_planes_cycles(const fc_correlation *c, fc_operation operation);
void fc_planes_operate(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                       fc_workspace *workspace);
void fc_planes_sum_gradients(const fc_correlation *c, int threads, fc_workspace *workspace);

/* What an image's group takes to begin. */
#define FC_DIRECT_TASK_CYCLES 450

/* Channels of a group that lie side by side are turned by vectors, however few they are. */
static inline double fc_turned_channels(const fc_correlation *c, ptrdiff_t channels)
{
    const int pieces = c->layout == FC_NHWC && c->groups > 1;
    return (double)(pieces ? fc_ceil_div(channels, c->kernels->lanes) * c->kernels->lanes : channels);
}

/* Copying one image's group into padded rows, of the phases that taps reach: planes, rows and vectors, or pixels that lie
 * apart, take their time each. */
static inline double fc_direct_copy_cycles(const fc_correlation *c)
{
    const fc_image_block b = fc_image_block_for(c, 1);
    const double vectors = (double)fc_ceil_div(c->ow, c->kernels->lanes);
    const double rows = (double)(c->oh * (c->stride_h / b.row_step));
    if (fc_rows_are_narrow(&b, c))
        return fc_copy_passes() * (double)c->q * (25 + rows * (4 + 1.5 * (double)fc_ceil_div(b.row_length, c->kernels->lanes)));
    /* Every third pixel of a vector or more, where rows are permuted at all. */
    const int permutes = c->stride_w == 3 && c->kernels->image_row > 0 && c->ow >= c->kernels->lanes;
    const double row = c->x_w != 1                     ? 2 + 0.75 * (double)c->ow
                       : c->stride_w > 2 && !permutes ? 5 + 1.25 * (double)c->ow
                       : c->stride_w == 1             ? 10 + 3 * vectors
                                                      : 7 + 6 * vectors;
    return fc_copy_passes() * fc_turned_channels(c, c->q) * (double)b.phases * (25 + rows * row);
}

/* What copies take longer of images that come from memory and whose channels lie side by side: each chunk of channels reads
 * a part of every pixel. */
static inline double fc_direct_far_cycles(const fc_correlation *c)
{
    const double bytes = (double)(c->n * c->groups * c->q) * (double)(c->h * c->w) * (double)c->element;
    return c->x_w != 1 && bytes > FC_FAR_BYTES ? 0.2 * bytes : 0;
}

/* One image's outputs of a group from a block to where they belong: vectors along rows or, with NHWC, pixels' channels. */
static inline double fc_direct_turn_cycles(const fc_correlation *c)
{
    const double element = fc_copy_passes() * (c->layout == FC_NCHW ? 3 : 16) / (double)c->kernels->lanes;
    return fc_turned_channels(c, c->m) * (double)(c->oh * c->ow) * element;
}

#endif
