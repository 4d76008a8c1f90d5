/* Direct convolution with lanes along output channels: the micro-kernel broadcasts pixels from the image in place, each
 * step of its reduction at a tap's offset, times packed weights.
 *
 * Rows of pixels are split into equal parts of at most a tile, so that no lane is lost on any width. Rows of the image
 * are copied once into a padded block in L2; a 1x1 kernel reads the image itself (of NHWC a pixel's channels are its
 * steps), and so do others if it is small and not padded. A panel of weights is used again at once for all pixels of a block.
 */
#include "conv_direct_channels.h"

#include "conv_direct.h"
#include "pack_weights.h"
#include "parallel.h"

/* One task: rows [row, row + rows) of an image's group, of each the pixels [pixel, pixel + width), panels [p0, p1) of
 * filters. */
typedef struct {
    const fc_channels_job *job;
    ptrdiff_t n, group, row, rows, pixel, width, p0, p1;
    ptrdiff_t part, first_chunk;
    char *image, *c_block, *weights;
    int packs;                   /* weights; else they are there */
    const char *packed;          /* all weights of the group, or NULL: a panel is packed when it is come to */
    const char *ask;             /* what is asked for next, or NULL */
} channels_task;

/* The first chunk of a part. */
static ptrdiff_t part_begin(const fc_channels_job *job, ptrdiff_t part) { return fc_part(job->chunks, job->parts, part); }

static void fill_offsets(const fc_channels_job *job)
{
    const fc_correlation *c = job->c;
    for (ptrdiff_t i = 0; i < job->chunks; i++) {
        const fc_depth_chunk chunk = fc_depth_chunk_at(job, i);
        const ptrdiff_t steps = chunk.end - chunk.k;
        ptrdiff_t *offset = job->offset + chunk.k;
        if (!job->in_place)
            fc_step_offsets(&job->block, c, chunk.k, steps, offset);
        for (ptrdiff_t r = 0; r < fc_min(steps, c->taps) && job->in_place; r++) {
            const fc_tap *tap = &c->tap[(chunk.k + r) % c->taps];
            const ptrdiff_t channel = (chunk.k + r) / c->taps - chunk.q;
            fc_offsets_of_tap(c, offset + r, steps - r, channel * c->x_c + tap->h * c->x_h + tap->w * c->x_w, c->x_c);
        }
    }
}

/* All pixels of a task's rows, one panel of filters, one depth block: `tile` has all but the pixels. */
static void multiply_rows(channels_task *task, fc_tile *tile, const char *image, char *to, ptrdiff_t row_step)
{
    const fc_channels_job *job = task->job;
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_ceil_div(task->width, fc_tile_pixels(job, tile->columns));
    const fc_parts pixels = fc_equal_parts(task->width, panels);
    const ptrdiff_t image_row = job->in_place ? c->stride_h * c->x_h : fc_block_row_step(&job->block, c);
    for (ptrdiff_t j = 0; j < task->rows; j++)
        for (ptrdiff_t i = 0; i < panels; i++) {
            const ptrdiff_t first = fc_part_begin(pixels, i);
            tile->rows = (int)(fc_part_begin(pixels, i + 1) - first);
            tile->a = fc_at(c, image, j * image_row + first * job->pixel_step);
            tile->c = fc_at(c, to, j * row_step + first * tile->ldc);
            tile->ask = task->ask;
            c->kernels->gemm_tile(tile);
            if (task->ask)
                task->ask = fc_at(c, task->ask, tile->depth * job->ask_step);
        }
}

/* Steps [k, k + depth) of a panel, in one depth block. */
static const char *panel_of_weights(const channels_task *task, ptrdiff_t panel, ptrdiff_t depth_block, ptrdiff_t k,
                                    ptrdiff_t depth)
{
    const fc_channels_job *job = task->job;
    const fc_correlation *c = job->c;
    const ptrdiff_t first = panel * c->kernels->tile_columns, count = fc_min(c->kernels->tile_columns, c->m - first);
    if (task->packed) {
        const ptrdiff_t begin = fc_part(fc_depth(c), fc_depth_blocks(fc_depth(c)), depth_block);
        return fc_at(c, fc_gemm_packed_b(&job->gemm, task->packed, depth_block, panel), (k - begin) * c->kernels->tile_columns);
    }
    char *weights = job->pixel_blocks > 1 ? fc_at(c, task->weights, k * c->kernels->tile_columns) : task->weights;
    if (task->packs)
        fc_pack_weight_panel(c, FC_LANES_CHANNELS, task->group, first, count, k, depth, weights);
    return weights;
}

