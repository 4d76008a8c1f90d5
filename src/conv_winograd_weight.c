/* Winograd weight gradient F(r x r, m x m): tiles of dy are the filters, and what is summed over is the tiles.
 *
 * A block of rows of tiles at a time, all threads transform x and dy, lanes along channels, and then multiply point by
 * point, filters x tiles times tiles x channels, adding to the transformed gradient. In the end that is transformed into
 * dw. The sum runs over blocks in their order, whatever thread takes which point. A gradient that comes out not finite is
 * computed again without transform, as a whole.
 */
#include <stdatomic.h>

#include "blocking.h"
#include "im2col.h"
#include "parallel.h"
#include "winograd.h"

typedef struct {
    fc_winograd_plan plan;
    ptrdiff_t group;
    ptrdiff_t blocks, block;           /* of rows of tiles; the one at hand */
    ptrdiff_t first_row, rows, tiles;  /* of the block at hand */
    ptrdiff_t dy_ld, sum_ld;           /* between tiles of the transformed dy, and filters of the sum */
    ptrdiff_t x_step, dy_step, sum_step;
    ptrdiff_t filter_blocks;           /* that the product of a point is split into */
    size_t scratch_bytes;
    char *x, *dy, *sum, *scratch;
    atomic_int not_finite;
} gradient_job;

/* An array of planes whose channels are to lie side by side: x or dy. */
typedef struct {
    const char *data;
    ptrdiff_t channels;
    ptrdiff_t c, h, w;          /* steps */
    ptrdiff_t height, width;
    ptrdiff_t low_h, low_w;     /* where a tile begins, relative to its place */
    int side;                   /* of a tile */
} planes;

static planes planes_of_x(const gradient_job *job)
{
    const fc_correlation *c = &job->plan.tiles;
    return (planes){c->x,  c->q, c->x_c, c->x_h, c->x_w, c->h, c->w, c->tap[0].h, c->tap[0].w, job->plan.size};
}

static planes planes_of_dy(const gradient_job *job)
{
    const fc_correlation *c = &job->plan.c;
    return (planes){c->y, c->m, c->y_c, c->y_h, c->y_w, c->oh, c->ow, 0, 0, job->plan.m};
}

static void clear(const fc_correlation *c, char *to, ptrdiff_t elements)
{
    c->kernels->pack_runs(to, 0, c->x, 0, 1, 1, NULL, 0, elements);
}

/* One row of pixels, [from, to) of which lie in the plane, `count` channels side by side; the rest is zero. */
static void fill_row(const fc_correlation *c, const planes *p, const char *row, ptrdiff_t from, ptrdiff_t to,
                     ptrdiff_t columns, ptrdiff_t count, char *image)
{
    const ptrdiff_t lanes = c->kernels->lanes;
    char *inside = fc_at(c, image, from * lanes);
    clear(c, image, from * lanes);
    clear(c, fc_at(c, image, to * lanes), (columns - to) * lanes);
    if (from == to)
        return;
    row = fc_at(c, row, (from + p->low_w) * p->w);
    if (p->c == 1) {
        const fc_run run = {0, 0, count};
        c->kernels->pack_runs(inside, lanes, row, p->w, 1, to - from, &run, 1, count < lanes ? lanes : 0);
        return;
    }
    const void *channel[64] = {NULL};
    for (ptrdiff_t i = 0; i < count; i++)
        channel[i] = fc_at(c, row, i * p->c);
    c->kernels->pack_columns(inside, lanes, channel, (int)lanes, p->w, to - from);
}

/* Tiles of a vector of channels from `first` on, whose kernel transforms them to `to`. */
static void transform_channels(const gradient_job *job, const planes *p, const char *plane, ptrdiff_t row,
                               ptrdiff_t rows, ptrdiff_t count, char *image, fc_winograd_lanes *lanes,
                               ptrdiff_t first_tile, char *to, void (*transform)(const fc_winograd_lanes *))
{
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t overlap = p->side - plan->m;
    const ptrdiff_t columns = plan->tiles.ow * plan->m + overlap, height = rows * plan->m + overlap;
    const ptrdiff_t top = row * plan->m + p->low_h;
    ptrdiff_t from, end;
    fc_valid_outputs(columns, 1, p->low_w, p->width, &from, &end);
    lanes->row_step = columns * c->kernels->lanes;
    for (ptrdiff_t i = 0; i < height; i++) {
        const int inside = top + i >= 0 && top + i < p->height;
        fill_row(c, p, inside ? fc_at(c, plane, (top + i) * p->h) : plane, inside ? from : 0, inside ? end : 0, columns,
                 count, fc_at(c, image, i * lanes->row_step));
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        lanes->image = fc_at(c, image, i * plan->m * lanes->row_step);
        lanes->transformed = fc_at(c, to, (first_tile + i * plan->tiles.ow) * lanes->ld);
        transform(lanes);
    }
}

