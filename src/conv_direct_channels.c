/* Direct convolution with lanes along output channels: the micro-kernel broadcasts pixels from the image in place, each
 * step of its reduction at a tap's offset, times packed weights.
 *
 * Rows of pixels are split into equal parts of at most a tile, so that no lane is lost on any width. Rows of the image
 * are copied once into a padded block in L2; a 1x1 kernel reads the image itself (of NHWC a pixel's channels are its
 * steps), and so do others if it is small and not padded. A panel of weights is used again at once for all pixels of a block.
 */
#include <math.h>
#include <stdint.h>

#include "blocking.h"
#include "conv_direct.h"
#include "im2col.h"
#include "image_block.h"
#include "pack_weights.h"
#include "parallel.h"

typedef struct {
    const fc_correlation *c;
    fc_gemm gemm;                /* panels of the weights; its rows are pixels */
    int in_place;                /* the image is read where it lies, a small one of a 1x1 kernel as one row of pixels */
    int by_rows;                 /* of NHWC: a pixel's channels are its steps, side by side */
    ptrdiff_t pixel_step;        /* between pixels of a row */
    int buffered;                /* y is turned: its channels do not lie side by side */
    ptrdiff_t height, width;     /* rows of outputs and pixels of a row: of y, or all in one row */
    ptrdiff_t rows;              /* in a block */
    ptrdiff_t row_blocks, pixel_blocks, filter_blocks;
    ptrdiff_t chunks;            /* of depth blocks, whose channels are copied at once */
    ptrdiff_t parts;             /* of the chunks, each a task whose products are added up in the end; or 0 */
    fc_image_block block;
    const char *packed;          /* all weights, or NULL: each task packs a panel when it comes to it */
    ptrdiff_t ask_step;          /* elements of the next image that are asked for at each step, or 0 */
    ptrdiff_t *offset;           /* of every step of the reduction, from the first channel of its chunk */
    char *partial;               /* products of each part: pixels with their channels */
    size_t group_bytes, image_bytes, c_bytes, scratch_bytes;
    int packs_first;             /* weights that more than one image or block of rows uses; */
    int packs_apart;             /* of these a task packs what it uses, for all images */
    char *fresh;                 /* all weights, which are packed in this call */
    ptrdiff_t *kept;             /* the panel of weights that a thread's scratch keeps for its next task, or -1 */
    char *scratch;
} channels_job;

/* One task: rows [row, row + rows) of an image's group, of each the pixels [pixel, pixel + width), panels [p0, p1) of
 * filters. */
typedef struct {
    const channels_job *job;
    ptrdiff_t n, group, row, rows, pixel, width, p0, p1;
    ptrdiff_t part, first_chunk;
    char *image, *c_block, *weights;
    int packs;                   /* weights; else they are there */
    const char *ask;             /* what is asked for next, or NULL */
} channels_task;

/* Steps [k, end) of the reduction, the first in depth block `block`: of channels [q, q + channels). */
typedef struct {
    ptrdiff_t i, k, end, block, q, channels;
} depth_chunk;

static depth_chunk chunk_at(const channels_job *job, ptrdiff_t i)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    depth_chunk chunk = {.i = i, .k = fc_part(depth, job->chunks, i), .end = fc_part(depth, job->chunks, i + 1)};
    if (job->parts) {
        while (fc_part(depth, blocks, chunk.block + 1) <= chunk.k)
            chunk.block++;
    } else {
        chunk.block = fc_part(blocks, job->chunks, i);
        chunk.k = fc_part(depth, blocks, chunk.block);
        chunk.end = fc_part(depth, blocks, fc_part(blocks, job->chunks, i + 1));
    }
    chunk.q = chunk.k / c->taps;
    chunk.channels = (chunk.end - 1) / c->taps + 1 - chunk.q;
    return chunk;
}

/* The first chunk of a part. */
static ptrdiff_t part_begin(const channels_job *job, ptrdiff_t part) { return fc_part(job->chunks, job->parts, part); }

static ptrdiff_t most_channels(const channels_job *job)
{
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < job->chunks; i++)
        most = fc_max(most, chunk_at(job, i).channels);
    return most;
}