/* One panel of filters through the depth blocks of a chunk. */
static void multiply_panel(channels_task *task, const fc_depth_chunk *chunk, ptrdiff_t panel, const char *image)
{
    const fc_channels_job *job = task->job;
    const fc_correlation *c = job->c;
    const ptrdiff_t width = c->kernels->tile_columns, depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    const ptrdiff_t channel = task->group * c->m + panel * width;
    fc_tile tile = {
        .columns = (int)fc_min(width, c->m - panel * width),
        .ldb = width,
        .ask_step = job->ask_step,
        .ldc = job->buffered ? width : c->y_w,
        .ask_c = !job->buffered && job->gemm.ask_c,
    };
    char *plane = fc_at(c, c->y, task->n * c->y_n + channel * c->y_c);
    char *to = fc_at(c, plane, task->row * c->y_h + task->pixel * c->y_w);
    ptrdiff_t row_step = c->y_h;
    if (job->parts) {
        tile.ldc = c->m;
        row_step = job->width * c->m;
        to = fc_at(c, job->partial, task->part * job->height * row_step + panel * width);
    } else if (job->buffered) {
        row_step = task->width * width;
        to = fc_at(c, task->c_block, job->chunks > 1 ? (panel - task->p0) * task->rows * row_step : 0);
    }
    for (ptrdiff_t i = chunk->block, k = chunk->k; k < chunk->end; i++, k += tile.depth) {
        tile.depth = fc_min(fc_part(depth, blocks, i + 1), chunk->end) - k;
        const int last = k + tile.depth == depth;
        tile.b = panel_of_weights(task, panel, i, k, tile.depth);
        tile.a_offset = job->by_rows || job->steady ? NULL : job->offset + k;
        tile.a_step = job->steady ? c->x_c : 0;
        tile.a_row = job->by_rows ? job->pixel_step : 0;
        tile.accumulate = k > chunk->k || chunk->i > task->first_chunk;
        tile.relu = c->relu && last && !job->parts;
        tile.column_bias = c->bias && last ? fc_at(c, c->bias, channel) : NULL;
        const ptrdiff_t first_step = job->steady ? (k - chunk->k) * c->x_c : job->by_rows ? job->offset[k] : 0;
        multiply_rows(task, &tile, fc_at(c, image, first_step), to, row_step);
    }
    if (!job->buffered || job->parts || chunk->end < depth)
        return;
    fc_store_pixels(c, plane, task->row * c->ow + task->pixel, task->rows * task->width, to, width, tile.columns);
}

static void sum_parts(const fc_channels_job *job)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t pixels = job->height * job->width, count = pixels * c->m;
    c->kernels->sum_partials(job->partial, job->partial, count, job->parts, count, c->relu);
    fc_store_pixels(c, c->y, 0, pixels, job->partial, c->m, c->m);
}

/* A block of y, through a part of the reduction or, if that is not split, all of it. */
typedef struct {
    ptrdiff_t n, group, row_block, filter_block, pixel_block, part;
} output_block;

