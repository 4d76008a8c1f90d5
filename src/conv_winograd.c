/* Winograd convolution F(m x m, r x r) of square filters with stride 1, by blocks of rows of tiles.
 *
 * Tiles are transformed a vector of channels at a time. Then, a panel of filters at a time, the filters are
 * transformed, multiplied point by point with the tiles by the micro-kernel, lanes along filters, and the products
 * transformed into the output.
 *
 * A task is a panel of filters of a block. Threads go through neighbouring tasks, and each transforms the image of a
 * block for itself, at its first panel: what another core has written would come line by line, for more than it costs
 * anew. A lone panel of few tiles is two tasks, the products of half of the channels each.
 *
 * A NaN or an infinity would spread over its tile. Where a channel of a block comes out not finite it is computed again
 * without transform, so that it reaches exactly the outputs that see it.
 */
#include "blocking.h"
#include "im2col.h"
#include "parallel.h"
#include "winograd.h"

typedef struct {
    fc_winograd_plan plan;
    int filters_are_ready;   /* all transformed beforehand; else each task transforms those that it comes to */
    const char *filters;     /* these */
    char *products;          /* of each part of the channels, if there are parts */
    ptrdiff_t *transformed;  /* the block whose image a thread's scratch holds, or -1 */
    size_t scratch_bytes;
    char *scratch;
} winograd_job;

/* A block of a group: rows of tiles, and the pieces of the thread's scratch. */
typedef struct {
    const winograd_job *job;
    ptrdiff_t group;
    fc_winograd_block block;
    char *image, *transformed, *filters, *product, *y, *again;
} winograd_task;

/* The rows of a block that belong to one image: `rows` from row `row` of image n, `at` in the block. */
typedef struct {
    ptrdiff_t n, row, rows, at;
} image_part;

static int next_part(const winograd_task *task, image_part *part)
{
    const ptrdiff_t rows_of_image = task->job->plan.tiles_h;
    part->at += part->rows;
    part->n = (task->block.first_row + part->at) / rows_of_image;
    part->row = (task->block.first_row + part->at) % rows_of_image;
    part->rows = fc_min(rows_of_image - part->row, task->block.rows - part->at);
    return part->rows > 0;
}

/* Kernels store pixels or channels side by side. */
static int stores_in_place(const fc_correlation *c) { return c->y_w == 1 || c->y_c == 1; }

/* The outputs of one image's rows for filters [m0, m0 + m), as a correlation of its own. */
static fc_correlation region(const winograd_task *task, const image_part *part, ptrdiff_t m0, ptrdiff_t m,
                             fc_tap tap[FC_WINOGRAD_TAPS])
{
    const fc_winograd_plan *plan = &task->job->plan;
    const ptrdiff_t row = part->row * plan->m;
    fc_correlation c = plan->c;
    c.x = fc_at(&c, c.x, part->n * c.x_n + task->group * c.q * c.x_c);
    c.weights = fc_at(&c, c.weights, task->group * c.w_group + m0 * c.w_m);
    c.y = fc_at(&c, c.y, part->n * c.y_n + (task->group * c.m + m0) * c.y_c + row * c.y_h);
    c.bias = c.bias ? fc_at(&c, c.bias, task->group * c.m + m0) : NULL;
    c.packed = NULL;
    c.n = c.groups = 1;
    c.m = m;
    c.oh = fc_min(part->rows * plan->m, c.oh - row);
    for (int t = 0; t < c.taps; t++) {
        tap[t] = c.tap[t];
        tap[t].h += row * c.stride_h;
    }
    c.tap = tap;
    return c;
}

/* Of a block, from one part's to the next's. */
static ptrdiff_t product_elements(const fc_winograd_plan *plan) { return plan->points * plan->product_step; }

static size_t transformed_bytes(const fc_winograd_plan *plan)
{
    return (size_t)(plan->points * plan->image_step) * plan->c.element;
}

