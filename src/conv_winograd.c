/* Winograd convolution F(m x m, r x r) of square filters with stride 1, by blocks of rows of tiles.
 *
 * Each task copies its rows of the image once, split by tile phase so that element (i, j) of all tiles in a row is one
 * run; transforms them; and then, a block of filters at a time, transforms the filters, multiplies point by point with
 * the micro-kernel, and transforms the products into the output. Everything between stays in the task's scratch.
 *
 * A NaN or an infinity would spread over its tile. Where a channel of a block comes out not finite it is computed again
 * without transform, so that it reaches exactly the outputs that see it.
 */
#include "blocking.h"
#include "gemm.h"
#include "im2col.h"
#include "image_block.h"
#include "pack_weights.h"
#include "parallel.h"

enum { MOST_TAPS = 25, MOST_POINTS = 36 };

typedef struct {
    fc_correlation c;
    int m, r, size, points;      /* outputs and taps of a side, m + r - 1, its square */
    int at[MOST_TAPS];           /* the tap at each place of the filter */
    fc_tap tile_tap[MOST_POINTS];
    fc_correlation tiles;        /* tiles as the outputs of a correlation with a tap for each point and stride m */
    fc_image_block block;
    ptrdiff_t offset[MOST_POINTS];
    ptrdiff_t block_rows;        /* rows of tiles in a block: those of all images, one after the other */
    ptrdiff_t row_blocks, a_blocks;
    ptrdiff_t filter_panels;     /* in a block of filters */
    ptrdiff_t ld;                /* between channels of the transformed image */
    ptrdiff_t v_step, u_step, product_step;  /* between points of image, filters and products */
    size_t scratch_bytes;
    char *scratch;
} winograd_job;

/* One task: a group and rows of tiles; and the pieces of its scratch. */
typedef struct {
    const winograd_job *job;
    ptrdiff_t group, first_row, rows;
    char *image, *v, *panel, *u, *product, *y, *again;
} winograd_task;

/* Whether the taps are an r x r square without gaps; where each lies in it, and where it begins. */
static int tap_places(const fc_correlation *c, int r, int at[MOST_TAPS], ptrdiff_t *low_h, ptrdiff_t *low_w)
{
    if (c->taps != r * r || c->stride_h != 1 || c->stride_w != 1)
        return 0;
    *low_h = c->tap[0].h, *low_w = c->tap[0].w;
    for (int t = 1; t < r * r; t++)
        *low_h = fc_min(*low_h, c->tap[t].h), *low_w = fc_min(*low_w, c->tap[t].w);
    int seen = 0;
    for (int t = 0; t < r * r; t++) {
        const ptrdiff_t h = c->tap[t].h - *low_h, w = c->tap[t].w - *low_w;
        if (h >= r || w >= r)
            return 0;
        at[h * r + w] = t;
        seen |= 1 << (h * r + w);
    }
    return seen == (1 << r * r) - 1;
}

/* The rows of a block that belong to one image: `rows` from row `row` of image n, `at` in the block. */
typedef struct {
    ptrdiff_t n, row, rows, at;
} image_part;

static int next_part(const winograd_task *task, image_part *part)
{
    const ptrdiff_t rows_of_image = task->job->tiles.oh;
    part->at += part->rows;
    part->n = (task->first_row + part->at) / rows_of_image;
    part->row = (task->first_row + part->at) % rows_of_image;
    part->rows = fc_min(rows_of_image - part->row, task->rows - part->at);
    return part->rows > 0;
}

/* Rows of tiles in a block: depends on the problem alone, for what is computed again follows from it. */
static ptrdiff_t choose_tile_rows(const fc_correlation *tiles, int points)
{
    const ptrdiff_t bytes_of_tile = points * tiles->q * (ptrdiff_t)tiles->element;
    const ptrdiff_t wanted = fc_min(fc_max(4 * tiles->kernels->tile_columns, FC_WINOGRAD_BLOCK_BYTES / bytes_of_tile),
                                    FC_SCRATCH_LIMIT / 2 / bytes_of_tile);
    const ptrdiff_t all = tiles->n * tiles->oh, rows = fc_max(1, fc_min(all, wanted / tiles->ow));
    return fc_ceil_div(all, fc_ceil_div(all, rows));
}

