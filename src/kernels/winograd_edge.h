/* Winograd's tiles at the lower and right edges of an image, which have fewer outputs than others: they leave out
 * points, and so what is summed up at each point fits together.
 *
 * A tile of e outputs needs e + r - 1 points: the first finite ones of its variant and infinity. Its row of B^T for
 * point p is that of its own points, times the distances of p from those left out, for G has 1 / M'(p) of all points.
 * A side of 13 pixels takes 6 + 6 + 6 + 3 points, where four whole tiles take 24.
 */

FC_INLINE real FC_NAME(winograd_finite)(const int i)
{
    return i == 0 ? 0 : (i % 2 ? 1 : -1) * FC_NAME(winograd_point)(FC_WINOGRAD_EDGES, (i - 1) / 2);
}

/* Coefficient k of the product of x - p over the first `count` points but `left_out`. */
FC_INLINE real FC_NAME(winograd_edge_coefficient)(const int count, const int left_out, const int k)
{
    real c[FC_WINOGRAD_EDGES] = {1};
    FC_UNROLL
    for (int j = 0; j < count; j++)
        if (j != left_out) {
            FC_UNROLL
            for (int i = FC_WINOGRAD_EDGES - 1; i > 0; i--)
                c[i] = c[i - 1] - FC_NAME(winograd_finite)(j) * c[i];
            c[0] *= -FC_NAME(winograd_finite)(j);
        }
    return c[k];
}

/* Of finite point i from those that a tile of `points` leaves out. */
FC_INLINE real FC_NAME(winograd_edge_distance)(const int points, const int i)
{
    real product = 1;
    FC_UNROLL
    for (int j = points - 1; j < FC_WINOGRAD_EDGES - 1; j++)
        product *= FC_NAME(winograd_finite)(i) - FC_NAME(winograd_finite)(j);
    return product;
}

/* The sum of coefficient times element, of which those that are zero are none. */
FC_INLINE vec FC_NAME(winograd_edge_sum)(const vec *d, const int step, const int count, const int left_out,
                                         const int terms, const real factor)
{
    vec sum = factor * FC_NAME(winograd_edge_coefficient)(count, left_out, terms - 1) * d[(terms - 1) * step];
    FC_UNROLL
    for (int k = 0; k < terms - 1; k++)
        if (FC_NAME(winograd_edge_coefficient)(count, left_out, k) != 0)
            sum += factor * FC_NAME(winograd_edge_coefficient)(count, left_out, k) * d[k * step];
    return sum;
}

/* B^T d of `points` elements. */
FC_INLINE void FC_NAME(winograd_edge_input_line)(vec *d, const int step, const int points)
{
    vec at[FC_WINOGRAD_EDGES];
    FC_UNROLL
    for (int i = 0; i < points - 1; i++)
        at[i] = FC_NAME(winograd_edge_sum)(d, step, points - 1, i, points - 1,
                                           FC_NAME(winograd_edge_distance)(points, i));
    d[(FC_WINOGRAD_EDGES - 1) * step] = FC_NAME(winograd_edge_sum)(d, step, points - 1, -1, points, 1);
    FC_UNROLL
    for (int i = 0; i < points - 1; i++)
        d[i * step] = at[i];
}

/* G g of `taps` elements. */
FC_INLINE void FC_NAME(winograd_edge_filter_line)(vec *g, const int step, const int points, const int taps)
{
    vec at[FC_WINOGRAD_EDGES];
    FC_UNROLL
    for (int i = 0; i < points - 1; i++) {
        real factor = 1 / (i == 0 ? FC_NAME(winograd_coefficient)(FC_WINOGRAD_EDGES, -1, 0)
                                  : FC_NAME(winograd_slope)(FC_WINOGRAD_EDGES, (i - 1) / 2));
        at[i] = factor * g[0];
        FC_UNROLL
        for (int k = 1; k < taps; k++) {
            factor *= FC_NAME(winograd_finite)(i);
            if (i > 0)
                at[i] += factor * g[k * step];
        }
    }
    g[(FC_WINOGRAD_EDGES - 1) * step] = g[(taps - 1) * step];
    FC_UNROLL
    for (int i = 0; i < points - 1; i++)
        g[i * step] = at[i];
}

/* A^T y of `points` elements: `outputs`. */
FC_INLINE void FC_NAME(winograd_edge_output_line)(vec *y, const int step, const int points, const int outputs)
{
    vec sum[FC_WINOGRAD_EDGES];
    FC_UNROLL
    for (int k = 0; k < outputs; k++) {
        sum[k] = k == outputs - 1 ? y[(FC_WINOGRAD_EDGES - 1) * step] : (vec){0};
        if (k == 0)
            sum[k] += y[0];
        FC_UNROLL
        for (int i = 1; i < points - 1; i++) {
            real power = 1;
            FC_UNROLL
            for (int j = 0; j < k; j++)
                power *= FC_NAME(winograd_finite)(i);
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

static void FC_NAME(winograd_edge_input_lines)(vec *d, int step, int next, int count, int points)
{
    switch (points) {
        case 3: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 3)) break;
        case 4: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 4)) break;
        case 5: FC_WINOGRAD_LINES(FC_NAME(winograd_edge_input_line)(v, step, 5)) break;
        default: FC_WINOGRAD_LINES(FC_NAME(winograd_input_line)(v, step, FC_WINOGRAD_EDGES))
    }
}

