/* Packing of weights: any strides, so that forward, transposed and either layout share it. */
#include "pack_weights.h"

#include <math.h>
#include <string.h>

#include "blocking.h"
#include "parallel.h"

fc_tap_range fc_steps_of_tap(const fc_correlation *c, ptrdiff_t t, ptrdiff_t k, ptrdiff_t depth)
{
    fc_tap_range range;
    if (c->order == FC_BY_CHANNEL) {
        range.q = fc_ceil_div(fc_max(k - t, 0), c->taps);
        range.count = fc_max(0, fc_ceil_div(k + depth - t, c->taps) - range.q);
        range.first = range.q * c->taps + t - k;
        range.step = c->taps;
    } else {
        const ptrdiff_t begin = fc_max(k, t * c->q), end = fc_min(k + depth, (t + 1) * c->q);
        range.q = begin - t * c->q;
        range.count = fc_max(0, end - begin);
        range.first = begin - k;
        range.step = 1;
    }
    return range;
}

int fc_steps_are_contiguous(const fc_correlation *c)
{
    return c->order == FC_BY_CHANNEL && c->w_q == c->taps && c->tap[0].weight == 0 &&
           c->tap[c->taps - 1].weight == c->taps - 1;
}

/* As it is with an input gradient, whose channels lie whole filters apart. */
int fc_taps_are_contiguous(const fc_correlation *c)
{
    return c->order == FC_BY_CHANNEL && c->taps > 1 && c->tap[0].weight == 0 &&
           c->tap[c->taps - 1].weight == c->taps - 1;
}

static void pack_filters(const fc_correlation *c, const char *origin, ptrdiff_t rows, ptrdiff_t filled, ptrdiff_t k,
                         ptrdiff_t depth, char *panel, ptrdiff_t width)
{
    const ptrdiff_t end = k + depth;
    for (ptrdiff_t step = k, next; step < end; step = next) {
        /* Whole channels, or the part of one where a block of the depth begins or ends. */
        const ptrdiff_t q = step / c->taps, t = step % c->taps, left = end - step;
        const ptrdiff_t channels = t == 0 ? left / c->taps : 0;
        const ptrdiff_t taps = channels ? c->taps : fc_min(c->taps - t, left);
        next = step + fc_max(channels, 1) * taps;
        c->kernels->pack_filters(fc_at(c, panel, (step - k) * width), width, fc_at(c, origin, q * c->w_q + t), c->w_q,
                                 c->w_m, (int)rows, (int)filled, (int)taps, fc_max(channels, 1));
    }
}

void fc_pack_weight_panel(const fc_correlation *c, fc_lanes lanes, ptrdiff_t group, ptrdiff_t first, ptrdiff_t count,
                          ptrdiff_t k, ptrdiff_t depth, char *panel)
{
    const fc_kernels *kernels = c->kernels;
    const ptrdiff_t width = lanes == FC_LANES_PIXELS ? count : kernels->tile_columns;
    const ptrdiff_t filled = lanes == FC_LANES_PIXELS ? count : fc_whole_vectors(kernels, count);
    const char *origin = fc_at(c, c->weights, group * c->w_group + first * c->w_m);
    const void *row[64] = {NULL};
    if (fc_steps_are_contiguous(c)) {
        for (ptrdiff_t i = 0; i < count; i++)
            row[i] = fc_at(c, origin, i * c->w_m + k);
        kernels->pack_columns(panel, width, row, (int)filled, 1, depth);
        return;
    }
    if (fc_taps_are_contiguous(c)) {
        pack_filters(c, origin, count, filled, k, depth, panel, width);
        return;
    }
    for (ptrdiff_t t = 0; t < c->taps; t++) {
        const fc_tap_range range = fc_steps_of_tap(c, t, k, depth);
        if (range.count == 0)
            continue;
        char *to = fc_at(c, panel, range.first * width);
        const char *from = fc_at(c, origin, range.q * c->w_q + c->tap[t].weight);
        if (c->w_m == 1) {
            const fc_run run = {0, 0, count};
            kernels->pack_runs(to, range.step * width, from, c->w_q, 1, range.count, &run, 1,
                               filled > count ? filled : 0);
        } else {
            for (ptrdiff_t i = 0; i < count; i++)
                row[i] = fc_at(c, from, i * c->w_m);
            kernels->pack_columns(to, range.step * width, row, (int)filled, c->w_q, range.count);
        }
    }
}

/* What turning a tap's channels of a depth block takes, of which the last vector is not full, over that of all. */
static double run_share(const fc_correlation *c)
{
    const double vectors = (double)FC_DEPTH_BLOCK / (double)(c->taps * c->kernels->lanes);
    return c->order == FC_BY_CHANNEL && c->q * c->taps > FC_DEPTH_BLOCK ? ceil(vectors) / vectors : 1;
}