/* Everything that follows from the problem; `job` stays where it is, for its correlations point into it. */
static int plan(winograd_job *job, const fc_correlation *given, int m, int r)
{
    const int size = m + r - 1;
    *job = (winograd_job){.c = *given, .m = m, .r = r, .size = size, .points = size * size};
    fc_correlation *c = &job->c;
    c->order = FC_BY_CHANNEL;
    c->packed = NULL;
    ptrdiff_t low_h, low_w;
    if (!tap_places(c, r, job->at, &low_h, &low_w))
        return 0;
    for (int i = 0; i < job->points; i++)
        job->tile_tap[i] = (fc_tap){low_h + i / size, low_w + i % size, 0};
    job->tiles = *c;
    job->tiles.oh = fc_ceil_div(c->oh, m), job->tiles.ow = fc_ceil_div(c->ow, m);
    job->tiles.stride_h = job->tiles.stride_w = m;
    job->tiles.taps = job->points;
    job->tiles.tap = job->tile_tap;
    job->block_rows = choose_tile_rows(&job->tiles, job->points);
    job->block = fc_image_block_for(&job->tiles, fc_min(job->block_rows, job->tiles.oh));
    if (fc_image_block_overflows(&job->block, c))
        return 0;
    for (int i = 0; i < job->points; i++)
        job->offset[i] = fc_tap_offset(&job->block, &job->tiles, i);
    job->row_blocks = fc_ceil_div(c->n * job->tiles.oh, job->block_rows);
    return 1;
}

static int stores_in_place(const fc_correlation *c) { return c->y_w == 1; }

static ptrdiff_t block_tiles(const winograd_job *job) { return job->block_rows * job->tiles.ow; }

/* The outputs of one image's rows for filters [m0, m0 + m), as a correlation of its own. */
static fc_correlation region(const winograd_task *task, const image_part *part, ptrdiff_t m0, ptrdiff_t m,
                             fc_tap tap[MOST_TAPS])
{
    const winograd_job *job = task->job;
    const ptrdiff_t row = part->row * job->m;
    fc_correlation c = job->c;
    c.x = fc_at(&c, c.x, part->n * c.x_n + task->group * c.q * c.x_c);
    c.weights = fc_at(&c, c.weights, task->group * c.w_group + m0 * c.w_m);
    c.y = fc_at(&c, c.y, part->n * c.y_n + (task->group * c.m + m0) * c.y_c + row * c.y_h);
    c.bias = c.bias ? fc_at(&c, c.bias, task->group * c.m + m0) : NULL;
    c.n = c.groups = 1;
    c.m = m;
    c.oh = fc_min(part->rows * job->m, c.oh - row);
    for (int t = 0; t < c.taps; t++) {
        tap[t] = c.tap[t];
        tap[t].h += row;
    }
    c.tap = tap;
    return c;
}

/* An odd number of cache lines: neither channels nor points may share the sets of a cache. */
static ptrdiff_t odd_lines(const fc_correlation *c, ptrdiff_t elements)
{
    const ptrdiff_t line = (ptrdiff_t)(64 / c->element);
    return (fc_ceil_div(elements, line) | 1) * line;
}

/* The pieces of a thread's scratch, and with a NULL base their sizes. */
static winograd_task lay_out(winograd_job *job, char *base)
{
    const fc_correlation *c = &job->c;
    const ptrdiff_t rows = c->kernels->tile_rows;
    fc_workspace workspace = {.base = base};
    winograd_task task = {.job = job};
    task.image = fc_take(&workspace, (size_t)job->block.plane * c->element);
    task.v = fc_take(&workspace, (size_t)(job->points * job->v_step) * c->element);
    task.panel = fc_take(&workspace, (size_t)(rows * c->q * c->taps) * c->element);
    task.u = fc_take(&workspace, (size_t)(job->points * job->u_step) * c->element);
    task.product = fc_take(&workspace, (size_t)(job->points * job->product_step) * c->element);
    task.y = stores_in_place(c) ? NULL : fc_take(&workspace, (size_t)(job->m * c->ow) * c->element);
    if (!base) {
        fc_tap tap[MOST_TAPS];
        fc_workspace again = {0};
        const image_part largest = {.rows = job->block.rows};
        const fc_correlation all = region(&task, &largest, 0, 1, tap);
        fc_im2col_in_task(&all, &again);
        fc_take(&workspace, again.used);
        job->scratch_bytes = workspace.used;
    }
    task.again = base ? base + workspace.used : NULL;
    return task;
}