static void fill_offsets(const channels_job *job)
{
    const fc_correlation *c = job->c;
    for (ptrdiff_t i = 0; i < job->chunks; i++) {
        const depth_chunk chunk = chunk_at(job, i);
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
    const channels_job *job = task->job;
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_ceil_div(task->width, c->kernels->tile_rows);
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
    const channels_job *job = task->job;
    const fc_correlation *c = job->c;
    const ptrdiff_t first = panel * c->kernels->tile_columns, count = fc_min(c->kernels->tile_columns, c->m - first);
    if (job->packed) {
        const char *group = job->packed + (size_t)task->group * job->group_bytes;
        const ptrdiff_t begin = fc_part(fc_depth(c), fc_depth_blocks(fc_depth(c)), depth_block);
        return fc_at(c, fc_gemm_packed_b(&job->gemm, group, depth_block, panel), (k - begin) * c->kernels->tile_columns);
    }
    char *weights = job->pixel_blocks > 1 ? fc_at(c, task->weights, k * c->kernels->tile_columns) : task->weights;
    if (task->packs)
        fc_pack_weight_panel(c, FC_LANES_CHANNELS, task->group, first, count, k, depth, weights);
    return weights;
}

/* One panel of filters through the depth blocks of a chunk. */
static void multiply_panel(channels_task *task, const depth_chunk *chunk, ptrdiff_t panel, const char *image)
{
    const channels_job *job = task->job;
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
    const ptrdiff_t first = task->n * c->y_n + channel * c->y_c + task->row * c->y_h + task->pixel * c->y_w;
    char *y = fc_at(c, c->y, first), *to = y;
    ptrdiff_t row_step = c->y_h;
    if (job->parts) {
        tile.ldc = c->m;
        row_step = job->width * c->m;
        to = fc_at(c, job->partial, task->part * job->height * row_step);
    } else if (job->buffered) {
        row_step = task->width * width;
        to = fc_at(c, task->c_block, job->chunks > 1 ? (panel - task->p0) * task->rows * row_step : 0);
    }
    for (ptrdiff_t i = chunk->block, k = chunk->k; k < chunk->end; i++, k += tile.depth) {
        tile.depth = fc_min(fc_part(depth, blocks, i + 1), chunk->end) - k;
        const int last = k + tile.depth == depth;
        tile.b = panel_of_weights(task, panel, i, k, tile.depth);
        tile.a_offset = job->by_rows ? NULL : job->offset + k;
        tile.a_row = job->by_rows ? job->pixel_step : 0;
        tile.accumulate = k > chunk->k || chunk->i > task->first_chunk;
        tile.relu = c->relu && last && !job->parts;
        tile.column_bias = c->bias && last ? fc_at(c, c->bias, channel) : NULL;
        multiply_rows(task, &tile, job->by_rows ? fc_at(c, image, job->offset[k]) : image, to, row_step);
    }
    if (!job->buffered || job->parts || chunk->end < depth)
        return;
    /* Rows that follow each other without a gap are turned as one. */
    const ptrdiff_t merged = c->y_h == c->ow * c->y_w ? task->rows : 1;
    for (ptrdiff_t j = 0; j < task->rows; j += merged)
        c->kernels->store_strided(fc_at(c, y, j * c->y_h), c->y_w, c->y_c, fc_at(c, to, j * row_step), width,
                                  merged * task->width, tile.columns);
}

static void sum_parts(const channels_job *job)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t row = job->width * c->m, count = job->height * row;
    c->kernels->sum_partials(job->partial, job->partial, count, job->parts, count, c->relu);
    for (ptrdiff_t h = 0; h < job->height; h++)
        c->kernels->store_strided(fc_at(c, c->y, h * c->y_h), c->y_w, c->y_c, fc_at(c, job->partial, h * row), c->m,
                                  job->width, c->m);
}

/* A block of y, through a part of the reduction or, if that is not split, all of it. */
typedef struct {
    ptrdiff_t n, group, row_block, filter_block, pixel_block, part;
} output_block;

