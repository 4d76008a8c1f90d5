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

static void FC_NAME(pool_exact_max)(const fc_pool_strip *s);
static void FC_NAME(pool_exact_argmax)(const fc_pool_strip *s);
static void FC_NAME(pool_exact_gradient)(const fc_pool_strip *s);

/* Strip n (n + 1, too, of a pair), in which there is a NaN, once more; by instances of their own, since it is rare. */
static __attribute__((noinline)) void FC_NAME(pool_exact)(const fc_pool_strip *strip, ptrdiff_t n,
                                                          fc_pool_operation operation)
{
    fc_pool_strip s = *strip;
    s.count = s.pair && n + 1 < s.count ? 2 : 1;
    s.x = (const real *)s.x + n * s.x_next;
    s.index_first += n * s.index_next;
    const ptrdiff_t kept = (s.pair ? n / 2 : n) * s.kept.next;
    if (operation == FC_POOL_GRADIENT) {
        s.dy = (const real *)s.dy + n * s.dy_next;
        s.kept.gradient = (real *)s.kept.gradient + kept;
        s.kept.tap = (lane_int *)s.kept.tap + kept;
        for (ptrdiff_t r = 0; r < s.kept.rows; r++)
            *(vec *)((real *)s.kept.gradient + r * s.kept.pitch) = (vec){0};
        FC_NAME(pool_exact_gradient)(&s);
        return;
    }
    s.y = (real *)s.y + n * s.y_next;
    if (operation == FC_POOL_MAX) {
        FC_NAME(pool_exact_max)(&s);
        return;
    }
    s.index += n * s.y_next;
    FC_NAME(pool_exact_argmax)(&s);
}

FC_INLINE void FC_NAME(pool_run)(const fc_pool_strip *strip, const ptrdiff_t taps, const int few, const int step,
                                 const int whole, const int pair, const int quick, const fc_pool_operation operation)
{
    const fc_pool_strip own = *strip, *s = &own;  /* so that nothing that is stored may change it */
    vmask index[FC_POOL_LANES], first;
    vec counted;
    for (int i = 0; i < LANES; i++) {
        const int lane = pair ? i % (LANES / 2) : i;
        first[i] = s->whole ? (lane_int)(s->tap_first * s->argument_w) : lane < s->lanes ? (lane_int)s->first[lane] : 0;
        counted[i] = operation == FC_POOL_SUM && lane < s->lanes ? (real)s->counted_w[lane * s->counted_step] : 1;
    }
    if (pair)
        for (ptrdiff_t b = 0; b < taps; b++)
            for (int i = 0; i < LANES; i++) {
                const int upper = i >= LANES / 2;
                const ptrdiff_t column = s->column + (i - upper * LANES / 2) * s->lane_step + b * s->tap_w;
                const ptrdiff_t inside = column >= 0 && column < s->columns ? column : LANES - 1;
                index[b][i] = (lane_int)inside + upper * LANES;
            }
    FC_NAME(pool_call) call = {
        .s = s,
        .step = step,
        .whole = whole,
        .pair = pair,
        .neighbours = !pair && step == 2 && (few || s->tap_w == 1),
        .few = few,
        .operation = operation,
        .quick = quick,
        .missing = operation == FC_POOL_SUM ? (vec){0} : vset1(-(real)INFINITY),
        .first = first,
        .index = index,
    };
    if (few && step && !whole)
        for (ptrdiff_t b = 0; b < taps; b++) {
            const ptrdiff_t column = s->column + b * s->tap_column;
            const ptrdiff_t ahead = !call.neighbours ? LANES - 1 : b + 1 < taps ? LANES : 2 * LANES - 2;
            call.inside[2 * b] = FC_NAME(pool_lanes_inside)(column, s->columns);
            call.inside[2 * b + 1] = FC_NAME(pool_lanes_inside)(column + ahead, s->columns);
        }
    for (ptrdiff_t n = 0; n < s->count; n += 1 + pair) {
        const vec seen = FC_NAME(pool_strip)(&call, n, taps, counted);
        if (quick && vany(vunordered(seen, seen)))
            FC_NAME(pool_exact)(strip, n, operation);
    }
}

/* One instance a function: together they would take very long to compile under sanitizers. `any` asks at each step what
 * a strip is, the others are windows of taps x taps neighbours. */
#define FC_POOL_INSTANCE(name, taps, few, step, whole, pair, quick, operation)                \
    static __attribute__((noinline)) void FC_NAME(name)(const fc_pool_strip *s)               \
    {                                                                                         \
        FC_NAME(pool_run)(s, taps, few, step, whole, FC_HAS_PERMUTE2 && (pair), quick, operation); \
    }
#define FC_POOL_ANY(name, quick, operation)                                                                      \
    FC_POOL_INSTANCE(name, s->taps_w, 0, s->lane_step > 2 ? 0 : (int)s->lane_step, s->whole && s->lane_step <= 2, \
                     s->pair, quick, operation)
