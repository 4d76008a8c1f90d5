/* Matrix products by panels: C[m, n] = epilogue(sum over k of A[m, k] * B[k, n]), where A and B exist only as the
 * panels that call-backs pack. */
#ifndef FC_GEMM_H
#define FC_GEMM_H

#include "correlation.h"

/* Packs rows [row, row + rows) of A, steps [k, k + depth), as `rows` elements a step. */
typedef void (*fc_pack_a)(const void *context, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t depth,
                          char *panel);
/* Packs columns [column, column + columns) of B as tile_columns elements a step; the vector that holds the last one is
 * filled up with zeros. */
typedef void (*fc_pack_b)(const void *context, ptrdiff_t column, ptrdiff_t columns, ptrdiff_t k, ptrdiff_t depth,
                          char *panel);
/* Columns of whole vectors. Lanes that hold what scratch held before may be denormal numbers: 20 times slower. */
static inline ptrdiff_t fc_whole_vectors(const fc_kernels *kernels, ptrdiff_t columns)
{
    return fc_ceil_div(columns, kernels->lanes) * kernels->lanes;
}
/* Takes a finished block of C whose rows lie `ld` elements apart. */
typedef void (*fc_store_c)(const void *context, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t columns,
                           const char *block, ptrdiff_t ld);

typedef struct {
    const fc_kernels *kernels;
    size_t element;
    ptrdiff_t m, n, k;
    fc_pack_a pack_a;
    fc_pack_b pack_b;
    const void *context;
    const char *packed_a;     /* all of A (or B) packed beforehand by fc_gemm_pack_*, or NULL */
    const char *packed_b;
    char *c;                  /* C in place, or NULL: blocks go to `store` */
    ptrdiff_t ldc;
    fc_store_c store;
    int accumulate;           /* add to what C holds (in place only) */
    int ask_c;                /* C in place lies beyond L2 */
    int relu;
    const char *row_bias, *column_bias;
} fc_gemm;

/* Panels: A in equal heights of at most tile_rows, so that none is a remnant; B in widths of tile_columns. */
ptrdiff_t fc_a_panels(const fc_gemm *g);
ptrdiff_t fc_b_panels(const fc_gemm *g);
static inline fc_parts fc_a_panel_rows(const fc_gemm *g) { return fc_equal_parts(g->m, fc_a_panels(g)); }
static inline ptrdiff_t fc_a_panel_row(const fc_gemm *g, ptrdiff_t panel)
{
    return fc_part_begin(fc_a_panel_rows(g), panel);
}

/* How many panels of B a block in L2 holds. */
ptrdiff_t fc_block_b_panels(const fc_gemm *g);

/* Bytes of the whole packed operand, and packing of one (depth block, panel) of it. */
size_t fc_packed_a_bytes(const fc_gemm *g);
size_t fc_packed_b_bytes(const fc_gemm *g);
ptrdiff_t fc_depth_blocks(ptrdiff_t depth);
void fc_gemm_pack_a(const fc_gemm *g, ptrdiff_t depth_block, ptrdiff_t panel, char *packed);
void fc_gemm_pack_b(const fc_gemm *g, ptrdiff_t depth_block, ptrdiff_t panel, char *packed);
/* Where one lies in the whole packed B. */
const char *fc_gemm_packed_b(const fc_gemm *g, const char *packed, ptrdiff_t depth_block, ptrdiff_t panel);

/* Scratch of fc_gemm_block for ranges of at most these many panels. */
size_t fc_gemm_scratch(const fc_gemm *g, ptrdiff_t a_panels, ptrdiff_t b_panels);
/* The product for panels [a0, a1) of A and [b0, b1) of B, on the calling thread. */
void fc_gemm_block(const fc_gemm *g, ptrdiff_t a0, ptrdiff_t a1, ptrdiff_t b0, ptrdiff_t b1, char *scratch);

/* Cycles of one step of a register tile two vectors wide: its multiply-adds, its loads, or until the next may follow. */
static inline double fc_tile_step_cycles(double rows)
{
    const double passes = fc_vector_passes(), products = rows * passes, loads = rows / 2 + passes, latency = 4;
    return products > loads ? (products > latency ? products : latency) : (loads > latency ? loads : latency);
}

/* The same of tiles that are `vectors` wide together: an odd one out is bound by its loads, `row_loads` for each row. */
static inline double fc_tiles_step_cycles(double rows, ptrdiff_t vectors, double row_loads)
{
    const double passes = fc_vector_passes(), products = rows * passes / 2, latency = 4;
    const double loads = 1 + rows * row_loads / 2, odd = loads > products ? loads : products;
    return (double)(vectors / 2) * fc_tile_step_cycles(rows) +
           (double)(vectors % 2) * (odd > latency ? odd : latency);
}

/* Vectors of 32 bytes or less, as AVX2 has them. */
static inline int fc_vectors_are_narrow(const fc_correlation *c)
{
    return c->kernels->lanes * (ptrdiff_t)c->element < 64;
}

/* What copies take, whose stores of a vector in halves are slower than their loads. */
static inline double fc_copy_passes(void) { return fc_vector_passes() == 2 ? 1.6 : 1; }

/* Cycles of the register tiles that cover a product. */
double fc_gemm_cycles(const fc_gemm *g);

/* Splits a product into parts_a x parts_b blocks for `threads` threads when it is one of `products` equal ones. */
typedef struct {
    ptrdiff_t a, b;
} fc_gemm_grid;
fc_gemm_grid fc_gemm_split(const fc_gemm *g, ptrdiff_t products, int threads);

#endif
