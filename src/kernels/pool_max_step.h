/* One row of a strip's windows of 2x2 or 3x3 neighbours, 1 or 2 apart, in the gradient of max pooling.
 *
 * Lanes are windows of a row. Each row of x is reduced once to the maxima of its taps; a window takes the maximum of
 * its rows and gives dy to the row that holds it; a finished row of dx deals that to its taps, and what belongs to
 * columns of later windows moves there. Two planes narrower than half a vector share one. */

/* Loops over taps: as many as there are at most, for one instance does not know how many. */
#define FC_UNROLL_TAPS _Pragma("GCC unroll 3")

/* A row that windows to come have in common with those before: its maxima, what dy has given them so far, and which of
 * up to three taps holds each: the last where it is larger than all before, else the middle one where it is larger than
 * the first. (Written and read member by member: a copy of the whole goes through memory.) */
typedef struct {
    vec best, sum;
    vchoice middle, last;
} FC_NAME(pool_shared_row);

/* The lanes of a strip that are inside: of each load of a row of x, of each store of a row of dx, and of dy. */
enum { FC_NAME(POOL_LOADS) = 3 };
typedef struct {
    uint32_t load[FC_NAME(POOL_LOADS)], store[2], outputs;
    int whole;
} FC_NAME(pool_edge);
_Static_assert(sizeof(FC_NAME(pool_edge)) == FC_POOL_EDGE_BYTES, "drivers take scratch for it");
_Static_assert(sizeof(FC_NAME(pool_shared_row)) <= FC_POOL_SHARED_VECTORS * FC_VECTOR_BYTES,
               "drivers take scratch for it");

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

/* The maximum of `taps` vectors, and where it is in addition to what `middle` and `last` say. The quick maximum takes
 * no NaN that comes second: whoever calls it notes those. */
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