static void compute_block(const channels_job *job, const output_block *block, int thread)
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
    if (!job->packed) {
        const ptrdiff_t panel = task.group * panels + task.p0;
        task.packs = job->pixel_blocks == 1 || job->kept[thread * FC_THREAD_NUMBERS] != panel;
        job->kept[thread * FC_THREAD_NUMBERS] = panel;
    }
    const char *x = fc_at(c, c->x, task.n * c->x_n + task.group * c->q * c->x_c);
    if (job->ask_step && task.n + 1 < c->n)
        task.ask = fc_at(c, x, c->x_n);
    const ptrdiff_t last = job->parts ? part_begin(job, block->part + 1) : job->chunks;
    for (ptrdiff_t i = task.first_chunk; i < last; i++) {
        const depth_chunk chunk = chunk_at(job, i);
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
    const channels_job *job = context;
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
    const channels_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_b_panels(&job->gemm);
    output_block block = {
        .group = task / job->filter_blocks,
        .filter_block = task % job->filter_blocks,
    };
    fc_pack_panels(c, FC_LANES_CHANNELS, block.group, fc_part(panels, job->filter_blocks, block.filter_block),
                   fc_part(panels, job->filter_blocks, block.filter_block + 1), job->fresh);
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

/* The image of a block with all channels. */
static double image_bytes(channels_job *job)
{
    const fc_correlation *c = job->c;
    fc_image_block_resize(&job->block, c, job->rows);
    return (double)c->q * (double)job->block.plane * (double)c->element;
}

/* As few chunks of depth blocks as keep the channels of each in L2. */
static ptrdiff_t chunks_in_cache(channels_job *job)
{
    const ptrdiff_t blocks = fc_depth_blocks(fc_depth(job->c));
    const ptrdiff_t fitting = (ptrdiff_t)(FC_DIRECT_IMAGE_BYTES / image_bytes(job) * (double)blocks);
    return fc_ceil_div(blocks, fc_max(1, fc_min(blocks, fitting)));
}

/* One panel of weights. */
static size_t kept_bytes(const channels_job *job)
{
    const fc_correlation *c = job->c;
    return (size_t)(fc_depth(c) * c->kernels->tile_columns) * c->element;
}

/* One row of pixels in parts, where its tasks would leave threads without work: 3 panels of filters are two for one of
 * two threads, 6 halves are three for each. */
static ptrdiff_t choose_pixel_blocks(const channels_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t tasks = c->n * c->groups * job->filter_blocks;
    /* Tasks that pack keep one panel. */
    const int packs = !c->packed && c->n == 1;
    const int keeps = kept_bytes(job) <= FC_KEPT_WEIGHTS_BYTES && job->filter_blocks == fc_b_panels(&job->gemm);
    if (!job->in_place || job->height > 1 || (packs && !keeps))
        return 1;
    ptrdiff_t best = 1, least = PTRDIFF_MAX;
    for (ptrdiff_t blocks = 1; blocks <= fc_min(threads, job->width); blocks++) {
        const ptrdiff_t tiles = fc_ceil_div(fc_ceil_div(job->width, blocks), c->kernels->tile_rows);
        const ptrdiff_t longest = fc_ceil_div(tasks * blocks, threads) * tiles;
        if (longest < least) {
            least = longest;
            best = blocks;
        }
    }
    return best;
}

/* Of a long reduction for few pixels and filters, which alone can give more than one thread work: threads that shared the
 * pixels would each read all weights. */
static ptrdiff_t choose_parts(const channels_job *job)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    const ptrdiff_t most = FC_DIRECT_C_BYTES / (c->kernels->tile_columns * (ptrdiff_t)c->element);
    if (c->n * c->groups * fc_b_panels(&job->gemm) > 1 || blocks == 1 ||
        c->oh * c->ow > fc_min(most, depth / FC_DIRECT_PART_STEPS))
        return 0;
    return blocks < FC_DIRECT_PARTS ? 2 : FC_DIRECT_PARTS;
}

static void plan_parts(channels_job *job)
{
    const fc_correlation *c = job->c;
    job->row_blocks = job->filter_blocks = job->pixel_blocks = 1;
    job->rows = job->height;
    job->chunks = job->parts;
    if (!job->in_place) {
        job->block = fc_image_block_for(c, job->rows);
        job->chunks = fc_ceil_div(chunks_in_cache(job), job->parts) * job->parts;
    }
}

/* Rows of a block: few enough for all threads to have work and for its image and outputs to stay in L2, enough for a
 * panel of weights to be used some times. Depth blocks of a chunk: as many as stay in L2. */
