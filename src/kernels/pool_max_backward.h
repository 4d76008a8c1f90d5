/* Gradient of max pooling over windows of 2x2 or 3x3 neighbours, 1 or 2 apart, in one pass: rows of x and dy are read
 * and rows of dx written one after the other, and nothing is kept but what neighbouring windows share.
 *
 * Lanes are windows of a row. Each row of x is reduced once to the maxima of its taps; a window takes the maximum of
 * its rows and gives dy to the row that holds it; a finished row of dx deals that to its taps, and what belongs to
 * columns of later windows moves there. Two planes narrower than half a vector share one. */

/* Rows are short and their ends are masked: the hardware alone fetches too little of what follows. */
#define FC_POOL_ROWS_AHEAD ((ptrdiff_t)((4 << 10) / sizeof(real)))

/* A row that windows to come have in common with those before: its maxima, the taps that hold them, and what dy has
 * given them so far. */
typedef struct {
    vec best;
    vmask tap;
    vec sum;
} FC_NAME(pool_shared_row);

/* The lanes of a strip that are inside: of each load of a row of x, and of each store of a row of dx. */
enum { FC_NAME(POOL_LOADS) = 4 };
typedef struct {
    uint32_t load[FC_NAME(POOL_LOADS)], store[2], outputs;
    int whole;
} FC_NAME(pool_edge);
_Static_assert(sizeof(FC_NAME(pool_edge)) == FC_POOL_EDGE_BYTES, "drivers take scratch for it");
_Static_assert(sizeof(FC_NAME(pool_shared_row)) == 3 * FC_VECTOR_BYTES, "drivers take scratch for it");

/* What one call fixes; taps and stride are constants of the instance. */
typedef struct {
    const fc_pool_max_backward *g;
    FC_NAME(pool_edge) *edge;
    FC_NAME(pool_shared_row) *shared;  /* FC_POOL_SHARED_ROWS of each strip */
    vmask first;                       /* the first taps inside, of the first strip */
    vmask index[3], back;              /* of a pair: columns of each tap, and lanes one column back */
    int alone;                         /* the last plane of an odd number, whose partner is itself and is not stored */
} FC_NAME(pool_backward_call);

/* The taps of a strip's windows in a row; `second` is the row of the other plane of a pair. */
FC_INLINE void FC_NAME(pool_row_taps)(const FC_NAME(pool_backward_call) *call, ptrdiff_t strip, const real *row,
                                      const real *second, const int taps, const int stride, const int pair,
                                      const int edge, vec v[3])
{
    const vec missing = vset1(-(real)INFINITY);
#if FC_HAS_PERMUTE2
    if (pair) {
        const vec low = vload_lanes_else(row, call->edge->load[0], missing);
        const vec high = vload_lanes_else(second, call->edge->load[0], missing);
        for (int b = 0; b < taps; b++)
            v[b] = vpermute2(low, call->index[b], high);
        return;
    }
#endif
    (void)second;
    (void)pair;
    row += strip * LANES * stride - call->g->pad_left;
    const uint32_t *inside = call->edge[strip].load;
#define FC_LOAD(ahead, load) (edge ? vload_lanes_else(row + (ahead), inside[load], missing) : vload(row + (ahead)))
    if (stride == 1) {
        for (int b = 0; b < taps; b++)
            v[b] = FC_LOAD(b, b);
        return;
    }
    const vec low = FC_LOAD(0, 0), high = FC_LOAD(LANES, 1);
    v[0] = vdeal_evens(low, high);
    v[1] = vdeal_odds(low, high);
    if (taps == 3)
        v[2] = vevens(FC_LOAD(2, 2), FC_LOAD(LANES + 1, 3));
#undef FC_LOAD
}

/* The quick maximum takes no NaN that comes second; pool_reduce_taps adds up what it sees, which a NaN makes NaN. */
FC_INLINE void FC_NAME(pool_take_larger)(vec v, int tap, vec *best, vmask *best_tap, const int quick)
{
    const vchoice chosen = quick ? vgreater(v, *best) : vbeats(v, *best);
    *best = quick ? vmax(v, *best) : vtake(chosen, v, *best);
    *best_tap = vtake_int(chosen, (lane_int)tap - (vmask){0}, *best_tap);
}

