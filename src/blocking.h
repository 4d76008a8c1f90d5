/* Every block size and threshold of the drivers, with the cache or measurement it comes from. */
#ifndef FC_BLOCKING_H
#define FC_BLOCKING_H

/* Steps of a reduction between two visits of C. A panel of B of this depth is 64 KiB (AVX2: 32) and comes from L2 as fast as
 * it is used; with half the steps it stays in L1, but to begin and end tiles twice as often takes 2 to 7 % longer. It also
 * bounds the length of a rounding chain. */
enum { FC_DEPTH_BLOCK = 512 };

/* Packed block of B, and of A where it is packed in the loop: together two thirds of a 1 MiB L2. */
enum { FC_B_BLOCK_BYTES = 512 << 10, FC_A_BLOCK_BYTES = 192 << 10 };

/* A block of C that cannot be stored where it belongs until it is finished (strided outputs). */
enum { FC_C_BLOCK_BYTES = 2 << 20 };

/* Winograd: points of all tiles in a block, whose products with one panel of filters are half of an L2 (112 tiles of 36
 * points); channels between two visits of the products, whose transformed filters are the other half (it also bounds
 * the rounding chains, more than elsewhere, for their terms are larger than the result); packed filters ready to be
 * transformed, in L1: of one channel at least, which may have 144 taps of 128 bytes. Taps that lie apart are turned by
 * whole vectors of channels (5x5 1.5 to 1.7 times faster for it, 3x3 1.1 times). */
enum { FC_WINOGRAD_PRODUCTS = 4032, FC_WINOGRAD_DEPTH_BLOCK = 128 };
enum { FC_WINOGRAD_PACK_BYTES = 18 << 10, FC_WINOGRAD_APART_BYTES = 52 << 10 };

/* Where all transformed filters are few bytes, blocks pay little to read them again, and are smaller: the image stays in L2
 * too (VGG 1_2 1.1 times faster, 2_2 1.0 to 1.07; with 18 MB of filters such blocks are 0.9 times as fast). */
enum { FC_WINOGRAD_FEW_FILTERS = 3 << 20, FC_WINOGRAD_FEW_PRODUCTS = 3024 };

/* Tiles, at least, of each of two blocks of few panels of filters (two threads 1.2 to 1.5 times faster, one 0.95 to 1.05;
 * with 4 tiles 0.6 to 0.9); and transformed filters, at most, that both threads of two blocks read from a cache. */
enum { FC_WINOGRAD_FEWEST_TILES = 8, FC_WINOGRAD_NEAR_BYTES = 8 << 20 };

/* F(3x3,5x5) is within the error bound of "auto" with short rounding chains alone: channels, or tiles of a weight gradient,
 * between two visits of the products (100 tiles in one chain: RMS 2.0e-6), channels in all (1.3e-6 to 1.5e-6 with 256, 1.6e-6
 * with 1024), and tiles of a weight gradient (2.7e-6 with 12,800 in one chunk). */
enum { FC_WINOGRAD_SHORT_DEPTH = 32, FC_WINOGRAD_SHORT_CHANNELS = 256, FC_WINOGRAD_SHORT_TILES = 16384 };

/* Channels for each tile, at least, for two threads to take a part of them each, where one panel of filters meets few tiles
 * (1.2 to 1.8 times faster than one task, 1.1 to 1.35 than two blocks, which both transform all filters). */
enum { FC_WINOGRAD_PART_CHANNELS = 2 };

/* Winograd's transformed images, read from L3 once for each panel of filters, and transformed filters that are written
 * once and read by every block of tiles rather than transformed again by each (more of them, if held, come from memory);
 * the rest of a thread's scratch. */
enum { FC_WINOGRAD_IMAGE_BYTES = 12 << 20, FC_WINOGRAD_FILTER_BYTES = 16 << 20, FC_WINOGRAD_SMALL_SCRATCH = 2 << 20 };

/* Winograd's weight gradient: tiles in a block, unless their transforms exceed a thread's scratch; tiles between two
 * visits of the sum, whose panels of x and dy share an L1; bytes of the sum of some filters, in L3. */
enum { FC_WINOGRAD_GRADIENT_TILES = 448, FC_WINOGRAD_GRADIENT_DEPTH = 128, FC_WINOGRAD_SUM_BYTES = 12 << 20 };

/* Of few weights: bytes of a chunk's sum, and of a block's transformed x and dy, which share an L2; tiles in a block, at
 * least; chunks, at most. */
enum { FC_WINOGRAD_CHUNK_SUM_BYTES = 768 << 10, FC_WINOGRAD_CHUNK_BYTES = 1 << 20 };
enum { FC_WINOGRAD_CHUNK_TILES = 28, FC_WINOGRAD_CHUNKS = 16 };

/* For all tiles to be one block: filters in a slab, at least, and slabs that channels are cut into for that, at most, if
 * tiles are half as many (with 392, 256 channels in two slabs were 1.15 times slower than two blocks). */
enum { FC_WINOGRAD_SLAB_FILTERS = 96, FC_WINOGRAD_CHANNEL_SLABS = 4 };

