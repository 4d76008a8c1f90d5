/* Direct convolution with lanes along a row of pixels: the blocks of rows, pixels and weights, what it refuses, and what it
 * costs. */
#include "conv_direct_pixels.h"

#include <math.h>

#include "blocking.h"
#include "conv_direct.h"
#include "im2col.h"
#include "pack_weights.h"

static int reads_in_place(const fc_correlation *c)
{
    return fc_sees_image_itself(c) && c->y_w == 1 && c->y_h == c->ow;
}

static ptrdiff_t most_channels(const fc_correlation *c)
{
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    ptrdiff_t most = 0, first, count;
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const ptrdiff_t k = fc_part(depth, blocks, i);
        fc_channels_of_steps(c, k, fc_part(depth, blocks, i + 1) - k, &first, &count);
        most = fc_max(most, count);
    }
    return most;
}

static size_t image_bytes(const fc_correlation *c, const fc_image_block *b, ptrdiff_t channels)
{
    return (size_t)(channels * b->plane) * c->element;
}

static int stores_in_place(const fc_correlation *c) { return c->layout == FC_NCHW && c->y_w == 1; }

static size_t all_images_bytes(const fc_correlation *c)
{
    return (size_t)(c->n * c->groups * c->q * c->oh * c->ow) * c->element;
}

/* Pixels of a panel: panels of weights with few rows leave registers for more. */
static ptrdiff_t panel_width(const fc_gemm *gemm)
{
    const fc_kernels *kernels = gemm->kernels;
    const ptrdiff_t rows = fc_ceil_div(gemm->m, fc_a_panels(gemm));
    return rows <= kernels->wide_rows ? kernels->wide_columns : kernels->tile_columns;
}

/* Output rows of a block: its image in L2, and enough blocks for all threads; pairs if those share vectors. */
static ptrdiff_t choose_rows(const fc_correlation *c, ptrdiff_t width, int threads)
{
    const ptrdiff_t channels = most_channels(c);
    const int pairs = fc_panels_of_row(c, c->ow, width).ends_odd;
    const ptrdiff_t wanted = fc_ceil_div(4 * threads, c->n * c->groups);
    const ptrdiff_t most = pairs ? fc_ceil_div(c->oh, 2) : c->oh;
    ptrdiff_t rows = fc_ceil_div(c->oh, threads > 1 ? fc_min(wanted, most) : 1);
    fc_image_block b = fc_image_block_for(c, rows);
    for (; rows > 1; rows = fc_ceil_div(rows, 2)) {
        fc_image_block_resize(&b, c, rows);
        if (!fc_image_block_overflows(&b, c) && image_bytes(c, &b, channels) <= FC_IMAGE_BLOCK_BYTES)
            break;
    }
    rows = fc_ceil_div(c->oh, fc_ceil_div(c->oh, rows));
    return pairs && rows > 1 ? fc_min(c->oh, (rows + 1) / 2 * 2) : rows;
}

/* Blocks are cut between vectors if no tile is lost by it, or if they are a thread's only ones and the longest is the
 * shorter for it, though an odd vector takes as long as 1.3. */
static ptrdiff_t choose_unit(const fc_pixels_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t lanes = c->kernels->lanes, longest = fc_ceil_div(fc_ceil_div(job->gemm.n, lanes), job->column_blocks);
    const double tiles = (double)(longest / 2) + (longest % 2 ? 0.65 : 0);
    const int is_wide = job->width > c->kernels->tile_columns;
    const int is_only = c->n * c->groups * job->column_blocks * job->a_blocks <= threads;
    const int is_shorter = tiles < (double)fc_ceil_div(fc_b_panels(&job->gemm), job->column_blocks);
    return is_wide || (is_only && is_shorter) ? lanes : job->width;
}

/* Packing pays for itself where each panel of weights meets many panels of pixels. */
static int reads_weights_in_place(const fc_correlation *c)
{
    const ptrdiff_t width = c->kernels->tile_columns;
    const ptrdiff_t panels = reads_in_place(c) ? fc_ceil_div(c->oh * c->ow, width) : c->oh * fc_ceil_div(c->ow, width);
    return fc_steps_are_contiguous(c) && c->n * panels <= FC_PACKING_PANELS;
}

/* Images read in place, of all groups, come from beyond L2 for few panels of weights. */
static int streams(const fc_correlation *c, ptrdiff_t a_panels)
{
    return a_panels <= FC_STREAM_PANELS && all_images_bytes(c) > FC_STREAM_IMAGE_BYTES;
}

