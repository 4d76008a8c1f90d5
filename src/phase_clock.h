/* How long kernels run, by what they are for: while the clock runs, calls take a table of kernels that read it. */
#ifndef FC_PHASE_CLOCK_H
#define FC_PHASE_CLOCK_H

#include "fastconv.h"
#include "kernels/kernels.h"

/* `kernels` themselves, or those that read the clock. */
const fc_kernels *fc_clocked_kernels(fc_dtype dtype, const fc_kernels *kernels);

#endif
