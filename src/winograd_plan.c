/* Which problems Winograd convolution serves, how it cuts them into blocks, and what that costs. */
#include "winograd.h"

#include <math.h>

#include "blocking.h"
#include "pack_weights.h"
#include "winograd_sums.h"

/* Puts each tap at its place in its phase's r x r square; 0 if there is none. A stride s is one of 1 over the s*s
 * phases of the image, each seen by every s-th tap: s*s times the channels, with smaller filters. */
static int place_taps(fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const int r = plan->r, square = r * r;
    const ptrdiff_t most = FC_WINOGRAD_TAPS / square;
    if (c->taps > FC_WINOGRAD_TAPS || c->stride_h > most || c->stride_w > most || c->stride_h * c->stride_w > most)
        return 0;
    plan->phases = (int)(c->stride_h * c->stride_w);
    plan->channels = c->q * plan->phases;
    plan->low_h = c->tap[0].h, plan->low_w = c->tap[0].w;
    for (ptrdiff_t t = 1; t < c->taps; t++)
        plan->low_h = fc_min(plan->low_h, c->tap[t].h), plan->low_w = fc_min(plan->low_w, c->tap[t].w);
    for (int i = 0; i < plan->phases * square; i++)
        plan->at[i] = -1;
    ptrdiff_t last = 0;
    for (int t = 0; t < c->taps; t++) {
        const ptrdiff_t h = c->tap[t].h - plan->low_h, w = c->tap[t].w - plan->low_w;
        const ptrdiff_t phase = h % c->stride_h * c->stride_w + w % c->stride_w;
        last = fc_max(last, fc_max(h / c->stride_h, w / c->stride_w));
        if (last >= r)
            return 0;
        plan->at[phase * square + h / c->stride_h * r + w / c->stride_w] = (short)t;
    }
    plan->full = plan->phases == 1 && c->taps == square;
    return r == 3 || last >= 3;
}

/* The fewest blocks: some for threads to share if there is one panel of filters, and tiles are enough; or an odd number of
 * few, and both blocks have tiles enough to pay for filters that are transformed beforehand. */
static ptrdiff_t fewest_blocks(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t panels = c->groups * fc_ceil_div(c->m, c->kernels->tile_columns);
    const ptrdiff_t tiles = plan->rows * plan->tiles_w;
    const int fill_registers = tiles >= 4 * c->kernels->tile_rows;
    if (panels == 1)
        return fill_registers ? 4 : fc_max(1, fc_min(2, tiles / FC_WINOGRAD_FEWEST_TILES));
    return panels < 8 && panels % 2 && fill_registers ? 2 : 1;
}

/* Blocks of rows of tiles. What is computed again follows from them: they depend on the problem alone. Their number is
 * one that threads can share evenly. */
static ptrdiff_t choose_blocks(const fc_winograd_plan *plan)
{
    const ptrdiff_t bytes_of_tile = plan->points * (ptrdiff_t)plan->c.element;
    const double filters = (double)plan->c.groups * (double)plan->c.m * (double)plan->channels * (double)bytes_of_tile;
    /* Each block pays for filters that no cache keeps: then it is as large as its products allow. */
    const double share = filters > FC_WINOGRAD_FILTER_BYTES ? fc_winograd_points_share(plan) : 1;
    const double products = filters > FC_WINOGRAD_FEW_FILTERS ? FC_WINOGRAD_PRODUCTS : FC_WINOGRAD_FEW_PRODUCTS;
    const ptrdiff_t wanted = fc_min((ptrdiff_t)(products / (double)plan->points / share),
                                    FC_WINOGRAD_IMAGE_BYTES / bytes_of_tile / plan->channels);
    const ptrdiff_t blocks = fc_max(fewest_blocks(plan), fc_ceil_div(plan->rows, fc_max(1, wanted / plan->tiles_w)));
    const ptrdiff_t even = blocks == 1 ? 1 : blocks < 8 ? 2 : blocks < 32 ? 4 : 8;
    return fc_min(plan->rows, fc_ceil_div(blocks, even) * even);
}

