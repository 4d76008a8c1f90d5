/* The direct weight gradient with lanes along a row of pixels: inner products of dy's rows with the image's, shifted by
 * each tap.
 *
 * Neither operand is packed into panels: dy is read where it lies, and so is x by a 1x1 kernel, else from a padded
 * block. It serves short reductions over channels (first layers), depthwise and grouped problems, and few filters, where
 * im2col's panels would serve few products.
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
    int in_place;         /* 1x1: x is read where it lies */
    ptrdiff_t channels;   /* of x in a block */
    ptrdiff_t q_blocks, m_blocks; /* x's channels, and dy's, are split for threads */
    size_t image_bytes, dy_bytes, offset_bytes, scratch_bytes;
    char *scratch;
} direct_weight_job;

/* dy's rows are read in place when their pixels lie side by side. */
static int reads_dy_in_place(const fc_correlation *c) { return c->layout == FC_NCHW; }

/* dw element of step (q, t) relative to the group's first. */
static ptrdiff_t weight_of_step(const fc_correlation *c, ptrdiff_t q, ptrdiff_t t)
{
    return q * c->w_q + c->tap[t].weight;
}

/* The channels of a task: [q0, q1) of x and [m0, m1) of dy, of a group. */
typedef struct {
    ptrdiff_t group, q0, q1, m0, m1;
} channel_ranges;

/* Where the steps of `channels` channels from q on begin in the image, and behind that in dw. */
static void fill_offsets(const direct_weight_job *job, ptrdiff_t q, ptrdiff_t channels, ptrdiff_t *offset)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t steps = channels * c->taps;
    if (!job->in_place)
        fc_step_offsets(&job->block, c, 0, steps, offset);
    else
        fc_offsets_of_tap(c, offset, steps, 0, c->x_c);
    for (ptrdiff_t t = 0; t < c->taps; t++)
        fc_offsets_of_tap(c, offset + steps + t, steps - t, weight_of_step(c, q, t), c->w_q);
}

/* All tiles of some steps, of equal sizes. */
static void multiply_tiles(const direct_weight_job *job, fc_dot_tile *tile, const channel_ranges *of, ptrdiff_t steps,
                           const char *dy, const ptrdiff_t *offset, char *dw)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t filters = of->m1 - of->m0, panels = fc_ceil_div(filters, c->kernels->dot_rows);
    const ptrdiff_t strips = fc_ceil_div(steps, c->kernels->dot_columns);
    for (ptrdiff_t i = 0; i < panels; i++) {
        const ptrdiff_t m = fc_part(filters, panels, i);
        tile->rows = (int)(fc_part(filters, panels, i + 1) - m);
        tile->a = fc_at(c, dy, m * tile->a_row);
        tile->c = fc_at(c, dw, (of->m0 + m) * c->w_m);
        for (ptrdiff_t j = 0; j < strips; j++) {
            const ptrdiff_t r = fc_part(steps, strips, j);
            tile->columns = (int)(fc_part(steps, strips, j + 1) - r);
            tile->b_offset = offset + r;
            tile->c_offset = offset + steps + r;
            c->kernels->dot_tile(tile);
        }
    }
}

