/* Gradient by the input, step 1: BLAS + col2im.
 *
 * The transpose of im2col + BLAS: filters, transposed, times dy is the gradient of the matrix of windows. col2im adds
 * each of its elements to the pixel that it had been copied from.
 */
#include "ladder.h"

/* Columns side by side, their pixels `step` apart. A call with the constant 1 is compiled by itself, for neighbours. */
static inline void add_row(float *restrict to, const float *restrict from, ptrdiff_t count, ptrdiff_t step)
{
    for (ptrdiff_t j = 0; j < count; j++)
        to[j * step] += from[j];
}

static void col2im(const float *columns, float *image, const ladder_problem *d)
{
    memset(image, 0, sizeof(float) * (size_t)(d->c * d->h * d->w));
    for (ptrdiff_t c = 0; c < d->c; c++)
        for (ptrdiff_t r = 0; r < d->r; r++)
            for (ptrdiff_t s = 0; s < d->s; s++)
                for (ptrdiff_t i = 0; i < d->oh; i++, columns += d->ow) {
                    const ptrdiff_t row = i * d->u + r - d->p, first = ladder_first(s, d->v, d->q);
                    const ptrdiff_t count = ladder_end(s, d->v, d->q, d->w, d->ow) - first;
                    if (row < 0 || row >= d->h || count <= 0)
                        continue;
                    float *to = image + (c * d->h + row) * d->w + first * d->v + s - d->q;
                    if (d->v == 1)
                        add_row(to, columns + first, count, 1);
                    else
                        add_row(to, columns + first, count, d->v);
                }
}

int ladder_backward_01_col2im(const float *dy, const float *w, float *dx, const ladder_problem *d)
{
    const ptrdiff_t depth = d->c * d->r * d->s, pixels = d->oh * d->ow;
    float *columns = malloc(sizeof(float) * (size_t)(depth * pixels));
    float *transposed = malloc(sizeof(float) * (size_t)(depth * d->k));
    int status = columns && transposed ? LADDER_OK : LADDER_NO_MEMORY;
    for (ptrdiff_t t = 0; t < depth && status == LADDER_OK; t++)
        for (ptrdiff_t k = 0; k < d->k; k++)
            transposed[t * d->k + k] = w[k * depth + t];
    for (ptrdiff_t n = 0; n < d->n && status == LADDER_OK; n++) {
        status = d->blas(transposed, dy + n * d->k * pixels, columns, depth, pixels, d->k);
        if (status == LADDER_OK)
            col2im(columns, dx + n * d->c * d->h * d->w, d);
    }
    free(transposed);
    free(columns);
    return status;
}
