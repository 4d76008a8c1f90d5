/* What the files of Winograd convolution F(m x m, r x r) share: the plan of a problem, and the transformed filters. */
#ifndef FC_WINOGRAD_H
#define FC_WINOGRAD_H

#include "gemm.h"

/* Points of the largest tile; places of taps in the squares of all phases. */
enum { FC_WINOGRAD_POINTS = 64, FC_WINOGRAD_TAPS = 144 };

/* Transformed filters: for each group, panel of tile_columns filters and block of channels the points one after the
 * other, each a packed panel of the micro-kernel's B. */
typedef struct {
    ptrdiff_t panels, depth_blocks;
    ptrdiff_t point_step, panel_step;  /* in elements; panel_step from one block of channels to the next */
} fc_winograd_filters;

typedef struct {
    fc_correlation c;
    int m, r, size, points;            /* outputs and taps of a side, m + r - 1, its square */
    int phases;                        /* of the stride: with each a channel of x has a filter of its own, of step 1 */
    int full;                          /* one phase, whose taps fill the square */
    short at[FC_WINOGRAD_TAPS];        /* the tap at each place of each phase's square, or -1 */
    ptrdiff_t low_h, low_w;            /* of the taps */
    ptrdiff_t channels;                /* of a group: the phases of x's first channel, of its second, ... */
    ptrdiff_t tiles_h, tiles_w;        /* of an image */
    int edge_h, edge_w;                /* points a side of its last row and column of tiles if smaller, or 0 */
    ptrdiff_t rows, blocks;            /* rows of tiles of all images, one after the other; blocks they are split into */
    ptrdiff_t parts;                   /* of the channels, whose products a task each sums */
    ptrdiff_t most_tiles;              /* in a block */
    ptrdiff_t image_rows;              /* rows of tiles whose pixels are copied at once */
    ptrdiff_t image_ld;                /* between tiles of a transformed image block */
    ptrdiff_t image_step, product_step; /* between the points of a transformed image block, and of its products */
    fc_winograd_filters filters;
    int holds_taps;                    /* held filters are packed, and transformed by each task */
} fc_winograd_plan;

/* winograd_plan.c: 0 if the taps of a phase are not of an r x r square, or a row of tiles does not fit into scratch. */
int fc_winograd_plan_of(fc_winograd_plan *plan, const fc_correlation *c, int m, int r);
/* F(3x3,5x5), whose rounding chains must be short. */
static inline int fc_winograd_sums_briefly(const fc_winograd_plan *plan) { return plan->size == 7; }
const char *fc_winograd_refusal(const fc_correlation *c, fc_operation operation, int m, int r);

/* winograd_cost.c */
double fc_winograd_cycles(const fc_correlation *c, int m, int r);
double fc_winograd_weight_cycles(const fc_correlation *c, int m, int r);
/* Whether two threads end sooner with two blocks than with one, where each transforms the whole image for its panels of
 * filters. */
int fc_winograd_pays_in_halves(const fc_winograd_plan *plan);
/* Whether to read held transformed filters takes longer than to transform packed ones for each block. */
int fc_winograd_streams_longer(const fc_winograd_plan *plan);

/* An odd number of cache lines: channels, tiles and points must not share the sets of a cache. */
static inline ptrdiff_t fc_odd_lines(const fc_correlation *c, ptrdiff_t elements)
{
    const ptrdiff_t line = (ptrdiff_t)(64 / c->element);
    return (fc_ceil_div(elements, line) | 1) * line;
}

/* The first channel of a block of the reduction. */
static inline ptrdiff_t fc_winograd_depth(const fc_winograd_plan *plan, ptrdiff_t block)
{
    return fc_part(plan->c.q, plan->filters.depth_blocks, block) * plan->phases;
}

/* Tiles [begin, end) of a block that have some point, in panels of at most tile_rows. */
typedef struct {
    ptrdiff_t begin, end, panels;
    fc_parts tiles;                    /* of the panels */
} fc_winograd_range;

