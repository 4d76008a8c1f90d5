/* Which problems Winograd convolution serves, how it cuts them into blocks, and what that costs. */
#include "winograd.h"

#include <math.h>

#include "blocking.h"

/* Whether the taps are an r x r square without gaps; where each lies in it, and where it begins. */
static int tap_places(const fc_correlation *c, int r, int at[FC_WINOGRAD_TAPS], ptrdiff_t *low_h, ptrdiff_t *low_w)
{
    if (c->taps != r * r || c->stride_h != 1 || c->stride_w != 1)
        return 0;
    *low_h = c->tap[0].h, *low_w = c->tap[0].w;
    for (int t = 1; t < r * r; t++)
        *low_h = fc_min(*low_h, c->tap[t].h), *low_w = fc_min(*low_w, c->tap[t].w);
    int seen = 0;
    for (int t = 0; t < r * r; t++) {
        const ptrdiff_t h = c->tap[t].h - *low_h, w = c->tap[t].w - *low_w;
        if (h >= r || w >= r)
            return 0;
        at[h * r + w] = t;
        seen |= 1 << (h * r + w);
    }
    return seen == (1 << r * r) - 1;
}

/* The fewest blocks: some for threads to share if there is one panel of filters, and the register tiles stay full; or an
 * odd number of few, and both blocks have tiles enough to pay for filters that are transformed beforehand. */
static ptrdiff_t fewest_blocks(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t panels = c->groups * fc_ceil_div(c->m, c->kernels->tile_columns);
    const ptrdiff_t register_tiles = plan->rows * plan->tiles.ow / c->kernels->tile_rows;
    if (panels == 1)
        return fc_max(1, fc_min(4, register_tiles));
    return panels < 8 && panels % 2 && register_tiles >= 4 ? 2 : 1;
}

/* Blocks of rows of tiles. What is computed again follows from them: they depend on the problem alone. Their number is
 * one that threads can share evenly. */
static ptrdiff_t choose_blocks(const fc_winograd_plan *plan)
{
    const fc_correlation *tiles = &plan->tiles;
    const ptrdiff_t bytes_of_tile = plan->points * (ptrdiff_t)tiles->element;
    const ptrdiff_t wanted = fc_min(FC_WINOGRAD_PRODUCTS / plan->points,
                                    FC_WINOGRAD_IMAGE_BYTES / bytes_of_tile / tiles->q);
    const ptrdiff_t blocks = fc_max(fewest_blocks(plan), fc_ceil_div(plan->rows, fc_max(1, wanted / tiles->ow)));
    const ptrdiff_t even = blocks == 1 ? 1 : blocks < 8 ? 2 : blocks < 32 ? 4 : 8;
    return fc_min(plan->rows, fc_ceil_div(blocks, even) * even);
}

static void plan_steps(fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t width = c->kernels->tile_columns, lanes = c->kernels->lanes;
    const ptrdiff_t depth_blocks = fc_ceil_div(c->q, FC_WINOGRAD_DEPTH_BLOCK);
    plan->image_ld = fc_odd_lines(c, c->q);
    plan->image_step = fc_odd_lines(c, plan->most_tiles * plan->image_ld);
    plan->product_step = fc_odd_lines(c, plan->most_tiles * width);
    plan->filters = (fc_winograd_filters){
        .panels = fc_ceil_div(c->m, width),
        .depth_blocks = depth_blocks,
        .point_step = fc_odd_lines(c, fc_ceil_div(c->q, depth_blocks) * width + lanes),
    };
    plan->filters.panel_step = plan->points * plan->filters.point_step;
}

int fc_winograd_plan_of(fc_winograd_plan *plan, const fc_correlation *given, int m, int r)
{
    const int size = m + r - 1;
    *plan = (fc_winograd_plan){.c = *given, .m = m, .r = r, .size = size, .points = size * size};
    fc_correlation *c = &plan->c;
    c->order = FC_BY_CHANNEL;
    ptrdiff_t low_h, low_w;
    if (!tap_places(c, r, plan->at, &low_h, &low_w))
        return 0;
    for (int i = 0; i < plan->points; i++)
        plan->tile_tap[i] = (fc_tap){low_h + i / size, low_w + i % size, 0};
    fc_correlation *tiles = &plan->tiles;
    *tiles = *c;
    tiles->oh = fc_ceil_div(c->oh, m), tiles->ow = fc_ceil_div(c->ow, m);
    tiles->stride_h = tiles->stride_w = m;
    tiles->taps = plan->points;
    tiles->tap = plan->tile_tap;
    plan->rows = c->n * tiles->oh;
    plan->blocks = choose_blocks(plan);
    const ptrdiff_t rows = fc_ceil_div(plan->rows, plan->blocks);
    plan->most_tiles = rows * tiles->ow;
    const double row_bytes = (double)(tiles->ow + 1) * m * m * (double)c->kernels->lanes * (double)c->element;
    if (row_bytes > FC_WINOGRAD_SMALL_SCRATCH)
        return 0;
    plan->image_rows = fc_max(1, fc_min(fc_min(rows, tiles->oh), (ptrdiff_t)(FC_IMAGE_BLOCK_BYTES / row_bytes)));
    plan_steps(plan);
    const ptrdiff_t scratch = plan->points * (plan->image_step + plan->product_step) + plan->filters.panel_step +
                              c->kernels->lanes * m * c->ow + (ptrdiff_t)(fc_winograd_image_bytes(plan) / c->element);
    return scratch <= (FC_SCRATCH_LIMIT - FC_WINOGRAD_SMALL_SCRATCH) / (ptrdiff_t)c->element;
}

