/* Gradient of max pooling over windows of 2x2 or 3x3 neighbours, 1 or 2 apart, in one pass: rows of x and dy are read
 * and rows of dx written one after the other, and nothing is kept but what neighbouring windows share.
 * pool_max_step.h has what happens to a vector of windows. */

/* Rows of several strips: of x and dx what is asked for ahead lies in the same rows, or soon after. */
FC_INLINE void FC_NAME(pool_ask_ahead)(const FC_NAME(pool_window_rows) *rows, ptrdiff_t strip, const int taps,
                                       const int stride)
{
    const ptrdiff_t at = strip * LANES * stride + FC_POOL_ROWS_AHEAD;
    FC_UNROLL_TAPS
    for (int a = taps - stride; a < taps; a++)
        FC_UNROLL_TAPS
        for (int i = 0; i < stride; i++)
            __builtin_prefetch(rows->x[a] + at + i * LANES);
    FC_UNROLL_TAPS
    for (int a = 0; a < stride; a++)
        FC_UNROLL_TAPS
        for (int i = 0; i < stride; i++)
            __builtin_prefetch(rows->dx[a] + at + i * LANES, 1);
}

/* A row of the only strip, of planes that lie one behind the other: a few lines at each row, for more at a time would
 * wait for each other. A row of a pair is followed by its partner's. */
FC_INLINE void FC_NAME(pool_ask_for_planes)(const FC_NAME(pool_window_rows) *rows, const real *x, const real *dx,
                                            const int taps, const int stride, const int pair)
{
    const real *read = rows->x[taps - stride], *written = rows->dx[0];
    if (!read || !written)
        return;
    read += pair ? read - x : 0;
    written += pair ? written - dx : 0;
    FC_UNROLL
    for (int i = 0; i < stride * stride * LANES; i += (int)(64 / sizeof(real))) {
        __builtin_prefetch(read + i + FC_POOL_ROWS_AHEAD);
        __builtin_prefetch(written + i + FC_POOL_ROWS_AHEAD, 1);
    }
}

FC_INLINE void FC_NAME(pool_window_row)(const FC_NAME(pool_backward_call) *call, FC_NAME(pool_backward_pair) *planes,
                                        const FC_NAME(pool_edge) *edge, const FC_NAME(pool_window_rows) *rows,
                                        ptrdiff_t strips, FC_NAME(pool_shared_row) *shared, const int taps,
                                        const int stride, const int pair, const int single, const int quick,
                                        const int inside)
{
    const int kept = taps - stride;
    vec carry[2][2] = {{{0}, {0}}, {{0}, {0}}};
    for (ptrdiff_t strip = 0; strip < strips; strip++, edge++, shared += kept) {
        if (!single && inside)
            FC_NAME(pool_ask_ahead)(rows, strip, taps, stride);
        if (!single && edge->whole)
            FC_NAME(pool_step)(call, planes, edge, rows, strip, shared, carry, taps, stride, pair, single, 1, quick, inside);
        else
            FC_NAME(pool_step)(call, planes, edge, rows, strip, shared, carry, taps, stride, pair, single, 0, quick, inside);
    }
}

/* The rows of row q of the windows, all that are inside. */
FC_INLINE FC_NAME(pool_window_rows) FC_NAME(pool_rows_of)(const fc_pool_max_backward *g, ptrdiff_t q, const real *x,
                                                         const real *dy, real *dx, const int taps, const int stride)
{
    FC_NAME(pool_window_rows) rows = {.top = q * stride - g->pad_top};
    rows.dy = q < g->out_height ? dy + q * g->dy_row : NULL;
    FC_UNROLL_TAPS
    for (int a = 0; a < taps; a++)
        rows.x[a] = rows.top + a >= 0 && rows.top + a < g->height ? x + (rows.top + a) * g->x_row : NULL;
    FC_UNROLL_TAPS
    for (int a = 0; a < stride; a++)
        rows.dx[a] = rows.top + a >= g->row && rows.top + a < g->row_end ? dx + (rows.top + a) * g->width : NULL;
    return rows;
}

/* Plane n, or planes n and n + 1. Returns lanes that are NaN if a maximum that does not hand NaN on has seen one (or
 * both infinities). */
