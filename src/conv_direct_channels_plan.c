/* Direct convolution with lanes along output channels: the blocks of rows, filters and pixels, the chunks and parts of the
 * reduction, who packs the weights, and what that costs. */
#include "conv_direct_channels.h"

#include <math.h>
#include <stdint.h>

#include "blocking.h"
#include "conv_direct.h"
#include "im2col.h"
#include "pack_weights.h"

fc_depth_chunk fc_depth_chunk_at(const fc_channels_job *job, ptrdiff_t i)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    fc_depth_chunk chunk = {.i = i, .k = fc_part(depth, job->chunks, i), .end = fc_part(depth, job->chunks, i + 1)};
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

static ptrdiff_t most_channels(const fc_channels_job *job)
{
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < job->chunks; i++)
        most = fc_max(most, fc_depth_chunk_at(job, i).channels);
    return most;
}

/* The image of a block with all channels. */
static double image_bytes(fc_channels_job *job)
{
    const fc_correlation *c = job->c;
    fc_image_block_resize(&job->block, c, job->rows);
    return (double)c->q * (double)job->block.plane * (double)c->element;
}

/* As few chunks of depth blocks as keep the channels of each in L2. */
static ptrdiff_t chunks_in_cache(fc_channels_job *job)
{
    const ptrdiff_t blocks = fc_depth_blocks(fc_depth(job->c));
    const ptrdiff_t fitting = (ptrdiff_t)(FC_DIRECT_IMAGE_BYTES / image_bytes(job) * (double)blocks);
    return fc_ceil_div(blocks, fc_max(1, fc_min(blocks, fitting)));
}

/* One panel of weights. */
static size_t kept_bytes(const fc_channels_job *job)
{
    const fc_correlation *c = job->c;
    return (size_t)(fc_depth(c) * c->kernels->tile_columns) * c->element;
}

/* One row of pixels in parts, where its tasks would leave threads without work: 3 panels of filters are two for one of
 * two threads, 6 halves are three for each. */
static ptrdiff_t choose_pixel_blocks(const fc_channels_job *job, int threads)
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
        const ptrdiff_t tiles = fc_ceil_div(fc_ceil_div(job->width, blocks), fc_tile_pixels(job, c->m));
        const ptrdiff_t longest = fc_ceil_div(tasks * blocks, threads) * tiles;
        if (longest < least) {
            least = longest;
            best = blocks;
        }
    }
    return best;
}

/* Whether so few panels are no equal work for two threads: a lone one, or a third, or one that is half empty. */
static int panels_are_uneven(const fc_correlation *c)
{
    const ptrdiff_t vectors = fc_ceil_div(c->m, c->kernels->lanes);
    return vectors <= FC_DIRECT_UNEVEN_VECTORS && vectors % 4 != 0;
}

/* Of a long reduction for few pixels and filters, which alone can give all threads as much work: threads that shared the
 * pixels would each read all weights. Held ones both have in their L2. */
static ptrdiff_t choose_parts(const fc_channels_job *job)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    const ptrdiff_t most = FC_DIRECT_C_BYTES / (c->kernels->tile_columns * (ptrdiff_t)c->element);
    if (c->held || c->n * c->groups > 1 || !panels_are_uneven(c) || blocks == 1 ||
        c->oh * c->ow > fc_min(most, depth / FC_DIRECT_PART_STEPS))
        return 0;
    return blocks < FC_DIRECT_PARTS ? 2 : FC_DIRECT_PARTS;
}

static void plan_parts(fc_channels_job *job)
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

/* Whether all rows are better one block, whose image is copied some channels at a time, between which its outputs wait, than
 * `blocks` that each read all weights. */
static int takes_all_rows(const fc_channels_job *given, ptrdiff_t blocks)
{
    const fc_correlation *c = given->c;
    fc_channels_job job = *given;
    job.rows = job.height;
    const double outputs = (double)(c->m * c->oh * c->ow) * (double)c->element;
    return 2 * outputs * (double)chunks_in_cache(&job) < (double)job.group_bytes * (double)(blocks - 1);
}

/* Rows of a block: few enough for all threads to have work and for its image and outputs to stay in L2, enough for a
 * panel of weights to be used some times. Depth blocks of a chunk: as many as stay in L2. */
