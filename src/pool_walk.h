/* What all pools share: windows along an axis, the grid of tasks, and strips of windows for the kernels. */
#ifndef FC_POOL_WALK_H
#define FC_POOL_WALK_H

#include "correlation.h"

/* What a pass reads and writes. The taps that a mean counts, for each row and each column of the output: or NULL. */
typedef struct {
    const fc_pool *p;
    const fc_kernels *kernels;
    size_t element;
    fc_view x, dy;
    char *y;
    int64_t *index;
    const double *counted_h, *counted_w;
    void (*forward)(const fc_pool_strip *strip);
} fc_pool_pass;

/* Planes [c, c + planes) of image n, with NHWC as many channels, and rows [row, row_end) of what is written. */
typedef struct {
    ptrdiff_t n, c, planes, row, row_end;
} fc_pool_block;

typedef void (*fc_visit_block)(void *context, const fc_pool_block *block, int thread);

/* Tasks are parts of all planes (with NHWC blocks of channels) or of their rows; each goes through its part in blocks
 * that a cache holds. */
typedef struct {
    const fc_pool *p;
    ptrdiff_t rows, planes, channel_blocks, plane_parts, row_parts;
    ptrdiff_t block_planes, block_rows;
    fc_visit_block visit;
    void *context;
} fc_pool_grid;

fc_pool_pass fc_pool_pass_of(const fc_pool *pool);
/* `rows` of the output or of dx, `row_bytes` of a plane touched for each; split as far as `threads` need. */
fc_pool_grid fc_pool_grid_of(const fc_pool *pool, ptrdiff_t rows, ptrdiff_t row_bytes, int threads);
/* That of a gradient, whose rows are those of dx; *threads as many as it keeps busy. */
fc_pool_grid fc_pool_backward_grid(const fc_pool_pass *pass, fc_visit_block visit, void *context, int *threads);
void fc_pool_run(const fc_pool_grid *grid, int threads);

/* Calls `kernel` for all strips of a block of the output; with `kept` it takes pass->dy and fills that. */
void fc_pool_strips(const fc_pool_pass *pass, const fc_pool_block *block, const fc_pool_scratch *kept,
                    void (*kernel)(const fc_pool_strip *strip));
/* Whether planes are narrow enough for two of them to share vectors. */
int fc_pool_pairs(const fc_pool_pass *pass);

/* Whether windows are 2x2 or 3x3 neighbours, 1 or 2 apart, in NCHW planes: kernels of their own go along the rows. */
int fc_pool_of_neighbours(const fc_pool_pass *pass);
/* The grid of such a kernel, which reads rows in order and once: a cache has nothing to keep, and a block is as large as
 * may be, for its edges are worked out once. */
void fc_pool_in_order(fc_pool_grid *grid);
/* Forward: by that kernel, for maxima or means, else by pass->forward. */
void fc_pool_forward(fc_pool_pass *pass, int threads);
/* pool_rows.c: a block of maxima or means over neighbours; the context is the pass. */
void fc_pool_rows_block(void *context, const fc_pool_block *block, int thread);
/* Gradient, gathered: of the maxima of pass->x, or with counted taps of means. */
fc_status fc_pool_backward(const fc_pool_pass *pass, void *dx, int threads);

/* The same of maxima over small windows of neighbours in NCHW planes, in one pass. */
int fc_pool_max_backward_serves(const fc_pool_pass *pass);
fc_status fc_pool_max_backward_run(const fc_pool_pass *pass, void *dx, int threads);

/* The taps of each window that a mean counts, oh + ow of them: with the padding, or of the input alone. */
void fc_pool_count(const fc_pool *pool, int count_include_pad, double *counted_h, double *counted_w);
/* Estimated seconds of a forward pass on one thread. */
double fc_pool_seconds(const fc_pool *pool);

#endif