static void plan_block(channels_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_b_panels(&job->gemm), products = c->n * c->groups;
    const ptrdiff_t wanted = threads > 1 ? 4 * threads : 1;
    const ptrdiff_t fewest = fc_min(job->height, fc_ceil_div(4 * c->kernels->tile_rows, job->width));
    const double row_bytes = (double)job->width * (double)(c->kernels->tile_columns * (ptrdiff_t)c->element);
    const ptrdiff_t most = fc_max(fewest, (ptrdiff_t)(FC_DIRECT_C_BYTES / row_bytes));
    job->chunks = 1;
    job->rows = fc_min(job->height, most);
    if (!job->in_place) {
        job->block = fc_image_block_for(c, job->rows);
        if (job->rows < job->height || image_bytes(job) > FC_DIRECT_IMAGE_BYTES || products * panels < wanted)
            job->rows = fc_min(most, fc_max(fewest, fc_ceil_div(job->height, fc_ceil_div(wanted, products))));
        while (job->rows > fewest && image_bytes(job) > FC_DIRECT_IMAGE_BYTES)
            job->rows = fc_max(fewest, fc_ceil_div(job->rows, 2));
        job->chunks = chunks_in_cache(job);
    }
    /* As many for each thread, of equal heights: 26 rows are not six times 4 and a rest. */
    job->row_blocks = fc_ceil_div(job->height, job->rows);
    if (job->row_blocks > 1)
        job->row_blocks = fc_min(job->height, fc_ceil_div(job->row_blocks, threads) * threads);
    job->rows = fc_ceil_div(job->height, job->row_blocks);
    if (!job->in_place)
        fc_image_block_resize(&job->block, c, job->rows);
    /* Each block of filters copies the image again. */
    job->filter_blocks = fc_min(panels, fc_ceil_div(job->in_place ? wanted : threads, products * job->row_blocks));
    job->pixel_blocks = choose_pixel_blocks(job, threads);
}

/* Threads that share weights read the half of them from each other's caches. Where these are more than the images, each
 * packs its own for all images, whose copies it makes itself; unless that leaves some threads less to do. */
static void pack_apart(channels_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_b_panels(&job->gemm), blocks = fc_ceil_div(threads, c->groups);
    if (blocks > panels || job->filter_blocks > blocks || job->pixel_blocks > 1)
        return;
    const ptrdiff_t longest = fc_ceil_div(c->groups * blocks, threads) * fc_ceil_div(panels, blocks);
    const ptrdiff_t plane = job->in_place ? c->h * c->w : job->block.plane * job->row_blocks;
    const double images = (double)(c->n * c->q) * (double)plane * (double)c->element;
    if (images > (double)job->group_bytes || 16 * longest * threads > 17 * c->groups * panels)
        return;
    job->packs_apart = 1;
    job->filter_blocks = blocks;
}

/* Images that come from beyond L2, a task each: while one is multiplied, all of the next is asked for. */
static ptrdiff_t choose_ask_step(const channels_job *job)
{
    const fc_correlation *c = job->c;
    const double image = (double)(c->groups * c->q) * (double)(c->h * c->w) * (double)c->element;
    if (!fc_sees_image_itself(c) || c->groups * job->row_blocks * job->pixel_blocks * job->filter_blocks > 1 ||
        image > FC_ASKED_NEXT_BYTES || image * (double)c->n <= FC_ASKED_IMAGE_BYTES)
        return 0;
    const ptrdiff_t tiles = fc_b_panels(&job->gemm) * job->height * fc_ceil_div(job->width, c->kernels->tile_rows);
    return fc_ceil_div(c->h * c->w, tiles);
}

/* A small image whose neighbouring pixels every tap sees, none of them in the padding. */
static int needs_no_copy(const fc_correlation *c)
{
    return c->x_w == 1 && c->stride_w == 1 && c->q * c->h * c->w <= FC_UNCOPIED_IMAGE_BYTES / (ptrdiff_t)c->element &&
           fc_taps_stay_inside(c);
}