static void plan_grid(fc_pixels_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t a_panels = fc_a_panels(&job->gemm);
    job->width = panel_width(&job->gemm);
    job->unit = c->ow;
    job->row_blocks = job->column_blocks = job->a_blocks = 1;
    job->steps = FC_DEPTH_BLOCK;
    if (job->in_place) {
        /* A block of B that stays in L2 while all weights pass: no longer than one of the packed products. */
        const fc_gemm_grid grid = fc_gemm_split(&job->gemm, c->n * c->groups, threads);
        job->column_blocks = grid.b;
        job->a_blocks = grid.a;
        job->unit = choose_unit(job, threads);
        job->panel_bytes = FC_DEPTH_BLOCK * (size_t)job->width * c->element;
        job->image_bytes = 2 * job->panel_bytes + 2 * FC_DEPTH_BLOCK * sizeof(ptrdiff_t);
        job->asks = streams(c, a_panels) || (a_panels > FC_STREAM_PANELS && all_images_bytes(c) > FC_ASKED_IMAGE_BYTES);
        if (streams(c, a_panels))
            job->steps = FC_STREAM_STEPS;
        return;
    }
    job->rows = choose_rows(c, job->width, threads);
    job->row_blocks = fc_ceil_div(c->oh, job->rows);
    job->block = fc_image_block_for(c, job->rows);
    const ptrdiff_t tasks = c->n * c->groups * job->row_blocks;
    if (tasks < threads)
        job->a_blocks = fc_min(a_panels, fc_ceil_div(threads, tasks));
    job->image_bytes = (image_bytes(c, &job->block, most_channels(c)) + 127) / 128 * 128 + 64;
    if (!job->stores_in_place)
        job->c_bytes = (size_t)(fc_ceil_div(a_panels, job->a_blocks) * c->kernels->tile_rows * job->rows * c->ow) *
                       c->element;
}

void fc_direct_pixels_plan(fc_pixels_job *job, const fc_correlation *c, int threads)
{
    *job = (fc_pixels_job){
        .c = c,
        .gemm = fc_correlation_gemm(c, FC_LANES_PIXELS),
        .in_place = reads_in_place(c),
        .stores_in_place = stores_in_place(c),
        .reads_weights = !c->packed && reads_weights_in_place(c),
    };
    plan_grid(job, threads);
    job->scratch_bytes = (job->image_bytes + job->c_bytes + 127) / 128 * 128 + 64;
}

const char *fc_direct_pixels_refusal(const fc_correlation *c)
{
    if (reads_in_place(c))
        return NULL;
    /* One output row of one depth block must fit into a thread's scratch. */
    const fc_image_block b = fc_image_block_for(c, 1);
    const double image = (double)b.plane * (double)c->element * (double)(most_channels(c) + 1);
    const double c_row = (double)(c->m + c->kernels->tile_rows) * (double)c->ow * (double)c->element;
    if (fc_image_block_overflows(&b, c) || image + c_row > FC_SCRATCH_LIMIT)
        return "one padded row of the image does not fit into a thread's scratch of 16 MiB";
    return NULL;
}

/* One step of a tile so many vectors wide, one of which alone is bound by its loads. Vectors of an image seldom lie in one
 * line, which costs CPUs that take them in halves two cycles each. */
static double tile_cycles(double rows, ptrdiff_t vectors, double row_loads)
{
    const double passes = fc_vector_passes(), halves = passes == 2 ? 2 * (double)vectors + rows * row_loads : 0;
    const double cycles = vectors > 2 ? fmax(1.56 * passes * rows, 4) : fc_tiles_step_cycles(rows, vectors, row_loads);
    return fmax(cycles, halves);
}

/* The products at the pace of the register tiles that cover each row of pixels, the copied image on top. */
double fc_direct_pixels_cycles(const fc_correlation *c)
{
    const fc_gemm gemm = fc_correlation_gemm(c, FC_LANES_PIXELS);
    const int in_place = reads_in_place(c);
    const double depth = (double)fc_depth(c);
    const double rows = in_place ? 1 : (double)c->oh;
    const double panels = (double)fc_a_panels(&gemm), height = (double)c->m / panels;
    const double row_loads = reads_weights_in_place(c) ? 1.5 : 1;
    const fc_row_panels row = fc_panels_of_row(c, in_place ? c->oh * c->ow : c->ow, panel_width(&gemm));
    const ptrdiff_t length = row.vectors.length, longer = row.vectors.longer;
    double tiles = (double)row.panels, step = (double)longer * tile_cycles(height, length + 1, row_loads) +
                                              (double)(row.panels - longer) * tile_cycles(height, length, row_loads);
    /* The odd vectors of two rows are a tile. */
    if (row.ends_odd && !in_place && c->oh > 1) {
        step += tile_cycles(height, 2, row_loads) / 2 - tile_cycles(height, 1, row_loads);
        tiles -= 0.5;
    }
    /* A tile's prologue, call and epilogue weigh on short reductions. */
    const ptrdiff_t most = in_place && streams(c, fc_a_panels(&gemm)) ? FC_STREAM_STEPS : FC_DEPTH_BLOCK;
    step += tiles * 55 * ceil(depth / (double)most) / depth;
    const double products = rows * panels * step * depth;
    const double packing = reads_weights_in_place(c) ? 0 : 0.5 * fc_packing_cycles(c);
    const double copied = in_place ? 0 : fc_direct_copy_cycles(c);
    const double turned = stores_in_place(c) ? 0 : fc_direct_turn_cycles(c);
    const double far = in_place ? 0 : fc_direct_far_cycles(c);
    const double image = FC_DIRECT_TASK_CYCLES + products + copied + turned;
    return packing + far + fc_scatter_cycles(c) + (double)(c->n * c->groups) * image;
}
