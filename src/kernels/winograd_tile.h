/* Winograd's transforms F(m x m, r x r), lanes along channels throughout.
 *
 * Y = A^T [(G g G^T) . (B^T d B)] A, where the matrices follow from the m + r - 1 points by the Cook-Toom construction.
 * The points are 0, pairs +-p and infinity; with M(x) = x * product of (x^2 - p^2), point p has the row p^k of A, the
 * row p^k / M'(p) of G and the coefficients of M(x) / (x - p) as its row of B^T; infinity has the highest power in A
 * and G, and M(x) in B^T. The two of a pair share their even and odd parts. tests/test_winograd_transforms.py proves
 * the kernels against that construction in exact rationals. (Lavin & Gray, "Fast Algorithms for Convolutional Neural
 * Networks", 2016; Vincent et al., "On Improving the Numerical Stability of Winograd Convolutions", 2017, for the
 * choice of points.)
 */

enum { FC_NAME(WINOGRAD_SIZE) = 8, FC_NAME(WINOGRAD_PAIRS) = 3 };
#define FC_WINOGRAD_LARGEST (FC_NAME(WINOGRAD_SIZE) * FC_NAME(WINOGRAD_SIZE))

/* The points, all exact in binary: 5/8 and 3/2 have less than half the error of the textbook's 1 and 2; among three
 * pairs 1/2, 1, 2 were best of all eighths and quarters tried. Everything below folds to constants. */
FC_INLINE real FC_NAME(winograd_point)(const int pairs, const int i)
{
    if (pairs == 1)
        return 1;
    if (pairs == 2)
        return i == 0 ? (real)0.625 : (real)1.5;
    return i == 0 ? (real)0.5 : i == 1 ? 1 : 2;
}

FC_INLINE real FC_NAME(winograd_power)(const int pairs, const int i, const int power)
{
    real product = 1;
    FC_UNROLL
    for (int k = 0; k < power; k++)
        product *= FC_NAME(winograd_point)(pairs, i);
    return product;
}

/* Coefficient k, of u^k, of the product of (u - p_j^2) over all pairs j but `left_out`. */
FC_INLINE real FC_NAME(winograd_coefficient)(const int pairs, const int left_out, const int k)
{
    real c[FC_NAME(WINOGRAD_PAIRS) + 1] = {1};
    FC_UNROLL
    for (int j = 0; j < pairs; j++)
        if (j != left_out) {
            const real square = FC_NAME(winograd_power)(pairs, j, 2);
            FC_UNROLL
            for (int i = FC_NAME(WINOGRAD_PAIRS); i > 0; i--)
                c[i] = c[i - 1] - square * c[i];
            c[0] *= -square;
        }
    return c[k];
}

/* M'(p_i) = 2 p_i^2 * product of (p_i^2 - p_j^2), the same for +p_i and -p_i; M'(0) is coefficient 0 of all pairs. */
FC_INLINE real FC_NAME(winograd_slope)(const int pairs, const int i)
{
    real slope = 2 * FC_NAME(winograd_power)(pairs, i, 2);
    FC_UNROLL
    for (int j = 0; j < pairs; j++)
        if (j != i)
            slope *= FC_NAME(winograd_power)(pairs, i, 2) - FC_NAME(winograd_power)(pairs, j, 2);
    return slope;
}

/* B^T d: of `size` elements, by steps of `step` in an array. */
FC_INLINE void FC_NAME(winograd_input_line)(vec *d, const int step, const int size)
{
    const int pairs = size / 2 - 1;
    vec even[FC_NAME(WINOGRAD_PAIRS)], odd[FC_NAME(WINOGRAD_PAIRS)];
    vec first = d[(size - 2) * step], last = d[(size - 1) * step];
    FC_UNROLL
    for (int k = 0; k < pairs; k++) {
        first += FC_NAME(winograd_coefficient)(pairs, -1, k) * d[2 * k * step];
        last += FC_NAME(winograd_coefficient)(pairs, -1, k) * d[(2 * k + 1) * step];
    }
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        even[i] = d[2 * pairs * step], odd[i] = d[(2 * pairs - 1) * step];
        FC_UNROLL
        for (int k = 0; k < pairs - 1; k++) {
            even[i] += FC_NAME(winograd_coefficient)(pairs, i, k) * d[(2 * k + 2) * step];
            odd[i] += FC_NAME(winograd_coefficient)(pairs, i, k) * d[(2 * k + 1) * step];
        }
        odd[i] *= FC_NAME(winograd_point)(pairs, i);
    }
    d[0] = first;
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        d[(2 * i + 1) * step] = even[i] + odd[i];
        d[(2 * i + 2) * step] = even[i] - odd[i];
    }
    d[(size - 1) * step] = last;
}