/* The pieces of a thread's scratch, and with a NULL base their sizes. */
static winograd_task lay_out(winograd_job *job, char *base)
{
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    fc_workspace workspace = {.base = base};
    winograd_task task = {.job = job};
    task.image = fc_take(&workspace, fc_winograd_image_bytes(plan));
    task.transformed = fc_take(&workspace, transformed_bytes(plan));
    if (!job->filters_are_ready)
        task.filters = fc_take(&workspace, (size_t)plan->filters.panel_step * c->element);
    task.product = plan->parts > 1 ? job->products : fc_take(&workspace, (size_t)product_elements(plan) * c->element);
    if (!stores_in_place(c))
        task.y = fc_take(&workspace, (size_t)(c->kernels->lanes * plan->m * c->ow) * c->element);
    if (!base) {
        fc_tap tap[FC_WINOGRAD_TAPS];
        fc_workspace again = {0};
        const image_part largest = {.rows = fc_min(plan->tiles_h, fc_ceil_div(plan->rows, plan->blocks))};
        const fc_correlation all = region(&task, &largest, 0, 1, tap);
        fc_im2col_in_task(&all, &again);
        fc_take(&workspace, again.used);
        job->scratch_bytes = workspace.used;
    }
    task.again = base ? base + workspace.used : NULL;
    return task;
}

static winograd_task begin_task(winograd_job *job, ptrdiff_t index, int thread)
{
    const fc_winograd_plan *plan = &job->plan;
    winograd_task task = lay_out(job, job->scratch + (size_t)thread * job->scratch_bytes);
    const ptrdiff_t block = index % plan->blocks;
    task.group = index / plan->blocks;
    const ptrdiff_t first_row = fc_spread_part(plan->rows, plan->blocks, block);
    const ptrdiff_t end = fc_spread_part(plan->rows, plan->blocks, block + 1);
    task.block = fc_winograd_block_of(plan, first_row, end - first_row);
    return task;
}

/* Channels [first, end), a vector of them at a time. */
static void transform_image(const winograd_task *task, ptrdiff_t first, ptrdiff_t end)
{
    const fc_winograd_plan *plan = &task->job->plan;
    const fc_correlation *c = &plan->c;
    const fc_winograd_planes planes = fc_winograd_planes_of_x(plan);
    for (ptrdiff_t q = first; q < end; q += c->kernels->lanes)
        fc_winograd_transform_tiles(plan, &planes, task->group * plan->channels + q, fc_min(c->kernels->lanes, end - q),
                                    &task->block, 0, task->block.rows, task->image, fc_at(c, task->transformed, q),
                                    plan->image_ld, plan->image_step);
}

/* The tiles of a panel of a point's range, from channel q on. */
static const char *tiles_at(const winograd_task *task, int point, const fc_winograd_range *range, ptrdiff_t panel,
                            ptrdiff_t q)
{
    const fc_winograd_plan *plan = &task->job->plan;
    const ptrdiff_t first = range->begin + fc_part_begin(range->tiles, panel);
    return fc_at(&plan->c, task->transformed, point * plan->image_step + first * plan->image_ld + q);
}

