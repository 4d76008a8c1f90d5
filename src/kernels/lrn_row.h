/* Local response normalisation: y = x * scale^-beta, scale = k + alpha/size * (sum of squares over a window of
 * channels), summed anew for each channel: a sum that slides would carry a NaN, and rounding, on to channels that do
 * not see it. */

/* The exponents of the literature are roots; others are a power of two by polynomials. */
enum { FC_NAME(lrn_half), FC_NAME(lrn_three_quarters), FC_NAME(lrn_one), FC_NAME(lrn_any) };

/* scale^-beta with beta = high + low, of which `high` has so few bits that its product with an exponent is exact. */
typedef struct {
    double beta;
    vec high, low, whole;
} FC_NAME(lrn_exponent);

FC_INLINE FC_NAME(lrn_exponent) FC_NAME(lrn_exponent_of)(double beta)
{
    const int bits = FC_REAL_BITS == 32 ? 12 : 26;
    int exponent;
    const double unit = ldexp(frexp(beta, &exponent), bits), high = ldexp(nearbyint(unit), exponent - bits);
    return (FC_NAME(lrn_exponent)){beta, vset1((real)high), vset1((real)(beta - high)), vset1((real)beta)};
}

/* x^-beta = 2^(-beta * log2(x)): log2 by the series of artanh, 2^r for |r| <= 1/2 by that of exp; both are cut off
 * below a tenth of the rounding unit. Off by at most 4 units in the last place for |beta| <= 4. What is not positive
 * and normal, or whose power is not, goes through pow. */
FC_INLINE vec FC_NAME(lrn_any_power)(vec x, const FC_NAME(lrn_exponent) *to)
{
    const int mantissa = FC_REAL_BITS == 32 ? 23 : 52, artanh_terms = FC_REAL_BITS == 32 ? 5 : 11;
    const int exp_terms = FC_REAL_BITS == 32 ? 8 : 14;
    const real least = FC_REAL_BITS == 32 ? (real)0x1p-126 : (real)0x1p-1022;
    const real largest = FC_REAL_BITS == 32 ? (real)0x1.fffffep127 : (real)0x1.fffffffffffffp1023;
    const real limit = FC_REAL_BITS == 32 ? 124 : 1020;
    /* x = 2^e * m with m from sqrt(1/2) to sqrt(2); as an integer the exponent is a multiple of 2^mantissa. */
    const vec root = vset1((real)0x1.6a09e667f3bcdp-1);
    const vmask over = ((vmask)x - (vmask)root) & -((lane_int)1 << mantissa);
    const vec m = (vec)((vmask)x - over), one = vset1(1);
    const vec e = __builtin_convertvector(over, vec) / vset1((real)((lane_int)1 << mantissa));
    const vec f = (m - one) / (m + one), square = f * f;
    vec series = vset1((real)1 / (2 * artanh_terms - 1));
    FC_UNROLL
    for (int i = artanh_terms - 2; i >= 0; i--)
        series = series * square + vset1((real)1 / (2 * i + 1));
    const vec log2 = series * f * vset1((real)2.8853900817779268);
    const vec exact = -(to->high * e), rest = -(to->low * e + to->whole * log2), power = exact + rest;
    /* The nearest integer, by a sum whose last bit is one: its last bits are the integer's. */
    const vec shift = vset1(FC_REAL_BITS == 32 ? (real)0x1.8p23 : (real)0x1.8p52), shifted = power + shift;
    const vec z = ((exact - (shifted - shift)) + rest) * vset1((real)0.69314718055994531);
    vec sum = one;
    FC_UNROLL
    for (int i = exp_terms - 1; i >= 1; i--)
        sum = one + sum * z * vset1((real)1 / i);
    vec result = (vec)((vmask)sum + ((vmask)shifted << mantissa));
    if (vany(vgreater(vset1(least), x) | vgreater(x, vset1(largest)) | vunordered(x, power) |
             vgreater(power * power, vset1(limit * limit))))
        for (int i = 0; i < LANES; i++)
            result[i] = (real)pow((double)x[i], -to->beta);
    return result;
}

FC_INLINE vec FC_NAME(lrn_power)(vec scale, const int kind, const FC_NAME(lrn_exponent) *to)
{
    if (kind == FC_NAME(lrn_one))
        return vset1(1) / scale;
    if (kind == FC_NAME(lrn_any))
        return FC_NAME(lrn_any_power)(scale, to);
    const vec root = vsqrt(scale);
    return vset1(1) / (kind == FC_NAME(lrn_half) ? root : root * vsqrt(root));
}

/* The sum over rows c - before .. c + after of those that exist, `step` elements apart. */
FC_INLINE vec FC_NAME(lrn_window)(const real *rows, ptrdiff_t step, ptrdiff_t channels, ptrdiff_t c, ptrdiff_t before,
                                  ptrdiff_t after, int lanes, const int squares)
{
    const ptrdiff_t low = c < before ? 0 : c - before, high = channels - 1 - c < after ? channels - 1 : c + after;
    vec total = {0};
    for (ptrdiff_t i = low; i <= high; i++) {
        const vec v = lanes == LANES ? vload(rows + i * step) : vload_n(rows + i * step, lanes);
        total += squares ? v * v : v;
    }
    return total;
}

/* Lanes along pixels: a few vectors of them through all channels. Backwards, scratch takes what each channel hands to
 * those in its window, dy * x * scale^(-beta - 1). */
