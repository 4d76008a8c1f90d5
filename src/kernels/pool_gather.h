/* Gradients of pools, gathered: each element of dx is the sum over the windows that hold it, row by row in their order,
 * and is written once. Of a maximum a window counts where the argument that it kept is the element's tap. */

/* Rows of dy, over the taps that they are spread over if those are given, into scratch. */
static void FC_NAME(pool_take)(const fc_pool_take *t)
{
    for (ptrdiff_t n = 0; n < t->count; n++)
        for (ptrdiff_t i = 0; i < t->rows; i++) {
            real *to = (real *)t->scratch + i * t->pitch +
                       (t->pair ? n / 2 * t->next + n % 2 * (LANES / 2) : n * t->next);
            const real *from = (const real *)t->dy + n * t->dy_next + i * t->dy_row;
            for (ptrdiff_t j = 0; j < t->width; j += LANES) {
                const int lanes = t->width - j < LANES ? (int)(t->width - j) : LANES;
                vec v = vload_n(from + j, lanes);
                if (t->counted_h) {
                    vec taps = vset1(1);
                    for (int k = 0; k < lanes; k++)
                        taps[k] = (real)(t->counted_h[i] * t->counted_w[j + k]);
                    v /= taps;
                }
                vstore_n(to + j, v, lanes);
            }
        }
}

FC_INLINE vec FC_NAME(pool_gain)(vec sum, const lane_int *argument, const real *dy, lane_int tap, const int maximum)
{
    if (!maximum)
        return sum + vload(dy);
    vmask kept;
    memcpy(&kept, argument, sizeof kept);
    return vadd_where_equal(sum, vload(dy), kept, tap - (vmask){0});
}

/* LANES elements of each phase from m on: columns stride_w * m + phase. In pairs the halves of the vectors belong to two
 * planes. */
FC_INLINE void FC_NAME(pool_store_phases)(const fc_pool_gather *g, ptrdiff_t n, real *dx, ptrdiff_t m, vec even, vec odd,
                                          const int stride)
{
    const ptrdiff_t left = g->width - m * stride;
    vec low = even, high = even;
    if (stride == 2) {
        low = vzip_lo(even, odd);
        high = vzip_hi(even, odd);
    }
    if (FC_HAS_PERMUTE2 && g->pair) {
        real values[LANES];
        vstore(values, high);
        vstore_n(dx, low, (int)left);
        if (n + 1 < g->count)
            vstore_n(dx + g->dx_next, vload_n(values + (stride == 2 ? 0 : LANES / 2), (int)left), (int)left);
        return;
    }
    dx += m * stride;
    vstore_n(dx, low, left < LANES ? (int)left : LANES);
    if (stride == 2 && left > LANES)
        vstore_n(dx + LANES, high, left < 2 * LANES ? (int)left - LANES : LANES);
}

/* Windows of taps x taps neighbours, `stride` apart both ways; `odd` is the padding on the left, modulo the stride. */
FC_INLINE void FC_NAME(pool_gather_few)(const fc_pool_gather *gather, const ptrdiff_t taps, const int stride,
                                        const int odd, const int maximum)
{
    const fc_pool_gather own = *gather, *g = &own;  /* so that nothing that is stored may change it */
    const ptrdiff_t before = (g->pad_left - odd) / stride;
    for (ptrdiff_t n = 0; n < g->count; n += g->pair ? 2 : 1) {
        const ptrdiff_t plane = (g->pair ? n / 2 : n) * g->next + before;
        const lane_int *arguments = (const lane_int *)g->argument + plane;
        const real *gradients = (const real *)g->dy + plane;
        real *dx = (real *)g->dx + n * g->dx_next + g->row * g->width;
        /* Row `row` is tap row `rest` of its last window. */
        ptrdiff_t last = (g->row + g->pad_top) / stride, rest = (g->row + g->pad_top) % stride;
        for (ptrdiff_t row = g->row; row < g->row_end; row++, dx += g->width) {
            for (ptrdiff_t m = 0; m * stride < g->width; m += LANES) {
                vec sum[2] = {{0}, {0}};
                FC_UNROLL
                for (ptrdiff_t t = (taps - 1) / stride; t >= 0; t--) {
                    const ptrdiff_t a = rest + t * stride, i = last - t;
                    if (a >= taps || i < g->out_first || i >= g->out_end)
                        continue;
                    const ptrdiff_t at = (i - g->out_first) * g->pitch + m;
                    FC_UNROLL
                    for (ptrdiff_t b = taps - 1; b >= 0; b--) {
                        /* Column c is tap b of window (c + pad_left - b) / stride; a smaller b is a later window. */
                        const ptrdiff_t phase = stride == 1 ? 0 : (b + odd) % 2;
                        const ptrdiff_t from = at + (phase + odd - b) / stride;
                        sum[phase] = FC_NAME(pool_gain)(sum[phase], arguments + from, gradients + from,
                                                        (lane_int)(a * taps + b), maximum);
                    }
                }
                FC_NAME(pool_store_phases)(g, n, dx, m, sum[0], sum[1], stride);
            }
            if (++rest == stride) {
                rest = 0;
                last++;
            }
        }
    }
}

