/* The transformed weight gradient F(r x r, m x m): tiles of dy are the filters, and what is summed over is the tiles. Blocks
 * of rows of tiles of x and dy are transformed, multiplied point by point, filters x tiles times tiles x channels, and
 * added to the sum; in the end that is transformed into dw. */
#ifndef FC_WINOGRAD_SUMS_H
#define FC_WINOGRAD_SUMS_H

#include <stdatomic.h>

#include "winograd.h"

typedef struct {
    fc_winograd_plan plan;
    ptrdiff_t group;
    ptrdiff_t first_filter, filters;   /* of the group, whose sums are taken at once */
    ptrdiff_t first_channel, channels; /* and the channels */
    ptrdiff_t blocks, tiles;           /* of rows of tiles; tiles in the largest */
    ptrdiff_t dy_ld, sum_ld;           /* between tiles of the transformed dy, and filters of the sum */
    ptrdiff_t x_step, dy_step, sum_step; /* between points */
    int taps_in_order;                 /* the transform's taps lie one behind the other in memory */
    atomic_int *not_finite;            /* of all slabs: set where some gradient is not */
} fc_winograd_sums;

/* Rows of tiles, transformed to x in panels of the micro-kernel's B and to dy, and what they are added to. */
typedef struct {
    fc_winograd_block rows;
    char *x, *dy, *sum;
    int accumulate;
} fc_winograd_sum_block;

/* Channels as panels of B hold them; and how many slabs, or blocks of rows, there are: the steps follow from them. */
ptrdiff_t fc_winograd_padded_channels(const fc_winograd_sums *sums);
void fc_winograd_cut_channels(fc_winograd_sums *sums, ptrdiff_t slabs);
void fc_winograd_cut_filters(fc_winograd_sums *sums, ptrdiff_t slabs);
void fc_winograd_cut_rows(fc_winograd_sums *sums, ptrdiff_t blocks);

fc_winograd_block fc_winograd_sum_rows(const fc_winograd_sums *sums, ptrdiff_t block);
/* Vectors of channels of x, behind which come those of dy. */
ptrdiff_t fc_winograd_vectors_of_x(const fc_winograd_sums *sums);
ptrdiff_t fc_winograd_vectors_of_dy(const fc_winograd_sums *sums);
/* Rows [row, row + rows) of a block of such a vector; `image` is scratch of fc_winograd_image_bytes. */
void fc_winograd_transform_vector(const fc_winograd_sums *sums, const fc_winograd_sum_block *block, ptrdiff_t vector,
                                  ptrdiff_t row, ptrdiff_t rows, char *image);
/* One point of a block: sum += dy^T x, of part `part` of `parts` of the filters. */
void fc_winograd_multiply_point(const fc_winograd_sums *sums, const fc_winograd_sum_block *block, ptrdiff_t point,
                                ptrdiff_t part, ptrdiff_t parts);
/* Filters and channels of the sum, from (m, q) on, whose gradient is stored at once: where filters lie side by side in dw, a
 * vector of them. */
typedef struct {
    ptrdiff_t m, filters, q, channels;
} fc_winograd_sum_part;
ptrdiff_t fc_winograd_sum_parts(const fc_winograd_sums *sums);
fc_winograd_sum_part fc_winograd_sum_part_at(const fc_winograd_sums *sums, ptrdiff_t i);
/* `taps` is scratch of fc_winograd_image_bytes. */
void fc_winograd_store_gradient(const fc_winograd_sums *sums, const char *sum, const fc_winograd_sum_part *part,
                                char *taps);

/* conv_winograd_weight_tiles.c: few weights, whose tiles are cut into so many chunks with a sum each; 0 if it is not so. */
ptrdiff_t fc_winograd_chunks(fc_winograd_sums *sums);
void fc_winograd_sum_chunks(fc_winograd_sums *sums, ptrdiff_t chunks, int threads, fc_workspace *workspace);

/* conv_winograd_weight_slabs.c: few tiles, or few channels of x or dy, for which threads share nothing. */
int fc_winograd_serves_slabs(const fc_winograd_plan *plan);
void fc_winograd_sum_by_slabs(fc_winograd_sums *sums, int threads, fc_workspace *workspace);

#endif
