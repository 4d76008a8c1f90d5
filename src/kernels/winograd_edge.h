/* Winograd's tiles at the lower and right edges of an image, which have fewer outputs than others: they leave out
 * points, and so what is summed up at each point fits together.
 *
 * A tile of e outputs needs e + r - 1 points: the first finite ones of its variant and infinity. Its row of B^T for
 * point p is that of its own points, times the distances of p from those left out, for G has 1 / M'(p) of all points.
 * A side of 13 pixels takes 6 + 6 + 6 + 3 points with F(4x4,3x3), where four whole tiles take 24.
 */

FC_INLINE real FC_NAME(winograd_finite)(const int size, const int i)
{
    const int of_pairs = i - FC_NAME(winograd_zero)(size);
    return of_pairs < 0 ? 0 : (of_pairs % 2 ? -1 : 1) * FC_NAME(winograd_point)(size, of_pairs / 2);
}

/* M' at finite point i. */
FC_INLINE real FC_NAME(winograd_finite_slope)(const int size, const int i)
{
    const int zero = FC_NAME(winograd_zero)(size);
    if (zero && i == 0)
        return FC_NAME(winograd_coefficient)(size, -1, 0);
    return (zero || i % 2 == 0 ? 1 : -1) * FC_NAME(winograd_slope)(size, (i - zero) / 2);
}

/* Coefficient k of the product of x - p over the first `count` points but `left_out`. */
FC_INLINE real FC_NAME(winograd_edge_coefficient)(const int size, const int count, const int left_out, const int k)
{
    real c[FC_NAME(WINOGRAD_SIZE)] = {1};
    FC_UNROLL
    for (int j = 0; j < count; j++)
        if (j != left_out) {
            FC_UNROLL
            for (int i = FC_NAME(WINOGRAD_SIZE) - 1; i > 0; i--)
                c[i] = c[i - 1] - FC_NAME(winograd_finite)(size, j) * c[i];
            c[0] *= -FC_NAME(winograd_finite)(size, j);
        }
    return c[k];
}

/* Of finite point i from those that a tile of `points` leaves out. */
FC_INLINE real FC_NAME(winograd_edge_distance)(const int size, const int points, const int i)
{
    real product = 1;
    FC_UNROLL
    for (int j = points - 1; j < size - 1; j++)
        product *= FC_NAME(winograd_finite)(size, i) - FC_NAME(winograd_finite)(size, j);
    return product;
}

/* The sum of coefficient times element, of which those that are zero are none. */
FC_INLINE vec FC_NAME(winograd_edge_sum)(const vec *d, const int step, const int size, const int count,
                                         const int left_out, const int terms, const real factor)
{
    vec sum = factor * FC_NAME(winograd_edge_coefficient)(size, count, left_out, terms - 1) * d[(terms - 1) * step];
    FC_UNROLL
    for (int k = 0; k < terms - 1; k++)
        if (FC_NAME(winograd_edge_coefficient)(size, count, left_out, k) != 0)
            sum += factor * FC_NAME(winograd_edge_coefficient)(size, count, left_out, k) * d[k * step];
    return sum;
}

/* B^T d of `points` elements. */
FC_INLINE void FC_NAME(winograd_edge_input_line)(vec *d, const int step, const int size, const int points)
{
    vec at[FC_NAME(WINOGRAD_SIZE)];
    FC_UNROLL
    for (int i = 0; i < points - 1; i++)
        at[i] = FC_NAME(winograd_edge_sum)(d, step, size, points - 1, i, points - 1,
                                           FC_NAME(winograd_edge_distance)(size, points, i));
    d[(size - 1) * step] = FC_NAME(winograd_edge_sum)(d, step, size, points - 1, -1, points, 1);
    FC_UNROLL
    for (int i = 0; i < points - 1; i++)
        d[i * step] = at[i];
}

