/* Pooling over windows of 2x2 or 3x3 neighbours, 1 or 2 apart, in NCHW planes: along the rows, so that memory is read in
 * order. Each row of x is read once and reduced along its windows; what the next row of windows has in common is kept. */

enum { FC_NAME(POOL_ROW_STRIPS) = 16 };  /* side by side at a time; what they keep lies in L1 */

/* LANES windows side by side. Whole: all are, all taps are inside, and the next strip of the call has the last columns
 * too. */
typedef struct {
    ptrdiff_t output, column;
    uint32_t load[FC_NAME(POOL_LOADS)], outputs;
    int whole;
    vec counted;  /* the mean: taps of each window that count in a row */
} FC_NAME(pool_row_strip);

typedef struct {
    const fc_pool_rows *g;
    FC_NAME(pool_row_strip) strip[FC_NAME(POOL_ROW_STRIPS)];
    ptrdiff_t strips;
    vmask index[3];
    vec missing;
} FC_NAME(pool_rows_call);

/* The quick maximum takes no NaN that comes second: pool_rows_reduce adds up what it sees, which a NaN makes NaN. */
FC_INLINE vec FC_NAME(pool_rows_fold)(vec v, vec best, const int mean, const int quick)
{
    if (mean)
        return best + v;
    return quick ? vmax(v, best) : vtake(vbeats(v, best), v, best);
}

/* A row of a strip's windows; NULL is a row outside. */
FC_INLINE vec FC_NAME(pool_rows_reduce)(const FC_NAME(pool_rows_call) *call, const FC_NAME(pool_row_strip) *strip,
                                        const real *row, ptrdiff_t x_next, vec *seen, const int taps, const int stride,
                                        const int pair, const int mean, const int whole, const int quick)
{
    if (!row)
        return call->missing;
    vec v[3] = {{0}, {0}, {0}};
    FC_NAME(pool_row_taps)(call->index, strip->load, pair ? row : row + strip->column, x_next, taps, stride, pair,
                           FC_POOL_AMONG, whole, call->missing, v);
    if (quick && !mean) {
        vec sum = v[0];
        for (int b = 1; b < (whole ? stride : taps); b++)
            sum += v[b];
        *seen += sum;
    }
    vec best = v[0];
    FC_UNROLL_TAPS
    for (int b = 1; b < taps; b++)
        best = FC_NAME(pool_rows_fold)(v[b], best, mean, quick);
    return best;
}

/* A row of a strip's windows, from rows of x below those that it has in common with the one before, which are kept. */
FC_INLINE vec FC_NAME(pool_rows_window)(const FC_NAME(pool_rows_call) *call, const FC_NAME(pool_row_strip) *strip,
                                        const real *const row[3], ptrdiff_t x_next, vec kept[], vec *seen,
                                        const int taps, const int stride, const int pair, const int mean,
                                        const int whole, const int quick)
{
    const int common = taps - stride;
    vec best[3] = {{0}, {0}, {0}};
    FC_UNROLL_TAPS
    for (int a = 0; a < common; a++)
        best[a] = kept[a];
    FC_UNROLL_TAPS
    for (int a = common; a < taps; a++)
        best[a] = FC_NAME(pool_rows_reduce)(call, strip, row[a], x_next, seen, taps, stride, pair, mean, whole, quick);
    FC_UNROLL_TAPS
    for (int a = 0; a < common; a++)
        kept[a] = best[a + stride];
    vec window = best[0];
    FC_UNROLL_TAPS
    for (int a = 1; a < taps; a++)
        window = FC_NAME(pool_rows_fold)(best[a], window, mean, quick);
    return window;
}

/* A few lines at a time: more would wait for each other. */
FC_INLINE void FC_NAME(pool_rows_ask_ahead)(const real *x, const int elements)
{
    FC_UNROLL
    for (int i = 0; i < elements; i += (int)(64 / sizeof(real)))
        __builtin_prefetch(x + i + FC_POOL_ROWS_AHEAD);
}

/* Plane n, or planes n and n + 1. Returns lanes that are NaN if a maximum that does not hand NaN on has seen one (or
 * both infinities). */
