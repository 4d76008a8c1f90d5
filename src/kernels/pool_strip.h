/* Pooling, lanes along the outputs of a row (along the channels with NHWC), one strip of them at a time down the rows.
 *
 * A window is reduced along its rows, then down: that is row-major order, in which ties and NaNs go to the first. Where
 * windows overlap, each row is reduced once and serves all windows that it is in. Reading beside the image gives what
 * changes nothing: minus infinity, or zero. Two planes narrower than half a vector share one. */

enum { FC_NAME(pool_buffer) = 64 };  /* rows that overlapping windows keep, in L1 */
#define FC_POOL_BUFFER FC_NAME(pool_buffer)

/* What one call of pool_strips fixes: constants of the instance first. */
typedef struct {
    const fc_pool_strip *s;
    int step;        /* 1, 2, or 0 for any */
    int whole, pair;
    fc_pool_operation operation;
    vec missing;
    vmask first;     /* the argument of each lane's first tap */
    vmask unused;    /* all ones in lanes without an output */
    const vmask *index;  /* of each tap's lanes in a pair of rows */
} FC_NAME(pool_call);

FC_INLINE uint32_t FC_NAME(pool_lanes_inside)(ptrdiff_t column, ptrdiff_t columns)
{
    const ptrdiff_t low = column > 0 ? 0 : column < -LANES ? LANES : -column;
    const ptrdiff_t high = columns < column ? 0 : columns - column > LANES ? LANES : columns - column;
    return (uint32_t)(((1u << high) - 1) & ~((1u << low) - 1));
}

/* LANES neighbours; `column` says which of them exist. */
FC_INLINE vec FC_NAME(pool_neighbours)(const FC_NAME(pool_call) *call, const real *x, ptrdiff_t column)
{
    if (call->whole)
        return vload(x);
    return vload_lanes_else(x, FC_NAME(pool_lanes_inside)(column, call->s->columns), call->missing);
}

/* One tap of every lane. */
FC_INLINE vec FC_NAME(pool_tap)(const FC_NAME(pool_call) *call, const real *x, ptrdiff_t column)
{
    if (call->step == 1)
        return FC_NAME(pool_neighbours)(call, x, column);
    if (call->step == 2)
        return vevens(FC_NAME(pool_neighbours)(call, x, column),
                      FC_NAME(pool_neighbours)(call, x + LANES - 1, column + LANES - 1));
    vec v = call->missing;
    for (int i = 0; i < call->s->lanes; i++) {
        const ptrdiff_t at = i * call->s->lane_step;
        if (column + at >= 0 && column + at < call->s->columns)
            v[i] = x[at];
    }
    return v;
}

FC_INLINE void FC_NAME(pool_fold)(const FC_NAME(pool_call) *call, vec v, vmask argument, vec *best, vmask *best_argument)
{
    if (call->operation == FC_POOL_SUM) {
        *best += v;
        return;
    }
    const vchoice chosen = vbeats(v, *best);
    *best = vtake(chosen, v, *best);
    if (call->operation == FC_POOL_ARGMAX)
        *best_argument = vtake_int(chosen, argument, *best_argument);
}

/* One row of the windows of a strip; `taps` is taps_w, known to the instance or not. */
FC_INLINE void FC_NAME(pool_reduce_row)(const FC_NAME(pool_call) *call, const real *row, const real *second,
                                        const ptrdiff_t taps, vec *best, vmask *argument)
{
    const fc_pool_strip *s = call->s;
    const real *x = row + s->column;
    vec low = {0}, high = {0};
    if (call->pair) {
        low = vload_lanes_else(row, FC_NAME(pool_lanes_inside)(0, s->columns), call->missing);
        high = vload_lanes_else(second, FC_NAME(pool_lanes_inside)(0, s->columns), call->missing);
    }
    const int neighbours = !call->pair && call->step == 2 && s->tap_w == 1;
    *argument = call->first;
    for (ptrdiff_t b = 0; b < taps; b++) {
        const ptrdiff_t at = b * s->tap_w, column = s->column + b * s->tap_column;
        const vmask tap = (lane_int)((s->tap_first + b) * s->argument_w) - (vmask){0};
        vec v;
        if (neighbours && b + 1 < taps) {
            /* Two taps from two loads: the even and the odd of 2*LANES neighbours. */
            low = FC_NAME(pool_neighbours)(call, x + at, column);
            high = FC_NAME(pool_neighbours)(call, x + at + LANES, column + LANES);
            v = vdeal_evens(low, high);
            if (b == 0)
                *best = v;
            else
                FC_NAME(pool_fold)(call, v, tap, best, argument);
            b++;
            FC_NAME(pool_fold)(call, vdeal_odds(low, high), tap + (lane_int)s->argument_w, best, argument);
            continue;
        }
#if FC_HAS_PERMUTE2
        if (call->pair)
            v = vpermute2(low, call->index[b], high);
        else
#endif
            v = FC_NAME(pool_tap)(call, x + at, column);
        if (b == 0)
            *best = v;
        else
            FC_NAME(pool_fold)(call, v, tap, best, argument);
    }
}

