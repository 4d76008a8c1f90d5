/* The direct weight gradient with lanes along output channels: dw^T = x dy^T, where the micro-kernel broadcasts the
 * image in place, (channel, tap) pairs as rows and pixels as steps, times dy with its channels side by side.
 *
 * Nothing of the im2col matrix is gathered: rows of the image are copied into a padded block, or read where they lie
 * for a 1x1 kernel, and a panel of dy is turned once for all pairs. A task sums a few panels of filters over its images
 * in L2, where the pixels of a step wait for all of them.
 */
#include <math.h>

#include "blocking.h"
#include "conv_direct.h"
#include "im2col.h"
#include "image_block.h"
#include "pack_weights.h"
#include "parallel.h"
#include "weight_partials.h"

typedef struct {
    const fc_correlation *c;
    fc_weight_partials partials;
    fc_image_block block;
    int in_place;                /* 1x1: the image is read where it lies */
    ptrdiff_t rows;              /* of y in a unit */
    ptrdiff_t images;            /* of as few pixels that several are one unit */
    ptrdiff_t panels;            /* of filters */
    ptrdiff_t panel_blocks, channel_blocks, chunks;
    size_t image_bytes, dy_bytes, sum_bytes, offset_bytes, scratch_bytes;
    char *scratch;
} gradient_job;

/* Panels of filters and a block of channels of one group, and the pieces of the thread's scratch. */
typedef struct {
    const gradient_job *job;
    ptrdiff_t group, m, filters, q, channels, pairs;
    char *image, *dy, *sum;
    ptrdiff_t *row_offset, *step_offset;
} gradient_task;

static ptrdiff_t most_channels(const gradient_job *job) { return fc_ceil_div(job->c->q, job->channel_blocks); }

static ptrdiff_t most_panels(const gradient_job *job) { return fc_ceil_div(job->panels, job->panel_blocks); }

/* dy of `columns` filters from m on, a step for each pixel: those from k on, counted from a unit's first. */
static void pack_dy(const gradient_task *task, const fc_weight_unit *unit, ptrdiff_t m, ptrdiff_t columns, ptrdiff_t k,
                    ptrdiff_t depth)
{
    const fc_correlation *c = task->job->c;
    const ptrdiff_t width = c->kernels->tile_columns, pixels = unit->rows * c->ow;
    const ptrdiff_t filled = fc_whole_vectors(c->kernels, columns);
    const int dense = c->y_h == c->ow * c->y_w;
    for (ptrdiff_t done = 0, count; done < depth; done += count) {
        const ptrdiff_t n = unit->n + (k + done) / pixels, pixel = (k + done) % pixels, column = pixel % c->ow;
        count = fc_min(depth - done, dense ? pixels - pixel : c->ow - column);
        const char *from = fc_at(c, c->y, n * c->y_n + (task->group * c->m + m) * c->y_c +
                                              (unit->row + pixel / c->ow) * c->y_h + column * c->y_w);
        char *to = fc_at(c, task->dy, done * width);
        if (c->y_c == 1) {
            const fc_run run = {0, 0, columns};
            c->kernels->pack_runs(to, width, from, c->y_w, 1, count, &run, 1, filled > columns ? filled : 0);
            continue;
        }
        const void *channel[64] = {NULL};
        for (ptrdiff_t i = 0; i < columns; i++)
            channel[i] = fc_at(c, from, i * c->y_c);
        c->kernels->pack_columns(to, width, channel, (int)filled, c->y_w, count);
    }
}

static void fill_offsets(const gradient_task *task)
{
    const gradient_job *job = task->job;
    const fc_correlation *c = job->c;
    if (!job->in_place)
        fc_step_offsets(&job->block, c, 0, task->pairs, task->row_offset);
    for (ptrdiff_t i = 0; i < task->pairs && job->in_place; i++)
        task->row_offset[i] = i * c->x_c;
    const ptrdiff_t step = job->in_place ? c->x_h : fc_block_row_step(&job->block, c);
    ptrdiff_t *to = task->step_offset;
    for (ptrdiff_t n = 0; n < job->images; n++)
        for (ptrdiff_t j = 0; j < job->rows; j++)
            for (ptrdiff_t i = 0; i < c->ow; i++)
                *to++ = n * c->x_n + j * step + i;
}