/* What the windows of one output row, whose tap row a is, give to LANES columns of a phase: c = phase + stride_w * lane. */
FC_INLINE vec FC_NAME(pool_gain_row)(const fc_pool_gather *g, vec sum, const lane_int *argument, const real *dy,
                                     ptrdiff_t a, ptrdiff_t m, ptrdiff_t phase, const int maximum)
{
    /* Neighbouring taps reach a column from every stride-th on; others are tried one by one. */
    const ptrdiff_t every = g->tap_w == 1 ? g->stride_w : 1;
    const ptrdiff_t least = g->tap_w == 1 ? (phase + g->pad_left) % every : 0;
    ptrdiff_t b = g->taps_w <= least ? -1 : least + (g->taps_w - 1 - least) / every * every;
    for (; b >= 0; b -= every) {
        const ptrdiff_t from = phase + g->pad_left - b * g->tap_w;
        const ptrdiff_t at = from % g->stride_w ? g->out_width : m + from / g->stride_w;
        if (at > -LANES && at < g->out_width)
            sum = FC_NAME(pool_gain)(sum, argument + at, dy + at, (lane_int)(a * g->taps_w + b), maximum);
    }
    return sum;
}

FC_INLINE vec FC_NAME(pool_gain_column)(const fc_pool_gather *g, ptrdiff_t plane, ptrdiff_t row, ptrdiff_t m,
                                        ptrdiff_t phase, const int maximum)
{
    const ptrdiff_t reach = row + g->pad_top - (g->taps_h - 1) * g->tap_h;
    ptrdiff_t i = reach <= 0 ? 0 : (reach + g->stride_h - 1) / g->stride_h;
    ptrdiff_t last = (row + g->pad_top) / g->stride_h;
    i = i < g->out_first ? g->out_first : i;
    last = last < g->out_end ? last : g->out_end - 1;
    vec sum = {0};
    for (; i <= last; i++) {
        const ptrdiff_t u = row + g->pad_top - i * g->stride_h, a = g->tap_h == 1 ? u : u / g->tap_h;
        if (a * g->tap_h != u)
            continue;
        const ptrdiff_t at = plane + (i - g->out_first) * g->pitch;
        sum = FC_NAME(pool_gain_row)(g, sum, (const lane_int *)g->argument + at, (const real *)g->dy + at, a, m, phase,
                                     maximum);
    }
    return sum;
}

/* Any windows. */
FC_INLINE void FC_NAME(pool_gather_any)(const fc_pool_gather *g, const int maximum)
{
    const ptrdiff_t stride = g->stride_w;
    for (ptrdiff_t n = 0; n < g->count; n += g->pair ? 2 : 1)
        for (ptrdiff_t row = g->row; row < g->row_end; row++) {
            const ptrdiff_t plane = (g->pair ? n / 2 : n) * g->next;
            real *dx = (real *)g->dx + n * g->dx_next + row * g->width;
            for (ptrdiff_t m = 0; m * stride < g->width; m += LANES) {
                if (stride <= 2) {
                    const vec even = FC_NAME(pool_gain_column)(g, plane, row, m, 0, maximum);
                    if (stride == 1)
                        FC_NAME(pool_store_phases)(g, n, dx, m, even, even, 1);
                    else
                        FC_NAME(pool_store_phases)(g, n, dx, m, even,
                                                   FC_NAME(pool_gain_column)(g, plane, row, m, 1, maximum), 2);
                    continue;
                }
                for (ptrdiff_t phase = 0; phase < stride; phase++) {
                    const vec sum = FC_NAME(pool_gain_column)(g, plane, row, m, phase, maximum);
                    for (ptrdiff_t i = 0, c = m * stride + phase; i < LANES && c < g->width; i++, c += stride)
                        dx[c] = sum[i];
                }
            }
        }
}