/* G g of `taps` elements. */
FC_INLINE void FC_NAME(winograd_edge_filter_line)(vec *g, const int step, const int size, const int points,
                                                  const int taps)
{
    vec at[FC_NAME(WINOGRAD_SIZE)];
    FC_UNROLL
    for (int i = 0; i < points - 1; i++) {
        const real p = FC_NAME(winograd_finite)(size, i);
        real factor = 1 / FC_NAME(winograd_finite_slope)(size, i);
        at[i] = factor * g[0];
        FC_UNROLL
        for (int k = 1; k < taps; k++) {
            factor *= p;
            if (p != 0)
                at[i] += factor * g[k * step];
        }
    }
    g[(size - 1) * step] = g[(taps - 1) * step];
    FC_UNROLL
    for (int i = 0; i < points - 1; i++)
        g[i * step] = at[i];
}

/* A^T y of `points` elements: `outputs`. */
FC_INLINE void FC_NAME(winograd_edge_output_line)(vec *y, const int step, const int size, const int points,
                                                  const int outputs)
{
    vec sum[FC_NAME(WINOGRAD_SIZE)];
    FC_UNROLL
    for (int k = 0; k < outputs; k++) {
        sum[k] = k == outputs - 1 ? y[(size - 1) * step] : (vec){0};
        FC_UNROLL
        for (int i = 0; i < points - 1; i++) {
            real power = 1;
            FC_UNROLL
            for (int j = 0; j < k; j++)
                power *= FC_NAME(winograd_finite)(size, i);
            if (power != 0)
                sum[k] += power * y[i * step];
        }
    }
    FC_UNROLL
    for (int k = 0; k < outputs; k++)
        y[k * step] = sum[k];
}

/* `count` lines, `next` apart: along one side of the tile all points may be there. */
#define FC_WINOGRAD_LINES(statement)          \
    for (int line = 0; line < count; line++) { \
        vec *v = d + line * next;              \
        statement;                             \
    }

/* Of the tile's points a side and the variant's. */
static void FC_NAME(winograd_edge_input_lines)(vec *d, int step, int next, int count, int points, int size)
{
    switch (10 * size + points) {
        case 43: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 4, 3)) break;
        case 44: FC_WINOGRAD_LINES(FC_NAME(winograd_input_line)(v, step, 4)) break;
        case 63: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 6, 3)) break;
        case 64: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 6, 4)) break;
        case 65: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 6, 5)) break;
        case 66: FC_WINOGRAD_LINES(FC_NAME(winograd_input_line)(v, step, 6)) break;
        case 75: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 7, 5)) break;
        case 76: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 7, 6)) break;
        default: FC_WINOGRAD_LINES(FC_NAME(winograd_input_line)(v, step, 7))
    }
}

/* The same where a tile's outputs, or taps, count too: `points` less those of the other operand, r. */
#define FC_WINOGRAD_SIDED_LINES(name, edge_line, whole_line)                                            \
    static void FC_NAME(name)(vec *d, int step, int next, int count, int points, int size, int r)       \
    {                                                                                                   \
        switch (100 * size + 10 * points + r) {                                                         \
            case 433: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 4, 3, 1)) break;                    \
            case 443: FC_WINOGRAD_LINES(FC_NAME(whole_line)(v, step, 4, 2)) break;                      \
            case 633: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 6, 3, 1)) break;                    \
            case 643: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 6, 4, 2)) break;                    \
            case 653: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 6, 5, 3)) break;                    \
            case 663: FC_WINOGRAD_LINES(FC_NAME(whole_line)(v, step, 6, 4)) break;                      \
            case 655: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 6, 5, 1)) break;                    \
            case 665: FC_WINOGRAD_LINES(FC_NAME(whole_line)(v, step, 6, 2)) break;                      \
            case 755: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 7, 5, 1)) break;                    \
            case 765: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 7, 6, 2)) break;                    \
            default: FC_WINOGRAD_LINES(FC_NAME(whole_line)(v, step, 7, 3))                              \
        }                                                                                               \
    }
FC_WINOGRAD_SIDED_LINES(winograd_edge_filter_lines, winograd_edge_filter_line, winograd_filter_line)
FC_WINOGRAD_SIDED_LINES(winograd_edge_output_lines, winograd_edge_output_line, winograd_output_line)
#undef FC_WINOGRAD_SIDED_LINES
#undef FC_WINOGRAD_LINES

