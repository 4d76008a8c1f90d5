/* Step 3: C, with the loop order turned.
 *
 * The loop over a row of the output is now the innermost: it reads and writes neighbours, so that the compiler makes
 * vector instructions of it. One weight serves the whole row, and the padding is settled before the loop begins.
 */
#include "ladder.h"

int ladder_conv_03_order(const float *x, const float *w, float *y, const ladder_problem *d)
{
    memset(y, 0, sizeof(float) * (size_t)(d->n * d->k * d->oh * d->ow));
    for (ptrdiff_t n = 0; n < d->n; n++)
        for (ptrdiff_t k = 0; k < d->k; k++)
            for (ptrdiff_t c = 0; c < d->c; c++)
                for (ptrdiff_t r = 0; r < d->r; r++)
                    for (ptrdiff_t s = 0; s < d->s; s++) {
                        const float weight = w[((k * d->c + c) * d->r + r) * d->s + s];
                        const ptrdiff_t end_i = ladder_end(r, d->u, d->p, d->h, d->oh);
                        const ptrdiff_t end_j = ladder_end(s, d->v, d->q, d->w, d->ow);
                        for (ptrdiff_t i = ladder_first(r, d->u, d->p); i < end_i; i++) {
                            const float *from = x + ((n * d->c + c) * d->h + i * d->u + r - d->p) * d->w;
                            float *to = y + ((n * d->k + k) * d->oh + i) * d->ow;
                            for (ptrdiff_t j = ladder_first(s, d->v, d->q); j < end_j; j++)
                                to[j] += weight * from[j * d->v + s - d->q];
                        }
                    }
    return LADDER_OK;
}
