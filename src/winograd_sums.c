/* The transformed weight gradient: blocks of tiles that are added to it, and dw from it. */
#include "winograd_sums.h"

#include "blocking.h"

/* The taps of a vector of channels of as many filters: at most 5 x 5 of 16 floats each. */
enum { MOST_TURNED_BYTES = 16 * 25 * 64 };

ptrdiff_t fc_winograd_padded_channels(const fc_winograd_sums *sums)
{
    const ptrdiff_t width = sums->plan.c.kernels->tile_columns;
    return fc_ceil_div(sums->channels, width) * width;
}

/* By whole panels of B. */
void fc_winograd_cut_channels(fc_winograd_sums *sums, ptrdiff_t slabs)
{
    const fc_correlation *c = &sums->plan.c;
    const ptrdiff_t width = c->kernels->tile_columns, panels = fc_ceil_div(sums->plan.channels, width);
    sums->channels = fc_min(sums->plan.channels, fc_ceil_div(panels, slabs) * width);
    /* Rows of a single panel are read to their ends: they need not lie apart. */
    sums->sum_ld = panels == 1 ? fc_ceil_div(sums->channels, c->kernels->lanes) * c->kernels->lanes
                               : fc_odd_lines(c, sums->channels);
}

void fc_winograd_cut_filters(fc_winograd_sums *sums, ptrdiff_t slabs)
{
    const fc_correlation *c = &sums->plan.c;
    sums->filters = fc_ceil_div(c->m, slabs);
    sums->dy_ld = fc_odd_lines(c, sums->filters);
}

void fc_winograd_cut_rows(fc_winograd_sums *sums, ptrdiff_t blocks)
{
    const fc_winograd_plan *plan = &sums->plan;
    sums->blocks = blocks;
    sums->tiles = fc_ceil_div(plan->rows, blocks) * plan->tiles_w;
    sums->x_step = fc_odd_lines(&plan->c, sums->tiles * fc_winograd_padded_channels(sums));
    sums->dy_step = fc_odd_lines(&plan->c, sums->tiles * sums->dy_ld);
    sums->sum_step = fc_odd_lines(&plan->c, sums->filters * sums->sum_ld);
}

fc_winograd_block fc_winograd_sum_rows(const fc_winograd_sums *sums, ptrdiff_t block)
{
    const fc_winograd_plan *plan = &sums->plan;
    const ptrdiff_t first = fc_part(plan->rows, sums->blocks, block);
    return fc_winograd_block_of(plan, first, fc_part(plan->rows, sums->blocks, block + 1) - first);
}

ptrdiff_t fc_winograd_vectors_of_x(const fc_winograd_sums *sums)
{
    return fc_ceil_div(sums->channels, sums->plan.c.kernels->lanes);
}

ptrdiff_t fc_winograd_vectors_of_dy(const fc_winograd_sums *sums)
{
    return fc_ceil_div(sums->filters, sums->plan.c.kernels->lanes);
}

void fc_winograd_transform_vector(const fc_winograd_sums *sums, const fc_winograd_sum_block *block, ptrdiff_t vector,
                                  ptrdiff_t row, ptrdiff_t rows, char *image)
{
    const fc_winograd_plan *plan = &sums->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, width = c->kernels->tile_columns, of_x = fc_winograd_vectors_of_x(sums);
    const int is_x = vector < of_x;
    const fc_winograd_planes p = is_x ? fc_winograd_planes_of_x(plan) : fc_winograd_planes_of_y(plan);
    const ptrdiff_t first = (is_x ? vector : vector - of_x) * lanes, channels = is_x ? sums->channels : sums->filters;
    const ptrdiff_t origin = is_x ? sums->group * plan->channels + sums->first_channel
                                  : sums->group * c->m + sums->first_filter;
    char *to = is_x ? fc_at(c, block->x, first / width * width * block->rows.tiles + first % width)
                    : fc_at(c, block->dy, first);
    fc_winograd_transform_tiles(plan, &p, origin + first, fc_min(lanes, channels - first), &block->rows, row, rows, image,
                                to, is_x ? width : sums->dy_ld, is_x ? sums->x_step : sums->dy_step);
}

void fc_winograd_multiply_point(const fc_winograd_sums *sums, const fc_winograd_sum_block *block, ptrdiff_t point,
                                ptrdiff_t part, ptrdiff_t parts)
{
    const fc_correlation *c = &sums->plan.c;
    const ptrdiff_t width = c->kernels->tile_columns, panels = fc_ceil_div(sums->filters, c->kernels->tile_rows);
    const fc_parts rows = fc_equal_parts(sums->filters, panels);
    const ptrdiff_t begin = fc_part(panels, parts, part), end = fc_part(panels, parts, part + 1);
    const fc_winograd_range *range = fc_winograd_range_of(&sums->plan, &block->rows, (int)point);
    const ptrdiff_t tiles = range->end - range->begin;
    /* One at least: where there are none, the sum is zero. */
    const ptrdiff_t depth =
        fc_winograd_sums_briefly(&sums->plan) ? FC_WINOGRAD_SHORT_DEPTH : FC_WINOGRAD_GRADIENT_DEPTH;
    const ptrdiff_t depths = fc_max(1, fc_ceil_div(tiles, depth));
    const char *x = fc_at(c, block->x, point * sums->x_step), *dy = fc_at(c, block->dy, point * sums->dy_step);
    char *sum = fc_at(c, block->sum, point * sums->sum_step);
    fc_tile tile = {.a_step = sums->dy_ld, .ldb = width, .ldc = sums->sum_ld};
    for (ptrdiff_t pc = 0; pc < depths; pc++) {
        const ptrdiff_t t = range->begin + fc_part(tiles, depths, pc);
        tile.depth = range->begin + fc_part(tiles, depths, pc + 1) - t;
        tile.accumulate = block->accumulate || pc > 0;
        for (ptrdiff_t q = 0; q < sums->channels; q += width) {
            tile.columns = (int)fc_min(width, sums->channels - q);
            tile.b = fc_at(c, x, q * block->rows.tiles + t * width);
            for (ptrdiff_t ir = begin; ir < end; ir++) {
                const ptrdiff_t m = fc_part_begin(rows, ir);
                tile.rows = (int)(fc_part_begin(rows, ir + 1) - m);
                tile.a = fc_at(c, dy, t * sums->dy_ld + m);
                tile.c = fc_at(c, sum, m * sums->sum_ld + q);
                c->kernels->gemm_tile(&tile);
            }
        }
    }
}

