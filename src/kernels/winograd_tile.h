/* Winograd's transforms F(m x m, r x r) of tiles and filters: lines down the columns and along the rows. Tiles at an edge
 * that are smaller are winograd_edge.h's. */

/* Both passes of a transform over a square of `from` lines: down the columns, then along each row i that results, of
 * which `store` disposes at once, while it is in registers. */
#define FC_WINOGRAD_PASSES(line, d, size, from, to, store, ...) \
    do {                                                        \
        FC_UNROLL                                               \
        for (int j = 0; j < (from); j++)                        \
            FC_NAME(line)((d) + j, size, __VA_ARGS__);          \
        FC_UNROLL                                               \
        for (int i = 0; i < (to); i++) {                        \
            FC_NAME(line)((d) + i * (size), 1, __VA_ARGS__);    \
            store;                                              \
        }                                                       \
    } while (0)

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

/* A row of points, each `step` behind the one before. */
FC_INLINE void FC_NAME(winograd_store_row)(real *to, ptrdiff_t step, const int size, const vec *row)
{
    FC_UNROLL
    for (int i = 0; i < size; i++)
        vstore(to + i * step, row[i]);
}

/* Tiles that have all points. */
FC_INLINE ptrdiff_t FC_NAME(winograd_whole_tiles)(const fc_winograd_lanes *lanes, const int size)
{
    return lanes->height < size ? 0 : lanes->edge ? lanes->tiles - 1 : lanes->tiles;
}

FC_INLINE void FC_NAME(winograd_input_of)(const fc_winograd_lanes *lanes, const int size)
{
    const ptrdiff_t tiles = FC_NAME(winograd_whole_tiles)(lanes, size), step = lanes->point_step, ld = lanes->ld;
    real *to = lanes->transformed;
    for (ptrdiff_t t = 0; t < tiles; t++, to += ld) {
        vec d[FC_WINOGRAD_LARGEST];
        FC_NAME(winograd_load_tile)(lanes, t, size, size, d);
        FC_WINOGRAD_PASSES(winograd_input_line, d, size, size, size,
                           FC_NAME(winograd_store_row)(to + i * size * step, step, size, d + i * size), size);
    }
    if (fc_winograd_has_edges(size))
        for (ptrdiff_t t = tiles; t < lanes->tiles; t++)
            FC_NAME(winograd_input_edge)(lanes, t);
}

static void FC_NAME(winograd_input)(const fc_winograd_lanes *lanes)
{
    if (lanes->size == 4)
        FC_NAME(winograd_input_of)(lanes, 4);
    else if (lanes->size == 6)
        FC_NAME(winograd_input_of)(lanes, 6);
    else if (lanes->size == 7)
        FC_NAME(winograd_input_of)(lanes, 7);
    else
        FC_NAME(winograd_input_of)(lanes, 8);
}

