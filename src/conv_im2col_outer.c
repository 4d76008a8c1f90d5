/* im2col for few pixels, as sums of outer products: the forward pass and the input gradient of a fully connected layer,
 * whose weights pass once through the cache, and its weight gradient, which is written once.
 *
 * Rows of the long matrices, as many as channels of y, are read and written where they lie, some of a row before the
 * next, as memory likes it; panels of them would be strips of two cache lines, tens of kilobytes apart.
 */
#include "conv_im2col_outer.h"

#include "blocking.h"
#include "parallel.h"

/* C[rows, c->m] = A[rows, depth] · B[depth, c->m]. Of few pixels: rows are those of y, B is the weights. Of the weight
 * gradient: rows are the channels of x, B is dy. */
typedef struct {
    const fc_correlation *c;
    int gradient;
    ptrdiff_t rows, depth, steps;  /* steps of the reduction between two visits of C */
    const char *b;
    char *to;
    ptrdiff_t ldb, ldc, b_group, c_group;
    ptrdiff_t row_blocks, column_blocks;
    size_t scratch_bytes;
    char *scratch;
} outer_job;

static ptrdiff_t pixels_of(const fc_correlation *c) { return c->n * c->oh * c->ow; }

int fc_serves_outer(const fc_correlation *c)
{
    const int sees_itself = c->taps == 1 && c->tap[0].h == 0 && c->tap[0].w == 0 && c->stride_h == 1 &&
                            c->stride_w == 1 && c->oh == c->h && c->ow == c->w;
    const int in_order = (c->oh == 1 || c->y_h == c->ow * c->y_w) && (c->n == 1 || c->y_n == c->oh * c->ow * c->y_w);
    const int far = (double)c->m * (double)c->q * (double)c->element > FC_OUTER_FAR_BYTES;
    return c->layout == FC_NHWC && sees_itself && in_order && c->y_c == 1 && c->x_c == 1 && c->w_m == 1 &&
           pixels_of(c) <= (far ? FC_OUTER_PIXELS : c->kernels->tile_rows);
}

static const char *pixel_of_x(const fc_correlation *c, ptrdiff_t pixel)
{
    const ptrdiff_t row = pixel / c->ow;
    return fc_at(c, c->x, row / c->oh * c->x_n + row % c->oh * c->x_h + pixel % c->ow * c->x_w);
}

/* Rows [row, row + rows) of A, steps [k, k + depth). */
static void pack_rows(const outer_job *job, ptrdiff_t group, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t k,
                      ptrdiff_t depth, char *panel)
{
    const fc_correlation *c = job->c;
    if (job->gradient) {
        const fc_run run = {0, 0, rows};
        for (ptrdiff_t i = 0; i < depth; i++)
            c->kernels->pack_runs(fc_at(c, panel, i * rows), rows, fc_at(c, pixel_of_x(c, k + i), group * c->q + row),
                                  0, 1, 1, &run, 1, 0);
        return;
    }
    const void *pixel[64];
    for (ptrdiff_t i = 0; i < rows; i++)
        pixel[i] = fc_at(c, pixel_of_x(c, row + i), group * c->q + k);
    c->kernels->pack_columns(panel, rows, pixel, (int)rows, 1, depth);
}

/* The pieces of a thread's scratch: a panel of A, and one of B where its rows end amid a vector. */
static char *lay_out(const outer_job *job, fc_workspace *scratch, char **end_of_b)
{
    const fc_kernels *kernels = job->c->kernels;
    char *a = fc_take(scratch, (size_t)(kernels->tile_rows * job->steps) * job->c->element);
    *end_of_b = fc_take(scratch, (size_t)(kernels->tile_columns * job->steps) * job->c->element);
    return a;
}