FC_INLINE vec FC_NAME(pool_rows_plane)(const FC_NAME(pool_rows_call) *call, ptrdiff_t n, const int taps,
                                       const int stride, const int pair, const int single, const int mean,
                                       const int quick)
{
    const fc_pool_rows *g = call->g;
    const real *x = (const real *)g->x + n * g->x_next;
    real *y = (real *)g->y + n * g->y_next + g->row * g->out_width;
    /* The last of an odd number of planes is its own partner, of which nothing is stored. */
    const int two = pair && n + 1 < g->count;
    const ptrdiff_t x_next = two ? g->x_next : 0;
    const FC_NAME(pool_row_strip) only = *call->strip, *first = single ? &only : call->strip;  /* one in registers */
    const ptrdiff_t strips = single ? 1 : call->strips;
    const int common = taps - stride;
    vec own[2], others[2 * FC_NAME(POOL_ROW_STRIPS)], *kept = single ? own : others, seen = {0};
    ptrdiff_t top = g->row * stride - g->pad_top;
    for (int a = 0; a < common; a++)
        for (ptrdiff_t s = 0; s < strips; s++) {
            const real *row = top + a >= 0 && top + a < g->height ? x + (top + a) * g->x_row : NULL;
            kept[2 * s + a] = FC_NAME(pool_rows_reduce)(call, first + s, row, x_next, &seen, taps, stride, pair, mean,
                                                        0, quick);
        }
    for (ptrdiff_t i = g->row; i < g->row_end; i++, top += stride, y += g->out_width) {
        const real *row[3] = {NULL, NULL, NULL};
        FC_UNROLL_TAPS
        for (int a = common; a < taps; a++)
            row[a] = top + a >= 0 && top + a < g->height ? x + (top + a) * g->x_row : NULL;
        /* Of planes that lie one behind the other; a row of a pair is followed by its partner's. */
        if (single && row[common])
            FC_NAME(pool_rows_ask_ahead)(row[common] + pair * (row[common] - x), stride * stride * LANES);
        for (ptrdiff_t s = 0; s < strips; s++) {
            const FC_NAME(pool_row_strip) *strip = first + s;
            const int whole = !single && strip->whole;
            if (!single && row[common])
                for (int a = 0; a < stride; a++)
                    FC_NAME(pool_rows_ask_ahead)(row[common] + strip->column + a * g->x_row, LANES * stride);
            vec window;
            if (whole)
                window = FC_NAME(pool_rows_window)(call, strip, row, x_next, kept + 2 * s, &seen, taps, stride, pair,
                                                   mean, 1, quick);
            else
                window = FC_NAME(pool_rows_window)(call, strip, row, x_next, kept + 2 * s, &seen, taps, stride, pair,
                                                   mean, 0, quick);
            if (mean)
                window /= strip->counted * vset1((real)g->counted_h[i]);
            if (whole) {
                vstore(y + strip->output, window);
                continue;
            }
            vstore_lanes(y + strip->output, window, strip->outputs);
            if (two)
                vstore_lanes(y + g->y_next - LANES / 2, window, strip->outputs << LANES / 2);
        }
    }
    return seen;
}

/* A plane with a NaN once more, by an instance that asks at each step what it is, for it is rare. */
static __attribute__((noinline)) void FC_NAME(pool_rows_exact)(const FC_NAME(pool_rows_call) *call, ptrdiff_t n)
{
    const int taps = call->g->taps == 2 ? 2 : 3;  /* so that the compiler sees loops end within their arrays */
    FC_NAME(pool_rows_plane)(call, n, taps, call->g->stride, FC_HAS_PERMUTE2 && call->g->pair,
                             call->strips == 1, 0, 0);
}

/* A function for each kind of window, which else are one that takes minutes to compile under sanitizers. */
#define FC_POOL_PLANE(taps, stride, kind, pair, single, mean)                                           \
    static __attribute__((noinline)) vec FC_NAME(pool_rows_##kind##_##taps##_##stride)(                 \
        const FC_NAME(pool_rows_call) *call, ptrdiff_t n)                                               \
    {                                                                                                   \
        return FC_NAME(pool_rows_plane)(call, n, taps, stride, pair, single, mean, 1);                  \
    }