static void accumulate_unit(const direct_weight_job *job, const fc_weight_unit *unit, const channel_ranges *of, char *dw,
                            char *scratch)
{
    const fc_correlation *c = job->c;
    char *image = scratch, *dy_block = scratch + job->image_bytes;
    ptrdiff_t *offset = (ptrdiff_t *)(void *)(dy_block + job->dy_bytes);
    const char *x = fc_at(c, c->x, unit->n * c->x_n + of->group * c->q * c->x_c);
    const char *dy = fc_at(c, c->y, unit->n * c->y_n + (of->group * c->m + of->m0) * c->y_c + unit->row * c->y_h);
    fc_dot_tile tile = {
        .lines = unit->rows,
        .width = c->ow,
        .a_row = c->y_c,
        .a_line = c->y_h,
        .b = image,
        .b_line = job->in_place ? c->x_h : fc_block_row_step(&job->block, c),
        .c_row = c->w_m,
        .accumulate = 1,
    };
    if (!reads_dy_in_place(c)) {
        tile.a_row = unit->rows * c->ow;
        tile.a_line = c->ow;
        for (ptrdiff_t j = 0; j < unit->rows; j++)
            c->kernels->pack_strided(fc_at(c, dy_block, j * c->ow), 1, tile.a_row, fc_at(c, dy, j * c->y_h), c->y_w,
                                     c->ow, of->m1 - of->m0);
        dy = dy_block;
    }
    /* Lines that follow each other without a gap are one. */
    if (tile.a_line == tile.width && tile.b_line == tile.width) {
        tile.width *= tile.lines;
        tile.lines = 1;
    }
    for (ptrdiff_t q = of->q0; q < of->q1; q += job->channels) {
        const ptrdiff_t channels = fc_min(job->channels, of->q1 - q);
        if (job->in_place)
            tile.b = fc_at(c, x, q * c->x_c + unit->row * c->x_h);
        else
            fc_fill_image_block(&job->block, c, fc_at(c, x, q * c->x_c), channels, unit->row, unit->rows, image);
        fill_offsets(job, q, channels, offset);
        multiply_tiles(job, &tile, of, channels * c->taps, dy, offset, dw);
    }
}

static void direct_weight_task(void *context, ptrdiff_t task, int thread)
{
    const direct_weight_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t m_block = task % job->m_blocks, q_block = task / job->m_blocks % job->q_blocks;
    const ptrdiff_t product = task / job->m_blocks / job->q_blocks, chunk = product / c->groups;
    const channel_ranges of = {
        .group = product % c->groups,
        .q0 = fc_part(c->q, job->q_blocks, q_block),
        .q1 = fc_part(c->q, job->q_blocks, q_block + 1),
        .m0 = fc_part(c->m, job->m_blocks, m_block),
        .m1 = fc_part(c->m, job->m_blocks, m_block + 1),
    };
    char *dw = fc_at(c, fc_partial(&job->partials, chunk), of.group * c->w_group);
    const ptrdiff_t end = fc_partials_first(&job->partials, chunk + 1);
    for (ptrdiff_t i = fc_partials_first(&job->partials, chunk); i < end; i++) {
        const fc_weight_unit unit = fc_partials_unit(&job->partials, c, i);
        accumulate_unit(job, &unit, &of, dw, job->scratch + (size_t)thread * job->scratch_bytes);
    }
}

/* Channels that lie side by side are turned a vector at a time: some that a block has at least. */
static ptrdiff_t fewest_channels(const fc_correlation *c)
{
    return c->layout == FC_NHWC ? fc_max(4, fc_min(c->q, c->kernels->lanes)) : 4;
}

/* Rows of a unit: depends on the problem and the ISA alone, for the order of the sum follows from it. What of dy a tile
 * reads, and the block of channels, stay in L2. */
static ptrdiff_t rows_of_unit(const fc_correlation *c)
{
    const ptrdiff_t row_bytes = fc_ceil_div(c->ow, c->kernels->lanes) * c->kernels->lanes * (ptrdiff_t)c->element;
    ptrdiff_t rows = fc_min(c->oh, fc_max(1, FC_GRADIENT_ROW_BYTES / row_bytes));
    fc_image_block b = fc_image_block_for(c, rows);
    for (; rows > 1; rows = fc_ceil_div(rows, 2)) {
        fc_image_block_resize(&b, c, rows);
        if (!fc_image_block_overflows(&b, c) && b.plane * (ptrdiff_t)c->element <= FC_IMAGE_BLOCK_BYTES / fewest_channels(c))
            break;
    }
    return rows;
}

/* Channels of x that stay in L2 together. */
static ptrdiff_t channels_of_block(const fc_correlation *c, const fc_image_block *b)
{
    const ptrdiff_t fitting = FC_IMAGE_BLOCK_BYTES / (b->plane * (ptrdiff_t)c->element), lanes = c->kernels->lanes;
    return fc_max(1, fc_min(c->q, c->layout == FC_NHWC && fitting > lanes ? fitting / lanes * lanes : fitting));
}

/* Each block of channels reads all of dy: a unit's from L2 at the pace of the products, or else from beyond it; and once it
 * comes from memory. */
