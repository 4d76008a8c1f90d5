/* Winograd's transforms F(m x m, r x r), lanes along tiles for the image, along filters for
 * filters and outputs.
 *
 * Y = A^T [(G g G^T) . (B^T d B)] A, where the matrices follow from the m + r - 1 points by the Cook-Toom construction:
 * F(2x2,3x3) at 0, 1, -1 and infinity; F(4x4,3x3) and F(2x2,5x5) at 0, 5/8, -5/8, 3/2, -3/2 and infinity, whose error is
 * less than half of the textbook points' 0, 1, -1, 2, -2. The two points +-p share their even and odd parts.
 * (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; Vincent et al., "On Improving the Numerical
 * Stability of Winograd Convolutions", 2017, for the choice of points.)
 */

/* The six points: a = 5/8, b = 3/2. The filter's rows are divided by the product of the distances between
 * points, as Cook-Toom has it. */
#define FC_WA ((real)0.625)
#define FC_WB ((real)1.5)
#define FC_WA2 ((real)0.390625)
#define FC_WB2 ((real)2.25)
#define FC_WA3 ((real)0.244140625)
#define FC_WB3 ((real)3.375)

/* B^T d: of `size` elements, by steps of `step` in an array. */
FC_INLINE void FC_NAME(winograd_input_line)(vec *d, const int step, const int size)
{
    if (size == 4) {
        const vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
        d[0] = d2 - d0;
        d[step] = d2 + d1;
        d[2 * step] = d2 - d1;
        d[3 * step] = d3 - d1;
        return;
    }
    const vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const vec even_a = d4 - FC_WB2 * d2, odd_a = FC_WA * (d3 - FC_WB2 * d1);
    const vec even_b = d4 - FC_WA2 * d2, odd_b = FC_WB * (d3 - FC_WA2 * d1);
    d[0] = FC_WA2 * FC_WB2 * d0 - (FC_WA2 + FC_WB2) * d2 + d4;
    d[step] = even_a + odd_a;
    d[2 * step] = even_a - odd_a;
    d[3 * step] = even_b + odd_b;
    d[4 * step] = even_b - odd_b;
    d[5 * step] = FC_WA2 * FC_WB2 * d1 - (FC_WA2 + FC_WB2) * d3 + d5;
}

/* G g: r elements become `size`. */
FC_INLINE void FC_NAME(winograd_filter_line)(vec *g, const int step, const int size, const int r)
{
    const vec g0 = g[0], g1 = g[step], g2 = g[2 * step];
    if (size == 4) {
        const vec even = (real)0.5 * (g0 + g2), odd = (real)0.5 * g1;
        g[0] = -g0;
        g[step] = even + odd;
        g[2 * step] = even - odd;
        g[3 * step] = g2;
        return;
    }
    const real at_0 = 1 / (FC_WA2 * FC_WB2);
    const real at_a = 1 / (2 * FC_WA2 * (FC_WA2 - FC_WB2)), at_b = 1 / (2 * FC_WB2 * (FC_WB2 - FC_WA2));
    vec even_a = at_a * g0 + at_a * FC_WA2 * g2, odd_a = at_a * FC_WA * g1;
    vec even_b = at_b * g0 + at_b * FC_WB2 * g2, odd_b = at_b * FC_WB * g1;
    vec last = g2;
    if (r == 5) {
        const vec g3 = g[3 * step], g4 = g[4 * step];
        even_a += at_a * FC_WA2 * FC_WA2 * g4, odd_a += at_a * FC_WA3 * g3;
        even_b += at_b * FC_WB2 * FC_WB2 * g4, odd_b += at_b * FC_WB3 * g3;
        last = g4;
    }
    g[0] = at_0 * g0;
    g[step] = even_a + odd_a;
    g[2 * step] = even_a - odd_a;
    g[3 * step] = even_b + odd_b;
    g[4 * step] = even_b - odd_b;
    g[5 * step] = last;
}

