/* The size of a block lies a page before it. */
#define _GNU_SOURCE
#include "memory_block.h"

#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

typedef struct {
    size_t bytes;
} block_header;

static size_t unit_of(size_t bytes) { return bytes < HUGE_PAGE ? PAGE : HUGE_PAGE; }

size_t fc_block_room(size_t bytes)
{
    const size_t unit = unit_of(bytes);
    return (bytes + PAGE + unit - 1) / unit * unit - PAGE;
}

void *fc_block_new(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    const size_t room = fc_block_room(bytes), size = room + PAGE;
    char *raw = aligned_alloc(unit_of(bytes), size);
    if (!raw)
        return NULL;
#if defined(__linux__)
    if (bytes >= HUGE_PAGE)
        madvise(raw, size, MADV_HUGEPAGE);
#endif
    ((block_header *)raw)->bytes = room;
    return raw + PAGE;
}

void fc_block_free(void *block) { free((char *)block - PAGE); }

size_t fc_block_bytes(const void *block) { return ((const block_header *)((const char *)block - PAGE))->bytes; }
