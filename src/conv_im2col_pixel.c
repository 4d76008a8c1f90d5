/* im2col for images of a few output pixels, a fully connected layer in the limit.
 *
 * Each weight is used once a pixel, so packing it would cost as much as the product. The pixels' columns of the im2col
 * matrix are gathered as rows, and inner products with the filters' rows read the weights where they lie.
 */
#include "conv_im2col_pixel.h"

#include "blocking.h"
#include "im2col.h"
#include "pack_weights.h"
#include "parallel.h"

/* Output pixels of an image from which on panels are better; columns a task gathers, some tiles of them; filters. */
enum { MOST_PIXELS = 8, COLUMNS = 24, FILTERS = 64 };

typedef struct {
    const fc_correlation *c;
    int in_place;  /* a row of pixels, whose channels are the columns as they lie */
    ptrdiff_t filter_blocks, column_blocks, columns, column_step;
    size_t scratch_bytes;
    char *scratch;
} pixel_job;

/* Steps channel by channel have nothing else in common with NHWC (correlation.c). */
static int is_row_of_pixels(const fc_correlation *c) { return c->layout == FC_NHWC && c->order == FC_BY_CHANNEL; }

int fc_serves_few_pixels(const fc_correlation *c)
{
    /* With a row of pixels, a panel of weights would serve them all, unless it were mostly empty. */
    const int few_filters = is_row_of_pixels(c) && c->m <= c->kernels->tile_columns;
    return fc_steps_are_contiguous(c) && (few_filters || c->oh * c->ow <= fc_min(MOST_PIXELS, c->kernels->lanes / 2));
}

/* dst[step] of one pixel, in the order of the weights: taps that lie side by side in the image are one run. */
static void gather_column(const fc_correlation *c, const char *x, ptrdiff_t pixel, char *dst)
{
    const ptrdiff_t row = pixel / c->ow * c->stride_h, column = pixel % c->ow * c->stride_w;
    for (ptrdiff_t t = 0, next; t < c->taps; t = next) {
        const ptrdiff_t h = row + c->tap[t].h, w = column + c->tap[t].w;
        const int inside = h >= 0 && h < c->h && w >= 0 && w < c->w;
        next = t + 1;
        while (inside && next < c->taps && c->tap[next].h == c->tap[t].h &&
               c->tap[next].w == c->tap[t].w + (next - t) && w + (next - t) < c->w)
            next++;
        const fc_run run = {0, 0, next - t};
        const char *from = inside ? fc_at(c, x, h * c->x_h + w * c->x_w) : x;
        c->kernels->pack_runs(fc_at(c, dst, t), c->taps, from, c->x_c, c->x_w, c->q, &run, inside, inside ? 0 : 1);
    }
}

static void pixel_task(void *context, ptrdiff_t task, int thread)
{
    const pixel_job *job = context;
    const fc_correlation *c = job->c;
    const fc_kernels *kernels = c->kernels;
    const ptrdiff_t block = task % job->filter_blocks,
                    first = task / job->filter_blocks % job->column_blocks * job->columns;
    const ptrdiff_t group = task / job->filter_blocks / job->column_blocks;
    const ptrdiff_t m0 = fc_part(c->m, job->filter_blocks, block), m1 = fc_part(c->m, job->filter_blocks, block + 1);
    const ptrdiff_t pixels = c->oh * c->ow, columns = fc_min(job->columns, c->n * pixels - first);
    char *gathered = job->scratch + (size_t)thread * job->scratch_bytes;
    const char *x = fc_at(c, c->x, group * c->q * c->x_c), *columns_of_x = job->in_place ? x : gathered;
    ptrdiff_t b_offset[COLUMNS], c_offset[COLUMNS];
    for (ptrdiff_t j = 0; j < columns; j++) {
        const ptrdiff_t n = (first + j) / pixels, p = (first + j) % pixels;
        b_offset[j] = job->in_place ? p * c->x_w : j * job->column_step;
        c_offset[j] = n * c->y_n + p / c->ow * c->y_h + p % c->ow * c->y_w;
        if (!job->in_place)
            gather_column(c, fc_at(c, x, n * c->x_n), p, fc_at(c, gathered, b_offset[j]));
    }
    const ptrdiff_t tiles = fc_ceil_div(columns, kernels->dot_columns);
    const ptrdiff_t depth = fc_depth(c), step = (ptrdiff_t)(FC_PIXEL_DEPTH_BYTES / c->element);
    fc_dot_tile tile = {.lines = 1, .a_row = c->w_m, .c_row = c->y_c};
    for (ptrdiff_t k = 0; k < depth; k += step) {
        const int last = k + step >= depth;
        tile.width = fc_min(step, depth - k);
        tile.b = fc_at(c, columns_of_x, k);
        tile.accumulate = k > 0;
        tile.relu = c->relu && last;
        for (ptrdiff_t m = m0; m < m1; m += kernels->dot_rows) {
            const ptrdiff_t channel = group * c->m + m;
            tile.rows = (int)fc_min(kernels->dot_rows, m1 - m);
            tile.a = fc_at(c, c->weights, group * c->w_group + m * c->w_m + k);
            tile.c = fc_at(c, c->y, channel * c->y_c);
            tile.row_bias = c->bias && last ? fc_at(c, c->bias, channel) : NULL;
            for (ptrdiff_t i = 0; i < tiles; i++) {
                const ptrdiff_t j = fc_part(columns, tiles, i);
                tile.columns = (int)(fc_part(columns, tiles, i + 1) - j);
                tile.b_offset = b_offset + j;
                tile.c_offset = c_offset + j;
                kernels->dot_tile(&tile);
            }
        }
    }
}

static ptrdiff_t column_step(const fc_correlation *c)
{
    const ptrdiff_t line = (ptrdiff_t)(64 / c->element);
    return (fc_ceil_div(fc_depth(c), line) | 1) * line;
}

/* Columns are gathered for each block of filters, and multiplied at the pace of loading the weights. */
double fc_few_pixels_cycles(const fc_correlation *c)
{
    const double columns = (double)(c->n * c->oh * c->ow), depth = (double)fc_depth(c);
    const double blocks = (double)fc_ceil_div(c->m, FILTERS);
    const double vectors = (double)c->m * depth / (double)c->kernels->lanes;
    const double gathered = is_row_of_pixels(c) ? 0 : 0.6 * blocks * columns * depth;
    return (double)c->groups * (gathered + vectors * (0.5 + 0.6 * columns));
}

void fc_correlate_few_pixels(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    pixel_job job = {.c = c, .in_place = is_row_of_pixels(c), .filter_blocks = fc_ceil_div(c->m, FILTERS)};
    job.column_step = job.in_place ? 0 : column_step(c);
    const ptrdiff_t columns = c->n * c->oh * c->ow;
    const ptrdiff_t column_bytes = job.column_step * (ptrdiff_t)c->element;
    const ptrdiff_t fitting = job.in_place ? COLUMNS : FC_PIXEL_COLUMNS_BYTES / column_bytes;
    job.columns = fc_max(1, fc_min(fc_min(columns, COLUMNS), fitting));
    job.column_blocks = fc_ceil_div(columns, job.columns);
    const ptrdiff_t tasks = c->groups * job.filter_blocks * job.column_blocks;
    threads = (int)fc_min(threads, tasks);
    job.scratch_bytes = (size_t)(job.columns * job.column_step) * c->element;
    job.scratch = fc_take(workspace, (size_t)threads * job.scratch_bytes);
    if (workspace->base)
        fc_parallel_for(threads, tasks, pixel_task, &job);
}
