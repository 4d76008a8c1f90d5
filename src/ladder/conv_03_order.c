/* Step 3: C, with the loop order turned.
 *
 * The loop over a row of the output is now the innermost: it reads and writes neighbours, so that the compiler makes
 * vector instructions of it. One weight serves the whole row, and the padding is settled before the loop begins.
 */
#include "ladder.h"

/* Outputs side by side, their pixels `step` apart. A call with the constant 1 is compiled by itself, for neighbours. */
static inline void add_row(float *restrict to, const float *restrict from, float weight, ptrdiff_t count, ptrdiff_t step)
{
    for (ptrdiff_t j = 0; j < count; j++)
        to[j] += weight * from[j * step];
}

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
                        const ptrdiff_t first = ladder_first(s, d->v, d->q);
                        const ptrdiff_t count = ladder_end(s, d->v, d->q, d->w, d->ow) - first;
                        for (ptrdiff_t i = ladder_first(r, d->u, d->p); count > 0 && i < end_i; i++) {
                            const ptrdiff_t row = (n * d->c + c) * d->h + i * d->u + r - d->p;
                            const float *from = x + row * d->w + first * d->v + s - d->q;
                            float *to = y + ((n * d->k + k) * d->oh + i) * d->ow + first;
                            if (d->v == 1)
                                add_row(to, from, weight, count, 1);
                            else
                                add_row(to, from, weight, count, d->v);
                        }
                    }
    return LADDER_OK;
}
