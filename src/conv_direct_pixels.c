/* Direct convolution with lanes along a row of pixels: the micro-kernel reads the image in place, each step of its
 * reduction at a tap's offset.
 *
 * Nothing is gathered: rows of the image are copied once into a padded block in L2 that every tap and every panel of
 * weights reads. Lanes run along a row of pixels. It serves few input channels, depthwise and grouped problems and
 * short reductions, where a gathered panel would be used only a few times. A 1x1 kernel reads the image itself.
 */
#include "conv_direct.h"

#include <math.h>
#include <stdint.h>

#include "blocking.h"
#include "im2col.h"
#include "image_block.h"
#include "pack_weights.h"
#include "parallel.h"

typedef struct {
    const fc_correlation *c;
    fc_gemm gemm;             /* panels of the weights */
    int in_place;             /* 1x1: the image is read where it lies, as one row of pixels */
    int asks;                 /* such an image lies beyond L2: each panel of pixels is asked for during the one before */
    ptrdiff_t width;          /* pixels of a panel, at most */
    ptrdiff_t rows;           /* output rows in a block */
    ptrdiff_t unit;           /* pixels that a row's blocks are multiples of, but for the last */
    ptrdiff_t row_blocks, column_blocks, a_blocks;
    fc_image_block block;
    const char *packed;       /* or NULL: weights are read where they lie */
    ptrdiff_t steps;          /* of the reduction between two visits of y */
    ptrdiff_t *offset;        /* of every step of the reduction, within its depth block */
    size_t group_bytes, c_bytes, scratch_bytes;
    size_t panel_bytes;       /* of an image read in place: a panel of pixels, its last ones, and their offsets are kept */
    size_t image_bytes;
    char *scratch;
} direct_job;

static int reads_in_place(const fc_correlation *c)
{
    return fc_sees_image_itself(c) && c->y_w == 1 && c->y_h == c->ow;
}

static int stores_in_place(const fc_correlation *c) { return c->layout == FC_NCHW && c->y_w == 1; }

/* Channels that depth block i touches. */
static void channels_of_block(const fc_correlation *c, ptrdiff_t k, ptrdiff_t depth, ptrdiff_t *first, ptrdiff_t *count)
{
    *first = k / c->taps;
    *count = (k + depth - 1) / c->taps - *first + 1;
}

static ptrdiff_t most_channels(const fc_correlation *c)
{
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    ptrdiff_t most = 0, first, count;
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const ptrdiff_t k = fc_part(depth, blocks, i);
        channels_of_block(c, k, fc_part(depth, blocks, i + 1) - k, &first, &count);
        most = fc_max(most, count);
    }
    return most;
}

static size_t image_bytes(const fc_correlation *c, const fc_image_block *b, ptrdiff_t channels)
{
    return (size_t)(channels * b->plane) * c->element;
}

/* Pixels of a panel: panels of weights with few rows leave registers for more. */
static ptrdiff_t panel_width(const fc_gemm *gemm)
{
    const fc_kernels *kernels = gemm->kernels;
    const ptrdiff_t rows = fc_ceil_div(gemm->m, fc_a_panels(gemm));
    return rows <= kernels->wide_rows ? kernels->wide_columns : kernels->tile_columns;
}

/* A row of pixels in panels of whole vectors, of which the first have one more. */
typedef struct {
    ptrdiff_t panels;
    fc_parts vectors;
    int ends_odd;  /* the last panel is one vector */
} row_panels;

static row_panels panels_of_row(const fc_correlation *c, ptrdiff_t columns, ptrdiff_t width)
{
    const ptrdiff_t lanes = c->kernels->lanes, vectors = fc_ceil_div(columns, lanes);
    row_panels row = {.panels = fc_ceil_div(vectors * lanes, width)};
    row.vectors = fc_equal_parts(vectors, row.panels);
    row.ends_odd = row.vectors.length == 1;
    return row;
}

/* Output rows of a block: its image in L2, and enough blocks for all threads; pairs if those share vectors. */
static ptrdiff_t choose_rows(const fc_correlation *c, ptrdiff_t width, int threads)
{
    const ptrdiff_t channels = most_channels(c);
    const int pairs = panels_of_row(c, c->ow, width).ends_odd;
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

static void fill_offsets(const direct_job *job)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const ptrdiff_t k = fc_part(depth, blocks, i), end = fc_part(depth, blocks, i + 1), first = k / c->taps;
        if (!job->in_place)
            fc_step_offsets(&job->block, c, k, end - k, job->offset + k);
        for (ptrdiff_t r = k; r < end && job->in_place; r++)
            job->offset[r] = (r - first) * c->x_c;
    }
}

/* Steps from k on, of the depth block that begins at `block`. */
typedef struct {
    ptrdiff_t k, block, block_depth;
} depth_part;

