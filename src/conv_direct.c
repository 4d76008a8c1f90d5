/* Direct convolution: the micro-kernel reads the image in place, each step of its reduction at a tap's offset; nothing
 * is gathered. Lanes run along a row of pixels, or along output channels, or if it is depthwise along those of all groups,
 * which with NCHW are turned for it, as small groups of NHWC are for lanes along pixels; whichever costs less.
 */
#include "conv_direct.h"

#include <math.h>

#include "pack_weights.h"

/* Channel by channel, whatever the layout: a depth block then needs some channels of the image, not all. */
static fc_correlation by_channel(const fc_correlation *given)
{
    fc_correlation c = *given;
    c.order = FC_BY_CHANNEL;
    return c;
}

/* A way beside those of fc_lanes: along the groups of a depthwise problem. */
enum { LANES_GROUPS = FC_LANES_CHANNELS + 1 };

static double lanes_cycles(const fc_correlation *c)
{
    return fmin(fc_direct_pixels_cycles(c), fc_direct_channels_cycles(c));
}

static double weight_lanes_cycles(const fc_correlation *c)
{
    return fmin(fc_direct_weight_pixels_cycles(c), fc_direct_weight_channels_cycles(c));
}

/* Lanes along groups, as they lie or turned; HUGE_VAL cycles of what is not depthwise. */
static double groups_cycles(const fc_correlation *c, fc_operation operation)
{
    if (fc_serves_depthwise(c))
        return fc_direct_depthwise_cycles(c, operation);
    return fc_serves_turned(c) ? fc_turned_cycles(c, operation) : HUGE_VAL;
}

/* HUGE_VAL cycles of what is not of small groups. */
static double planes_cycles(const fc_correlation *c, fc_operation operation)
{
    return fc_serves_planes(c) ? fc_planes_cycles(c, operation) : HUGE_VAL;
}

static int choose_lanes(const fc_correlation *given, fc_operation operation)
{
    const fc_correlation c = by_channel(given);
    const double pixels = fc_direct_pixels_cycles(&c), channels = fc_direct_channels_cycles(&c);
    const int along_groups = groups_cycles(&c, operation) < fmin(pixels, channels) && !fc_weights_spoil_padding(&c);
    if (along_groups && fc_serves_depthwise(&c))
        return LANES_GROUPS;
    if (along_groups && !c.is_part)
        return FC_WHOLE_OPERATION;
    if (!c.is_part && planes_cycles(&c, operation) < fmin(pixels, channels) &&
        !(operation == FC_BACKWARD_INPUT && fc_weights_spoil_padding(&c)))
        return FC_WHOLE_OPERATION;
    return channels < pixels ? FC_LANES_CHANNELS : FC_LANES_PIXELS;
}

static void correlate(const fc_correlation *given, int threads, fc_workspace *workspace)
{
    const fc_correlation c = by_channel(given);
    if (c.way == LANES_GROUPS)
        fc_direct_depthwise_correlate(&c, threads, workspace);
    else if (c.way == FC_LANES_PIXELS)
        fc_direct_pixels_correlate(&c, threads, workspace);
    else
        fc_direct_channels_correlate(&c, threads, workspace);
}

/* All at once in the other layout. */
static void operate(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                    fc_workspace *workspace)
{
    if (conv->layout == FC_NCHW)
        fc_turned_operate(conv, operation, operands, threads, workspace);
    else
        fc_planes_operate(conv, operation, operands, threads, workspace);
}

static void correlate_weights(const fc_correlation *given, int threads, fc_workspace *workspace)
{
    const fc_correlation c = by_channel(given);
    const double lanes = weight_lanes_cycles(&c), groups = groups_cycles(&c, FC_BACKWARD_WEIGHT);
    if (planes_cycles(&c, FC_BACKWARD_WEIGHT) < fmin(groups, lanes))
        fc_planes_sum_gradients(&c, threads, workspace);
    else if (groups < lanes)
        fc_direct_depthwise_correlate_weights(&c, threads, workspace);
    else if (fc_direct_weight_pixels_cycles(&c) < fc_direct_weight_channels_cycles(&c))
        fc_direct_weight_pixels_correlate(&c, threads, workspace);
    else
        fc_direct_weight_channels_correlate(&c, threads, workspace);
}

static const fc_packing *packing(const fc_correlation *c)
{
    return c->way >= LANES_GROUPS ? NULL : fc_panel_packing((fc_lanes)c->way, FC_BY_CHANNEL);
}

static const char *refuses(const fc_correlation *given, fc_operation operation)
{
    const fc_correlation c = by_channel(given);
    (void)operation;
    return fc_direct_pixels_refusal(&c);
}

static double cycles(const fc_correlation *given, fc_operation operation)
{
    const fc_correlation c = by_channel(given);
    const double cycles = operation == FC_BACKWARD_WEIGHT ? weight_lanes_cycles(&c) : lanes_cycles(&c);
    return fmin(cycles, fmin(groups_cycles(&c, operation), planes_cycles(&c, operation)));
}

const fc_conv_algorithm fc_algorithm_direct = {
    .name = "direct",
    .variant = "pixels in place",
    .rank = "gathers nothing; copies rows of pixels once, which all taps read",
    .refuses = refuses,
    .cycles = cycles,
    .choose = choose_lanes,
    .correlate = correlate,
    .operate = operate,
    .correlate_weights = correlate_weights,
    .packing = packing,
};