#define FC_POOL_PLANES(taps, stride)                                  \
    FC_POOL_PLANE(taps, stride, max_wide, 0, 0, 0)                    \
    FC_POOL_PLANE(taps, stride, max_single, 0, 1, 0)                  \
    FC_POOL_PLANE(taps, stride, max_pair, FC_HAS_PERMUTE2, 1, 0)      \
    FC_POOL_PLANE(taps, stride, mean_wide, 0, 0, 1)                   \
    FC_POOL_PLANE(taps, stride, mean_single, 0, 1, 1)                 \
    FC_POOL_PLANE(taps, stride, mean_pair, FC_HAS_PERMUTE2, 1, 1)
FC_POOL_PLANES(2, 1)
FC_POOL_PLANES(2, 2)
FC_POOL_PLANES(3, 1)
FC_POOL_PLANES(3, 2)
#undef FC_POOL_PLANES
#undef FC_POOL_PLANE

typedef vec (*FC_NAME(pool_rows_kind))(const FC_NAME(pool_rows_call) *call, ptrdiff_t n);

/* Strips from output `begin` on, as many as a call takes. Returns where the next call begins. */
FC_INLINE ptrdiff_t FC_NAME(pool_rows_strips)(FC_NAME(pool_rows_call) *call, ptrdiff_t begin)
{
    const fc_pool_rows *g = call->g;
    const int pair = FC_HAS_PERMUTE2 && g->pair;
    call->strips = 0;
    while (begin < g->out_width && call->strips < FC_NAME(POOL_ROW_STRIPS)) {
        FC_NAME(pool_row_strip) *strip = &call->strip[call->strips++];
        const ptrdiff_t left = g->out_width - begin;
        /* The last ends at the last output, over some of the one before. */
        const ptrdiff_t output = left < LANES && g->out_width > LANES ? g->out_width - LANES : begin;
        strip->output = output;
        strip->column = output * g->stride - g->pad_left;
        FC_NAME(pool_row_loads)(strip->load, strip->column, g->width, g->stride);
        if (pair)
            strip->load[0] = (1u << g->width) - 1;
        strip->outputs = FC_NAME(pool_lanes_inside)(0, g->out_width - output);
        strip->whole = left > LANES && call->strips < FC_NAME(POOL_ROW_STRIPS) && strip->column >= 0 &&
                       strip->column + LANES * g->stride + g->taps - g->stride <= g->width;
        for (int i = 0; i < LANES && g->counted_w; i++) {
            const ptrdiff_t j = output + (pair ? i % (LANES / 2) : i);
            strip->counted[i] = j < g->out_width ? (real)g->counted_w[j] : 1;
        }
        begin += LANES;
    }
    return begin;
}

static void FC_NAME(pool_rows)(const fc_pool_rows *pass)
{
    static const FC_NAME(pool_rows_kind) kinds[2][2][2][3] = {
#define FC_POOL_KIND(kind, taps, stride)                                                                     \
    {FC_NAME(pool_rows_##kind##_wide_##taps##_##stride), FC_NAME(pool_rows_##kind##_single_##taps##_##stride), \
     FC_NAME(pool_rows_##kind##_pair_##taps##_##stride)}
#define FC_POOL_KINDS(taps, stride) {FC_POOL_KIND(max, taps, stride), FC_POOL_KIND(mean, taps, stride)}
        {FC_POOL_KINDS(2, 1), FC_POOL_KINDS(2, 2)},
        {FC_POOL_KINDS(3, 1), FC_POOL_KINDS(3, 2)},
#undef FC_POOL_KINDS
#undef FC_POOL_KIND
    };
    const fc_pool_rows own = *pass, *g = &own;  /* so that nothing that is stored may change it */
    const int mean = g->counted_w != NULL, pair = FC_HAS_PERMUTE2 && g->pair;
    FC_NAME(pool_rows_call) call = {.g = g, .missing = mean ? (vec){0} : vset1(-(real)INFINITY)};
    if (pair)
        FC_NAME(pool_pair_index)(call.index, g->pad_left, g->width, g->taps, g->stride);
    for (ptrdiff_t begin = 0; begin < g->out_width;) {
        begin = FC_NAME(pool_rows_strips)(&call, begin);
        const FC_NAME(pool_rows_kind) kind =
            kinds[g->taps - 2][g->stride - 1][mean][pair ? 2 : call.strips == 1];
        for (ptrdiff_t n = 0; n < g->count; n += 1 + pair) {
            const vec seen = kind(&call, n);
            if (!mean && vany(vunordered(seen, seen)))
                FC_NAME(pool_rows_exact)(&call, n);
        }
    }
}
