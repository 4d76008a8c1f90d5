/* Pooling, lanes along the outputs of a row (along the channels with NHWC), one strip of them at a time down the rows.
 *
 * A window is reduced along its rows (pool_taps.h), then down: that is row-major order, in which ties and NaNs go to
 * the first. Where windows overlap, each row is reduced once and serves all windows that it is in. */

enum { FC_NAME(pool_buffer) = 64 };  /* rows that overlapping windows keep, in L1 */
#define FC_POOL_BUFFER FC_NAME(pool_buffer)

/* Where what is kept of row r of the input lies in `kept.gradient` and `kept.tap`; or -1. */
FC_INLINE ptrdiff_t FC_NAME(pool_kept_at)(const fc_pool_strip *s, int pair, ptrdiff_t n, ptrdiff_t r)
{
    const ptrdiff_t row = r - s->kept.row;
    return row < 0 || row >= s->kept.rows ? -1 : (pair ? n / 2 : n) * s->kept.next + row * s->kept.pitch;
}

FC_INLINE void FC_NAME(pool_keep_taps)(const FC_NAME(pool_call) *call, ptrdiff_t n, ptrdiff_t r, vmask taps)
{
    const ptrdiff_t at = FC_NAME(pool_kept_at)(call->s, call->pair, n, r);
    if (at >= 0)
        *(vmask *)((lane_int *)call->s->kept.tap + at) = taps;
}

/* Output row i of dy, of both planes of a pair. */
FC_INLINE vec FC_NAME(pool_load_dy)(const fc_pool_strip *s, int pair, ptrdiff_t n, ptrdiff_t i)
{
    const real *dy = (const real *)s->dy + n * s->dy_next + i * s->dy_row;
    const vec v = s->lanes == LANES ? vload(dy) : vload_n(dy, s->lanes);
    if (!pair || n + 1 == s->count)
        return v;
    return vload_lanes_else(dy + s->dy_next - LANES / 2, ((1u << s->lanes) - 1) << LANES / 2, v);
}

/* Adds v to what is kept of row r, in the lanes where `row` is tap row a. */
FC_INLINE void FC_NAME(pool_keep_gradient)(const FC_NAME(pool_call) *call, ptrdiff_t n, ptrdiff_t r, vec v, vmask row,
                                           ptrdiff_t a)
{
    const ptrdiff_t at = FC_NAME(pool_kept_at)(call->s, call->pair, n, r);
    vec *kept = (vec *)((real *)call->s->kept.gradient + at);
    if (at >= 0)
        *kept = vadd_where_equal(*kept, v, row, (lane_int)a - (vmask){0});
}

/* Output rows [begin, end) whose windows hold tap rows [a, stop), each from its own rows of the input. */
FC_INLINE vec FC_NAME(pool_apart)(const FC_NAME(pool_call) *call, const real *x, const real *second, ptrdiff_t n,
                                  ptrdiff_t begin, ptrdiff_t end, ptrdiff_t a, const ptrdiff_t stop,
                                  const ptrdiff_t taps, vec counted)
{
    const fc_pool_strip *s = call->s;
    const ptrdiff_t down = s->tap_h * s->x_row;
    ptrdiff_t top = (s->top + begin * s->stride_h + a * s->tap_h) * s->x_row;
    vec seen = {0};
    for (ptrdiff_t i = begin; i < end; i++, top += s->stride_h * s->x_row) {
        vec best = call->missing, v = call->missing;
        vmask argument = call->first, place = call->first;
        const int gradient = call->operation == FC_POOL_GRADIENT;
        const ptrdiff_t start = s->top + i * s->stride_h;
        FC_NAME(pool_reduce_row)(call, x + top, second + top, taps, &best, &argument, &seen);
        if (gradient)
            FC_NAME(pool_keep_taps)(call, n, start + a * s->tap_h, argument);
        argument = gradient ? (lane_int)a - (vmask){0} : argument + (lane_int)(a * s->argument_h);
        ptrdiff_t at = top;
        for (ptrdiff_t k = a + 1; k < stop; k++) {
            at += down;
            FC_NAME(pool_reduce_row)(call, x + at, second + at, taps, &v, &place, &seen);
            if (gradient)
                FC_NAME(pool_keep_taps)(call, n, start + k * s->tap_h, place);
            place = gradient ? (lane_int)k - (vmask){0} : place + (lane_int)(k * s->argument_h);
            FC_NAME(pool_fold)(call, v, place, &best, &argument);
        }
        if (!gradient) {
            FC_NAME(pool_finish)(call, n, i, best, argument, counted);
            continue;
        }
        const vec dy = FC_NAME(pool_load_dy)(s, call->pair, n, i);
        for (ptrdiff_t k = a; k < stop; k++)
            FC_NAME(pool_keep_gradient)(call, n, start + k * s->tap_h, dy, argument, k);
    }
    return seen;
}

