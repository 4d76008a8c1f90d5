/* What fc_packed is: a block of panels and what they were made for. */
#ifndef FC_PACKED_H
#define FC_PACKED_H

#include "correlation.h"

struct fc_packed {
    const fc_kernels *kernels;
    fc_lanes lanes;
    ptrdiff_t groups, m, q, taps;
    char *panels;
};

/* The panels, if they fit the correlation; else NULL. */
const char *fc_panels_for(const fc_packed *packed, const fc_correlation *c);

#endif
