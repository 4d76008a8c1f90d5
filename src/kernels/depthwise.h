/* Depthwise convolution and its weight gradient where channels lie side by side: lanes run along channels, and each
 * channel meets its own filter alone. Pixels are read where they lie; of three neighbouring taps each is loaded once. */

/* Outputs that share the load of a tap's weights. */
#define FC_DEPTHWISE_PIXELS 8
/* Taps of the gradient whose sums are in registers at once, and pixels that they take together. */
#define FC_DEPTHWISE_TAPS 9
#define FC_DEPTHWISE_STEPS 4

FC_INLINE vec FC_NAME(depthwise_load)(const real *from, const int lanes)
{
    return lanes == LANES ? vload_once(from) : vload_n(from, lanes);
}

FC_INLINE void FC_NAME(depthwise_store)(real *to, vec v, const int lanes)
{
    if (lanes == LANES)
        vstore(to, v);
    else
        vstore_n(to, v, lanes);
}

/* Whether taps t, t + 1 and t + 2 see neighbouring pixels. */
FC_INLINE int FC_NAME(depthwise_neighbours)(const ptrdiff_t *x_offset, int t, int taps, ptrdiff_t x_pixel)
{
    return t + 2 < taps && x_offset[t + 1] - x_offset[t] == x_pixel && x_offset[t + 2] - x_offset[t + 1] == x_pixel;
}

FC_INLINE void FC_NAME(depthwise_outputs)(const fc_depthwise_block *block, ptrdiff_t row, ptrdiff_t pixel,
                                          ptrdiff_t channel, const int pixels, const int lanes)
{
    const real *x = (const real *)block->x + row * block->x_row + pixel * block->x_pixel + channel;
    const real *weights = (const real *)block->weights + channel;
    const ptrdiff_t x_pixel = block->x_pixel;
    vec sum[FC_DEPTHWISE_PIXELS];
    FC_UNROLL
    for (int i = 0; i < pixels; i++)
        sum[i] = (vec){0};
    for (int t = 0; t < block->taps; t++) {
        const real *from = x + block->x_offset[t];
        const vec first = FC_NAME(depthwise_load)(weights + block->weight_offset[t], lanes);
        if (!FC_NAME(depthwise_neighbours)(block->x_offset, t, block->taps, x_pixel)) {
            FC_UNROLL
            for (int i = 0; i < pixels; i++)
                sum[i] += first * FC_NAME(depthwise_load)(from + i * x_pixel, lanes);
            continue;
        }
        const vec second = FC_NAME(depthwise_load)(weights + block->weight_offset[t + 1], lanes);
        const vec third = FC_NAME(depthwise_load)(weights + block->weight_offset[t + 2], lanes);
        FC_UNROLL
        for (int i = 0; i < pixels + 2; i++) {
            const vec v = FC_NAME(depthwise_load)(from + i * x_pixel, lanes);
            if (i < pixels)
                sum[i] += first * v;
            if (i >= 1 && i <= pixels)
                sum[i - 1] += second * v;
            if (i >= 2)
                sum[i - 2] += third * v;
        }
        t += 2;
    }
    const vec bias = block->bias ? FC_NAME(depthwise_load)((const real *)block->bias + channel, lanes) : (vec){0};
    FC_UNROLL
    for (int i = 0; i < pixels; i++)
        sum[i] += bias;
    if (block->relu)
        FC_UNROLL
        for (int i = 0; i < pixels; i++)
            sum[i] = vselect((vmask)(sum[i] < (vec){0}), (vec){0}, sum[i]);
    const ptrdiff_t y_pixel = block->y_pixel;
    real *y = (real *)block->y + row * block->y_row + pixel * y_pixel + channel;
    FC_UNROLL
    for (int i = 0; i < pixels; i++)
        FC_NAME(depthwise_store)(y + i * y_pixel, sum[i], lanes);
}

#define FC_DEPTHWISE_CASE(pixels)                                             \
    case pixels:                                                              \
        FC_NAME(depthwise_outputs)(block, row, pixel, channel, pixels, lanes); \
        break;

/* All pixels of a vector of channels: rows that the next row of outputs sees too stay in L1. */
FC_INLINE void FC_NAME(depthwise_channels)(const fc_depthwise_block *block, ptrdiff_t channel, const int lanes)
{
    const ptrdiff_t parts = (block->pixels + FC_DEPTHWISE_PIXELS - 1) / FC_DEPTHWISE_PIXELS;
    for (ptrdiff_t row = 0; row < block->rows; row++)
        for (ptrdiff_t pixel = 0, part = 0; part < parts; part++) {
            const int pixels = (int)((block->pixels - pixel) / (parts - part));
            switch (pixels) {
                FC_CASES(FC_DEPTHWISE_PIXELS, FC_DEPTHWISE_CASE)
            }
            pixel += pixels;
        }
}
#undef FC_DEPTHWISE_CASE

