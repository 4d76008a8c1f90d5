/* One row of a strip's windows of 2x2 or 3x3 neighbours, 1 or 2 apart, in the gradient of max pooling.
 *
 * Lanes are windows of a row. Each row of x is reduced once to the maxima of its taps; a window takes the maximum of
 * its rows and gives dy to the row that holds it; a finished row of dx deals that to its taps, and what belongs to
 * columns of later windows moves there. Two planes narrower than half a vector share one. */

/* Which of up to three taps (or rows) holds a maximum: the last where `before_last` is not set, which says that it is no
 * larger than those before it; else the middle one where `before_middle` is not set; else the first. */
typedef struct {
    vchoice before_middle, before_last;
} FC_NAME(pool_holder);

/* A row that windows to come have in common with those before: its maxima, which tap holds each, and what dy has given
 * them so far. (Written and read member by member: a copy of the whole goes through memory.) */
typedef struct {
    vec best, sum;
    FC_NAME(pool_holder) holder;
} FC_NAME(pool_shared_row);

/* The lanes of a strip that are inside: of each load of a row of x, of each store of a row of dx, and of dy. */
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
    FC_NAME(pool_holder) outside;      /* of the first strip: lanes whose taps before these are outside are not set */
    vmask index[3], back;              /* of a pair: columns of each tap, and lanes one column back */
} FC_NAME(pool_backward_call);

/* A plane or a pair of them; the last of an odd number is its own partner, of which nothing is read or stored. */
typedef struct {
    ptrdiff_t x_next, dy_next, dx_next;
    uint32_t outputs, store;  /* the partner's lanes */
    vec seen;                 /* a NaN wherever one went by */
} FC_NAME(pool_backward_pair);

/* The maximum of `taps` vectors, and which holds it, as far as `holder` does not say so already. The quick maximum takes
 * no NaN that comes second: whoever calls it notes those. */
FC_INLINE vec FC_NAME(pool_largest)(const vec v[3], const int taps, const int quick, FC_NAME(pool_holder) *holder)
{
    vec best = v[0];
    FC_UNROLL_TAPS
    for (int b = 1; b < taps; b++) {
        vchoice *before = b < taps - 1 ? &holder->before_middle : &holder->before_last;
        if (quick) {
            *before = vno_larger(*before, v[b], best);
            best = vmax(v[b], best);
        } else {
            const vchoice chosen = vbeats(v[b], best);
            *before = vchoice_but(*before, chosen);
            best = vtake(chosen, v[b], best);
        }
    }
    return best;
}

/* Lanes whose maximum tap b of `taps` holds, but for the last tap: those are `before_last` not. */
FC_INLINE vchoice FC_NAME(pool_held_by)(FC_NAME(pool_holder) holder, int b, const int taps)
{
    if (taps == 2)
        return holder.before_last;
    return b ? vchoice_but(holder.before_last, holder.before_middle)
             : vchoice_and(holder.before_last, holder.before_middle);
}

/* `sum`, or zero if it is new, and v in the lanes whose maximum tap b holds. */
FC_INLINE vec FC_NAME(pool_give)(FC_NAME(pool_holder) holder, int b, const int taps, const int more, vec sum, vec v)
{
    if (b == taps - 1)
        return vunless(holder.before_last, v);
    const vchoice held = FC_NAME(pool_held_by)(holder, b, taps);
    return more ? vadd_where(held, sum, v) : vwhere(held, v);
}

