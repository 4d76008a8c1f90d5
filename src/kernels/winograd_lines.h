/* Winograd's lines: the transforms F(m, r) of one row or column, lanes along channels throughout.
 *
 * Y = A^T [(G g G^T) . (B^T d B)] A, where the matrices follow from the m + r - 1 points by the Cook-Toom construction.
 * The points are pairs +-p, infinity and, if they are even in number, 0. M(x) is the product of x - p over the finite
 * ones: point p has the row p^k of A, the row p^k / M'(p) of G and the coefficients of M(x) / (x - p) as its row of B^T;
 * infinity has the highest power in A and G, and M(x) in B^T. The two of a pair share their even and odd parts.
 * tests/test_winograd_transforms.py proves the kernels against that construction in exact rationals. (Lavin & Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2016; Vincent et al., "On Improving the Numerical Stability of
 * Winograd Convolutions", 2017, for the choice of points.)
 */

enum { FC_NAME(WINOGRAD_SIZE) = 8, FC_NAME(WINOGRAD_PAIRS) = 3 };
#define FC_WINOGRAD_LARGEST (FC_NAME(WINOGRAD_SIZE) * FC_NAME(WINOGRAD_SIZE))

FC_INLINE int FC_NAME(winograd_pairs)(const int size) { return (size - 1) / 2; }

/* 1 if 0 is a point. */
FC_INLINE int FC_NAME(winograd_zero)(const int size) { return size % 2 == 0; }

/* The points, all exact in binary: 5/8 and 3/2 have less than half the error of the textbook's 1 and 2; with three pairs
 * 1/2, 1, 2 beside 0, and 5/16, 7/8, 7/4 without it, were best of all eighths or sixteenths tried. Everything below folds
 * to constants. */
FC_INLINE real FC_NAME(winograd_point)(const int size, const int i)
{
    if (size == 4)
        return 1;
    if (size == 6)
        return i == 0 ? (real)0.625 : (real)1.5;
    if (size == 7)
        return i == 0 ? (real)0.3125 : i == 1 ? (real)0.875 : (real)1.75;
    return i == 0 ? (real)0.5 : i == 1 ? 1 : 2;
}

FC_INLINE real FC_NAME(winograd_power)(const int size, const int i, const int power)
{
    real product = 1;
    FC_UNROLL
    for (int k = 0; k < power; k++)
        product *= FC_NAME(winograd_point)(size, i);
    return product;
}

/* Coefficient k, of u^k, of the product of (u - p_j^2) over all pairs j but `left_out`. */
FC_INLINE real FC_NAME(winograd_coefficient)(const int size, const int left_out, const int k)
{
    real c[FC_NAME(WINOGRAD_PAIRS) + 1] = {1};
    FC_UNROLL
    for (int j = 0; j < FC_NAME(winograd_pairs)(size); j++)
        if (j != left_out) {
            const real square = FC_NAME(winograd_power)(size, j, 2);
            FC_UNROLL
            for (int i = FC_NAME(WINOGRAD_PAIRS); i > 0; i--)
                c[i] = c[i - 1] - square * c[i];
            c[0] *= -square;
        }
    return c[k];
}

/* M'(p_i) = 2 p_i * product of (p_i^2 - p_j^2), times p_i if 0 is a point. Then M'(-p_i) is the same, otherwise its
 * negative; and M'(0) is coefficient 0 of all pairs. */
FC_INLINE real FC_NAME(winograd_slope)(const int size, const int i)
{
    real slope = 2 * FC_NAME(winograd_power)(size, i, 1 + FC_NAME(winograd_zero)(size));
    FC_UNROLL
    for (int j = 0; j < FC_NAME(winograd_pairs)(size); j++)
        if (j != i)
            slope *= FC_NAME(winograd_power)(size, i, 2) - FC_NAME(winograd_power)(size, j, 2);
    return slope;
}