const char *fc_winograd_refusal(const fc_correlation *c, fc_operation operation, int m, int r)
{
    fc_winograd_plan plan;
    int at[FC_WINOGRAD_TAPS];
    ptrdiff_t low_h, low_w;
    if (!tap_places(c, r, at, &low_h, &low_w))
        return tap_places(c, 8 - r, at, &low_h, &low_w) ? fc_other_variant
                                                        : "it takes 3x3 and 5x5 filters with stride 1 and dilation 1";
    const int fits = fc_winograd_plan_of(&plan, c, m, r);
    const double point = (double)plan.points * (double)c->element, padding = 64;
    const double row = (double)plan.tiles.ow * ((double)(c->q + c->m) + padding) * point;
    if (!fits || (operation == FC_BACKWARD_WEIGHT && row > FC_SCRATCH_LIMIT - FC_WINOGRAD_SMALL_SCRATCH))
        return "a row of tiles with all its channels does not fit into a thread's scratch of 16 MiB";
    return NULL;
}

/* Filters transformed beforehand that no cache keeps are multiplied no faster than they are read: three bytes a cycle,
 * measured with 75 MB of them, where F(2x2,3x3) has 34. */
static double streaming_cycles(const fc_winograd_plan *plan)
{
    const double bytes = (double)fc_winograd_filter_bytes(plan);
    return plan->c.held && bytes > FC_WINOGRAD_FILTER_BYTES ? bytes * (double)plan->blocks / 3 : 0;
}

/* Transforms are counted by their loads, stores and sums; products by register tiles, with 40 cycles for each call; and
 * what a problem takes however small: without it Winograd was taken where direct kernels need two thirds of its time. */
double fc_winograd_cycles(const fc_correlation *c, int m, int r)
{
    fc_winograd_plan plan;
    fc_winograd_plan_of(&plan, c, m, r);
    const double lanes = (double)c->kernels->lanes, points = (double)plan.points, q = (double)c->q;
    const ptrdiff_t tiles = plan.rows / plan.blocks * plan.tiles.ow;
    const double tile_panels = (double)fc_winograd_tile_panels(&plan, tiles);
    const double blocks = (double)plan.blocks, panels = (double)plan.filters.panels;
    const double tile_vectors = (double)(plan.rows * plan.tiles.ow) * (double)fc_ceil_div(c->q, c->kernels->lanes);
    const double step = fc_tile_step_cycles((double)tiles / tile_panels);
    const double image = tile_vectors * points * 5;
    const double filters = c->held ? 0 : blocks * (double)c->m * q * (double)(r * r + plan.points) * 8 / lanes;
    const double products = points * blocks * tile_panels * panels * (step * q + 40);
    const double streaming = streaming_cycles(&plan) / (double)c->groups;
    const double filter_vectors = (double)fc_ceil_div(c->m, c->kernels->lanes);
    const double output = filter_vectors * (double)(plan.rows * plan.tiles.ow) * points * 5;
    return 10000 + (double)c->groups * (image + filters + fmax(products, streaming) + output);
}

/* Both transforms with the channels' turning, the products, and the sum read and written once a block. */
double fc_winograd_weight_cycles(const fc_correlation *c, int m, int r)
{
    fc_winograd_plan plan;
    fc_winograd_plan_of(&plan, c, m, r);
    const double lanes = (double)c->kernels->lanes, points = (double)plan.points;
    const double tiles = (double)(plan.rows * plan.tiles.ow);
    const double q = (double)fc_ceil_div(c->q, c->kernels->lanes), k = (double)fc_ceil_div(c->m, c->kernels->lanes);
    const double transforms = tiles * (q + k) * points * 16; /* written to L3 */
    const double panels = (double)fc_ceil_div(c->m, c->kernels->tile_rows);
    const double columns = (double)fc_ceil_div(c->q, c->kernels->tile_columns);
    const double products = 1.15 * points * tiles * panels * columns * fc_tile_step_cycles((double)c->m / panels);
    const double gradient = (double)c->m * q * (points * 6 + (double)(r * r) * lanes);
    const double regions = (double)fc_ceil_div((ptrdiff_t)tiles, FC_WINOGRAD_GRADIENT_TILES) * 10000;
    return (double)c->groups * (transforms + products + gradient + regions);
}