FC_INLINE void FC_NAME(pool_store_index)(int64_t *to, const lane_int *argument, int64_t first, ptrdiff_t lane, int count)
{
    for (int i = 0; i < count; i++)
        to[i] = first + i * lane + argument[i];
}

/* Output row i of strip n. */
FC_INLINE void FC_NAME(pool_store)(const FC_NAME(pool_call) *call, ptrdiff_t n, ptrdiff_t i, vec best, vmask argument)
{
    const fc_pool_strip *s = call->s;
    const ptrdiff_t at = n * s->y_next + i * s->y_row;
    const int half = LANES / 2, second = call->pair && n + 1 < s->count;
    if (call->operation == FC_POOL_ARGMAX && s->argument) {
        argument |= call->unused;
        memcpy((lane_int *)s->argument + (call->pair ? n / 2 : n) * s->argument_next + i * s->argument_row, &argument,
               sizeof argument);
        return;
    }
    if (call->pair) {
        vstore_n((real *)s->y + at, best, s->lanes);
        real values[LANES];
        if (second) {
            vstore(values, best);
            vstore_n((real *)s->y + at + s->y_next, vload_n(values + half, s->lanes), s->lanes);
        }
    } else if (s->lanes == LANES) {
        vstore((real *)s->y + at, best);
    } else {
        vstore_n((real *)s->y + at, best, s->lanes);
    }
    if (call->operation == FC_POOL_ARGMAX) {
        lane_int arguments[LANES];
        memcpy(arguments, &argument, sizeof arguments);
        const int64_t first = s->index_first + n * s->index_next + i * s->index_row;
        if (s->lanes == LANES)
            FC_NAME(pool_store_index)(s->index + at, arguments, first, s->index_lane, LANES);
        else
            FC_NAME(pool_store_index)(s->index + at, arguments, first, s->index_lane, s->lanes);
        if (second)
            FC_NAME(pool_store_index)(s->index + at + s->y_next, arguments + half, first, s->index_lane, s->lanes);
    }
}

/* Output row i from the rows of its windows that lie in the image, [low, high) of `taps_h`. */
FC_INLINE void FC_NAME(pool_finish)(const FC_NAME(pool_call) *call, ptrdiff_t n, ptrdiff_t i, vec best, vmask argument,
                                    vec counted)
{
    if (call->operation == FC_POOL_SUM)
        best /= counted * vset1((real)call->s->counted_h[i]);
    FC_NAME(pool_store)(call, n, i, best, argument);
}