/* A product for each point: tiles x channels times channels x filters, for one block of channels. */
static void multiply_points(const winograd_task *task, ptrdiff_t panel, ptrdiff_t depth_block, const char *filters,
                            int accumulate)
{
    const fc_winograd_plan *plan = &task->job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t width = c->kernels->tile_columns, q = fc_winograd_depth(plan, depth_block);
    const ptrdiff_t filters_of_panel = fc_min(width, c->m - panel * width);
    /* Whole vectors, of which the transform reads all lanes: the last ones are of no filter. */
    fc_tile tile = {
        .depth = fc_winograd_depth(plan, depth_block + 1) - q,
        .columns = (int)fc_whole_vectors(c->kernels, filters_of_panel),
        .a_row = plan->image_ld,
        .ldb = filters_of_panel,
        .ask_step = filters_of_panel,
        .ldc = width,
        .accumulate = accumulate,
    };
    /* Transformed beforehand, filters stream from L3: the next point's are asked for while this one's are multiplied
     * (up to +35 % where tiles are few). */
    const fc_winograd_range *range, *next = fc_winograd_range_of(plan, &task->block, 0);
    for (int point = 0; point < plan->points; point++) {
        const int last = point + 1 == plan->points;
        range = next;
        next = last ? NULL : fc_winograd_range_of(plan, &task->block, point + 1);
        tile.b = fc_at(c, filters, point * plan->filters.point_step);
        tile.ask = task->job->filters_are_ready ? fc_at(c, tile.b, plan->filters.point_step) : NULL;
        for (ptrdiff_t ir = 0; ir < range->panels; ir++) {
            const ptrdiff_t first = range->begin + fc_part_begin(range->tiles, ir);
            tile.rows = (int)(range->begin + fc_part_begin(range->tiles, ir + 1) - first);
            tile.a = tiles_at(task, point, range, ir, q);
            tile.a_next = ir + 1 < range->panels ? tiles_at(task, point, range, ir + 1, q)
                          : last                 ? NULL
                                                 : tiles_at(task, point + 1, next, 0, q);
            tile.c = fc_at(c, task->product, point * plan->product_step + first * width);
            c->kernels->gemm_tile(&tile);
        }
    }
}

/* Filters [m, m + channels), at most a vector of them, for one image's rows of tiles; the channels that came out not
 * finite, a bit each. */
static uint32_t transform_output(const winograd_task *task, const image_part *part, ptrdiff_t m, int channels)
{
    const fc_winograd_plan *plan = &task->job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t channel = task->group * c->m + m, width = c->kernels->tile_columns;
    const int in_place = stores_in_place(c);
    fc_winograd_output out = {
        .size = plan->size,
        .m = plan->m,
        .channels = channels,
        .relu = c->relu,
        .edge_width = plan->edge_w,
        .tiles = plan->tiles_w,
        .columns = c->ow,
        .tile_step = width,
        .point_step = plan->product_step,
        .bias = c->bias ? fc_at(c, c->bias, channel) : NULL,
        .channel_step = in_place ? c->y_c : plan->m * c->ow,
        .row_step = in_place ? c->y_h : c->ow,
        .column_step = in_place ? c->y_w : 1,
    };
    uint32_t not_finite = 0;
    for (ptrdiff_t tile_row = 0; tile_row < part->rows; tile_row++) {
        const ptrdiff_t row = (part->row + tile_row) * plan->m;
        char *y = fc_at(c, c->y, part->n * c->y_n + channel * c->y_c + row * c->y_h);
        const fc_winograd_place place = fc_winograd_place_of(plan, &task->block, part->at + tile_row);
        out.rows = fc_min(plan->m, c->oh - row);
        out.height = place.height;
        out.product = fc_at(c, task->product, place.first * width + m % width);
        out.edge = plan->edge_w ? fc_at(c, task->product, place.edge * width + m % width) : NULL;
        out.y = in_place ? y : task->y;
        not_finite |= c->kernels->winograd_output(&out);
        for (int i = 0; i < channels && !in_place; i++)
            c->kernels->store_strided(fc_at(c, y, i * c->y_c), c->y_h, c->y_w, fc_at(c, task->y, i * out.channel_step),
                                      c->ow, out.rows, c->ow);
    }
    return not_finite;
}

/* Without transform. */
static void compute_again(const winograd_task *task, const image_part *part, ptrdiff_t m)
{
    fc_tap tap[FC_WINOGRAD_TAPS];
    fc_workspace workspace = {.base = task->again};
    const fc_correlation channel = region(task, part, m, 1, tap);
    fc_im2col_in_task(&channel, &workspace);
}

/* From the transformed image to the products of one panel of filters, for some blocks of channels. */
static void multiply_filters(const winograd_task *task, ptrdiff_t panel, ptrdiff_t first_block, ptrdiff_t end_block)
{
    const fc_winograd_plan *plan = &task->job->plan;
    const fc_correlation *c = &plan->c;
    for (ptrdiff_t pc = first_block; pc < end_block; pc++) {
        const char *filters = task->filters;
        if (task->job->filters_are_ready)
            filters = fc_at(c, task->job->filters, fc_winograd_filter_block(plan, task->group, panel, pc));
        else
            fc_winograd_transform_filters(plan, task->group, panel, pc, 0, 1, task->filters);
        multiply_points(task, panel, pc, filters, pc > first_block);
    }
}

