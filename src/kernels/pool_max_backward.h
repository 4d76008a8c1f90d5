/* Gradient of max pooling over windows of 2x2 or 3x3 neighbours, 1 or 2 apart, in one pass: rows of x and dy are read
 * and rows of dx written one after the other, and nothing is kept but what neighbouring windows share.
 *
 * Lanes are windows of a row. Each row of x is reduced once to the maxima of its taps; a window takes the maximum of
 * its rows and gives dy to the row that holds it; a finished row of dx deals that to its taps, and what belongs to
 * columns of later windows moves there. Two planes narrower than half a vector share one. */

/* Loops over taps: as many as there are at most, for one instance does not know how many. */
#define FC_UNROLL_TAPS _Pragma("GCC unroll 3")

/* Rows are short and their ends are masked: the hardware alone fetches too little of what follows. */
#define FC_POOL_ROWS_AHEAD ((ptrdiff_t)((4 << 10) / sizeof(real)))

/* A row that windows to come have in common with those before: its maxima, what dy has given them so far, and which of
 * up to three taps holds each: the last where it is larger than all before, else the middle one where it is larger than
 * the first. (Written and read member by member: a copy of the whole goes through memory.) */
typedef struct {
    vec best, sum;
    vchoice middle, last;
} FC_NAME(pool_shared_row);

/* The lanes of a strip that are inside: of each load of a row of x, and of each store of a row of dx; of a pair's second
 * plane, in the upper half of a vector, those of dy and of the store. */
enum { FC_NAME(POOL_LOADS) = 3 };
typedef struct {
    uint32_t load[FC_NAME(POOL_LOADS)], store[2], outputs;
    int whole;
} FC_NAME(pool_edge);
_Static_assert(sizeof(FC_NAME(pool_edge)) == FC_POOL_EDGE_BYTES, "drivers take scratch for it");
_Static_assert(sizeof(FC_NAME(pool_shared_row)) <= FC_POOL_SHARED_VECTORS * FC_VECTOR_BYTES, "drivers take scratch for it");

/* What one call fixes; taps and stride are constants of the instance. */
typedef struct {
    const fc_pool_max_backward *g;
    const FC_NAME(pool_edge) *edge;
    FC_NAME(pool_shared_row) *shared;  /* FC_POOL_SHARED_ROWS of each strip */
    vchoice middle, last;              /* lanes of the first strip whose taps before these are outside */
    vmask index[3], back;              /* of a pair: columns of each tap, and lanes one column back */
} FC_NAME(pool_backward_call);

/* A plane or a pair of them; the last of an odd number is its own partner, of which nothing is read or stored. */
typedef struct {
    ptrdiff_t x_next, dy_next, dx_next;
    uint32_t outputs, store;  /* the partner's lanes */
    vec seen;                 /* a NaN wherever one went by */
} FC_NAME(pool_backward_pair);

/* The taps of a strip's windows in a row. */
FC_INLINE void FC_NAME(pool_row_taps)(const FC_NAME(pool_backward_call) *call, const FC_NAME(pool_edge) *edge,
                                      const real *row, ptrdiff_t x_next, const int taps, const int stride,
                                      const int pair, const int whole, vec v[3])
{
    const vec missing = vset1(-(real)INFINITY);
#if FC_HAS_PERMUTE2
    if (pair) {
        const vec low = vload_lanes_else(row, edge->load[0], missing);
        const vec high = vload_lanes_else(row + x_next, edge->load[0], missing);
        FC_UNROLL_TAPS
        for (int b = 0; b < taps; b++)
            v[b] = vpermute2(low, call->index[b], high);
        return;
    }
#endif
    (void)call, (void)x_next, (void)pair;
#define FC_LOAD(ahead, i) (whole ? vload(row + (ahead)) : vload_lanes_else(row + (ahead), edge->load[i], missing))
    if (stride == 1) {
        FC_UNROLL_TAPS
        for (int b = 0; b < taps; b++)
            v[b] = FC_LOAD(b, b);
        return;
    }
    const vec low = FC_LOAD(0, 0), high = FC_LOAD(LANES, 1);
    v[0] = vdeal_evens(low, high);
    v[1] = vdeal_odds(low, high);
    /* The first taps of the windows one on; of the last, the next column. */
    if (taps == 3)
        v[2] = vshift_out(v[0], whole ? vset1(row[2 * LANES]) : FC_LOAD(2 * LANES, 2));
#undef FC_LOAD
}

