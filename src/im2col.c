/* Gathering through the im2col map, by runs of pixels that lie side by side in the image. */
#include "im2col.h"

static ptrdiff_t floor_div(ptrdiff_t a, ptrdiff_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

void fc_valid_outputs(ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t offset, ptrdiff_t size, ptrdiff_t *begin,
                      ptrdiff_t *end)
{
    *begin = fc_min(outputs, fc_max(0, -floor_div(offset, stride)));
    *end = fc_max(*begin, fc_min(outputs, floor_div(size - 1 - offset, stride) + 1));
}

void fc_gather_pixels(const fc_correlation *c, const char *x, ptrdiff_t t, ptrdiff_t first, ptrdiff_t pixels, char *dst,
                      ptrdiff_t dst_step, ptrdiff_t count, ptrdiff_t width)
{
    fc_run run[FC_GATHER_PIXELS];
    int runs = 0;
    ptrdiff_t covered = 0, begin, end;
    fc_valid_outputs(c->ow, c->stride_w, c->tap[t].w, c->w, &begin, &end);
    ptrdiff_t row = first / c->ow, column = first % c->ow;
    for (ptrdiff_t p = 0; p < pixels; row++, column = 0) {
        const ptrdiff_t in_row = fc_min(c->ow - column, pixels - p);
        const ptrdiff_t h = row * c->stride_h + c->tap[t].h;
        const ptrdiff_t from = fc_max(column, begin), to = fc_min(column + in_row, end);
        if (h >= 0 && h < c->h && from < to) {
            const ptrdiff_t w = from * c->stride_w + c->tap[t].w;
            run[runs++] = (fc_run){p + from - column, h * c->x_h + w * c->x_w, to - from};
            covered += to - from;
        }
        p += in_row;
    }
    c->kernels->pack_runs(dst, dst_step, x, c->x_c, c->stride_w * c->x_w, count, run, runs,
                          covered < width ? width : 0);
}
