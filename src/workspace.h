/* Scratch memory: one aligned block a call, cut into pieces in the order in which they are asked for. */
#ifndef FC_WORKSPACE_H
#define FC_WORKSPACE_H

#include <stddef.h>

/* A driver measures first (base NULL: sizes are only added up), then allocates, then lays the same pieces out. */
typedef struct {
    char *base;
    size_t used;
} fc_workspace;

/* `bytes` of scratch aligned to a cache line; NULL while measuring. */
void *fc_take(fc_workspace *workspace, size_t bytes);

/* A block from the pool or from the system; NULL if there is none. Hand it back on every path. */
void *fc_workspace_acquire(size_t bytes);
void fc_workspace_release(void *block);

#endif
