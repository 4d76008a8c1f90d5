/* The five loops around the micro-kernel. */
#include "gemm.h"

#include "blocking.h"

ptrdiff_t fc_a_panels(const fc_gemm *g) { return fc_ceil_div(g->m, g->kernels->tile_rows); }

ptrdiff_t fc_b_panels(const fc_gemm *g) { return fc_ceil_div(g->n, g->kernels->tile_columns); }

ptrdiff_t fc_depth_blocks(ptrdiff_t depth) { return fc_ceil_div(depth, FC_DEPTH_BLOCK); }

static ptrdiff_t widest_depth(const fc_gemm *g) { return fc_ceil_div(g->k, fc_depth_blocks(g->k)); }

ptrdiff_t fc_block_b_panels(const fc_gemm *g)
{
    const ptrdiff_t panel = widest_depth(g) * g->kernels->tile_columns * (ptrdiff_t)g->element;
    return fc_max(1, FC_B_BLOCK_BYTES / panel);
}

static ptrdiff_t block_a_panels(const fc_gemm *g)
{
    const ptrdiff_t panel = widest_depth(g) * g->kernels->tile_rows * (ptrdiff_t)g->element;
    return fc_max(1, FC_A_BLOCK_BYTES / panel);
}

size_t fc_packed_a_bytes(const fc_gemm *g) { return (size_t)g->m * (size_t)g->k * g->element; }

size_t fc_packed_b_bytes(const fc_gemm *g)
{
    return (size_t)(fc_b_panels(g) * g->kernels->tile_columns) * (size_t)g->k * g->element;
}

/* Where a panel of the whole packed A (B) begins: depth blocks one after the other, panels within each. */
static ptrdiff_t offset_in_a(const fc_gemm *g, ptrdiff_t k, ptrdiff_t depth, ptrdiff_t panel)
{
    return k * g->m + fc_a_panel_row(g, panel) * depth;
}

static ptrdiff_t offset_in_b(const fc_gemm *g, ptrdiff_t k, ptrdiff_t depth, ptrdiff_t panel)
{
    return (k * fc_b_panels(g) + panel * depth) * g->kernels->tile_columns;
}

static void pack_a_panel(const fc_gemm *g, ptrdiff_t k, ptrdiff_t depth, ptrdiff_t panel, char *to)
{
    const ptrdiff_t row = fc_a_panel_row(g, panel);
    g->pack_a(g->context, row, fc_a_panel_row(g, panel + 1) - row, k, depth, to);
}

static void pack_b_panel(const fc_gemm *g, ptrdiff_t k, ptrdiff_t depth, ptrdiff_t panel, char *to)
{
    const ptrdiff_t column = panel * g->kernels->tile_columns;
    g->pack_b(g->context, column, fc_min(g->kernels->tile_columns, g->n - column), k, depth, to);
}

void fc_gemm_pack_a(const fc_gemm *g, ptrdiff_t depth_block, ptrdiff_t panel, char *packed)
{
    const ptrdiff_t blocks = fc_depth_blocks(g->k), k = fc_part(g->k, blocks, depth_block);
    const ptrdiff_t depth = fc_part(g->k, blocks, depth_block + 1) - k;
    pack_a_panel(g, k, depth, panel, packed + offset_in_a(g, k, depth, panel) * (ptrdiff_t)g->element);
}

void fc_gemm_pack_b(const fc_gemm *g, ptrdiff_t depth_block, ptrdiff_t panel, char *packed)
{
    const ptrdiff_t blocks = fc_depth_blocks(g->k), k = fc_part(g->k, blocks, depth_block);
    const ptrdiff_t depth = fc_part(g->k, blocks, depth_block + 1) - k;
    pack_b_panel(g, k, depth, panel, packed + offset_in_b(g, k, depth, panel) * (ptrdiff_t)g->element);
}

