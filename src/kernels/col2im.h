/* col2im: an output is the sum of what the taps that reach it have there. */

/* What a tap has for a vector of outputs of the first row: where it begins, and lanes that see its columns. */
typedef struct {
    ptrdiff_t h, from;
    uint32_t lanes;
} FC_NAME(col2im_tap);

/* The taps that reach outputs [j, j + count) of a row. */
static ptrdiff_t FC_NAME(col2im_taps)(const fc_col2im *s, ptrdiff_t j, ptrdiff_t count, FC_NAME(col2im_tap) *reach)
{
    ptrdiff_t taps = 0;
    for (ptrdiff_t t = 0; t < s->taps; t++) {
        const ptrdiff_t h = s->first_row + s->tap_h[t], w = j + s->tap_w[t], left = s->columns - w;
        const ptrdiff_t begin = w < 0 ? -w : 0, end = left < count ? left : count;
        if (begin < end)
            reach[taps++] = (FC_NAME(col2im_tap)){
                h, s->tap_plane[t] + (h * s->columns + w) * s->pixel, (1u << end) - (1u << begin)};
    }
    return taps;
}

/* Lanes along a row of pixels: outputs [j, j + count) of all rows of a channel. */
static void FC_NAME(col2im_plane)(const fc_col2im *s, const FC_NAME(col2im_tap) *reach, ptrdiff_t taps, ptrdiff_t channel,
                                  ptrdiff_t j, ptrdiff_t count)
{
    const real *from = (const real *)s->from + channel * s->from_channel;
    real *y = (real *)s->y + channel * s->y_channel + j * s->y_column;
    const vec bias = s->bias ? vset1(((const real *)s->bias)[channel]) : (vec){0};
    for (ptrdiff_t i = 0; i < s->y_rows; i++, from += s->columns, y += s->y_row) {
        vec sum = bias;
        for (ptrdiff_t t = 0; t < taps; t++)
            if (reach[t].h + i >= 0 && reach[t].h + i < s->rows)
                sum += vload_lanes(from + reach[t].from, reach[t].lanes);
        if (s->y_column == 1)
            vstore_n(y, sum, (int)count);
        else
            for (ptrdiff_t k = 0; k < count; k++)
                y[k * s->y_column] = sum[k];
    }
}

static void FC_NAME(col2im_planes)(const fc_col2im *s, void *room)
{
    for (ptrdiff_t j = 0; j < s->y_columns; j += LANES) {
        const ptrdiff_t count = s->y_columns - j < LANES ? s->y_columns - j : LANES;
        const ptrdiff_t taps = FC_NAME(col2im_taps)(s, j, count, room);
        for (ptrdiff_t channel = 0; channel < s->channels; channel++)
            FC_NAME(col2im_plane)(s, room, taps, channel, j, count);
    }
}

/* Lanes along the channels of a pixel. */
static void FC_NAME(col2im_pixels)(const fc_col2im *s, void *room)
{
    FC_NAME(col2im_tap) *reach = room;
    for (ptrdiff_t j = 0; j < s->y_columns; j++) {
        const ptrdiff_t taps = FC_NAME(col2im_taps)(s, j, 1, reach);
        for (ptrdiff_t i = 0; i < s->y_rows; i++)
            for (ptrdiff_t c = 0; c < s->channels; c += LANES) {
                const int lanes = s->channels - c < LANES ? (int)(s->channels - c) : LANES;
                const real *from = (const real *)s->from + i * s->columns * s->pixel + c;
                vec sum = s->bias ? vload_n((const real *)s->bias + c, lanes) : (vec){0};
                for (ptrdiff_t t = 0; t < taps; t++)
                    if (reach[t].h + i >= 0 && reach[t].h + i < s->rows)
                        sum += vload_n(from + reach[t].from, lanes);
                vstore_n((real *)s->y + i * s->y_row + j * s->y_column + c, sum, lanes);
            }
    }
}