/* From the products to the outputs. */
static void store_filters(const winograd_task *task, ptrdiff_t panel)
{
    const fc_winograd_plan *plan = &task->job->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t width = c->kernels->tile_columns;
    const ptrdiff_t end = fc_min(c->m, (panel + 1) * width);
    for (ptrdiff_t m = panel * width; m < end; m += c->kernels->lanes) {
        image_part part = {0};
        while (next_part(task, &part)) {
            uint32_t again = transform_output(task, &part, m, (int)fc_min(c->kernels->lanes, end - m));
            for (ptrdiff_t i = 0; again; i++, again >>= 1)
                if (again & 1)
                    compute_again(task, &part, m + i);
        }
    }
}

/* A panel of filters of a block, whose image the thread transforms when it first comes to it. */
static void run_task(void *context, ptrdiff_t index, int thread)
{
    winograd_job *job = context;
    const ptrdiff_t panels = job->plan.filters.panels, block = index / panels;
    const winograd_task task = begin_task(job, block, thread);
    if (job->transformed[thread * FC_THREAD_NUMBERS] != block)
        transform_image(&task, 0, job->plan.channels);
    job->transformed[thread * FC_THREAD_NUMBERS] = block;
    multiply_filters(&task, index % panels, 0, job->plan.filters.depth_blocks);
    store_filters(&task, index % panels);
}

/* The products of a part of the channels. */
static void run_part(void *context, ptrdiff_t part, int thread)
{
    winograd_job *job = context;
    const fc_winograd_plan *plan = &job->plan;
    const ptrdiff_t first = fc_part(plan->filters.depth_blocks, plan->parts, part);
    const ptrdiff_t end = fc_part(plan->filters.depth_blocks, plan->parts, part + 1);
    winograd_task task = begin_task(job, 0, thread);
    task.product = fc_at(&plan->c, job->products, part * product_elements(plan));
    transform_image(&task, fc_winograd_depth(plan, first), fc_winograd_depth(plan, end));
    multiply_filters(&task, 0, first, end);
}

/* The products of all parts, in their order, to the outputs. */
static void sum_parts(winograd_job *job)
{
    const fc_winograd_plan *plan = &job->plan;
    const fc_correlation *c = &plan->c;
    const winograd_task task = begin_task(job, 0, 0);
    for (int point = 0; point < plan->points; point++) {
        const fc_winograd_range *range = fc_winograd_range_of(plan, &task.block, point);
        char *sum = fc_at(c, job->products, point * plan->product_step + range->begin * c->kernels->tile_columns);
        c->kernels->sum_partials(sum, sum, product_elements(plan), plan->parts,
                                 (range->end - range->begin) * c->kernels->tile_columns, 0);
    }
    store_filters(&task, 0);
}

static void correlate(const fc_correlation *c, int m, int r, int threads, fc_workspace *workspace)
{
    winograd_job job = {0};
    const fc_winograd_plan *plan = &job.plan;
    fc_winograd_plan_of(&job.plan, c, m, r);
    const ptrdiff_t tasks = c->groups * plan->blocks * plan->filters.panels * plan->parts;
    threads = (int)fc_min(threads, tasks);
    const int holds = c->packed && !plan->holds_taps;
    /* If threads come to them more than once: to read what another core has written takes longer than to transform it
     * again (two blocks 1.2 to 1.9 times while cores are far from each other, and 0.85 to 0.95 while they are near). */
    const int comes_again = plan->blocks > threads;
    const int shares = !c->packed && comes_again && fc_winograd_filter_bytes(plan) <= FC_WINOGRAD_FILTER_BYTES;
    char *fresh = shares ? fc_take(workspace, fc_winograd_filter_bytes(plan)) : NULL;
    job.filters_are_ready = holds || shares;
    job.filters = holds ? c->packed : fresh;
    job.transformed = fc_take(workspace, (size_t)(threads * FC_THREAD_NUMBERS) * sizeof *job.transformed);
    if (plan->parts > 1)
        job.products = fc_take(workspace, (size_t)(plan->parts * product_elements(plan)) * c->element);
    lay_out(&job, NULL);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    if (shares)
        fc_winograd_transform_all_filters(plan, threads, fresh);
    for (int i = 0; i < threads; i++)
        job.transformed[i * FC_THREAD_NUMBERS] = -1;
    fc_parallel_for(threads, tasks, plan->parts > 1 ? run_part : run_task, &job);
    if (plan->parts > 1)
        sum_parts(&job);
}

