/* The direct weight gradient with lanes along a row of pixels: inner products of dy's rows with the image's, shifted by
 * each tap.
 *
 * Neither operand is packed into panels: dy is read where it lies, x from a padded block. It serves short reductions
 * over channels (first layers), depthwise and grouped problems, where im2col's panels would serve few products.
 */
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
    ptrdiff_t channels;   /* of x in a block */
    ptrdiff_t m_blocks;   /* dy's channels are split for threads */
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

static void accumulate_unit(const direct_weight_job *job, const fc_weight_unit *unit, ptrdiff_t group, ptrdiff_t m0,
                            ptrdiff_t m1, char *dw, char *scratch)
{
    const fc_correlation *c = job->c;
    const fc_kernels *kernels = c->kernels;
    char *image = scratch, *dy_block = scratch + job->image_bytes;
    ptrdiff_t *offset = (ptrdiff_t *)(void *)(dy_block + job->dy_bytes);
    const char *x = fc_at(c, c->x, unit->n * c->x_n + group * c->q * c->x_c);
    const char *dy = fc_at(c, c->y, unit->n * c->y_n + (group * c->m + m0) * c->y_c + unit->row * c->y_h);
    fc_dot_tile tile = {
        .lines = unit->rows,
        .width = c->ow,
        .a_row = c->y_c,
        .a_line = c->y_h,
        .b = image,
        .b_line = fc_block_row_step(&job->block, c),
        .c_row = c->w_m,
        .accumulate = 1,
    };
    if (!reads_dy_in_place(c)) {
        tile.a_row = unit->rows * c->ow;
        tile.a_line = c->ow;
        for (ptrdiff_t j = 0; j < unit->rows; j++)
            kernels->pack_strided(fc_at(c, dy_block, j * c->ow), 1, tile.a_row, fc_at(c, dy, j * c->y_h), c->y_w,
                                  c->ow, m1 - m0);
        dy = dy_block;
    }
    for (ptrdiff_t q0 = 0; q0 < c->q; q0 += job->channels) {
        const ptrdiff_t channels = fc_min(job->channels, c->q - q0), steps = channels * c->taps;
        fc_fill_image_block(&job->block, c, fc_at(c, x, q0 * c->x_c), channels, unit->row, unit->rows, image);
        fc_step_offsets(&job->block, c, 0, steps, offset);
        for (ptrdiff_t r = 0; r < steps; r++) {
            offset[steps + r] = weight_of_step(c, q0 + r / c->taps, r % c->taps);
        }
        for (ptrdiff_t i = 0; i < m1 - m0; i += kernels->dot_rows) {
            tile.rows = (int)fc_min(kernels->dot_rows, m1 - m0 - i);
            tile.a = fc_at(c, dy, i * tile.a_row);
            for (ptrdiff_t r = 0; r < steps; r += kernels->dot_columns) {
                tile.columns = (int)fc_min(kernels->dot_columns, steps - r);
                tile.b_offset = offset + r;
                tile.c_offset = offset + steps + r;
                tile.c = fc_at(c, dw, (m0 + i) * c->w_m);
                kernels->dot_tile(&tile);
            }
        }
    }
}

static void direct_weight_task(void *context, ptrdiff_t task, int thread)
{
    const direct_weight_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t m_block = task % job->m_blocks, group = task / job->m_blocks % c->groups;
    const ptrdiff_t chunk = task / job->m_blocks / c->groups;
    char *dw = fc_at(c, fc_partial(&job->partials, chunk), group * c->w_group);
    for (ptrdiff_t i = fc_partials_first(&job->partials, chunk); i < fc_partials_first(&job->partials, chunk + 1);
         i++) {
        const fc_weight_unit unit = fc_partials_unit(&job->partials, c, i);
        accumulate_unit(job, &unit, group, fc_part(c->m, job->m_blocks, m_block),
                        fc_part(c->m, job->m_blocks, m_block + 1), dw,
                        job->scratch + (size_t)thread * job->scratch_bytes);
    }
}