/* Some rows of tiles, in an order in which the tiles that have a point are neighbours: smaller ones at lower edges,
 * whole ones, those at right edges, and in lower right corners. */
typedef struct {
    ptrdiff_t first_row, rows, tiles;
    ptrdiff_t whole, right, corner;    /* where these begin */
    fc_winograd_range range[2][2];     /* of points that lower edges do not have, or do; and right edges */
} fc_winograd_block;

fc_winograd_block fc_winograd_block_of(const fc_winograd_plan *plan, ptrdiff_t first_row, ptrdiff_t rows);
const fc_winograd_range *fc_winograd_range_of(const fc_winograd_plan *plan, const fc_winograd_block *block, int point);

/* Where a row's tiles lie in its block, and the last one if it is at the right edge; and its points a column. */
typedef struct {
    ptrdiff_t first, edge;
    int height;
} fc_winograd_place;

fc_winograd_place fc_winograd_place_of(const fc_winograd_plan *plan, const fc_winograd_block *block, ptrdiff_t row);

/* Of the points of all tiles. */
double fc_winograd_points_share(const fc_winograd_plan *plan);

/* Planes that tiles are cut from: x, or dy as the filters of the weight gradient. */
typedef struct {
    const char *data;
    ptrdiff_t n, c, h, w;       /* steps */
    ptrdiff_t height, width;
    ptrdiff_t low_h, low_w;     /* where a tile begins, relative to its place */
    int stride_h, stride_w;     /* each phase of a plane is a channel */
    int side;                   /* of a tile */
    void (*transform)(const fc_winograd_lanes *);
} fc_winograd_planes;

/* winograd_image.c: `count` channels, at most a vector, from `channel` on, of rows of tiles [row, row + rows) of a
 * block: its tile t goes to `to` + t*ld. `image` is scratch of fc_winograd_image_bytes. */
fc_winograd_planes fc_winograd_planes_of_x(const fc_winograd_plan *plan);
fc_winograd_planes fc_winograd_planes_of_y(const fc_winograd_plan *plan);
size_t fc_winograd_image_bytes(const fc_winograd_plan *plan);
void fc_winograd_transform_tiles(const fc_winograd_plan *plan, const fc_winograd_planes *p, ptrdiff_t channel,
                                 ptrdiff_t count, const fc_winograd_block *block, ptrdiff_t row, ptrdiff_t rows,
                                 char *image, char *to, ptrdiff_t ld, ptrdiff_t point_step);

/* winograd_filters.c: filters of panel `panel`, channels of block `depth_block`, of these the part `part` of `parts`,
 * transformed to where `to` has the block. */
void fc_winograd_transform_filters(const fc_winograd_plan *plan, ptrdiff_t group, ptrdiff_t panel,
                                   ptrdiff_t depth_block, ptrdiff_t part, ptrdiff_t parts, char *to);
/* How filters are held that are not transformed: for each group and panel of tile_columns filters all channels, of each
 * channel its taps, of each tap the filters side by side. */
extern const fc_packing fc_winograd_tap_packing;
/* All of them, and where one such block begins. */
size_t fc_winograd_filter_bytes(const fc_winograd_plan *plan);
void fc_winograd_transform_all_filters(const fc_winograd_plan *plan, int threads, char *to);
static inline ptrdiff_t fc_winograd_filter_block(const fc_winograd_plan *plan, ptrdiff_t group, ptrdiff_t panel,
                                                 ptrdiff_t depth_block)
{
    const fc_winograd_filters *f = &plan->filters;
    return ((group * f->panels + panel) * f->depth_blocks + depth_block) * f->panel_step;
}

/* conv_winograd_weight.c */
void fc_winograd_correlate_weights(const fc_correlation *c, int m, int r, int threads, fc_workspace *workspace);

#endif
