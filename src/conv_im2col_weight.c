/* The weight gradient as a product over pixels: dw = dy · im2col(x)^T.
 *
 * NCHW: rows are dy's channels, columns are (channel, tap) pairs, and C is dw as OIHW has it. NHWC: rows are
 * (tap, channel) pairs, columns dy's channels, and C is dw as HWIO has it; but of a 1x1 kernel's few filters the other
 * way round, and of a 1x1 kernel nothing is packed (conv_im2col_rows.c). The sum runs over images and blocks of pixels in their order, whatever thread takes which block of dw.
 */
#include "blocking.h"
#include "conv_im2col_outer.h"
#include "conv_im2col_rows.h"
#include "im2col.h"
#include "pack_weights.h"
#include "parallel.h"
#include "weight_partials.h"

typedef struct {
    const fc_correlation *c;
    int in_place;                  /* x and dy are panels as they lie */
    fc_gemm_grid grid;
    fc_weight_partials partials;
    size_t scratch_bytes, rows_bytes;
    char *scratch;
} weight_job;

/* One block of pixels of one image and group, for the call-backs. */
typedef struct {
    const fc_correlation *c;
    const char *x, *dy;
    ptrdiff_t first_pixel;
    char *rows;  /* one panel's rows of the im2col matrix before they are turned */
} weight_pixels;

/* The product over `pixels` of one image. */
static fc_gemm weight_gemm(const fc_correlation *c, ptrdiff_t pixels)
{
    const int pixel_lanes = c->layout == FC_NCHW;
    return (fc_gemm){
        .kernels = c->kernels,
        .element = c->element,
        .m = pixel_lanes ? c->m : fc_depth(c),
        .n = pixel_lanes ? fc_depth(c) : c->m,
        .k = pixels,
        .c = c->weights,
        .ldc = pixel_lanes ? c->w_m : c->w_q,
    };
}

/* NCHW: rows of dy, turned to one step a pixel. */
static void pack_dy_rows(const void *context, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t depth, char *panel)
{
    const weight_pixels *pixels = context;
    const fc_correlation *c = pixels->c;
    const void *channel[64];
    const int dense = c->y_h == c->ow * c->y_w;
    for (ptrdiff_t p = 0; p < depth;) {
        const ptrdiff_t at = pixels->first_pixel + k + p, h = at / c->ow, w = at % c->ow;
        const ptrdiff_t count = dense ? depth : fc_min(depth - p, c->ow - w);
        for (ptrdiff_t i = 0; i < rows; i++)
            channel[i] = fc_at(c, pixels->dy, (row + i) * c->y_c + h * c->y_h + w * c->y_w);
        c->kernels->pack_columns(fc_at(c, panel, p * rows), rows, channel, (int)rows, c->y_w, count);
        p += count;
    }
}

/* NCHW: rows of the im2col matrix, turned to one step a pixel. */
static void pack_image_columns(const void *context, ptrdiff_t column, ptrdiff_t columns, ptrdiff_t k, ptrdiff_t depth,
                               char *panel)
{
    const weight_pixels *pixels = context;
    const fc_correlation *c = pixels->c;
    const void *row[64] = {NULL};
    const int in_place = fc_sees_image_itself(c);
    for (ptrdiff_t j = 0; j < columns; j++) {
        if (in_place) {
            row[j] = fc_at(c, pixels->x, (column + j) * c->x_c + pixels->first_pixel + k);
            continue;
        }
        const ptrdiff_t q = (column + j) / c->taps, t = (column + j) % c->taps;
        char *to = fc_at(c, pixels->rows, j * FC_DEPTH_BLOCK);
        fc_gather_pixels(c, fc_at(c, pixels->x, q * c->x_c), t, pixels->first_pixel + k, depth, to, 0, 1, 0);
        row[j] = to;
    }
    c->kernels->pack_columns(panel, c->kernels->tile_columns, row, (int)fc_whole_vectors(c->kernels, columns), 1,
                             depth);
}