/* The products of one panel of filters from m on, `depth` pixels from k on. */
static void multiply_panel(const gradient_task *task, const char *image, ptrdiff_t m, ptrdiff_t k, ptrdiff_t depth,
                           int accumulate)
{
    const fc_correlation *c = task->job->c;
    const ptrdiff_t width = c->kernels->tile_columns, panels = fc_ceil_div(task->pairs, c->kernels->tile_rows);
    const fc_parts pairs = fc_equal_parts(task->pairs, panels);
    char *sum = fc_at(c, task->sum, (m - task->m) * task->pairs);
    fc_tile tile = {
        .columns = (int)fc_min(width, task->m + task->filters - m),
        .depth = depth,
        .a = image,
        .a_offset = task->step_offset + k,
        .b = task->dy,
        .ldb = width,
        .ldc = width,
        .accumulate = accumulate,
    };
    const int rows_in_place = task->job->in_place && task->job->images == 1;
    if (rows_in_place) {
        tile.a_offset = NULL;
        tile.a_row = c->x_c;
    }
    for (ptrdiff_t j = 0; j < panels; j++) {
        const ptrdiff_t row = fc_part_begin(pairs, j);
        tile.rows = (int)(fc_part_begin(pairs, j + 1) - row);
        if (rows_in_place) {
            tile.a = fc_at(c, image, row * c->x_c + k);
            tile.a_next = fc_at(c, tile.a, tile.rows * c->x_c);
        } else
            tile.a_row_offset = task->row_offset + row;
        tile.c = fc_at(c, sum, row * width);
        c->kernels->gemm_tile(&tile);
    }
}

static void accumulate_unit(const gradient_task *task, const fc_weight_unit *unit, int first)
{
    const gradient_job *job = task->job;
    const fc_correlation *c = job->c;
    const ptrdiff_t width = c->kernels->tile_columns;
    const char *image = fc_at(c, c->x, unit->n * c->x_n + (task->group * c->q + task->q) * c->x_c);
    if (job->in_place) {
        image = fc_at(c, image, unit->row * c->x_h);
    } else {
        fc_fill_image_block(&job->block, c, image, task->channels, unit->row, unit->rows, task->image);
        image = task->image;
    }
    const ptrdiff_t steps = unit->images * unit->rows * c->ow, blocks = fc_depth_blocks(steps);
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const ptrdiff_t k = fc_part(steps, blocks, i), depth = fc_part(steps, blocks, i + 1) - k;
        for (ptrdiff_t m = task->m; m < task->m + task->filters; m += width) {
            pack_dy(task, unit, m, fc_min(width, task->m + task->filters - m), k, depth);
            multiply_panel(task, image, m, k, depth, !first || i > 0);
        }
    }
}

/* Pairs, the filters of each side by side, to where dw has them: as OIHW has them whole filters, or with HWIO one pair's of
 * all panels after the other, for lines are then written at once. */
static void store_sum(const gradient_task *task, char *dw)
{
    const fc_correlation *c = task->job->c;
    const ptrdiff_t width = c->kernels->tile_columns;
    char *to = fc_at(c, dw, task->group * c->w_group + task->m * c->w_m + task->q * c->w_q);
    const int whole_filters = fc_steps_are_contiguous(c);
    const ptrdiff_t passes = whole_filters ? 1 : task->pairs, pairs = whole_filters ? task->pairs : 1;
    for (ptrdiff_t i = 0; i < passes; i++) {
        const ptrdiff_t offset = whole_filters ? 0 : i / c->taps * c->w_q + c->tap[i % c->taps].weight;
        for (ptrdiff_t m = 0; m < task->filters; m += width)
            c->kernels->store_strided(fc_at(c, to, m * c->w_m + offset), 1, c->w_m,
                                      fc_at(c, task->sum, m * task->pairs + i * width), width, pairs,
                                      fc_min(width, task->filters - m));
    }
}

static void run_task(void *context, ptrdiff_t index, int thread)
{
    const gradient_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t width = c->kernels->tile_columns;
    const ptrdiff_t panel_block = index % job->panel_blocks;
    const ptrdiff_t channel_block = index / job->panel_blocks % job->channel_blocks;
    index = index / job->panel_blocks / job->channel_blocks;
    const ptrdiff_t group = index % c->groups, chunk = index / c->groups;
    char *scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    gradient_task task = {
        .job = job,
        .group = group,
        .m = width * fc_part(job->panels, job->panel_blocks, panel_block),
        .q = fc_part(c->q, job->channel_blocks, channel_block),
        .image = scratch,
        .dy = scratch + job->image_bytes,
        .sum = scratch + job->image_bytes + job->dy_bytes,
    };
    task.filters = fc_min(c->m, width * fc_part(job->panels, job->panel_blocks, panel_block + 1)) - task.m;
    task.channels = fc_part(c->q, job->channel_blocks, channel_block + 1) - task.q;
    task.pairs = task.channels * c->taps;
    task.row_offset = (ptrdiff_t *)(void *)(task.sum + job->sum_bytes);
    task.step_offset = task.row_offset + task.pairs;
    fill_offsets(&task);
    const ptrdiff_t begin = fc_partials_first(&job->partials, chunk);
    for (ptrdiff_t i = begin; i < fc_partials_first(&job->partials, chunk + 1); i++) {
        const fc_weight_unit unit = fc_partials_unit(&job->partials, c, i);
        accumulate_unit(&task, &unit, i == begin);
    }
    store_sum(&task, fc_partial(&job->partials, chunk));
}

