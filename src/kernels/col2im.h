/* col2im: an output is the sum of what the taps that reach it have there. */

/* The taps that reach a row, in pairs: where its elements begin, and the column of the first output. */
static ptrdiff_t FC_NAME(col2im_taps)(const fc_col2im *s, ptrdiff_t i, ptrdiff_t row_step, ptrdiff_t *reach)
{
    ptrdiff_t taps = 0;
    for (ptrdiff_t t = 0; t < s->taps; t++) {
        const ptrdiff_t h = i + s->tap_h[t];
        if (h < 0 || h >= s->rows)
            continue;
        reach[2 * taps] = s->tap_plane[t] + h * row_step;
        reach[2 * taps++ + 1] = s->tap_w[t];
    }
    return taps;
}

/* Lanes along a row of pixels. */
static void FC_NAME(col2im_planes)(const fc_col2im *s, ptrdiff_t *reach)
{
    for (ptrdiff_t i = 0; i < s->y_rows; i++) {
        const ptrdiff_t taps = FC_NAME(col2im_taps)(s, s->first_row + i, s->columns, reach);
        real *y = (real *)s->y + i * s->y_row;
        for (ptrdiff_t j = 0; j < s->y_columns; j += LANES) {
            const ptrdiff_t count = s->y_columns - j < LANES ? s->y_columns - j : LANES;
            vec sum = s->bias ? vset1(*(const real *)s->bias) : (vec){0};
            for (ptrdiff_t t = 0; t < taps; t++) {
                const ptrdiff_t first = j + reach[2 * t + 1], left = s->columns - first;
                const ptrdiff_t begin = first < 0 ? -first : 0, end = left < count ? left : count;
                if (begin < end)
                    sum += vload_lanes((const real *)s->from + reach[2 * t] + first, (1u << end) - (1u << begin));
            }
            if (s->y_column == 1)
                vstore_n(y + j, sum, (int)count);
            else
                for (ptrdiff_t k = 0; k < count; k++)
                    y[(j + k) * s->y_column] = sum[k];
        }
    }
}

/* Lanes along the channels of a pixel. */
static void FC_NAME(col2im_pixels)(const fc_col2im *s, ptrdiff_t *reach)
{
    for (ptrdiff_t i = 0; i < s->y_rows; i++) {
        const ptrdiff_t taps = FC_NAME(col2im_taps)(s, s->first_row + i, s->columns * s->pixel, reach);
        for (ptrdiff_t j = 0; j < s->y_columns; j++)
            for (ptrdiff_t c = 0; c < s->channels; c += LANES) {
                const int lanes = s->channels - c < LANES ? (int)(s->channels - c) : LANES;
                vec sum = s->bias ? vload_n((const real *)s->bias + c, lanes) : (vec){0};
                for (ptrdiff_t t = 0; t < taps; t++) {
                    const ptrdiff_t column = j + reach[2 * t + 1];
                    if (column >= 0 && column < s->columns)
                        sum += vload_n((const real *)s->from + reach[2 * t] + column * s->pixel + c, lanes);
                }
                vstore_n((real *)s->y + i * s->y_row + j * s->y_column + c, sum, lanes);
            }
    }
}