/* NHWC: (tap, channel) pairs of the pixels; a panel may begin in one tap and end in another. */
static void pack_image_rows(const void *context, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t depth,
                            char *panel)
{
    const weight_pixels *pixels = context;
    const fc_correlation *c = pixels->c;
    for (ptrdiff_t i = 0; i < rows;) {
        const ptrdiff_t t = (row + i) / c->q, q = (row + i) % c->q, channels = fc_min(rows - i, c->q - q);
        const fc_run run = {0, 0, channels};
        ptrdiff_t begin, end;
        fc_valid_outputs(c->ow, c->stride_w, c->tap[t].w, c->w, &begin, &end);
        for (ptrdiff_t p = 0; p < depth;) {
            const ptrdiff_t at = pixels->first_pixel + k + p, first = at % c->ow;
            const ptrdiff_t count = fc_min(depth - p, c->ow - first);
            const ptrdiff_t h = at / c->ow * c->stride_h + c->tap[t].h;
            const int inside = h >= 0 && h < c->h;
            const ptrdiff_t from = inside ? fc_max(first, fc_min(begin, first + count)) : first + count;
            const ptrdiff_t to = inside ? fc_max(from, fc_min(end, first + count)) : first + count;
            char *dst = fc_at(c, panel, p * rows + i);
            c->kernels->pack_runs(dst, rows, c->x, 0, 1, from - first, NULL, 0, channels);
            const char *src =
                fc_at(c, pixels->x, h * c->x_h + (from * c->stride_w + c->tap[t].w) * c->x_w + q * c->x_c);
            if (from < to)
                c->kernels->pack_runs(fc_at(c, dst, (from - first) * rows), rows, src, c->stride_w * c->x_w, c->x_c,
                                      to - from, &run, 1, 0);
            c->kernels->pack_runs(fc_at(c, dst, (to - first) * rows), rows, c->x, 0, 1, first + count - to, NULL, 0,
                                  channels);
            p += count;
        }
        i += channels;
    }
}

/* NHWC: dy as it lies. */
static void pack_dy_columns(const void *context, ptrdiff_t column, ptrdiff_t columns, ptrdiff_t k, ptrdiff_t depth,
                            char *panel)
{
    const weight_pixels *pixels = context;
    const fc_correlation *c = pixels->c;
    const ptrdiff_t width = c->kernels->tile_columns;
    const fc_run run = {0, 0, columns};
    for (ptrdiff_t p = 0; p < depth;) {
        const ptrdiff_t at = pixels->first_pixel + k + p, w = at % c->ow, count = fc_min(depth - p, c->ow - w);
        const char *from = fc_at(c, pixels->dy, at / c->ow * c->y_h + w * c->y_w + column * c->y_c);
        c->kernels->pack_runs(fc_at(c, panel, p * width), width, from, c->y_w, c->y_c, count, &run, 1,
                              columns < width ? width : 0);
        p += count;
    }
}

