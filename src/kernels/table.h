/* Instantiates every kernel for one dtype and fills its table. Included by isa.h, once per FC_REAL_BITS. */
#include "../ticks.h"
#include "vec.h"
#include "vec_choose.h"

#include "gemm_tile.h"
#include "dot_tile.h"
#include "depthwise.h"
#include "pack.h"
#include "image_rows.h"
#include "reduce.h"
#include "col2im.h"
#include "pool_taps.h"
#include "pool_strip.h"
#include "pool_operations.h"
#include "pool_gather.h"
#include "pool_row_taps.h"
#include "pool_rows.h"
#include "pool_max_step.h"
#include "pool_max_backward.h"
#include "lrn_row.h"
#include "winograd_rows.h"
#include "winograd_lines.h"
#include "winograd_edge.h"
#include "winograd_tile.h"
#include "winograd_gradient.h"
#include "peak.h"

const fc_kernels FC_NAME(table) = {
    .isa = FC_STRING(FC_ISA),
    .lanes = LANES,
    .tile_rows = FC_TILE_ROWS,
    .tall_rows = FC_TALL_ROWS,
    .tile_columns = FC_TILE_VECTORS * LANES,
    .wide_rows = FC_WIDE_ROWS,
    .wide_columns = FC_WIDE_VECTORS * LANES,
    .image_row = FC_HAS_PERMUTE2 ? 2 * LANES : 0,
    .dot_rows = FC_DOT_ROWS,
    .dot_columns = FC_DOT_COLUMNS,
    .gemm_tile = FC_NAME(gemm_tile),
    .dot_tile = FC_NAME(dot_tile),
    .depthwise = FC_NAME(depthwise),
    .depthwise_gradient = FC_NAME(depthwise_gradient),
    .image_rows = FC_NAME(image_rows),
    .pack_runs = FC_NAME(pack_runs),
    .pack_pieces = FC_NAME(pack_pieces),
    .pack_columns = FC_NAME(pack_columns),
    .pack_filters = FC_NAME(pack_filters),
    .pack_strided = FC_NAME(copy_matrix),
    .store_strided = FC_NAME(copy_matrix),
    .fill = FC_NAME(fill),
    .sum_partials = FC_NAME(sum_partials),
    .sum = FC_NAME(sum),
    .col2im_planes = FC_NAME(col2im_planes),
    .col2im_pixels = FC_NAME(col2im_pixels),
    .pool_pairs = FC_HAS_PERMUTE2,
    .pool_max = FC_NAME(pool_max),
    .pool_argmax = FC_NAME(pool_argmax),
    .pool_mean = FC_NAME(pool_mean),
    .pool_rows = FC_NAME(pool_rows),
    .pool_max_gradient = FC_NAME(pool_max_gradient),
    .pool_mean_gradient = FC_NAME(pool_mean_gradient),
    .pool_max_backward = FC_NAME(pool_max_backward),
    .pool_gather = FC_NAME(pool_gather),
    .pool_gather_pixels = FC_NAME(pool_gather_pixels),
    .pool_scatter = FC_NAME(pool_scatter),
    .lrn = FC_NAME(lrn),
    .winograd_rows = FC_NAME(winograd_rows),
    .winograd_input = FC_NAME(winograd_input),
    .winograd_filter = FC_NAME(winograd_filter),
    .winograd_output = FC_NAME(winograd_output),
    .winograd_tile_filter = FC_NAME(winograd_tile_filter),
    .winograd_gradient = FC_NAME(winograd_gradient),
    .peak = FC_NAME(peak),
};