/* B^T d: of `size` elements, by steps of `step` in an array. */
FC_INLINE void FC_NAME(winograd_input_line)(vec *d, const int step, const int size)
{
    const int pairs = FC_NAME(winograd_pairs)(size), zero = FC_NAME(winograd_zero)(size);
    vec high[FC_NAME(WINOGRAD_PAIRS)], low[FC_NAME(WINOGRAD_PAIRS)];
    vec first = d[2 * pairs * step], last = d[(size - 1) * step];
    FC_UNROLL
    for (int k = 0; k < pairs; k++) {
        first += FC_NAME(winograd_coefficient)(size, -1, k) * d[2 * k * step];
        last += FC_NAME(winograd_coefficient)(size, -1, k) * d[(2 * k + zero) * step];
    }
    /* M(x) / (x - p) = (x + p) Q(x^2), times x if 0 is a point. */
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        high[i] = d[(2 * pairs - 1 + zero) * step], low[i] = d[(2 * pairs - 2 + zero) * step];
        FC_UNROLL
        for (int k = 0; k < pairs - 1; k++) {
            high[i] += FC_NAME(winograd_coefficient)(size, i, k) * d[(2 * k + 1 + zero) * step];
            low[i] += FC_NAME(winograd_coefficient)(size, i, k) * d[(2 * k + zero) * step];
        }
    }
    if (zero)
        d[0] = first;
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        d[(2 * i + zero) * step] = high[i] + FC_NAME(winograd_point)(size, i) * low[i];
        d[(2 * i + 1 + zero) * step] = high[i] - FC_NAME(winograd_point)(size, i) * low[i];
    }
    d[(size - 1) * step] = last;
}

/* G g: r elements become `size`. */
FC_INLINE void FC_NAME(winograd_filter_line)(vec *g, const int step, const int size, const int r)
{
    const int pairs = FC_NAME(winograd_pairs)(size), zero = FC_NAME(winograd_zero)(size);
    vec even[FC_NAME(WINOGRAD_PAIRS)], odd[FC_NAME(WINOGRAD_PAIRS)];
    const vec last = g[(r - 1) * step];
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        const real at = 1 / FC_NAME(winograd_slope)(size, i);
        even[i] = at * g[0], odd[i] = at * FC_NAME(winograd_point)(size, i) * g[step];
        FC_UNROLL
        for (int k = 2; k < r; k += 2)
            even[i] += at * FC_NAME(winograd_power)(size, i, k) * g[k * step];
        FC_UNROLL
        for (int k = 3; k < r; k += 2)
            odd[i] += at * FC_NAME(winograd_power)(size, i, k) * g[k * step];
    }
    if (zero)
        g[0] *= 1 / FC_NAME(winograd_coefficient)(size, -1, 0);
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        g[(2 * i + zero) * step] = even[i] + odd[i];
        g[(2 * i + 1 + zero) * step] = zero ? even[i] - odd[i] : odd[i] - even[i];
    }
    g[(size - 1) * step] = last;
}

/* A^T y: `size` elements become m. */
FC_INLINE void FC_NAME(winograd_output_line)(vec *y, const int step, const int size, const int m)
{
    const int pairs = FC_NAME(winograd_pairs)(size), zero = FC_NAME(winograd_zero)(size);
    vec even[FC_NAME(WINOGRAD_PAIRS)], odd[FC_NAME(WINOGRAD_PAIRS)];
    const vec first = y[0], last = y[(size - 1) * step];
    FC_UNROLL
    for (int i = 0; i < pairs; i++) {
        even[i] = y[(2 * i + zero) * step] + y[(2 * i + 1 + zero) * step];
        odd[i] = y[(2 * i + zero) * step] - y[(2 * i + 1 + zero) * step];
    }
    FC_UNROLL
    for (int j = 0; j < m; j++) {
        const vec *part = j % 2 ? odd : even;
        vec sum = FC_NAME(winograd_power)(size, 0, j) * part[0];
        FC_UNROLL
        for (int i = 1; i < pairs; i++)
            sum += FC_NAME(winograd_power)(size, i, j) * part[i];
        y[j * step] = j == 0 && zero ? first + sum : j == m - 1 ? sum + last : sum;
    }
}
