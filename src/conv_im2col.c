/* Implicit im2col + GEMM: panels of the im2col matrix are gathered straight from the image; the matrix never exists.
 *
 * With lanes along pixels (NCHW), A is the weights and B the image; along channels (NHWC) the other way round.
 * (Chellapilla et al., "High Performance Convolutional Neural Networks for Document Processing", 2006, for im2col;
 * Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014, for gathering it tile by tile.)
 */
#include <math.h>

#include "blocking.h"
#include "conv_im2col_outer.h"
#include "conv_im2col_inner.h"
#include "conv_im2col_transposed.h"
#include "im2col.h"
#include "pack_weights.h"
#include "parallel.h"

typedef struct {
    const fc_correlation *c;
    fc_lanes lanes;
    fc_gemm gemm;
    fc_gemm_grid grid;
    int has_weights;     /* all of them; else each task packs the blocks it comes to */
    fc_weights weights;
    int packs_apart;     /* a task packs what it uses, for all images */
    size_t scratch_bytes;
    char *scratch;
} im2col_job;

/* The image and group of one task, for the call-backs. */
typedef struct {
    const fc_correlation *c;
    fc_lanes lanes;
    ptrdiff_t group;
    const char *x;
    char *y;
} im2col_image;

/* Weights, either operand. */
static void pack_weights(const void *context, ptrdiff_t first, ptrdiff_t count, ptrdiff_t k, ptrdiff_t depth,
                         char *panel)
{
    const im2col_image *image = context;
    fc_pack_weight_panel(image->c, image->lanes, image->group, first, count, k, depth, panel);
}

/* Pixels as B, lanes along them; as A in a layout where they lie side by side. */
static void gather(const im2col_image *image, ptrdiff_t first, ptrdiff_t pixels, ptrdiff_t k, ptrdiff_t depth,
                   char *panel, ptrdiff_t width, int exact)
{
    const fc_correlation *c = image->c;
    for (ptrdiff_t t = 0; t < c->taps; t++) {
        const fc_tap_range range = fc_steps_of_tap(c, t, k, depth);
        if (range.count)
            fc_gather_pixels(c, fc_at(c, image->x, range.q * c->x_c), t, first, pixels,
                             fc_at(c, panel, range.first * width), range.step * width, range.count, exact);
    }
}

static void pack_pixels_b(const void *context, ptrdiff_t column, ptrdiff_t columns, ptrdiff_t k, ptrdiff_t depth,
                          char *panel)
{
    const im2col_image *image = context;
    gather(image, column, columns, k, depth, panel, image->c->kernels->tile_columns, 0);
}

static void pack_pixels_a(const void *context, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t depth, char *panel)
{
    const im2col_image *image = context;
    const fc_correlation *c = image->c;
    if (c->layout == FC_NCHW) {
        gather(image, row, rows, k, depth, panel, rows, 1);
        return;
    }
    ptrdiff_t row_h[64], row_w[64];
    for (ptrdiff_t i = 0, h = row / c->ow, w = row % c->ow; i < rows; i++) {
        row_h[i] = h * c->stride_h;
        row_w[i] = w * c->stride_w;
        if (++w == c->ow)
            w = 0, h++;
    }
    for (ptrdiff_t t = 0; t < c->taps; t++) {
        const fc_tap_range range = fc_steps_of_tap(c, t, k, depth);
        if (range.count == 0)
            continue;
        const void *pixel[64];
        for (ptrdiff_t i = 0; i < rows; i++) {
            const ptrdiff_t h = row_h[i] + c->tap[t].h, w = row_w[i] + c->tap[t].w;
            const int inside = h >= 0 && h < c->h && w >= 0 && w < c->w;
            pixel[i] = inside ? fc_at(c, image->x, h * c->x_h + w * c->x_w + range.q * c->x_c) : NULL;
        }
        c->kernels->pack_columns(fc_at(c, panel, range.first * rows), range.step * rows, pixel, (int)rows, c->x_c,
                                 range.count);
    }
}

/* A finished block of C to where y has it: row by row of the lattice. */
static void store_block(const void *context, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t columns,
                        const char *block, ptrdiff_t ld)
{
    const im2col_image *image = context;
    const fc_correlation *c = image->c;
    if (image->lanes == FC_LANES_CHANNELS) {
        fc_store_pixels(c, fc_at(c, image->y, column * c->y_c), row, rows, block, ld, columns);
        return;
    }
    for (ptrdiff_t p = column, count; p < column + columns; p += count) {
        const ptrdiff_t h = p / c->ow, w = p % c->ow;
        count = fc_min(c->ow - w, column + columns - p);
        c->kernels->store_strided(fc_at(c, image->y, row * c->y_c + h * c->y_h + w * c->y_w), c->y_c, c->y_w,
                                  fc_at(c, block, p - column), ld, rows, count);
    }
}