static void outer_task(void *context, ptrdiff_t task, int thread)
{
    const outer_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t width = c->kernels->tile_columns, strips = fc_ceil_div(c->m, width);
    const ptrdiff_t column_block = task % job->column_blocks, row_block = task / job->column_blocks % job->row_blocks;
    const ptrdiff_t group = task / job->column_blocks / job->row_blocks;
    const ptrdiff_t begin = fc_part(strips, job->column_blocks, column_block) * width;
    const ptrdiff_t end = fc_min(fc_part(strips, job->column_blocks, column_block + 1) * width, c->m);
    const ptrdiff_t first = fc_part(job->rows, job->row_blocks, row_block);
    const ptrdiff_t rows = fc_part(job->rows, job->row_blocks, row_block + 1) - first;
    const ptrdiff_t panels = fc_ceil_div(rows, c->kernels->tile_rows);
    const fc_parts heights = fc_equal_parts(rows, panels);
    const char *b = fc_at(c, job->b, group * job->b_group);
    fc_workspace scratch = {.base = job->scratch + (size_t)thread * job->scratch_bytes};
    char *end_of_b, *a = lay_out(job, &scratch, &end_of_b);
    for (ptrdiff_t k = 0; k < job->depth; k += job->steps) {
        const ptrdiff_t depth = fc_min(job->steps, job->depth - k), whole = (end - begin) / c->kernels->lanes;
        const ptrdiff_t ragged = begin + whole * c->kernels->lanes / width * width;
        const int is_ragged = (end - begin) % c->kernels->lanes != 0, last = k + depth == job->depth;
        if (is_ragged) {
            const fc_run run = {0, 0, end - ragged};
            c->kernels->pack_runs(end_of_b, width, fc_at(c, b, k * job->ldb + ragged), job->ldb, 1, depth, &run, 1,
                                  width);
        }
        for (ptrdiff_t panel = 0; panel < panels; panel++) {
            const ptrdiff_t row = first + fc_part_begin(heights, panel);
            fc_tile tile = {
                .depth = depth,
                .rows = (int)(first + fc_part_begin(heights, panel + 1) - row),
                .a = a,
                .ldc = job->ldc,
                .accumulate = k > 0,
                .relu = c->relu && last,
            };
            pack_rows(job, group, row, tile.rows, k, depth, a);
            for (ptrdiff_t column = begin; column < end; column += width) {
                const int copied = is_ragged && column == ragged;
                tile.columns = (int)fc_min(width, end - column);
                tile.b = copied ? end_of_b : fc_at(c, b, k * job->ldb + column);
                tile.ldb = tile.ask_step = copied ? width : job->ldb;
                tile.ask = fc_at(c, tile.b, width);
                tile.c = fc_at(c, job->to, group * job->c_group + row * job->ldc + column);
                tile.column_bias = c->bias && last ? fc_at(c, c->bias, group * c->m + column) : NULL;
                c->kernels->gemm_tile(&tile);
            }
        }
    }
}

static outer_job plan(const fc_correlation *c, fc_operation operation, int threads)
{
    outer_job job = {.c = c, .gradient = operation == FC_BACKWARD_WEIGHT};
    char *weights = fc_at(c, c->weights, c->tap[0].weight);
    if (job.gradient) {
        job.rows = c->q, job.depth = job.steps = pixels_of(c);
        job.b = c->y, job.ldb = c->y_w, job.b_group = c->m;
        job.to = weights, job.ldc = c->w_q, job.c_group = c->w_group;
    } else {
        job.rows = pixels_of(c), job.depth = c->q, job.steps = fc_min(c->q, FC_OUTER_STEPS);
        job.b = weights, job.ldb = c->w_q, job.b_group = c->w_group;
        job.to = c->y, job.ldc = c->y_w, job.c_group = c->m;
    }
    /* What a block reads again, of B or of C, stays in L2; it is as wide as can be, for long rows come faster. */
    const ptrdiff_t strips = fc_ceil_div(c->m, c->kernels->tile_columns);
    const ptrdiff_t bytes = pixels_of(c) * c->kernels->tile_columns * (ptrdiff_t)c->element;
    job.column_blocks = fc_ceil_div(strips, fc_max(1, FC_OUTER_BLOCK_BYTES / bytes));
    const ptrdiff_t parts = fc_ceil_div(threads, c->groups * job.column_blocks);
    if (job.gradient)
        job.row_blocks = fc_min(fc_ceil_div(job.rows, c->kernels->tile_rows), parts);
    else
        job.row_blocks = 1, job.column_blocks = fc_min(strips, job.column_blocks * parts);
    return job;
}

double fc_outer_cycles(const fc_correlation *c, fc_operation operation)
{
    const outer_job job = plan(c, operation, 1);
    const double panels = (double)fc_ceil_div(job.rows, c->kernels->tile_rows), rows = (double)job.rows / panels;
    const double strips = (double)fc_ceil_div(c->m, c->kernels->tile_columns);
    const double visits = (double)fc_ceil_div(job.depth, job.steps);
    return (double)c->groups * panels * strips *
           ((double)job.depth * fc_tile_step_cycles(rows) + visits * (40 + 4 * rows));
}

void fc_multiply_outer(const fc_correlation *c, fc_operation operation, int threads, fc_workspace *workspace)
{
    outer_job job = plan(c, operation, threads);
    const ptrdiff_t tasks = c->groups * job.row_blocks * job.column_blocks;
    threads = (int)fc_min(threads, tasks);
    fc_workspace sizes = {0};
    char *end_of_b;
    lay_out(&job, &sizes, &end_of_b);
    job.scratch_bytes = sizes.used;
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (workspace->base)
        fc_parallel_for(threads, tasks, outer_task, &job);
}
