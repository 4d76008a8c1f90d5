/* Step 5: im2col + a matrix product of our own, by blocks.
 *
 * The three loops of a product, but over blocks: a block of B is small enough to stay in the L2 cache while all rows of
 * A meet it, so that B comes from memory once and not once for each row.
 */
#include "ladder.h"

/* 256 x 256 floats are 256 KiB. */
enum { BLOCK_DEPTH = 256, BLOCK_COLUMNS = 256 };

static void multiply(const float *a, const float *b, float *c, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k)
{
    memset(c, 0, sizeof(float) * (size_t)(m * n));
    for (ptrdiff_t p0 = 0; p0 < k; p0 += BLOCK_DEPTH) {
        const ptrdiff_t depth = ladder_min(BLOCK_DEPTH, k - p0);
        for (ptrdiff_t j0 = 0; j0 < n; j0 += BLOCK_COLUMNS) {
            const ptrdiff_t columns = ladder_min(BLOCK_COLUMNS, n - j0);
            for (ptrdiff_t i = 0; i < m; i++)
                for (ptrdiff_t p = p0; p < p0 + depth; p++)
                    for (ptrdiff_t j = j0; j < j0 + columns; j++)
                        c[i * n + j] += a[i * k + p] * b[p * n + j];
        }
    }
}

int ladder_conv_05_blocks(const float *x, const float *w, float *y, const ladder_problem *d)
{
    const ptrdiff_t depth = d->c * d->r * d->s, pixels = d->oh * d->ow;
    float *columns = malloc(sizeof(float) * (size_t)(depth * pixels));
    if (!columns)
        return LADDER_NO_MEMORY;
    for (ptrdiff_t n = 0; n < d->n; n++) {
        ladder_im2col(x + n * d->c * d->h * d->w, columns, d);
        multiply(w, columns, y + n * d->k * pixels, d->k, pixels, depth);
    }
    free(columns);
    return LADDER_OK;
}