/* A vector of channels of x, or, behind them, of dy. */
static void transform_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, width = c->kernels->tile_columns, of_x = fc_ceil_div(c->q, lanes);
    const int is_x = task < of_x;
    const planes p = is_x ? planes_of_x(job) : planes_of_dy(job);
    const ptrdiff_t first = (is_x ? task : task - of_x) * lanes, count = fc_min(lanes, p.channels - first);
    fc_winograd_lanes tiles = {
        .size = plan->size,
        .m = plan->m,
        .tiles = plan->tiles.ow,
        .ld = is_x ? width : job->dy_ld,
        .point_step = is_x ? job->x_step : job->dy_step,
    };
    /* x goes to panels of the micro-kernel's B. */
    char *to = is_x ? fc_at(c, job->x, first / width * width * job->tiles + first % width) : fc_at(c, job->dy, first);
    char *image = job->scratch + (size_t)thread * job->scratch_bytes;
    for (ptrdiff_t done = 0, rows; done < job->rows; done += rows) {
        const ptrdiff_t n = (job->first_row + done) / plan->tiles.oh, row = (job->first_row + done) % plan->tiles.oh;
        rows = fc_min(fc_min(plan->tiles.oh - row, job->rows - done), plan->image.rows);
        const char *plane = fc_at(c, p.data, n * (is_x ? c->x_n : c->y_n) + (job->group * p.channels + first) * p.c);
        transform_channels(job, &p, plane, row, rows, count, image, &tiles, done * plan->tiles.ow, to,
                           is_x ? c->kernels->winograd_input_lanes : c->kernels->winograd_filter_lanes);
    }
}