/* Adds to what is kept of rows [low, high) what `count` rows of dy give them, whose windows begin at `top` and whose
 * maxima lie in tap rows `winner`. */
FC_INLINE void FC_NAME(pool_keep_rows)(const FC_NAME(pool_call) *call, ptrdiff_t n, ptrdiff_t top, ptrdiff_t count,
                                       ptrdiff_t low, ptrdiff_t high, const ptrdiff_t taps_h, const vmask *winner,
                                       const vec *dy)
{
    const fc_pool_strip *s = call->s;
    low = low < s->kept.row ? s->kept.row : low;
    high = high < s->kept.row + s->kept.rows ? high : s->kept.row + s->kept.rows;
    /* Row r is tap row `rest` of its last window, and of earlier ones every stride-th from there on. */
    ptrdiff_t last = (low - top) / s->stride_h, rest = (low - top) % s->stride_h;
    real *kept = (real *)s->kept.gradient + (call->pair ? n / 2 : n) * s->kept.next;
    for (ptrdiff_t r = low; r < high; r++) {
        vec *to = (vec *)(kept + (r - s->kept.row) * s->kept.pitch), sum = *to;
        ptrdiff_t a = rest, i = last;
        while (a + s->stride_h < taps_h) {
            a += s->stride_h;
            i--;
        }
        /* From the first window on, as if it were alone: sums do not depend on which windows come together. */
        for (; a >= 0; a -= s->stride_h, i++)
            if (i >= 0 && i < count)
                sum = vadd_where_equal(sum, dy[i], winner[i], (lane_int)a - (vmask){0});
        *to = sum;
        if (++rest == s->stride_h) {
            rest = 0;
            last++;
        }
    }
}

/* Output rows [begin, end) of windows that overlap: each row of the input is reduced once. */
FC_INLINE vec FC_NAME(pool_together)(const FC_NAME(pool_call) *call, const real *x, const real *second, ptrdiff_t n,
                                     ptrdiff_t begin, ptrdiff_t end, const ptrdiff_t taps, vec counted)
{
    const fc_pool_strip *s = call->s;
    vec buffer[FC_POOL_BUFFER];
    vmask arguments[FC_POOL_BUFFER], winner[FC_POOL_BUFFER];
    vec dy[FC_POOL_BUFFER];
    vec seen = {0};
    const ptrdiff_t taps_h = call->few ? taps : s->taps_h;
    const ptrdiff_t top = s->top + begin * s->stride_h, bottom = top + (end - begin - 1) * s->stride_h + taps_h;
    const ptrdiff_t low = top < 0 ? 0 : top, high = bottom < s->height ? bottom : s->height;
    const int gradient = call->operation == FC_POOL_GRADIENT;
    for (ptrdiff_t r = low, at = low * s->x_row; r < high; r++, at += s->x_row) {
        FC_NAME(pool_reduce_row)(call, x + at, second + at, taps, &buffer[r - low], &arguments[r - low], &seen);
        if (gradient)
            FC_NAME(pool_keep_taps)(call, n, r, arguments[r - low]);
    }
    for (ptrdiff_t i = begin, start = top; i < end; i++, start += s->stride_h) {
        const ptrdiff_t a = start < 0 ? -start : 0, stop = start + taps_h < high ? taps_h : high - start;
        const vec *row = buffer + (start - low);
        const vmask *place = arguments + (start - low);
        vec best = row[a];
        vmask argument = gradient ? (lane_int)a - (vmask){0} : place[a] + (lane_int)(a * s->argument_h);
        if (call->few && a == 0 && stop == taps) {
            for (ptrdiff_t k = 1; k < taps; k++)
                FC_NAME(pool_fold)(call, row[k], gradient ? (lane_int)k - (vmask){0}
                                                          : place[k] + (lane_int)(k * s->argument_h), &best, &argument);
        } else {
            for (ptrdiff_t k = a + 1; k < stop; k++)
                FC_NAME(pool_fold)(call, row[k], gradient ? (lane_int)k - (vmask){0}
                                                          : place[k] + (lane_int)(k * s->argument_h), &best, &argument);
        }
        if (gradient) {
            winner[i - begin] = argument;
            dy[i - begin] = FC_NAME(pool_load_dy)(s, call->pair, n, i);
        } else {
            FC_NAME(pool_finish)(call, n, i, best, argument, counted);
        }
    }
    if (gradient)
        FC_NAME(pool_keep_rows)(call, n, top, end - begin, low, high, taps_h, winner, dy);
    return seen;
}

