/* What the direct algorithm takes from its weight gradient. */
#ifndef FC_CONV_DIRECT_H
#define FC_CONV_DIRECT_H

#include "correlation.h"

/* conv_direct_weight.c */
double fc_direct_weight_cycles(const fc_correlation *c);
void fc_direct_correlate_weights(const fc_correlation *c, int threads, fc_workspace *workspace);

#endif
