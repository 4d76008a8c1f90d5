/* Fresh memory costs page faults on its first use, so blocks are kept for the next call, within a fixed bound. */
#define _GNU_SOURCE
#include "workspace.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum {
    CACHE_LINE = 64,
    PAGE = 4096,
    HUGE_PAGE = 2 << 20,
    KEPT_BLOCKS = 4,            /* calls that run at once and still find a block */
};
static const size_t kept_bytes = (size_t)32 << 20; /* a larger block goes back to the system */

typedef struct {
    size_t size;
} fc_block_header;

static _Atomic(void *) kept[KEPT_BLOCKS];

static size_t round_up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

static size_t size_of_block(const void *block) { return ((const fc_block_header *)((const char *)block - PAGE))->size; }

static void free_block(void *block) { free((char *)block - PAGE); }

void *fc_take(fc_workspace *workspace, size_t bytes)
{
    char *piece = workspace->base ? workspace->base + workspace->used : NULL;
    /* An odd number of lines, so that equal pieces do not start at the same set of a cache. */
    workspace->used += round_up(bytes, 2 * CACHE_LINE) + CACHE_LINE;
    return piece;
}

void *fc_workspace_acquire(size_t bytes)
{
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        void *block = atomic_exchange(&kept[i], NULL);
        if (block && size_of_block(block) >= bytes)
            return block;
        if (block)
            free_block(block);
    }
    if (bytes > SIZE_MAX / 2)
        return NULL;
    const size_t size = round_up(bytes + PAGE, bytes < HUGE_PAGE ? PAGE : HUGE_PAGE);
    char *raw = aligned_alloc(bytes < HUGE_PAGE ? PAGE : HUGE_PAGE, size);
    if (!raw)
        return NULL;
#if defined(__linux__)
    if (bytes >= HUGE_PAGE)
        madvise(raw, size, MADV_HUGEPAGE);
#endif
    ((fc_block_header *)raw)->size = size - PAGE;
    return raw + PAGE;
}

void fc_workspace_release(void *block)
{
    if (!block)
        return;
    if (size_of_block(block) <= kept_bytes)
        for (int i = 0; i < KEPT_BLOCKS; i++) {
            void *none = NULL;
            if (atomic_compare_exchange_strong(&kept[i], &none, block))
                return;
        }
    free_block(block);
}