/* Reduces a row of a strip; a row outside the image, which is NULL, is less than any other. */
FC_INLINE FC_NAME(pool_shared_row) FC_NAME(pool_reduce_taps)(const FC_NAME(pool_backward_call) *call, ptrdiff_t strip,
                                                            const real *x, const int taps, const int stride,
                                                            const int pair, const int edge, const int quick,
                                                            const int inside, vec *seen)
{
    FC_NAME(pool_shared_row) row = {vset1(-(real)INFINITY), {0}, {0}};
    if (edge && strip == 0)
        row.tap = call->first;
    if (!inside && !x)
        return row;
    const real *second = pair && !call->alone ? x + call->g->x_next : x;
    __builtin_prefetch(x + strip * LANES * stride + FC_POOL_ROWS_AHEAD);
    if (pair || stride == 2)
        __builtin_prefetch((pair ? second : x + strip * LANES * stride + LANES) + FC_POOL_ROWS_AHEAD);
    vec v[3] = {{0}, {0}, {0}};
    FC_NAME(pool_row_taps)(call, strip, x, second, taps, stride, pair, edge, v);
    /* All taps of a whole strip but its last columns', which the next strip has, are among the first `stride`. */
    for (int b = 0; quick && b < (edge ? taps : stride); b++)
        *seen += v[b];
    row.best = v[0];
    for (int b = 1; b < taps; b++)
        FC_NAME(pool_take_larger)(v[b], b, &row.best, &row.tap, quick);
    return row;
}

FC_INLINE vec FC_NAME(pool_window_dy)(const FC_NAME(pool_backward_call) *call, ptrdiff_t strip, const real *dy,
                                      const int pair, const int edge)
{
    dy += strip * LANES;
    if (!edge)
        return vload(dy);
    const uint32_t outputs = call->edge[strip].outputs;
    const vec v = vload_lanes(dy, outputs);
    if (!pair || call->alone)
        return v;
    return vload_lanes_else(dy + call->g->dy_next - LANES / 2, outputs << LANES / 2, v);
}

/* v, one window on: its first lane is the last of what was there before. */
FC_INLINE vec FC_NAME(pool_on)(const FC_NAME(pool_backward_call) *call, vec before, vec v, const int pair)
{
#if FC_HAS_PERMUTE2
    if (pair)
        return vpermute2(v, call->back, (vec){0});
#endif
    (void)call;
    (void)pair;
    return vshift_in(before, v);
}

/* A row of dx from what its windows gave it; `carry` is what the strip before has for the columns of this one. */
FC_INLINE void FC_NAME(pool_store_row)(const FC_NAME(pool_backward_call) *call, ptrdiff_t strip, real *dx,
                                       const FC_NAME(pool_shared_row) *row, vec carry[2], const int taps,
                                       const int stride, const int pair, const int edge)
{
    vec part[3];
    for (int b = 0; b < taps; b++)
        part[b] = vwhere_equal(row->sum, row->tap, (lane_int)b - (vmask){0});
    /* Column stride * j + b is tap b of window j, tap b + stride of the one before, and so on. */
    for (int b = taps - 1; b >= stride; b--) {
        const vec on = FC_NAME(pool_on)(call, carry[b - stride], part[b], pair);
        carry[b - stride] = part[b];
        part[b - stride] += on;
    }
    dx += strip * LANES * stride - call->g->pad_left;
    __builtin_prefetch(dx + FC_POOL_ROWS_AHEAD, 1);
    if (pair || stride == 2)
        __builtin_prefetch(dx + (pair ? call->g->dx_next : LANES) + FC_POOL_ROWS_AHEAD, 1);
    vec low = part[0], high = part[0];
    if (stride == 2) {
        low = vzip_lo(part[0], part[1]);
        high = vzip_hi(part[0], part[1]);
    }
    const uint32_t *inside = call->edge[strip].store;
    if (pair) {
        real *second = dx + call->g->dx_next;
        vstore_lanes(dx, low, inside[0]);
        if (!call->alone && stride == 1)
            vstore_lanes(second - LANES / 2, low, inside[0] << LANES / 2);
        else if (!call->alone)
            vstore_lanes(second, high, inside[0]);
    } else if (edge) {
        vstore_lanes(dx, low, inside[0]);
        if (stride == 2)
            vstore_lanes(dx + LANES, high, inside[1]);
    } else {
        vstore(dx, low);
        if (stride == 2)
            vstore(dx + LANES, high);
    }
}

/* The rows that a row of windows reads and finishes; NULL if outside, or not asked for. */
typedef struct {
    const real *x[3], *dy;
    real *dx[2];
    ptrdiff_t top;
} FC_NAME(pool_window_rows);