/* G g: r elements become `size`. */
FC_INLINE void FC_NAME(winograd_filter_line)(vec *g, const int step, const int size, const int r)
{
    const int pairs = size / 2 - 1;
    vec even[FC_NAME(WINOGRAD_PAIRS)], odd[FC_NAME(WINOGRAD_PAIRS)];
    const vec last = g[(r - 1) * step];
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        const real at = 1 / FC_NAME(winograd_slope)(pairs, i);
        even[i] = at * g[0], odd[i] = at * FC_NAME(winograd_point)(pairs, i) * g[step];
        FC_UNROLL
        for (int k = 2; k < r; k += 2)
            even[i] += at * FC_NAME(winograd_power)(pairs, i, k) * g[k * step];
        FC_UNROLL
        for (int k = 3; k < r; k += 2)
            odd[i] += at * FC_NAME(winograd_power)(pairs, i, k) * g[k * step];
    }
    g[0] *= 1 / FC_NAME(winograd_coefficient)(pairs, -1, 0);
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        g[(2 * i + 1) * step] = even[i] + odd[i];
        g[(2 * i + 2) * step] = even[i] - odd[i];
    }
    g[(size - 1) * step] = last;
}

/* A^T y: `size` elements become m. */
FC_INLINE void FC_NAME(winograd_output_line)(vec *y, const int step, const int size, const int m)
{
    const int pairs = size / 2 - 1;
    vec even[FC_NAME(WINOGRAD_PAIRS)], odd[FC_NAME(WINOGRAD_PAIRS)];
    const vec first = y[0], last = y[(size - 1) * step];
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        even[i] = y[(2 * i + 1) * step] + y[(2 * i + 2) * step];
        odd[i] = y[(2 * i + 1) * step] - y[(2 * i + 2) * step];
    }
    FC_UNROLL
    for (int j = 0; j < m; j++) {
        const vec *part = j % 2 ? odd : even;
        vec sum = FC_NAME(winograd_power)(pairs, 0, j) * part[0];
        FC_UNROLL
        for (int i = 1; i < pairs; i++)
            sum += FC_NAME(winograd_power)(pairs, i, j) * part[i];
        y[j * step] = j == 0 ? first + sum : j == m - 1 ? sum + last : sum;
    }
}

/* Both passes of a transform over a square of `from` lines: down the columns, then along the `to` rows that result. */
#define FC_WINOGRAD_PASSES(line, d, size, from, to, ...)  \
    do {                                                  \
        FC_UNROLL                                         \
        for (int j = 0; j < (from); j++)                  \
            FC_NAME(line)((d) + j, size, __VA_ARGS__);    \
        FC_UNROLL                                         \
        for (int i = 0; i < (to); i++)                    \
            FC_NAME(line)((d) + i * (size), 1, __VA_ARGS__); \
    } while (0)

#include "winograd_edge.h"

/* `side` x `side` pixels of each tile are read, and its points stored. */
FC_INLINE void FC_NAME(winograd_load_tile)(const fc_winograd_lanes *lanes, ptrdiff_t t, const int size, const int side,
                                           vec *d)
{
    const real *image = (const real *)lanes->image + t * lanes->m * LANES;
    FC_UNROLL
    for (int i = 0; i < side; i++)
        FC_UNROLL
        for (int j = 0; j < side; j++)
            d[i * size + j] = vload(image + i * lanes->row_step + j * LANES);
}

FC_INLINE void FC_NAME(winograd_store_points)(const fc_winograd_lanes *lanes, ptrdiff_t t, const int size, const vec *d)
{
    FC_UNROLL
    for (int i = 0; i < size * size; i++)
        vstore((real *)lanes->transformed + i * lanes->point_step + t * lanes->ld, d[i]);
}

/* Tiles that have all points; those at an edge are winograd_edge.h's. */
FC_INLINE ptrdiff_t FC_NAME(winograd_whole_tiles)(const fc_winograd_lanes *lanes, const int size)
{
    return lanes->height < size ? 0 : lanes->edge ? lanes->tiles - 1 : lanes->tiles;
}

FC_INLINE void FC_NAME(winograd_input_of)(const fc_winograd_lanes *lanes, const int size)
{
    const ptrdiff_t tiles = FC_NAME(winograd_whole_tiles)(lanes, size);
    for (ptrdiff_t t = 0; t < tiles; t++) {
        vec d[FC_WINOGRAD_LARGEST];
        FC_NAME(winograd_load_tile)(lanes, t, size, size, d);
        FC_WINOGRAD_PASSES(winograd_input_line, d, size, size, size, size);
        FC_NAME(winograd_store_points)(lanes, t, size, d);
    }
    if (size == FC_NAME(WINOGRAD_EDGES))
        for (ptrdiff_t t = tiles; t < lanes->tiles; t++)
            FC_NAME(winograd_input_edge)(lanes, t);
}