/* The maximum of `taps` vectors, and where it is in addition to what `middle` and `last` say. The quick maximum takes no
 * NaN that comes second: whoever calls it notes those. */
FC_INLINE vec FC_NAME(pool_largest)(const vec v[3], const int taps, const int quick, vchoice *middle, vchoice *last)
{
    vec best = v[0];
    FC_UNROLL_TAPS
    for (int b = 1; b < taps; b++) {
        const vchoice chosen = quick ? vgreater(v[b], best) : vbeats(v[b], best);
        best = quick ? vmax(v[b], best) : vtake(chosen, v[b], best);
        if (b < taps - 1)
            *middle |= chosen;
        else
            *last |= chosen;
    }
    return best;
}

/* Gives each lane of v to the tap (or row) of `taps` that holds its maximum. */
FC_INLINE void FC_NAME(pool_deal)(vec v, vchoice middle, vchoice last, const int taps, vec part[3])
{
    part[taps - 1] = vwhere(last, v);
    v = vunless(last, v);
    if (taps == 3) {
        part[1] = vwhere(middle, v);
        v = vunless(middle, v);
    }
    part[0] = v;
}

/* Reduces a row of a strip to its maxima; a row outside the image, which is NULL, is less than any other. */
FC_INLINE vec FC_NAME(pool_reduce_taps)(const FC_NAME(pool_backward_call) *call, FC_NAME(pool_backward_pair) *planes,
                                        const FC_NAME(pool_edge) *edge, ptrdiff_t strip, const real *x, const int taps,
                                        const int stride, const int pair, const int whole, const int quick,
                                        const int inside, vchoice *middle, vchoice *last)
{
    *middle = !whole && strip == 0 ? call->middle : vchoice_all(0);
    *last = !whole && strip == 0 ? call->last : vchoice_all(0);
    if (!inside && !x)
        return vset1(-(real)INFINITY);
    vec v[3] = {{0}, {0}, {0}};
    /* A pair's row is loaded as a whole, and its taps are picked from that. */
    const real *row = pair ? x : x + strip * LANES * stride - call->g->pad_left;
    FC_NAME(pool_row_taps)(call, edge, row, planes->x_next, taps, stride, pair, whole, v);
    /* All taps of a whole strip but its last columns', which the next strip has, are among the first `stride`. */
    if (quick) {
        vec seen = v[0];
        for (int b = 1; b < (whole ? stride : taps); b++)
            seen += v[b];
        planes->seen += seen;
    }
    return FC_NAME(pool_largest)(v, taps, quick, middle, last);
}

FC_INLINE vec FC_NAME(pool_window_dy)(const FC_NAME(pool_backward_pair) *planes, const FC_NAME(pool_edge) *edge,
                                      const real *dy, const int pair, const int whole)
{
    if (whole)
        return vload(dy);
    const vec v = vload_lanes(dy, edge->outputs);
    return pair ? vload_lanes_else(dy + planes->dy_next - LANES / 2, planes->outputs, v) : v;
}

/* v, one window on: its first lane is the last of what was there before. */
FC_INLINE vec FC_NAME(pool_on)(const FC_NAME(pool_backward_call) *call, vec before, vec v, const int pair)
{
#if FC_HAS_PERMUTE2
    if (pair)
        return vpermute2(v, call->back, (vec){0});
#endif
    (void)call, (void)pair;
    return vshift_in(before, v);
}