/* A row of a strip's windows: finishes the `stride` rows of dx that no later window sees. */
FC_INLINE void FC_NAME(pool_step)(const FC_NAME(pool_backward_call) *call, const FC_NAME(pool_window_rows) *rows,
                                  ptrdiff_t strip, FC_NAME(pool_shared_row) *shared, vec carry[2][2], const int taps,
                                  const int stride, const int pair, const int edge, const int quick,
                                  const int inside, vec *seen)
{
    const int kept = taps - stride;
    FC_NAME(pool_shared_row) row[3];
    for (int a = 0; a < taps; a++)
        row[a] = a < kept ? shared[a]
                          : FC_NAME(pool_reduce_taps)(call, strip, rows->x[a], taps, stride, pair, edge, quick,
                                                      inside, seen);
    vec best = row[0].best;
    vmask winner = (lane_int)(!inside && rows->top < 0 ? -rows->top : 0) - (vmask){0};
    for (int a = 1; a < taps; a++)
        FC_NAME(pool_take_larger)(row[a].best, a, &best, &winner, quick);
    const vec dy = inside || rows->dy ? FC_NAME(pool_window_dy)(call, strip, rows->dy, pair, edge) : (vec){0};
    for (int a = 0; a < taps; a++)
        row[a].sum = vadd_where_equal(row[a].sum, dy, winner, (lane_int)a - (vmask){0});
    for (int a = 0; a < stride; a++)
        if (inside || rows->dx[a])
            FC_NAME(pool_store_row)(call, strip, rows->dx[a], &row[a], carry[a], taps, stride, pair, edge);
    for (int a = 0; a < kept; a++)
        shared[a] = row[a + stride];
}

FC_INLINE void FC_NAME(pool_window_row)(const FC_NAME(pool_backward_call) *call, const FC_NAME(pool_window_rows) *rows,
                                        ptrdiff_t strips, FC_NAME(pool_shared_row) *shared, vec carry[2][2],
                                        const int taps, const int stride, const int pair, const int single,
                                        const int quick, const int inside, vec *seen)
{
    const int kept = taps - stride;
    for (ptrdiff_t strip = 0; strip < strips; strip++, shared += kept)
        if (!single && call->edge[strip].whole)
            FC_NAME(pool_step)(call, rows, strip, shared, carry, taps, stride, pair, 0, quick, inside, seen);
        else
            FC_NAME(pool_step)(call, rows, strip, shared, carry, taps, stride, pair, 1, quick, inside, seen);
}

/* Plane n, or planes n and n + 1. Returns lanes that are NaN if a maximum that does not hand NaN on has seen one (or
 * both infinities). */
FC_INLINE vec FC_NAME(pool_backward_plane)(const FC_NAME(pool_backward_call) *call, ptrdiff_t n, const int taps,
                                               const int stride, const int pair, const int single, const int quick)
{
    const fc_pool_max_backward *g = call->g;
    const real *x = (const real *)g->x + n * g->x_next, *dy = (const real *)g->dy + n * g->dy_next;
    real *dx = (real *)g->dx + n * g->dx_next;
    const int kept = taps - stride;
    /* Windows from before the first row on, as far as they reach into it. */
    const ptrdiff_t first = (g->row + g->pad_top) / stride - (taps - 1) / stride, begin = first < 0 ? 0 : first;
    const ptrdiff_t end = (g->row_end - 1 + g->pad_top) / stride + 1, strips = single ? 1 : g->strips;
    FC_NAME(pool_shared_row) own[FC_POOL_SHARED_ROWS], *shared = single ? own : call->shared;
    vec seen = {0};
    for (ptrdiff_t strip = 0; strip < strips; strip++)
        for (int a = 0; a < kept; a++) {
            const ptrdiff_t r = begin * stride - g->pad_top + a;
            shared[strip * kept + a] = FC_NAME(pool_reduce_taps)(
                call, strip, r >= 0 && r < g->height ? x + r * g->x_row : NULL, taps, stride, pair, 1, quick, 0, &seen);
        }
    for (ptrdiff_t q = begin; q < end; q++) {
        FC_NAME(pool_window_rows) rows = {.dy = dy + q * g->dy_row, .top = q * stride - g->pad_top};
        for (int a = 0; a < taps; a++)
            rows.x[a] = x + (rows.top + a) * g->x_row;
        for (int a = 0; a < stride; a++)
            rows.dx[a] = dx + (rows.top + a) * g->width;
        vec carry[2][2] = {{{0}, {0}}, {{0}, {0}}};
        const ptrdiff_t bottom = rows.top + taps;
        if (rows.top >= g->row && bottom <= g->height && rows.top + stride <= g->row_end && q < g->out_height) {
            FC_NAME(pool_window_row)(call, &rows, strips, shared, carry, taps, stride, pair, single, quick, 1, &seen);
            continue;
        }
        if (q >= g->out_height)
            rows.dy = NULL;
        for (int a = 0; a < taps; a++)
            if (rows.top + a < 0 || rows.top + a >= g->height)
                rows.x[a] = NULL;
        for (int a = 0; a < stride; a++)
            if (rows.top + a < g->row || rows.top + a >= g->row_end)
                rows.dx[a] = NULL;
        FC_NAME(pool_window_row)(call, &rows, strips, shared, carry, taps, stride, pair, single, quick, 0, &seen);
    }
    return seen;
}

