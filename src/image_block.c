#include "image_block.h"

#include "blocking.h"
#include "im2col.h"

void fc_image_block_resize(fc_image_block *b, const fc_correlation *c, ptrdiff_t rows)
{
    b->rows = rows;
    /* An odd number of cache lines a plane: channels must not share the sets of a cache. */
    const ptrdiff_t line = (ptrdiff_t)(64 / c->element);
    const double plane = ((double)(rows - 1) * (double)c->stride_h + (double)b->span_h + 1) * (double)b->phases *
                         (double)b->phase_length;
    b->plane = plane * (double)c->element > FC_SCRATCH_LIMIT
                   ? PTRDIFF_MAX
                   : (fc_ceil_div(((rows - 1) * c->stride_h + b->span_h + 1) * b->row_length, line) | 1) * line;
}

fc_image_block fc_image_block_for(const fc_correlation *c, ptrdiff_t rows)
{
    fc_image_block b = {.low_h = c->tap[0].h, .low_w = c->tap[0].w};
    ptrdiff_t high_h = b.low_h, high_w = b.low_w;
    for (ptrdiff_t t = 1; t < c->taps; t++) {
        b.low_h = fc_min(b.low_h, c->tap[t].h), high_h = fc_max(high_h, c->tap[t].h);
        b.low_w = fc_min(b.low_w, c->tap[t].w), high_w = fc_max(high_w, c->tap[t].w);
    }
    b.row_step = c->stride_h;
    for (ptrdiff_t t = 0; t < c->taps; t++)
        b.row_step = (c->tap[t].h - b.low_h) % c->stride_h == 0 ? b.row_step : 1;
    const ptrdiff_t lanes = c->kernels->lanes, span_w = high_w - b.low_w;
    b.span_h = high_h - b.low_h;
    b.phases = fc_min(c->stride_w, span_w + 1);
    /* Whole vectors are read, so rows end with the slack of one. */
    b.phase_length = fc_ceil_div(c->ow, lanes) * lanes + span_w / c->stride_w;
    b.row_length = b.phases * b.phase_length;
    fc_image_block_resize(&b, c, rows);
    return b;
}

int fc_image_block_overflows(const fc_image_block *b, const fc_correlation *c)
{
    return b->plane > (ptrdiff_t)(FC_SCRATCH_LIMIT / 2 / c->element);
}

ptrdiff_t fc_tap_offset(const fc_image_block *b, const fc_correlation *c, ptrdiff_t t)
{
    const ptrdiff_t h = c->tap[t].h - b->low_h, w = c->tap[t].w - b->low_w;
    return h * b->row_length + w % c->stride_w * b->phase_length + w / c->stride_w;
}

void fc_step_offsets(const fc_image_block *b, const fc_correlation *c, ptrdiff_t first, ptrdiff_t steps,
                     ptrdiff_t *offset)
{
    /* Divisions for the first of each tap only: small problems take as long as their offsets. */
    const ptrdiff_t origin = first % c->taps;
    for (ptrdiff_t i = 0; i < fc_min(steps, c->taps); i++)
        fc_offsets_of_tap(c, offset + i, steps - i,
                          (origin + i) / c->taps * b->plane + fc_tap_offset(b, c, (origin + i) % c->taps), b->plane);
}

/* Channels that lie side by side are turned to planes, a vector of them at a time. */
static void fill_from_channels(const fc_image_block *b, const fc_correlation *c, const char *x, ptrdiff_t channels,
                               ptrdiff_t first, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t block_rows, char *block)
{
    const fc_kernels *kernels = c->kernels;
    kernels->pack_runs(block, b->plane, x, 0, 1, channels, NULL, 0, block_rows * b->row_length);
    for (ptrdiff_t i = begin; i < end; i += b->row_step)
        for (ptrdiff_t f = 0; f < b->phases; f++) {
            ptrdiff_t from, to;
            fc_valid_outputs(b->phase_length, c->stride_w, b->low_w + f, c->w, &from, &to);
            const ptrdiff_t column = from * c->stride_w + b->low_w + f;
            if (from < to)
                kernels->pack_strided(fc_at(c, block, i * b->row_length + f * b->phase_length + from), 1, b->plane,
                                      fc_at(c, x, (first + i) * c->x_h + column * c->x_w), c->stride_w * c->x_w,
                                      to - from, channels);
        }
}

