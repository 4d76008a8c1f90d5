/* What Winograd convolution costs, by which it is chosen and its blocks are. */
#include "winograd.h"

#include <math.h>

#include "blocking.h"
#include "pack_weights.h"
#include "winograd_sums.h"

/* Transforms are stores and sums of vectors, of which two of 32 bytes are done at once, or halves of one of 64. */
static double vector_cycles(const fc_correlation *c)
{
    return fc_vectors_are_narrow(c) ? 0.8 : fc_vector_passes() == 2 ? 1.4 : 1;
}

/* Cycles of a group: of a vector of channels of x, to lay its pixels side by side (those of phases lie apart, and where
 * phases have different edges come one by one); */
static double side_by_side_cycles(const fc_winograd_plan *plan)
{
    const double rows = (double)(plan->c.n * (plan->tiles_h * plan->m + plan->r - 1));
    const double columns = (double)(plan->tiles_w * plan->m + plan->r - 1);
    if (plan->phases == 1)
        return rows * (80 + 7 * columns);
    return rows * (250 + 7 * columns) * (plan->c.stride_w <= 2 && plan->c.x_w == 1 ? 1 : 2);
}

/* of the whole image; */
static double image_cycles(const fc_winograd_plan *plan)
{
    const double tiles = (double)(plan->rows * plan->tiles_w) * fc_winograd_points_share(plan);
    const double vectors = (double)fc_ceil_div(plan->channels, plan->c.kernels->lanes);
    return vectors * vector_cycles(&plan->c) * (tiles * (double)plan->points * 4.5 + side_by_side_cycles(plan));
}

/* of all products, by register tiles and vectors of filters, and of their calls, which store a tile or visit it again; */
static double product_cycles(const fc_winograd_plan *plan, ptrdiff_t blocks)
{
    const fc_correlation *c = &plan->c;
    const double tiles = (double)(plan->rows / blocks * plan->tiles_w) * fc_winograd_points_share(plan);
    const double tile_panels = ceil(tiles / c->kernels->tile_rows);
    const double rows = tiles / tile_panels;
    const double calls = (40 + 5 * rows) * (double)(plan->filters.depth_blocks * plan->filters.panels);
    const double step = fc_tile_step_cycles(rows) * (double)fc_ceil_div(c->m, c->kernels->lanes) / 2;
    return (double)plan->points * (double)blocks * tile_panels * (step * (double)plan->channels + calls);
}

/* of the transform of packed filters for each block, by vectors of them; */
static double transform_cycles(const fc_winograd_plan *plan, ptrdiff_t blocks)
{
    const double vectors = (double)(fc_ceil_div(plan->c.m, plan->c.kernels->lanes) * plan->channels * blocks);
    return vectors * (double)plan->points * 3.5 * vector_cycles(&plan->c);
}

/* and of filters transformed beforehand that no cache keeps, which are multiplied no faster than they are read: 3 and 6.7
 * bytes a cycle were measured on two CPUs. */
static double streaming_cycles(const fc_winograd_plan *plan)
{
    const double bytes = (double)fc_winograd_filter_bytes(plan);
    const double groups = (double)plan->c.groups;
    return plan->c.held && bytes > FC_WINOGRAD_FILTER_BYTES ? bytes * (double)plan->blocks / 4.5 / groups : 0;
}

int fc_winograd_streams_longer(const fc_winograd_plan *plan)
{
    const double streaming = streaming_cycles(plan);
    return streaming > 0 && product_cycles(plan, plan->blocks) + transform_cycles(plan, plan->blocks) < streaming;
}

int fc_winograd_pays_in_halves(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const double bytes = (double)fc_winograd_filter_bytes(plan);
    /* Filters are read twice then, 12 bytes a cycle, or from far 4.5; in halves of vectors at half the pace. */
    const double image = image_cycles(plan);
    const double again = bytes / (bytes > FC_WINOGRAD_NEAR_BYTES ? 9 : 24) * fc_vector_passes();
    const double longer = (double)(fc_ceil_div(plan->filters.panels, 2) * c->kernels->tile_columns) / (double)c->m;
    const double of_one = image + fmin(1, longer) * (transform_cycles(plan, 1) + product_cycles(plan, 1));
    return (image + transform_cycles(plan, 2) + product_cycles(plan, 2)) / 2 + again < of_one;
}

static double bytes_of(const fc_correlation *c, ptrdiff_t channels, ptrdiff_t h, ptrdiff_t w)
{
    return (double)(c->n * c->groups * channels) * (double)(h * w) * (double)c->element;
}

/* What of so many bytes comes from memory, or goes there: the caches keep a part. Rows of vectors of channels, as NHWC has
 * them, lie so far apart that they come as slowly as they are asked for. */
static double far_cycles(double bytes) { return 0.9 * fmax(0, bytes - FC_FAR_BYTES); }

static double memory_cycles(const fc_correlation *c)
{
    const double read = bytes_of(c, c->q, c->h, c->w), written = bytes_of(c, c->m, c->oh, c->ow);
    if (c->layout == FC_NHWC)
        return (read > FC_FAR_BYTES ? 0.55 * read : 0) + far_cycles(written);
    return written > FC_ASKED_OUTPUT_BYTES ? 0.1 * written : 0;
}