static void plan_steps(fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t width = c->kernels->tile_columns, lanes = c->kernels->lanes;
    const ptrdiff_t block = fc_winograd_sums_briefly(plan) ? FC_WINOGRAD_SHORT_DEPTH : FC_WINOGRAD_DEPTH_BLOCK;
    const ptrdiff_t depth_blocks = fc_min(c->q, fc_ceil_div(plan->channels, block));
    plan->image_ld = fc_odd_lines(c, plan->channels);
    plan->image_step = fc_odd_lines(c, plan->most_tiles * plan->image_ld);
    plan->product_step = fc_odd_lines(c, plan->most_tiles * width);
    plan->filters = (fc_winograd_filters){
        .panels = fc_ceil_div(c->m, width),
        .depth_blocks = depth_blocks,
        .point_step = fc_odd_lines(c, fc_ceil_div(c->q, depth_blocks) * plan->phases * width + lanes),
    };
    plan->filters.panel_step = plan->points * plan->filters.point_step;
}

/* Of the last tile of a side, which has as many outputs as are left for it; 0 if it is a whole one. */
static int edge_points(const fc_winograd_plan *plan, ptrdiff_t outputs)
{
    const int left = (int)(outputs % plan->m);
    return left && fc_winograd_has_edges(plan->size) ? left + plan->r - 1 : 0;
}

/* Cycles of a group: of all products, by register tiles and vectors of filters, with 110 for each call, and as many where
 * the sums are visited again; */
static double product_cycles(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const double tiles = (double)(plan->rows / plan->blocks * plan->tiles_w) * fc_winograd_points_share(plan);
    const double tile_panels = ceil(tiles / c->kernels->tile_rows);
    const double calls = 110 * (double)(plan->filters.depth_blocks * plan->filters.panels);
    const double step = fc_tile_step_cycles(tiles / tile_panels) * (double)fc_ceil_div(c->m, c->kernels->lanes) / 2;
    return (double)plan->points * (double)plan->blocks * tile_panels * (step * (double)plan->channels + calls);
}

/* of the transform of packed filters for each block; */
static double transform_cycles(const fc_winograd_plan *plan)
{
    const double filters = (double)plan->c.m * (double)plan->channels * (double)plan->blocks;
    return filters * (double)plan->points * 3.5 / (double)plan->c.kernels->lanes;
}

/* and of filters transformed beforehand that no cache keeps, which are multiplied no faster than they are read: 3 and 6.7
 * bytes a cycle were measured on two CPUs. */
static double streaming_cycles(const fc_winograd_plan *plan)
{
    const double bytes = (double)fc_winograd_filter_bytes(plan);
    const double groups = (double)plan->c.groups;
    return plan->c.held && bytes > FC_WINOGRAD_FILTER_BYTES ? bytes * (double)plan->blocks / 4.5 / groups : 0;
}

int fc_winograd_plan_of(fc_winograd_plan *plan, const fc_correlation *given, int m, int r)
{
    const int size = m + r - 1;
    *plan = (fc_winograd_plan){.c = *given, .m = m, .r = r, .size = size, .points = size * size};
    fc_correlation *c = &plan->c;
    c->order = FC_BY_CHANNEL;
    if (!place_taps(plan))
        return 0;
    plan->tiles_h = fc_ceil_div(c->oh, m), plan->tiles_w = fc_ceil_div(c->ow, m);
    plan->edge_h = edge_points(plan, c->oh), plan->edge_w = edge_points(plan, c->ow);
    /* Where less is saved, their own lines cost as much (14 x 14 outputs of F(3x3,5x5), 6 %: 1.1 times slower). */
    if (fc_winograd_points_share(plan) > 0.94)
        plan->edge_h = plan->edge_w = 0;
    plan->rows = c->n * plan->tiles_h;
    plan->blocks = choose_blocks(plan);
    const ptrdiff_t rows = fc_ceil_div(plan->rows, plan->blocks);
    plan->most_tiles = rows * plan->tiles_w;
    const double row_bytes = (double)(plan->tiles_w + 1) * m * m * (double)c->kernels->lanes * (double)c->element;
    if (row_bytes > FC_WINOGRAD_SMALL_SCRATCH)
        return 0;
    plan->image_rows = fc_max(1, fc_min(fc_min(rows, plan->tiles_h), (ptrdiff_t)(FC_IMAGE_BLOCK_BYTES / row_bytes)));
    plan_steps(plan);
    const double streaming = streaming_cycles(plan);
    plan->holds_taps = streaming > 0 && product_cycles(plan) + transform_cycles(plan) < streaming;
    const ptrdiff_t scratch = plan->points * (plan->image_step + plan->product_step) + plan->filters.panel_step +
                              c->kernels->lanes * m * c->ow + (ptrdiff_t)(fc_winograd_image_bytes(plan) / c->element);
    return scratch <= (FC_SCRATCH_LIMIT - FC_WINOGRAD_SMALL_SCRATCH) / (ptrdiff_t)c->element;
}