/* Transposed in registers, a vector at a time, where they do not lie apart; of NHWC's
 * input gradient tap by tap. */
double fc_packing_cycles(const fc_correlation *c)
{
    const int apart = fc_taps_lie_apart(c);
    const double weight = !apart ? 0.8 : c->w_q == 1 ? 1.5 * run_share(c) : 4;
    /* A vector takes as long for few filters. */
    const double rows = (double)(apart ? c->m : fc_max(c->m, c->kernels->lanes));
    return c->held ? 0 : weight * (double)c->groups * rows * (double)fc_depth(c);
}

static double output_bytes(const fc_correlation *c)
{
    return (double)(c->n * c->oh * c->ow) * (double)(c->groups * c->m) * (double)c->element;
}

fc_gemm fc_correlation_gemm(const fc_correlation *c, fc_lanes lanes)
{
    const ptrdiff_t pixels = c->oh * c->ow;
    return (fc_gemm){
        .kernels = c->kernels,
        .element = c->element,
        .m = lanes == FC_LANES_PIXELS ? c->m : pixels,
        .n = lanes == FC_LANES_PIXELS ? pixels : c->m,
        .k = fc_depth(c),
        .ask_c = output_bytes(c) > (fc_depth(c) < FC_ASKED_DEPTH ? FC_ASKED_SHORT_BYTES : FC_ASKED_OUTPUT_BYTES),
        .relu = c->relu,
    };
}

size_t fc_packed_group_bytes(const fc_correlation *c, fc_lanes lanes)
{
    const fc_gemm gemm = fc_correlation_gemm(c, lanes);
    return lanes == FC_LANES_PIXELS ? fc_packed_a_bytes(&gemm) : fc_packed_b_bytes(&gemm);
}

typedef struct {
    const fc_correlation *c;
    fc_lanes lanes;
    char *packed;
    ptrdiff_t panels, depth_blocks;
} pack_job;

typedef struct {
    const fc_correlation *c;
    fc_lanes lanes;
    ptrdiff_t group;
} pack_context;

static void pack_panel(const void *context, ptrdiff_t first, ptrdiff_t count, ptrdiff_t k, ptrdiff_t depth,
                       char *panel)
{
    const pack_context *pc = context;
    fc_pack_weight_panel(pc->c, pc->lanes, pc->group, first, count, k, depth, panel);
}

static void pack_panel_block(const pack_context *pc, ptrdiff_t depth_block, ptrdiff_t panel, char *packed)
{
    fc_gemm gemm = fc_correlation_gemm(pc->c, pc->lanes);
    gemm.pack_a = gemm.pack_b = pack_panel;
    gemm.context = pc;
    packed += (size_t)pc->group * fc_packed_group_bytes(pc->c, pc->lanes);
    if (pc->lanes == FC_LANES_PIXELS)
        fc_gemm_pack_a(&gemm, depth_block, panel, packed);
    else
        fc_gemm_pack_b(&gemm, depth_block, panel, packed);
}

static void pack_task(void *context, ptrdiff_t task, int thread)
{
    const pack_job *job = context;
    (void)thread;
    const ptrdiff_t parts = job->panels * job->depth_blocks, part = task % parts;
    const pack_context pc = {job->c, job->lanes, task / parts};
    /* In the order of the weights: filters that are long rows are read to their ends (1.2 to 1.5 times faster). */
    const int rows_are_filters = job->c->w_m > job->c->w_q;
    const ptrdiff_t block = rows_are_filters ? part % job->depth_blocks : part / job->panels;
    const ptrdiff_t panel = rows_are_filters ? part / job->depth_blocks : part % job->panels;
    pack_panel_block(&pc, block, panel, job->packed);
}

ptrdiff_t fc_weight_panels(const fc_correlation *c, fc_lanes lanes)
{
    const fc_gemm gemm = fc_correlation_gemm(c, lanes);
    return lanes == FC_LANES_PIXELS ? fc_a_panels(&gemm) : fc_b_panels(&gemm);
}

static void pack_all_weights(const fc_correlation *c, fc_lanes lanes, int threads, char *packed)
{
    pack_job job = {
        .c = c,
        .lanes = lanes,
        .packed = packed,
        .panels = fc_weight_panels(c, lanes),
        .depth_blocks = fc_depth_blocks(fc_depth(c)),
    };
    const ptrdiff_t tasks = c->groups * job.panels * job.depth_blocks;
    /* About a nanosecond an element on one thread. */
    const double seconds = 1e-9 * (double)fc_packed_group_bytes(c, lanes) / (double)c->element * (double)c->groups;
    fc_parallel_for(fc_useful_beside(threads, tasks, seconds), tasks, pack_task, &job);
}

