/* Gradients of pools, the second half: what is kept of a row of dx for each window, and for a maximum the number of its
 * tap in the row, is gathered by the elements of the row, each of which is written once. */

/* What is kept of windows `from` on, where they count for tap b. */
FC_INLINE vec FC_NAME(pool_gain)(vec sum, const real *gradient, const lane_int *tap, ptrdiff_t from, ptrdiff_t b,
                                 const int maximum)
{
    if (!maximum)
        return sum + vload(gradient + from);
    vmask kept;
    memcpy(&kept, tap + from, sizeof kept);
    return vadd_where_equal(sum, vload(gradient + from), kept, (lane_int)b - (vmask){0});
}

/* LANES elements of each phase from m on: columns stride_w * m + phase. In pairs the halves of the vectors belong to
 * two planes. */
FC_INLINE void FC_NAME(pool_store_phases)(const fc_pool_gather *g, ptrdiff_t n, real *dx, ptrdiff_t m, vec even, vec odd,
                                          const int stride)
{
    const ptrdiff_t left = g->width - m * stride;
    vec low = even, high = even;
    if (stride == 2) {
        low = vzip_lo(even, odd);
        high = vzip_hi(even, odd);
    }
    if (FC_HAS_PERMUTE2 && g->kept.pair) {
        vstore_n(dx, low, (int)left);
        real values[LANES];
        if (n + 1 < g->count) {
            vstore(values, high);
            vstore_n(dx + g->dx_next, vload_n(values + (stride == 2 ? 0 : LANES / 2), (int)left), (int)left);
        }
        return;
    }
    dx += m * stride;
    vstore_n(dx, low, left < LANES ? (int)left : LANES);
    if (stride == 2 && left > LANES)
        vstore_n(dx + LANES, high, left < 2 * LANES ? (int)left - LANES : LANES);
}

/* A row, if windows are `taps` neighbours wide and `stride` apart; `odd` is the padding on the left, modulo the stride. */
FC_INLINE void FC_NAME(pool_gather_few)(const fc_pool_gather *g, ptrdiff_t n, real *dx, const real *gradient,
                                        const lane_int *tap, const ptrdiff_t taps, const int stride, const int odd,
                                        const int maximum)
{
    const ptrdiff_t before = (g->pad_left - odd) / stride;
    const ptrdiff_t block = g->count == 1 ? g->kept.rows * g->dx_row : g->count * g->dx_next;
    for (ptrdiff_t m = 0; m * stride < g->width; m += LANES) {
        vec sum[2] = {{0}, {0}};
        FC_UNROLL
        for (ptrdiff_t b = taps - 1; b >= 0; b--) {
            /* Column c is tap b of window (c + pad_left - b) / stride; a smaller b is a later window. */
            const ptrdiff_t phase = stride == 1 ? 0 : (b + odd) % 2;
            sum[phase] =
                FC_NAME(pool_gain)(sum[phase], gradient, tap, m + before + (phase + odd - b) / stride, b, maximum);
        }
        FC_NAME(pool_store_phases)(g, n, dx, m, sum[0], sum[1], stride);
        /* Lines of the next block are fetched before they are written. */
        for (int i = 0; i < stride; i++)
            __builtin_prefetch(dx + m * stride + i * LANES + block, 1);
    }
}

/* LANES elements of one phase of any windows. */
FC_INLINE vec FC_NAME(pool_gather_phase)(const fc_pool_gather *g, const real *gradient, const lane_int *tap, ptrdiff_t m,
                                         ptrdiff_t phase, const int maximum)
{
    /* Neighbouring taps reach a column from every stride-th on; others are tried one by one. */
    const ptrdiff_t every = g->tap_w == 1 ? g->stride_w : 1;
    const ptrdiff_t least = g->tap_w == 1 ? (phase + g->pad_left) % every : 0;
    /* Taps of windows from m - LANES to the last one. */
    const ptrdiff_t most = (phase + g->pad_left + (m + LANES) * g->stride_w) / g->tap_w;
    const ptrdiff_t end = g->taps_w - 1 < most ? g->taps_w - 1 : most;
    const ptrdiff_t low = (phase + g->pad_left + (m - g->out_width) * g->stride_w) / g->tap_w;
    vec sum = {0};
    /* Of more taps than windows, those of the windows in turn: the same, in the same order. */
    if (g->tap_w > 1 && end - (low > 0 ? low : 0) > g->out_width + LANES) {
        for (ptrdiff_t at = 1 - LANES; at < g->out_width; at++) {
            const ptrdiff_t away = phase + g->pad_left - (at - m) * g->stride_w;
            if (away >= 0 && away % g->tap_w == 0 && away / g->tap_w < g->taps_w)
                sum = FC_NAME(pool_gain)(sum, gradient, tap, at, away / g->tap_w, maximum);
        }
        return sum;
    }
    for (ptrdiff_t b = end < least ? -1 : least + (end - least) / every * every; b >= 0 && b >= low; b -= every) {
        const ptrdiff_t from = phase + g->pad_left - b * g->tap_w;
        const ptrdiff_t at = from % g->stride_w ? g->out_width : m + from / g->stride_w;
        if (at > -LANES && at < g->out_width)
            sum = FC_NAME(pool_gain)(sum, gradient, tap, at, b, maximum);
    }
    return sum;
}