/* Of few tiles, for threads that share nothing: tiles, at most; and of x and dy of which one is so many times the other,
 * so that the smaller is soon transformed. Bytes of the smaller (with more, sharing is up to 1.25 times faster while the
 * cores are near each other; with less, 0.9 to 1.1 times, and 0.4 to 0.8 while they are far). With NCHW more, of any
 * tiles, if x is the smaller or the smaller by much (sharing is 0.55 to 1.05 times as fast; for a less unlike dy up to 1.3
 * times, and with NHWC up to 1.7 times, where each thread would read a part of every pixel). */
enum { FC_WINOGRAD_SLAB_TILES = 112, FC_WINOGRAD_UNLIKE_TILES = 1024 };
enum { FC_WINOGRAD_UNLIKE = 4, FC_WINOGRAD_MUCH_UNLIKE = 10 };
enum { FC_WINOGRAD_KEPT_BYTES = 1536 << 10, FC_WINOGRAD_MUCH_KEPT_BYTES = 4 << 20 };

/* Bytes of a slab of the other and of a piece's sum, which share an L2; and a slab's vectors. */
enum { FC_WINOGRAD_SLAB_BYTES = 256 << 10, FC_WINOGRAD_PIECE_BYTES = 576 << 10 };
enum { FC_WINOGRAD_SLAB_VECTORS = 4 };

/* Panels of pixels that each panel of weights must meet for the direct kernels to pack it: with 28 (28 x 28 pixels,
 * 1x1) reading it in place was 1 % faster, with 98 packing 3 %, with 2 to 7 in place 10 to 30 %. */
enum { FC_PACKING_PANELS = 32 };

/* Panels of weights that an image's pixels must meet for a 1x1 kernel to pack them: planes of 56 x 56 share a quarter of
 * the sets of an L1. With 18 and 36 packing was 10 to 30 % faster, with 7 as much slower as faster. */
enum { FC_PANEL_USES = 16 };

/* Images of a 1x1 kernel, in all, whose pixels are asked for by the micro-kernel, a line a step (with 4 MiB instead
 * gradients of 8 images 3 % slower); and the largest image that is asked for while the one before is multiplied, a part
 * of L2. */
enum { FC_ASKED_IMAGE_BYTES = 1 << 20, FC_ASKED_NEXT_BYTES = 1 << 20 };

/* Images whose rows are asked for a channel ahead while they are copied (36 MB 1.2 to 1.4 times faster, 4 MB 1.03 to 1.07,
 * 1.6 MB 0.97). */
enum { FC_ASKED_COPY_BYTES = 4 << 20 };

/* Outputs beyond L2, which each register tile asks for before it is stored (16 images of 1x1 and of first layers 1.12 times
 * faster). Of short reductions, to which it is a tenth of the work, those beyond L3. */
enum { FC_ASKED_OUTPUT_BYTES = 2 << 20, FC_ASKED_DEPTH = 64, FC_ASKED_SHORT_BYTES = 32 << 20 };

/* Images beyond L2 with so few panels of weights are read at the pace of memory, which needs few streams at a time: steps
 * between two visits of y (16 filters 1.2 times faster, one filter 1.3; three panels not at all). Each of their lines is
 * asked for a panel ahead (1.1 to 1.4 times faster; images of 1 to 3 MiB 0.8 to 1.0). */
enum { FC_STREAM_IMAGE_BYTES = 4 << 20, FC_STREAM_PANELS = 2, FC_STREAM_STEPS = 64 };

/* Padded image block of the direct kernels, read by every panel of weights: a part of L2; with lanes along channels it
 * is all that L2 holds beside a panel of weights. */
enum { FC_IMAGE_BLOCK_BYTES = 256 << 10, FC_DIRECT_IMAGE_BYTES = 512 << 10 };

/* Columns that im2col gathers of a few pixels, half of an L2: all weights stream past them, once more for each block of
 * columns that does not fit; and of each what the inner products of one step of the reduction read from L1. */
enum { FC_PIXEL_COLUMNS_BYTES = 512 << 10, FC_PIXEL_DEPTH_BYTES = 4 << 10 };

/* Products of few pixels, whose long rows are read or written in place: of one panel of pixels, or of so many where rows
 * come from beyond an L2 (1.1 to 1.7 times faster than packing them, with 64 pixels no longer). Steps between two visits
 * of C, which stays in L2 as B does where C is written once: 8, 16, 32, 64 took 5.6, 4.8, 4.4, 6.4 ms for 151 MB. */
enum {
    FC_OUTER_PIXELS = 32,
    FC_OUTER_STEPS = 32,
    FC_OUTER_BLOCK_BYTES = 256 << 10,
    FC_OUTER_FAR_BYTES = 2 << 20,
};

/* Images that fit into an L1 are not copied if they have no padding: LeNet's C3 was 1.08 times faster. */
enum { FC_UNCOPIED_IMAGE_BYTES = 32 << 10 };

/* With lanes along channels: a block's outputs of one panel, in L2; pixels of a plane that a 1x1 kernel takes as one
 * row, so that its tiles are full whatever the width. */
enum { FC_DIRECT_C_BYTES = 256 << 10, FC_DIRECT_MERGED_PIXELS = 1024 };

