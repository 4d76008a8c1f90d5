/* Memory of large outputs. The system hands pages out zeroed, one fault after the other, which takes longer than many a
 * layer: blocks of arrays that are gone are kept for the next ones, within a bound. */
#include <string.h>

#include "fastconv.h"
#include "memory_block.h"

enum { KEPT_BLOCKS = 16 };
static const size_t kept_bytes = (size_t)256 << 20;

/* Oldest first. Whoever calls holds the GIL, so that there is no lock. */
static void *kept[KEPT_BLOCKS];
static int kept_count;
static size_t kept_total;

static void *remove_kept(int i)
{
    void *block = kept[i];
    kept_total -= fc_block_bytes(block);
    kept_count--;
    memmove(kept + i, kept + i + 1, (size_t)(kept_count - i) * sizeof *kept);
    return block;
}

/* The smallest that is large enough, unless a quarter of it would lie idle that a new block would not have; or -1. */
static int find_kept(size_t bytes)
{
    const size_t room = fc_block_room(bytes);
    int found = -1;
    for (int i = 0; i < kept_count; i++) {
        const size_t held = fc_block_bytes(kept[i]);
        if (held >= bytes && held / 4 * 3 <= room && (found < 0 || held < fc_block_bytes(kept[found])))
            found = i;
    }
    return found;
}

void *fc_output_take(size_t bytes)
{
    const int i = find_kept(bytes);
    return i >= 0 ? remove_kept(i) : fc_block_new(bytes);
}

void fc_output_give(void *block)
{
    const size_t bytes = fc_block_bytes(block);
    if (bytes > kept_bytes) {
        fc_block_free(block);
        return;
    }
    while (kept_count == KEPT_BLOCKS || kept_total + bytes > kept_bytes)
        fc_block_free(remove_kept(0));
    kept[kept_count++] = block;
    kept_total += bytes;
}

void *fc_output_resize(void *block, size_t bytes)
{
    const size_t held = fc_block_bytes(block);
    void *resized = fc_output_take(bytes);
    if (resized) {
        memcpy(resized, block, bytes < held ? bytes : held);
        fc_output_give(block);
    }
    return resized;
}
