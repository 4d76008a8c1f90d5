/* Direct convolution with lanes along a row of pixels: the micro-kernel reads the image in place, each step of its
 * reduction at a tap's offset.
 *
 * Nothing is gathered: rows of the image are copied once into a padded block in L2 that every tap and every panel of
 * weights reads. Lanes run along a row of pixels. It serves few input channels, depthwise and grouped problems and
 * short reductions, where a gathered panel would be used only a few times. A 1x1 kernel reads the image itself.
 */
#include "conv_direct_pixels.h"

#include <stdint.h>

#include "blocking.h"
#include "conv_direct.h"
#include "pack_weights.h"
#include "parallel.h"

static void fill_offsets(const fc_pixels_job *job)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const ptrdiff_t k = fc_part(depth, blocks, i), end = fc_part(depth, blocks, i + 1);
        fc_step_offsets(&job->block, c, k, end - k, job->offset + k);
    }
}

/* Steps from k on, of the depth block that begins at `block`. */
typedef struct {
    ptrdiff_t k, block, block_depth;
} depth_part;

/* What all products of a task have in common, for some steps of the reduction. */
typedef struct {
    const fc_pixels_job *job;
    depth_part part;
    const char *weights, *bias;  /* no bias before the last steps */
    ptrdiff_t a0, a1, row0;      /* panels of weights, and their first row */
    fc_parts rows;               /* of weights in all panels */
    const char *next;            /* the pixels after these steps */
    char *packed_panel;
    fc_row_panels panels;           /* of a block's row */
    const ptrdiff_t *offset, *last_offset; /* of these steps; and for a block's last pixels */
    fc_tile tile;
} task_products;

/* Pixels [p, p + columns) of a row, or of two, at most a tile's, times all panels of weights; b is the row's first pixel
 * at tap 0, y its first output. Of an image read in place, pixels that are used often are packed by the first panel's
 * products, which load them anyway. The first panel of weights asks for `ask`. */
static inline void multiply_pixels(task_products *products, const char *b, const ptrdiff_t *offset, char *y, ptrdiff_t p,
                                   ptrdiff_t columns, const char *ask)
{
    const fc_pixels_job *job = products->job;
    const fc_correlation *c = job->c;
    const depth_part *part = &products->part;
    fc_tile *tile = &products->tile;
    tile->columns = (int)columns;
    tile->b = fc_at(c, b, p);
    tile->b_offset = offset;
    const int packs = job->in_place && products->a1 - products->a0 >= FC_PANEL_USES;
    tile->b_copy = packs ? products->packed_panel : NULL;
    for (ptrdiff_t ir = products->a0; ir < products->a1; ir++) {
        const ptrdiff_t row = fc_part_begin(products->rows, ir);
        if (packs && ir > products->a0) {
            tile->b = products->packed_panel;
            tile->b_offset = NULL;
        }
        tile->rows = (int)(fc_part_begin(products->rows, ir + 1) - row);
        const ptrdiff_t packed = part->block * c->m + row * part->block_depth + (part->k - part->block) * tile->rows;
        tile->a = fc_at(c, products->weights, tile->a_row ? row * tile->a_row + part->k : packed);
        tile->c = fc_at(c, y, (row - products->row0) * tile->ldc + p);
        tile->row_bias = products->bias ? fc_at(c, products->bias, row) : NULL;
        tile->ask = ir == products->a0 ? ask : NULL;
        c->kernels->gemm_tile(tile);
    }
}

/* The first panels of a row that ends at `columns`. What follows is asked for by the last pixel of each vector: the lines of
 * the first have come with the pixels before. */
static void multiply_row(task_products *products, const char *b, char *y, ptrdiff_t panels, ptrdiff_t columns)
{
    const fc_pixels_job *job = products->job;
    const fc_correlation *c = job->c;
    const ptrdiff_t lanes = c->kernels->lanes;
    ptrdiff_t p = 0;
    for (ptrdiff_t i = 0; i < panels; i++) {
        const ptrdiff_t end = fc_min(columns, fc_part_begin(products->panels.vectors, i + 1) * lanes);
        const char *ask = !job->asks      ? NULL
                          : end < columns ? fc_at(c, b, products->offset[0] + end + lanes - 1)
                                          : fc_at(c, products->next, lanes - 1);
        const ptrdiff_t *offset = end < columns ? products->offset : products->last_offset;
        multiply_pixels(products, b, offset, y, p, end - p, ask);
        p = end;
    }
}