/* `height` x `width` pixels of tile t. */
static void FC_NAME(winograd_load_edge)(const fc_winograd_lanes *lanes, ptrdiff_t t, int height, int width, vec *d)
{
    const real *image = (const real *)lanes->image + t * lanes->m * LANES;
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++)
            d[i * lanes->size + j] = vload(image + i * lanes->row_step + j * LANES);
}

/* The points of `points` that an edge has, by their numbers. */
FC_INLINE int FC_NAME(winograd_edge_point)(int size, int points, int i) { return i < points - 1 ? i : size - 1; }

static void FC_NAME(winograd_store_edge)(const fc_winograd_lanes *lanes, ptrdiff_t t, int width, const vec *d)
{
    const int last = lanes->edge && t == lanes->tiles - 1, size = lanes->size;
    real *to = last ? lanes->edge : (real *)lanes->transformed + t * lanes->ld;
    for (int i = 0; i < lanes->height; i++)
        for (int j = 0; j < width; j++) {
            const int point = FC_NAME(winograd_edge_point)(size, lanes->height, i) * size +
                              FC_NAME(winograd_edge_point)(size, width, j);
            vstore(to + point * lanes->point_step, d[point]);
        }
}

FC_INLINE int FC_NAME(winograd_tile_width)(const fc_winograd_lanes *lanes, ptrdiff_t t)
{
    return lanes->edge && t == lanes->tiles - 1 ? lanes->edge_width : lanes->size;
}

static void FC_NAME(winograd_input_edge)(const fc_winograd_lanes *lanes, ptrdiff_t t)
{
    const int size = lanes->size, height = lanes->height, width = FC_NAME(winograd_tile_width)(lanes, t);
    vec d[FC_WINOGRAD_LARGEST];
    FC_NAME(winograd_load_edge)(lanes, t, height, width, d);
    FC_NAME(winograd_edge_input_lines)(d, size, 1, width, height, size);
    FC_NAME(winograd_edge_input_lines)(d, 1, size, height - 1, width, size);
    FC_NAME(winograd_edge_input_lines)(d + (size - 1) * size, 1, size, 1, width, size);
    FC_NAME(winograd_store_edge)(lanes, t, width, d);
}

/* A tile of dy as a filter of fewer taps. */
static void FC_NAME(winograd_filter_edge)(const fc_winograd_lanes *lanes, ptrdiff_t t)
{
    const int size = lanes->size, height = lanes->height, width = FC_NAME(winograd_tile_width)(lanes, t);
    const int r = size - lanes->m + 1;
    vec d[FC_WINOGRAD_LARGEST];
    FC_NAME(winograd_load_edge)(lanes, t, height - r + 1, width - r + 1, d);
    FC_NAME(winograd_edge_filter_lines)(d, size, 1, width - r + 1, height, size, r);
    FC_NAME(winograd_edge_filter_lines)(d, 1, size, height - 1, width, size, r);
    FC_NAME(winograd_edge_filter_lines)(d + (size - 1) * size, 1, size, 1, width, size, r);
    FC_NAME(winograd_store_edge)(lanes, t, width, d);
}

/* One tile's outputs before the epilogue, rows `row_step` vectors apart. */
static void FC_NAME(winograd_output_edge)(const real *product, ptrdiff_t point_step, int height, int width, int size,
                                          int r, vec *y, int row_step, vec *residue)
{
    vec d[FC_WINOGRAD_LARGEST];
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            const int point = FC_NAME(winograd_edge_point)(size, height, i) * size +
                              FC_NAME(winograd_edge_point)(size, width, j);
            d[point] = vload(product + point * point_step);
        }
    FC_NAME(winograd_edge_output_lines)(d, size, 1, width - 1, height, size, r);
    FC_NAME(winograd_edge_output_lines)(d + size - 1, size, 1, 1, height, size, r);
    FC_NAME(winograd_edge_output_lines)(d, 1, size, height - r + 1, width, size, r);
    for (int i = 0; i < height - r + 1; i++)
        for (int j = 0; j < width - r + 1; j++) {
            const vec v = d[i * size + j];
            *residue += v - v;
            y[i * row_step + j] = v;
        }
}