/* Transforms are counted by their loads, stores and sums; and what a problem takes however small: without it Winograd was
 * taken where direct kernels need two thirds of its time. */
double fc_winograd_cycles(const fc_correlation *c, int m, int r)
{
    fc_winograd_plan plan;
    fc_winograd_plan_of(&plan, c, m, r);
    const double lanes = (double)c->kernels->lanes, points = (double)plan.points, q = (double)plan.channels;
    const double tiles = (double)(plan.rows * plan.tiles_w) * fc_winograd_points_share(&plan);
    const double image = image_cycles(&plan);
    /* Packed, and put in its place; taps that lie apart are turned first. */
    const double square = (double)(r * r * (plan.full ? 1 : 2)) * 7.5 + (fc_taps_lie_apart(c) ? 0.4 * r * r * lanes : 0);
    const double packing = c->held ? 0 : (double)plan.blocks * (double)fc_ceil_div(c->m, c->kernels->lanes) * q * square;
    const double transforms = c->held && !plan.holds_taps ? 0 : transform_cycles(&plan, plan.blocks);
    const double streaming = plan.holds_taps ? 0 : streaming_cycles(&plan);
    const double products = fmax(product_cycles(&plan, plan.blocks), streaming);
    const double output = (double)fc_ceil_div(c->m, c->kernels->lanes) * tiles * points * 4.5 * vector_cycles(c);
    /* A lone task leaves other threads without work, while other algorithms share theirs. */
    const double alone = c->groups * plan.blocks * plan.filters.panels * plan.parts == 1 ? 1.4 : 1;
    return 5000 + memory_cycles(c) + alone * (double)c->groups * (image + packing + transforms + products + output);
}

/* Cycles of the weight gradient's parts: of a vector of transformed points, a step of a register tile and a visit of it, a
 * vector of dw, and a point of the sum that leaves the L2. */
typedef struct {
    double transform, step, visit, gradient, sum;
} gradient_costs;

/* Both transforms with the channels' turning, the products by vectors of channels and their calls, and the sum, which is
 * transformed into dw: fits to 170 random problems in each layout, of which nine in ten came out within 20 %. */
double fc_winograd_weight_cycles(const fc_correlation *c, int m, int r)
{
    fc_winograd_plan plan;
    fc_winograd_plan_of(&plan, c, m, r);
    fc_winograd_sums sums = {.plan = plan};
    const int slabs = fc_winograd_serves_slabs(&plan);
    const ptrdiff_t chunks = slabs ? 0 : fc_winograd_chunks(&sums);
    const gradient_costs cost = slabs    ? (gradient_costs){9.7, 0.52, 20, 1.8, 0}
                                : chunks ? (gradient_costs){8, 0.58, 8, 1.8, 0}
                                         : (gradient_costs){8, 0.55, 60, 1, 0.5};
    const double lanes = (double)c->kernels->lanes, points = (double)plan.points;
    const double all_tiles = (double)(plan.rows * plan.tiles_w), tiles = all_tiles * fc_winograd_points_share(&plan);
    const double q = (double)fc_ceil_div(plan.channels, c->kernels->lanes);
    const double k = (double)fc_ceil_div(c->m, c->kernels->lanes);
    const double turned = plan.phases > 1 ? q * vector_cycles(c) * side_by_side_cycles(&plan) : 0;
    /* Larger tiles take more sums for a point. */
    const double vectors = vector_cycles(c) * (0.56 + 0.1 * m) * points * tiles * (q + k);
    const double transforms = cost.transform * vectors + turned;
    const double panels = (double)fc_ceil_div(c->m, c->kernels->tile_rows);
    const double blocks = chunks ? (double)sums.blocks : slabs ? 1 : ceil(all_tiles / FC_WINOGRAD_GRADIENT_TILES);
    const int depth = fc_winograd_sums_briefly(&plan) ? FC_WINOGRAD_SHORT_DEPTH : FC_WINOGRAD_GRADIENT_DEPTH;
    const double visits = blocks * ceil(all_tiles / blocks / depth) * cost.visit;
    const double steps = cost.step * tiles * fc_tile_step_cycles((double)c->m / panels);
    const double products = points * panels * q * (steps + visits);
    const double stored = (double)(r * r) * lanes * (plan.phases > 1 ? 0.75 * (double)plan.phases : 0.55);
    const double gradient = (double)c->m * (cost.gradient * q * (points * 3 + stored) +
                                            cost.sum * points * (double)plan.channels);
    const double regions = slabs ? 0 : 10000 * (chunks ? 1 : blocks);
    const double x = bytes_of(c, c->q, c->h, c->w), dy = bytes_of(c, c->m, c->oh, c->ow);
    const double reading = c->layout == FC_NHWC ? far_cycles(x) + far_cycles(dy) : 0;
    /* Vectors of 32 bytes: fits to 114 random problems. */
    const double narrow = fc_vectors_are_narrow(c) ? 1.2 : 1;
    return regions + reading + narrow * (double)c->groups * (transforms + products + gradient);
}