/* A^T y: `size` elements become m. */
FC_INLINE void FC_NAME(winograd_output_line)(vec *y, const int step, const int size, const int m)
{
    if (size == 4) {
        const vec y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
        y[0] = y0 + (y1 + y2);
        y[step] = (y1 - y2) + y3;
        return;
    }
    const vec y0 = y[0], even_a = y[step] + y[2 * step], odd_a = y[step] - y[2 * step];
    const vec even_b = y[3 * step] + y[4 * step], odd_b = y[3 * step] - y[4 * step], y5 = y[5 * step];
    y[0] = y0 + even_a + even_b;
    y[step] = FC_WA * odd_a + FC_WB * odd_b;
    if (m == 2) {
        y[step] += y5;
        return;
    }
    y[2 * step] = FC_WA2 * even_a + FC_WB2 * even_b;
    y[3 * step] = FC_WA3 * odd_a + FC_WB3 * odd_b + y5;
}

FC_INLINE void FC_NAME(winograd_input_of)(const fc_winograd_input *in, const int size)
{
    for (ptrdiff_t t = 0; t < in->tiles; t += LANES) {
        vec d[36];
        FC_UNROLL
        for (int i = 0; i < size * size; i++)
            d[i] = vload((const real *)in->image + in->offset[i] + t);
        FC_UNROLL
        for (int j = 0; j < size; j++)
            FC_NAME(winograd_input_line)(d + j, size, size);
        FC_UNROLL
        for (int i = 0; i < size; i++)
            FC_NAME(winograd_input_line)(d + i * size, 1, size);
        const int lanes = in->tiles - t < LANES ? (int)(in->tiles - t) : LANES;
        real *to = (real *)in->transformed + t;
        if (in->exact)
            FC_UNROLL
            for (int i = 0; i < size * size; i++)
                vstore_n(to + i * in->point_step, d[i], lanes);
        else
            FC_UNROLL
            for (int i = 0; i < size * size; i++)
                vstore(to + i * in->point_step, d[i]);
    }
}

static void FC_NAME(winograd_input)(const fc_winograd_input *in)
{
    if (in->size == 4)
        FC_NAME(winograd_input_of)(in, 4);
    else
        FC_NAME(winograd_input_of)(in, 6);
}

/* Whole vectors are stored: lanes behind the panel's rows are overwritten by the next channel, or the next panel. */
FC_INLINE void FC_NAME(winograd_filter_of)(const fc_winograd_filter *f, const int size, const int r)
{
    for (ptrdiff_t q = 0; q < f->channels; q++)
        for (int first = 0; first < f->rows; first += LANES) {
            const int lanes = f->rows - first < LANES ? f->rows - first : LANES;
            vec g[36];
            FC_UNROLL
            for (int i = 0; i < r * r; i++)
                g[i / r * size + i % r] =
                    vload_n((const real *)f->panel + (q * r * r + f->tap[i]) * f->rows + first, lanes);
            FC_UNROLL
            for (int j = 0; j < r; j++)
                FC_NAME(winograd_filter_line)(g + j, size, size, r);
            FC_UNROLL
            for (int i = 0; i < size; i++)
                FC_NAME(winograd_filter_line)(g + i * size, 1, size, r);
            FC_UNROLL
            for (int i = 0; i < size * size; i++)
                vstore((real *)f->transformed + i * f->point_step + q * f->rows + first, g[i]);
        }
}

static void FC_NAME(winograd_filter)(const fc_winograd_filter *f)
{
    if (f->size == 4)
        FC_NAME(winograd_filter_of)(f, 4, 3);
    else if (f->r == 3)
        FC_NAME(winograd_filter_of)(f, 6, 3);
    else
        FC_NAME(winograd_filter_of)(f, 6, 5);
}

/* One tile of a vector of channels: its m x m outputs before the epilogue, rows `row_step` vectors apart. */
FC_INLINE void FC_NAME(winograd_output_tile)(const real *product, ptrdiff_t point_step, const int size, const int m,
                                             vec *y, const int row_step, vec *residue)
{
    vec d[36];
    FC_UNROLL
    for (int i = 0; i < size * size; i++)
        d[i] = vload(product + i * point_step);
    FC_UNROLL
    for (int j = 0; j < size; j++)
        FC_NAME(winograd_output_line)(d + j, size, size, m);
    FC_UNROLL
    for (int i = 0; i < m; i++)
        FC_NAME(winograd_output_line)(d + i * size, 1, size, m);
    FC_UNROLL
    for (int i = 0; i < m; i++)
        FC_UNROLL
        for (int j = 0; j < m; j++) {
            const vec v = d[i * size + j];
            *residue += v - v;
            y[i * row_step + j] = v;
        }
}