#define FC_POOL_FEW(name, taps, operation)                                                        \
    FC_POOL_INSTANCE(name##_##taps##_pair, taps, 1, 0, 0, 1, operation != FC_POOL_SUM, operation) \
    FC_POOL_INSTANCE(name##_##taps##_1_whole, taps, 1, 1, 1, 0, operation != FC_POOL_SUM, operation) \
    FC_POOL_INSTANCE(name##_##taps##_1, taps, 1, 1, 0, 0, operation != FC_POOL_SUM, operation)    \
    FC_POOL_INSTANCE(name##_##taps##_2_whole, taps, 1, 2, 1, 0, operation != FC_POOL_SUM, operation) \
    FC_POOL_INSTANCE(name##_##taps##_2, taps, 1, 2, 0, 0, operation != FC_POOL_SUM, operation)    \
    static void FC_NAME(name##_##taps)(const fc_pool_strip *s)                                    \
    {                                                                                             \
        if (FC_HAS_PERMUTE2 && s->pair)                                                           \
            FC_NAME(name##_##taps##_pair)(s);                                                     \
        else if (s->lane_step == 1)                                                               \
            (s->whole ? FC_NAME(name##_##taps##_1_whole) : FC_NAME(name##_##taps##_1))(s);        \
        else                                                                                      \
            (s->whole ? FC_NAME(name##_##taps##_2_whole) : FC_NAME(name##_##taps##_2))(s);        \
    }
#define FC_POOL_KIND(name, operation)                            \
    FC_POOL_ANY(name##_any, operation != FC_POOL_SUM, operation) \
    FC_POOL_FEW(name, 2, operation)                              \
    FC_POOL_FEW(name, 3, operation)
FC_POOL_ANY(pool_exact_max, 0, FC_POOL_MAX)
FC_POOL_ANY(pool_exact_argmax, 0, FC_POOL_ARGMAX)
FC_POOL_ANY(pool_exact_gradient, 0, FC_POOL_GRADIENT)
FC_POOL_KIND(pool_quick_max, FC_POOL_MAX)
FC_POOL_KIND(pool_quick_argmax, FC_POOL_ARGMAX)
FC_POOL_KIND(pool_quick_gradient, FC_POOL_GRADIENT)
FC_POOL_KIND(pool_sum, FC_POOL_SUM)
#undef FC_POOL_KIND
#undef FC_POOL_FEW
#undef FC_POOL_ANY
#undef FC_POOL_INSTANCE

/* Takes the instances of one operation: any strip, and windows of 2x2 and of 3x3 neighbours. */
FC_INLINE void FC_NAME(pool_operate)(const fc_pool_strip *s, void (*any)(const fc_pool_strip *strip),
                                     void (*two)(const fc_pool_strip *strip), void (*three)(const fc_pool_strip *strip))
{
    const int few = s->taps_h == s->taps_w && s->tap_h == 1 && (s->lane_step == 1 || (s->lane_step == 2 && s->tap_w == 1));
    if (few && s->taps_w == 2)
        two(s);
    else if (few && s->taps_w == 3)
        three(s);
    else
        any(s);
}

static void FC_NAME(pool_max)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, FC_NAME(pool_quick_max_any), FC_NAME(pool_quick_max_2), FC_NAME(pool_quick_max_3));
}
static void FC_NAME(pool_argmax)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, FC_NAME(pool_quick_argmax_any), FC_NAME(pool_quick_argmax_2),
                          FC_NAME(pool_quick_argmax_3));
}
static void FC_NAME(pool_mean)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, FC_NAME(pool_sum_any), FC_NAME(pool_sum_2), FC_NAME(pool_sum_3));
}
static void FC_NAME(pool_max_gradient)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, FC_NAME(pool_quick_gradient_any), FC_NAME(pool_quick_gradient_2),
                          FC_NAME(pool_quick_gradient_3));
}

/* Each row of dy, over the taps that count, goes to all rows of its windows. */
static void FC_NAME(pool_mean_gradient)(const fc_pool_strip *s)
{
    const int pair = FC_HAS_PERMUTE2 && s->pair;
    vec counted;
    for (int i = 0; i < LANES; i++) {
        const int lane = pair ? i % (LANES / 2) : i;
        counted[i] = lane < s->lanes ? (real)s->counted_w[lane * s->counted_step] : 1;
    }
    for (ptrdiff_t n = 0; n < s->count; n += 1 + pair)
        for (ptrdiff_t i = 0; i < s->rows; i++) {
            const vec share = FC_NAME(pool_load_dy)(s, pair, n, i) / (counted * vset1((real)s->counted_h[i]));
            const ptrdiff_t start = s->top + i * s->stride_h, above = s->kept.row - start;
            ptrdiff_t a = above > 0 ? (above + s->tap_h - 1) / s->tap_h : 0;
            for (ptrdiff_t r = start + a * s->tap_h; a < s->taps_h && r < s->kept.row + s->kept.rows; a++, r += s->tap_h) {
                const ptrdiff_t at = FC_NAME(pool_kept_at)(s, pair, n, r);
                if (at >= 0)
                    *(vec *)((real *)s->kept.gradient + at) += share;
            }
        }
}
#undef FC_POOL_BUFFER
#undef FC_POOL_AHEAD
