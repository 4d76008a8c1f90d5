/* im2col as inner products, where panels would be mostly empty: images of a few output pixels, a fully connected layer in
 * the limit; and few filters of 1x1 on NHWC, whose pixels are rows of channels.
 *
 * Of few pixels each weight is used once a pixel, so packing it would cost as much as the product. The pixels' columns of
 * the im2col matrix are gathered as rows, and inner products with the filters' rows read the weights where they lie. Of
 * few filters the pixels are read where they lie; the filters are laid in rows if they are not.
 */
#include "conv_im2col_inner.h"

#include <math.h>

#include "blocking.h"
#include "im2col.h"
#include "pack_weights.h"
#include "parallel.h"

/* Output pixels of an image from which on panels are better, unless those of all images are no more than a vector; columns
 * a task gathers, some tiles of them; filters. */
enum { MOST_PIXELS = 8, COLUMNS = 24, FILTERS = 64 };

typedef struct {
    const fc_correlation *c;
    int in_place;      /* a pixel's channels are its column as they lie */
    int clears;        /* columns, before they are gathered: some see the padding */
    int few_filters;   /* a tile of pixels meets all of them before the next, which comes from memory */
    const char *rows;  /* of all filters, each row_step behind the one before */
    ptrdiff_t row_step, group_step;
    ptrdiff_t filter_blocks, column_blocks, columns, column_step;
    size_t scratch_bytes;
    char *scratch;
    ptrdiff_t *kept;   /* the block of columns that a thread's scratch keeps for its next filters, or -1 */
} inner_job;

/* Steps channel by channel have nothing else in common with NHWC (correlation.c). */
static int is_row_of_pixels(const fc_correlation *c) { return c->layout == FC_NHWC && c->order == FC_BY_CHANNEL; }

static int filters_are_rows(const fc_correlation *c)
{
    return fc_steps_are_contiguous(c) || (c->taps == 1 && c->w_q == 1);
}

/* A pixel's column with all filters: its loads, or the products, and the additions of what lanes have summed. */
static double pixel_cycles(const fc_correlation *c)
{
    const double depth = (double)fc_depth(c), filters = (double)c->m;
    const double loads = 0.043 * depth * (double)c->element, products = 0.6 * filters * depth / (double)c->kernels->lanes;
    return 16 + 6 * filters + fmax(loads, products);
}

/* A panel of weights, mostly empty, would take a cycle a channel of a pixel, which it packs. With a row of pixels it would
 * serve them all, unless it were half empty. Filters that are laid in rows first must serve some pixels. */
static int has_few_filters(const fc_correlation *c)
{
    const int are_rows = filters_are_rows(c);
    if (!fc_pixels_are_rows(c) || (!are_rows && c->n * c->oh * c->ow <= FC_OUTER_PIXELS))
        return 0;
    if (is_row_of_pixels(c) && are_rows)
        return c->m <= c->kernels->tile_columns;
    return c->m <= c->kernels->lanes && pixel_cycles(c) < 10 + (double)c->q;
}

int fc_serves_inner(const fc_correlation *c)
{
    const ptrdiff_t pixels = c->oh * c->ow, lanes = c->kernels->lanes;
    const int has_few_pixels = pixels <= fc_min(MOST_PIXELS, lanes / 2) || c->n * pixels <= lanes;
    return has_few_filters(c) || (fc_steps_are_contiguous(c) && has_few_pixels);
}

/* Filters whose channels lie apart, a vector of them side by side. */
static void lay_filters_in_rows(const fc_correlation *c, ptrdiff_t row_step, char *rows)
{
    const void *channel[64];
    for (ptrdiff_t group = 0; group < c->groups; group++)
        for (ptrdiff_t q = 0; q < c->q; q += 64) {
            const ptrdiff_t channels = fc_min(64, c->q - q);
            for (ptrdiff_t j = 0; j < channels; j++)
                channel[j] = fc_at(c, c->weights, group * c->w_group + c->tap[0].weight + (q + j) * c->w_q);
            c->kernels->pack_columns(fc_at(c, rows, group * c->m * row_step + q), row_step, channel, (int)channels, c->w_m,
                                     c->m);
        }
}

/* dst[step] of one pixel, in the order of the weights: channels of one tap, or taps that lie side by side in the image, are a
 * run. What lies beyond the image stays zero. */
static void gather_column(const fc_correlation *c, const char *x, ptrdiff_t pixel, int clears, char *dst)
{
    const ptrdiff_t row = pixel / c->ow * c->stride_h, column = pixel % c->ow * c->stride_w;
    if (clears)
        c->kernels->pack_runs(dst, 0, x, 0, 1, 1, NULL, 0, fc_depth(c));
    for (ptrdiff_t t = 0, next; t < c->taps; t = next) {
        const ptrdiff_t h = row + c->tap[t].h, w = column + c->tap[t].w;
        next = t + 1;
        if (h < 0 || h >= c->h || w < 0 || w >= c->w)
            continue;
        const char *from = fc_at(c, x, h * c->x_h + w * c->x_w);
        while (next < c->taps && c->tap[next].h == c->tap[t].h && c->tap[next].w == c->tap[t].w + (next - t) &&
               w + (next - t) < c->w)
            next++;
        const fc_run taps = {0, 0, next - t}, channels = {0, 0, c->q};
        if (c->taps == 1)
            c->kernels->pack_runs(dst, 0, from, 0, c->x_c, 1, &channels, 1, 0);
        else
            c->kernels->pack_runs(fc_at(c, dst, t), c->taps, from, c->x_c, c->x_w, c->q, &taps, 1, 0);
    }
}