static size_t bytes_of(const fc_correlation *c, ptrdiff_t elements)
{
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)elements * c->element);
    return sizes.used;
}

/* Cycles of the register tiles, over all images and groups. */
static double product_cycles(const gradient_job *job)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t vectors = fc_ceil_div(c->m, c->kernels->lanes);
    const double panels = (double)fc_ceil_div(c->q * c->taps, c->kernels->tile_rows);
    /* Rows that lie at offsets load these too. */
    const double step = fc_tiles_step_cycles((double)fc_depth(c) / panels, vectors, job->in_place ? 1.1 : 1.9);
    const double visits = (double)fc_ceil_div(c->oh, job->rows) * (double)fc_depth_blocks(job->rows * c->ow) /
                          (double)job->images;
    const double visit = (double)fc_ceil_div(vectors, 2) * 80;
    return (double)(c->n * c->groups) * panels * (step * (double)(c->oh * c->ow) + visits * visit);
}

/* What is done again for each part, in cycles: a block of panels copies the image, or reads it once more in place, a
 * block of channels turns dy, a chunk stores dw and has it added up (1.6 cycles a float), but one of
 * them is stored only. */
typedef struct {
    double panels, channels, chunk;
} part_costs;

static part_costs costs_of_parts(const gradient_job *job)
{
    const fc_correlation *c = job->c;
    const double images = (double)(c->n * c->groups), pixels = (double)(c->oh * c->ow);
    const double bytes = (double)(c->groups * c->m) * (double)fc_depth(c) * (double)c->element;
    return (part_costs){
        .panels = images * (job->in_place ? (double)c->q * pixels * 0.05 : fc_direct_copy_cycles(c)),
        .channels = images * (double)c->m * pixels * 8 / (double)c->kernels->lanes,
        .chunk = bytes * 0.4 * fc_copy_passes(),
    };
}

static double cycles_of_parts(const part_costs *cost, const gradient_job *job)
{
    return (double)(job->panel_blocks - job->in_place) * cost->panels + (double)job->channel_blocks * cost->channels +
           ((double)job->chunks - 0.7) * cost->chunk;
}

/* Time that threads are without work, as a share of the products': the last tasks end at different times. */
static double idle_share(const gradient_job *job, int threads)
{
    const ptrdiff_t tasks = job->c->groups * job->panel_blocks * job->channel_blocks * job->chunks;
    const double panels = (double)(most_panels(job) * job->panel_blocks) / (double)job->panels;
    const double channels = (double)(most_channels(job) * job->channel_blocks) / (double)job->c->q;
    return panels * channels * ((double)fc_ceil_div(tasks, threads) + 0.1) * (double)threads / (double)tasks - 1;
}

/* Three units in two chunks, shared by channels, took two threads as long as four would. */
static int chunks_are_uneven(ptrdiff_t units, ptrdiff_t chunks)
{
    return (double)fc_ceil_div(units, chunks) / (double)units - 1 / (double)chunks > 0.0625;
}

/* What the parts add, and the threads' idleness, in cycles. */
static double division_cycles(const gradient_job *job, const part_costs *cost, double products, int threads)
{
    return cycles_of_parts(cost, job) + products * idle_share(job, threads);
}

/* Divides the work into tasks for threads, by panels or by channels, whichever costs less, as long as that gains. */
static void divide(gradient_job *job, const part_costs *cost, double products, int threads)
{
    for (double least = division_cycles(job, cost, products, threads);;) {
        gradient_job by_panels = *job, by_channels = *job;
        by_panels.panel_blocks = fc_min(2 * job->panel_blocks, job->panels);
        by_channels.channel_blocks = fc_min(2 * job->channel_blocks, job->c->q);
        const double panels = division_cycles(&by_panels, cost, products, threads);
        const double channels = division_cycles(&by_channels, cost, products, threads);
        if (fmin(panels, channels) >= least)
            break;
        *job = panels < channels ? by_panels : by_channels;
        least = fmin(panels, channels);
    }
}