static int stores_in_place(const fc_correlation *c, fc_lanes lanes)
{
    if (lanes == FC_LANES_PIXELS)
        return c->y_w == 1 && c->y_h == c->ow;
    return c->y_c == 1 && c->y_h == c->ow * c->y_w;
}

/* Block (a, b) of the product of an image's group. */
static void multiply_block(const im2col_job *job, ptrdiff_t n, ptrdiff_t group, ptrdiff_t a, ptrdiff_t b, int thread)
{
    const fc_correlation *c = job->c;
    const im2col_image image = {
        .c = c,
        .lanes = job->lanes,
        .group = group,
        .x = fc_at(c, c->x, n * c->x_n + group * c->q * c->x_c),
        .y = fc_at(c, c->y, n * c->y_n + group * c->m * c->y_c),
    };
    const char *packed = job->has_weights ? fc_weights_of_group(&job->weights, group, thread) : NULL;
    const char *bias = c->bias ? fc_at(c, c->bias, group * c->m) : NULL;
    fc_gemm gemm = job->gemm;
    gemm.context = &image;
    if (gemm.c)
        gemm.c = image.y;
    if (job->lanes == FC_LANES_PIXELS)
        gemm.packed_a = packed, gemm.row_bias = bias;
    else
        gemm.packed_b = packed, gemm.column_bias = bias;
    const ptrdiff_t a_panels = fc_a_panels(&gemm), b_panels = fc_b_panels(&gemm);
    fc_gemm_block(&gemm, fc_part(a_panels, job->grid.a, a), fc_part(a_panels, job->grid.a, a + 1),
                  fc_part(b_panels, job->grid.b, b), fc_part(b_panels, job->grid.b, b + 1),
                  job->scratch + (size_t)thread * job->scratch_bytes);
}

static void run_block(void *context, ptrdiff_t task, int thread)
{
    const im2col_job *job = context;
    const ptrdiff_t blocks = job->grid.a * job->grid.b, product = task / blocks, block = task % blocks;
    multiply_block(job, product / job->c->groups, product % job->c->groups, block / job->grid.b, block % job->grid.b, thread);
}

/* Some panels of weights for all images: what one thread packs, no other reads. */
static void run_panels(void *context, ptrdiff_t task, int thread)
{
    const im2col_job *job = context;
    const int is_a = job->lanes == FC_LANES_PIXELS;
    const ptrdiff_t blocks = is_a ? job->grid.a : job->grid.b, others = is_a ? job->grid.b : job->grid.a;
    const ptrdiff_t panels = fc_weight_panels(job->c, job->lanes);
    const ptrdiff_t group = task / blocks, block = task % blocks;
    fc_pack_panels(job->c, job->lanes, group, fc_part(panels, blocks, block), fc_part(panels, blocks, block + 1),
                   job->weights.fresh);
    for (ptrdiff_t n = 0; n < job->c->n; n++)
        for (ptrdiff_t i = 0; i < others; i++)
            multiply_block(job, n, group, is_a ? block : i, is_a ? i : block, thread);
}

/* Lanes run along the axis with unit stride, except over small planes whose pixels fill them badly. */
static fc_lanes choose_lanes(const fc_correlation *c)
{
    if (c->layout == FC_NHWC)
        return FC_LANES_CHANNELS;
    const fc_gemm pixels = fc_correlation_gemm(c, FC_LANES_PIXELS),
                  channels = fc_correlation_gemm(c, FC_LANES_CHANNELS);
    return fc_gemm_cycles(&channels) < 0.9 * fc_gemm_cycles(&pixels) ? FC_LANES_CHANNELS : FC_LANES_PIXELS;
}

/* How often a task grid would pack each panel of weights if the tasks packed what they come to. */
static ptrdiff_t uses_of_weights(const im2col_job *job)
{
    if (job->lanes == FC_LANES_CHANNELS)
        return job->c->n * job->grid.a;
    return job->c->n * fc_max(job->grid.b, fc_ceil_div(fc_b_panels(&job->gemm), fc_block_b_panels(&job->gemm)));
}

/* Weights that are many times what is gathered of all images, by each task again. */
static void pack_apart(im2col_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t blocks = fc_blocks_apart(c->groups, fc_weight_panels(c, job->lanes), threads);
    ptrdiff_t *grid = job->lanes == FC_LANES_PIXELS ? &job->grid.a : &job->grid.b;
    if (blocks == 0 || *grid > blocks || FC_APART_FILTERS * c->n * c->oh * c->ow > c->m)
        return;
    job->packs_apart = 1;
    *grid = blocks;
}