/* The same of windows that are inside, `stride` rows apart, without a buffer: what the next window has in common stays
 * in registers. */
FC_INLINE vec FC_NAME(pool_rolling)(const FC_NAME(pool_call) *call, const real *x, const real *second, ptrdiff_t n,
                                    ptrdiff_t begin, ptrdiff_t end, const ptrdiff_t taps, const ptrdiff_t stride,
                                    vec counted)
{
    const fc_pool_strip *s = call->s;
    const ptrdiff_t kept = taps - stride;
    const ptrdiff_t partner = second - x;
    const real *row = x + (s->top + begin * stride) * s->x_row;
    vec best[3] = {{0}, {0}, {0}}, seen = {0};
    vmask argument[3] = {{0}, {0}, {0}};
    for (ptrdiff_t a = 0; a < kept; a++, row += s->x_row)
        FC_NAME(pool_reduce_row)(call, row, row + partner, taps, &best[a], &argument[a], &seen);
    for (ptrdiff_t i = begin; i < end; i++) {
        for (ptrdiff_t a = kept; a < taps; a++, row += s->x_row)
            FC_NAME(pool_reduce_row)(call, row, row + partner, taps, &best[a], &argument[a], &seen);
        vec window = best[0];
        vmask place = argument[0];
        for (ptrdiff_t a = 1; a < taps; a++)
            FC_NAME(pool_fold)(call, best[a], argument[a] + (lane_int)(a * s->argument_h), &window, &place);
        FC_NAME(pool_finish)(call, n, i, window, place, counted);
        for (ptrdiff_t a = 0; a < kept; a++) {
            best[a] = best[a + stride];
            argument[a] = argument[a + stride];
        }
    }
    return seen;
}

/* All rows of strip n. Returns lanes that are NaN if an operation that does not hand it on has seen one (or both
 * infinities). */
FC_INLINE vec FC_NAME(pool_strip)(const FC_NAME(pool_call) *call, ptrdiff_t n, const ptrdiff_t taps, vec counted)
{
    const fc_pool_strip *s = call->s;
    const real *x = (const real *)s->x + n * s->x_next, *second = n + 1 < s->count ? x + s->x_next : x;
    const ptrdiff_t taps_h = call->few ? taps : s->taps_h, reach = (taps_h - 1) * s->tap_h;
    const int overlap = s->tap_h == 1 && s->stride_h < taps_h && taps_h <= FC_POOL_BUFFER / 2;
    const ptrdiff_t most = overlap ? (FC_POOL_BUFFER - taps_h) / s->stride_h + 1 : 1;
    vec seen = {0};
    for (ptrdiff_t i = 0, end; i < s->rows; i = end) {
        const ptrdiff_t start = s->top + i * s->stride_h;
        const int inside = start >= 0 && start + reach < s->height;
        const int rolls = call->few && call->operation != FC_POOL_GRADIENT && inside;
        if (rolls && s->stride_h < taps && s->stride_h <= 2 && (call->pair || s->stride_h == call->step)) {
            const ptrdiff_t alike = (s->height - 1 - reach - start) / s->stride_h + 1;
            end = alike < s->rows - i ? i + alike : s->rows;
            if (call->step == 1 || (call->pair && s->stride_h == 1))
                seen += FC_NAME(pool_rolling)(call, x, second, n, i, end, taps, 1, counted);
            else
                seen += FC_NAME(pool_rolling)(call, x, second, n, i, end, taps, 2, counted);
            continue;
        }
        if (overlap || (call->few && !inside)) {
            end = s->rows - i < most ? s->rows : i + most;
            seen += FC_NAME(pool_together)(call, x, second, n, i, end, taps, counted);
            continue;
        }
        /* Rows whose windows are inside, or one whose window is cut. */
        const ptrdiff_t alike = inside ? (s->height - 1 - reach - start) / s->stride_h + 1 : 1;
        end = alike < s->rows - i ? i + alike : s->rows;
        if (call->few) {
            seen += FC_NAME(pool_apart)(call, x, second, n, i, end, 0, taps, taps, counted);
            continue;
        }
        const ptrdiff_t a = start < 0 ? (-start + s->tap_h - 1) / s->tap_h : 0;
        const ptrdiff_t below = (s->height - start + s->tap_h - 1) / s->tap_h, stop = below < taps_h ? below : taps_h;
        seen += FC_NAME(pool_apart)(call, x, second, n, i, end, a, stop, taps, counted);
    }
    return seen;
}
#undef FC_POOL_BUFFER
#undef FC_POOL_AHEAD