/* What all products of a task have in common, for some steps of the reduction. */
typedef struct {
    const direct_job *job;
    depth_part part;
    const char *weights, *bias;  /* no bias before the last steps */
    ptrdiff_t a0, a1, row0;      /* panels of weights, and their first row */
    fc_parts rows;               /* of weights in all panels */
    const char *next;            /* the pixels after these steps */
    char *packed_panel;
    row_panels panels;           /* of a block's row */
    const ptrdiff_t *offset, *last_offset; /* of these steps; and for a block's last pixels */
    fc_tile tile;
} task_products;

/* Pixels [p, p + columns) of a row, or of two, at most a tile's, times all panels of weights; b is the row's first pixel
 * at tap 0, y its first output. Of an image read in place, pixels that are used often are packed by the first panel's
 * products, which load them anyway. The first panel of weights asks for `ask`. */
static inline void multiply_pixels(task_products *products, const char *b, const ptrdiff_t *offset, char *y, ptrdiff_t p,
                                   ptrdiff_t columns, const char *ask)
{
    const direct_job *job = products->job;
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
    const direct_job *job = products->job;
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
    const row_panels *row = &products->panels;
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

/* The last vector of an image read in place may read into the next channel, where there is one. Of the last channels the
 * last panel's pixels are copied; returns the steps' offsets from b, where those copies lie far from it. */
static const ptrdiff_t *offsets_within(const task_products *products, const char *b, ptrdiff_t columns)
{
    const direct_job *job = products->job;
    char *copied = products->packed_panel + job->panel_bytes;
    ptrdiff_t *within = (ptrdiff_t *)(copied + job->panel_bytes);
    const fc_correlation *c = job->c;
    const row_panels *row = &products->panels;
    const ptrdiff_t *offset = products->offset, steps = products->tile.depth;
    const ptrdiff_t lanes = c->kernels->lanes, width = job->width, element = (ptrdiff_t)c->element;
    const ptrdiff_t behind = (lanes - columns % lanes) % lanes;
    const ptrdiff_t p = fc_part_begin(row->vectors, row->panels - 1) * lanes;
    const ptrdiff_t channels = c->x_c <= 0 ? c->q : fc_min(c->q, fc_ceil_div(behind, c->x_c));
    const ptrdiff_t first = fc_max(0, c->q - channels - products->part.k);
    if (!behind || first >= steps)
        return offset;
    const fc_run run = {0, 0, columns - p};
    c->kernels->pack_runs(fc_at(c, copied, first * width), width, fc_at(c, b, p + offset[first]), c->x_c, 1, steps - first,
                          &run, 1, width);
    for (ptrdiff_t r = 0; r < first; r++)
        within[r] = offset[r];
    for (ptrdiff_t r = first; r < steps; r++)
        within[r] = ((intptr_t)copied - (intptr_t)b) / element + r * width - p;
    return within;
}

static void direct_task(void *context, ptrdiff_t task, int thread)
{
    const direct_job *job = context;
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
    const char *weights = job->packed ? job->packed + (size_t)group * job->group_bytes
                                      : fc_at(c, c->weights, group * c->w_group);
    const int in_place = stores_in_place(c);
    const row_panels panels = panels_of_row(c, columns, job->width);

    const ptrdiff_t depth = fc_depth(c), blocks = fc_depth_blocks(depth);
    for (ptrdiff_t i = 0; i < blocks; i++) {
        depth_part part = {.block = fc_part(depth, blocks, i)};
        const ptrdiff_t end = fc_part(depth, blocks, i + 1);
        part.block_depth = end - part.block;
        ptrdiff_t q, channels;
        channels_of_block(c, part.block, part.block_depth, &q, &channels);
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
                .offset = job->offset + part.k,
                .last_offset = job->offset + part.k,
                .tile = {
                    .depth = steps,
                    .a_row = job->packed ? 0 : c->w_m,
                    .ldb = c->kernels->tile_columns,
                    .ask_step = c->x_c,
                    .ldc = in_place ? c->y_c : rows * c->ow,
                    .accumulate = part.k > 0,
                    .ask_c = in_place && job->gemm.ask_c,
                    .relu = c->relu && last,
                },
            };
            if (job->in_place)
                products.last_offset = offsets_within(&products, b, columns);
            multiply_rows(&products, b, b_row, in_place ? y : c_block, in_place ? c->y_h : c->ow, rows, columns);
        }
    }
    if (!in_place)
        for (ptrdiff_t j = 0; j < rows; j++)
            c->kernels->store_strided(fc_at(c, y, j * c->y_h), c->y_c, c->y_w, fc_at(c, c_block, j * c->ow),
                                      rows * c->ow, m, c->ow);
}