static void transform_image(const winograd_task *task)
{
    const winograd_job *job = task->job;
    const fc_correlation *c = &job->tiles;
    fc_winograd_input in = {
        .size = job->size,
        .tiles = c->ow,
        .offset = job->offset,
        .point_step = job->v_step,
    };
    for (ptrdiff_t q = 0; q < c->q; q++) {
        image_part part = {0};
        while (next_part(task, &part)) {
            const char *x = fc_at(c, c->x, part.n * c->x_n + (task->group * c->q + q) * c->x_c);
            fc_fill_image_block(&job->block, c, x, 1, part.row, part.rows, task->image);
            /* Whole vectors are written: what runs over the end of a row is overwritten by the next. */
            for (ptrdiff_t row = 0; row < part.rows; row++) {
                in.image = fc_at(c, task->image, row * fc_block_row_step(&job->block, c));
                in.transformed = fc_at(c, task->v, q * job->ld + (part.at + row) * c->ow);
                c->kernels->winograd_input(&in);
            }
        }
    }
}

/* Panels [a0, a1) of filters, transformed: point by point, panel by panel. */
static void transform_filters(const winograd_task *task, const fc_gemm *gemm, ptrdiff_t a0, ptrdiff_t a1)
{
    const winograd_job *job = task->job;
    const fc_correlation *c = &job->c;
    const ptrdiff_t m0 = fc_a_panel_row(gemm, a0);
    fc_winograd_filter f = {
        .size = job->size, .r = job->r, .channels = c->q, .panel = task->panel, .point_step = job->u_step};
    for (int i = 0; i < job->r * job->r; i++)
        f.tap[i] = job->at[i];
    for (ptrdiff_t ir = a0; ir < a1; ir++) {
        const ptrdiff_t row = fc_a_panel_row(gemm, ir);
        f.rows = (int)(fc_a_panel_row(gemm, ir + 1) - row);
        f.transformed = fc_at(c, task->u, (row - m0) * c->q);
        fc_pack_weight_panel(c, FC_LANES_PIXELS, task->group, row, f.rows, 0, c->q * c->taps, task->panel);
        c->kernels->winograd_filter(&f);
    }
}

/* A product for each point: filters x channels times channels x tiles. */
static void multiply_points(const winograd_task *task, const fc_gemm *gemm, ptrdiff_t a0, ptrdiff_t a1)
{
    const winograd_job *job = task->job;
    const fc_correlation *c = &job->c;
    const ptrdiff_t m0 = fc_a_panel_row(gemm, a0);
    const ptrdiff_t tiles = task->rows * job->tiles.ow, width = c->kernels->tile_columns;
    const ptrdiff_t blocks = fc_ceil_div(c->q, FC_WINOGRAD_DEPTH_BLOCK);
    fc_tile tile = {.ldb = job->ld, .ldc = job->ld};
    for (int point = 0; point < job->points; point++)
        for (ptrdiff_t pc = 0; pc < blocks; pc++) {
            const ptrdiff_t q = fc_part(c->q, blocks, pc);
            tile.depth = fc_part(c->q, blocks, pc + 1) - q;
            tile.accumulate = pc > 0;
            for (ptrdiff_t jr = 0; jr < tiles; jr += width) {
                tile.columns = (int)fc_min(width, tiles - jr);
                tile.b = fc_at(c, task->v, point * job->v_step + q * job->ld + jr);
                for (ptrdiff_t ir = a0; ir < a1; ir++) {
                    const ptrdiff_t row = fc_a_panel_row(gemm, ir);
                    tile.rows = (int)(fc_a_panel_row(gemm, ir + 1) - row);
                    tile.a = fc_at(c, task->u, point * job->u_step + (row - m0) * c->q + q * tile.rows);
                    tile.c = fc_at(c, task->product, point * job->product_step + (row - m0) * job->ld + jr);
                    c->kernels->gemm_tile(&tile);
                }
            }
        }
}

