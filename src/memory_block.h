/* Aligned blocks that know their size, in huge pages where they are large: what scratch and large outputs are kept in. */
#ifndef FC_MEMORY_BLOCK_H
#define FC_MEMORY_BLOCK_H

#include <stddef.h>

/* At least `bytes`, aligned to a page; NULL if there is no memory. */
void *fc_block_new(size_t bytes);
/* What a new block for `bytes` holds. */
size_t fc_block_room(size_t bytes);
void fc_block_free(void *block);
size_t fc_block_bytes(const void *block);

#endif
