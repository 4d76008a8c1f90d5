/* One row of pooling windows, lanes along the outputs (along the channels with NHWC). */

FC_INLINE vec FC_NAME(pool_load)(const real *x, ptrdiff_t step, int lanes)
{
    if (step == 1)
        return lanes == LANES ? vload(x) : vload_n(x, lanes);
    if (step == 2 && lanes == LANES)
        return vload_evens(x);
    vec v = {0};
    for (int i = 0; i < lanes; i++)
        v[i] = x[i * step];
    return v;
}

/* A later element wins if it is larger, or the first NaN: ties stay with the first maximum in row-major order. */
FC_INLINE void FC_NAME(max_pool_lanes)(const fc_pool_row *row, ptrdiff_t j, int lanes, const int want_index)
{
    const real *x = (const real *)row->x + j * row->step;
    vec best = FC_NAME(pool_load)(x, row->step, lanes);
    vmask best_tap = {0};
    lane_int tap = 0;
    for (ptrdiff_t a = 0; a < row->taps_h; a++)
        for (ptrdiff_t b = 0; b < row->taps_w; b++, tap++) {
            vec v = FC_NAME(pool_load)(x + a * row->tap_h + b * row->tap_w, row->step, lanes);
            vmask wins = (vmask)(v > best) | ((vmask)(v != v) & (vmask)(best == best));
            best = vselect(wins, v, best);
            if (want_index)
                best_tap = (wins & (tap - (vmask){0})) | (~wins & best_tap);
        }
    real *y = (real *)row->y + j;
    if (lanes == LANES)
        vstore(y, best);
    else
        vstore_n(y, best, lanes);
    if (want_index)
        for (int i = 0; i < lanes; i++)
            row->index[j + i] = row->index_first + (j + i) * row->index_step +
                                best_tap[i] / row->taps_w * row->index_h + best_tap[i] % row->taps_w * row->index_w;
}

static void FC_NAME(max_pool_row)(const fc_pool_row *row)
{
    for (ptrdiff_t j = 0; j < row->width; j += LANES) {
        const int lanes = row->width - j < LANES ? (int)(row->width - j) : LANES;
        if (row->index)
            FC_NAME(max_pool_lanes)(row, j, lanes, 1);
        else
            FC_NAME(max_pool_lanes)(row, j, lanes, 0);
    }
}

/* dx[index[j]*plane_step + j*lane_step] += dy[j]: the gradient goes to the element that was the maximum. */
static void FC_NAME(max_pool_scatter)(void *dx, ptrdiff_t plane_step, ptrdiff_t lane_step, const void *dy,
                                      ptrdiff_t dy_step, const int64_t *index, ptrdiff_t count)
{
    for (ptrdiff_t j = 0; j < count; j++)
        ((real *)dx)[index[j] * plane_step + j * lane_step] += ((const real *)dy)[j * dy_step];
}

static void FC_NAME(avg_pool_row)(const fc_pool_row *row)
{
    const vec divisor = vset1((real)row->divisor);
    for (ptrdiff_t j = 0; j < row->width; j += LANES) {
        const int lanes = row->width - j < LANES ? (int)(row->width - j) : LANES;
        const real *x = (const real *)row->x + j * row->step;
        vec total = {0};
        for (ptrdiff_t a = 0; a < row->taps_h; a++)
            for (ptrdiff_t b = 0; b < row->taps_w; b++)
                total += FC_NAME(pool_load)(x + a * row->tap_h + b * row->tap_w, row->step, lanes);
        vstore_n((real *)row->y + j, total / divisor, lanes);
    }
}

/* The transpose of avg_pool_row: each element of the window, in `x`, gains y / divisor. */
static void FC_NAME(avg_pool_spread)(const fc_pool_row *row)
{
    const real divisor = (real)row->divisor;
    const real *y = row->y;
    for (ptrdiff_t a = 0; a < row->taps_h; a++)
        for (ptrdiff_t b = 0; b < row->taps_w; b++) {
            real *x = (real *)row->x + a * row->tap_h + b * row->tap_w;
            for (ptrdiff_t j = 0; j < row->width; j++)
                x[j * row->step] += y[j * row->y_step] / divisor;
        }
}