/* A plane with a NaN once more, by an instance that asks at each step what it is, for it is rare. */
static __attribute__((noinline)) void FC_NAME(pool_backward_exact)(const FC_NAME(pool_backward_call) *call, ptrdiff_t n)
{
    FC_NAME(pool_backward_plane)(call, n, call->g->taps, call->g->stride, FC_HAS_PERMUTE2 && call->g->pair,
                                 call->g->strips == 1, 0);
}

FC_INLINE void FC_NAME(pool_backward_planes)(FC_NAME(pool_backward_call) *call, const int taps, const int stride)
{
    const fc_pool_max_backward *g = call->g;
    const int pair = FC_HAS_PERMUTE2 && g->pair;
    for (ptrdiff_t n = 0; n < g->count; n += 1 + pair) {
        vec seen;
        call->alone = pair && n + 1 == g->count;
        if (pair)
            seen = FC_NAME(pool_backward_plane)(call, n, taps, stride, FC_HAS_PERMUTE2, 1, 1);
        else if (g->strips == 1)
            seen = FC_NAME(pool_backward_plane)(call, n, taps, stride, 0, 1, 1);
        else
            seen = FC_NAME(pool_backward_plane)(call, n, taps, stride, 0, 0, 1);
        if (vany(vunordered(seen, seen)))
            FC_NAME(pool_backward_exact)(call, n);
    }
}

/* Lanes of a strip inside, for the loads that pool_row_taps does and the stores of pool_store_row. */
static void FC_NAME(pool_edges)(const fc_pool_max_backward *g, FC_NAME(pool_edge) *edge)
{
    for (ptrdiff_t strip = 0; strip < g->strips; strip++) {
        const ptrdiff_t column = strip * LANES * g->stride - g->pad_left, left = g->out_width - strip * LANES;
        const ptrdiff_t ahead[2][FC_NAME(POOL_LOADS)] = {{0, 1, 2, 2}, {0, LANES, 2, LANES + 1}};
        FC_NAME(pool_edge) *e = edge + strip;
        e->outputs = FC_NAME(pool_lanes_inside)(0, left);
        for (int i = 0; i < FC_NAME(POOL_LOADS); i++)
            e->load[i] = FC_NAME(pool_lanes_inside)(column + ahead[g->stride - 1][i], g->width);
        for (int i = 0; i < 2; i++)
            e->store[i] = FC_NAME(pool_lanes_inside)(column + i * LANES, g->width);
        e->whole = left >= LANES && column >= 0 && column + LANES * g->stride + g->taps - g->stride <= g->width;
    }
}

static void FC_NAME(pool_max_backward)(const fc_pool_max_backward *pass)
{
    const fc_pool_max_backward own = *pass, *g = &own;  /* so that nothing that is stored may change it */
    FC_NAME(pool_backward_call) call = {
        .g = g,
        .shared = g->scratch,
        .edge = (FC_NAME(pool_edge) *)((FC_NAME(pool_shared_row) *)g->scratch + g->strips * FC_POOL_SHARED_ROWS),
    };
    FC_NAME(pool_edges)(g, call.edge);
    const int pair = FC_HAS_PERMUTE2 && g->pair;
    for (int i = 0; i < LANES; i++) {
        const int upper = pair && i >= LANES / 2, lane = upper ? i - LANES / 2 : i;
        const ptrdiff_t column = lane * g->stride - g->pad_left;
        call.first[i] = column < 0 ? (lane_int)-column : 0;
        call.back[i] = lane ? i - 1 : LANES;
        for (int b = 0; b < g->taps; b++) {
            const int inside = column + b >= 0 && column + b < g->width;
            call.index[b][i] = (lane_int)(inside ? column + b : LANES - 1) + upper * LANES;
        }
    }
    if (pair) {
        /* The pair's one strip: rows are loaded whole, and stored from a half or, zipped, from a vector. */
        call.edge->load[0] = (1u << g->width) - 1;
        call.edge->store[0] &= g->stride == 1 ? (1u << LANES / 2) - 1 : ~0u;
    }
    if (g->taps == 2 && g->stride == 1)
        FC_NAME(pool_backward_planes)(&call, 2, 1);
    else if (g->taps == 2)
        FC_NAME(pool_backward_planes)(&call, 2, 2);
    else if (g->stride == 1)
        FC_NAME(pool_backward_planes)(&call, 3, 1);
    else
        FC_NAME(pool_backward_planes)(&call, 3, 2);
}
#undef FC_POOL_ROWS_AHEAD