FC_INLINE vec FC_NAME(pool_backward_plane)(const FC_NAME(pool_backward_call) *given, ptrdiff_t n, const int taps,
                                           const int stride, const int pair, const int single, const int quick)
{
    const FC_NAME(pool_backward_call) own_call = *given, *call = &own_call;  /* nothing that is stored may change it */
    const fc_pool_max_backward *g = call->g;
    const real *x = (const real *)g->x + n * g->x_next, *dy = (const real *)g->dy + n * g->dy_next;
    real *dx = (real *)g->dx + n * g->dx_next;
    const int kept = taps - stride, alone = n + 1 == g->count;
    const FC_NAME(pool_edge) only = *call->edge, *edge = single ? &only : call->edge;
    FC_NAME(pool_backward_pair) planes = {.seen = {0}};
    if (pair && !alone)
        planes = (FC_NAME(pool_backward_pair)){
            g->x_next, g->dy_next, g->dx_next, only.outputs << LANES / 2, only.store[0], {0}};
    /* Windows from before the first row on, as far as they reach into it. */
    const ptrdiff_t first = (g->row + g->pad_top) / stride - (taps - 1) / stride, begin = first < 0 ? 0 : first;
    const ptrdiff_t end = (g->row_end - 1 + g->pad_top) / stride + 1, strips = single ? 1 : g->strips;
    FC_NAME(pool_shared_row) own[FC_POOL_SHARED_ROWS], *shared = single ? own : call->shared;
    const FC_NAME(pool_window_rows) above = FC_NAME(pool_rows_of)(g, begin, x, dy, dx, taps, stride);
    for (ptrdiff_t strip = 0; strip < strips; strip++)
        for (int a = 0; a < kept; a++) {
            FC_NAME(pool_shared_row) *row = shared + strip * kept + a;
            row->sum = (vec){0};
            row->best = FC_NAME(pool_reduce_taps)(call, &planes, edge + strip, strip, above.x[a], taps, stride, pair,
                                                  single, 0, quick, 0, &row->holder);
        }
    for (ptrdiff_t q = begin; q < end; q++) {
        FC_NAME(pool_window_rows) rows = FC_NAME(pool_rows_of)(g, q, x, dy, dx, taps, stride);
        /* Windows inside whose rows are all asked for follow each other without a question. */
        const ptrdiff_t below = g->height - taps < g->row_end - stride ? g->height - taps : g->row_end - stride;
        const ptrdiff_t top = (below + g->pad_top) / stride + 1, stop = top < g->out_height ? top : g->out_height;
        if (rows.top < g->row || below < 0 || q >= stop) {
            if (single)
                FC_NAME(pool_ask_for_planes)(&rows, x, dx, taps, stride, pair);
            FC_NAME(pool_window_row)(call, &planes, edge, &rows, strips, shared, taps, stride, pair, single, quick, 0);
            continue;
        }
        for (; q < stop; q++) {
            if (single)
                FC_NAME(pool_ask_for_planes)(&rows, x, dx, taps, stride, pair);
            FC_NAME(pool_window_row)(call, &planes, edge, &rows, strips, shared, taps, stride, pair, single, quick, 1);
            rows.dy += g->dy_row;
            for (int a = 0; a < taps; a++)
                rows.x[a] += stride * g->x_row;
            for (int a = 0; a < stride; a++)
                rows.dx[a] += stride * g->width;
        }
        q--;
    }
    return planes.seen;
}

/* A plane with a NaN once more, by an instance that asks at each step what it is, for it is rare. */
static __attribute__((noinline)) void FC_NAME(pool_backward_exact)(const FC_NAME(pool_backward_call) *call, ptrdiff_t n)
{
    const int taps = call->g->taps == 2 ? 2 : 3;  /* so that the compiler sees loops end within their arrays */
    FC_NAME(pool_backward_plane)(call, n, taps, call->g->stride, FC_HAS_PERMUTE2 && call->g->pair,
                                 call->g->strips == 1, 0);
}

/* A function for each kind of strip, which else are one that takes minutes to compile under sanitizers. */
#define FC_POOL_PLANE(taps, stride, kind, pair, single)                                                              \
    static __attribute__((noinline)) vec FC_NAME(pool_##kind##_##taps##_##stride)(                                   \
        const FC_NAME(pool_backward_call) *call, ptrdiff_t n)                                                        \
    {                                                                                                                \
        return FC_NAME(pool_backward_plane)(call, n, taps, stride, pair, single, 1);                                 \
    }
#define FC_POOL_PLANES(taps, stride)                                   \
    FC_POOL_PLANE(taps, stride, pair, FC_HAS_PERMUTE2, FC_POOL_SINGLE) \
    FC_POOL_PLANE(taps, stride, single, 0, FC_POOL_SINGLE)             \
    FC_POOL_PLANE(taps, stride, wide, 0, FC_POOL_AMONG)