void fc_pack_panels(const fc_correlation *c, fc_lanes lanes, ptrdiff_t group, ptrdiff_t first, ptrdiff_t end,
                    char *packed)
{
    const pack_context pc = {c, lanes, group};
    const ptrdiff_t depth_blocks = fc_depth_blocks(fc_depth(c));
    for (ptrdiff_t panel = first; panel < end; panel++)
        for (ptrdiff_t block = 0; block < depth_blocks; block++)
            pack_panel_block(&pc, block, panel, packed);
}

ptrdiff_t fc_blocks_apart(ptrdiff_t groups, ptrdiff_t panels, int threads)
{
    const ptrdiff_t blocks = fc_ceil_div(threads, groups);
    const ptrdiff_t longest = fc_ceil_div(groups * blocks, threads) * fc_ceil_div(panels, blocks);
    return blocks > panels || 16 * longest * threads > 17 * groups * panels ? 0 : blocks;
}

fc_weights fc_take_weights(fc_workspace *workspace, const fc_correlation *c, fc_lanes lanes, int threads)
{
    fc_weights weights = {.c = c, .lanes = lanes, .group_bytes = fc_packed_group_bytes(c, lanes), .packed = c->packed};
    weights.bytes = (size_t)c->groups * weights.group_bytes;
    if (c->packed)
        return weights;
    if (threads > 1 && weights.bytes <= (size_t)(FC_OWN_WEIGHTS_BYTES / threads) && !fc_taps_lie_apart(c)) {
        weights.step = weights.bytes + (size_t)c->groups;
        weights.fresh = fc_take_scratch(workspace, threads, &weights.step);
    } else {
        weights.fresh = fc_take(workspace, weights.bytes);
    }
    weights.packed = weights.fresh;
    return weights;
}

void fc_begin_weights(const fc_weights *weights, int threads)
{
    if (weights->fresh && !weights->step)
        pack_all_weights(weights->c, weights->lanes, threads, weights->fresh);
    for (int i = 0; i < threads && weights->step; i++)
        memset(weights->fresh + (size_t)i * weights->step + weights->bytes, 0, (size_t)weights->c->groups);
}

const char *fc_weights_of_group(const fc_weights *weights, ptrdiff_t group, int thread)
{
    const size_t own = (size_t)thread * weights->step;
    char *is_packed = weights->step ? weights->fresh + own + weights->bytes + group : NULL;
    if (is_packed && !*is_packed) {
        fc_pack_panels(weights->c, weights->lanes, group, 0, fc_weight_panels(weights->c, weights->lanes),
                       weights->fresh + own);
        *is_packed = 1;
    }
    return weights->packed + own + (size_t)group * weights->group_bytes;
}

static size_t bytes_for_pixel_lanes(const fc_correlation *c)
{
    return (size_t)c->groups * fc_packed_group_bytes(c, FC_LANES_PIXELS);
}

static size_t bytes_for_channel_lanes(const fc_correlation *c)
{
    return (size_t)c->groups * fc_packed_group_bytes(c, FC_LANES_CHANNELS);
}

static void pack_by_channel(const fc_correlation *given, fc_lanes lanes, int threads, char *packed)
{
    fc_correlation c = *given;
    c.order = FC_BY_CHANNEL;
    pack_all_weights(&c, lanes, threads, packed);
}

static void pack_for_pixel_lanes(const fc_correlation *c, int threads, char *packed)
{
    pack_by_channel(c, FC_LANES_PIXELS, threads, packed);
}

static void pack_for_channel_lanes(const fc_correlation *c, int threads, char *packed)
{
    pack_by_channel(c, FC_LANES_CHANNELS, threads, packed);
}

static void pack_for_channel_lanes_by_tap(const fc_correlation *c, int threads, char *packed)
{
    pack_all_weights(c, FC_LANES_CHANNELS, threads, packed);
}

const fc_packing *fc_panel_packing(fc_lanes lanes, fc_step_order order)
{
    static const fc_packing for_pixels = {bytes_for_pixel_lanes, pack_for_pixel_lanes};
    static const fc_packing for_channels[] = {
        [FC_BY_CHANNEL] = {bytes_for_channel_lanes, pack_for_channel_lanes},
        [FC_BY_TAP] = {bytes_for_channel_lanes, pack_for_channel_lanes_by_tap},
    };
    /* Tap by tap go the steps of NHWC alone, whose lanes are channels. */
    return lanes == FC_LANES_PIXELS ? &for_pixels : &for_channels[order];
}
