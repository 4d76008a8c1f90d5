/* im2col for images of a few output pixels. */
#ifndef FC_CONV_IM2COL_INNER_H
#define FC_CONV_IM2COL_INNER_H

#include "correlation.h"

int fc_serves_inner(const fc_correlation *c);
double fc_inner_cycles(const fc_correlation *c);
void fc_multiply_inner(const fc_correlation *c, int threads, fc_workspace *workspace);

#endif