static void plan_block(fc_channels_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t panels = fc_b_panels(&job->gemm), products = c->n * c->groups;
    const ptrdiff_t wanted = threads > 1 ? 4 * threads : 1;
    const ptrdiff_t fewest = fc_min(job->height, fc_ceil_div(4 * c->kernels->tile_rows, job->width));
    const double row_bytes = (double)job->width * (double)(c->kernels->tile_columns * (ptrdiff_t)c->element);
    const ptrdiff_t most = fc_max(fewest, (ptrdiff_t)(FC_DIRECT_C_BYTES / row_bytes));
    job->chunks = 1;
    job->rows = fc_min(job->height, most);
    if (job->in_place && products * panels < wanted) {
        job->rows = fc_min(most, fc_max(fewest, fc_ceil_div(job->height, fc_ceil_div(wanted, products * panels))));
    } else if (!job->in_place) {
        job->block = fc_image_block_for(c, job->rows);
        if (job->rows < job->height || image_bytes(job) > FC_DIRECT_IMAGE_BYTES || products * panels < wanted)
            job->rows = fc_min(most, fc_max(fewest, fc_ceil_div(job->height, fc_ceil_div(wanted, products))));
        while (job->rows > fewest && image_bytes(job) > FC_DIRECT_IMAGE_BYTES)
            job->rows = fc_max(fewest, fc_ceil_div(job->rows, 2));
        if (most >= job->height && products * panels >= wanted && takes_all_rows(job, fc_ceil_div(job->height, job->rows)))
            job->rows = job->height;
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
static void pack_apart(fc_channels_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t blocks = fc_blocks_apart(c->groups, fc_b_panels(&job->gemm), threads);
    const ptrdiff_t plane = job->in_place ? c->h * c->w : job->block.plane * job->row_blocks;
    const double images = (double)(c->n * c->q) * (double)plane * (double)c->element;
    if (job->filter_blocks > blocks || job->pixel_blocks > 1 || images > (double)job->group_bytes)
        return;
    job->packs_apart = 1;
    job->filter_blocks = blocks;
}

/* Images that come from beyond L2, a task each: while one is multiplied, all of the next is asked for. */
static ptrdiff_t choose_ask_step(const fc_channels_job *job)
{
    const fc_correlation *c = job->c;
    const double image = (double)(c->groups * c->q) * (double)(c->h * c->w) * (double)c->element;
    if (!fc_sees_image_itself(c) || c->groups * job->row_blocks * job->pixel_blocks * job->filter_blocks > 1 ||
        image > FC_ASKED_NEXT_BYTES || image * (double)c->n <= FC_ASKED_IMAGE_BYTES)
        return 0;
    const ptrdiff_t tiles = fc_b_panels(&job->gemm) * job->height * fc_ceil_div(job->width, fc_tile_pixels(job, c->m));
    return fc_ceil_div(c->h * c->w, tiles);
}

/* A small image whose neighbouring pixels every tap sees, none of them in the padding. */
static int needs_no_copy(const fc_correlation *c)
{
    return c->x_w == 1 && c->stride_w == 1 && c->q * c->h * c->w <= FC_UNCOPIED_IMAGE_BYTES / (ptrdiff_t)c->element &&
           fc_taps_stay_inside(c);
}

int fc_direct_channels_plan(fc_channels_job *job, const fc_correlation *c, int threads)
{
    *job = (fc_channels_job){.c = c, .by_rows = fc_pixels_are_rows(c), .pixel_step = 1};
    job->in_place = job->by_rows || fc_sees_image_itself(c) || needs_no_copy(c);
    if (job->by_rows)
        job->pixel_step = c->stride_w * c->x_w;
    job->gemm = fc_correlation_gemm(c, FC_LANES_CHANNELS);
    job->buffered = c->y_c != 1;
    const int merged = (job->by_rows ? fc_rows_follow(c) : fc_sees_image_itself(c)) &&
                       (job->buffered || c->y_h == c->ow * c->y_w) && c->oh * c->ow <= FC_DIRECT_MERGED_PIXELS;
    job->steady = fc_sees_image_itself(c) && c->x_c != 0;
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

/* The products at the pace of the register tiles, with each tile's call, the copied image and the turned output on top. */
double fc_direct_channels_cycles(const fc_correlation *c)
{
    fc_channels_job job;
    if (!fc_direct_channels_plan(&job, c, 1))
        return HUGE_VAL;
    const ptrdiff_t vectors = fc_ceil_div(c->m, c->kernels->lanes), pairs = vectors / 2, odd = vectors % 2;
    const double pixels = (double)(job.width * job.height), blocks = (double)fc_depth_blocks(fc_depth(c));
    const double tiles = (double)(fc_ceil_div(job.width, c->kernels->tile_rows) * job.height);
    const double odd_tiles = (double)(fc_ceil_div(job.width, fc_tile_pixels(&job, c->kernels->lanes)) * job.height);
    /* An offset is one load more a step, of which an odd vector has none to spare. */
    const double step = tiles * fc_tiles_step_cycles(pixels / tiles, 2 * pairs, 1) +
                        odd_tiles * fc_tiles_step_cycles(pixels / odd_tiles, odd, job.steady ? 1 : 1.1);
    const double products = step * (double)fc_depth(c);
    const double calls = ((double)pairs * tiles + (double)odd * odd_tiles) * blocks * 80;
    const double turned = job.buffered ? fc_direct_turn_cycles(c) : 0;
    const double copied = job.in_place ? 0 : fc_direct_copy_cycles(c);
    /* A task's panel is packed into its L1 and goes nowhere else. */
    const double packing = fc_packing_cycles(c) * (fc_taps_lie_apart(c) ? 0.9 : job.packs_first ? 0.7 : 0.55);
    const double far = job.in_place ? 0 : fc_direct_far_cycles(c);
    const double image = FC_DIRECT_TASK_CYCLES + products + calls + turned + copied;
    return packing + far + fc_scatter_cycles(c) + (double)(c->n * c->groups) * image;
}
