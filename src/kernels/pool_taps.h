/* One row of the windows of a strip: its taps read, reduced along the row, and a finished vector stored.
 *
 * Reading beside the image gives what changes nothing: minus infinity, or zero. Two planes narrower than half a vector
 * share one. */

#define FC_POOL_AHEAD ((ptrdiff_t)((32 << 10) / sizeof(real)))

/* What one call of a pooling kernel fixes: constants of the instance first. */
typedef struct {
    const fc_pool_strip *s;
    int step;        /* 1, 2, or 0 for any */
    int whole, pair;
    int neighbours;  /* step 2, and taps lie side by side */
    int few;         /* windows of 2x2 or 3x3 neighbours; the lanes of their loads are in `inside` */
    fc_pool_operation operation;
    int quick;       /* by an instruction that does not hand NaN on */
    vec missing;
    vmask first;     /* the argument of each lane's first tap */
    const vmask *index;  /* of each tap's lanes in a pair of rows */
    uint32_t inside[2 * 3];  /* lanes of the first and, with step 2, the second load of each tap */
} FC_NAME(pool_call);

FC_INLINE uint32_t FC_NAME(pool_lanes_inside)(ptrdiff_t column, ptrdiff_t columns)
{
    const ptrdiff_t low = column > 0 ? 0 : column < -LANES ? LANES : -column;
    const ptrdiff_t high = columns < column ? 0 : columns - column > LANES ? LANES : columns - column;
    return (uint32_t)(((1u << high) - 1) & ~((1u << low) - 1));
}

/* LANES neighbours, `ahead` of tap b's first; those that do not exist are `missing`. */
FC_INLINE vec FC_NAME(pool_neighbours)(const FC_NAME(pool_call) *call, const real *x, ptrdiff_t b, ptrdiff_t ahead)
{
    const fc_pool_strip *s = call->s;
    x += s->column + b * s->tap_w + ahead;
    if (call->whole)
        return vload(x);
    const uint32_t inside = call->few
                                ? call->inside[2 * b + (ahead > 0)]
                                : FC_NAME(pool_lanes_inside)(s->column + b * s->tap_column + ahead, s->columns);
    return vload_lanes_else(x, inside, call->missing);
}

/* One tap of every lane. */
FC_INLINE vec FC_NAME(pool_tap)(const FC_NAME(pool_call) *call, const real *x, ptrdiff_t b)
{
    if (call->step == 1)
        return FC_NAME(pool_neighbours)(call, x, b, 0);
    if (call->step == 2)
        return vevens(FC_NAME(pool_neighbours)(call, x, b, 0), FC_NAME(pool_neighbours)(call, x, b, LANES - 1));
    const fc_pool_strip *s = call->s;
    vec v = call->missing;
    if (s->whole) {
        FC_UNROLL
        for (int i = 0; i < LANES; i++)
            v[i] = x[s->column + b * s->tap_w + i * s->lane_step];
        return v;
    }
    for (int i = 0; i < s->lanes; i++) {
        const ptrdiff_t column = s->column + b * s->tap_column + i * s->lane_step;
        if (column >= 0 && column < s->columns)
            v[i] = x[s->column + b * s->tap_w + i * s->lane_step];
    }
    return v;
}

/* The quick maximum takes no NaN that comes second; pool_reduce_row adds up what it sees, which a NaN makes NaN. */
FC_INLINE void FC_NAME(pool_fold)(const FC_NAME(pool_call) *call, vec v, vmask argument, vec *best, vmask *best_argument)
{
    if (call->operation == FC_POOL_SUM) {
        *best += v;
        return;
    }
    if (call->operation != FC_POOL_MAX) {
        const vchoice chosen = call->quick ? vgreater(v, *best) : vbeats(v, *best);
        *best = call->quick ? vmax(v, *best) : vtake(chosen, v, *best);
        *best_argument = vtake_int(chosen, argument, *best_argument);
        return;
    }
    *best = call->quick ? vmax(v, *best) : vtake(vbeats(v, *best), v, *best);
}

/* One row of the windows of a strip; `taps` is taps_w, known to the instance or not. */
FC_INLINE void FC_NAME(pool_reduce_row)(const FC_NAME(pool_call) *call, const real *row, const real *second,
                                        const ptrdiff_t taps, vec *best, vmask *argument, vec *seen)
{
    const fc_pool_strip *s = call->s;
    vec low = {0}, high = {0};
    if (call->pair) {
        low = vload_lanes_else(row, FC_NAME(pool_lanes_inside)(0, s->columns), call->missing);
        high = vload_lanes_else(second, FC_NAME(pool_lanes_inside)(0, s->columns), call->missing);
    }
    *argument = call->first;
    /* The next block's, since the hardware does not see one row after the other. */
    __builtin_prefetch(row + s->column + FC_POOL_AHEAD);
    if (call->step == 2)
        __builtin_prefetch(row + s->column + FC_POOL_AHEAD + LANES);
    vec evens = {0}, sum = {0};
    for (ptrdiff_t b = 0; b < taps; b++) {
        const vmask tap = (lane_int)((s->tap_first + b) * s->argument_w) - (vmask){0};
        vec v, next = {0};
        const int two = call->neighbours && b + 1 < taps;
        if (two) {
            /* Two taps from two loads: the even and the odd of 2*LANES neighbours. */
            low = FC_NAME(pool_neighbours)(call, row, b, 0);
            high = FC_NAME(pool_neighbours)(call, row, b, LANES);
            v = evens = vdeal_evens(low, high);
            next = vdeal_odds(low, high);
        } else if (call->neighbours && call->few) {
            /* The third: the first taps of the windows one on; of the last, the next neighbour. */
            v = vshift_out(evens, call->whole ? vset1(row[s->column + 2 * LANES])
                                              : FC_NAME(pool_neighbours)(call, row, b, 2 * LANES - 2));
        } else {
#if FC_HAS_PERMUTE2
            if (call->pair)
                v = vpermute2(low, call->index[b], high);
            else
#endif
                v = FC_NAME(pool_tap)(call, row, b);
        }
        if (call->quick)
            sum = b == 0 ? two ? v + next : v : two ? sum + (v + next) : sum + v;
        if (b == 0)
            *best = v;
        else
            FC_NAME(pool_fold)(call, v, tap, best, argument);
        if (two) {
            FC_NAME(pool_fold)(call, next, tap + (lane_int)s->argument_w, best, argument);
            b++;
        }
    }
    if (call->quick)
        *seen += sum;
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

FC_INLINE void FC_NAME(pool_finish)(const FC_NAME(pool_call) *call, ptrdiff_t n, ptrdiff_t i, vec best, vmask argument,
                                    vec counted)
{
    if (call->operation == FC_POOL_SUM)
        best /= counted * vset1((real)call->s->counted_h[i]);
    FC_NAME(pool_store)(call, n, i, best, argument);
}