FC_INLINE void FC_NAME(pool_gather_kind)(const fc_pool_gather *g, const int maximum)
{
    const int stride = g->stride_h == g->stride_w && g->stride_w <= 2 ? (int)g->stride_w : 0;
    const int few = g->taps_h == g->taps_w && g->tap_h == 1 && g->tap_w == 1 && stride ? (int)g->taps_w : 0;
    const int odd = stride == 2 && g->pad_left % 2;
    if (few == 2 && stride == 1)
        FC_NAME(pool_gather_few)(g, 2, 1, 0, maximum);
    else if (few == 3 && stride == 1)
        FC_NAME(pool_gather_few)(g, 3, 1, 0, maximum);
    else if (few == 2 && odd)
        FC_NAME(pool_gather_few)(g, 2, 2, 1, maximum);
    else if (few == 3 && odd)
        FC_NAME(pool_gather_few)(g, 3, 2, 1, maximum);
    else if (few == 2)
        FC_NAME(pool_gather_few)(g, 2, 2, 0, maximum);
    else if (few == 3)
        FC_NAME(pool_gather_few)(g, 3, 2, 0, maximum);
    else
        FC_NAME(pool_gather_any)(g, maximum);
}

static void FC_NAME(pool_gather)(const fc_pool_gather *g)
{
    if (g->argument)
        FC_NAME(pool_gather_kind)(g, 1);
    else
        FC_NAME(pool_gather_kind)(g, 0);
}

/* NHWC: a row of pixels of dx, lanes along `lanes` channels; the arguments' rows hold LANES for each output pixel. */
static void FC_NAME(pool_gather_pixels)(const fc_pool_pixels *g)
{
    for (ptrdiff_t column = 0; column < g->width; column++) {
        vec sum = {0};
        const ptrdiff_t v = column + g->pad_left, reach = v - (g->taps_w - 1) * g->tap_w;
        const ptrdiff_t first = reach <= 0 ? 0 : (reach + g->stride_w - 1) / g->stride_w;
        const ptrdiff_t last = v / g->stride_w < g->out_width ? v / g->stride_w : g->out_width - 1;
        for (ptrdiff_t i = g->first; i <= g->last; i++) {
            const ptrdiff_t u = g->row + g->pad_top - i * g->stride_h;
            if (u % g->tap_h)
                continue;
            for (ptrdiff_t j = first; j <= last; j++) {
                const ptrdiff_t w = v - j * g->stride_w;
                if (w % g->tap_w)
                    continue;
                const vec dy = vload_n((const real *)g->dy + i * g->dy_row + j * g->dy_pixel, g->lanes);
                if (g->argument) {
                    vmask kept;
                    memcpy(&kept, (const lane_int *)g->argument + (i - g->out_first) * g->argument_row + j * LANES,
                           sizeof kept);
                    const lane_int tap = (lane_int)(u / g->tap_h * g->taps_w + w / g->tap_w);
                    sum = vadd_where_equal(sum, dy, kept, tap - (vmask){0});
                } else {
                    sum += dy / vset1((real)(g->counted_h[i] * g->counted_w[j]));
                }
            }
        }
        vstore_n((real *)g->dx + column * g->dx_pixel, sum, g->lanes);
    }
}

/* dx[index[j]*plane_step + j*lane_step] += dy[j]: by places that are given, or windows of many taps. */
static void FC_NAME(pool_scatter)(void *dx, ptrdiff_t plane_step, ptrdiff_t lane_step, const void *dy,
                                  ptrdiff_t dy_step, const int64_t *index, ptrdiff_t count)
{
    for (ptrdiff_t j = 0; j < count; j++)
        ((real *)dx)[index[j] * plane_step + j * lane_step] += ((const real *)dy)[j * dy_step];
}
