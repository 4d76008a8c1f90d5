/* im2col for images of a few output pixels, a fully connected layer in the limit.
 *
 * Each weight is used once a pixel, so packing it would cost as much as the product. The pixels' columns of the im2col
 * matrix are gathered as rows, and inner products with the filters' rows read the weights where they lie.
 */
#include "conv_im2col_pixel.h"

#include "im2col.h"
#include "pack_weights.h"
#include "parallel.h"

/* Filters a task takes: some tiles, so that the columns gathered for it are used more than once. */
enum { FILTERS = 64, MOST_PIXELS = 8 };

typedef struct {
    const fc_correlation *c;
    ptrdiff_t filter_blocks, column_step;
    size_t scratch_bytes;
    char *scratch;
} pixel_job;

int fc_serves_few_pixels(const fc_correlation *c)
{
    return c->oh * c->ow <= fc_min(MOST_PIXELS, c->kernels->lanes / 2) && fc_steps_are_contiguous(c);
}

/* dst[step] of one pixel, in the order of the weights. */
static void gather_column(const fc_correlation *c, const char *x, ptrdiff_t pixel, char *dst)
{
    const fc_run run = {0, 0, 1};
    for (ptrdiff_t t = 0; t < c->taps; t++) {
        const ptrdiff_t h = pixel / c->ow * c->stride_h + c->tap[t].h, w = pixel % c->ow * c->stride_w + c->tap[t].w;
        const int inside = h >= 0 && h < c->h && w >= 0 && w < c->w;
        const char *from = inside ? fc_at(c, x, h * c->x_h + w * c->x_w) : x;
        c->kernels->pack_runs(fc_at(c, dst, t), c->taps, from, c->x_c, 1, c->q, &run, inside, inside ? 0 : 1);
    }
}

static void pixel_task(void *context, ptrdiff_t task, int thread)
{
    const pixel_job *job = context;
    const fc_correlation *c = job->c;
    const fc_kernels *kernels = c->kernels;
    const ptrdiff_t block = task % job->filter_blocks, image = task / job->filter_blocks;
    const ptrdiff_t group = image % c->groups, n = image / c->groups;
    const ptrdiff_t m0 = fc_part(c->m, job->filter_blocks, block), m1 = fc_part(c->m, job->filter_blocks, block + 1);
    const ptrdiff_t pixels = c->oh * c->ow, depth = fc_depth(c);
    char *columns = job->scratch + (size_t)thread * job->scratch_bytes;
    ptrdiff_t b_offset[MOST_PIXELS], c_offset[MOST_PIXELS];
    for (ptrdiff_t p = 0; p < pixels; p++) {
        b_offset[p] = p * job->column_step;
        c_offset[p] = p / c->ow * c->y_h + p % c->ow * c->y_w;
        gather_column(c, fc_at(c, c->x, n * c->x_n + group * c->q * c->x_c), p, fc_at(c, columns, b_offset[p]));
    }
    fc_dot_tile tile = {
        .lines = 1,
        .width = depth,
        .a_row = c->w_m,
        .b = columns,
        .c_row = c->y_c,
        .relu = c->relu,
    };
    for (ptrdiff_t m = m0; m < m1; m += kernels->dot_rows) {
        tile.rows = (int)fc_min(kernels->dot_rows, m1 - m);
        tile.a = fc_at(c, c->weights, group * c->w_group + m * c->w_m);
        tile.c = fc_at(c, c->y, n * c->y_n + (group * c->m + m) * c->y_c);
        tile.row_bias = c->bias ? fc_at(c, c->bias, group * c->m + m) : NULL;
        for (ptrdiff_t p = 0; p < pixels; p += kernels->dot_columns) {
            tile.columns = (int)fc_min(kernels->dot_columns, pixels - p);
            tile.b_offset = b_offset + p;
            tile.c_offset = c_offset + p;
            kernels->dot_tile(&tile);
        }
    }
}

/* Gathered element by element for each block of filters, multiplied at the pace of loading the weights. */
double fc_few_pixels_cycles(const fc_correlation *c)
{
    const double pixels = (double)(c->oh * c->ow), depth = (double)fc_depth(c);
    const double blocks = (double)fc_ceil_div(c->m, FILTERS);
    const double vectors = (double)c->m * depth / (double)c->kernels->lanes;
    return (double)(c->n * c->groups) * (1.5 * blocks * pixels * depth + vectors * (0.5 + 0.6 * pixels));
}

void fc_correlate_few_pixels(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    pixel_job job = {.c = c, .filter_blocks = fc_ceil_div(c->m, FILTERS)};
    const ptrdiff_t line = (ptrdiff_t)(64 / c->element), tasks = c->n * c->groups * job.filter_blocks;
    threads = (int)fc_min(threads, tasks);
    job.column_step = (fc_ceil_div(fc_depth(c), line) | 1) * line;
    job.scratch_bytes = (size_t)(c->oh * c->ow * job.column_step) * c->element;
    job.scratch = fc_take(workspace, (size_t)threads * job.scratch_bytes);
    if (workspace->base)
        fc_parallel_for(threads, tasks, pixel_task, &job);
}