FC_INLINE void FC_NAME(lrn_planes_of)(const fc_lrn_block *b, const int kind, const int backward)
{
    const FC_NAME(lrn_exponent) to = FC_NAME(lrn_exponent_of)(b->beta);
    const vec alpha = vset1((real)b->alpha_over_size), k = vset1((real)b->k);
    const vec factor = vset1((real)(2 * b->alpha_over_size * b->beta));
    const ptrdiff_t group = FC_LRN_VECTORS * LANES;
    for (ptrdiff_t first = 0; first < b->pixels; first += group) {
        const ptrdiff_t end = b->pixels - first < group ? b->pixels : first + group;
        for (ptrdiff_t c = 0; c < b->channels; c++)
            for (ptrdiff_t p = first; p < end; p += LANES) {
                const int lanes = end - p < LANES ? (int)(end - p) : LANES;
                const real *x = (const real *)b->x + p;
                const vec scale = FC_NAME(lrn_window)(x, b->x_channel, b->channels, c, b->before, b->after, lanes, 1) * alpha + k;
                const vec power = FC_NAME(lrn_power)(scale, kind, &to);
                const vec v = vload_n(x + c * b->x_channel, lanes);
                real *out = (real *)b->out + c * b->out_channel + p;
                if (!backward) {
                    vstore_n(out, v * power, lanes);
                    continue;
                }
                const vec dy = vload_n((const real *)b->dy + c * b->dy_channel + p, lanes);
                vstore_n(out, dy * power, lanes);
                vstore((real *)b->scratch + c * group + (p - first), dy * v * power / scale);
            }
        for (ptrdiff_t c = 0; backward && c < b->channels; c++)
            for (ptrdiff_t p = first; p < end; p += LANES) {
                /* The channels that see c: the window turned round. */
                const int lanes = end - p < LANES ? (int)(end - p) : LANES;
                const vec total = FC_NAME(lrn_window)((const real *)b->scratch + (p - first), group, b->channels, c,
                                                      b->after, b->before, LANES, 0);
                const vec v = vload_n((const real *)b->x + c * b->x_channel + p, lanes);
                real *out = (real *)b->out + c * b->out_channel + p;
                vstore_n(out, vload_n(out, lanes) - factor * v * total, lanes);
            }
    }
}

/* Lanes along channels: pixel by pixel, squares (and what channels hand on) in scratch between `before + after` zeros
 * on either side. */
FC_INLINE void FC_NAME(lrn_pixels_of)(const fc_lrn_block *b, const int kind, const int backward)
{
    const FC_NAME(lrn_exponent) to = FC_NAME(lrn_exponent_of)(b->beta);
    const vec alpha = vset1((real)b->alpha_over_size), k = vset1((real)b->k);
    const vec factor = vset1((real)(2 * b->alpha_over_size * b->beta));
    const ptrdiff_t around = b->before + b->after, row = b->channels + 2 * around + LANES;
    real *squares = (real *)b->scratch + around, *handed = squares + row;
    memset(b->scratch, 0, (size_t)((1 + backward) * row) * sizeof(real));
    for (ptrdiff_t p = 0; p < b->pixels; p++) {
        const real *x = (const real *)b->x + p * b->x_pixel;
        const real *dy = backward ? (const real *)b->dy + p * b->dy_pixel : NULL;
        real *out = (real *)b->out + p * b->out_pixel;
        for (ptrdiff_t c = 0; c < b->channels; c += LANES) {
            const int lanes = b->channels - c < LANES ? (int)(b->channels - c) : LANES;
            const vec v = vload_n(x + c, lanes);
            vstore_n(squares + c, v * v, lanes);
        }
        for (ptrdiff_t c = 0; c < b->channels; c += LANES) {
            const int lanes = b->channels - c < LANES ? (int)(b->channels - c) : LANES;
            vec total = {0};
            for (ptrdiff_t i = -b->before; i <= b->after; i++)
                total += vload(squares + c + i);
            const vec scale = total * alpha + k, power = FC_NAME(lrn_power)(scale, kind, &to), v = vload_n(x + c, lanes);
            if (!backward) {
                vstore_n(out + c, v * power, lanes);
                continue;
            }
            const vec gradient = vload_n(dy + c, lanes);
            vstore_n(out + c, gradient * power, lanes);
            vstore_n(handed + c, gradient * v * power / scale, lanes);
        }
        for (ptrdiff_t c = 0; backward && c < b->channels; c += LANES) {
            const int lanes = b->channels - c < LANES ? (int)(b->channels - c) : LANES;
            vec total = {0};
            for (ptrdiff_t i = -b->after; i <= b->before; i++)
                total += vload(handed + c + i);
            vstore_n(out + c, vload_n(out + c, lanes) - factor * vload_n(x + c, lanes) * total, lanes);
        }
    }
}

FC_INLINE void FC_NAME(lrn_block)(const fc_lrn_block *b, const int kind)
{
    if (b->dy && b->planes)
        FC_NAME(lrn_planes_of)(b, kind, 1);
    else if (b->dy)
        FC_NAME(lrn_pixels_of)(b, kind, 1);
    else if (b->planes)
        FC_NAME(lrn_planes_of)(b, kind, 0);
    else
        FC_NAME(lrn_pixels_of)(b, kind, 0);
}

static void FC_NAME(lrn)(const fc_lrn_block *b)
{
    if (b->beta == 0.75)
        FC_NAME(lrn_block)(b, FC_NAME(lrn_three_quarters));
    else if (b->beta == 0.5)
        FC_NAME(lrn_block)(b, FC_NAME(lrn_half));
    else if (b->beta == 1.0)
        FC_NAME(lrn_block)(b, FC_NAME(lrn_one));
    else
        FC_NAME(lrn_block)(b, FC_NAME(lrn_any));
}