/* Rows of a block, b_row and y_row apart. Where the last panel of a row is one vector, those of two rows are a tile. */
static void multiply_rows(task_products *products, const char *b, ptrdiff_t b_row, char *y, ptrdiff_t y_row,
                          ptrdiff_t rows, ptrdiff_t columns)
{
    const fc_correlation *c = products->job->c;
    const fc_row_panels *row = &products->panels;
    const ptrdiff_t before = (columns - 1) / c->kernels->lanes * c->kernels->lanes;
    for (ptrdiff_t j = 0; j < rows; j++) {
        const int pair = row->ends_odd && j + 1 < rows;
        for (int i = 0; i <= pair; i++)
            multiply_row(products, fc_at(c, b, (j + i) * b_row), fc_at(c, y, (j + i) * y_row), row->panels - pair, columns);
        if (!pair)
            continue;
        products->tile.b_pair = b_row;
        products->tile.c_pair = y_row;
        multiply_pixels(products, fc_at(c, b, j * b_row), products->offset, fc_at(c, y, j * y_row), before,
                        columns - before, NULL);
        products->tile.b_pair = 0;
        j++;
    }
}

/* The steps' offsets in an image read in place: each thread has its own, for what another core has just written comes late.
 * The last vector may read into the next channel, where there is one. Of the last channels the last panel's pixels are copied;
 * their offsets from b are those of the copies, far from it. */
static void find_offsets(task_products *products, const char *b, ptrdiff_t columns)
{
    const fc_pixels_job *job = products->job;
    const fc_correlation *c = job->c;
    const fc_row_panels *row = &products->panels;
    char *copied = products->packed_panel + job->panel_bytes;
    ptrdiff_t *offset = (ptrdiff_t *)(copied + job->panel_bytes), *within = offset + FC_DEPTH_BLOCK;
    const ptrdiff_t k = products->part.k, steps = products->tile.depth;
    for (ptrdiff_t r = 0; r < steps; r++)
        offset[r] = (k - products->part.block + r) * c->x_c;
    products->offset = products->last_offset = offset;
    const ptrdiff_t lanes = c->kernels->lanes, width = job->width, element = (ptrdiff_t)c->element;
    const ptrdiff_t behind = (lanes - columns % lanes) % lanes;
    const ptrdiff_t p = fc_part_begin(row->vectors, row->panels - 1) * lanes;
    const ptrdiff_t channels = c->x_c <= 0 ? c->q : fc_min(c->q, fc_ceil_div(behind, c->x_c));
    const ptrdiff_t first = fc_max(0, c->q - channels - k);
    if (!behind || first >= steps)
        return;
    const fc_run run = {0, 0, columns - p};
    c->kernels->pack_runs(fc_at(c, copied, first * width), width, fc_at(c, b, p + offset[first]), c->x_c, 1, steps - first,
                          &run, 1, width);
    for (ptrdiff_t r = 0; r < first; r++)
        within[r] = offset[r];
    for (ptrdiff_t r = first; r < steps; r++)
        within[r] = ((intptr_t)copied - (intptr_t)b) / element + r * width - p;
    products->last_offset = within;
}

