/* Sizes: positive, in agreement with each other, and small enough to be addressed. */
#include "fastconv.h"

const char *fc_status_text(fc_status status)
{
    switch (status) {
    case FC_OK: return "ok";
    case FC_NO_MEMORY: return "scratch memory could not be allocated";
    case FC_OVERFLOW: return "the sizes are too large to be addressed";
    case FC_BAD_PROBLEM: return "the sizes contradict each other";
    case FC_CANNOT_SERVE: return "the algorithm cannot serve this problem";
    case FC_EMPTY_WINDOW: return "a pooling window holds no pixel: the padding and dilation step over the input";
    case FC_BAD_INDEX: return "an index lies outside its plane";
    }
    return "unknown status";
}

/* Headroom: scratch is at most a few times the size of an operand, and its size must be computable too. */
enum { HEADROOM = 64 };

/* Whether the product of `count` sizes, times the element size and the headroom, fits into ptrdiff_t. */
static int product_fits(const ptrdiff_t *size, int count)
{
    ptrdiff_t product = HEADROOM * (ptrdiff_t)sizeof(double);
    for (int i = 0; i < count; i++)
        if (__builtin_mul_overflow(product, size[i], &product))
            return 0;
    return 1;
}

/* One axis: the output must not reach beyond the padded input, except (pooling's ceil mode) by `overhang`. */
static fc_status check_axis(ptrdiff_t in, ptrdiff_t kernel, ptrdiff_t out, ptrdiff_t stride, ptrdiff_t dilation,
                            ptrdiff_t before, ptrdiff_t after, int ceil_mode)
{
    ptrdiff_t padded, span, reach;
    if (in < 1 || kernel < 1 || out < 1 || stride < 1 || dilation < 1 || before < 0 || after < 0)
        return FC_BAD_PROBLEM;
    if (__builtin_add_overflow(in, before, &padded) || __builtin_add_overflow(padded, after, &padded) ||
        __builtin_mul_overflow(kernel - 1, dilation, &span) || __builtin_add_overflow(span, 1, &span) ||
        __builtin_mul_overflow(out - 1, stride, &reach))
        return FC_OVERFLOW;
    if (padded > PTRDIFF_MAX / HEADROOM || span > PTRDIFF_MAX / HEADROOM || reach > PTRDIFF_MAX / HEADROOM ||
        stride > PTRDIFF_MAX / HEADROOM || dilation > PTRDIFF_MAX / HEADROOM)
        return FC_OVERFLOW;
    if (ceil_mode ? reach >= in + before : reach + span > padded)
        return FC_BAD_PROBLEM;
    return FC_OK;
}

/* Whether steps along the height count elements that fit: the padded input, a window, the way to the next tap or
 * window, each in rows of all channels. */
static int rows_fit(ptrdiff_t padded, ptrdiff_t taps, ptrdiff_t dilation, ptrdiff_t stride, ptrdiff_t w, ptrdiff_t c)
{
    const ptrdiff_t span = (taps - 1) * dilation + 1, step = stride > dilation ? stride : dilation;
    const ptrdiff_t far = span > step ? span : step, rows[] = {padded > far ? padded : far, w, c};
    return product_fits(rows, 3);
}

fc_status fc_conv_check(const fc_conv *p)
{
    if (p->n < 1 || p->c < 1 || p->k < 1 || p->groups < 1 || p->c % p->groups || p->k % p->groups)
        return FC_BAD_PROBLEM;
    fc_status status =
        check_axis(p->h, p->kh, p->oh, p->stride_h, p->dilation_h, p->pad_top, p->pad_bottom, 0);
    if (status == FC_OK)
        status = check_axis(p->w, p->kw, p->ow, p->stride_w, p->dilation_w, p->pad_left, p->pad_right, 0);
    if (status != FC_OK)
        return status;
    const ptrdiff_t x[] = {p->n, p->c, p->h, p->w}, y[] = {p->n, p->k, p->oh, p->ow};
    const ptrdiff_t w[] = {p->k, p->c / p->groups, p->kh, p->kw};
    if (!rows_fit(p->pad_top + p->h + p->pad_bottom, p->kh, p->dilation_h, p->stride_h, p->w, p->c))
        return FC_OVERFLOW;
    return product_fits(x, 4) && product_fits(y, 4) && product_fits(w, 4) ? FC_OK : FC_OVERFLOW;
}

/* Windows that begin in the padding must reach a pixel: with a dilation beyond the input they may step over it. */
static int windows_hold_pixels(ptrdiff_t in, ptrdiff_t kernel, ptrdiff_t out, ptrdiff_t stride, ptrdiff_t dilation,
                               ptrdiff_t before)
{
    if (before > (kernel - 1) * dilation)
        return 0;
    if (dilation <= in)
        return 1;
    /* Where windows begin modulo the dilation moves by a step, and leaves what the input covers after `in` windows. */
    const ptrdiff_t windows = stride % dilation == 0 ? 1 : out;
    for (ptrdiff_t i = 0; i < windows && i * stride < before; i++)
        if ((dilation - (before - i * stride) % dilation) % dilation >= in)
            return 0;
    return 1;
}

fc_status fc_pool_check(const fc_pool *p)
{
    if (p->n < 1 || p->c < 1)
        return FC_BAD_PROBLEM;
    fc_status status =
        check_axis(p->h, p->kh, p->oh, p->stride_h, p->dilation_h, p->pad_top, p->pad_bottom, 1);
    if (status == FC_OK)
        status = check_axis(p->w, p->kw, p->ow, p->stride_w, p->dilation_w, p->pad_left, p->pad_right, 1);
    if (status != FC_OK)
        return status;
    if (!windows_hold_pixels(p->h, p->kh, p->oh, p->stride_h, p->dilation_h, p->pad_top) ||
        !windows_hold_pixels(p->w, p->kw, p->ow, p->stride_w, p->dilation_w, p->pad_left))
        return FC_EMPTY_WINDOW;
    if (!rows_fit(p->pad_top + p->h + p->pad_bottom, p->kh, p->dilation_h, p->stride_h, p->w, p->c))
        return FC_OVERFLOW;
    const ptrdiff_t x[] = {p->n, p->c, p->h, p->w}, y[] = {p->n, p->c, p->oh, p->ow};
    return product_fits(x, 4) && product_fits(y, 4) ? FC_OK : FC_OVERFLOW;
}

fc_status fc_lrn_check(const fc_lrn *p)
{
    if (p->n < 1 || p->c < 1 || p->h < 1 || p->w < 1 || p->size < 1)
        return FC_BAD_PROBLEM;
    const ptrdiff_t x[] = {p->n, p->c, p->h, p->w};
    return product_fits(x, 4) ? FC_OK : FC_OVERFLOW;
}
