/* Gathering through the im2col map, by runs of pixels that lie side by side in the image. */
#include "im2col.h"

#include "blocking.h"

static ptrdiff_t floor_div(ptrdiff_t a, ptrdiff_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

void fc_valid_outputs(ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t offset, ptrdiff_t size, ptrdiff_t *begin,
                      ptrdiff_t *end)
{
    *begin = fc_min(outputs, fc_max(0, -floor_div(offset, stride)));
    *end = fc_max(*begin, fc_min(outputs, floor_div(size - 1 - offset, stride) + 1));
}

/* The pixels of the panel that lie side by side in one row of the image. */
static int find_runs(const fc_correlation *c, ptrdiff_t t, ptrdiff_t first, ptrdiff_t pixels, fc_run *run)
{
    int runs = 0;
    ptrdiff_t begin, end;
    fc_valid_outputs(c->ow, c->stride_w, c->tap[t].w, c->w, &begin, &end);
    ptrdiff_t row = first / c->ow, column = first % c->ow;
    for (ptrdiff_t p = 0; p < pixels; row++, column = 0) {
        const ptrdiff_t in_row = fc_min(c->ow - column, pixels - p);
        const ptrdiff_t h = row * c->stride_h + c->tap[t].h;
        const ptrdiff_t from = fc_max(column, begin), to = fc_min(column + in_row, end);
        if (h >= 0 && h < c->h && from < to) {
            const ptrdiff_t w = from * c->stride_w + c->tap[t].w;
            const fc_run next = {p + from - column, h * c->x_h + w * c->x_w, to - from};
            fc_run *last = runs ? &run[runs - 1] : NULL;
            if (last && last->to + last->count == next.to && last->from + last->count * c->stride_w * c->x_w == next.from)
                last->count += next.count;
            else
                run[runs++] = next;
        }
        p += in_row;
    }
    return runs;
}

/* Cuts runs at the borders of vectors. */
static void cut_runs(const fc_run *run, int runs, int lanes, int vectors, fc_piece *piece, int *first_piece)
{
    int pieces = 0, next = 0;
    for (int j = 0; j < vectors; j++) {
        const ptrdiff_t begin = (ptrdiff_t)j * lanes, end = begin + lanes;
        first_piece[j] = pieces;
        for (int r = next; r < runs && run[r].to < end; r++) {
            const ptrdiff_t low = fc_max(run[r].to, begin), high = fc_min(run[r].to + run[r].count, end);
            const uint32_t bits = ((1u << (high - low)) - 1) << (low - begin);
            piece[pieces++] = (fc_piece){run[r].from + begin - run[r].to, bits};
            next = high == run[r].to + run[r].count ? r + 1 : r;
        }
    }
    first_piece[vectors] = pieces;
}

void fc_gather_pixels(const fc_correlation *c, const char *x, ptrdiff_t t, ptrdiff_t first, ptrdiff_t pixels, char *dst,
                      ptrdiff_t dst_step, ptrdiff_t count, int exact)
{
    enum { FEWEST_LANES = 2 };
    fc_run run[FC_DEPTH_BLOCK];
    fc_piece piece[FC_DEPTH_BLOCK + FC_DEPTH_BLOCK / FEWEST_LANES];
    int first_piece[FC_DEPTH_BLOCK / FEWEST_LANES + 1];
    const int runs = find_runs(c, t, first, pixels, run), lanes = c->kernels->lanes;
    const int vectors = (int)fc_ceil_div(pixels, lanes);
    if (c->stride_w == 1 && c->x_w == 1 && !exact) {
        cut_runs(run, runs, lanes, vectors, piece, first_piece);
        c->kernels->pack_pieces(dst, dst_step, x, c->x_c, count, piece, first_piece, vectors);
    } else {
        ptrdiff_t covered = 0;
        for (int r = 0; r < runs; r++)
            covered += run[r].count;
        const ptrdiff_t width = exact ? pixels : (ptrdiff_t)vectors * lanes;
        c->kernels->pack_runs(dst, dst_step, x, c->x_c, c->stride_w * c->x_w, count, run, runs,
                              covered < width ? width : 0);
    }
}