/* Reduces a row of a strip to its maxima; a row outside the image, which is NULL, is less than any other. */
FC_INLINE vec FC_NAME(pool_reduce_taps)(const FC_NAME(pool_backward_call) *call, FC_NAME(pool_backward_pair) *planes,
                                        const FC_NAME(pool_edge) *edge, ptrdiff_t strip, const real *x, const int taps,
                                        const int stride, const int pair, const int single, const int whole,
                                        const int quick, const int inside, FC_NAME(pool_holder) *holder)
{
    *holder = (FC_NAME(pool_holder)){vchoice_all(1), vchoice_all(1)};
    if (!whole && strip == 0 && single != FC_POOL_FLUSH)
        *holder = call->outside;
    if (!inside && !x)
        return vset1(-(real)INFINITY);
    vec v[3] = {{0}, {0}, {0}};
    /* A pair's row is loaded as a whole, and its taps are picked from that. */
    const real *row = pair ? x : x + strip * LANES * stride - call->g->pad_left;
    FC_NAME(pool_row_taps)(call->index, edge->load, row, planes->x_next, taps, stride, pair, single, whole,
                           vset1(-(real)INFINITY), v);
    /* All taps of a whole strip but its last columns', which the next strip has, are among the first `stride`; so are
     * those of an only strip, for its windows cover all columns. */
    if (quick) {
        vec seen = v[0];
        for (int b = 1; b < (whole || single ? stride : taps); b++)
            seen += v[b];
        planes->seen += seen;
    }
    return FC_NAME(pool_largest)(v, taps, quick, holder);
}

FC_INLINE vec FC_NAME(pool_window_dy)(const FC_NAME(pool_backward_pair) *planes, const FC_NAME(pool_edge) *edge,
                                      const real *dy, const int pair, const int whole)
{
    vec v = whole ? vload(dy) : vload_lanes(dy, edge->outputs);
    if (pair)
        v = vload_lanes_else(dy + planes->dy_next - LANES / 2, planes->outputs, v);
    return v + (vec){0};  /* no -0.0, so that what is given once is as what is added to zero */
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
                                       real *dx, vec sum, FC_NAME(pool_holder) holder, vec carry[2], const int taps,
                                       const int stride, const int pair, const int single, const int whole)
{
    vec part[3] = {{0}, {0}, {0}};
    /* Column stride * j + b is tap b of window j, tap b + stride of the one before, and so on. */
    FC_UNROLL_TAPS
    for (int b = taps - 1; b >= 0; b--) {
        const int more = b + stride < taps;
        const vec on = more ? FC_NAME(pool_on)(call, carry[b], part[b + stride], pair) : (vec){0};
        if (more)
            carry[b] = part[b + stride];
        part[b] = FC_NAME(pool_give)(holder, b, taps, more, on, sum);
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
    if (single == FC_POOL_FLUSH)
        vstore(dx, low);
    else
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
                                  const int stride, const int pair, const int single, const int whole,
                                  const int quick, const int inside)
{
    const int kept = taps - stride;
    vec best[3] = {{0}, {0}, {0}}, sum[3] = {{0}, {0}, {0}};
    FC_NAME(pool_holder) holder[3];
    FC_UNROLL_TAPS
    for (int a = 0; a < kept; a++) {
        best[a] = shared[a].best;
        sum[a] = shared[a].sum;
        holder[a] = shared[a].holder;
    }
    FC_UNROLL_TAPS
    for (int a = kept; a < taps; a++)
        best[a] = FC_NAME(pool_reduce_taps)(call, planes, edge, strip, rows->x[a], taps, stride, pair, single, whole,
                                            quick, inside, &holder[a]);
    /* The same down the rows; those above the image hold no maximum. */
    FC_NAME(pool_holder) row = {vchoice_all(inside || taps == 2 || rows->top != -1),
                                vchoice_all(inside || rows->top != 1 - taps)};
    FC_NAME(pool_largest)(best, taps, quick, &row);
    const vec dy = inside || rows->dy ? FC_NAME(pool_window_dy)(planes, edge, rows->dy + strip * LANES, pair, whole)
                                      : (vec){0};
    FC_UNROLL_TAPS
    for (int a = 0; a < taps; a++)
        sum[a] = FC_NAME(pool_give)(row, a, taps, a < kept, sum[a], dy);
    const ptrdiff_t column = strip * LANES * stride - call->g->pad_left;
    FC_UNROLL_TAPS
    for (int a = 0; a < stride; a++)
        if (inside || rows->dx[a])
            FC_NAME(pool_store_row)(call, planes, edge, rows->dx[a] + column, sum[a], holder[a], carry[a], taps, stride,
                                    pair, single, whole);
    for (int a = 0; a < kept; a++) {
        shared[a].best = best[a + stride];
        shared[a].sum = sum[a + stride];
        shared[a].holder = holder[a + stride];
    }
}