/* Blocks are cut between vectors if no tile is lost by it, or if they are a thread's only ones and the longest is the
 * shorter for it, though an odd vector takes as long as 1.3. */
static ptrdiff_t choose_unit(const direct_job *job, int threads)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t lanes = c->kernels->lanes, longest = fc_ceil_div(fc_ceil_div(job->gemm.n, lanes), job->column_blocks);
    const double tiles = (double)(longest / 2) + (longest % 2 ? 0.65 : 0);
    const int is_wide = job->width > c->kernels->tile_columns;
    const int is_only = c->n * c->groups * job->column_blocks * job->a_blocks <= threads;
    const int is_shorter = tiles < (double)fc_ceil_div(fc_b_panels(&job->gemm), job->column_blocks);
    return is_wide || (is_only && is_shorter) ? lanes : job->width;
}

static void plan_grid(direct_job *job, int threads)
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
        job->image_bytes = 2 * job->panel_bytes + FC_DEPTH_BLOCK * sizeof(ptrdiff_t);
        const size_t bytes = (size_t)(c->n * c->groups * c->q * c->oh * c->ow) * c->element;
        const int streams = a_panels <= FC_STREAM_PANELS;
        job->asks = bytes > (streams ? FC_STREAM_IMAGE_BYTES : FC_ASKED_IMAGE_BYTES);
        if (streams && job->asks)
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
    if (!stores_in_place(c))
        job->c_bytes = (size_t)(fc_ceil_div(a_panels, job->a_blocks) * c->kernels->tile_rows * job->rows * c->ow) *
                       c->element;
}

/* Packing pays for itself where each panel of weights meets many panels of pixels. */
static int reads_weights_in_place(const fc_correlation *c)
{
    const ptrdiff_t width = c->kernels->tile_columns;
    const ptrdiff_t panels = reads_in_place(c) ? fc_ceil_div(c->oh * c->ow, width) : c->oh * fc_ceil_div(c->ow, width);
    return fc_steps_are_contiguous(c) && c->n * panels <= FC_PACKING_PANELS;
}

void fc_direct_pixels_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    direct_job job = {.c = c, .gemm = fc_correlation_gemm(c, FC_LANES_PIXELS), .in_place = reads_in_place(c)};
    job.group_bytes = fc_packed_group_bytes(c, FC_LANES_PIXELS);
    plan_grid(&job, threads);
    char *fresh = NULL;
    job.packed = c->packed;
    if (!c->packed && !reads_weights_in_place(c))
        job.packed = fresh = fc_take(workspace, (size_t)c->groups * job.group_bytes);
    const ptrdiff_t tasks = c->n * c->groups * job.row_blocks * job.column_blocks * job.a_blocks;
    threads = (int)fc_min(threads, tasks);
    job.offset = fc_take(workspace, (size_t)fc_depth(c) * sizeof *job.offset);
    job.scratch_bytes = (job.image_bytes + job.c_bytes + 127) / 128 * 128 + 64;
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    if (fresh)
        fc_pack_all_weights(c, FC_LANES_PIXELS, threads, fresh);
    fill_offsets(&job);
    fc_parallel_for(threads, tasks, direct_task, &job);
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

/* One step of a tile so many vectors wide, one of which alone is bound by its loads. */
static double tile_cycles(double rows, ptrdiff_t vectors, double row_loads)
{
    return vectors > 2 ? fmax(1.5 * rows, 4) : fc_tiles_step_cycles(rows, vectors, row_loads);
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
    const row_panels row = panels_of_row(c, in_place ? c->oh * c->ow : c->ow, panel_width(&gemm));
    const ptrdiff_t length = row.vectors.length, longer = row.vectors.longer;
    double tiles = (double)row.panels, step = (double)longer * tile_cycles(height, length + 1, row_loads) +
                                              (double)(row.panels - longer) * tile_cycles(height, length, row_loads);
    /* The odd vectors of two rows are a tile. */
    if (row.ends_odd && !in_place && c->oh > 1) {
        step += tile_cycles(height, 2, row_loads) / 2 - tile_cycles(height, 1, row_loads);
        tiles -= 0.5;
    }
    /* A tile's prologue, call and epilogue weigh on short reductions. */
    step += tiles * 55 * (double)fc_depth_blocks(fc_depth(c)) / depth;
    const double products = rows * panels * step * depth;
    const double packing = reads_weights_in_place(c) ? 0 : 0.5 * fc_packing_cycles(c);
    const double copied = in_place ? 0 : fc_direct_copy_cycles(c);
    const double turned = stores_in_place(c) ? 0 : fc_direct_turn_cycles(c);
    return packing + (double)(c->n * c->groups) * (products + copied + turned);
}