/* The columns of a phase that lie inside the image, and the first of them there. */
static fc_run run_of_phase(const fc_image_block *b, const fc_correlation *c, ptrdiff_t phase)
{
    ptrdiff_t from, to;
    fc_valid_outputs(b->phase_length, c->stride_w, b->low_w + phase, c->w, &from, &to);
    return (fc_run){from, from < to ? (from * c->stride_w + b->low_w + phase) * c->x_w : 0, to - from};
}

static int comes_from_afar(const fc_correlation *c)
{
    const double bytes = (double)(c->n * c->groups * c->q) * (double)(c->h * c->w) * (double)c->element;
    return c->x_w == 1 && bytes > FC_ASKED_COPY_BYTES;
}

/* While a channel's rows are copied, the next one's are asked for. */
static void ask_for_rows(const fc_correlation *c, const char *from, ptrdiff_t rows, ptrdiff_t step)
{
    for (ptrdiff_t i = 0; i < rows; i++, from = fc_at(c, from, step))
        for (ptrdiff_t at = 0; at < c->w * (ptrdiff_t)c->element; at += 64)
            __builtin_prefetch(from + at);
}

void fc_fill_image_block(const fc_image_block *b, const fc_correlation *c, const char *x, ptrdiff_t channels,
                         ptrdiff_t row, ptrdiff_t rows, char *block)
{
    const fc_kernels *kernels = c->kernels;
    const ptrdiff_t block_rows = (rows - 1) * c->stride_h + b->span_h + 1;
    const ptrdiff_t first = row * c->stride_h + b->low_h;
    /* Rows [begin, end) lie inside the image. */
    const ptrdiff_t begin = fc_min(block_rows, fc_ceil_div(fc_max(0, -first), b->row_step) * b->row_step);
    const ptrdiff_t end = fc_max(begin, fc_min(block_rows, c->h - first));
    const ptrdiff_t seen = fc_ceil_div(end - begin, b->row_step);
    if (c->x_c == 1 && c->x_w != 1) {
        fill_from_channels(b, c, x, channels, first, begin, end, block_rows, block);
        return;
    }
    if (fc_rows_are_narrow(b, c)) {
        const fc_image_rows narrow = {
            .channels = channels, .rows = seen, .x = fc_at(c, x, (first + begin) * c->x_h),
            .x_channel = c->x_c, .x_row = b->row_step * c->x_h, .width = c->w,
            .to = block, .plane = b->plane, .row_step = b->row_step * b->row_length,
            .zeros_before = begin * b->row_length, .end = end * b->row_length,
            .zeros_behind = (block_rows - end) * b->row_length,
            .phases = b->phases, .phase_length = b->phase_length, .stride = c->stride_w, .low = b->low_w,
        };
        kernels->image_rows(&narrow);
        return;
    }
    fc_run run = run_of_phase(b, c, 0);
    const int asks = channels > 1 && comes_from_afar(c);
    for (ptrdiff_t q = 0; q < channels; q++) {
        char *plane = fc_at(c, block, q * b->plane);
        if (asks && q + 1 < channels)
            ask_for_rows(c, fc_at(c, x, (q + 1) * c->x_c + (first + begin) * c->x_h), seen, b->row_step * c->x_h);
        if (begin > 0)
            kernels->pack_runs(plane, 0, x, 0, 1, 1, NULL, 0, begin * b->row_length);
        if (end < block_rows)
            kernels->pack_runs(fc_at(c, plane, end * b->row_length), 0, x, 0, 1, 1, NULL, 0,
                               (block_rows - end) * b->row_length);
        for (ptrdiff_t f = 0; f < b->phases && begin < end; f++) {
            if (b->phases > 1)
                run = run_of_phase(b, c, f);
            kernels->pack_runs(fc_at(c, plane, begin * b->row_length + f * b->phase_length), b->row_step * b->row_length,
                               fc_at(c, x, q * c->x_c + (first + begin) * c->x_h), b->row_step * c->x_h,
                               c->stride_w * c->x_w, seen, &run, 1, b->phase_length);
        }
    }
}