/* The same where a tile's outputs, or taps, count too: `points` less those of the other operand. */
#define FC_WINOGRAD_SIDED_LINES(name, edge_line, whole_line)                                              \
    static void FC_NAME(name)(vec *d, int step, int next, int count, int points, int r)                   \
    {                                                                                                     \
        switch (points) {                                                                                 \
            case 3: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 3, 1)) break;                           \
            case 4: FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 4, 2)) break;                           \
            case 5:                                                                                       \
                if (r == 3)                                                                               \
                    FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 5, 3))                                  \
                else                                                                                      \
                    FC_WINOGRAD_LINES(FC_NAME(edge_line)(v, step, 5, 1))                                  \
                break;                                                                                    \
            default:                                                                                      \
                if (r == 3)                                                                               \
                    FC_WINOGRAD_LINES(FC_NAME(whole_line)(v, step, FC_WINOGRAD_EDGES, 4))                 \
                else                                                                                      \
                    FC_WINOGRAD_LINES(FC_NAME(whole_line)(v, step, FC_WINOGRAD_EDGES, 2))                 \
        }                                                                                                 \
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
            d[i * FC_WINOGRAD_EDGES + j] = vload(image + i * lanes->row_step + j * LANES);
}

/* The points of `points` that an edge has, by their numbers. */
FC_INLINE int FC_NAME(winograd_edge_point)(int points, int i)
{
    return i < points - 1 ? i : FC_WINOGRAD_EDGES - 1;
}

static void FC_NAME(winograd_store_edge)(const fc_winograd_lanes *lanes, ptrdiff_t t, int width, const vec *d)
{
    const int last = lanes->edge && t == lanes->tiles - 1;
    real *to = last ? lanes->edge : (real *)lanes->transformed + t * lanes->ld;
    for (int i = 0; i < lanes->height; i++)
        for (int j = 0; j < width; j++) {
            const int point = FC_NAME(winograd_edge_point)(lanes->height, i) * FC_WINOGRAD_EDGES +
                              FC_NAME(winograd_edge_point)(width, j);
            vstore(to + point * lanes->point_step, d[point]);
        }
}

FC_INLINE int FC_NAME(winograd_tile_width)(const fc_winograd_lanes *lanes, ptrdiff_t t)
{
    return lanes->edge && t == lanes->tiles - 1 ? lanes->edge_width : FC_WINOGRAD_EDGES;
}

static void FC_NAME(winograd_input_edge)(const fc_winograd_lanes *lanes, ptrdiff_t t)
{
    const int size = FC_WINOGRAD_EDGES, height = lanes->height, width = FC_NAME(winograd_tile_width)(lanes, t);
    vec d[FC_WINOGRAD_LARGEST];
    FC_NAME(winograd_load_edge)(lanes, t, height, width, d);
    FC_NAME(winograd_edge_input_lines)(d, FC_WINOGRAD_EDGES, 1, width, height);
    FC_NAME(winograd_edge_input_lines)(d, 1, size, height - 1, width);
    FC_NAME(winograd_edge_input_lines)(d + (size - 1) * size, 1, size, 1, width);
    FC_NAME(winograd_store_edge)(lanes, t, width, d);
}

/* A tile of dy as a filter of fewer taps. */
static void FC_NAME(winograd_filter_edge)(const fc_winograd_lanes *lanes, ptrdiff_t t)
{
    const int size = FC_WINOGRAD_EDGES, height = lanes->height, width = FC_NAME(winograd_tile_width)(lanes, t);
    const int r = size - lanes->m + 1;
    vec d[FC_WINOGRAD_LARGEST];
    FC_NAME(winograd_load_edge)(lanes, t, height - r + 1, width - r + 1, d);
    FC_NAME(winograd_edge_filter_lines)(d, FC_WINOGRAD_EDGES, 1, width - r + 1, height, r);
    FC_NAME(winograd_edge_filter_lines)(d, 1, size, height - 1, width, r);
    FC_NAME(winograd_edge_filter_lines)(d + (size - 1) * size, 1, size, 1, width, r);
    FC_NAME(winograd_store_edge)(lanes, t, width, d);
}

/* One tile's outputs before the epilogue, rows `row_step` vectors apart. */
static void FC_NAME(winograd_output_edge)(const real *product, ptrdiff_t point_step, int height, int width, int r,
                                          vec *y, int row_step, vec *residue)
{
    const int size = FC_WINOGRAD_EDGES;
    vec d[FC_WINOGRAD_LARGEST];
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            const int point = FC_NAME(winograd_edge_point)(height, i) * size + FC_NAME(winograd_edge_point)(width, j);
            d[point] = vload(product + point * point_step);
        }
    FC_NAME(winograd_edge_output_lines)(d, FC_WINOGRAD_EDGES, 1, width - 1, height, r);
    FC_NAME(winograd_edge_output_lines)(d + size - 1, FC_WINOGRAD_EDGES, 1, 1, height, r);
    FC_NAME(winograd_edge_output_lines)(d, 1, size, height - r + 1, width, r);
    for (int i = 0; i < height - r + 1; i++)
        for (int j = 0; j < width - r + 1; j++) {
            const vec v = d[i * size + j];
            *residue += v - v;
            y[i * row_step + j] = v;
        }
}