/* One filter's rows of outputs in one image; whether all were finite. */
static int transform_output(const winograd_task *task, const image_part *part, ptrdiff_t m, ptrdiff_t index)
{
    const winograd_job *job = task->job;
    const fc_correlation *c = &job->c;
    const ptrdiff_t channel = task->group * c->m + m;
    fc_winograd_output out = {
        .size = job->size,
        .m = job->m,
        .relu = c->relu,
        .tiles = job->tiles.ow,
        .columns = c->ow,
        .point_step = job->product_step,
        .bias = c->bias ? fc_at(c, c->bias, channel) : NULL,
        .row_step = stores_in_place(c) ? c->y_h : c->ow,
    };
    int finite = 1;
    for (ptrdiff_t tile_row = 0; tile_row < part->rows; tile_row++) {
        const ptrdiff_t row = (part->row + tile_row) * job->m;
        char *y = fc_at(c, c->y, part->n * c->y_n + channel * c->y_c + row * c->y_h);
        out.rows = fc_min(job->m, c->oh - row);
        out.product = fc_at(c, task->product, index * job->ld + (part->at + tile_row) * job->tiles.ow);
        out.y = stores_in_place(c) ? y : task->y;
        finite &= c->kernels->winograd_output(&out);
        if (!stores_in_place(c))
            c->kernels->store_strided(y, c->y_h, c->y_w, task->y, c->ow, out.rows, c->ow);
    }
    return finite;
}

/* Without transform. */
static void compute_again(const winograd_task *task, const image_part *part, ptrdiff_t m)
{
    fc_tap tap[MOST_TAPS];
    fc_workspace workspace = {.base = task->again};
    const fc_correlation channel = region(task, part, m, 1, tap);
    fc_im2col_in_task(&channel, &workspace);
}

static void run_task(void *context, ptrdiff_t index, int thread)
{
    winograd_job *job = context;
    const fc_correlation *c = &job->c;
    winograd_task task = lay_out(job, job->scratch + (size_t)thread * job->scratch_bytes);
    const ptrdiff_t a = index % job->a_blocks;
    index /= job->a_blocks;
    task.first_row = index % job->row_blocks * job->block_rows;
    task.rows = fc_min(job->block_rows, c->n * job->tiles.oh - task.first_row);
    task.group = index / job->row_blocks;

    const fc_gemm gemm = fc_correlation_gemm(c, FC_LANES_PIXELS);
    const ptrdiff_t panels = fc_a_panels(&gemm), end = fc_part(panels, job->a_blocks, a + 1);
    transform_image(&task);
    for (ptrdiff_t a0 = fc_part(panels, job->a_blocks, a); a0 < end; a0 += job->filter_panels) {
        const ptrdiff_t a1 = fc_min(a0 + job->filter_panels, end);
        const ptrdiff_t m0 = fc_a_panel_row(&gemm, a0), filters = fc_a_panel_row(&gemm, a1) - m0;
        transform_filters(&task, &gemm, a0, a1);
        multiply_points(&task, &gemm, a0, a1);
        for (ptrdiff_t i = 0; i < filters; i++) {
            image_part part = {0};
            while (next_part(&task, &part))
                if (!transform_output(&task, &part, m0 + i, i))
                    compute_again(&task, &part, m0 + i);
        }
    }
}

static void plan_tasks(winograd_job *job, int threads)
{
    const fc_correlation *c = &job->c;
    const fc_gemm gemm = fc_correlation_gemm(c, FC_LANES_PIXELS);
    const ptrdiff_t panels = fc_a_panels(&gemm);
    /* Whole vectors are written from any tile on. */
    job->ld = odd_lines(c, block_tiles(job) + c->kernels->lanes - 1);
    const ptrdiff_t tasks = c->groups * job->row_blocks;
    job->a_blocks = fc_min(panels, tasks >= 4 * threads ? 1 : fc_ceil_div(threads, tasks));
    const ptrdiff_t panel_bytes = job->points * c->kernels->tile_rows * (c->q + job->ld) * (ptrdiff_t)c->element;
    job->filter_panels = fc_max(1, fc_min(panels, FC_WINOGRAD_BLOCK_BYTES / panel_bytes));
    const ptrdiff_t filters = fc_min(job->filter_panels * c->kernels->tile_rows, c->m);
    job->v_step = odd_lines(c, c->q * job->ld);
    job->u_step = odd_lines(c, filters * c->q + c->kernels->lanes);
    job->product_step = odd_lines(c, filters * job->ld);
    lay_out(job, NULL);
}