/* 0 if a task does not fit into a thread's scratch. */
static int plan(channels_job *job, const fc_correlation *c, int threads)
{
    *job = (channels_job){.c = c, .by_rows = fc_pixels_are_rows(c), .pixel_step = 1};
    job->in_place = job->by_rows || fc_sees_image_itself(c) || needs_no_copy(c);
    if (job->by_rows)
        job->pixel_step = c->stride_w * c->x_w;
    job->gemm = fc_correlation_gemm(c, FC_LANES_CHANNELS);
    const int merged = (job->by_rows ? fc_rows_follow(c) : fc_sees_image_itself(c)) && c->y_h == c->ow * c->y_w &&
                       c->oh * c->ow <= FC_DIRECT_MERGED_PIXELS;
    job->buffered = c->y_c != 1;
    job->height = merged ? 1 : c->oh;
    job->width = merged ? c->oh * c->ow : c->ow;
    job->group_bytes = fc_packed_group_bytes(c, FC_LANES_CHANNELS);
    if (job->width > FC_SCRATCH_LIMIT)
        return 0;
    job->parts = choose_parts(job);
    if (job->parts)
        plan_parts(job);
    else
        plan_block(job, threads);
    if (!job->in_place && fc_image_block_overflows(&job->block, c))
        return 0;
    const ptrdiff_t columns = c->kernels->tile_columns, panels = fc_b_panels(&job->gemm);
    const double panel_bytes = (double)job->rows * (double)job->width * (double)columns * (double)c->element;
    if (panel_bytes > FC_C_BLOCK_BYTES)
        return 0;
    /* In several chunks, the outputs of all of a task's panels wait for the last. */
    const int chunked = job->chunks > 1;
    const ptrdiff_t fitting = (ptrdiff_t)(FC_C_BLOCK_BYTES / panel_bytes);
    if (job->buffered && chunked && !job->parts)
        job->filter_blocks = fc_max(job->filter_blocks, fc_ceil_div(panels, fitting));
    job->packs_first = !c->packed && !job->parts && c->n * job->row_blocks > 1;
    if (job->packs_first && threads > 1)
        pack_apart(job, threads);
    job->ask_step = choose_ask_step(job);
    fc_workspace sizes = {0};
    if (!job->in_place) {
        if ((double)most_channels(job) * (double)job->block.plane * (double)c->element > FC_SCRATCH_LIMIT / 2)
            return 0;
        fc_take(&sizes, (size_t)(most_channels(job) * job->block.plane) * c->element);
    }
    job->image_bytes = sizes.used;
    const ptrdiff_t held = chunked ? fc_ceil_div(panels, job->filter_blocks) : 1;
    if (job->buffered && !job->parts)
        fc_take(&sizes, (size_t)(held * job->rows * job->width * columns) * c->element);
    job->c_bytes = sizes.used - job->image_bytes;
    if (!c->packed && !job->packs_first)
        fc_take(&sizes, job->pixel_blocks > 1 ? kept_bytes(job) : (size_t)(FC_DEPTH_BLOCK * columns) * c->element);
    job->scratch_bytes = sizes.used;
    return 1;
}

void fc_direct_channels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    channels_job job;
    plan(&job, c, threads);
    job.packed = c->packed;
    if (job.packs_first)
        job.packed = job.fresh = fc_take(workspace, (size_t)c->groups * job.group_bytes);
    const ptrdiff_t blocks = c->n * job.row_blocks * job.pixel_blocks;
    const ptrdiff_t tasks = job.parts ? job.parts : c->groups * job.filter_blocks * (job.packs_apart ? 1 : blocks);
    threads = (int)fc_min(threads, tasks);
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
        fc_pack_all_weights(c, FC_LANES_CHANNELS, threads, job.fresh);
    fill_offsets(&job);
    fc_parallel_for(threads, tasks, job.parts ? run_part : job.packs_apart ? run_panels : run_block, &job);
    if (job.parts)
        sum_parts(&job);
}

/* The products at the pace of the register tiles, with each tile's call, the copied image and the turned output on top. */
double fc_direct_channels_cycles(const fc_correlation *c)
{
    channels_job job;
    if (!plan(&job, c, 1))
        return HUGE_VAL;
    const double panels = (double)fc_ceil_div(job.width, c->kernels->tile_rows) * (double)job.height;
    const ptrdiff_t vectors = fc_ceil_div(c->m, c->kernels->lanes);
    const double step = fc_tiles_step_cycles((double)(job.width * job.height) / panels, vectors, 1.1);
    const double products = panels * step * (double)fc_depth(c);
    const double calls = panels * (double)fc_ceil_div(vectors, 2) * (double)fc_depth_blocks(fc_depth(c)) * 80;
    const double turned = job.buffered ? fc_direct_turn_cycles(c) : 0;
    const double copied = job.in_place ? 0 : fc_direct_copy_cycles(c);
    /* A task's panel is packed into its L1 and goes nowhere else. */
    const double packing = fc_packing_cycles(c) * (fc_taps_lie_apart(c) ? 0.9 : job.packs_first ? 0.7 : 0.55);
    return packing + (double)(c->n * c->groups) * (products + calls + turned + copied);
}