/* `in_task`: on the calling thread, in one block and packing nothing beforehand, so that its scratch grows with the
 * plane.
 */
static void multiply(const fc_correlation *c, fc_lanes lanes, int threads, int in_task, fc_workspace *workspace)
{
    im2col_job job = {.c = c, .lanes = lanes};
    const int pixel_lanes = job.lanes == FC_LANES_PIXELS;
    job.gemm = fc_correlation_gemm(c, job.lanes);
    job.gemm.pack_a = pixel_lanes ? pack_weights : pack_pixels_a;
    job.gemm.pack_b = pixel_lanes ? pack_pixels_b : pack_weights;
    job.gemm.store = store_block;
    job.gemm.c = stores_in_place(c, job.lanes) ? c->y : NULL;
    job.gemm.ldc = pixel_lanes ? c->y_c : c->y_w;
    job.grid = in_task ? (fc_gemm_grid){1, 1} : fc_gemm_split(&job.gemm, c->n * c->groups, threads);
    if (!job.gemm.c && !in_task) {
        const ptrdiff_t columns = fc_min(fc_b_panels(&job.gemm), fc_block_b_panels(&job.gemm));
        const ptrdiff_t panel = columns * c->kernels->tile_columns * c->kernels->tile_rows * (ptrdiff_t)c->element;
        const ptrdiff_t panels = fc_a_panels(&job.gemm), fitting = fc_max(1, FC_C_BLOCK_BYTES / panel);
        job.grid.a = fc_max(job.grid.a, fc_ceil_div(panels, fitting));
    }
    /* Weights that serve one block of pixels go straight to L2: a packed copy of all would pass through memory. */
    const int packs_first = !in_task && !c->packed && uses_of_weights(&job) > 1;
    if (packs_first && threads > 1)
        pack_apart(&job, threads);
    const ptrdiff_t blocks = pixel_lanes ? job.grid.a : job.grid.b;
    const ptrdiff_t tasks = c->groups * (job.packs_apart ? blocks : c->n * job.grid.a * job.grid.b);
    threads = (int)fc_min(threads, tasks);
    job.has_weights = c->packed || packs_first;
    if (job.has_weights)
        job.weights = fc_take_weights(workspace, c, job.lanes, job.packs_apart ? 1 : threads);

    /* The scratch of the largest block; which operand comes packed decides what it holds. */
    fc_gemm sized = job.gemm;
    if (job.has_weights)
        *(pixel_lanes ? &sized.packed_a : &sized.packed_b) = (const char *)c;
    job.scratch_bytes = fc_gemm_scratch(&sized, fc_ceil_div(fc_a_panels(&sized), job.grid.a),
                                        fc_ceil_div(fc_b_panels(&sized), job.grid.b));
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    if (job.has_weights && !job.packs_apart)
        fc_begin_weights(&job.weights, threads);
    fc_parallel_for(threads, tasks, job.packs_apart ? run_panels : run_block, &job);
}

/* The products at the pace of the register tiles that cover them, the gathered elements on top. */
static double panel_cycles(const fc_correlation *c)
{
    const fc_lanes lanes = choose_lanes(c);
    const fc_gemm gemm = fc_correlation_gemm(c, lanes);
    const int nhwc = c->layout == FC_NHWC;
    const ptrdiff_t pixels = c->oh * c->ow, blocks = fc_depth_blocks(fc_depth(c));
    /* A row of pixels of a step: by whole vectors, unless they lie apart; with NHWC vectors are of channels, and turned, in
     * halves as long for a few channels as for a vector of them. */
    const ptrdiff_t width = c->kernels->lanes, filled = fc_ceil_div(c->q, width) * width;
    const double turns = fc_vector_passes() == 2 ? 1.3 * (double)filled / (double)c->q : 1;
    const double row = nhwc                      ? 8.5 * turns * (double)c->ow / (double)c->kernels->lanes
                       : fc_gathers_vectors(c) ? 3.5 * (double)fc_ceil_div(c->ow, c->kernels->lanes)
                                               : 5.5 + 0.65 * (double)c->ow;
    const double gathered = (double)fc_depth(c) * (double)c->oh * row;
    /* From memory panels come in shorter runs than image blocks, once for each tap; of NHWC's groups a part of every pixel. */
    const double bytes = (double)(c->n * c->groups * c->q) * (double)(c->h * c->w) * (double)c->element;
    const double far = bytes > FC_FAR_BYTES ? (nhwc && c->groups > 1 ? 0.4 : !nhwc && c->taps == 1 ? 0.075 : 0.1) * bytes : 0;
    /* Finding the runs of a panel, or its pixels, costs as much for one channel as for many. */
    const double panels = (double)fc_ceil_div(pixels, nhwc ? c->kernels->tile_rows : c->kernels->tile_columns);
    const double runs = panels * (nhwc ? 170 * (double)(c->taps + blocks - 1) : 80 * (double)(c->taps * blocks));
    /* Panels are written and read again through L2: 1x1 layers were 7 % slower than products of pixels in place. Those of
     * NHWC, which `direct` has to turn, never were. */
    const double products = (nhwc && c->taps == 1 ? 1 : 1.04) * fc_gemm_cycles(&gemm);
    const double calls = 50 * (double)(fc_a_panels(&gemm) * fc_b_panels(&gemm)) * (double)blocks;
    const int scatters = !nhwc && c->y_w != 1;
    const double turned = stores_in_place(c, lanes) || scatters
                              ? 0
                              : (double)c->m * (double)pixels * 12 / (double)c->kernels->lanes;
    return 0.6 * fc_packing_cycles(c) + far + fc_scatter_cycles(c) +
           (double)(c->n * c->groups) * (products + calls + gathered + runs + turned + 800);
}

