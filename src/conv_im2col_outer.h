/* im2col for few pixels, whose products are sums of outer products. */
#ifndef FC_CONV_IM2COL_OUTER_H
#define FC_CONV_IM2COL_OUTER_H

#include "gemm.h"

/* Weights that lie along y's channels, NHWC; any operation. */
int fc_serves_outer(const fc_correlation *c);
double fc_outer_cycles(const fc_correlation *c, fc_operation operation);
void fc_multiply_outer(const fc_correlation *c, fc_operation operation, int threads, fc_workspace *workspace);

#endif