FC_INLINE void FC_NAME(pool_gather_any)(const fc_pool_gather *g, ptrdiff_t n, real *dx, const real *gradient,
                                        const lane_int *tap, const int maximum)
{
    const ptrdiff_t stride = g->stride_w;
    for (ptrdiff_t m = 0; m * stride < g->width; m += LANES) {
        const vec even = FC_NAME(pool_gather_phase)(g, gradient, tap, m, 0, maximum);
        if (stride == 1) {
            FC_NAME(pool_store_phases)(g, n, dx, m, even, even, 1);
        } else if (stride == 2) {
            const vec odd = FC_NAME(pool_gather_phase)(g, gradient, tap, m, 1, maximum);
            FC_NAME(pool_store_phases)(g, n, dx, m, even, odd, 2);
        } else {
            const ptrdiff_t phases = g->width - m * stride < stride ? g->width - m * stride : stride;
            for (ptrdiff_t phase = 0; phase < phases; phase++) {
                const vec sum = FC_NAME(pool_gather_phase)(g, gradient, tap, m, phase, maximum);
                for (ptrdiff_t i = 0, c = m * stride + phase; i < LANES && c < g->width; i++, c += stride)
                    dx[c] = sum[i];
            }
        }
    }
}

FC_INLINE void FC_NAME(pool_gather_rows)(const fc_pool_gather *gather, const ptrdiff_t taps, const int stride, const int odd,
                                         const int maximum)
{
    const fc_pool_gather own = *gather, *g = &own;  /* so that nothing that is stored may change it */
    for (ptrdiff_t n = 0; n < g->count; n += g->kept.pair ? 2 : 1)
        for (ptrdiff_t row = 0; row < g->kept.rows; row++) {
            const ptrdiff_t at = (g->kept.pair ? n / 2 : n) * g->kept.next + row * g->kept.pitch;
            const real *gradient = (const real *)g->kept.gradient + at;
            const lane_int *tap = maximum ? (const lane_int *)g->kept.tap + at : NULL;
            real *dx = (real *)g->dx + n * g->dx_next + row * g->dx_row;
            if (stride)
                FC_NAME(pool_gather_few)(g, n, dx, gradient, tap, taps, stride, odd, maximum);
            else
                FC_NAME(pool_gather_any)(g, n, dx, gradient, tap, maximum);
        }
}

FC_INLINE void FC_NAME(pool_gather_kind)(const fc_pool_gather *g, const int maximum)
{
    const int few = g->tap_w == 1 && (g->taps_w == 2 || g->taps_w == 3) ? (int)g->taps_w : 0;
    const int odd = g->pad_left % 2;
    if (few == 2 && g->stride_w == 1)
        FC_NAME(pool_gather_rows)(g, 2, 1, 0, maximum);
    else if (few == 3 && g->stride_w == 1)
        FC_NAME(pool_gather_rows)(g, 3, 1, 0, maximum);
    else if (few == 2 && g->stride_w == 2 && odd)
        FC_NAME(pool_gather_rows)(g, 2, 2, 1, maximum);
    else if (few == 3 && g->stride_w == 2 && odd)
        FC_NAME(pool_gather_rows)(g, 3, 2, 1, maximum);
    else if (few == 2 && g->stride_w == 2)
        FC_NAME(pool_gather_rows)(g, 2, 2, 0, maximum);
    else if (few == 3 && g->stride_w == 2)
        FC_NAME(pool_gather_rows)(g, 3, 2, 0, maximum);
    else
        FC_NAME(pool_gather_rows)(g, g->taps_w, 0, 0, maximum);
}

static void FC_NAME(pool_gather)(const fc_pool_gather *g)
{
    if (g->kept.tap)
        FC_NAME(pool_gather_kind)(g, 1);
    else
        FC_NAME(pool_gather_kind)(g, 0);
}

static void FC_NAME(pool_gather_pixels)(const fc_pool_pixels *pixels)
{
    const fc_pool_gather *g = &pixels->columns;
    for (ptrdiff_t row = 0; row < g->kept.rows; row++)
        for (ptrdiff_t c = 0; c < g->width; c++) {
            const real *gradient = (const real *)g->kept.gradient + row * g->kept.pitch;
            const lane_int *tap = g->kept.tap ? (const lane_int *)g->kept.tap + row * g->kept.pitch : NULL;
            const ptrdiff_t reach = c + g->pad_left - (g->taps_w - 1) * g->tap_w;
            ptrdiff_t j = reach <= 0 ? 0 : (reach + g->stride_w - 1) / g->stride_w;
            vec sum = {0};
            for (ptrdiff_t away = c + g->pad_left - j * g->stride_w; away >= 0 && j < g->out_width;
                 j++, away -= g->stride_w) {
                const ptrdiff_t b = g->tap_w == 1 ? away : away / g->tap_w;
                if (b * g->tap_w == away)
                    sum = tap ? FC_NAME(pool_gain)(sum, gradient, tap, j * LANES, b, 1)
                              : FC_NAME(pool_gain)(sum, gradient, tap, j * LANES, b, 0);
            }
            vstore_n((real *)g->dx + row * g->dx_row + c * pixels->dx_pixel, sum, pixels->lanes);
        }
}

/* dx[index[j]*plane_step + j*lane_step] += dy[j]: by places that the caller gives. */
static void FC_NAME(pool_scatter)(void *dx, ptrdiff_t plane_step, ptrdiff_t lane_step, const void *dy,
                                  ptrdiff_t dy_step, const int64_t *index, ptrdiff_t count)
{
    for (ptrdiff_t j = 0; j < count; j++)
        ((real *)dx)[index[j] * plane_step + j * lane_step] += ((const real *)dy)[j * dy_step];
}
