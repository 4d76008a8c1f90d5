/* im2col for images of a few output pixels. */
#ifndef FC_CONV_IM2COL_PIXEL_H
#define FC_CONV_IM2COL_PIXEL_H

#include "correlation.h"

int fc_serves_few_pixels(const fc_correlation *c);
double fc_few_pixels_cycles(const fc_correlation *c);
void fc_correlate_few_pixels(const fc_correlation *c, int threads, fc_workspace *workspace);

#endif