static void compute_block(const fc_channels_job *job, const output_block *block, int thread)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_b_panels(&job->gemm);
    channels_task task = {
        .job = job,
        .n = block->n,
        .group = block->group,
        .row = fc_spread_part(job->height, job->row_blocks, block->row_block),
        .pixel = fc_part(job->width, job->pixel_blocks, block->pixel_block),
        .p0 = fc_part(panels, job->filter_blocks, block->filter_block),
        .p1 = fc_part(panels, job->filter_blocks, block->filter_block + 1),
        .part = block->part,
        .first_chunk = job->parts ? part_begin(job, block->part) : 0,
        .image = job->scratch + (size_t)thread * job->scratch_bytes,
    };
    task.rows = fc_spread_part(job->height, job->row_blocks, block->row_block + 1) - task.row;
    task.width = fc_part(job->width, job->pixel_blocks, block->pixel_block + 1) - task.pixel;
    task.c_block = task.image + job->image_bytes;
    task.weights = task.c_block + job->c_bytes;
    if (c->packed || job->packs_first) {
        task.packed = fc_weights_of_group(&job->weights, block->group, thread);
    } else {
        const ptrdiff_t panel = task.group * panels + task.p0;
        task.packs = job->pixel_blocks == 1 || job->kept[thread * FC_THREAD_NUMBERS] != panel;
        job->kept[thread * FC_THREAD_NUMBERS] = panel;
    }
    const char *x = fc_at(c, c->x, task.n * c->x_n + task.group * c->q * c->x_c);
    if (job->ask_step && task.n + 1 < c->n)
        task.ask = fc_at(c, x, c->x_n);
    const ptrdiff_t last = job->parts ? part_begin(job, block->part + 1) : job->chunks;
    for (ptrdiff_t i = task.first_chunk; i < last; i++) {
        const fc_depth_chunk chunk = fc_depth_chunk_at(job, i);
        const char *image = fc_at(c, x, chunk.q * c->x_c);
        if (job->in_place) {
            image = fc_at(c, image, task.row * c->stride_h * c->x_h + task.pixel * job->pixel_step);
        } else {
            fc_fill_image_block(&job->block, c, image, chunk.channels, task.row, task.rows, task.image);
            image = task.image;
        }
        for (ptrdiff_t panel = task.p0; panel < task.p1; panel++)
            multiply_panel(&task, &chunk, panel, image);
    }
}

static void run_block(void *context, ptrdiff_t task, int thread)
{
    const fc_channels_job *job = context;
    output_block block = {0};
    /* Parts of the pixels follow each other: a thread reads few panels of weights, and packs each once. */
    block.pixel_block = task % job->pixel_blocks;
    task /= job->pixel_blocks;
    block.filter_block = task % job->filter_blocks;
    task /= job->filter_blocks;
    block.row_block = task % job->row_blocks;
    task /= job->row_blocks;
    block.group = task % job->c->groups;
    block.n = task / job->c->groups;
    compute_block(job, &block, thread);
}

/* Some panels of filters for all images: what one thread packs, no other reads. */
static void run_panels(void *context, ptrdiff_t task, int thread)
{
    const fc_channels_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_b_panels(&job->gemm);
    output_block block = {
        .group = task / job->filter_blocks,
        .filter_block = task % job->filter_blocks,
    };
    fc_pack_panels(c, FC_LANES_CHANNELS, block.group, fc_part(panels, job->filter_blocks, block.filter_block),
                   fc_part(panels, job->filter_blocks, block.filter_block + 1), job->weights.fresh);
    for (block.n = 0; block.n < c->n; block.n++)
        for (block.row_block = 0; block.row_block < job->row_blocks; block.row_block++)
            compute_block(job, &block, thread);
}

/* One part of the reduction. */
static void run_part(void *context, ptrdiff_t task, int thread)
{
    const output_block block = {.part = task};
    compute_block(context, &block, thread);
}

void fc_direct_channels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    fc_channels_job job;
    fc_direct_channels_plan(&job, c, threads);
    const ptrdiff_t blocks = c->n * job.row_blocks * job.pixel_blocks;
    const ptrdiff_t tasks = job.parts ? job.parts : c->groups * job.filter_blocks * (job.packs_apart ? 1 : blocks);
    threads = (int)fc_min(threads, tasks);
    if (c->packed || job.packs_first)
        job.weights = fc_take_weights(workspace, c, FC_LANES_CHANNELS, job.packs_apart ? 1 : threads);
    job.offset = fc_take(workspace, (size_t)fc_depth(c) * sizeof *job.offset);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    job.kept = fc_take(workspace, (size_t)(threads * FC_THREAD_NUMBERS) * sizeof *job.kept);
    if (job.parts)
        job.partial = fc_take(workspace, (size_t)(job.parts * job.height * job.width * c->m) * c->element);
    if (!workspace->base)
        return;
    for (int i = 0; i < threads; i++)
        job.kept[i * FC_THREAD_NUMBERS] = -1;
    if (job.packs_first && !job.packs_apart)
        fc_begin_weights(&job.weights, threads);
    if (!job.steady)
        fill_offsets(&job);
    fc_parallel_for(threads, tasks, job.parts ? run_part : job.packs_apart ? run_panels : run_block, &job);
    if (job.parts)
        sum_parts(&job);
}