static void FC_NAME(winograd_input)(const fc_winograd_lanes *lanes)
{
    if (lanes->size == 4)
        FC_NAME(winograd_input_of)(lanes, 4);
    else if (lanes->size == 6)
        FC_NAME(winograd_input_of)(lanes, 6);
    else
        FC_NAME(winograd_input_of)(lanes, 8);
}

/* Whole vectors are stored: lanes behind the panel's rows are overwritten by the next channel, or the next panel. */
FC_INLINE void FC_NAME(winograd_filter_of)(const fc_winograd_filter *f, const int size, const int r)
{
    for (ptrdiff_t q = 0; q < f->channels; q++)
        for (int first = 0; first < f->rows; first += LANES) {
            const int lanes = f->rows - first < LANES ? f->rows - first : LANES;
            vec g[FC_WINOGRAD_LARGEST];
            FC_UNROLL
            for (int i = 0; i < r * r; i++)
                g[i / r * size + i % r] =
                    vload_n((const real *)f->panel + (q * r * r + f->tap[i]) * f->rows + first, lanes);
            FC_WINOGRAD_PASSES(winograd_filter_line, g, size, r, size, size, r);
            FC_UNROLL
            for (int i = 0; i < size * size; i++)
                vstore((real *)f->transformed + i * f->point_step + q * f->rows + first, g[i]);
        }
}

static void FC_NAME(winograd_filter)(const fc_winograd_filter *f)
{
    if (f->size == 4)
        FC_NAME(winograd_filter_of)(f, 4, 3);
    else if (f->size == 6 && f->r == 3)
        FC_NAME(winograd_filter_of)(f, 6, 3);
    else if (f->size == 6)
        FC_NAME(winograd_filter_of)(f, 6, 5);
    else if (f->r == 3)
        FC_NAME(winograd_filter_of)(f, 8, 3);
    else
        FC_NAME(winograd_filter_of)(f, 8, 5);
}

/* One tile of a vector of channels: its m x m outputs before the epilogue, rows `row_step` vectors apart. */
FC_INLINE void FC_NAME(winograd_output_tile)(const real *product, ptrdiff_t point_step, const int size, const int m,
                                             vec *y, const int row_step, vec *residue)
{
    vec d[FC_WINOGRAD_LARGEST];
    FC_UNROLL
    for (int i = 0; i < size * size; i++)
        d[i] = vload(product + i * point_step);
    FC_WINOGRAD_PASSES(winograd_output_line, d, size, size, m, size, m);
    FC_UNROLL
    for (int i = 0; i < m; i++)
        FC_UNROLL
        for (int j = 0; j < m; j++) {
            const vec v = d[i * size + j];
            *residue += v - v;
            y[i * row_step + j] = v;
        }
}

FC_INLINE void FC_NAME(winograd_output_any)(const fc_winograd_output *out, ptrdiff_t t, const int size, const int m,
                                            vec *y, const int row_step, vec *residue)
{
    const int edge = out->edge && t == out->tiles - 1;
    const real *product = edge ? out->edge : (const real *)out->product + t * out->tile_step;
    if (size == FC_NAME(WINOGRAD_EDGES) && (edge || out->height < size))
        FC_NAME(winograd_output_edge)(product, out->point_step, out->height, edge ? out->edge_width : size, size - m + 1,
                                      y, row_step, residue);
    else
        FC_NAME(winograd_output_tile)(product, out->point_step, size, m, y, row_step, residue);
}

/* Pixels side by side: the outputs of as many tiles as fill a vector of pixels are collected and transposed. */
FC_INLINE void FC_NAME(winograd_output_pixels)(const fc_winograd_output *out, const int size, const int m, vec bias,
                                               vec *residue)
{
    /* m is 2, 4 or 6: its odd part and the lanes are prime to each other. */
    const int even = m % 4 ? 2 : 4, group = LANES > even ? LANES / even : 1, width = group * m;
    vec y[18 * LANES];
    for (int i = 0; i < m * width; i++)
        y[i] = (vec){0};
    for (ptrdiff_t t = 0; t < out->tiles; t += group) {
        for (int i = 0; i < group && t + i < out->tiles; i++)
            FC_NAME(winograd_output_any)(out, t + i, size, m, y + i * m, width, residue);
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
    vec y[36];
    for (ptrdiff_t t = 0; t < out->tiles; t++) {
        FC_NAME(winograd_output_any)(out, t, size, m, y, m, residue);
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
    if (out->size == 6)
        return out->m == 4 ? FC_NAME(winograd_output_of)(out, 6, 4) : FC_NAME(winograd_output_of)(out, 6, 2);
    return out->m == 6 ? FC_NAME(winograd_output_of)(out, 8, 6) : FC_NAME(winograd_output_of)(out, 8, 4);
}