static void correlate(const fc_correlation *c, int m, int r, int threads, fc_workspace *workspace)
{
    winograd_job job;
    plan(&job, c, m, r);
    plan_tasks(&job, threads);
    const ptrdiff_t tasks = c->groups * job.row_blocks * job.a_blocks;
    threads = (int)fc_min(threads, tasks);
    job.scratch = fc_take(workspace, (size_t)threads * job.scratch_bytes);
    if (workspace->base)
        fc_parallel_for(threads, tasks, run_task, &job);
}

/* Filters have 3 or 5 taps a side. */
static const char *refuses(const fc_correlation *c, fc_operation operation, int m, int r)
{
    winograd_job job;
    int at[MOST_TAPS];
    ptrdiff_t low_h, low_w;
    if (operation == FC_BACKWARD_WEIGHT)
        return "it has no weight gradient";
    if (!tap_places(c, r, at, &low_h, &low_w))
        return tap_places(c, 8 - r, at, &low_h, &low_w) ? fc_other_variant
                                                        : "it takes 3x3 and 5x5 filters with stride 1 and dilation 1";
    if (plan(&job, c, m, r)) {
        plan_tasks(&job, 1);
        if (job.scratch_bytes <= FC_SCRATCH_LIMIT)
            return NULL;
    }
    return "a row of tiles with all its channels does not fit into a thread's scratch of 16 MiB";
}

/* Transforms are counted by their loads, stores and sums; products by register tiles. */
static double cycles(const fc_correlation *c, fc_operation operation, int m, int r)
{
    (void)operation;
    winograd_job job;
    plan(&job, c, m, r);
    const fc_gemm gemm = fc_correlation_gemm(c, FC_LANES_PIXELS);
    const double lanes = (double)c->kernels->lanes, points = (double)job.points, q = (double)c->q;
    const double panels = (double)fc_a_panels(&gemm), blocks = (double)job.row_blocks;
    const double row_vectors = (double)(c->n * job.tiles.oh) * (double)fc_ceil_div(job.tiles.ow, c->kernels->lanes);
    const double block_vectors = blocks * (double)fc_ceil_div(block_tiles(&job), c->kernels->lanes);
    const double step = fc_tile_step_cycles((double)c->m / panels);
    const double copied = (double)c->n * (double)(c->h * c->w) * (c->x_w == 1 ? 16 / lanes : 1.5);
    const double image = q * (copied + row_vectors * points * 8);
    const double filters = blocks * (double)c->m * q * (double)(r * r + job.points) * 6 / lanes;
    const double products = points * panels * block_vectors / 2 * step * q;
    const double output = (double)c->m * row_vectors * points * 10;
    return (double)c->groups * (image + filters + products + output);
}

/* One variant: tiles of m x m outputs, filters of r x r taps. */
#define FC_WINOGRAD_VARIANT(m, r, title, rms)                                                         \
    static const char *refuses_##m##_##r(const fc_correlation *c, fc_operation operation)             \
    {                                                                                                 \
        return refuses(c, operation, m, r);                                                           \
    }                                                                                                 \
    static double cycles_##m##_##r(const fc_correlation *c, fc_operation operation)                   \
    {                                                                                                 \
        return cycles(c, operation, m, r);                                                            \
    }                                                                                                 \
    static void correlate_##m##_##r(const fc_correlation *c, int threads, fc_workspace *workspace)    \
    {                                                                                                 \
        correlate(c, m, r, threads, workspace);                                                       \
    }                                                                                                 \
    const fc_conv_algorithm fc_algorithm_winograd_##m##_##r = {                                       \
        .name = "winograd",                                                                           \
        .variant = title,                                                                             \
        .rank = "fewer products; pays for transforming tiles, filters and outputs",                   \
        .transforms = 1,                                                                              \
        .error = rms,                                                                                 \
        .refuses = refuses_##m##_##r,                                                                 \
        .cycles = cycles_##m##_##r,                                                                   \
        .correlate = correlate_##m##_##r,                                                             \
    };
FC_WINOGRAD_VARIANT(2, 3, "F(2x2,3x3)", 8)
FC_WINOGRAD_VARIANT(4, 3, "F(4x4,3x3)", 24)
FC_WINOGRAD_VARIANT(2, 5, "F(2x2,5x5)", 24)
