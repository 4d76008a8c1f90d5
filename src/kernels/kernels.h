/* The table of kernels: one for each ISA and dtype, filled by table.h, chosen once by dispatch.c.
 *
 * Drivers are compiled for the baseline and know neither width nor dtype: they move untyped pointers by element
 * size and call through this table. Offsets, steps and strides are in elements.
 */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* One register tile of C = A·B: `rows` x `columns`, a reduction of `depth` steps.
 *
 * A is either a packed panel, `rows` elements a step (steps `a_step` apart, if given), or with `a_row` a matrix read in
 * place whose rows lie so far apart, their steps side by side, or with `a_offset` an image read in place: step r at a +
 * a_offset[r], where rows lie side by side, or with `a_row_offset` at a_row_offset[i]. B is either a packed panel (row
 * r at b + r*ldb) or, with `b_offset`, an image read in place (row r at b + b_offset[r]); whole vectors of a row are
 * read, garbage behind `columns` is computed and dropped. */
typedef struct {
    ptrdiff_t depth;
    int rows, columns;
    const void *a;
    ptrdiff_t a_row, a_step;
    const void *a_next;       /* by rows: where the next call's begin, which are asked for; or NULL */
    const ptrdiff_t *a_offset, *a_row_offset;
    const void *b;
    ptrdiff_t ldb;
    const void *ask;          /* a row of B's width that is asked for at each step, ask_step after the one before; */
    ptrdiff_t ask_step;       /* NULL: what lies 2 KiB ahead in a packed B */
    const ptrdiff_t *b_offset;
    ptrdiff_t b_pair, c_pair; /* such a B's second vector, `columns` of it too, lies so far behind the first, and C's; or 0 */
    void *b_copy;             /* where such a B is packed as well, or NULL */
    void *c;
    ptrdiff_t ldc;
    int accumulate;           /* add to what C holds */
    int ask_c;                /* C may lie beyond all caches, at any offset from a line: it is asked for first */
    int relu;                 /* epilogue: max(C, 0), handing NaN on */
    const void *row_bias;     /* epilogue: one value a row of C, or NULL */
    const void *column_bias;  /* epilogue: one value a column of C, or NULL */
    uint64_t *epilogue_ticks; /* when the epilogue began, or NULL */
} fc_tile;

/* A run of elements copied from src + `from` to dst + `to`. */
typedef struct {
    ptrdiff_t to, from, count;
} fc_run;

/* Part of a vector: lane i of those set in `lanes` is src[from + i]. */
typedef struct {
    ptrdiff_t from;
    uint32_t lanes;
} fc_piece;

/* col2im: y(i, j) = bias + the sum over taps of what each has at (i + tap_h, j + tap_w) of its rows x columns, which begin
 * tap_plane behind `from`. Pixels lie `pixel` apart: 1 in planes, of channels that lie from_channel and y_channel apart; or
 * they have their channels side by side. */
typedef struct {
    const void *from;
    ptrdiff_t rows, columns, pixel, channels, from_channel, y_channel;
    ptrdiff_t taps;
    const ptrdiff_t *tap_h, *tap_w, *tap_plane;
    ptrdiff_t first_row, y_rows, y_columns, y_row, y_column;
    void *y;           /* the first row's */
    const void *bias;  /* of the channels, or NULL */
} fc_col2im;

/* A tile of inner products: c(i, j) = epilogue(sum over `lines` rows of `width` elements of a(i) * b(j)), both operands
 * read in place: a(i) at a + i*a_row, b(j) at b + b_offset[j], c(i, j) at c + i*c_row + c_offset[j]. */
typedef struct {
    int rows, columns;
    ptrdiff_t lines, width;
    const void *a;
    ptrdiff_t a_row, a_line;
    const void *b;
    const ptrdiff_t *b_offset;
    ptrdiff_t b_line;
    void *c;
    ptrdiff_t c_row;
    const ptrdiff_t *c_offset;
    int accumulate;        /* add to what C holds */
    int relu;              /* epilogue: max(C, 0), handing NaN on */
    const void *row_bias;  /* epilogue: one value a row of C, or NULL */
} fc_dot_tile;

/* Winograd's transforms F(m x m, r x r) with size = m + r - 1: size^2 points, which lie point_step apart. Where a variant
 * has edges, its tiles may be smaller at the lower and right edges of an image: of `height` and `edge_width` pixels, and
 * points, a side, which are the first ones and infinity. */
static inline int fc_winograd_has_edges(int size) { return size < 8; }

/* Rows of pixels of at most a vector of channels, laid side by side in a vector; channel_step or column_step is 1. So many
 * vectors of zeros come before the first row, between two, and after the last. */
typedef struct {
    const void *pixels;
    ptrdiff_t channel_step, row_step, column_step;
    int channels;
    ptrdiff_t rows, columns;
    ptrdiff_t before, between, after;
    void *image;
} fc_winograd_rows;