/* A row of dx from what its windows gave it; `carry` is what the strip before has for the columns of this one. */
FC_INLINE void FC_NAME(pool_store_row)(const FC_NAME(pool_backward_call) *call,
                                       const FC_NAME(pool_backward_pair) *planes, const FC_NAME(pool_edge) *edge,
                                       real *dx, vec sum, vchoice middle, vchoice last, vec carry[2], const int taps,
                                       const int stride, const int pair, const int whole)
{
    vec part[3] = {{0}, {0}, {0}};
    FC_NAME(pool_deal)(sum, middle, last, taps, part);
    /* Column stride * j + b is tap b of window j, tap b + stride of the one before, and so on. */
    FC_UNROLL_TAPS
    for (int b = taps - 1; b >= stride; b--) {
        const vec on = FC_NAME(pool_on)(call, carry[b - stride], part[b], pair);
        carry[b - stride] = part[b];
        part[b - stride] += on;
    }
    vec low = part[0], high = part[0];
    if (stride == 2) {
        low = vzip_lo(part[0], part[1]);
        high = vzip_hi(part[0], part[1]);
    }
    if (whole) {
        vstore(dx, low);
        if (stride == 2)
            vstore(dx + LANES, high);
        return;
    }
    vstore_lanes(dx, low, edge->store[0]);
    if (pair && stride == 1)
        vstore_lanes(dx + planes->dx_next - LANES / 2, low, planes->store << LANES / 2);
    else if (pair)
        vstore_lanes(dx + planes->dx_next, high, planes->store);
    else if (stride == 2)
        vstore_lanes(dx + LANES, high, edge->store[1]);
}

/* The rows that a row of windows reads and finishes; NULL if outside, or not asked for. */
typedef struct {
    const real *x[3], *dy;
    real *dx[2];
    ptrdiff_t top;
} FC_NAME(pool_window_rows);

/* A row of a strip's windows: finishes the `stride` rows of dx that no later window sees. */
FC_INLINE void FC_NAME(pool_step)(const FC_NAME(pool_backward_call) *call, FC_NAME(pool_backward_pair) *planes,
                                  const FC_NAME(pool_edge) *edge, const FC_NAME(pool_window_rows) *rows,
                                  ptrdiff_t strip, FC_NAME(pool_shared_row) *shared, vec carry[2][2], const int taps,
                                  const int stride, const int pair, const int whole, const int quick,
                                  const int inside)
{
    const int kept = taps - stride;
    vec best[3] = {{0}, {0}, {0}}, sum[3] = {{0}, {0}, {0}};
    vchoice middle[3] = {0}, last[3] = {0};
    FC_UNROLL_TAPS
    for (int a = 0; a < kept; a++) {
        best[a] = shared[a].best;
        sum[a] = shared[a].sum;
        middle[a] = shared[a].middle;
        last[a] = shared[a].last;
    }
    FC_UNROLL_TAPS
    for (int a = kept; a < taps; a++)
        best[a] = FC_NAME(pool_reduce_taps)(call, planes, edge, strip, rows->x[a], taps, stride, pair, whole, quick,
                                            inside, &middle[a], &last[a]);
    /* The same down the rows; those above the image hold no maximum. */
    vchoice middle_row = vchoice_all(!inside && taps == 3 && rows->top == -1);
    vchoice last_row = vchoice_all(!inside && rows->top == 1 - taps);
    FC_NAME(pool_largest)(best, taps, quick, &middle_row, &last_row);
    const vec dy = inside || rows->dy ? FC_NAME(pool_window_dy)(planes, edge, rows->dy + strip * LANES, pair, whole)
                                      : (vec){0};
    vec given[3] = {{0}, {0}, {0}};
    FC_NAME(pool_deal)(dy, middle_row, last_row, taps, given);
    FC_UNROLL_TAPS
    for (int a = 0; a < taps; a++)
        sum[a] += given[a];
    const ptrdiff_t column = strip * LANES * stride - call->g->pad_left;
    FC_UNROLL_TAPS
    for (int a = 0; a < stride; a++)
        if (inside || rows->dx[a])
            FC_NAME(pool_store_row)(call, planes, edge, rows->dx[a] + column, sum[a], middle[a], last[a], carry[a],
                                    taps, stride, pair, whole);
    for (int a = 0; a < kept; a++) {
        shared[a].best = best[a + stride];
        shared[a].sum = sum[a + stride];
        shared[a].middle = middle[a + stride];
        shared[a].last = last[a + stride];
    }
}

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
            FC_NAME(pool_step)(call, planes, edge, rows, strip, shared, carry, taps, stride, pair, 1, quick, inside);
        else
            FC_NAME(pool_step)(call, planes, edge, rows, strip, shared, carry, taps, stride, pair, 0, quick, inside);
    }
}

