#include "pool_walk.h"

#include "blocking.h"
#include "parallel.h"

fc_pool_pass fc_pool_pass_of(const fc_pool *pool)
{
    return (fc_pool_pass){
        .p = pool,
        .kernels = fc_kernels_for(pool->dtype),
        .element = pool->dtype == FC_F32 ? sizeof(float) : sizeof(double),
    };
}

fc_pool_grid fc_pool_grid_of(const fc_pool *p, ptrdiff_t rows, ptrdiff_t row_bytes, int threads)
{
    const int nhwc = p->layout == FC_NHWC;
    const ptrdiff_t channel_blocks = nhwc ? fc_ceil_div(p->c, FC_POOL_CHANNELS) : p->c;
    fc_pool_grid grid = {.p = p, .rows = rows, .planes = p->n * channel_blocks, .channel_blocks = channel_blocks};
    const ptrdiff_t wanted = 4 * (ptrdiff_t)threads;
    grid.plane_parts = threads == 1 ? 1 : fc_min(grid.planes, wanted);
    grid.row_parts = threads == 1 ? 1 : fc_min(rows, fc_ceil_div(wanted, grid.plane_parts));
    if (nhwc)
        row_bytes *= fc_min(p->c, FC_POOL_CHANNELS);
    const ptrdiff_t room = nhwc ? FC_POOL_PIXEL_BYTES : FC_POOL_BLOCK_BYTES;
    grid.block_rows = fc_min(rows, fc_max(1, room / row_bytes));
    grid.block_planes = nhwc || grid.block_rows < rows ? 1 : fc_min(p->c, fc_max(1, room / row_bytes / rows));
    return grid;
}

fc_pool_grid fc_pool_backward_grid(const fc_pool_pass *pass, fc_visit_block visit, void *context, int *threads)
{
    const fc_pool *p = pass->p;
    *threads = fc_useful_threads(*threads, p->n * p->c * p->h, 2 * fc_pool_seconds(p));
    fc_pool_grid grid = fc_pool_grid_of(p, p->h, 2 * p->w * (ptrdiff_t)pass->element, *threads);
    *threads = (int)fc_min(*threads, grid.plane_parts * grid.row_parts);
    grid.visit = visit;
    grid.context = context;
    return grid;
}

/* The planes from unit `first` on that a block takes: of one image, and not beyond `end`. */
static ptrdiff_t visit_from(const fc_pool_grid *grid, ptrdiff_t first, ptrdiff_t end, ptrdiff_t row, ptrdiff_t row_end,
                            int thread)
{
    const fc_pool *p = grid->p;
    fc_pool_block block = {.n = first / grid->channel_blocks, .row = row, .row_end = row_end};
    const ptrdiff_t unit = first % grid->channel_blocks;
    if (p->layout == FC_NHWC) {
        block.c = unit * FC_POOL_CHANNELS;
        block.planes = fc_min(FC_POOL_CHANNELS, p->c - block.c);
        grid->visit(grid->context, &block, thread);
        return first + 1;
    }
    block.c = unit;
    block.planes = fc_min(fc_min(grid->block_planes, end - first), p->c - unit);
    grid->visit(grid->context, &block, thread);
    return first + block.planes;
}

static void run_task(void *context, ptrdiff_t task, int thread)
{
    const fc_pool_grid *grid = context;
    const ptrdiff_t part = task / grid->row_parts, rows = task % grid->row_parts;
    const ptrdiff_t end = fc_part(grid->planes, grid->plane_parts, part + 1);
    const ptrdiff_t row_end = fc_part(grid->rows, grid->row_parts, rows + 1);
    for (ptrdiff_t unit = fc_part(grid->planes, grid->plane_parts, part), next; unit < end; unit = next) {
        next = unit;
        for (ptrdiff_t row = fc_part(grid->rows, grid->row_parts, rows); row < row_end; row += grid->block_rows)
            next = visit_from(grid, unit, end, row, fc_min(row_end, row + grid->block_rows), thread);
    }
}