/* A row of `tiles` tiles of a vector of channels, which lie side by side: a tile m pixels behind the one before, rows
 * of pixels row_step apart. Point i of tile t goes to transformed + i*point_step + t*ld; but those of the last tile to
 * `edge`, unless that is NULL. */
typedef struct {
    int size, m;
    int height, edge_width;
    ptrdiff_t tiles;
    const void *image;
    ptrdiff_t row_step;
    void *transformed, *edge;
    ptrdiff_t ld, point_step;
} fc_winograd_lanes;

/* A packed panel of `rows` filters with `channels` channels: the tap at (i, j) is step tap[r*i + j] of a channel. Up to
 * a vector is written behind the last element. */
typedef struct {
    int size, r, rows;
    ptrdiff_t channels;
    const void *panel;
    int ask;           /* it lies beyond all caches: channels are asked for four ahead */
    int tap[25];
    void *transformed;
    ptrdiff_t point_step;
} fc_winograd_filter;

/* A row of tiles of `channels` output channels, at most a vector: point i of tile t at product + i*point_step +
 * t*tile_step, channels side by side, those of the last tile at `edge`, unless that is NULL. `rows` x `columns` pixels
 * of each are stored; channel_step or column_step is 1. */
typedef struct {
    int size, m, channels, relu;
    int height, edge_width;
    ptrdiff_t tiles, rows, columns;
    const void *product, *edge;
    ptrdiff_t tile_step, point_step;
    const void *bias;  /* one value a channel, or NULL */
    void *y;
    ptrdiff_t channel_step, row_step, column_step;
} fc_winograd_output;

/* The gradient of r x r taps for at most a vector of channels, side by side in `sum`; each tap fills a vector. */
typedef struct {
    int size, r, channels;
    const void *sum;
    ptrdiff_t point_step;
    void *taps;
} fc_winograd_gradient;

/* Rows of pixels whose channels lie side by side, each convolved with its own filter: tap t sees, for pixel i of row j and
 * channel c, x[x_offset[t] + j*x_row + i*x_pixel + c], and its weight is weights[weight_offset[t] + c]. */
typedef struct {
    ptrdiff_t channels, rows, pixels;
    int taps;
    const ptrdiff_t *x_offset, *weight_offset;
    const void *x, *weights, *bias;  /* bias or NULL */
    void *y;
    ptrdiff_t x_row, x_pixel, y_row, y_pixel;
    int relu;
} fc_depthwise_block;

/* The gradient of its weights, added to dw, which lies as these do. */
typedef struct {
    ptrdiff_t channels, rows, pixels;
    int taps;
    const ptrdiff_t *x_offset, *weight_offset;
    const void *x, *dy;
    void *dw;
    ptrdiff_t x_row, x_pixel, dy_row, dy_pixel;
} fc_depthwise_gradient;

enum { FC_POOL_LANES = 16 };  /* at most */
typedef enum { FC_POOL_MAX, FC_POOL_ARGMAX, FC_POOL_SUM, FC_POOL_GRADIENT } fc_pool_operation;

/* Gradients in scratch, half way: of rows [row, row + rows) of the input and each window's taps in them, summed over
 * the rows of windows whose maximum is there, LANES a strip or a pair of strips; and that tap's number in its row. */
typedef struct {
    void *gradient, *tap;
    ptrdiff_t row, rows, pitch, next;
    int pair;
} fc_pool_scratch;

/* Strips of pooling windows side by side: `lanes` outputs of a row (with NHWC of the channels), taken down `rows` rows.
 * Rows of the input outside [0, height) and neighbours outside [0, columns) are not read. The argument of a maximum is
 * a*argument_h + b*argument_w for tap (a, b) of its window. */
typedef struct {
    ptrdiff_t count, x_next, y_next;    /* strips alike, and the elements between two of them */
    const void *x;                      /* row 0; neighbour `column` is lane 0 of the window's first tap */
    ptrdiff_t x_row, top, height, column, columns;
    ptrdiff_t rows, stride_h, taps_h, tap_h;
    ptrdiff_t lane_step, taps_w, tap_w; /* the first tap is number tap_first */
    ptrdiff_t tap_first, tap_column;    /* neighbours between two taps: tap_w, or none with NHWC */
    int lanes, whole, pair;             /* whole: LANES lanes, all read inside; pair: strips n and n + 1 share a vector */
    ptrdiff_t first[FC_POOL_LANES];     /* unless whole: argument of each lane's first tap inside */
    void *y;
    ptrdiff_t y_row;
    ptrdiff_t argument_h, argument_w;
    int64_t *index;                     /* as y lies: the argument plus what follows */
    int64_t index_first;
    ptrdiff_t index_row, index_lane, index_next;
    const void *dy;                     /* gradients: rows of dy as those of y */
    ptrdiff_t dy_row, dy_next;
    fc_pool_scratch kept;
    const double *counted_h, *counted_w; /* the mean: taps that count, for each row and each lane */
    ptrdiff_t counted_step;
} fc_pool_strip;

