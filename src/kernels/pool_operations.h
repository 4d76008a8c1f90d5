/* What pooling computes over strips (pool_strip.h): maxima, their arguments, means and the first half of gradients, each
 * with instances for the commonest windows. */

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
 * a strip is, the others are windows of taps x taps neighbours whose lanes lie side by side; for arguments, also two
 * apart and in pairs: the others of those have a kernel of their own, pool_rows.h. */
#define FC_POOL_INSTANCE(name, taps, few, step, whole, pair, quick, operation)                \
    static __attribute__((noinline)) void FC_NAME(name)(const fc_pool_strip *s)               \
    {                                                                                         \
        FC_NAME(pool_run)(s, taps, few, step, whole, FC_HAS_PERMUTE2 && (pair), quick, operation); \
    }
#define FC_POOL_ANY(name, quick, operation)                                                                      \
    FC_POOL_INSTANCE(name, s->taps_w, 0, s->lane_step > 2 ? 0 : (int)s->lane_step, s->whole && s->lane_step <= 2, \
                     s->pair, quick, operation)
#define FC_POOL_FEW(name, taps, operation)                                                           \
    FC_POOL_INSTANCE(name##_##taps##_1_whole, taps, 1, 1, 1, 0, operation != FC_POOL_SUM, operation) \
    FC_POOL_INSTANCE(name##_##taps##_1, taps, 1, 1, 0, 0, operation != FC_POOL_SUM, operation)       \
    static void FC_NAME(name##_##taps)(const fc_pool_strip *s)                                       \
    {                                                                                                \
        (s->whole ? FC_NAME(name##_##taps##_1_whole) : FC_NAME(name##_##taps##_1))(s);               \
    }
#define FC_POOL_FEW_ARGUMENTS(taps)                                                                 \
    FC_POOL_INSTANCE(pool_argmax_##taps##_pair, taps, 1, 0, 0, 1, 1, FC_POOL_ARGMAX)                \
    FC_POOL_INSTANCE(pool_argmax_##taps##_2_whole, taps, 1, 2, 1, 0, 1, FC_POOL_ARGMAX)             \
    FC_POOL_INSTANCE(pool_argmax_##taps##_2, taps, 1, 2, 0, 0, 1, FC_POOL_ARGMAX)                   \
    static void FC_NAME(pool_argmax_##taps)(const fc_pool_strip *s)                                 \
    {                                                                                               \
        if (FC_HAS_PERMUTE2 && s->pair)                                                             \
            FC_NAME(pool_argmax_##taps##_pair)(s);                                                  \
        else if (s->lane_step == 1)                                                                 \
            FC_NAME(pool_quick_argmax_##taps)(s);                                                   \
        else                                                                                        \
            (s->whole ? FC_NAME(pool_argmax_##taps##_2_whole) : FC_NAME(pool_argmax_##taps##_2))(s); \
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
FC_POOL_FEW_ARGUMENTS(2)
FC_POOL_FEW_ARGUMENTS(3)
#undef FC_POOL_KIND
#undef FC_POOL_FEW_ARGUMENTS
#undef FC_POOL_FEW
#undef FC_POOL_ANY
#undef FC_POOL_INSTANCE

/* Takes the instances of one operation: any strip, and windows of 2x2 and of 3x3 neighbours whose lanes lie side by
 * side, or are also `apart`. */
FC_INLINE void FC_NAME(pool_operate)(const fc_pool_strip *s, const int apart, void (*any)(const fc_pool_strip *strip),
                                     void (*two)(const fc_pool_strip *strip), void (*three)(const fc_pool_strip *strip))
{
    const int few = s->taps_h == s->taps_w && s->tap_h == 1 &&
                    ((s->lane_step == 1 && (apart || !s->pair)) || (apart && s->lane_step == 2 && s->tap_w == 1));
    if (few && s->taps_w == 2)
        two(s);
    else if (few && s->taps_w == 3)
        three(s);
    else
        any(s);
}

static void FC_NAME(pool_max)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, 0, FC_NAME(pool_quick_max_any), FC_NAME(pool_quick_max_2), FC_NAME(pool_quick_max_3));
}
static void FC_NAME(pool_argmax)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, 1, FC_NAME(pool_quick_argmax_any), FC_NAME(pool_argmax_2), FC_NAME(pool_argmax_3));
}
static void FC_NAME(pool_mean)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, 0, FC_NAME(pool_sum_any), FC_NAME(pool_sum_2), FC_NAME(pool_sum_3));
}
static void FC_NAME(pool_max_gradient)(const fc_pool_strip *s)
{
    FC_NAME(pool_operate)(s, 0, FC_NAME(pool_quick_gradient_any), FC_NAME(pool_quick_gradient_2),
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
