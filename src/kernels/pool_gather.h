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

/* What the windows of one output row, whose tap row a is, give to LANES columns of a phase: c = phase + stride_w * lane. */
FC_INLINE vec FC_NAME(pool_gain_row)(const fc_pool_gather *g, vec sum, const lane_int *argument, const real *dy,
                                     ptrdiff_t a, ptrdiff_t m, ptrdiff_t phase, const ptrdiff_t taps, const int stride,
                                     const int odd, const int maximum)
{
    const lane_int first = (lane_int)(a * g->taps_w);
    if (stride) {
        /* Column c is tap b of window (c + pad - b) / stride; a smaller b is a later window. */
        const ptrdiff_t pad = g->pad_left;
        for (ptrdiff_t b = taps - 1; b >= 0; b--) {
            if (stride == 2 && (phase + odd - b) % 2)
                continue;
            const ptrdiff_t at = m + (phase + pad - b) / stride;
            sum = FC_NAME(pool_gain)(sum, argument + at, dy + at, first + (lane_int)b, maximum);
        }
        return sum;
    }
    /* Neighbouring taps reach a column from every stride-th on; others are tried one by one. */
    const ptrdiff_t every = g->tap_w == 1 ? g->stride_w : 1;
    const ptrdiff_t least = g->tap_w == 1 ? (phase + g->pad_left) % every : 0;
    for (ptrdiff_t b = taps <= least ? -1 : least + (taps - 1 - least) / every * every; b >= 0; b -= every) {
        const ptrdiff_t from = phase + g->pad_left - b * g->tap_w;
        const ptrdiff_t at = from % g->stride_w ? g->out_width : m + from / g->stride_w;
        if (at > -LANES && at < g->out_width)
            sum = FC_NAME(pool_gain)(sum, argument + at, dy + at, first + (lane_int)b, maximum);
    }
    return sum;
}

FC_INLINE vec FC_NAME(pool_gain_column)(const fc_pool_gather *g, ptrdiff_t n, ptrdiff_t row, ptrdiff_t m,
                                        ptrdiff_t phase, const ptrdiff_t taps, const int stride, const int odd,
                                        const int maximum)
{
    const ptrdiff_t reach = row + g->pad_top - (g->taps_h - 1) * g->tap_h;
    ptrdiff_t i = reach <= 0 ? 0 : (reach + g->stride_h - 1) / g->stride_h;
    ptrdiff_t last = (row + g->pad_top) / g->stride_h;
    i = i < g->out_first ? g->out_first : i;
    last = last < g->out_end ? last : g->out_end - 1;
    vec sum = {0};
    for (; i <= last; i++) {
        ptrdiff_t a = row + g->pad_top - i * g->stride_h;
        if (g->tap_h != 1) {
            if (a % g->tap_h)
                continue;
            a /= g->tap_h;
        }
        const ptrdiff_t at = n * g->next + (i - g->out_first) * g->pitch;
        sum = FC_NAME(pool_gain_row)(g, sum, (const lane_int *)g->argument + at, (const real *)g->dy + at, a, m, phase,
                                     taps, stride, odd, maximum);
    }
    return sum;
}

FC_INLINE void FC_NAME(pool_gather_run)(const fc_pool_gather *g, const ptrdiff_t taps, const int stride, const int odd,
                                        const int maximum)
{
    const int pair = FC_HAS_PERMUTE2 && g->pair;
    const ptrdiff_t planes = pair ? 2 : 1;
    const ptrdiff_t step = stride ? stride : g->stride_w;
    for (ptrdiff_t n = 0; n < g->count; n += planes)
        for (ptrdiff_t row = g->row; row < g->row_end; row++) {
            real *dx = (real *)g->dx + n * g->dx_next + row * g->width;
            for (ptrdiff_t m = 0; m * step < g->width; m += LANES) {
                const ptrdiff_t c = m * step, left = g->width - c;
                if (!stride) {
                    for (ptrdiff_t phase = 0; phase < step; phase++) {
                        const vec sum = FC_NAME(pool_gain_column)(g, n, row, m, phase, taps, stride, odd, maximum);
                        for (int i = 0; i < LANES && phase + i * step < left; i++)
                            dx[c + phase + i * step] = sum[i];
                    }
                    continue;
                }
                vec low = FC_NAME(pool_gain_column)(g, n / planes, row, m, 0, taps, stride, odd, maximum), high = low;
                if (stride == 2) {
                    const vec next = FC_NAME(pool_gain_column)(g, n / planes, row, m, 1, taps, stride, odd, maximum);
                    low = vzip_lo(high, next);
                    high = vzip_hi(high, next);
                }
                if (pair) {
                    vstore_n(dx, low, (int)left);
                    real values[LANES];
                    vstore(values, high);
                    if (n + 1 < g->count)
                        vstore_n(dx + g->dx_next, vload_n(values + (stride == 2 ? 0 : LANES / 2), (int)left), (int)left);
                    continue;
                }
                vstore_n(dx + c, low, left < LANES ? (int)left : LANES);
                if (stride == 2 && left > LANES)
                    vstore_n(dx + c + LANES, high, left < 2 * LANES ? (int)left - LANES : LANES);
            }
        }
}

FC_INLINE void FC_NAME(pool_gather_taps)(const fc_pool_gather *g, const ptrdiff_t taps, const int maximum)
{
    if (g->tap_w == 1 && g->stride_w == 1 && taps <= LANES)
        FC_NAME(pool_gather_run)(g, taps, 1, 0, maximum);
    else if (g->tap_w == 1 && g->stride_w == 2 && taps <= LANES && g->pad_left % 2)
        FC_NAME(pool_gather_run)(g, taps, 2, 1, maximum);
    else if (g->tap_w == 1 && g->stride_w == 2 && taps <= LANES)
        FC_NAME(pool_gather_run)(g, taps, 2, 0, maximum);
    else
        FC_NAME(pool_gather_run)(g, g->taps_w, 0, 0, maximum);
}

FC_INLINE void FC_NAME(pool_gather_any)(const fc_pool_gather *g, const int maximum)
{
    if (g->taps_w == 2)
        FC_NAME(pool_gather_taps)(g, 2, maximum);
    else if (g->taps_w == 3)
        FC_NAME(pool_gather_taps)(g, 3, maximum);
    else
        FC_NAME(pool_gather_taps)(g, g->taps_w, maximum);
}

static void FC_NAME(pool_gather)(const fc_pool_gather *g)
{
    if (g->argument)
        FC_NAME(pool_gather_any)(g, 1);
    else
        FC_NAME(pool_gather_any)(g, 0);
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