/* Rows of tiles before `row` that are at lower edges. */
static ptrdiff_t lower_edges(const fc_winograd_plan *plan, ptrdiff_t row)
{
    return plan->edge_h ? row / plan->tiles_h : 0;
}

fc_winograd_block fc_winograd_block_of(const fc_winograd_plan *plan, ptrdiff_t first_row, ptrdiff_t rows)
{
    const ptrdiff_t whole = plan->tiles_w - (plan->edge_w > 0);
    const ptrdiff_t lower = lower_edges(plan, first_row + rows) - lower_edges(plan, first_row);
    fc_winograd_block block = {.first_row = first_row, .rows = rows, .tiles = rows * plan->tiles_w};
    block.whole = lower * whole;
    block.right = rows * whole;
    block.corner = block.tiles - (plan->edge_w ? lower : 0);
    for (int in_lower = 0; in_lower < 2; in_lower++)
        for (int in_right = 0; in_right < 2; in_right++) {
            fc_winograd_range *range = &block.range[in_lower][in_right];
            range->begin = in_lower ? 0 : block.whole;
            range->end = !in_right ? block.right : in_lower ? block.tiles : block.corner;
            range->panels = fc_ceil_div(range->end - range->begin, plan->c.kernels->tile_rows);
            range->tiles = fc_equal_parts(range->end - range->begin, fc_max(1, range->panels));
        }
    return block;
}

/* An edge has the first points and infinity. */
static int edge_has(const fc_winograd_plan *plan, int edge, int i) { return i < edge - 1 || i == plan->size - 1; }

const fc_winograd_range *fc_winograd_range_of(const fc_winograd_plan *plan, const fc_winograd_block *block, int point)
{
    return &block->range[edge_has(plan, plan->edge_h, point / plan->size)]
                        [edge_has(plan, plan->edge_w, point % plan->size)];
}

fc_winograd_place fc_winograd_place_of(const fc_winograd_plan *plan, const fc_winograd_block *block, ptrdiff_t row)
{
    const ptrdiff_t whole = plan->tiles_w - (plan->edge_w > 0), at = block->first_row + row;
    const ptrdiff_t lower = lower_edges(plan, at) - lower_edges(plan, block->first_row);
    if (plan->edge_h && at % plan->tiles_h == plan->tiles_h - 1)
        return (fc_winograd_place){lower * whole, block->corner + lower, plan->edge_h};
    return (fc_winograd_place){block->whole + (row - lower) * whole, block->right + row - lower, plan->size};
}

double fc_winograd_points_share(const fc_winograd_plan *plan)
{
    const double size = plan->size, h = size * (double)plan->tiles_h, w = size * (double)plan->tiles_w;
    return (plan->edge_h ? 1 - (size - plan->edge_h) / h : 1) * (plan->edge_w ? 1 - (size - plan->edge_w) / w : 1);
}

