/* Memory of large outputs. The system hands pages out zeroed, one fault after the other, which takes longer than many a
 * layer: blocks of arrays that are gone are kept for the next ones, within a bound. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "fastconv.h"

/* Data begins a page behind the block, whose capacity lies at its begin. */
enum { PAGE = 4096, HUGE_PAGE = 2 << 20, KEPT_BLOCKS = 16 };
static const size_t kept_bytes = (size_t)256 << 20;

typedef struct {
    size_t capacity;
} output_block;

/* Oldest first. Whoever calls holds the GIL, so that there is no lock. */
static output_block *kept[KEPT_BLOCKS];
static int kept_count;
static size_t kept_total;

static output_block *block_of(void *data) { return (output_block *)((char *)data - PAGE); }

static output_block *remove_kept(int i)
{
    output_block *block = kept[i];
    kept_total -= block->capacity;
    kept_count--;
    memmove(kept + i, kept + i + 1, (size_t)(kept_count - i) * sizeof *kept);
    return block;
}

/* The smallest that is large enough, unless a quarter of it would lie idle; or -1. */
static int find_kept(size_t bytes)
{
    int found = -1;
    for (int i = 0; i < kept_count; i++) {
        const size_t capacity = kept[i]->capacity;
        if (capacity >= bytes && capacity / 4 * 3 <= bytes && (found < 0 || capacity < kept[found]->capacity))
            found = i;
    }
    return found;
}

void *fc_output_take(size_t bytes)
{
    const int i = find_kept(bytes);
    if (i >= 0)
        return (char *)remove_kept(i) + PAGE;
    const size_t size = (bytes + PAGE + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    output_block *block = aligned_alloc(HUGE_PAGE, size);
    if (!block)
        return NULL;
#if defined(__linux__)
    madvise(block, size, MADV_HUGEPAGE);
#endif
    block->capacity = size - PAGE;
    return (char *)block + PAGE;
}

void fc_output_give(void *data)
{
    output_block *block = block_of(data);
    if (block->capacity > kept_bytes) {
        free(block);
        return;
    }
    while (kept_count == KEPT_BLOCKS || kept_total + block->capacity > kept_bytes)
        free(remove_kept(0));
    kept[kept_count++] = block;
    kept_total += block->capacity;
}

void *fc_output_resize(void *data, size_t bytes)
{
    const size_t capacity = block_of(data)->capacity;
    void *resized = fc_output_take(bytes);
    if (resized) {
        memcpy(resized, data, bytes < capacity ? bytes : capacity);
        fc_output_give(data);
    }
    return resized;
}