static void weight_task(void *context, ptrdiff_t task, int thread)
{
    const weight_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t b = task % job->grid.b, a = task / job->grid.b % job->grid.a;
    const ptrdiff_t rest = task / job->grid.b / job->grid.a, group = rest % c->groups, chunk = rest / c->groups;
    const int pixel_lanes = c->layout == FC_NCHW;
    char *scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    weight_pixels pixels = {.c = c, .rows = scratch};
    fc_weight_unit unit;
    const ptrdiff_t first = fc_partials_first(&job->partials, chunk), end = fc_partials_first(&job->partials, chunk + 1);
    for (ptrdiff_t i = first; i < end; i++) {
        unit = fc_partials_unit(&job->partials, c, i);
        pixels.x = fc_at(c, c->x, unit.n * c->x_n + group * c->q * c->x_c);
        pixels.dy = fc_at(c, c->y, unit.n * c->y_n + group * c->m * c->y_c);
        pixels.first_pixel = unit.row * c->ow;
        fc_gemm gemm = weight_gemm(c, unit.rows * c->ow);
        gemm.accumulate = i > first;
        gemm.pack_a = pixel_lanes ? pack_dy_rows : pack_image_rows;
        gemm.pack_b = pixel_lanes ? pack_image_columns : pack_dy_columns;
        gemm.context = &pixels;
        gemm.c = fc_at(c, fc_partial(&job->partials, chunk), group * c->w_group);
        const ptrdiff_t a_panels = fc_a_panels(&gemm), b_panels = fc_b_panels(&gemm);
        const fc_panel_ranges of = {
            .a0 = fc_part(a_panels, job->grid.a, a),
            .a1 = fc_part(a_panels, job->grid.a, a + 1),
            .b0 = fc_part(b_panels, job->grid.b, b),
            .b1 = fc_part(b_panels, job->grid.b, b + 1),
        };
        if (job->in_place)
            fc_multiply_rows(c, &gemm, fc_at(c, pixels.x, unit.row * c->stride_h * c->x_h),
                             fc_at(c, pixels.dy, unit.row * c->y_h), unit.rows, &of, scratch);
        else
            fc_gemm_block(&gemm, of.a0, of.a1, of.b0, of.b1, scratch + job->rows_bytes);
    }
}

/* Rows of the im2col matrix are gathered one by one and turned, or with NHWC copied, a panel of each row of pixels; C is
 * read and written once a depth block; and some cycles for each product. */
static double panel_cycles(const fc_correlation *c)
{
    const fc_gemm gemm = weight_gemm(c, c->oh * c->ow);
    if (fc_serves_rows(c))
        return fc_rows_cycles(c, &gemm);
    const double depth = (double)fc_depth(c), pixels = (double)(c->oh * c->ow);
    const ptrdiff_t lanes = c->kernels->lanes;
    const double calls = 96 * (double)(fc_a_panels(&gemm) * fc_b_panels(&gemm) * fc_depth_blocks(gemm.k));
    /* Panels pass through L2, for which slower multiply-adds leave more time. */
    const double products = (1 + 0.12 / fc_vector_passes()) * fc_gemm_cycles(&gemm) + calls;
    if (c->layout == FC_NHWC) {
        const double copied = 0.9 * pixels * depth + 50 * (double)(fc_a_panels(&gemm) * c->oh);
        const double of_dy = 10 * pixels * (double)fc_ceil_div(c->m, lanes);
        return (double)(c->n * c->groups) * (products + fc_copy_passes() * copied + of_dy + 5000);
    }
    /* By whole vectors of columns and rows. */
    const double turned = pixels * (double)(7 * fc_ceil_div(fc_depth(c), lanes) + 7 * fc_ceil_div(c->m, lanes));
    double gathered = 0;
    if (!fc_sees_image_itself(c))
        gathered = depth * (pixels * (fc_gathers_vectors(c) ? 1.5 / (double)lanes : 0.6) +
                            (double)fc_depth_blocks(c->oh * c->ow) * 150);
    return (double)(c->n * c->groups) * (products + fc_copy_passes() * (turned + gathered) + 2000);
}

/* x and dy in each other's place, so that lanes run along the channels of x; dw is transposed then, and dense. */
static fc_correlation exchange(const fc_correlation *c, fc_tap *tap)
{
    fc_correlation e = *c;
    *tap = (fc_tap){0, 0, 0};
    e.tap = tap;
    e.x = c->y, e.x_n = c->y_n, e.x_c = c->y_c, e.x_h = c->y_h, e.x_w = c->y_w;
    e.y = fc_at(c, c->x, c->tap[0].h * c->x_h + c->tap[0].w * c->x_w);
    e.y_n = c->x_n, e.y_c = c->x_c, e.y_h = c->stride_h * c->x_h, e.y_w = c->stride_w * c->x_w;
    e.h = c->oh, e.w = c->ow;
    e.stride_h = e.stride_w = 1;
    e.m = c->q, e.q = c->m;
    e.w_m = 1, e.w_q = e.m, e.w_group = e.m * e.q;
    return e;
}