void fc_pool_run(const fc_pool_grid *grid, int threads)
{
    fc_parallel_for(threads, grid->plane_parts * grid->row_parts, run_task, (void *)grid);
}

int fc_pool_of_neighbours(const fc_pool_pass *pass)
{
    const fc_pool *p = pass->p;
    return p->layout == FC_NCHW && p->kh == p->kw && (p->kw == 2 || p->kw == 3) && p->dilation_h == 1 &&
           p->dilation_w == 1 && p->stride_h == p->stride_w && p->stride_w <= 2;
}

void fc_pool_in_order(fc_pool_grid *grid)
{
    grid->block_rows = grid->rows;
    grid->block_planes = grid->p->c;
}

static void strips_block(void *context, const fc_pool_block *block, int thread)
{
    const fc_pool_pass *pass = context;
    (void)thread;
    fc_pool_strips(pass, block, NULL, pass->forward);
}

void fc_pool_forward(fc_pool_pass *pass, int threads)
{
    const fc_pool *p = pass->p;
    threads = fc_useful_threads(threads, p->n * p->c * p->oh, fc_pool_seconds(p));
    fc_pool_grid grid = fc_pool_grid_of(p, p->oh, p->stride_h * p->w * (ptrdiff_t)pass->element, threads);
    grid.visit = strips_block;
    grid.context = pass;
    /* One window a plane is for lanes along the channels. */
    if (fc_pool_of_neighbours(pass) && !pass->index && p->oh * p->ow > 1) {
        fc_pool_in_order(&grid);
        grid.visit = fc_pool_rows_block;
    }
    fc_pool_run(&grid, threads);
}

/* Taps [first, end) of the window that begins at `start` are inside [0, in). */
typedef struct {
    ptrdiff_t first, end;
} axis_taps;

static axis_taps clip(ptrdiff_t start, ptrdiff_t kernel, ptrdiff_t dilation, ptrdiff_t in)
{
    return (axis_taps){
        start < 0 ? fc_ceil_div(-start, dilation) : 0,
        fc_min(kernel, in - start <= 0 ? 0 : fc_ceil_div(in - start, dilation)),
    };
}

void fc_pool_count(const fc_pool *p, int count_include_pad, double *counted_h, double *counted_w)
{
    for (int axis = 0; axis < 2; axis++) {
        const ptrdiff_t out = axis ? p->ow : p->oh, stride = axis ? p->stride_w : p->stride_h;
        const ptrdiff_t kernel = axis ? p->kw : p->kh, dilation = axis ? p->dilation_w : p->dilation_h;
        const ptrdiff_t before = axis ? p->pad_left : p->pad_top, in = axis ? p->w : p->h;
        const ptrdiff_t after = axis ? p->pad_right : p->pad_bottom;
        for (ptrdiff_t i = 0; i < out; i++) {
            const axis_taps taps = count_include_pad ? clip(i * stride, kernel, dilation, before + in + after)
                                                     : clip(i * stride - before, kernel, dilation, in);
            (axis ? counted_w : counted_h)[i] = (double)(taps.end - taps.first);
        }
    }
}

/* Bytes at the rate of an L2, and the taps of each output a few at a time: measured on Zen 5, the slower of dtypes. */
double fc_pool_seconds(const fc_pool *p)
{
    return 0.05e-9 * (double)(p->n * p->c) *
           ((double)(p->h * p->w) + (double)(p->oh * p->ow) * (2 + (double)(p->kh * p->kw)));
}

int fc_pool_pairs(const fc_pool_pass *pass)
{
    const fc_pool *p = pass->p;
    return pass->kernels->pool_pairs && p->layout == FC_NCHW && p->c > 1 && p->ow <= pass->kernels->lanes / 2 &&
           p->w < pass->kernels->lanes && p->kw <= FC_POOL_LANES;
}

static char *at(const fc_pool_pass *pass, const void *base, ptrdiff_t elements)
{
    return (char *)base + elements * (ptrdiff_t)pass->element;
}

