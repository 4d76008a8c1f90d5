/* Weights packed once and kept, for callers that convolve with the same filters again. */
#include "packed.h"

#include <stdatomic.h>
#include <stdlib.h>

/* One packing of the weights for one ISA. */
typedef struct panels {
    struct panels *next;
    const fc_packing *packing;
    const fc_kernels *kernels;
    char *data;
} panels;

/* A list that only grows: threads that call at once read it without a lock. */
struct fc_packed {
    _Atomic(panels *) first;
};

fc_packed *fc_packed_new(void) { return calloc(1, sizeof(fc_packed)); }

static void free_panels(panels *p)
{
    if (p)
        free(p->data);
    free(p);
}

void fc_packed_free(fc_packed *packed)
{
    if (!packed)
        return;
    for (panels *p = atomic_load(&packed->first), *next; p; p = next) {
        next = p->next;
        free_panels(p);
    }
    free(packed);
}

static panels *pack(const fc_packing *packing, const fc_correlation *c, int threads)
{
    const size_t bytes = packing->bytes(c);
    panels *p = malloc(sizeof *p);
    if (p)
        *p = (panels){NULL, packing, c->kernels, aligned_alloc(64, (bytes + 63) / 64 * 64)};
    if (!p || !p->data) {
        free_panels(p);
        return NULL;
    }
    packing->pack(c, threads, p->data);
    return p;
}

fc_status fc_hold_weights(fc_packed *packed, const fc_packing *packing, fc_correlation *c, int threads)
{
    if (!packing)
        return FC_OK;
    panels *fresh = NULL, *first = atomic_load(&packed->first);
    for (;;) {
        for (const panels *p = first; p; p = p->next)
            if (p->packing == packing && p->kernels == c->kernels) {
                /* Another thread may have packed the same meanwhile. */
                free_panels(fresh);
                c->packed = p->data;
                return FC_OK;
            }
        if (!fresh)
            fresh = pack(packing, c, threads);
        if (!fresh)
            return FC_NO_MEMORY;
        fresh->next = first;
        if (atomic_compare_exchange_strong(&packed->first, &first, fresh)) {
            c->packed = fresh->data;
            return FC_OK;
        }
    }
}
