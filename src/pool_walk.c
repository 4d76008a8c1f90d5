#include "pool_walk.h"

/* The taps of one window along one axis: those inside the input, and how many are inside the padded input. */
typedef struct {
    ptrdiff_t first, taps, padded;
} axis_window;

static axis_window clip(ptrdiff_t start, ptrdiff_t kernel, ptrdiff_t dilation, ptrdiff_t in, ptrdiff_t after)
{
    const ptrdiff_t skipped = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const ptrdiff_t inside = in - start <= 0 ? 0 : (in - start + dilation - 1) / dilation;
    const ptrdiff_t padded = (in + after - start + dilation - 1) / dilation;
    const ptrdiff_t end = inside < kernel ? inside : kernel;
    return (axis_window){start + skipped * dilation, end - skipped, padded < kernel ? padded : kernel};
}

void fc_walk_pool(const fc_pool *p, ptrdiff_t begin, ptrdiff_t end, int single, fc_visit_span visit, void *context)
{
    const ptrdiff_t reach = (p->kw - 1) * p->dilation_w;
    for (ptrdiff_t i = begin; i < end; i++) {
        const axis_window h = clip(i * p->stride_h - p->pad_top, p->kh, p->dilation_h, p->h, p->pad_bottom);
        for (ptrdiff_t j = 0; j < p->ow;) {
            const ptrdiff_t start = j * p->stride_w - p->pad_left;
            const axis_window w = clip(start, p->kw, p->dilation_w, p->w, p->pad_right);
            ptrdiff_t width = 1;
            /* From a whole window on, all windows are whole up to the last that ends inside the input. */
            if (!single && w.taps == p->kw) {
                const ptrdiff_t whole = (p->w - 1 - reach - start) / p->stride_w + 1;
                width = whole < p->ow - j ? whole : p->ow - j;
            }
            const fc_pool_span span = {i, j, width, h.first, w.first, h.taps, w.taps, h.padded * w.padded};
            visit(context, &span);
            j += width;
        }
    }
}

ptrdiff_t fc_pool_row_blocks(const fc_pool *p, ptrdiff_t planes, int threads)
{
    if (planes >= 4 * (ptrdiff_t)threads)
        return 1;
    const ptrdiff_t wanted = (4 * threads + planes - 1) / planes;
    return wanted < p->oh ? wanted : p->oh;
}

double fc_pool_seconds(const fc_pool *p)
{
    return 0.3e-9 * (double)(p->n * p->c) * ((double)(p->h * p->w) + (double)(p->oh * p->ow) * (double)(p->kh * p->kw));
}
