/* Step 7: vector registers.
 *
 * One row of a tile is held in registers from the first step of the reduction to the last: no element of C is loaded or
 * stored on the way. The registers are as wide as the CPU has them, since this file is compiled for each instruction
 * set.
 */
#include "isa.h"

enum { BLOCK_DEPTH = 256, BLOCK_COLUMNS = 256 };

/* `count` lines, lane_step apart, into panels of `width`; the steps of the reduction lie depth_step apart. */
static void pack(const float *from, ptrdiff_t lane_step, ptrdiff_t depth_step, ptrdiff_t count, ptrdiff_t depth,
                 ptrdiff_t width, float *to)
{
    for (ptrdiff_t l0 = 0; l0 < count; l0 += width)
        for (ptrdiff_t p = 0; p < depth; p++)
            for (ptrdiff_t l = l0; l < l0 + width; l++)
                *to++ = l < count ? from[l * lane_step + p * depth_step] : 0;
}

/* rows x columns of C, at most a tile, from one panel of A and one of B. */
static void tile(const float *a, const float *b, float *c, ptrdiff_t ldc, ptrdiff_t rows, ptrdiff_t columns,
                 ptrdiff_t depth)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        vec sum[TILE_VECTORS] = {0};
        for (ptrdiff_t p = 0; p < depth; p++)
            UNROLL
            for (int v = 0; v < TILE_VECTORS; v++)
                sum[v] += a[p * TILE_ROWS + i] * ((const vec *)b)[p * TILE_VECTORS + v];
        for (ptrdiff_t j = 0; j < columns; j++)
            c[i * ldc + j] += ((const float *)sum)[j];
    }
}

static void multiply(const float *a, const float *b, float *c, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, float *packed_a,
                     float *packed_b)
{
    memset(c, 0, sizeof(float) * (size_t)(m * n));
    for (ptrdiff_t p0 = 0; p0 < k; p0 += BLOCK_DEPTH) {
        const ptrdiff_t depth = ladder_min(BLOCK_DEPTH, k - p0);
        pack(a + p0, k, 1, m, depth, TILE_ROWS, packed_a);
        for (ptrdiff_t j0 = 0; j0 < n; j0 += BLOCK_COLUMNS) {
            const ptrdiff_t columns = ladder_min(BLOCK_COLUMNS, n - j0);
            pack(b + p0 * n + j0, 1, n, columns, depth, TILE_COLUMNS, packed_b);
            for (ptrdiff_t j = 0; j < columns; j += TILE_COLUMNS)
                for (ptrdiff_t i = 0; i < m; i += TILE_ROWS)
                    tile(packed_a + i * depth, packed_b + j * depth, c + i * n + j0 + j, n,
                         ladder_min(TILE_ROWS, m - i), ladder_min(TILE_COLUMNS, columns - j), depth);
        }
    }
}

int ISA(ladder_conv_07_vectors)(const float *x, const float *w, float *y, const ladder_problem *d)
{
    const ptrdiff_t depth = d->c * d->r * d->s, pixels = d->oh * d->ow;
    float *columns = malloc(sizeof(float) * (size_t)(depth * pixels));
    float *packed_a = malloc(sizeof(float) * (size_t)((d->k + TILE_ROWS) * BLOCK_DEPTH));
    float *packed_b = aligned_alloc(64, sizeof(float) * BLOCK_COLUMNS * BLOCK_DEPTH);
    const int status = columns && packed_a && packed_b ? LADDER_OK : LADDER_NO_MEMORY;
    for (ptrdiff_t n = 0; n < d->n && status == LADDER_OK; n++) {
        ladder_im2col(x + n * d->c * d->h * d->w, columns, d);
        multiply(w, columns, y + n * d->k * pixels, d->k, pixels, depth, packed_a, packed_b);
    }
    free(packed_b);
    free(packed_a);
    free(columns);
    return status;
}