/* The reduction of weights, not held, of so few vectors of filters that panels are no equal tasks (42 and 96 filters 1.3
 * times faster, 65 1.6), that has so many steps for each pixel of y is split into two parts, or so many if it has as many
 * depth blocks. */
enum { FC_DIRECT_PART_STEPS = 2, FC_DIRECT_PARTS = 4, FC_DIRECT_UNEVEN_VECTORS = 6 };

/* Packed weights that each thread packs for itself, the copies of all (of 65 KB and four small images 1.2 times faster while
 * the cores are near each other and 2.5 while they are far; a copy of 2.4 MB as fast while near, of 3 MB 0.88 times). */
enum { FC_OWN_WEIGHTS_BYTES = 4 << 20 };

/* Filters for each pixel of all images, at least, for im2col to gather these once more in each thread, which packs its own
 * weights (30 to 1, 7 MB, 1.4 times faster than copies of all weights; 3.9 to 1 0.84 times, 1.9 to 1 0.68 times). */
enum { FC_APART_FILTERS = 4 };

/* A panel of weights that a thread keeps for its next task, a part of L2. */
enum { FC_KEPT_WEIGHTS_BYTES = 512 << 10 };

/* The direct weight gradient with lanes along filters: sums of one panel of filters, and of all panels of a task, in a
 * part of L2; pixels of a unit; and of images so small that some are one unit. */
enum { FC_GRADIENT_PANEL_BYTES = 192 << 10, FC_GRADIENT_SUM_BYTES = 384 << 10 };
enum { FC_GRADIENT_PIXELS = 1024, FC_GRADIENT_FEW_PIXELS = 128 };

/* With lanes along pixels: rows of a unit of one channel of dy, which come from memory the faster the longer they are (26 MB
 * and more 1.7 times with 42 KiB instead of 16, 1.07 times at 64 channels of 224 x 224; with 64 KiB 0.6 to 1.05). */
enum { FC_GRADIENT_ROW_BYTES = 42 << 10 };

/* Rows of x and dy that are read in place, of a 1x1 kernel on NHWC: pixels at a fixed step, at least; steps between two
 * visits of dw; and chunks. Rows so long are asked for in the order of memory (254 to 5 channels, 53 MB, 1.7 times faster;
 * 16 to 47 0.9 times). */
enum { FC_GRADIENT_RUN = 32, FC_GRADIENT_STEPS = 256, FC_ROW_CHUNKS = 8, FC_ASKED_ROW_BYTES = 768 };

/* Depthwise planes that are turned to NHWC: what a block's pixels in and out may take, half of an L2; and its vectors. */
enum { FC_TURNED_BYTES = 512 << 10, FC_TURNED_VECTORS = 4 };

/* Planes at such a distance share the lines of an L1: to turn a vector of them (32 x 32) took 4 times as long. */
enum { FC_COLLIDING_BYTES = 4096 };

/* Chunks of the depthwise weight gradient, each with its own copy of dw. */
enum { FC_DEPTHWISE_CHUNKS = 8 };

/* An input gradient's products of all taps: of the images of a task, in its L2, and of one image at most, in L3. */
enum { FC_COLUMNS_BYTES = 1 << 20, FC_COLUMNS_MOST_BYTES = 8 << 20 };

/* And their rows, at least, of a part of the channels, for each thread to gather dy again. */
enum { FC_COLUMNS_ROWS = 24 };

/* Images, and gradients of outputs, that come from memory (a byte of 13 MB took 1.1 times as long as one of 7, of 26 MB 2.1
 * times). */
enum { FC_FAR_BYTES = 12 << 20 };

/* What a byte of a line costs that is stored in parts, each in another pass over more than an L2, or than an L3's share. */
enum { FC_L2_BYTES = 1 << 20 };
#define FC_NEAR_LINE_CYCLES 0.04
#define FC_FAR_LINE_CYCLES 0.1

/* What its chunks after the first may cost, of the products. */
#define FC_GRADIENT_CHUNKS_SHARE 0.05

/* Scratch a thread may take; direct and Winograd refuse a problem that needs more, im2col always fits its blocks. */
enum { FC_SCRATCH_LIMIT = 16 << 20 };

/* Partial weight gradients: how many chunks the reduction is split into at most, their bytes in sum, and tasks that are
 * enough for all threads. More chunks make more tasks, but each is a pass over dw. */
enum { FC_PARTIAL_CHUNKS = 16, FC_PARTIAL_BYTES = 8 << 20, FC_PARTIAL_TASKS = 32 };

/* Pools: what a block of planes reads or writes, an L1 (smaller blocks pay for their calls); with NHWC channels of a
 * block, whose lines are whole, and what a block of their rows takes of an L2. */
enum { FC_POOL_BLOCK_BYTES = 32 << 10, FC_POOL_CHANNELS = 64, FC_POOL_PIXEL_BYTES = 128 << 10 };

/* What windows of a maximum share along a row, with the gradient in one pass: a part of L2. Wider rows take two. */
enum { FC_POOL_SHARED_BYTES = 256 << 10 };

#endif