/* Rows of `count` planes of dx, all that are kept, from what is kept of them; beside a row lie zeros as far as its
 * columns reach, and room for a vector. Without taps it is the gradient of a mean. */
typedef struct {
    fc_pool_scratch kept;
    ptrdiff_t count, out_width, width;
    ptrdiff_t stride_w, taps_w, tap_w, pad_left;
    void *dx;
    ptrdiff_t dx_next, dx_row;
} fc_pool_gather;

/* The same of NHWC pixels, `lanes` channels of them, `dx_pixel` elements apart; what is kept of an output lies LANES
 * elements after what is kept of the one before. */
typedef struct {
    fc_pool_gather columns;
    int lanes;
    ptrdiff_t dx_pixel;
} fc_pool_pixels;

/* Maxima, or with counted taps means, over windows of `taps` x `taps` neighbours, `stride` apart, of `count` planes whose
 * columns lie side by side: rows [row, row_end) of y, which is dense. Each plane has more than one window. */
typedef struct {
    int taps, stride;  /* 2 or 3, 1 or 2 */
    int pair;          /* rows have half a vector of windows, and planes n and n + 1 share it */
    ptrdiff_t count, height, width, out_width, pad_top, pad_left, row, row_end;
    const void *x;
    ptrdiff_t x_row, x_next;
    void *y;
    ptrdiff_t y_next;
    const double *counted_h, *counted_w;
} fc_pool_rows;

/* The gradient of a maximum over windows of `taps` x `taps` neighbours, `stride` apart, of `count` planes whose columns
 * lie side by side: rows [row, row_end) of dx, which is dense. A strip is LANES windows; they cover all columns of dx.
 * Scratch is for each strip FC_POOL_SHARED_ROWS times FC_POOL_SHARED_VECTORS vectors, and FC_POOL_EDGE_BYTES. */
enum { FC_POOL_SHARED_ROWS = 2, FC_POOL_SHARED_VECTORS = 4, FC_POOL_EDGE_BYTES = 28 };
typedef struct {
    int taps, stride;  /* 2 or 3, 1 or 2 */
    int pair;          /* the only strip has half a vector of windows, and planes n and n + 1 share it */
    ptrdiff_t count, strips, height, width, out_height, out_width, pad_top, pad_left, row, row_end;
    const void *x, *dy;
    void *dx;
    ptrdiff_t x_row, x_next, dy_row, dy_next, dx_next;
    void *scratch;
} fc_pool_max_backward;

enum { FC_LRN_VECTORS = 4 };  /* of pixels that go through the channels together: whole pages are not touched for a line */

/* Local response normalisation of `pixels` pixels with all their channels, or its gradient if there is a dy. With
 * `planes` pixels lie side by side, else channels. The window of channel c is [c - before, c + after]. Scratch,
 * backward for planes: channels * FC_LRN_VECTORS * lanes; for channels side by side, forward as backward, twice
 * channels + 2 * (before + after) + lanes. */
typedef struct {
    ptrdiff_t channels, pixels;
    int planes;
    const void *x, *dy;
    void *out;
    ptrdiff_t x_channel, x_pixel, dy_channel, dy_pixel, out_channel, out_pixel;
    ptrdiff_t before, after;
    double alpha_over_size, beta, k;
    void *scratch;
} fc_lrn_block;

/* Rows of some channels of an image in planes of their own: element f*phase_length + e of a row is the image's column
 * low + e*stride + f, or zero if there is none. A row has FC_IMAGE_ROW_VECTORS at most. A plane begins with zeros, and
 * from `end` on there are more. */
enum { FC_IMAGE_ROW_VECTORS = 8 };
typedef struct {
    ptrdiff_t channels, rows;
    const void *x;
    ptrdiff_t x_channel, x_row, width;
    void *to;
    ptrdiff_t plane, row_step, zeros_before, end, zeros_behind;
    ptrdiff_t phases, phase_length, stride, low;
} fc_image_rows;

