/* Weights packed once and kept, for callers that convolve with the same filters again. */
#include "packed.h"

#include <stdlib.h>

#include "pack_weights.h"

fc_status fc_pack_weights(const fc_conv *conv, const void *w, int threads, fc_packed **packed)
{
    fc_correlation c;
    fc_tap *tap = malloc((size_t)(conv->kh * conv->kw) * sizeof *tap);
    *packed = malloc(sizeof **packed);
    if (!tap || !*packed) {
        free(tap);
        free(*packed);
        *packed = NULL;
        return FC_NO_MEMORY;
    }
    const fc_view none = {NULL, {0}};
    fc_correlation_of(conv, FC_FORWARD, 0, none, w, none, tap, &c);
    const fc_lanes lanes = fc_lanes_of_packed(&c);
    const size_t bytes = (size_t)c.groups * fc_packed_group_bytes(&c, lanes);
    **packed = (fc_packed){c.kernels, lanes, c.groups, c.m, c.q, c.taps, NULL};
    (*packed)->panels = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if ((*packed)->panels)
        fc_pack_all_weights(&c, lanes, threads, (*packed)->panels);
    free(tap);
    if ((*packed)->panels)
        return FC_OK;
    fc_free_packed(*packed);
    *packed = NULL;
    return FC_NO_MEMORY;
}

void fc_free_packed(fc_packed *packed)
{
    if (packed)
        free(packed->panels);
    free(packed);
}

const char *fc_panels_for(const fc_packed *packed, const fc_correlation *c)
{
    const int fits = packed && packed->kernels == c->kernels && packed->lanes == fc_lanes_of_packed(c) &&
                     packed->groups == c->groups && packed->m == c->m && packed->q == c->q && packed->taps == c->taps;
    return fits ? packed->panels : NULL;
}