const char *fc_gemm_packed_b(const fc_gemm *g, const char *packed, ptrdiff_t depth_block, ptrdiff_t panel)
{
    const ptrdiff_t blocks = fc_depth_blocks(g->k), k = fc_part(g->k, blocks, depth_block);
    return packed + offset_in_b(g, k, fc_part(g->k, blocks, depth_block + 1) - k, panel) * (ptrdiff_t)g->element;
}

/* The pieces of one thread's scratch. */
typedef struct {
    char *a, *b, *c;
} fc_gemm_blocks;

static fc_gemm_blocks lay_out(const fc_gemm *g, ptrdiff_t a_panels, ptrdiff_t b_panels, fc_workspace *workspace)
{
    const size_t depth = (size_t)widest_depth(g);
    const size_t rows = (size_t)(a_panels * g->kernels->tile_rows);
    const size_t columns = (size_t)(fc_min(b_panels, fc_block_b_panels(g)) * g->kernels->tile_columns);
    const size_t a_rows = (size_t)(fc_min(a_panels, block_a_panels(g)) * g->kernels->tile_rows);
    fc_gemm_blocks blocks = {0};
    if (!g->packed_a)
        blocks.a = fc_take(workspace, a_rows * depth * g->element);
    if (!g->packed_b)
        blocks.b = fc_take(workspace, columns * depth * g->element);
    if (!g->c)
        blocks.c = fc_take(workspace, rows * columns * g->element);
    return blocks;
}

size_t fc_gemm_scratch(const fc_gemm *g, ptrdiff_t a_panels, ptrdiff_t b_panels)
{
    fc_workspace workspace = {0};
    lay_out(g, a_panels, b_panels, &workspace);
    return workspace.used;
}

/* Loops 2 and 1: panels of B, each used again at once, times panels of A, which stream from L2. */
static void multiply_panels(const fc_gemm *g, const char *a_block, ptrdiff_t a0, ptrdiff_t a1, const char *b_block,
                            ptrdiff_t b0, ptrdiff_t b1, ptrdiff_t depth, fc_tile *tile, char *c, ptrdiff_t first_row,
                            ptrdiff_t first_column)
{
    const ptrdiff_t element = (ptrdiff_t)g->element, width = g->kernels->tile_columns;
    const fc_parts rows = fc_a_panel_rows(g);
    const ptrdiff_t row0 = fc_part_begin(rows, a0);
    for (ptrdiff_t jr = b0; jr < b1; jr++) {
        const ptrdiff_t column = jr * width;
        tile->b = b_block + (jr - b0) * width * depth * element;
        tile->columns = (int)fc_min(width, g->n - column);
        const char *column_bias = tile->column_bias;
        if (column_bias)
            tile->column_bias = column_bias + column * element;
        const char *row_bias = tile->row_bias;
        for (ptrdiff_t ir = a0; ir < a1; ir++) {
            const ptrdiff_t row = fc_part_begin(rows, ir);
            tile->rows = (int)(fc_part_begin(rows, ir + 1) - row);
            tile->a = a_block + (row - row0) * depth * element;
            tile->c = c + ((row - first_row) * tile->ldc + column - first_column) * element;
            tile->row_bias = row_bias ? row_bias + row * element : NULL;
            g->kernels->gemm_tile(tile);
        }
        tile->row_bias = row_bias;
        tile->column_bias = column_bias;
    }
}