static size_t packed_bytes(const fc_correlation *c, int m, int r)
{
    fc_winograd_plan plan;
    fc_winograd_plan_of(&plan, c, m, r);
    return fc_winograd_filter_bytes(&plan);
}

static int holds_taps(const fc_correlation *c, int m, int r)
{
    fc_winograd_plan plan;
    fc_winograd_plan_of(&plan, c, m, r);
    return plan.holds_taps;
}

static void pack(const fc_correlation *c, int m, int r, int threads, char *packed)
{
    fc_winograd_plan plan;
    fc_winograd_plan_of(&plan, c, m, r);
    fc_winograd_transform_all_filters(&plan, threads, packed);
}

/* One variant: tiles of m x m outputs, filters of r x r taps. */
#define FC_WINOGRAD_VARIANT(m, r, title, rms)                                                         \
    static const char *refuses_##m##_##r(const fc_correlation *c, fc_operation operation)             \
    {                                                                                                 \
        return fc_winograd_refusal(c, operation, m, r);                                               \
    }                                                                                                 \
    static double cycles_##m##_##r(const fc_correlation *c, fc_operation operation)                   \
    {                                                                                                 \
        return operation == FC_BACKWARD_WEIGHT ? fc_winograd_weight_cycles(c, m, r)                   \
                                               : fc_winograd_cycles(c, m, r);                         \
    }                                                                                                 \
    static void correlate_##m##_##r(const fc_correlation *c, int threads, fc_workspace *workspace)    \
    {                                                                                                 \
        correlate(c, m, r, threads, workspace);                                                       \
    }                                                                                                 \
    static void correlate_weights_##m##_##r(const fc_correlation *c, int threads, fc_workspace *workspace) \
    {                                                                                                 \
        fc_winograd_correlate_weights(c, m, r, threads, workspace);                                   \
    }                                                                                                 \
    static size_t packed_bytes_##m##_##r(const fc_correlation *c) { return packed_bytes(c, m, r); }   \
    static void pack_##m##_##r(const fc_correlation *c, int threads, char *packed)                    \
    {                                                                                                 \
        pack(c, m, r, threads, packed);                                                               \
    }                                                                                                 \
    static const fc_packing *packing_##m##_##r(const fc_correlation *c)                               \
    {                                                                                                 \
        static const fc_packing packing = {packed_bytes_##m##_##r, pack_##m##_##r};                   \
        return holds_taps(c, m, r) ? &fc_winograd_tap_packing : &packing;                             \
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
        .correlate_weights = correlate_weights_##m##_##r,                                             \
        .packing = packing_##m##_##r,                                                                 \
    };
FC_WINOGRAD_VARIANT(2, 3, "F(2x2,3x3)", 8)
FC_WINOGRAD_VARIANT(4, 3, "F(4x4,3x3)", 24)
FC_WINOGRAD_VARIANT(6, 3, "F(6x6,3x3)", 96)
FC_WINOGRAD_VARIANT(2, 5, "F(2x2,5x5)", 24)
FC_WINOGRAD_VARIANT(3, 5, "F(3x3,5x5)", 25)
FC_WINOGRAD_VARIANT(4, 5, "F(4x4,5x5)", 96)
