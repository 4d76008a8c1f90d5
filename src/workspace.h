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

/* From one thread's scratch to the next's. A core fetches what it guesses that its thread will write next: after some
 * planes of an image block those that would follow, 128 KiB ahead. Where these are the next thread's, its lines are taken from
 * it again and again, and on cores that are far from each other two threads took as long as one (1.9 times faster with
 * the gap; 64 KiB 1.3 times). */
enum { FC_SCRATCH_GAP = 256 << 10 };
static inline size_t fc_scratch_step(size_t bytes, int threads) { return threads > 1 ? bytes + FC_SCRATCH_GAP : bytes; }

/* Numbers between two that threads write by turns: a pair of lines. */
enum { FC_THREAD_NUMBERS = 128 / sizeof(ptrdiff_t) };

/* Scratch of so many bytes for each thread; `bytes` becomes the step to the next thread's. */
void *fc_take_scratch(fc_workspace *workspace, int threads, size_t *bytes);

/* A block from the pool or from the system; NULL if there is none. Hand it back on every path. */
void *fc_workspace_acquire(size_t bytes);
/* The memory of a block from the pool, whatever its size; none if the pool is empty. */
fc_workspace fc_workspace_kept(void);
void fc_workspace_release(void *block);

#endif
