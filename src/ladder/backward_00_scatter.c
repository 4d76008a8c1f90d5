/* Gradient by the input, step 0: scatter.
 *
 * The forward loops, with the assignment turned round: each output hands its gradient back to the pixels that it was
 * computed from, weight by weight. A pixel is added to wherever a window had met it.
 */
#include "ladder.h"

int ladder_backward_00_scatter(const float *dy, const float *w, float *dx, const ladder_problem *d)
{
    memset(dx, 0, sizeof(float) * (size_t)(d->n * d->c * d->h * d->w));
    for (ptrdiff_t n = 0; n < d->n; n++)
        for (ptrdiff_t k = 0; k < d->k; k++)
            for (ptrdiff_t i = 0; i < d->oh; i++)
                for (ptrdiff_t j = 0; j < d->ow; j++) {
                    const float gradient = dy[((n * d->k + k) * d->oh + i) * d->ow + j];
                    for (ptrdiff_t c = 0; c < d->c; c++)
                        for (ptrdiff_t r = 0; r < d->r; r++)
                            for (ptrdiff_t s = 0; s < d->s; s++) {
                                const ptrdiff_t row = i * d->u + r - d->p, column = j * d->v + s - d->q;
                                if (row >= 0 && row < d->h && column >= 0 && column < d->w)
                                    dx[((n * d->c + c) * d->h + row) * d->w + column] +=
                                        gradient * w[((k * d->c + c) * d->r + r) * d->s + s];
                            }
                }
    return LADDER_OK;
}
