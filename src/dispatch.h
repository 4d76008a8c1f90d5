/* The chosen table of kernels. */
#ifndef FC_DISPATCH_H
#define FC_DISPATCH_H

#include "fastconv.h"
#include "kernels/kernels.h"

const fc_kernels *fc_kernels_for(fc_dtype dtype);

/* How often a vector passes through the CPU's units, two of which take multiply-adds: for estimates. */
int fc_vector_passes(void);

#endif
