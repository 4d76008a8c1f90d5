/* Which problems Winograd convolution serves, and how it cuts them into blocks. */
#include "winograd.h"

#include "blocking.h"

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

/* Of few tiles and one panel of filters the channels alone can give two threads work that they do not both do. */
static int splits_channels(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t tiles = plan->rows * plan->tiles_w;
    return c->groups == 1 && c->m <= c->kernels->tile_columns && tiles < 4 * c->kernels->tile_rows && c->q > 1 &&
           plan->channels > fc_max(c->kernels->lanes, FC_WINOGRAD_PART_CHANNELS * tiles);
}

static fc_winograd_filters plan_filters(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t width = c->kernels->tile_columns, lanes = c->kernels->lanes;
    const ptrdiff_t block = fc_winograd_sums_briefly(plan) ? FC_WINOGRAD_SHORT_DEPTH : FC_WINOGRAD_DEPTH_BLOCK;
    ptrdiff_t depth_blocks = fc_min(c->q, fc_ceil_div(plan->channels, block));
    if (splits_channels(plan) && c->q > depth_blocks)
        depth_blocks = fc_ceil_div(depth_blocks, 2) * 2;
    const ptrdiff_t step = fc_odd_lines(c, fc_ceil_div(c->q, depth_blocks) * plan->phases * width + lanes);
    return (fc_winograd_filters){fc_ceil_div(c->m, width), depth_blocks, step, plan->points * step};
}

/* The fewest blocks: some for threads to share if there is one panel of filters, unless they share the channels, and tiles are enough; or where the image
 * takes long beside the filters; or an odd number of few, and both blocks have tiles enough to pay for their filters. */
static ptrdiff_t fewest_blocks(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t panels = c->groups * plan->filters.panels;
    const ptrdiff_t tiles = plan->rows * plan->tiles_w;
    const int fill_registers = tiles >= 4 * c->kernels->tile_rows;
    if (splits_channels(plan))
        return 1;
    if (panels == 1)
        return fill_registers ? 4 : fc_max(1, fc_min(2, tiles / FC_WINOGRAD_FEWEST_TILES));
    if (c->groups == 1 && plan->rows > 1 && tiles >= 2 * FC_WINOGRAD_FEWEST_TILES && fc_winograd_pays_in_halves(plan))
        return 2;
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
    plan->image_ld = fc_odd_lines(c, plan->channels);
    plan->image_step = fc_odd_lines(c, plan->most_tiles * plan->image_ld);
    plan->product_step = fc_odd_lines(c, plan->most_tiles * c->kernels->tile_columns);
}

/* Of the last tile of a side, which has as many outputs as are left for it; 0 if it is a whole one. */
static int edge_points(const fc_winograd_plan *plan, ptrdiff_t outputs)
{
    const int left = (int)(outputs % plan->m);
    return left && fc_winograd_has_edges(plan->size) ? left + plan->r - 1 : 0;
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
    plan->filters = plan_filters(plan);
    plan->blocks = choose_blocks(plan);
    plan->parts = plan->blocks == 1 && splits_channels(plan) ? 2 : 1;
    const ptrdiff_t rows = fc_ceil_div(plan->rows, plan->blocks);
    plan->most_tiles = rows * plan->tiles_w;
    const double row_bytes = (double)(plan->tiles_w + 1) * m * m * (double)c->kernels->lanes * (double)c->element;
    if (row_bytes > FC_WINOGRAD_SMALL_SCRATCH)
        return 0;
    plan->image_rows = fc_max(1, fc_min(fc_min(rows, plan->tiles_h), (ptrdiff_t)(FC_IMAGE_BLOCK_BYTES / row_bytes)));
    plan_steps(plan);
    plan->holds_taps = fc_winograd_streams_longer(plan);
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