/* The lines of planes to come, of which each has but a few. */
FC_INLINE void FC_NAME(pool_ask_for_planes)(const real *x, real *dx, ptrdiff_t elements)
{
    for (ptrdiff_t i = 0; i < elements; i += (ptrdiff_t)(64 / sizeof(real))) {
        __builtin_prefetch(x + i + FC_POOL_ROWS_AHEAD);
        __builtin_prefetch(dx + i + FC_POOL_ROWS_AHEAD, 1);
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
FC_INLINE vec FC_NAME(pool_backward_plane)(const FC_NAME(pool_backward_call) *call, ptrdiff_t n, const int taps,
                                           const int stride, const int pair, const int single, const int quick)
{
    const fc_pool_max_backward *g = call->g;
    const real *x = (const real *)g->x + n * g->x_next, *dy = (const real *)g->dy + n * g->dy_next;
    real *dx = (real *)g->dx + n * g->dx_next;
    const int kept = taps - stride, alone = n + 1 == g->count;
    const FC_NAME(pool_edge) only = *call->edge, *edge = single ? &only : call->edge;
    FC_NAME(pool_backward_pair) planes = {.seen = {0}};
    if (pair && !alone)
        planes = (FC_NAME(pool_backward_pair)){
            g->x_next, g->dy_next, g->dx_next, only.outputs << LANES / 2, only.store[0], {0}};
    if (single)
        FC_NAME(pool_ask_for_planes)(x, dx, (g->row_end - g->row) * g->width * (1 + pair));
    /* Windows from before the first row on, as far as they reach into it. */
    const ptrdiff_t first = (g->row + g->pad_top) / stride - (taps - 1) / stride, begin = first < 0 ? 0 : first;
    const ptrdiff_t end = (g->row_end - 1 + g->pad_top) / stride + 1, strips = single ? 1 : g->strips;
    FC_NAME(pool_shared_row) own[FC_POOL_SHARED_ROWS], *shared = single ? own : call->shared;
    const FC_NAME(pool_window_rows) above = FC_NAME(pool_rows_of)(g, begin, x, dy, dx, taps, stride);
    for (ptrdiff_t strip = 0; strip < strips; strip++)
        for (int a = 0; a < kept; a++) {
            FC_NAME(pool_shared_row) *row = shared + strip * kept + a;
            row->sum = (vec){0};
            row->best = FC_NAME(pool_reduce_taps)(call, &planes, edge + strip, strip, above.x[a], taps, stride, pair, 0,
                                                  quick, 0, &row->middle, &row->last);
        }
    for (ptrdiff_t q = begin; q < end; q++) {
        FC_NAME(pool_window_rows) rows = FC_NAME(pool_rows_of)(g, q, x, dy, dx, taps, stride);
        /* Windows inside whose rows are all asked for follow each other without a question. */
        const ptrdiff_t below = g->height - taps < g->row_end - stride ? g->height - taps : g->row_end - stride;
        const ptrdiff_t top = (below + g->pad_top) / stride + 1, stop = top < g->out_height ? top : g->out_height;
        if (rows.top < g->row || below < 0 || q >= stop) {
            FC_NAME(pool_window_row)(call, &planes, edge, &rows, strips, shared, taps, stride, pair, single, quick, 0);
            continue;
        }
        for (; q < stop; q++) {
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
    FC_NAME(pool_backward_plane)(call, n, call->g->taps, call->g->stride, FC_HAS_PERMUTE2 && call->g->pair,
                                 call->g->strips == 1, 0);
}

/* A function for each kind of strip, which else are one that takes minutes to compile under sanitizers. */
#define FC_POOL_PLANE(taps, stride, kind, pair, single)                                                              \
    static __attribute__((noinline)) vec FC_NAME(pool_##kind##_##taps##_##stride)(                                   \
        const FC_NAME(pool_backward_call) *call, ptrdiff_t n)                                                        \
    {                                                                                                                \
        return FC_NAME(pool_backward_plane)(call, n, taps, stride, pair, single, 1);                                 \
    }
#define FC_POOL_PLANES(taps, stride)                            \
    FC_POOL_PLANE(taps, stride, pair, FC_HAS_PERMUTE2, 1)       \
    FC_POOL_PLANE(taps, stride, single, 0, 1)                   \
    FC_POOL_PLANE(taps, stride, wide, 0, 0)
FC_POOL_PLANES(2, 1)
FC_POOL_PLANES(2, 2)
FC_POOL_PLANES(3, 1)
FC_POOL_PLANES(3, 2)
#undef FC_POOL_PLANES
#undef FC_POOL_PLANE

typedef vec (*FC_NAME(pool_plane))(const FC_NAME(pool_backward_call) *call, ptrdiff_t n);

FC_INLINE void FC_NAME(pool_backward_planes)(const FC_NAME(pool_backward_call) *call, FC_NAME(pool_plane) pairs,
                                             FC_NAME(pool_plane) single, FC_NAME(pool_plane) wide)
{
    const fc_pool_max_backward *g = call->g;
    const int pair = FC_HAS_PERMUTE2 && g->pair;
    for (ptrdiff_t n = 0; n < g->count; n += 1 + pair) {
        const vec seen = (pair ? pairs : g->strips == 1 ? single : wide)(call, n);
        if (vany(vunordered(seen, seen)))
            FC_NAME(pool_backward_exact)(call, n);
    }
}

/* Lanes of a strip inside, for the loads that pool_row_taps does and the stores of pool_store_row. */
static void FC_NAME(pool_edges)(const fc_pool_max_backward *g, FC_NAME(pool_edge) *edge)
{
    for (ptrdiff_t strip = 0; strip < g->strips; strip++) {
        const ptrdiff_t column = strip * LANES * g->stride - g->pad_left, left = g->out_width - strip * LANES;
        const ptrdiff_t ahead[2][FC_NAME(POOL_LOADS)] = {{0, 1, 2}, {0, LANES, 2 * LANES}};
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
        for (int b = 0; b < g->taps; b++) {
            const int inside = column + b >= 0 && column + b < g->width;
            call.index[b][i] = (lane_int)(inside ? column + b : LANES - 1) + upper * LANES;
        }
    }
    call.middle = g->taps == 3 ? vgreater(outside, vset1(0)) : vchoice_all(0);
    call.last = vgreater(outside, vset1((real)(g->taps - 2)));
    if (pair) {
        /* The pair's one strip: rows are loaded whole, and stored from a half or, zipped, from a vector. */
        edge->load[0] = (1u << g->width) - 1;
        edge->store[0] &= g->stride == 1 ? (1u << LANES / 2) - 1 : ~0u;
    }
#define FC_POOL_PLANES(kind) FC_NAME(pool_pair_##kind), FC_NAME(pool_single_##kind), FC_NAME(pool_wide_##kind)
    if (g->taps == 2 && g->stride == 1)
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(2_1));
    else if (g->taps == 2)
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(2_2));
    else if (g->stride == 1)
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(3_1));
    else
        FC_NAME(pool_backward_planes)(&call, FC_POOL_PLANES(3_2));
#undef FC_POOL_PLANES
}
#undef FC_POOL_ROWS_AHEAD
#undef FC_UNROLL_TAPS