static void FC_NAME(depthwise)(const fc_depthwise_block *block)
{
    const ptrdiff_t whole = block->channels / LANES * LANES;
    for (ptrdiff_t channel = 0; channel < whole; channel += LANES)
        FC_NAME(depthwise_channels)(block, channel, LANES);
    if (whole < block->channels)
        FC_NAME(depthwise_channels)(block, whole, (int)(block->channels - whole));
}

/* Taps [t, t + taps), or three times three neighbours, of some pixels. */
FC_INLINE void FC_NAME(depthwise_gradient_step)(const fc_depthwise_gradient *block, const real *x, const real *dy,
                                                const ptrdiff_t *offset, vec *sum, const int taps, const int neighbours,
                                                const int pixels, const int lanes)
{
    const int seen = neighbours ? pixels + 2 : pixels;
    vec gradient[FC_DEPTHWISE_STEPS];
    FC_UNROLL
    for (int j = 0; j < pixels; j++)
        gradient[j] = FC_NAME(depthwise_load)(dy + j * block->dy_pixel, lanes);
    FC_UNROLL
    for (int i = 0; i < taps; i += neighbours ? 3 : 1) {
        const real *from = x + offset[i];
        FC_UNROLL
        for (int j = 0; j < seen; j++) {
            const vec v = FC_NAME(depthwise_load)(from + j * block->x_pixel, lanes);
            if (j < pixels)
                sum[i] += gradient[j] * v;
            if (neighbours && j >= 1 && j <= pixels)
                sum[i + 1] += gradient[j - 1] * v;
            if (neighbours && j >= 2)
                sum[i + 2] += gradient[j - 2] * v;
        }
    }
}

/* Sums over a row. */
FC_INLINE void FC_NAME(depthwise_gradient_taps)(const fc_depthwise_gradient *block, ptrdiff_t row, ptrdiff_t channel, int t,
                                                const int taps, const int neighbours, const int lanes)
{
    const real *dy = (const real *)block->dy + row * block->dy_row + channel;
    const real *x = (const real *)block->x + row * block->x_row + channel;
    const ptrdiff_t *offset = block->x_offset + t;
    vec sum[FC_DEPTHWISE_TAPS];
    FC_UNROLL
    for (int i = 0; i < taps; i++)
        sum[i] = (vec){0};
    ptrdiff_t pixel = 0;
    for (; pixel + FC_DEPTHWISE_STEPS <= block->pixels; pixel += FC_DEPTHWISE_STEPS)
        FC_NAME(depthwise_gradient_step)(block, x + pixel * block->x_pixel, dy + pixel * block->dy_pixel, offset, sum, taps,
                                         neighbours, FC_DEPTHWISE_STEPS, lanes);
    for (; pixel < block->pixels; pixel++)
        FC_NAME(depthwise_gradient_step)(block, x + pixel * block->x_pixel, dy + pixel * block->dy_pixel, offset, sum, taps,
                                         neighbours, 1, lanes);
    FC_UNROLL
    for (int i = 0; i < taps; i++) {
        real *to = (real *)block->dw + block->weight_offset[t + i] + channel;
        FC_NAME(depthwise_store)(to, FC_NAME(depthwise_load)(to, lanes) + sum[i], lanes);
    }
}

#define FC_DEPTHWISE_CASE(taps)                                                   \
    case taps:                                                                    \
        FC_NAME(depthwise_gradient_taps)(block, row, channel, t, taps, 0, lanes); \
        break;

FC_INLINE void FC_NAME(depthwise_gradient_channels)(const fc_depthwise_gradient *block, ptrdiff_t channel, const int lanes)
{
    for (int t = 0; t < block->taps; t += FC_DEPTHWISE_TAPS) {
        int neighbours = block->taps - t >= FC_DEPTHWISE_TAPS;
        for (int i = 0; i < FC_DEPTHWISE_TAPS && neighbours; i += 3)
            neighbours = FC_NAME(depthwise_neighbours)(block->x_offset, t + i, block->taps, block->x_pixel);
        for (ptrdiff_t row = 0; row < block->rows; row++) {
            if (neighbours) {
                FC_NAME(depthwise_gradient_taps)(block, row, channel, t, FC_DEPTHWISE_TAPS, 1, lanes);
                continue;
            }
            switch (block->taps - t < FC_DEPTHWISE_TAPS ? block->taps - t : FC_DEPTHWISE_TAPS) {
                FC_CASES(FC_DEPTHWISE_TAPS, FC_DEPTHWISE_CASE)
            }
        }
    }
}
#undef FC_DEPTHWISE_CASE

static void FC_NAME(depthwise_gradient)(const fc_depthwise_gradient *block)
{
    const ptrdiff_t whole = block->channels / LANES * LANES;
    for (ptrdiff_t channel = 0; channel < whole; channel += LANES)
        FC_NAME(depthwise_gradient_channels)(block, channel, LANES);
    if (whole < block->channels)
        FC_NAME(depthwise_gradient_channels)(block, whole, (int)(block->channels - whole));
}
#undef FC_DEPTHWISE_PIXELS
#undef FC_DEPTHWISE_TAPS
#undef FC_DEPTHWISE_STEPS