/* What strips of a block have in common in both layouts. */
static fc_pool_strip strip_of(const fc_pool_pass *pass, const fc_pool_block *block, const fc_pool_scratch *kept)
{
    const fc_pool *p = pass->p;
    fc_pool_strip strip = {
        .x_row = pass->x.stride[2],
        .top = block->row * p->stride_h - p->pad_top,
        .height = p->h,
        .rows = block->row_end - block->row,
        .stride_h = p->stride_h,
        .taps_h = p->kh,
        .tap_h = p->dilation_h,
        .argument_h = p->dilation_h * p->w,
        .argument_w = kept ? 1 : p->dilation_w,
        .dy_row = pass->dy.stride[2],
        .index_row = p->stride_h * p->w,
        .counted_h = pass->counted_h ? pass->counted_h + block->row : NULL,
    };
    if (kept)
        strip.kept = *kept;
    return strip;
}

/* Where a strip writes: at y elements of the output, or at `scratch` of what is kept; n, c, row and column say what of
 * dy. */
static void place(const fc_pool_pass *pass, const fc_pool_scratch *kept, fc_pool_strip *strip, ptrdiff_t y,
                  ptrdiff_t scratch, const ptrdiff_t dy[4])
{
    if (!kept) {
        strip->y = at(pass, pass->y, y);
        strip->index = pass->index ? pass->index + y : NULL;
        return;
    }
    const ptrdiff_t *stride = pass->dy.stride;
    strip->dy = at(pass, pass->dy.data, dy[0] * stride[0] + dy[1] * stride[1] + dy[2] * stride[2] + dy[3] * stride[3]);
    strip->kept.gradient = at(pass, kept->gradient, scratch);
    strip->kept.tap = kept->tap ? at(pass, kept->tap, scratch) : NULL;
}

/* Lanes along the columns: strips alike follow each other through the planes of the block, or along its one plane. */
static void strips_of_planes(const fc_pool_pass *pass, const fc_pool_block *block, const fc_pool_scratch *kept,
                             void (*kernel)(const fc_pool_strip *strip))
{
    const fc_pool *p = pass->p;
    const ptrdiff_t lanes = pass->kernels->lanes, *stride = pass->x.stride;
    const ptrdiff_t reach = (lanes - 1) * p->stride_w + (p->kw - 1) * p->dilation_w;
    fc_pool_strip strip = strip_of(pass, block, kept);
    strip.x = at(pass, pass->x.data, block->n * stride[0] + block->c * stride[1]);
    strip.columns = p->w;
    strip.lane_step = p->stride_w;
    strip.tap_w = strip.tap_column = p->dilation_w;
    strip.y_row = p->ow;
    strip.index_lane = p->stride_w;
    strip.counted_step = 1;
    strip.pair = kept ? kept->pair : block->planes > 1 && fc_pool_pairs(pass);
    const char *image = strip.x;
    for (ptrdiff_t begin = 0; begin < p->ow; begin += lanes * (block->planes == 1 ? strip.count : 1)) {
        /* The last vector ends at the last output, over some of the one before; what is added to is kept apart. */
        const ptrdiff_t j = p->ow - begin < lanes && !kept ? fc_max(0, p->ow - lanes) : begin;
        strip.lanes = (int)fc_min(lanes, p->ow - j);
        const ptrdiff_t column = j * p->stride_w - p->pad_left;
        strip.whole = strip.lanes == lanes && column >= 0 && column + reach < p->w;
        /* Of many taps those that no lane has inside are left out: with padding there may be any number of them. */
        const ptrdiff_t last = column + (strip.lanes - 1) * p->stride_w;
        strip.tap_first = p->kw > 3 ? clip(last, p->kw, p->dilation_w, p->w).first : 0;
        strip.taps_w = (p->kw > 3 ? clip(column, p->kw, p->dilation_w, p->w).end : p->kw) - strip.tap_first;
        strip.column = column + strip.tap_first * p->dilation_w;
        strip.count = block->planes;
        strip.x_next = stride[1];
        strip.y_next = p->oh * p->ow;
        strip.dy_next = pass->dy.stride[1];
        strip.kept.next = kept ? kept->next : 0;
        strip.index_next = 0;
        if (block->planes == 1) {
            const ptrdiff_t inside = strip.whole ? (p->w - 1 - reach - column) / (lanes * p->stride_w) + 1 : 1;
            strip.count = fc_max(1, fc_min(inside, (p->ow - j) / lanes));
            strip.x_next = strip.index_next = lanes * p->stride_w;
            strip.y_next = strip.dy_next = strip.kept.next = lanes;
        }
        if (!strip.whole)
            for (int i = 0; i < strip.lanes; i++)
                strip.first[i] =
                    clip(column + i * p->stride_w, p->kw, p->dilation_w, p->w).first * strip.argument_w;
        strip.x = image;
        strip.index_first = strip.top * p->w + column;
        strip.counted_w = pass->counted_w ? pass->counted_w + j : NULL;
        place(pass, kept, &strip, ((block->n * p->c + block->c) * p->oh + block->row) * p->ow + j, j,
              (ptrdiff_t[]){block->n, block->c, block->row, j});
        kernel(&strip);
    }
}