FC_POOL_PLANES(2, 1)
FC_POOL_PLANES(2, 2)
FC_POOL_PLANES(3, 1)
FC_POOL_PLANES(3, 2)
FC_POOL_PLANE(2, 2, flush, 0, FC_POOL_FLUSH)
FC_POOL_PLANE(3, 2, flush, 0, FC_POOL_FLUSH)
#undef FC_POOL_PLANES
#undef FC_POOL_PLANE

typedef vec (*FC_NAME(pool_plane))(const FC_NAME(pool_backward_call) *call, ptrdiff_t n);

FC_INLINE void FC_NAME(pool_backward_planes)(const FC_NAME(pool_backward_call) *call, FC_NAME(pool_plane) pairs,
                                             FC_NAME(pool_plane) single, FC_NAME(pool_plane) flush,
                                             FC_NAME(pool_plane) wide)
{
    const fc_pool_max_backward *g = call->g;
    const int pair = FC_HAS_PERMUTE2 && g->pair, begins = g->stride == 2 && g->pad_left == 0 && g->width >= LANES;
    const FC_NAME(pool_plane) plane = pair ? pairs : g->strips > 1 ? wide : begins ? flush : single;
    for (ptrdiff_t n = 0; n < g->count; n += 1 + pair) {
        const vec seen = plane(call, n);
        if (vany(vunordered(seen, seen)))
            FC_NAME(pool_backward_exact)(call, n);
    }
}

/* Lanes of a strip inside, for the loads that pool_row_taps does and the stores of pool_store_row. */
static void FC_NAME(pool_edges)(const fc_pool_max_backward *g, FC_NAME(pool_edge) *edge)
{
    for (ptrdiff_t strip = 0; strip < g->strips; strip++) {
        const ptrdiff_t column = strip * LANES * g->stride - g->pad_left, left = g->out_width - strip * LANES;
        FC_NAME(pool_edge) *e = edge + strip;
        e->outputs = FC_NAME(pool_lanes_inside)(0, left);
        FC_NAME(pool_row_loads)(e->load, column, g->width, g->stride);
        for (int i = 0; i < 2; i++)
            e->store[i] = FC_NAME(pool_lanes_inside)(column + i * LANES, g->width);
        e->whole = left >= LANES && column >= 0 && column + LANES * g->stride + g->taps - g->stride <= g->width;
    }
}

static void FC_NAME(pool_max_backward)(const fc_pool_max_backward *pass)
{
    const fc_pool_max_backward own = *pass, *g = &own;  /* so that nothing that is stored may change it */
    FC_NAME(pool_shared_row) *shared = g->scratch;
    FC_NAME(pool_edge) *edge = (FC_NAME(pool_edge) *)(shared + g->strips * FC_POOL_SHARED_ROWS);
    FC_NAME(pool_edges)(g, edge);
    FC_NAME(pool_backward_call) call = {.g = g, .shared = shared, .edge = edge};
    const int pair = FC_HAS_PERMUTE2 && g->pair;
    vec outside;
    for (int i = 0; i < LANES; i++) {
        const int upper = pair && i >= LANES / 2, lane = upper ? i - LANES / 2 : i;
        const ptrdiff_t column = lane * g->stride - g->pad_left;
        outside[i] = column < 0 ? (real)-column : 0;
        call.back[i] = lane ? i - 1 : LANES;
    }
    call.outside.before_middle = vno_larger(vchoice_all(1), outside, vset1(0));
    call.outside.before_last = vno_larger(vchoice_all(1), outside, vset1((real)(g->taps - 2)));
    if (pair) {
        FC_NAME(pool_pair_index)(call.index, g->pad_left, g->width, g->taps, g->stride);
        /* The pair's one strip: rows are loaded whole, and stored from a half or, zipped, from a vector. */
        edge->load[0] = (1u << g->width) - 1;
        edge->store[0] &= g->stride == 1 ? (1u << LANES / 2) - 1 : ~0u;
    }
#define FC_POOL_PLANES(kind, flush) \
    FC_NAME(pool_pair_##kind), FC_NAME(pool_single_##kind), FC_NAME(pool_##flush##_##kind), FC_NAME(pool_wide_##kind)
    if (g->taps == 2 && g->stride == 1)
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(2_1, single));
    else if (g->taps == 2)
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(2_2, flush));
    else if (g->stride == 1)
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(3_1, single));
    else
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(3_2, flush));
#undef FC_POOL_PLANES
}