static double reading_cycles(const fc_correlation *c, ptrdiff_t rows)
{
    const fc_image_block b = fc_image_block_for(c, rows);
    const double unit = (double)c->m * (double)(rows * c->ow) * (double)c->element;
    const double bytes = (double)(c->n * c->groups * c->m) * (double)(c->oh * c->ow) * (double)c->element;
    const double blocks = (double)fc_ceil_div(c->q, channels_of_block(c, &b));
    const double lines = bytes / 64;
    return lines * ((unit > FC_DIRECT_IMAGE_BYTES ? 6 * blocks : 0) + (bytes > FC_FAR_BYTES ? 10 : 0));
}

/* A tile takes its multiply-adds for each vector of a row, or of all rows in place, and a fixed time to add up its lanes. */
double fc_direct_weight_pixels_cycles(const fc_correlation *c)
{
    const ptrdiff_t rows = rows_of_unit(c), dot_rows = c->kernels->dot_rows, dot_columns = c->kernels->dot_columns;
    const ptrdiff_t lanes = c->kernels->lanes;
    const int in_place = fc_sees_image_itself(c);
    const double images = (double)(c->n * c->groups), units = (double)fc_ceil_div(c->oh, rows);
    const double panels = (double)fc_ceil_div(c->m, dot_rows), strips = (double)fc_ceil_div(fc_depth(c), dot_columns);
    const double vectors = in_place ? (double)fc_ceil_div(c->oh * c->ow, lanes)
                                    : (double)c->oh * (double)fc_ceil_div(c->ow, lanes);
    /* Four multiply-adds must be in flight for each of two units. */
    const double products = fmax(8, (double)c->m / panels * (double)fc_depth(c) / strips);
    const double turned = c->layout == FC_NHWC ? fc_turned_channels(c, c->m) * vectors * 4 : 0;
    const double copied = in_place ? 0 : images * fc_direct_copy_cycles(c);
    return copied + reading_cycles(c, rows) +
           images * (panels * strips * products * (vectors * 0.6 * fc_vector_passes() + units * 3.5) + turned);
}

void fc_direct_weight_pixels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    direct_weight_job job = {.c = c, .in_place = fc_sees_image_itself(c)};
    const ptrdiff_t rows = rows_of_unit(c);
    const ptrdiff_t row_tiles = fc_ceil_div(c->m, c->kernels->dot_rows);
    job.block = fc_image_block_for(c, rows);
    job.channels = channels_of_block(c, &job.block);
    job.partials = fc_plan_partials(c, rows, 1, fc_chunks_beside(c->groups * row_tiles), workspace);
    const ptrdiff_t products = job.partials.chunks * c->groups;
    /* Blocks of x's channels copy nothing of x twice, but would turn dy each; those of dy's channels copy x each. */
    const ptrdiff_t blocks = fc_ceil_div(products < 4 * threads ? 4 * threads : 1, products);
    const ptrdiff_t strips = fc_ceil_div(fc_depth(c), c->kernels->dot_columns);
    const ptrdiff_t most = reads_dy_in_place(c) ? strips : fc_max(1, strips / 16);
    job.q_blocks = fc_min(blocks, fc_min(c->q, most));
    job.m_blocks = fc_min(row_tiles, fc_ceil_div(threads, products * job.q_blocks));
    const ptrdiff_t tasks = products * job.q_blocks * job.m_blocks;
    threads = (int)fc_min(threads, tasks);
    fc_workspace sizes = {0};
    if (!job.in_place)
        fc_take(&sizes, (size_t)(job.channels * job.block.plane) * c->element);
    job.image_bytes = sizes.used;
    if (!reads_dy_in_place(c))
        fc_take(&sizes, (size_t)(fc_ceil_div(c->m, job.m_blocks) * rows * c->ow) * c->element);
    job.dy_bytes = sizes.used - job.image_bytes;
    fc_take(&sizes, 2 * (size_t)(job.channels * c->taps) * sizeof(ptrdiff_t));
    job.scratch_bytes = sizes.used;
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    fc_clear_partials(&job.partials, threads);
    fc_parallel_for(threads, tasks, direct_weight_task, &job);
    fc_sum_partials(&job.partials, c, threads);
}