/* Pixels side by side: the outputs of as many tiles as fill a vector of pixels are collected and transposed. */
FC_INLINE void FC_NAME(winograd_output_pixels)(const fc_winograd_output *out, const int size, const int m, vec bias,
                                               vec *residue)
{
    enum { WIDEST = LANES > 4 ? LANES : 4 };
    const int group = LANES > m ? LANES / m : 1, width = group * m;
    vec y[4 * WIDEST];
    for (int i = 0; i < m * width; i++)
        y[i] = (vec){0};
    for (ptrdiff_t t = 0; t < out->tiles; t += group) {
        for (int i = 0; i < group && t + i < out->tiles; i++)
            FC_NAME(winograd_output_tile)((const real *)out->product + (t + i) * out->tile_step, out->point_step, size,
                                          m, y + i * m, width, residue);
        for (ptrdiff_t row = 0; row < out->rows; row++)
            for (int first = 0; first < width; first += LANES) {
                const ptrdiff_t column = t * m + first, left = out->columns - column;
                if (left <= 0)
                    break;
                vec v[LANES];
                FC_UNROLL
                for (int i = 0; i < LANES; i++) {
                    v[i] = y[row * width + first + i] + bias;
                    if (out->relu)
                        v[i] = vselect((vmask)(v[i] < (vec){0}), (vec){0}, v[i]);
                }
                vtranspose(v);
                real *to = (real *)out->y + row * out->row_step + column;
                if (out->channels == LANES && left >= LANES)
                    FC_UNROLL
                    for (int i = 0; i < LANES; i++)
                        vstore(to + i * out->channel_step, v[i]);
                else
                    for (int i = 0; i < out->channels; i++)
                        vstore_n(to + i * out->channel_step, v[i], left < LANES ? (int)left : LANES);
            }
    }
}

/* Channels side by side: every pixel is a vector. */
FC_INLINE void FC_NAME(winograd_output_channels)(const fc_winograd_output *out, const int size, const int m, vec bias,
                                                 vec *residue)
{
    vec y[16];
    for (ptrdiff_t t = 0; t < out->tiles; t++) {
        FC_NAME(winograd_output_tile)((const real *)out->product + t * out->tile_step, out->point_step, size, m, y, m,
                                      residue);
        const ptrdiff_t columns = out->columns - t * m < m ? out->columns - t * m : m;
        for (ptrdiff_t row = 0; row < out->rows; row++)
            for (ptrdiff_t column = 0; column < columns; column++) {
                vec v = y[row * m + column] + bias;
                if (out->relu)
                    v = vselect((vmask)(v < (vec){0}), (vec){0}, v);
                vstore_n((real *)out->y + row * out->row_step + (t * m + column) * out->column_step, v, out->channels);
            }
    }
}

FC_INLINE uint32_t FC_NAME(winograd_output_of)(const fc_winograd_output *out, const int size, const int m)
{
    const vec bias = out->bias ? vload_n(out->bias, out->channels) : (vec){0};
    vec residue = {0};
    if (out->channel_step == 1)
        FC_NAME(winograd_output_channels)(out, size, m, bias, &residue);
    else
        FC_NAME(winograd_output_pixels)(out, size, m, bias, &residue);
    uint32_t not_finite = 0;
    for (int i = 0; i < out->channels; i++)
        not_finite |= (uint32_t)(residue[i] != 0) << i;
    return not_finite;
}

static uint32_t FC_NAME(winograd_output)(const fc_winograd_output *out)
{
    if (out->size == 4)
        return FC_NAME(winograd_output_of)(out, 4, 2);
    return out->m == 4 ? FC_NAME(winograd_output_of)(out, 6, 4) : FC_NAME(winograd_output_of)(out, 6, 2);
}

#undef FC_WA
#undef FC_WB
#undef FC_WA2
#undef FC_WB2
#undef FC_WA3
#undef FC_WB3
