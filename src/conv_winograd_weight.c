/* Winograd weight gradient F(r x r, m x m): tiles of dy are the filters, and what is summed over is the tiles.
 *
 * A block of rows of tiles at a time, all threads transform x and dy, lanes along channels, and then multiply point by
 * point, filters x tiles times tiles x channels, adding to the transformed gradient. In the end that is transformed
 * into dw. Of many filters, and channels, slabs are taken one after the other, so that their sum stays in L3. The sum
 * runs over blocks in their order, whatever thread takes which point. A gradient that comes out not finite is computed
 * again without transform, as a whole.
 */
#include <stdatomic.h>

#include "blocking.h"
#include "im2col.h"
#include "parallel.h"
#include "winograd.h"

typedef struct {
    fc_winograd_plan plan;
    ptrdiff_t group;
    ptrdiff_t slabs, first_filter, filters; /* the filters whose sums are taken at once; the slab at hand */
    ptrdiff_t first_channel, channels; /* and the channels */
    ptrdiff_t blocks, block;           /* of rows of tiles; the one at hand */
    ptrdiff_t tiles;                   /* of the largest block */
    fc_winograd_block rows;            /* of the block at hand */
    ptrdiff_t transformed;             /* vectors of channels that need not be transformed */
    ptrdiff_t row_parts;               /* of the block, for all threads to have a part of few vectors */
    ptrdiff_t dy_ld, sum_ld;           /* between tiles of the transformed dy, and filters of the sum */
    ptrdiff_t x_step, dy_step, sum_step;
    ptrdiff_t filter_blocks;           /* that the product of a point is split into */
    int taps_in_order;                 /* the transform's taps lie one behind the other in memory */
    size_t scratch_bytes;
    char *x, *dy, *sum, *scratch;
    atomic_int not_finite;
} gradient_job;

/* Some rows of a vector of channels of x, which goes to panels of the micro-kernel's B, or, behind them, of dy. */
static void transform_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, width = c->kernels->tile_columns, of_x = fc_ceil_div(job->channels, lanes);
    const ptrdiff_t row = fc_part(job->rows.rows, job->row_parts, task % job->row_parts);
    const ptrdiff_t rows = fc_part(job->rows.rows, job->row_parts, task % job->row_parts + 1) - row;
    task = task / job->row_parts + job->transformed;
    const int is_x = task < of_x;
    const fc_winograd_planes p = is_x ? fc_winograd_planes_of_x(plan) : fc_winograd_planes_of_y(plan);
    const ptrdiff_t first = (is_x ? task : task - of_x) * lanes, channels = is_x ? job->channels : job->filters;
    const ptrdiff_t origin = is_x ? job->group * plan->channels + job->first_channel
                                  : job->group * c->m + job->first_filter;
    char *to = is_x ? fc_at(c, job->x, first / width * width * job->rows.tiles + first % width)
                    : fc_at(c, job->dy, first);
    fc_winograd_transform_tiles(plan, &p, origin + first, fc_min(lanes, channels - first), &job->rows, row, rows,
                                job->scratch + (size_t)thread * job->scratch_bytes, to, is_x ? width : job->dy_ld,
                                is_x ? job->x_step : job->dy_step);
}

/* One point of a block of filters: sum += dy^T x over the tiles of the block. */
static void multiply_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const fc_correlation *c = &job->plan.c;
    const ptrdiff_t width = c->kernels->tile_columns, channels = job->channels;
    const ptrdiff_t point = task / job->filter_blocks, part = task % job->filter_blocks;
    const ptrdiff_t panels = fc_ceil_div(job->filters, c->kernels->tile_rows);
    const fc_parts rows = fc_equal_parts(job->filters, panels);
    const ptrdiff_t begin = fc_part(panels, job->filter_blocks, part);
    const ptrdiff_t end = fc_part(panels, job->filter_blocks, part + 1);
    const fc_winograd_range *range = fc_winograd_range_of(&job->plan, &job->rows, (int)point);
    const ptrdiff_t tiles = range->end - range->begin;
    /* One at least: where there are none, the sum is zero. */
    const ptrdiff_t blocks = fc_max(1, fc_ceil_div(tiles, FC_WINOGRAD_GRADIENT_DEPTH));
    const char *x = fc_at(c, job->x, point * job->x_step), *dy = fc_at(c, job->dy, point * job->dy_step);
    char *sum = fc_at(c, job->sum, point * job->sum_step);
    fc_tile tile = {.a_step = job->dy_ld, .ldb = width, .ldc = job->sum_ld};
    (void)thread;
    for (ptrdiff_t pc = 0; pc < blocks; pc++) {
        const ptrdiff_t t = range->begin + fc_part(tiles, blocks, pc);
        tile.depth = range->begin + fc_part(tiles, blocks, pc + 1) - t;
        tile.accumulate = job->block > 0 || pc > 0;
        for (ptrdiff_t q = 0; q < channels; q += width) {
            tile.columns = (int)fc_min(width, channels - q);
            tile.b = fc_at(c, x, q * job->rows.tiles + t * width);
            for (ptrdiff_t ir = begin; ir < end; ir++) {
                const ptrdiff_t m = fc_part_begin(rows, ir);
                tile.rows = (int)(fc_part_begin(rows, ir + 1) - m);
                tile.a = fc_at(c, dy, t * job->dy_ld + m);
                tile.c = fc_at(c, sum, m * job->sum_ld + q);
                c->kernels->gemm_tile(&tile);
            }
        }
    }
}

