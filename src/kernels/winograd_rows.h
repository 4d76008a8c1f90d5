/* Rows of pixels with a vector of channels side by side, between zeros, as Winograd's transforms read them. */

FC_INLINE real *FC_NAME(winograd_zeros)(real *to, ptrdiff_t vectors)
{
    for (; vectors > 0; vectors--, to += LANES)
        vstore(to, (vec){0});
    return to;
}

/* The next `count` pixels, at most a vector of them, of all channels. */
FC_INLINE void FC_NAME(winograd_load_pixels)(const fc_winograd_rows *in, const real *pixel, const int count, vec *v)
{
    if (in->channel_step == 1) {
        for (int i = 0; i < count; i++)
            v[i] = vload_n(pixel + i * in->column_step, in->channels);
        return;
    }
    FC_UNROLL
    for (int j = 0; j < LANES; j++) {
        const real *channel = pixel + j * in->channel_step;
        v[j] = j >= in->channels ? (vec){0} : count == LANES ? vload(channel) : vload_n(channel, count);
        __builtin_prefetch(channel + 16 * LANES);
    }
    vtranspose(v);
}

/* Rows that follow each other without a gap are loaded as one, so that those of 7 pixels fill vectors too. */
static void FC_NAME(winograd_rows)(const fc_winograd_rows *in)
{
    const int merged = in->row_step == in->columns * in->column_step;
    const ptrdiff_t runs = merged && in->rows > 0 ? 1 : in->rows, length = merged ? in->rows * in->columns : in->columns;
    real *to = FC_NAME(winograd_zeros)(in->image, in->before);
    ptrdiff_t left = in->columns;
    for (ptrdiff_t run = 0; run < runs; run++)
        for (ptrdiff_t first = 0; first < length; first += LANES) {
            const int count = length - first < LANES ? (int)(length - first) : LANES;
            vec v[LANES];
            FC_NAME(winograd_load_pixels)(in, (const real *)in->pixels + run * in->row_step + first * in->column_step,
                                          count, v);
            FC_UNROLL
            for (int i = 0; i < LANES; i++) {
                if (i == count)
                    break;
                if (left == 0) {
                    to = FC_NAME(winograd_zeros)(to, in->between);
                    left = in->columns;
                }
                vstore(to, v[i]);
                to += LANES;
                left--;
            }
        }
    FC_NAME(winograd_zeros)(to, in->after);
}