void fc_gemm_block(const fc_gemm *g, ptrdiff_t a0, ptrdiff_t a1, ptrdiff_t b0, ptrdiff_t b1, char *scratch)
{
    const ptrdiff_t element = (ptrdiff_t)g->element, width = g->kernels->tile_columns;
    const ptrdiff_t blocks = fc_depth_blocks(g->k);
    const ptrdiff_t b_step = fc_block_b_panels(g), a_step = g->packed_a ? a1 - a0 : block_a_panels(g);
    fc_workspace workspace = {.base = scratch};
    const fc_gemm_blocks block = lay_out(g, a1 - a0, b1 - b0, &workspace);
    const ptrdiff_t first_row = g->c ? 0 : fc_a_panel_row(g, a0);
    const ptrdiff_t rows = fc_a_panel_row(g, a1) - fc_a_panel_row(g, a0);

    for (ptrdiff_t jc = b0; jc < b1; jc += b_step) { /* loop 5: blocks of columns of B */
        const ptrdiff_t j_end = fc_min(jc + b_step, b1);
        const ptrdiff_t first_column = g->c ? 0 : jc * width;
        const ptrdiff_t columns = fc_min(j_end * width, g->n) - jc * width;
        for (ptrdiff_t pc = 0; pc < blocks; pc++) { /* loop 4: blocks of the reduction */
            const ptrdiff_t k = fc_part(g->k, blocks, pc), depth = fc_part(g->k, blocks, pc + 1) - k;
            const int last = pc == blocks - 1;
            const char *b_block = block.b;
            if (g->packed_b)
                b_block = g->packed_b + offset_in_b(g, k, depth, jc) * element;
            else
                for (ptrdiff_t jr = jc; jr < j_end; jr++)
                    pack_b_panel(g, k, depth, jr, block.b + (jr - jc) * width * depth * element);
            fc_tile tile = {
                .depth = depth,
                .ldb = width,
                .ldc = g->c ? g->ldc : columns,
                .accumulate = pc > 0 || g->accumulate,
                .ask_c = g->c && g->ask_c,
                .relu = g->relu && last,
                .row_bias = last ? g->row_bias : NULL,
                .column_bias = last ? g->column_bias : NULL,
            };
            for (ptrdiff_t ic = a0; ic < a1; ic += a_step) { /* loop 3: blocks of rows of A */
                const ptrdiff_t i_end = fc_min(ic + a_step, a1);
                const char *a_block = block.a;
                if (g->packed_a)
                    a_block = g->packed_a + offset_in_a(g, k, depth, ic) * element;
                else
                    for (ptrdiff_t ir = ic; ir < i_end; ir++)
                        pack_a_panel(g, k, depth, ir,
                                     block.a + (fc_a_panel_row(g, ir) - fc_a_panel_row(g, ic)) * depth * element);
                multiply_panels(g, a_block, ic, i_end, b_block, jc, j_end, depth, &tile, g->c ? g->c : block.c,
                                first_row, first_column);
            }
        }
        if (!g->c)
            g->store(g->context, first_row, rows, first_column, columns, block.c, columns);
    }
}

fc_gemm_grid fc_gemm_split(const fc_gemm *g, ptrdiff_t products, int threads)
{
    const ptrdiff_t a_panels = fc_a_panels(g), b_panels = fc_b_panels(g);
    const ptrdiff_t least_b = fc_ceil_div(b_panels, fc_block_b_panels(g));
    /* Enough blocks that an unlucky last one costs little. */
    if (products * least_b >= 16 * (ptrdiff_t)threads)
        return (fc_gemm_grid){1, least_b};
    fc_gemm_grid best = {1, least_b};
    double least = 0;
    const ptrdiff_t tries = fc_min(2 * threads, 32);
    for (ptrdiff_t a = 1; a <= fc_min(a_panels, tries); a++)
        for (ptrdiff_t b = least_b; b <= fc_min(b_panels, least_b + tries); b++) {
            const double rounds = (double)fc_ceil_div(products * a * b, threads);
            const double rows = (double)fc_ceil_div(a_panels, a), columns = (double)fc_ceil_div(b_panels, b);
            /* Packing a panel of B is about as long as half a tile, streaming one of A about an eighth. */
            const double cost = rounds * (rows * columns + 0.5 * columns + 0.125 * rows);
            if (least == 0 || cost < least) {
                least = cost;
                best = (fc_gemm_grid){a, b};
            }
        }
    return best;
}

double fc_gemm_cycles(const fc_gemm *g)
{
    const double panels = (double)fc_a_panels(g), rows = (double)g->m / panels;
    const double vectors = (double)fc_ceil_div(g->n, g->kernels->lanes);
    return panels * vectors / 2 * fc_tile_step_cycles(rows) * (double)g->k;
}
