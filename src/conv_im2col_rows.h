/* Products of the weight gradient whose operands are read where they lie: of a 1x1 kernel on NHWC. */
#ifndef FC_CONV_IM2COL_ROWS_H
#define FC_CONV_IM2COL_ROWS_H

#include "gemm.h"

/* Panels [a0, a1) of A and [b0, b1) of B. */
typedef struct {
    ptrdiff_t a0, a1, b0, b1;
} fc_panel_ranges;

/* Whether a pixel's channels lie side by side in x and in dy, pixel by pixel at a fixed step for long enough. */
int fc_serves_rows(const fc_correlation *c);
/* On one thread. */
double fc_rows_cycles(const fc_correlation *c, const fc_gemm *gemm);
/* Some panels of C = x^T · dy over some rows of an image's group, which x and dy are; `scratch` has room for a panel of
 * a depth block. */
void fc_multiply_rows(const fc_correlation *c, const fc_gemm *gemm, const char *x, const char *dy, ptrdiff_t rows,
                      const fc_panel_ranges *of, char *scratch);

#endif