/* Whole vectors are stored: lanes behind the panel's rows are overwritten by the next channel, or the next panel. */
FC_INLINE void FC_NAME(winograd_filter_of)(const fc_winograd_filter *f, const int size, const int r)
{
    const ptrdiff_t rows = f->rows, channels = f->channels, step = f->point_step;
    const int ask = f->ask;
    const real *panel = f->panel;
    real *to = f->transformed;
    ptrdiff_t tap[25];
    FC_UNROLL
    for (int i = 0; i < r * r; i++)
        tap[i] = f->tap[i] * rows;
    for (ptrdiff_t q = 0; q < channels; q++, panel += r * r * rows, to += rows)
        for (ptrdiff_t first = 0; first < rows; first += LANES) {
            const int lanes = rows - first < LANES ? (int)(rows - first) : LANES;
            vec g[FC_WINOGRAD_LARGEST];
            FC_UNROLL
            for (int i = 0; i < r * r; i++)
                g[i / r * size + i % r] = vload_n(panel + tap[i] + first, lanes);
            if (ask)
                FC_UNROLL
                for (int i = 0; i < r * r; i++)
                    __builtin_prefetch(panel + 4 * r * r * rows + tap[i] + first);
            FC_WINOGRAD_PASSES(winograd_filter_line, g, size, r, size,
                               FC_NAME(winograd_store_row)(to + first + i * size * step, step, size, g + i * size), size,
                               r);
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
    else if (f->size == 7)
        FC_NAME(winograd_filter_of)(f, 7, 5);
    else if (f->r == 3)
        FC_NAME(winograd_filter_of)(f, 8, 3);
    else
        FC_NAME(winograd_filter_of)(f, 8, 5);
}

/* A row of outputs; the residue of what is not finite is not zero. */
FC_INLINE void FC_NAME(winograd_take_outputs)(const vec *row, const int m, vec *y, vec *residue)
{
    FC_UNROLL
    for (int j = 0; j < m; j++) {
        *residue += row[j] - row[j];
        y[j] = row[j];
    }
}

/* One tile of a vector of channels: its m x m outputs before the epilogue, rows `row_step` vectors apart. */
FC_INLINE void FC_NAME(winograd_output_tile)(const real *product, ptrdiff_t point_step, const int size, const int m,
                                             vec *y, const int row_step, vec *residue)
{
    vec d[FC_WINOGRAD_LARGEST];
    FC_UNROLL
    for (int i = 0; i < size * size; i++)
        d[i] = vload(product + i * point_step);
    FC_WINOGRAD_PASSES(winograd_output_line, d, size, size, m,
                       FC_NAME(winograd_take_outputs)(d + i * size, m, y + i * row_step, residue), size, m);
}

FC_INLINE void FC_NAME(winograd_output_any)(const fc_winograd_output *out, ptrdiff_t t, const int size, const int m,
                                            vec *y, const int row_step, vec *residue)
{
    const int edge = out->edge && t == out->tiles - 1;
    const real *product = edge ? out->edge : (const real *)out->product + t * out->tile_step;
    if (fc_winograd_has_edges(size) && (edge || out->height < size))
        FC_NAME(winograd_output_edge)(product, out->point_step, out->height, edge ? out->edge_width : size, size,
                                      size - m + 1, y, row_step, residue);
    else
        FC_NAME(winograd_output_tile)(product, out->point_step, size, m, y, row_step, residue);
}

/* Pixels side by side: the outputs of as many tiles as fill a vector of pixels are collected and transposed. */
FC_INLINE void FC_NAME(winograd_output_pixels)(const fc_winograd_output *out, const int size, const int m, vec bias,
                                               vec *residue)
{
    /* m is 2, 3, 4 or 6: its odd part and the lanes are prime to each other. */
    const int even = m % 2 ? 1 : m % 4 ? 2 : 4, group = LANES > even ? LANES / even : 1, width = group * m;
    vec y[18 * LANES];
    for (int i = 0; i < m * width; i++)
        y[i] = (vec){0};
    for (ptrdiff_t t = 0; t < out->tiles; t += group) {
        /* Where the outputs go may lie beyond all caches. */
        const ptrdiff_t end = t * m + width < out->columns ? t * m + width : out->columns;
        for (ptrdiff_t row = 0; row < out->rows; row++)
            for (int i = 0; i < out->channels; i++)
                __builtin_prefetch((real *)out->y + i * out->channel_step + row * out->row_step + end - 1, 1);
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
    const ptrdiff_t ahead = 2 * m;
    vec y[36];
    for (ptrdiff_t t = 0; t < out->tiles; t++) {
        /* Where the outputs go may lie beyond all caches. */
        for (ptrdiff_t row = 0; row < out->rows; row++)
            for (ptrdiff_t column = t * m + ahead; column < t * m + ahead + m && column < out->columns; column++)
                __builtin_prefetch((real *)out->y + row * out->row_step + column * out->column_step, 1);
        FC_NAME(winograd_output_any)(out, t, size, m, y, m, residue);
        const ptrdiff_t columns = out->columns - t * m < m ? out->columns - t * m : m;
        for (ptrdiff_t row = 0; row < out->rows; row++)
            for (ptrdiff_t column = 0; column < columns; column++) {
                vec v = y[row * m + column] + bias;
                if (out->relu)
                    v = vselect((vmask)(v < (vec){0}), (vec){0}, v);
                real *to = (real *)out->y + row * out->row_step + (t * m + column) * out->column_step;
                if (out->channels == LANES)
                    vstore(to, v);
                else
                    vstore_n(to, v, out->channels);
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
    if (out->size == 7)
        return FC_NAME(winograd_output_of)(out, 7, 3);
    return out->m == 6 ? FC_NAME(winograd_output_of)(out, 8, 6) : FC_NAME(winograd_output_of)(out, 8, 4);
}