/* Rows of a unit, whose image stays in L2, and chunks depend on the problem and the ISA alone, for the order of the sum
 * follows from them; blocks of panels and channels on the threads. 0 if a task does not fit into a thread's scratch. */
static int plan(gradient_job *job, const fc_correlation *c, int threads)
{
    const ptrdiff_t width = c->kernels->tile_columns, element = (ptrdiff_t)c->element;
    *job = (gradient_job){.c = c, .in_place = fc_sees_image_itself(c), .panels = fc_ceil_div(c->m, width)};
    const ptrdiff_t pairs = FC_GRADIENT_PANEL_BYTES / (width * element);
    job->channel_blocks = fc_ceil_div(c->q, fc_max(1, pairs / c->taps));
    ptrdiff_t channels = most_channels(job);
    double image = 0;
    for (job->rows = fc_min(c->oh, fc_max(1, FC_GRADIENT_PIXELS / c->ow));; job->rows = fc_ceil_div(job->rows, 2)) {
        job->block = fc_image_block_for(c, job->rows);
        image = job->in_place ? 0 : (double)channels * (double)job->block.plane * (double)element;
        if (job->rows == 1 || image <= FC_DIRECT_IMAGE_BYTES)
            break;
    }
    /* Units of equal heights, for chunks to be. */
    job->rows = fc_ceil_div(c->oh, fc_ceil_div(c->oh, job->rows));
    job->block = fc_image_block_for(c, job->rows);
    const ptrdiff_t pixels = job->rows * c->ow;
    job->images = 1;
    if (job->in_place && pixels <= FC_GRADIENT_FEW_PIXELS)
        job->images = fc_ceil_div(c->n, fc_ceil_div(c->n, FC_DEPTH_BLOCK / pixels));
    const ptrdiff_t units = fc_ceil_div(c->n, job->images) * fc_ceil_div(c->oh, job->rows);
    const ptrdiff_t panel_bytes = channels * c->taps * width * element;
    job->panel_blocks = fc_ceil_div(job->panels, fc_max(1, FC_GRADIENT_SUM_BYTES / panel_bytes));
    const double products = product_cycles(job);
    const part_costs cost = costs_of_parts(job);
    job->chunks = fc_min(fc_most_chunks(c, units), fc_chunks_beside(c->groups * job->panels * job->channel_blocks));
    job->chunks = fc_min(job->chunks, 1 + (ptrdiff_t)(FC_GRADIENT_CHUNKS_SHARE * products / cost.chunk));
    while (job->chunks > 1 && chunks_are_uneven(units, job->chunks))
        job->chunks--;
    if (threads > 1)
        divide(job, &cost, products, threads);
    const ptrdiff_t depth = fc_min(job->images * pixels, FC_DEPTH_BLOCK);
    channels = most_channels(job);
    const double dy = (double)depth * (double)width, pairs_of_task = (double)channels * (double)c->taps;
    const double sum = pairs_of_task * (double)(most_panels(job) * width);
    const double offsets = (pairs_of_task + (double)(job->images * pixels)) * (double)sizeof(ptrdiff_t);
    if (image + (dy + sum) * (double)element + offsets > FC_SCRATCH_LIMIT)
        return 0;
    if (!job->in_place)
        job->image_bytes = bytes_of(c, channels * job->block.plane);
    job->dy_bytes = bytes_of(c, depth * width);
    job->sum_bytes = bytes_of(c, channels * c->taps * most_panels(job) * width);
    job->offset_bytes = (size_t)(channels * c->taps + job->images * pixels) * sizeof(ptrdiff_t);
    fc_workspace sizes = {0};
    fc_take(&sizes, job->image_bytes + job->dy_bytes + job->sum_bytes + job->offset_bytes);
    job->scratch_bytes = sizes.used;
    return 1;
}

/* The products at the pace of the register tiles, and what each part adds. */
double fc_direct_weight_channels_cycles(const fc_correlation *c)
{
    gradient_job job;
    if (!plan(&job, c, 1))
        return HUGE_VAL;
    const part_costs cost = costs_of_parts(&job);
    return product_cycles(&job) + cycles_of_parts(&cost, &job);
}

void fc_direct_weight_channels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    gradient_job job;
    plan(&job, c, threads);
    job.partials = fc_plan_partials(c, job.rows, job.images, job.chunks, workspace);
    const ptrdiff_t tasks = c->groups * job.panel_blocks * job.channel_blocks * job.partials.chunks;
    threads = (int)fc_min(threads, tasks);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    fc_parallel_for(threads, tasks, run_task, &job);
    fc_sum_partials(&job.partials, c, threads);
}
