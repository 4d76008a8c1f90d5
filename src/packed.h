/* Weights that outlive a call. */
#ifndef FC_PACKED_H
#define FC_PACKED_H

#include "correlation.h"

/* Sets c->packed to the weights of c in this packing, which is done now if it was not before; an algorithm that reads
 * weights where they are has none. */
fc_status fc_hold_weights(fc_packed *packed, const fc_packing *packing, fc_correlation *c, int threads);

#endif
