/* Local response normalisation of `count` pixels, lanes along pixels; channels lie `step` elements apart.
 * y = x * scale^-beta, scale = k + alpha/size * (sum of squares over a window of channels). */

static void FC_NAME(lrn_scale)(void *scale, const void *x, ptrdiff_t step, ptrdiff_t channels, ptrdiff_t count,
                               double k, double alpha_over_size)
{
    real *to = scale;
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        const int lanes = count - i < LANES ? (int)(count - i) : LANES;
        vec total = {0};
        for (ptrdiff_t c = 0; c < channels; c++) {
            vec v = vload_n((const real *)x + c * step + i, lanes);
            total += v * v;
        }
        vstore_n(to + i, total * vset1((real)alpha_over_size) + vset1((real)k), lanes);
    }
}

/* scale^-beta; the exponents of the literature are products of square roots, exact to a few units in the last place. */
FC_INLINE real FC_NAME(lrn_power_of)(real scale, double beta)
{
    const real root = (real)sqrt((double)scale);
    if (beta == 0.75)
        return (real)1 / (root * (real)sqrt((double)root));
    if (beta == 0.5)
        return (real)1 / root;
    if (beta == 1.0)
        return (real)1 / scale;
    return (real)pow((double)scale, -beta);
}

static void FC_NAME(lrn_power)(void *power, const void *scale, ptrdiff_t count, double beta)
{
    for (ptrdiff_t i = 0; i < count; i++)
        ((real *)power)[i] = FC_NAME(lrn_power_of)(((const real *)scale)[i], beta);
}

static void FC_NAME(lrn_multiply)(void *y, const void *x, const void *power, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++)
        ((real *)y)[i] = ((const real *)x)[i] * ((const real *)power)[i];
}

/* ratio = dy * x * scale^(-beta - 1), what a channel hands to the channels in its window. */
static void FC_NAME(lrn_ratio)(void *ratio, const void *dy, const void *x, const void *power, const void *scale,
                               ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++)
        ((real *)ratio)[i] =
            ((const real *)dy)[i] * ((const real *)x)[i] * ((const real *)power)[i] / ((const real *)scale)[i];
}

/* dx = dy * power - factor * x * (sum of `channels` rows of ratio) */
static void FC_NAME(lrn_gradient)(void *dx, const void *dy, const void *x, const void *power, const void *ratio,
                                  ptrdiff_t step, ptrdiff_t channels, ptrdiff_t count, double factor)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        real total = 0;
        for (ptrdiff_t c = 0; c < channels; c++)
            total += ((const real *)ratio)[c * step + i];
        ((real *)dx)[i] = ((const real *)dy)[i] * ((const real *)power)[i] -
                          (real)factor * ((const real *)x)[i] * total;
    }
}