/* One point of a block of filters: sum += dy^T x over the tiles of the block. */
static void multiply_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const fc_correlation *c = &job->plan.c;
    const ptrdiff_t width = c->kernels->tile_columns;
    const ptrdiff_t point = task / job->filter_blocks, part = task % job->filter_blocks;
    const ptrdiff_t panels = fc_ceil_div(c->m, c->kernels->tile_rows);
    const ptrdiff_t begin = fc_part(panels, job->filter_blocks, part), end = fc_part(panels, job->filter_blocks, part + 1);
    const ptrdiff_t blocks = fc_ceil_div(job->tiles, FC_WINOGRAD_GRADIENT_DEPTH);
    const char *x = fc_at(c, job->x, point * job->x_step), *dy = fc_at(c, job->dy, point * job->dy_step);
    char *sum = fc_at(c, job->sum, point * job->sum_step);
    fc_tile tile = {.a_step = job->dy_ld, .ldb = width, .ldc = job->sum_ld};
    (void)thread;
    for (ptrdiff_t pc = 0; pc < blocks; pc++) {
        const ptrdiff_t t = fc_part(job->tiles, blocks, pc);
        tile.depth = fc_part(job->tiles, blocks, pc + 1) - t;
        tile.accumulate = job->block > 0 || pc > 0;
        for (ptrdiff_t q = 0; q < c->q; q += width) {
            tile.columns = (int)fc_min(width, c->q - q);
            tile.b = fc_at(c, x, q * job->tiles + t * width);
            for (ptrdiff_t ir = begin; ir < end; ir++) {
                const ptrdiff_t m = fc_part(c->m, panels, ir);
                tile.rows = (int)(fc_part(c->m, panels, ir + 1) - m);
                tile.a = fc_at(c, dy, t * job->dy_ld + m);
                tile.c = fc_at(c, sum, m * job->sum_ld + q);
                c->kernels->gemm_tile(&tile);
            }
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
    fc_winograd_gradient gradient = {.size = plan->size, .r = plan->r, .point_step = job->sum_step, .taps = taps};
    for (ptrdiff_t q = 0; q < c->q; q += lanes) {
        gradient.sum = fc_at(c, job->sum, m * job->sum_ld + q);
        gradient.channels = (int)fc_min(lanes, c->q - q);
        if (!c->kernels->winograd_gradient(&gradient))
            atomic_store(&job->not_finite, 1);
        char *dw = fc_at(c, c->weights, job->group * c->w_group + m * c->w_m + q * c->w_q);
        for (int i = 0; i < plan->r * plan->r; i++)
            c->kernels->store_strided(fc_at(c, dw, c->tap[plan->at[i]].weight), 0, c->w_q, fc_at(c, taps, i * lanes),
                                      lanes, 1, gradient.channels);
    }
}

static ptrdiff_t padded_channels(const fc_correlation *c)
{
    return fc_ceil_div(c->q, c->kernels->tile_columns) * c->kernels->tile_columns;
}

/* Blocks of rows whose transformed x and dy fit into half of a thread's scratch. */
static void plan_blocks(gradient_job *job)
{
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t bytes = plan->points * (padded_channels(c) + job->dy_ld) * (ptrdiff_t)c->element;
    const ptrdiff_t tiles = fc_min(FC_WINOGRAD_GRADIENT_TILES, FC_SCRATCH_LIMIT / 2 / bytes);
    job->blocks = fc_ceil_div(plan->rows, fc_max(1, tiles / plan->tiles.ow));
    job->tiles = fc_ceil_div(plan->rows, job->blocks) * plan->tiles.ow;
}

void fc_winograd_correlate_weights(const fc_correlation *c, int m, int r, int threads, fc_workspace *workspace)
{
    gradient_job job = {.filter_blocks = fc_ceil_div(threads, 4)};
    const fc_winograd_plan *plan = &job.plan;
    fc_winograd_plan_of(&job.plan, c, m, r);
    job.sum_ld = fc_odd_lines(c, c->q), job.dy_ld = fc_odd_lines(c, c->m);
    plan_blocks(&job);
    job.x_step = fc_odd_lines(c, job.tiles * padded_channels(c)), job.dy_step = fc_odd_lines(c, job.tiles * job.dy_ld);
    job.sum_step = fc_odd_lines(c, c->m * job.sum_ld);
    const size_t begin = workspace->used;
    job.x = fc_take(workspace, (size_t)(plan->points * job.x_step) * c->element);
    job.dy = fc_take(workspace, (size_t)(plan->points * job.dy_step) * c->element);
    job.sum = fc_take(workspace, (size_t)(plan->points * job.sum_step) * c->element);
    const ptrdiff_t pixels = (plan->image.rows * m + plan->size - m) * (plan->tiles.ow * m + plan->size - m);
    fc_workspace sizes = {0}, again = {0};
    fc_take(&sizes, (size_t)(fc_max(pixels, r * r) * c->kernels->lanes) * c->element);
    job.scratch_bytes = sizes.used;
    job.scratch = fc_take(workspace, (size_t)threads * job.scratch_bytes);
    /* What is computed again takes the place of all this. */
    fc_im2col_correlate_weights(c, threads, &again);
    if (workspace->used - begin < again.used)
        fc_take(workspace, again.used - (workspace->used - begin));
    if (!workspace->base)
        return;
    const ptrdiff_t lanes = c->kernels->lanes, vectors = fc_ceil_div(c->q, lanes) + fc_ceil_div(c->m, lanes);
    for (job.group = 0; job.group < c->groups; job.group++) {
        for (job.block = 0; job.block < job.blocks; job.block++) {
            job.first_row = fc_part(plan->rows, job.blocks, job.block);
            job.rows = fc_part(plan->rows, job.blocks, job.block + 1) - job.first_row;
            job.tiles = job.rows * plan->tiles.ow;
            fc_parallel_for(threads, vectors, transform_task, &job);
            fc_parallel_for(threads, plan->points * job.filter_blocks, multiply_task, &job);
        }
        fc_parallel_for(threads, c->m, gradient_task, &job);
    }
    if (atomic_load(&job.not_finite)) {
        again = (fc_workspace){.base = workspace->base + begin};
        fc_im2col_correlate_weights(c, threads, &again);
    }
}