/* Lanes along the channels, which with NCHW lie planes apart: each column of the output has its own taps. */
static void strips_of_pixels(const fc_pool_pass *pass, const fc_pool_block *block, const fc_pool_scratch *kept,
                             void (*kernel)(const fc_pool_strip *strip))
{
    const fc_pool *p = pass->p;
    const ptrdiff_t lanes = pass->kernels->lanes, *stride = pass->x.stride;
    fc_pool_strip strip = strip_of(pass, block, kept);
    strip.lane_step = stride[1] == 1 || p->c == 1 ? 1 : stride[1];
    strip.tap_w = p->dilation_w * (p->w == 1 ? 1 : stride[3]);
    strip.x_next = lanes * strip.lane_step;
    strip.y_next = lanes;
    strip.y_row = p->ow * p->c;
    strip.dy_next = lanes;
    for (ptrdiff_t j = 0; j < p->ow; j++) {
        const ptrdiff_t column = j * p->stride_w - p->pad_left;
        const axis_taps taps = clip(column, p->kw, p->dilation_w, p->w);
        strip.tap_first = taps.first;
        strip.taps_w = taps.end - taps.first;
        strip.index_first = strip.top * p->w + column;
        strip.counted_w = pass->counted_w ? pass->counted_w + j : NULL;
        for (ptrdiff_t begin = 0; begin < block->planes; begin += lanes * strip.count) {
            const ptrdiff_t c = block->c + begin;
            strip.lanes = (int)fc_min(lanes, block->planes - begin);
            strip.whole = strip.lanes == lanes;
            strip.count = strip.whole ? (block->planes - begin) / lanes : 1;
            strip.columns = strip.lanes * strip.lane_step;
            for (int i = 0; i < strip.lanes; i++)
                strip.first[i] = taps.first * strip.argument_w;
            strip.x = at(pass, pass->x.data, block->n * stride[0] + c * stride[1] +
                                                 (column + taps.first * p->dilation_w) * stride[3]);
            place(pass, kept, &strip, ((block->n * p->oh + block->row) * p->ow + j) * p->c + c,
                  kept ? begin / lanes * kept->next + j * lanes : 0, (ptrdiff_t[]){block->n, c, block->row, j});
            kernel(&strip);
        }
    }
}

void fc_pool_strips(const fc_pool_pass *pass, const fc_pool_block *block, const fc_pool_scratch *kept,
                    void (*kernel)(const fc_pool_strip *strip))
{
    /* One window a plane: in both layouts the outputs lie channel by channel. */
    const int single = !kept && pass->p->oh == 1 && pass->p->ow == 1;
    if (pass->p->layout == FC_NHWC || single)
        strips_of_pixels(pass, block, kept, kernel);
    else
        strips_of_planes(pass, block, kept, kernel);
}
