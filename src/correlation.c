/* From convolutions to correlations: strides, taps and phases. */
#include "correlation.h"

fc_view fc_dense_view(const void *data, fc_layout layout, ptrdiff_t c, ptrdiff_t h, ptrdiff_t w)
{
    if (layout == FC_NCHW)
        return (fc_view){data, {c * h * w, h * w, w, 1}};
    return (fc_view){data, {h * w * c, 1, w * c, c}};
}

/* Where weight (k, c, r, s) of one group lies. */
typedef struct {
    ptrdiff_t group, k, c, r, s;
} weight_strides;

static weight_strides strides_of_weights(const fc_conv *p)
{
    const ptrdiff_t c = p->c / p->groups, k = p->k / p->groups;
    if (p->layout == FC_NCHW)
        return (weight_strides){k * c * p->kh * p->kw, c * p->kh * p->kw, p->kh * p->kw, p->kw, 1};
    return (weight_strides){k, 1, p->k, p->kw * c * p->k, c * p->k};
}

static fc_correlation common(const fc_conv *p, const void *w)
{
    return (fc_correlation){
        .kernels = fc_kernels_for(p->dtype),
        .element = p->dtype == FC_F32 ? sizeof(float) : sizeof(double),
        .layout = p->layout,
        .order = p->layout == FC_NCHW ? FC_BY_CHANNEL : FC_BY_TAP,
        .n = p->n,
        .groups = p->groups,
        .weights = (char *)w,
        .w_group = strides_of_weights(p).group,
    };
}

static void set_views(fc_correlation *c, fc_view x, fc_view y)
{
    c->x = (char *)x.data, c->x_n = x.stride[0], c->x_c = x.stride[1], c->x_h = x.stride[2], c->x_w = x.stride[3];
    c->y = (char *)y.data, c->y_n = y.stride[0], c->y_c = y.stride[1], c->y_h = y.stride[2], c->y_w = y.stride[3];
}

static void whole_correlation(const fc_conv *p, fc_view x, const void *w, fc_view y, fc_tap *tap, fc_correlation *out)
{
    const weight_strides ws = strides_of_weights(p);
    fc_correlation c = common(p, w);
    set_views(&c, x, y);
    c.m = p->k / p->groups, c.q = p->c / p->groups;
    c.w_m = ws.k, c.w_q = ws.c;
    c.h = p->h, c.w = p->w, c.oh = p->oh, c.ow = p->ow;
    c.stride_h = p->stride_h, c.stride_w = p->stride_w;
    c.tap = tap;
    for (ptrdiff_t r = 0; r < p->kh; r++)
        for (ptrdiff_t s = 0; s < p->kw; s++)
            tap[c.taps++] = (fc_tap){r * p->dilation_h - p->pad_top, s * p->dilation_w - p->pad_left,
                                     r * ws.r + s * ws.s};
    *out = c;
}

/* dx[i*stride + phase] gathers dy[i + offset] over the taps r with r*dilation = phase + pad (mod stride):
 * the forward pass read pixel i*stride + phase through tap r for output (i*stride + phase + pad - r*dilation)/stride. */
static int tap_reaches(ptrdiff_t phase, ptrdiff_t pad, ptrdiff_t reach, ptrdiff_t stride, ptrdiff_t *offset)
{
    const ptrdiff_t distance = phase + pad - reach;
    *offset = distance / stride;
    return distance % stride == 0;
}

static void phase_correlation(const fc_conv *p, ptrdiff_t phase_h, ptrdiff_t phase_w, fc_view dy, const void *w,
                              fc_view dx, fc_tap *tap, fc_correlation *out)
{
    const weight_strides ws = strides_of_weights(p);
    fc_correlation c = common(p, w);
    dx.data = fc_at(&c, dx.data, phase_h * dx.stride[2] + phase_w * dx.stride[3]);
    dx.stride[2] *= p->stride_h, dx.stride[3] *= p->stride_w;
    set_views(&c, dy, dx);
    c.m = p->c / p->groups, c.q = p->k / p->groups;
    c.w_m = ws.c, c.w_q = ws.k;
    c.h = p->oh, c.w = p->ow;
    c.oh = fc_ceil_div(p->h - phase_h, p->stride_h);
    c.ow = fc_ceil_div(p->w - phase_w, p->stride_w);
    c.stride_h = c.stride_w = 1;
    c.tap = tap;
    ptrdiff_t h, x;
    for (ptrdiff_t r = 0; r < p->kh; r++)
        if (tap_reaches(phase_h, p->pad_top, r * p->dilation_h, p->stride_h, &h))
            for (ptrdiff_t s = 0; s < p->kw; s++)
                if (tap_reaches(phase_w, p->pad_left, s * p->dilation_w, p->stride_w, &x))
                    tap[c.taps++] = (fc_tap){h, x, r * ws.r + s * ws.s};
    *out = c;
}

ptrdiff_t fc_correlation_count(const fc_conv *p, fc_operation operation)
{
    if (operation != FC_BACKWARD_INPUT)
        return 1;
    /* Phases beyond the image hold no pixel. */
    return fc_min(p->stride_h, p->h) * fc_min(p->stride_w, p->w);
}

void fc_correlation_of(const fc_conv *p, fc_operation operation, ptrdiff_t i, fc_view x, const void *w, fc_view y,
                       fc_tap *tap, fc_correlation *out)
{
    const ptrdiff_t phases_w = fc_min(p->stride_w, p->w);
    if (operation == FC_BACKWARD_INPUT)
        phase_correlation(p, i / phases_w, i % phases_w, x, w, y, tap, out);
    else
        whole_correlation(p, x, w, y, tap, out);
}