/* Rows of a unit: depends on the problem and the ISA alone, for the order of the sum follows from it. dy's rows of one
 * tile and the image's of one channel stay in L1, the block of channels in L2. */
static ptrdiff_t rows_of_unit(const fc_correlation *c)
{
    const ptrdiff_t row_bytes = fc_ceil_div(c->ow, c->kernels->lanes) * c->kernels->lanes * (ptrdiff_t)c->element;
    ptrdiff_t rows = fc_min(c->oh, fc_max(1, FC_IMAGE_BLOCK_BYTES / 16 / row_bytes));
    fc_image_block b = fc_image_block_for(c, rows);
    for (; rows > 1; rows = fc_ceil_div(rows, 2)) {
        fc_image_block_resize(&b, c, rows);
        if (!fc_image_block_overflows(&b, c) && b.plane * (ptrdiff_t)c->element <= FC_IMAGE_BLOCK_BYTES / 4)
            break;
    }
    return rows;
}

/* A tile takes its loads and multiply-adds for each vector of a row, and a fixed time to add up its lanes. */
double fc_direct_weight_pixels_cycles(const fc_correlation *c)
{
    const ptrdiff_t rows = rows_of_unit(c), dot_rows = c->kernels->dot_rows, dot_columns = c->kernels->dot_columns;
    const double units = (double)(c->n * c->groups) * (double)fc_ceil_div(c->oh, rows);
    const double tiles = (double)fc_ceil_div(c->m, dot_rows) * (double)fc_ceil_div(fc_depth(c), dot_columns);
    const double vectors = (double)rows * (double)fc_ceil_div(c->ow, c->kernels->lanes);
    const double products = (double)(dot_rows * dot_columns), loads = (double)(dot_rows + dot_columns);
    const double turned = c->layout == FC_NHWC ? (double)c->m * vectors * 4 : 0;
    const double copied = (double)(c->n * c->groups) * fc_direct_copy_cycles(c, 0);
    return copied + units * (tiles * (vectors * (0.5 * products + 0.5 * loads) + 15 * products) + turned);
}

void fc_direct_weight_pixels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    direct_weight_job job = {.c = c};
    const ptrdiff_t rows = rows_of_unit(c);
    const ptrdiff_t row_tiles = fc_ceil_div(c->m, c->kernels->dot_rows);
    job.block = fc_image_block_for(c, rows);
    job.channels = fc_max(1, fc_min(c->q, FC_IMAGE_BLOCK_BYTES / (job.block.plane * (ptrdiff_t)c->element)));
    job.partials = fc_plan_partials(c, rows, 1, fc_chunks_beside(c->groups * row_tiles), workspace);
    const ptrdiff_t products = job.partials.chunks * c->groups;
    job.m_blocks = fc_min(row_tiles, fc_ceil_div(products < 4 * threads ? 4 * threads : 1, products));
    const ptrdiff_t tasks = products * job.m_blocks;
    threads = (int)fc_min(threads, tasks);
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(job.channels * job.block.plane) * c->element);
    job.image_bytes = sizes.used;
    if (!reads_dy_in_place(c))
        fc_take(&sizes, (size_t)(fc_ceil_div(c->m, job.m_blocks) * rows * c->ow) * c->element);
    job.dy_bytes = sizes.used - job.image_bytes;
    fc_take(&sizes, 2 * (size_t)(job.channels * c->taps) * sizeof(ptrdiff_t));
    job.scratch_bytes = sizes.used;
    job.scratch = fc_take(workspace, (size_t)threads * job.scratch_bytes);
    if (!workspace->base)
        return;
    fc_clear_partials(&job.partials, threads);
    fc_parallel_for(threads, tasks, direct_weight_task, &job);
    fc_sum_partials(&job.partials, c, threads);
}