const char *fc_winograd_refusal(const fc_correlation *c, fc_operation operation, int m, int r)
{
    fc_winograd_plan plan = {.c = *c, .r = 8 - r};
    const int other = place_taps(&plan);
    plan.r = r;
    if (!place_taps(&plan))
        return other ? fc_other_variant
                     : "it takes filters within 5x5 pixels, or within as many of each phase of a stride, 144 in all";
    /* A result that is small beside its transforms is less exact: 2x2 taps in squares of 3x3 nearly twice. */
    if (2 * c->taps < plan.phases * r * r)
        return "its taps fill less than half of the square of 3x3 or 5x5, or of the squares of all phases of the stride";
    const int fits = fc_winograd_plan_of(&plan, c, m, r);
    const int too_long = operation == FC_BACKWARD_WEIGHT ? plan.rows * plan.tiles_w > FC_WINOGRAD_SHORT_TILES
                                                         : plan.channels > FC_WINOGRAD_SHORT_CHANNELS;
    if (fc_winograd_sums_briefly(&plan) && too_long)
        return "its sum of more than 256 channels, or 16,384 tiles in a weight gradient, would round more than it may";
    const double point = (double)plan.points * (double)c->element, padding = 64;
    const double row = (double)plan.tiles_w * ((double)(plan.channels + c->m) + padding) * point;
    if (!fits || (operation == FC_BACKWARD_WEIGHT && row > FC_SCRATCH_LIMIT - FC_WINOGRAD_SMALL_SCRATCH))
        return "a row of tiles with all its channels does not fit into a thread's scratch of 16 MiB";
    return NULL;
}

/* Of a vector of channels of x, to lay its pixels side by side: those of phases lie apart, and where phases have different
 * edges come one by one. */
static double side_by_side_cycles(const fc_winograd_plan *plan)
{
    const double rows = (double)(plan->c.n * (plan->tiles_h * plan->m + plan->r - 1));
    const double columns = (double)(plan->tiles_w * plan->m + plan->r - 1);
    if (plan->phases == 1)
        return rows * (80 + 7 * columns);
    return rows * (230 + 14 * columns) * (plan->c.stride_w <= 2 && plan->c.x_w == 1 ? 1 : 2);
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
    const double vectors = (double)fc_ceil_div(plan.channels, c->kernels->lanes);
    const double image = vectors * (tiles * points * 4.5 + side_by_side_cycles(&plan));
    /* Packed, and put in its place; taps that lie apart are turned first. */
    const double square = (double)(r * r * (plan.full ? 1 : 2)) * 7.5 / lanes + (fc_taps_lie_apart(c) ? 0.4 * r * r : 0);
    const double packing = c->held ? 0 : (double)plan.blocks * (double)c->m * q * square;
    const double transforms = c->held && !plan.holds_taps ? 0 : transform_cycles(&plan);
    const double streaming = plan.holds_taps ? 0 : streaming_cycles(&plan);
    const double products = fmax(product_cycles(&plan), streaming);
    const double output = (double)fc_ceil_div(c->m, c->kernels->lanes) * tiles * points * 3;
    /* A lone task leaves other threads without work, while other algorithms share theirs. */
    const double alone = c->groups * plan.blocks * plan.filters.panels == 1 ? 1.4 : 1;
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
    const double turned = plan.phases > 1 ? q * side_by_side_cycles(&plan) : 0;
    const double transforms = cost.transform * points * tiles * (q + k) + turned;
    const double panels = (double)fc_ceil_div(c->m, c->kernels->tile_rows);
    const double blocks = chunks ? (double)sums.blocks : slabs ? 1 : ceil(all_tiles / FC_WINOGRAD_GRADIENT_TILES);
    const int depth = fc_winograd_sums_briefly(&plan) ? FC_WINOGRAD_SHORT_DEPTH : FC_WINOGRAD_GRADIENT_DEPTH;
    const double visits = blocks * ceil(all_tiles / blocks / depth) * cost.visit;
    const double steps = cost.step * tiles * fc_tile_step_cycles((double)c->m / panels);
    const double products = points * panels * q * (steps + visits);
    const double stored = (double)(r * r) * (plan.phases > 1 ? 13 * (double)plan.phases : 0.55 * lanes);
    const double gradient = (double)c->m * (cost.gradient * q * (points * 3 + stored) +
                                            cost.sum * points * (double)plan.channels);
    const double regions = slabs ? 0 : 10000 * (chunks ? 1 : blocks);
    const double x = bytes_of(c, c->q, c->h, c->w), dy = bytes_of(c, c->m, c->oh, c->ow);
    const double reading = c->layout == FC_NHWC ? far_cycles(x) + far_cycles(dy) : 0;
    return regions + reading + (double)c->groups * (transforms + products + gradient);
}
