/* Fresh memory costs page faults on its first use, so blocks are kept for the next call, within a fixed bound. */
#include "workspace.h"

#include <stdatomic.h>

#include "memory_block.h"

enum {
    CACHE_LINE = 64,
    KEPT_BLOCKS = 4,            /* calls that run at once and still find a block */
};
static const size_t kept_bytes = (size_t)32 << 20; /* a larger block goes back to the system */

static _Atomic(void *) kept[KEPT_BLOCKS];

static size_t round_up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

void *fc_take(fc_workspace *workspace, size_t bytes)
{
    const size_t begin = workspace->used;
    /* An odd number of lines, so that equal pieces do not start at the same set of a cache. */
    workspace->used += round_up(bytes, 2 * CACHE_LINE) + CACHE_LINE;
    if (workspace->room && workspace->used > workspace->room)
        workspace->base = NULL;
    return workspace->base ? workspace->base + begin : NULL;
}

void *fc_take_scratch(fc_workspace *workspace, int threads, size_t *bytes)
{
    *bytes = fc_scratch_step(round_up(*bytes, CACHE_LINE), threads);
    return fc_take(workspace, (size_t)threads * *bytes);
}

fc_workspace fc_workspace_kept(void)
{
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        void *block = atomic_exchange(&kept[i], NULL);
        if (block)
            return (fc_workspace){.base = block, .room = fc_block_bytes(block)};
    }
    return (fc_workspace){0};
}

void *fc_workspace_acquire(size_t bytes)
{
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        void *block = atomic_exchange(&kept[i], NULL);
        if (block && fc_block_bytes(block) >= bytes)
            return block;
        if (block)
            fc_block_free(block);
    }
    return fc_block_new(bytes);
}

void fc_workspace_release(void *block)
{
    if (!block)
        return;
    if (fc_block_bytes(block) <= kept_bytes)
        for (int i = 0; i < KEPT_BLOCKS; i++) {
            void *none = NULL;
            if (atomic_compare_exchange_strong(&kept[i], &none, block))
                return;
        }
    fc_block_free(block);
}
