/* Every block size and threshold of the drivers, with the cache or measurement it comes from. */
#ifndef FC_BLOCKING_H
#define FC_BLOCKING_H

/* Steps of a reduction between two visits of C. A panel of B of this depth is 32 KiB with AVX-512 (16 KiB with AVX2):
 * it stays in L1 while the panels of A stream past it. It also bounds the length of a rounding chain. */
enum { FC_DEPTH_BLOCK = 256 };

/* Packed block of B, and of A where it is packed in the loop: together about half of a 1 MiB L2. */
enum { FC_B_BLOCK_BYTES = 320 << 10, FC_A_BLOCK_BYTES = 192 << 10 };

/* A block of C that cannot be stored where it belongs until it is finished (strided outputs). */
enum { FC_C_BLOCK_BYTES = 2 << 20 };

/* Winograd: the products of a block of tiles with one panel of filters (half of an L2; a block of transformed filters is
 * most of the other half); the transformed image, read from L3 once for each panel of filters; packed filters ready to
 * be transformed (L1); channels that one task transforms of a shared image. The products are added to memory more often than
 * elsewhere, for their terms are larger than the result: a quarter of the error. */
enum { FC_WINOGRAD_PRODUCT_BYTES = 512 << 10, FC_WINOGRAD_IMAGE_BYTES = 8 << 20, FC_WINOGRAD_PACK_BYTES = 16 << 10 };
enum { FC_WINOGRAD_DEPTH_BLOCK = 64, FC_WINOGRAD_CHUNK = 16, FC_WINOGRAD_SMALL_SCRATCH = 2 << 20 };

/* Transformed filters that are written once and read by every block of tiles, rather than transformed again by each. */
enum { FC_WINOGRAD_FILTER_BYTES = 16 << 20 };

/* Padded image block of the direct kernels, read by every panel of weights: a part of L2. */
enum { FC_IMAGE_BLOCK_BYTES = 256 << 10 };

/* Scratch a thread may take; direct and Winograd refuse a problem that needs more, im2col always fits its blocks. */
enum { FC_SCRATCH_LIMIT = 16 << 20 };

/* Partial weight gradients: how many chunks the reduction is split into at most, and their bytes in sum. More chunks
 * serve more threads, but each is a pass over dw. */
enum { FC_PARTIAL_CHUNKS = 16, FC_PARTIAL_BYTES = 8 << 20 };

#endif