static void inner_task(void *context, ptrdiff_t task, int thread)
{
    const inner_job *job = context;
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
    ptrdiff_t *kept = &job->kept[thread * FC_THREAD_NUMBERS];
    const int gathers = !job->in_place && *kept != task / job->filter_blocks;
    *kept = task / job->filter_blocks;
    for (ptrdiff_t j = 0; j < columns; j++) {
        const ptrdiff_t n = (first + j) / pixels, p = (first + j) % pixels, h = p / c->ow, w = p % c->ow;
        b_offset[j] = job->in_place ? n * c->x_n + (h * c->stride_h + c->tap[0].h) * c->x_h +
                                          (w * c->stride_w + c->tap[0].w) * c->x_w
                                    : j * job->column_step;
        c_offset[j] = n * c->y_n + h * c->y_h + w * c->y_w;
        if (gathers)
            gather_column(c, fc_at(c, x, n * c->x_n), p, job->clears, fc_at(c, gathered, b_offset[j]));
    }
    const ptrdiff_t tiles = fc_ceil_div(columns, kernels->dot_columns);
    const ptrdiff_t depth = fc_depth(c), step = (ptrdiff_t)(FC_PIXEL_DEPTH_BYTES / c->element);
    const ptrdiff_t tile_step = job->few_filters ? 1 : tiles;
    fc_dot_tile tile = {.lines = 1, .a_row = job->row_step, .c_row = c->y_c};
    for (ptrdiff_t k = 0; k < depth; k += step) {
        const int last = k + step >= depth;
        tile.width = fc_min(step, depth - k);
        tile.b = fc_at(c, columns_of_x, k);
        tile.accumulate = k > 0;
        tile.relu = c->relu && last;
        for (ptrdiff_t i0 = 0; i0 < tiles; i0 += tile_step)
            for (ptrdiff_t m = m0; m < m1; m += kernels->dot_rows) {
                const ptrdiff_t channel = group * c->m + m;
                tile.rows = (int)fc_min(kernels->dot_rows, m1 - m);
                tile.a = fc_at(c, job->rows, group * job->group_step + m * job->row_step + k);
                tile.c = fc_at(c, c->y, channel * c->y_c);
                tile.row_bias = c->bias && last ? fc_at(c, c->bias, channel) : NULL;
                for (ptrdiff_t i = i0; i < i0 + tile_step; i++) {
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

/* One pixel's column: its elements, and the runs of several taps in each channel. */
static double gather_cycles(const fc_correlation *c)
{
    ptrdiff_t runs = 0;
    for (ptrdiff_t t = 1; t < c->taps; t++)
        runs += c->tap[t].h != c->tap[t - 1].h || c->tap[t].w != c->tap[t - 1].w + 1;
    return 0.6 * (double)fc_depth(c) + (c->taps > 1 ? 15 * (double)((runs + 1) * c->q) : 0);
}

/* Columns are gathered once, and multiplied at the pace of loading the weights. */
double fc_inner_cycles(const fc_correlation *c)
{
    const double columns = (double)(c->n * c->oh * c->ow), depth = (double)fc_depth(c);
    const double vectors = (double)c->m * depth / (double)c->kernels->lanes;
    const double gathered = fc_pixels_are_rows(c) ? 0 : columns * gather_cycles(c);
    const double laid = filters_are_rows(c) ? 0 : (double)c->m * depth;
    /* Images from memory come more slowly than to the other ways, which read a channel at a time or copy; groups' parts of
     * pixels more slowly still. */
    const double bytes = columns * (double)(c->groups * c->q) * (double)c->element;
    const double far = fc_pixels_are_rows(c) && bytes > FC_FAR_BYTES ? (c->groups > 1 ? 0.2 : 0.05) * bytes : 0;
    return far + (double)c->groups * (gathered + laid + 0.5 * vectors + columns * pixel_cycles(c));
}

void fc_multiply_inner(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    inner_job job = {
        .c = c,
        .in_place = fc_pixels_are_rows(c),
        .clears = !fc_taps_stay_inside(c),
        .few_filters = has_few_filters(c),
        .rows = fc_at(c, c->weights, c->tap[0].weight),
        .row_step = c->w_m,
        .group_step = c->w_group,
        .filter_blocks = fc_ceil_div(c->m, FILTERS),
    };
    char *fresh = NULL;
    if (!filters_are_rows(c)) {
        job.row_step = column_step(c);
        job.group_step = c->m * job.row_step;
        job.rows = fresh = fc_take(workspace, (size_t)(c->groups * job.group_step) * c->element);
    }
    job.column_step = job.in_place ? 0 : column_step(c);
    const ptrdiff_t columns = c->n * c->oh * c->ow;
    const ptrdiff_t column_bytes = job.column_step * (ptrdiff_t)c->element;
    const ptrdiff_t fitting = job.in_place ? COLUMNS : FC_PIXEL_COLUMNS_BYTES / column_bytes;
    job.columns = fc_max(1, fc_min(fc_min(columns, COLUMNS), fitting));
    job.column_blocks = fc_ceil_div(columns, job.columns);
    const ptrdiff_t tasks = c->groups * job.filter_blocks * job.column_blocks;
    threads = (int)fc_min(threads, tasks);
    job.scratch_bytes = (size_t)(job.columns * job.column_step) * c->element;
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    job.kept = fc_take(workspace, (size_t)(threads * FC_THREAD_NUMBERS) * sizeof *job.kept);
    if (!workspace->base)
        return;
    for (int i = 0; i < threads; i++)
        job.kept[i * FC_THREAD_NUMBERS] = -1;
    if (fresh)
        lay_filters_in_rows(c, job.row_step, fresh);
    fc_parallel_for(threads, tasks, inner_task, &job);
}