typedef struct {
    const char *isa;
    int lanes;
    int tile_rows;     /* the widest register tile: the micro-kernel takes 1..tile_rows rows */
    int tall_rows;     /* or 1..tall_rows, if B is packed and one vector wide and the rows of A lie side by side */
    int tile_columns;  /* and 1..tile_columns columns; packed panels of B are this wide */
    int wide_rows, wide_columns; /* of B read in place, 1..wide_rows rows may have so many columns */
    int image_row;     /* the widest row that image_rows takes; 0: none */
    int dot_rows, dot_columns;

    void (*gemm_tile)(const fc_tile *tile);
    void (*dot_tile)(const fc_dot_tile *tile);
    void (*depthwise)(const fc_depthwise_block *block);
    void (*depthwise_gradient)(const fc_depthwise_gradient *block);

    void (*image_rows)(const fc_image_rows *rows);
    /* rows times: dst[run.to + i] = src[run.from + i*src_stride] for each run; dst and src then move by their steps.
     * With `clear` > 0 the first `clear` elements of each row of dst are zeroed before. */
    void (*pack_runs)(void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step, ptrdiff_t src_stride,
                      ptrdiff_t rows, const fc_run *runs, int run_count, ptrdiff_t clear);
    /* `vectors` whole vectors a row, the j-th put together from pieces first_piece[j] .. first_piece[j + 1] - 1 and
     * zero elsewhere. */
    void (*pack_pieces)(void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step, ptrdiff_t rows,
                        const fc_piece *pieces, const int *first_piece, int vectors);
    /* dst[i*dst_step + j] = rows[j][i*src_stride], i < count, j < row_count; a NULL row is all zero. */
    void (*pack_columns)(void *dst, ptrdiff_t dst_step, const void *const *rows, int row_count, ptrdiff_t src_stride,
                         ptrdiff_t count);
    /* dst[(q*taps + t)*dst_step + j] = src[q*src_step + j*row_step + t], q < count, t < taps, and j < rows or, up to
     * `filled`, zero. */
    void (*pack_filters)(void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step, ptrdiff_t row_step,
                         int rows, int filled, int taps, ptrdiff_t count);
    /* dst[i*row_step + j*column_step] = src[i*ld + j]: one kernel, for what is packed and for what is stored. */
    void (*pack_strided)(void *dst, ptrdiff_t row_step, ptrdiff_t column_step, const void *src, ptrdiff_t ld,
                         ptrdiff_t rows, ptrdiff_t columns);
    void (*store_strided)(void *dst, ptrdiff_t row_step, ptrdiff_t column_step, const void *src, ptrdiff_t ld,
                          ptrdiff_t rows, ptrdiff_t columns);
    /* Every element of dst becomes *value. */
    void (*fill)(void *dst, ptrdiff_t row_step, ptrdiff_t column_step, ptrdiff_t rows, ptrdiff_t columns,
                 const void *value);
    /* dst[i] = sum over p of partial[p*step + i], in the order of p; with `relu` at least 0, handing NaN on */
    void (*sum_partials)(void *dst, const void *partial, ptrdiff_t step, ptrdiff_t partials, ptrdiff_t count, int relu);
    double (*sum)(const void *src, ptrdiff_t count);
    /* There is room for three numbers a tap. */
    void (*col2im_planes)(const fc_col2im *sums, void *room);
    void (*col2im_pixels)(const fc_col2im *sums, void *room);

    int pool_pairs;  /* whether strips come in pairs */
    void (*pool_max)(const fc_pool_strip *strip);
    void (*pool_argmax)(const fc_pool_strip *strip);
    void (*pool_mean)(const fc_pool_strip *strip);
    void (*pool_rows)(const fc_pool_rows *planes);
    void (*pool_max_gradient)(const fc_pool_strip *strip);
    void (*pool_mean_gradient)(const fc_pool_strip *strip);
    void (*pool_max_backward)(const fc_pool_max_backward *planes);
    void (*pool_gather)(const fc_pool_gather *gather);
    void (*pool_gather_pixels)(const fc_pool_pixels *pixels);
    void (*pool_scatter)(void *dx, ptrdiff_t plane_step, ptrdiff_t lane_step, const void *dy, ptrdiff_t dy_step,
                         const int64_t *index, ptrdiff_t count);

    void (*lrn)(const fc_lrn_block *block);

    void (*winograd_rows)(const fc_winograd_rows *rows);
    void (*winograd_input)(const fc_winograd_lanes *lanes);
    void (*winograd_filter)(const fc_winograd_filter *filter);
    /* The channels, a bit each, of which an output was not finite before the epilogue. */
    uint32_t (*winograd_output)(const fc_winograd_output *out);
    /* Tiles of dy as filters of m x m taps; and dw from the products, 0 if it is not finite. */
    void (*winograd_tile_filter)(const fc_winograd_lanes *lanes);
    int (*winograd_gradient)(const fc_winograd_gradient *gradient);

    double (*peak)(ptrdiff_t steps, double seed);
} fc_kernels;

extern const fc_kernels fc_table_f32__baseline, fc_table_f64__baseline;
extern const fc_kernels fc_table_f32__avx2, fc_table_f64__avx2;
extern const fc_kernels fc_table_f32__avx512, fc_table_f64__avx512;
extern const fc_kernels fc_table_f32__neon, fc_table_f64__neon;

#endif
