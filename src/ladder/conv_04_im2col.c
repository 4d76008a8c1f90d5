/* Step 4: im2col + BLAS.
 *
 * Every window of the image becomes a column of a matrix. Convolution is then a product of two matrices, filters times
 * columns, and that is what BLAS does best. The price is the matrix: each pixel is copied r*s times.
 * (Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing", 2006.)
 */
#include "ladder.h"

void ladder_im2col(const float *image, float *columns, const ladder_problem *d)
{
    for (ptrdiff_t c = 0; c < d->c; c++)
        for (ptrdiff_t r = 0; r < d->r; r++)
            for (ptrdiff_t s = 0; s < d->s; s++)
                for (ptrdiff_t i = 0; i < d->oh; i++, columns += d->ow) {
                    const ptrdiff_t row = i * d->u + r - d->p, first = ladder_first(s, d->v, d->q);
                    const ptrdiff_t count = ladder_end(s, d->v, d->q, d->w, d->ow) - first;
                    memset(columns, 0, sizeof(float) * (size_t)d->ow);
                    if (row < 0 || row >= d->h || count <= 0)
                        continue;
                    const float *from = image + (c * d->h + row) * d->w + first * d->v + s - d->q;
                    if (d->v == 1)
                        memcpy(columns + first, from, sizeof(float) * (size_t)count);
                    else
                        for (ptrdiff_t j = 0; j < count; j++)
                            columns[first + j] = from[j * d->v];
                }
}

int ladder_conv_04_im2col(const float *x, const float *w, float *y, const ladder_problem *d)
{
    const ptrdiff_t depth = d->c * d->r * d->s, pixels = d->oh * d->ow;
    float *columns = malloc(sizeof(float) * (size_t)(depth * pixels));
    if (!columns)
        return LADDER_NO_MEMORY;
    int status = LADDER_OK;
    for (ptrdiff_t n = 0; n < d->n && status == LADDER_OK; n++) {
        ladder_im2col(x + n * d->c * d->h * d->w, columns, d);
        status = d->blas(w, columns, y + n * d->k * pixels, d->k, pixels, depth);
    }
    free(columns);
    return status;
}
