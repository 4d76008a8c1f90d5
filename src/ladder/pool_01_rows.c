/* Max pooling, step 1: a row of outputs for each tap.
 *
 * The loops are turned, as in step 3 of the convolution: tap by tap, a whole row of the output takes the greater of
 * what it has and what the tap sees. Nothing depends on the output before it, and the edge is settled before the loop
 * begins.
 */
#include <math.h>

#include "ladder.h"

int ladder_pool_01_rows(const float *x, const float *w, float *y, const ladder_problem *d)
{
    (void)w;
    for (ptrdiff_t plane = 0; plane < d->n * d->c; plane++, x += d->h * d->w)
        for (ptrdiff_t i = 0; i < d->oh; i++, y += d->ow) {
            for (ptrdiff_t j = 0; j < d->ow; j++)
                y[j] = -INFINITY;
            for (ptrdiff_t r = 0; r < d->r; r++)
                for (ptrdiff_t s = 0; s < d->s; s++) {
                    const ptrdiff_t row = i * d->u + r - d->p;
                    const ptrdiff_t end = ladder_end(s, d->v, d->q, d->w, d->ow);
                    if (row < 0 || row >= d->h)
                        continue;
                    for (ptrdiff_t j = ladder_first(s, d->v, d->q); j < end; j++) {
                        const float value = x[row * d->w + j * d->v + s - d->q];
                        y[j] = value > y[j] || value != value ? value : y[j]; /* a NaN is handed on */
                    }
                }
        }
    return LADDER_OK;
}