/* How weights are read: along the reduction, each once for some pixels; along y's channels; or packed in panels. */
enum { INNER_PRODUCTS, OUTER_PRODUCTS, PANELS_ALONG_PIXELS, PANELS_ALONG_CHANNELS };

static double cycles_of_window(const fc_correlation *c, fc_operation operation)
{
    if (fc_serves_inner(c))
        return fc_inner_cycles(c);
    return fc_serves_outer(c) ? fc_outer_cycles(c, operation) : panel_cycles(c);
}

static int may_transpose(const fc_correlation *c, fc_operation operation)
{
    return operation == FC_BACKWARD_INPUT && fc_serves_transposed(c);
}

static int choose_way(const fc_correlation *c, fc_operation operation)
{
    if (!c->is_part && may_transpose(c, operation) && fc_transposed_cycles(c) < cycles_of_window(c, operation))
        return FC_WHOLE_OPERATION;
    if (fc_serves_inner(c))
        return INNER_PRODUCTS;
    if (fc_serves_outer(c))
        return OUTER_PRODUCTS;
    return choose_lanes(c) == FC_LANES_PIXELS ? PANELS_ALONG_PIXELS : PANELS_ALONG_CHANNELS;
}

static void correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    switch (c->way) {
    case INNER_PRODUCTS: fc_multiply_inner(c, threads, workspace); break;
    case OUTER_PRODUCTS: fc_multiply_outer(c, FC_FORWARD, threads, workspace); break;
    case PANELS_ALONG_PIXELS: multiply(c, FC_LANES_PIXELS, threads, 0, workspace); break;
    case PANELS_ALONG_CHANNELS: multiply(c, FC_LANES_CHANNELS, threads, 0, workspace); break;
    }
}

void fc_im2col_in_task(const fc_correlation *c, fc_workspace *workspace)
{
    multiply(c, c->layout == FC_NCHW ? FC_LANES_PIXELS : FC_LANES_CHANNELS, 1, 1, workspace);
}

static const fc_packing *packing(const fc_correlation *c)
{
    if (c->way == PANELS_ALONG_PIXELS)
        return fc_panel_packing(FC_LANES_PIXELS, c->order);
    return c->way == PANELS_ALONG_CHANNELS ? fc_panel_packing(FC_LANES_CHANNELS, c->order) : NULL;
}

static const char *refuses(const fc_correlation *c, fc_operation operation)
{
    (void)c, (void)operation;
    return NULL;
}

static double cycles(const fc_correlation *c, fc_operation operation)
{
    if (operation == FC_BACKWARD_WEIGHT)
        return fc_im2col_weight_cycles(c);
    const double window = cycles_of_window(c, operation);
    return may_transpose(c, operation) ? fmin(window, fc_transposed_cycles(c)) : window;
}

const fc_conv_algorithm fc_algorithm_im2col = {
    .name = "im2col",
    .variant = "implicit GEMM",
    .rank = "register tiles waste nothing on any shape; pays for gathering each panel from the image",
    .refuses = refuses,
    .cycles = cycles,
    .choose = choose_way,
    .correlate = correlate,
    .operate = fc_transposed_operate,
    .correlate_weights = fc_im2col_correlate_weights,
    .packing = packing,
};
