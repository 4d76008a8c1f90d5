/* Max pooling, step 0: window by window.
 *
 * As the formula has it: each output looks at its window, pixel by pixel, and at what of it lies outside the image.
 */
#include <math.h>

#include "ladder.h"

int ladder_pool_00_windows(const float *x, const float *w, float *y, const ladder_problem *d)
{
    (void)w;
    for (ptrdiff_t plane = 0; plane < d->n * d->c; plane++, x += d->h * d->w)
        for (ptrdiff_t i = 0; i < d->oh; i++)
            for (ptrdiff_t j = 0; j < d->ow; j++) {
                float most = -INFINITY;
                for (ptrdiff_t r = 0; r < d->r; r++)
                    for (ptrdiff_t s = 0; s < d->s; s++) {
                        const ptrdiff_t row = i * d->u + r - d->p, column = j * d->v + s - d->q;
                        if (row < 0 || row >= d->h || column < 0 || column >= d->w)
                            continue;
                        const float value = x[row * d->w + column];
                        if (value > most || value != value) /* a NaN is handed on */
                            most = value;
                    }
                *y++ = most;
            }
    return LADDER_OK;
}