/* Where the taps of a vector of channels lie in dw: by phases, whose channels are `phases` lanes apart. */
static void store_taps(const fc_winograd_sums *sums, ptrdiff_t first, int channels, const char *taps, char *dw)
{
    const fc_winograd_plan *plan = &sums->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, square = plan->r * plan->r, phases = plan->phases;
    if (sums->taps_in_order) {
        c->kernels->store_strided(fc_at(c, dw, first * c->w_q), 1, c->w_q, taps, lanes, square, channels);
        return;
    }
    for (ptrdiff_t lane = 0; lane < fc_min(phases, channels); lane++) {
        const ptrdiff_t q = (first + lane) / phases, phase = (first + lane) % phases;
        const ptrdiff_t count = fc_ceil_div(channels - lane, phases);
        for (ptrdiff_t i = 0; i < square; i++) {
            const int tap = plan->at[phase * square + i];
            if (tap >= 0)
                c->kernels->store_strided(fc_at(c, dw, q * c->w_q + c->tap[tap].weight), c->w_q, 0,
                                          fc_at(c, taps, i * lanes + lane), phases, count, 1);
        }
    }
}

/* Whether filters lie side by side in dw, which is stored by vectors of them. */
static int stores_filters(const fc_winograd_sums *sums)
{
    const fc_correlation *c = &sums->plan.c;
    return c->w_m == 1 && c->w_q != 1 && sums->plan.phases == 1;
}

ptrdiff_t fc_winograd_sum_parts(const fc_winograd_sums *sums)
{
    const ptrdiff_t lanes = sums->plan.c.kernels->lanes;
    return stores_filters(sums) ? fc_ceil_div(sums->filters, lanes) * fc_ceil_div(sums->channels, lanes) : sums->filters;
}

fc_winograd_sum_part fc_winograd_sum_part_at(const fc_winograd_sums *sums, ptrdiff_t i)
{
    if (!stores_filters(sums))
        return (fc_winograd_sum_part){i, 1, 0, sums->channels};
    const ptrdiff_t lanes = sums->plan.c.kernels->lanes, vectors = fc_ceil_div(sums->channels, lanes);
    const ptrdiff_t m = i / vectors * lanes, q = i % vectors * lanes;
    return (fc_winograd_sum_part){m, fc_min(lanes, sums->filters - m), q, fc_min(lanes, sums->channels - q)};
}

/* Of a vector of channels the taps of some filters, each r x r vectors, turned. */
static void store_turned_taps(const fc_winograd_sums *sums, const fc_winograd_sum_part *part, const char *taps, char *dw)
{
    const fc_winograd_plan *plan = &sums->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, square = plan->r * plan->r;
    for (ptrdiff_t i = 0; i < square; i++)
        if (plan->at[i] >= 0)
            c->kernels->store_strided(fc_at(c, dw, c->tap[plan->at[i]].weight), 1, c->w_q, fc_at(c, taps, i * lanes),
                                      square * lanes, part->filters, part->channels);
}

void fc_winograd_store_gradient(const fc_winograd_sums *sums, const char *sum, const fc_winograd_sum_part *part,
                                char *taps)
{
    const fc_winograd_plan *plan = &sums->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, square = plan->r * plan->r;
    const int turns = stores_filters(sums);
    _Alignas(64) char turned[MOST_TURNED_BYTES];
    char *dw = fc_at(c, c->weights, sums->group * c->w_group + (sums->first_filter + part->m) * c->w_m);
    for (ptrdiff_t q = part->q; q < part->q + part->channels; q += lanes) {
        const int channels = (int)fc_min(lanes, part->q + part->channels - q);
        for (ptrdiff_t i = 0; i < part->filters; i++) {
            const fc_winograd_gradient gradient = {
                .size = plan->size,
                .r = plan->r,
                .point_step = sums->sum_step,
                .sum = fc_at(c, sum, (part->m + i) * sums->sum_ld + q),
                .channels = channels,
                .taps = turns ? fc_at(c, turned, i * square * lanes) : taps,
            };
            if (!c->kernels->winograd_gradient(&gradient))
                atomic_store(sums->not_finite, 1);
            if (!turns)
                store_taps(sums, sums->first_channel + q, channels, taps, dw);
        }
        if (turns)
            store_turned_taps(sums, part, turned, fc_at(c, dw, (sums->first_channel + q) * c->w_q));
    }
}
