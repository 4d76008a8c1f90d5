/* The weight gradient of a 1x1 kernel on NHWC: x and dy have a row for each pixel, which is what panels have for each step.
 * Nothing is packed.
 *
 * Some steps of both stay in L2 while all panels pass. Where rows are long, a panel is lines so far apart that no
 * prefetcher follows them: what the next steps read is asked for in the order of memory.
 */
#include "conv_im2col_rows.h"

#include <math.h>

#include "blocking.h"
#include "im2col.h"

/* Between the pixels of a row. */
static ptrdiff_t x_step(const fc_correlation *c) { return c->stride_w * c->x_w; }

/* Pixels of so many rows that follow each other at the same step. */
static ptrdiff_t pixels_of_run(const fc_correlation *c, ptrdiff_t rows)
{
    return fc_rows_follow(c) && (c->oh == 1 || c->y_h == c->ow * c->y_w) ? rows * c->ow : c->ow;
}

int fc_serves_rows(const fc_correlation *c)
{
    return fc_pixels_are_rows(c) && c->y_c == 1 && c->x_w > 0 && c->y_w > 0 &&
           pixels_of_run(c, c->oh) >= FC_GRADIENT_RUN;
}

double fc_rows_cycles(const fc_correlation *c, const fc_gemm *gemm)
{
    const double calls = (double)(fc_a_panels(gemm) * fc_b_panels(gemm)) *
                         (double)fc_ceil_div(gemm->k, fc_min(FC_GRADIENT_STEPS, pixels_of_run(c, c->oh)));
    const double images = (double)(c->n * c->groups), bytes = (double)((c->q + c->m) * (ptrdiff_t)c->element);
    /* Of each group a pixel is other lines. */
    const double lines = c->groups > 1 ? 10 * (double)gemm->k : 0;
    /* A panel's 64 bytes of a pixel lie in two lines, as 128 do in three. */
    const double step = fc_vectors_are_narrow(c) ? 1.3 : 1.08;
    const double products = images * (step * fc_gemm_cycles(gemm) + 60 * calls + lines);
    return fmax(products, 0.2 * (images * (double)gemm->k * bytes - FC_FAR_BYTES));
}

/* What is not yet asked for of the next steps. */
typedef struct {
    const char *x, *x_end, *dy, *dy_end;
} next_steps;

/* The next so many bytes, or NULL. */
static const char *ask_for(next_steps *next, ptrdiff_t bytes)
{
    const char **from = next->x < next->x_end ? &next->x : &next->dy, *ask = *from;
    if (ask >= (from == &next->x ? next->x_end : next->dy_end))
        return NULL;
    *from += bytes;
    return ask;
}

/* Steps of a run. Whole vectors of dy are read: into the next pixel, but for the last of a run, which are copied. */
static void multiply_steps(const fc_correlation *c, const fc_gemm *gemm, const char *x, const char *dy, fc_tile *tile,
                           const fc_panel_ranges *of, int copies, char *copied)
{
    const fc_kernels *kernels = c->kernels;
    const ptrdiff_t width = kernels->tile_columns, lanes = kernels->lanes, element = (ptrdiff_t)c->element;
    const ptrdiff_t x_bytes = tile->depth * tile->a_step * element, dy_bytes = tile->depth * c->y_w * element;
    const int asks = c->groups == 1 && fc_max(tile->a_step, c->y_w) * element >= FC_ASKED_ROW_BYTES;
    next_steps next = {x + x_bytes, x + 2 * x_bytes, dy + dy_bytes, dy + 2 * dy_bytes};
    const fc_parts panels = fc_a_panel_rows(gemm);
    for (ptrdiff_t b = of->b0; b < of->b1; b++) {
        const ptrdiff_t column = b * width;
        tile->columns = (int)fc_min(width, gemm->n - column);
        tile->b = fc_at(c, dy, column);
        tile->ldb = c->y_w;
        if (copies && tile->columns % lanes) {
            const fc_run run = {0, 0, tile->columns};
            kernels->pack_runs(copied, width, tile->b, c->y_w, 1, tile->depth, &run, 1, width);
            tile->b = copied;
            tile->ldb = width;
        }
        for (ptrdiff_t a = of->a0; a < of->a1; a++) {
            const ptrdiff_t channel = fc_part_begin(panels, a);
            tile->rows = (int)(fc_part_begin(panels, a + 1) - channel);
            tile->a = fc_at(c, x, channel);
            tile->c = fc_at(c, gemm->c, channel * gemm->ldc + column);
            tile->ask_step = tile->columns > lanes ? 2 * lanes : lanes;
            tile->ask = asks ? ask_for(&next, tile->depth * tile->ask_step * element) : NULL;
            if (!tile->ask) {
                tile->ask = tile->b;
                tile->ask_step = 0;
            }
            kernels->gemm_tile(tile);
        }
    }
}

void fc_multiply_rows(const fc_correlation *c, const fc_gemm *gemm, const char *x, const char *dy, ptrdiff_t rows,
                      const fc_panel_ranges *of, char *scratch)
{
    const ptrdiff_t run = pixels_of_run(c, rows), lanes = c->kernels->lanes;
    const ptrdiff_t behind = (lanes - gemm->n % lanes) % lanes, copied = fc_min(run, fc_ceil_div(behind, c->y_w));
    fc_tile tile = {.a_step = x_step(c), .ldc = gemm->ldc, .accumulate = gemm->accumulate};
    x = fc_at(c, x, c->tap[0].h * c->x_h + c->tap[0].w * c->x_w);
    for (ptrdiff_t row = 0; row < rows; row += run / c->ow)
        for (ptrdiff_t k = 0; k < run; k += tile.depth) {
            const int copies = k == run - copied;
            tile.depth = copies ? copied : fc_min(FC_GRADIENT_STEPS, run - copied - k);
            multiply_steps(c, gemm, fc_at(c, x, row * c->stride_h * c->x_h + k * tile.a_step),
                           fc_at(c, dy, row * c->y_h + k * c->y_w), &tile, of, copies, scratch);
            tile.accumulate = 1;
        }
}