/* Where columns of dy's channels would leave more lanes empty. */
static int exchanges(const fc_correlation *c)
{
    if (!fc_pixels_are_rows(c) || c->m >= c->kernels->tile_columns || c->q <= c->m)
        return 0;
    fc_tap tap;
    const fc_correlation e = exchange(c, &tap);
    return panel_cycles(&e) < panel_cycles(c);
}

double fc_im2col_weight_cycles(const fc_correlation *c)
{
    if (fc_serves_outer(c))
        return fc_outer_cycles(c, FC_BACKWARD_WEIGHT);
    if (!exchanges(c))
        return panel_cycles(c);
    fc_tap tap;
    const fc_correlation e = exchange(c, &tap);
    return panel_cycles(&e);
}

static void correlate_panels(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    weight_job job = {.c = c, .in_place = fc_serves_rows(c)};
    /* Blocks of some depth blocks: C is visited once a depth block, so larger ones gain nothing. Rows that are read in place
     * come faster as a whole: threads share the pixels, not the channels. */
    const ptrdiff_t rows = fc_max(1, fc_min(c->oh, (job.in_place ? 2 : 8) * FC_DEPTH_BLOCK / c->ow));
    const fc_gemm gemm = weight_gemm(c, rows * c->ow);
    const ptrdiff_t tiles = c->groups * fc_a_panels(&gemm) * fc_b_panels(&gemm);
    job.partials = fc_plan_partials(c, rows, 1, job.in_place ? FC_ROW_CHUNKS : fc_chunks_beside(tiles), workspace);
    job.grid = fc_gemm_split(&gemm, c->groups * job.partials.chunks, threads);
    const ptrdiff_t tasks = job.partials.chunks * c->groups * job.grid.a * job.grid.b;
    threads = (int)fc_min(threads, tasks);
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(c->kernels->tile_columns * FC_DEPTH_BLOCK) * c->element);
    job.rows_bytes = sizes.used;
    /* An image's last block is shorter, and its depth blocks may come out deeper. */
    const ptrdiff_t last_rows = c->oh - (job.partials.units_in_image - 1) * rows;
    const ptrdiff_t unit_rows[] = {rows, last_rows};
    job.scratch_bytes = job.rows_bytes;
    for (int i = 0; i < 2 && !job.in_place; i++) {
        const fc_gemm unit = weight_gemm(c, unit_rows[i] * c->ow);
        const size_t bytes = job.rows_bytes + fc_gemm_scratch(&unit, fc_ceil_div(fc_a_panels(&unit), job.grid.a),
                                                              fc_ceil_div(fc_b_panels(&unit), job.grid.b));
        job.scratch_bytes = bytes > job.scratch_bytes ? bytes : job.scratch_bytes;
    }
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    fc_parallel_for(threads, tasks, weight_task, &job);
    fc_sum_partials(&job.partials, c, threads);
}

static void correlate_exchanged(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    fc_tap tap;
    fc_correlation e = exchange(c, &tap);
    const char *transposed = e.weights = fc_take(workspace, (size_t)(c->groups * e.w_group) * c->element);
    correlate_panels(&e, threads, workspace);
    for (ptrdiff_t group = 0; group < c->groups && workspace->base; group++)
        c->kernels->store_strided(fc_at(c, c->weights, group * c->w_group + c->tap[0].weight), c->w_m, c->w_q,
                                  fc_at(c, transposed, group * e.w_group), e.w_q, c->m, c->q);
}

void fc_im2col_correlate_weights(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    if (fc_serves_outer(c))
        fc_multiply_outer(c, FC_BACKWARD_WEIGHT, threads, workspace);
    else if (exchanges(c))
        correlate_exchanged(c, threads, workspace);
    else
        correlate_panels(c, threads, workspace);
}
