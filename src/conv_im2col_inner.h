/* im2col as inner products: images of a few output pixels, and few filters of pixels that are rows. */
#ifndef FC_CONV_IM2COL_INNER_H
#define FC_CONV_IM2COL_INNER_H

#include "correlation.h"

int fc_serves_inner(const fc_correlation *c);
double fc_inner_cycles(const fc_correlation *c);
void fc_multiply_inner(const fc_correlation *c, int threads, fc_workspace *workspace);

#endif
