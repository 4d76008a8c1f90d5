/* Scratch memory: one aligned block a call, cut into pieces in the order in which they are asked for. */
#ifndef FC_WORKSPACE_H
#define FC_WORKSPACE_H

#include <stddef.h>

/* A driver lays its pieces out in the memory at `base`. Where that is NULL, or where `room` turns out too little and it
 * becomes NULL, sizes are only added up, for the driver to be called again with enough. */
typedef struct {
    char *base;
    size_t used, room;  /* bytes; no room given: enough */
} fc_workspace;

/* `bytes` of scratch aligned to a cache line; NULL while sizes are added up. */
void *fc_take(fc_workspace *workspace, size_t bytes);

/* A block from the pool or from the system; NULL if there is none. Hand it back on every path. */
void *fc_workspace_acquire(size_t bytes);
/* The memory of a block from the pool, whatever its size; none if the pool is empty. */
fc_workspace fc_workspace_kept(void);
void fc_workspace_release(void *block);

#endif
