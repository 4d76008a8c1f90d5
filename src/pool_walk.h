/* Walking the windows of a pooling: runs of outputs whose windows are clipped alike. */
#ifndef FC_POOL_WALK_H
#define FC_POOL_WALK_H

#include "dispatch.h"

/* `width` outputs from column `column` of output row `row`, whose windows hold the input elements
 * (first_h + a*dilation_h, first_w + b*dilation_w + j*stride_w), a < taps_h, b < taps_w. */
typedef struct {
    ptrdiff_t row, column, width;
    ptrdiff_t first_h, first_w;
    ptrdiff_t taps_h, taps_w;
    ptrdiff_t padded_taps;  /* taps inside the padded input: average pooling's divisor with padding counted */
} fc_pool_span;

typedef void (*fc_visit_span)(void *context, const fc_pool_span *span);

/* Output rows [begin, end). With `single`, every span is one output wide. */
void fc_walk_pool(const fc_pool *pool, ptrdiff_t begin, ptrdiff_t end, int single, fc_visit_span visit, void *context);

/* How many blocks of rows a plane is split into, so that `planes` of them keep all threads busy. */
ptrdiff_t fc_pool_row_blocks(const fc_pool *pool, ptrdiff_t planes, int threads);
/* Estimated seconds of a pass on one thread. */
double fc_pool_seconds(const fc_pool *pool);

#endif