FC_INLINE void FC_NAME(pool_run)(const fc_pool_strip *s, const ptrdiff_t taps, const int step, const int whole, const int pair,
                                 const fc_pool_operation operation)
{
    vec buffer[FC_POOL_BUFFER];
    vmask arguments[FC_POOL_BUFFER], index[FC_POOL_LANES], first, unused;
    vec counted;
    for (int i = 0; i < LANES; i++) {
        const int lane = pair ? i % (LANES / 2) : i;
        first[i] = s->whole ? (lane_int)(s->tap_first * s->argument_w) : lane < s->lanes ? (lane_int)s->first[lane] : 0;
        unused[i] = lane < s->lanes ? 0 : -1;
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
    const vec missing = operation == FC_POOL_SUM ? (vec){0} : vset1(-(real)INFINITY);
    const FC_NAME(pool_call) call = {s, step, whole, pair, operation, missing, first, unused, index};
    const int keeps = s->tap_h == 1 && s->stride_h < s->taps_h && s->taps_h <= FC_POOL_BUFFER / 2;
    const ptrdiff_t most = keeps ? (FC_POOL_BUFFER - s->taps_h) / s->stride_h + 1 : s->rows;

    for (ptrdiff_t n = 0; n < s->count; n += 1 + pair) {
        const real *x = (const real *)s->x + n * s->x_next, *second = n + 1 < s->count ? x + s->x_next : x;
        for (ptrdiff_t begin = 0; begin < s->rows; begin += most) {
            const ptrdiff_t end = s->rows - begin < most ? s->rows : begin + most;
            const ptrdiff_t top = s->top + begin * s->stride_h;
            if (!keeps) {
                for (ptrdiff_t i = begin; i < end; i++) {
                    const ptrdiff_t start = s->top + i * s->stride_h;
                    ptrdiff_t a = start < 0 ? -start : 0, stop = s->height - start;
                    if (s->tap_h != 1) {
                        a = (a + s->tap_h - 1) / s->tap_h;
                        stop = (stop + s->tap_h - 1) / s->tap_h;
                    }
                    stop = stop < s->taps_h ? stop : s->taps_h;
                    vec best = missing, v = missing;
                    vmask argument = first, place = first;
                    const ptrdiff_t at = (start + a * s->tap_h) * s->x_row;
                    FC_NAME(pool_reduce_row)(&call, x + at, second + at, taps, &best, &argument);
                    argument += (lane_int)(a * s->argument_h);
                    while (++a < stop) {
                        const ptrdiff_t next = (start + a * s->tap_h) * s->x_row;
                        FC_NAME(pool_reduce_row)(&call, x + next, second + next, taps, &v, &place);
                        FC_NAME(pool_fold)(&call, v, place + (lane_int)(a * s->argument_h), &best, &argument);
                    }
                    FC_NAME(pool_finish)(&call, n, i, best, argument, counted);
                }
                continue;
            }
            const ptrdiff_t low = top < 0 ? 0 : top, bottom = top + (end - begin - 1) * s->stride_h + s->taps_h;
            const ptrdiff_t high = bottom < s->height ? bottom : s->height;
            for (ptrdiff_t r = low; r < high; r++)
                FC_NAME(pool_reduce_row)(&call, x + r * s->x_row, second + r * s->x_row, taps, &buffer[r - low],
                                         &arguments[r - low]);
            for (ptrdiff_t i = begin; i < end; i++) {
                const ptrdiff_t start = s->top + i * s->stride_h, below = start + s->taps_h;
                const ptrdiff_t stop = below < high ? below : high;
                ptrdiff_t r = start < 0 ? 0 : start;
                vec best = buffer[r - low];
                vmask argument = arguments[r - low] + (lane_int)((r - start) * s->argument_h);
                while (++r < stop)
                    FC_NAME(pool_fold)(&call, buffer[r - low],
                                       arguments[r - low] + (lane_int)((r - start) * s->argument_h), &best, &argument);
                FC_NAME(pool_finish)(&call, n, i, best, argument, counted);
            }
        }
    }
}

FC_INLINE void FC_NAME(pool_of_taps)(const fc_pool_strip *s, const ptrdiff_t taps, const fc_pool_operation operation)
{
#if FC_HAS_PERMUTE2
    if (s->pair) {
        FC_NAME(pool_run)(s, taps, 0, 0, 1, operation);
        return;
    }
#endif
    if (s->lane_step == 1 && s->whole)
        FC_NAME(pool_run)(s, taps, 1, 1, 0, operation);
    else if (s->lane_step == 1)
        FC_NAME(pool_run)(s, taps, 1, 0, 0, operation);
    else if (s->lane_step == 2 && s->whole)
        FC_NAME(pool_run)(s, taps, 2, 1, 0, operation);
    else if (s->lane_step == 2)
        FC_NAME(pool_run)(s, taps, 2, 0, 0, operation);
    else
        FC_NAME(pool_run)(s, s->taps_w, 0, 0, 0, operation);
}

FC_INLINE void FC_NAME(pool_operate)(const fc_pool_strip *s, const fc_pool_operation operation)
{
    if (s->taps_w == 2)
        FC_NAME(pool_of_taps)(s, 2, operation);
    else if (s->taps_w == 3)
        FC_NAME(pool_of_taps)(s, 3, operation);
    else
        FC_NAME(pool_of_taps)(s, s->taps_w, operation);
}

static void FC_NAME(pool_max)(const fc_pool_strip *s) { FC_NAME(pool_operate)(s, FC_POOL_MAX); }
static void FC_NAME(pool_argmax)(const fc_pool_strip *s) { FC_NAME(pool_operate)(s, FC_POOL_ARGMAX); }
static void FC_NAME(pool_mean)(const fc_pool_strip *s) { FC_NAME(pool_operate)(s, FC_POOL_SUM); }
#undef FC_POOL_BUFFER