static void direct_task(void *context, ptrdiff_t task, int thread)
{
    const fc_pixels_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t a = task % job->a_blocks;
    task /= job->a_blocks;
    const ptrdiff_t column_block = task % job->column_blocks;
    task /= job->column_blocks;
    const ptrdiff_t row_block = task % job->row_blocks;
    task /= job->row_blocks;
    const ptrdiff_t group = task % c->groups, n = task / c->groups;

    const ptrdiff_t a_panels = fc_a_panels(&job->gemm);
    const ptrdiff_t a0 = fc_part(a_panels, job->a_blocks, a), a1 = fc_part(a_panels, job->a_blocks, a + 1);
    const ptrdiff_t m0 = fc_a_panel_row(&job->gemm, a0), m = fc_a_panel_row(&job->gemm, a1) - m0;
    const ptrdiff_t row = row_block * job->rows;
    const ptrdiff_t rows = job->in_place ? 1 : fc_min(job->rows, c->oh - row);
    const ptrdiff_t row_width = job->in_place ? c->oh * c->ow : c->ow;
    const ptrdiff_t units = fc_ceil_div(row_width, job->unit);
    /* The longer blocks are the last: the calling thread, which takes the first, is the last to start. */
    const ptrdiff_t behind = fc_part(units, job->column_blocks, job->column_blocks - column_block);
    const ptrdiff_t behind_end = fc_part(units, job->column_blocks, job->column_blocks - column_block - 1);
    const ptrdiff_t column = (units - behind) * job->unit;
    const ptrdiff_t columns = fc_min((units - behind_end) * job->unit, row_width) - column;

    char *image = job->scratch + (size_t)thread * job->scratch_bytes;
    char *c_block = image + job->image_bytes;
    const char *x = fc_at(c, c->x, n * c->x_n + group * c->q * c->x_c);
    char *y = fc_at(c, c->y, n * c->y_n + (group * c->m + m0) * c->y_c + row * c->y_h + column);
    const char *bias = c->bias ? fc_at(c, c->bias, group * c->m) : NULL;
    const char *weights = job->reads_weights ? fc_at(c, c->weights, group * c->w_group)
                                             : fc_weights_of_group(&job->weights, group, thread);
    char *to = job->stores_in_place ? y : c_block;
    const ptrdiff_t to_row = job->stores_in_place ? c->y_h : c->ow;
    const fc_row_panels panels = fc_panels_of_row(c, columns, job->width);

    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    for (ptrdiff_t i = 0; i < blocks; i++) {
        depth_part part = {.block = fc_part(depth, blocks, i)};
        const ptrdiff_t end = fc_part(depth, blocks, i + 1);
        part.block_depth = end - part.block;
        ptrdiff_t q, channels;
        fc_channels_of_steps(c, part.block, part.block_depth, &q, &channels);
        const char *b = fc_at(c, x, q * c->x_c + column);
        if (!job->in_place) {
            fc_fill_image_block(&job->block, c, fc_at(c, x, q * c->x_c), channels, row, rows, image);
            b = image;
        }
        const ptrdiff_t b_row = job->in_place ? 0 : fc_block_row_step(&job->block, c);
        for (part.k = part.block; part.k < end; part.k += job->steps) {
            const ptrdiff_t steps = fc_min(job->steps, end - part.k);
            const int last = part.k + steps == depth;
            task_products products = {
                .job = job,
                .part = part,
                .weights = weights,
                .bias = last ? bias : NULL,
                .a0 = a0,
                .a1 = a1,
                .row0 = m0,
                .rows = fc_a_panel_rows(&job->gemm),
                .next = fc_at(c, x, (last ? c->x_n : (part.k + steps) * c->x_c) + column),
                .packed_panel = image,
                .panels = panels,
                .tile = {
                    .depth = steps,
                    .a_row = job->reads_weights ? c->w_m : 0,
                    .ldb = c->kernels->tile_columns,
                    .ask_step = c->x_c,
                    .ldc = job->stores_in_place ? c->y_c : rows * c->ow,
                    .accumulate = part.k > 0,
                    .ask_c = job->stores_in_place && job->gemm.ask_c,
                    .relu = c->relu && last,
                },
            };
            if (job->in_place)
                find_offsets(&products, b, columns);
            else
                products.offset = products.last_offset = job->offset + part.k;
            multiply_rows(&products, b, b_row, to, to_row, rows, columns);
        }
    }
    if (!job->stores_in_place)
        for (ptrdiff_t j = 0; j < rows; j++)
            c->kernels->store_strided(fc_at(c, y, j * c->y_h), c->y_c, c->y_w, fc_at(c, c_block, j * c->ow),
                                      rows * c->ow, m, c->ow);
}

void fc_direct_pixels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    fc_pixels_job job;
    fc_direct_pixels_plan(&job, c, threads);
    const ptrdiff_t tasks = c->n * c->groups * job.row_blocks * job.column_blocks * job.a_blocks;
    threads = (int)fc_min(threads, tasks);
    if (!job.reads_weights)
        job.weights = fc_take_weights(workspace, c, FC_LANES_PIXELS, threads);
    if (!job.in_place)
        job.offset = fc_take(workspace, (size_t)fc_depth(c) * sizeof *job.offset);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    if (!job.reads_weights)
        fc_begin_weights(&job.weights, threads);
    if (!job.in_place)
        fill_offsets(&job);
    fc_parallel_for(threads, tasks, direct_task, &job);
}
