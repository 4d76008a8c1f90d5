/* The input gradient as a product of all taps, and sums of what reaches a pixel (col2im). */
#ifndef FC_CONV_IM2COL_TRANSPOSED_H
#define FC_CONV_IM2COL_TRANSPOSED_H

#include "correlation.h"

/* Of a phase of an input gradient. */
int fc_serves_transposed(const fc_correlation *c);
double fc_transposed_cycles(const fc_correlation *c);
/* All phases at once. */
void fc_transposed_operate(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                           fc_workspace *workspace);

#endif
