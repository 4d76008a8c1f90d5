/* The taps of neighbouring windows in a row of a plane: windows of 2x2 or 3x3 neighbours, 1 or 2 apart, a vector of them
 * (a strip) at a time. Two planes narrower than half a vector share one. */

/* Loops over taps: as many as there are at most, for one instance does not know how many. */
#define FC_UNROLL_TAPS _Pragma("GCC unroll 3")

/* Rows are short and their ends are masked: the hardware alone fetches too little of what follows. */
#define FC_POOL_ROWS_AHEAD ((ptrdiff_t)((4 << 10) / sizeof(real)))

enum { FC_NAME(POOL_LOADS) = 3 };

/* A strip is one of several of its row; the only one; or that, begins with the row's first column, and fills its first
 * vectors of columns: a flush one needs no mask for them. */
#define FC_POOL_AMONG 0
#define FC_POOL_SINGLE 1
#define FC_POOL_FLUSH 2

/* The lanes of each load of a strip that are inside a row of `width`; its first window begins at `column`. */
FC_INLINE void FC_NAME(pool_row_loads)(uint32_t load[], ptrdiff_t column, ptrdiff_t width, const int stride)
{
    const ptrdiff_t ahead[2][FC_NAME(POOL_LOADS)] = {{0, 1, 2}, {0, LANES, 2 * LANES}};
    for (int i = 0; i < FC_NAME(POOL_LOADS); i++)
        load[i] = FC_NAME(pool_lanes_inside)(column + ahead[stride - 1][i], width);
}

/* Columns of each tap in the rows of a pair, of which each is loaded whole. Lane LANES - 1, which no row has, stands for
 * those outside. */
FC_INLINE void FC_NAME(pool_pair_index)(vmask index[3], ptrdiff_t pad_left, ptrdiff_t width, const int taps,
                                        const int stride)
{
    for (int i = 0; i < LANES; i++) {
        const int upper = i >= LANES / 2, lane = upper ? i - LANES / 2 : i;
        for (int b = 0; b < taps; b++) {
            const ptrdiff_t column = lane * stride - pad_left + b;
            index[b][i] = (lane_int)(column >= 0 && column < width ? column : LANES - 1) + upper * LANES;
        }
    }
}

/* The taps of a strip's windows in a row, `missing` where they are outside. `row` is the first window's first tap, of a
 * pair the row's first element. What follows 2*LANES neighbours of a single strip is outside. */
FC_INLINE void FC_NAME(pool_row_taps)(const vmask index[3], const uint32_t load[], const real *row, ptrdiff_t x_next,
                                      const int taps, const int stride, const int pair, const int single,
                                      const int whole, vec missing, vec v[3])
{
#if FC_HAS_PERMUTE2
    if (pair) {
        const vec low = vload_lanes_else(row, load[0], missing);
        const vec high = vload_lanes_else(row + x_next, load[0], missing);
        FC_UNROLL_TAPS
        for (int b = 0; b < taps; b++)
            v[b] = vpermute2(low, index[b], high);
        return;
    }
#endif
    (void)index, (void)x_next, (void)pair;
#define FC_LOAD(ahead, i) (whole ? vload(row + (ahead)) : vload_lanes_else(row + (ahead), load[i], missing))
    if (stride == 1) {
        FC_UNROLL_TAPS
        for (int b = 0; b < taps; b++)
            v[b] = FC_LOAD(b, b);
        return;
    }
    const vec low = single == FC_POOL_FLUSH ? vload(row) : FC_LOAD(0, 0), high = FC_LOAD(LANES, 1);
    v[0] = vdeal_evens(low, high);
    v[1] = vdeal_odds(low, high);
    /* The first taps of the windows one on; of the last, the next column. */
    if (taps == 3)
        v[2] = vshift_out(v[0], single ? missing : whole ? vset1(row[2 * LANES]) : FC_LOAD(2 * LANES, 2));
#undef FC_LOAD
}