/* Where the taps of a vector of channels lie in dw: by phases, whose channels are `phases` lanes apart. */
static void store_taps(const gradient_job *job, ptrdiff_t first, int channels, const char *taps, char *dw)
{
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, square = plan->r * plan->r, phases = plan->phases;
    if (job->taps_in_order) {
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

/* The gradient of one filter. */
static void gradient_task(void *context, ptrdiff_t m, int thread)
{
    gradient_job *job = context;
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes;
    char *taps = job->scratch + (size_t)thread * job->scratch_bytes;
    char *dw = fc_at(c, c->weights, job->group * c->w_group + (job->first_filter + m) * c->w_m);
    fc_winograd_gradient gradient = {.size = plan->size, .r = plan->r, .point_step = job->sum_step, .taps = taps};
    for (ptrdiff_t q = 0; q < job->channels; q += lanes) {
        gradient.sum = fc_at(c, job->sum, m * job->sum_ld + q);
        gradient.channels = (int)fc_min(lanes, job->channels - q);
        if (!c->kernels->winograd_gradient(&gradient))
            atomic_store(&job->not_finite, 1);
        store_taps(job, job->first_channel + q, gradient.channels, taps, dw);
    }
}

/* Through all blocks. A single one's x is still there from the slab before. */
static void sum_slab(gradient_job *job, int threads)
{
    const fc_winograd_plan *plan = &job->plan;
    const ptrdiff_t lanes = plan->c.kernels->lanes, of_x = fc_ceil_div(job->channels, lanes);
    for (job->block = 0; job->block < job->blocks; job->block++) {
        const ptrdiff_t first_row = fc_part(plan->rows, job->blocks, job->block);
        job->rows = fc_winograd_block_of(plan, first_row, fc_part(plan->rows, job->blocks, job->block + 1) - first_row);
        job->transformed = job->blocks == 1 && job->first_filter > 0 ? of_x : 0;
        const ptrdiff_t vectors = of_x + fc_ceil_div(job->filters, lanes) - job->transformed;
        job->row_parts = threads > 1 ? fc_min(job->rows.rows, fc_ceil_div(4 * threads, vectors)) : 1;
        fc_parallel_for(threads, vectors * job->row_parts, transform_task, job);
        fc_parallel_for(threads, plan->points * job->filter_blocks, multiply_task, job);
    }
}

static ptrdiff_t padded_channels(const gradient_job *job)
{
    const ptrdiff_t width = job->plan.c.kernels->tile_columns;
    return fc_ceil_div(job->channels, width) * width;
}

/* Channels by whole panels of B. */
static void cut_channels(gradient_job *job, ptrdiff_t slabs)
{
    const fc_correlation *c = &job->plan.c;
    const ptrdiff_t width = c->kernels->tile_columns, panels = fc_ceil_div(job->plan.channels, width);
    job->channels = fc_min(job->plan.channels, fc_ceil_div(panels, slabs) * width);
    job->sum_ld = fc_odd_lines(c, job->channels);
}

static void cut_filters(gradient_job *job, ptrdiff_t slabs)
{
    const fc_correlation *c = &job->plan.c;
    job->slabs = fc_min(slabs, fc_ceil_div(c->m, c->kernels->tile_rows));
    job->filters = fc_ceil_div(c->m, job->slabs);
    job->dy_ld = fc_odd_lines(c, job->filters);
}

/* All tiles in one block, whose x is transformed once for all slabs of filters, which are of what room that leaves; if it
 * leaves too little, with more slabs of channels, for each of which dy is transformed. 0 if that does not help. */
static int plan_one_block(gradient_job *job)
{
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t tiles = plan->rows * plan->tiles_w, bytes = plan->points * (ptrdiff_t)c->element;
    if (tiles > FC_WINOGRAD_GRADIENT_TILES)
        return 0;
    const ptrdiff_t most = tiles <= FC_WINOGRAD_GRADIENT_TILES / 2 ? FC_WINOGRAD_CHANNEL_SLABS : 1;
    for (ptrdiff_t slabs = 1; slabs <= most; slabs++) {
        cut_channels(job, slabs);
        const ptrdiff_t room = FC_SCRATCH_LIMIT / 2 + FC_WINOGRAD_SUM_BYTES - tiles * padded_channels(job) * bytes;
        const ptrdiff_t filters = fc_min(room / (bytes * (tiles + job->sum_ld)),
                                         FC_WINOGRAD_SUM_BYTES / bytes / job->sum_ld);
        if (filters < fc_min(c->m, FC_WINOGRAD_SLAB_FILTERS))
            continue;
        cut_filters(job, fc_ceil_div(c->m, filters));
        job->blocks = 1;
        job->tiles = tiles;
        return 1;
    }
    return 0;
}

/* Slabs by their sum alone, and blocks of rows whose transformed x and dy fit into half of a thread's scratch. */
static void plan_blocks(gradient_job *job)
{
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    cut_channels(job, 1);
    const double sum_bytes = (double)c->m * (double)job->sum_ld * (double)plan->points * (double)c->element;
    cut_filters(job, 1 + (ptrdiff_t)(sum_bytes / FC_WINOGRAD_SUM_BYTES));
    const ptrdiff_t bytes = plan->points * (padded_channels(job) + job->dy_ld) * (ptrdiff_t)c->element;
    const ptrdiff_t tiles = fc_min(FC_WINOGRAD_GRADIENT_TILES, FC_SCRATCH_LIMIT / 2 / bytes);
    job->blocks = fc_ceil_div(plan->rows, fc_max(1, tiles / plan->tiles_w));
    job->tiles = fc_ceil_div(plan->rows, job->blocks) * plan->tiles_w;
}

void fc_winograd_correlate_weights(const fc_correlation *c, int m, int r, int threads, fc_workspace *workspace)
{
    gradient_job job = {.filter_blocks = fc_ceil_div(threads, 4)};
    const fc_winograd_plan *plan = &job.plan;
    fc_winograd_plan_of(&job.plan, c, m, r);
    job.taps_in_order = plan->full;
    for (int i = 0; i < r * r && plan->full; i++)
        job.taps_in_order &= c->tap[plan->at[i]].weight == i;
    if (!plan_one_block(&job))
        plan_blocks(&job);
    job.x_step = fc_odd_lines(c, job.tiles * padded_channels(&job)), job.dy_step = fc_odd_lines(c, job.tiles * job.dy_ld);
    job.sum_step = fc_odd_lines(c, job.filters * job.sum_ld);
    const size_t begin = workspace->used;
    job.x = fc_take(workspace, (size_t)(plan->points * job.x_step) * c->element);
    job.dy = fc_take(workspace, (size_t)(plan->points * job.dy_step) * c->element);
    job.sum = fc_take(workspace, (size_t)(plan->points * job.sum_step) * c->element);
    fc_workspace sizes = {0}, again = {0};
    fc_take(&sizes, fc_winograd_image_bytes(plan));
    job.scratch_bytes = sizes.used;
    job.scratch = fc_take(workspace, (size_t)threads * job.scratch_bytes);
    /* What is computed again takes the place of all this. */
    fc_im2col_correlate_weights(c, threads, &again);
    if (workspace->used - begin < again.used)
        fc_take(workspace, again.used - (workspace->used - begin));
    if (!workspace->base)
        return;
    const ptrdiff_t channels = job.channels;
    for (job.group = 0; job.group < c->groups; job.group++)
        for (job.first_channel = 0; job.first_channel < plan->channels; job.first_channel += channels) {
            job.channels = fc_min(channels, plan->channels - job.first_channel);
            for (ptrdiff_t slab = 0; slab < job.slabs; slab++) {
                job.first_filter = fc_part(c->m, job.slabs, slab);
                job.filters = fc_part(c->m, job.slabs, slab + 1) - job.first_filter;
                sum_slab(&job, threads);
                fc_parallel_for(threads, job.filters, gradient_task, &job);
            }
        }
    if (atomic_load(&job.not_finite)) {
        again = (fc_workspace){.base = workspace->base + begin};
        fc_im2col_correlate_weights(c, threads, &again);
    }
}
