/* From convolutions to correlations: strides, taps and phases. */
#include "correlation.h"

#include <math.h>
#include <stdlib.h>

#include "blocking.h"

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

static fc_correlation common(const fc_conv *p, const fc_operands *operands)
{
    return (fc_correlation){
        .kernels = fc_kernels_for(p->dtype),
        .element = p->dtype == FC_F32 ? sizeof(float) : sizeof(double),
        .layout = p->layout,
        .order = p->layout == FC_NCHW ? FC_BY_CHANNEL : FC_BY_TAP,
        .n = p->n,
        .groups = p->groups,
        .weights = (char *)operands->w,
        .w_group = strides_of_weights(p).group,
        .bias = operands->bias,
        .relu = operands->relu,
        .held = operands->packed != NULL,
        .kernel_taps = p->kh * p->kw,
    };
}

static void set_views(fc_correlation *c, fc_view x, fc_view y)
{
    c->x = (char *)x.data, c->x_n = x.stride[0], c->x_c = x.stride[1], c->x_h = x.stride[2], c->x_w = x.stride[3];
    c->y = (char *)y.data, c->y_n = y.stride[0], c->y_c = y.stride[1], c->y_h = y.stride[2], c->y_w = y.stride[3];
}

static void whole_correlation(const fc_conv *p, const fc_operands *operands, fc_tap *tap, fc_correlation *out)
{
    const weight_strides ws = strides_of_weights(p);
    fc_correlation c = common(p, operands);
    set_views(&c, operands->x, operands->y);
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
 * the forward pass read pixel i*stride + phase through tap r for output (i*stride + phase + pad - r*dilation)/stride.
 * Every `period`-th tap reaches the same phase, so that each of the first `period` taps stands for a phase, and phases
 * that none reaches need not be looked at. */
static ptrdiff_t period(ptrdiff_t stride, ptrdiff_t dilation)
{
    ptrdiff_t a = stride, b = dilation;
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b, b = rest;
    }
    return stride / a;
}

static ptrdiff_t phase_of_tap(ptrdiff_t reach, ptrdiff_t pad, ptrdiff_t stride)
{
    const ptrdiff_t phase = (reach - pad) % stride;
    return phase < 0 ? phase + stride : phase;
}

static void phase_correlation(const fc_conv *p, ptrdiff_t first_r, ptrdiff_t first_s, const fc_operands *operands,
                              fc_tap *tap, fc_correlation *out)
{
    const weight_strides ws = strides_of_weights(p);
    const ptrdiff_t step_r = period(p->stride_h, p->dilation_h), step_s = period(p->stride_w, p->dilation_w);
    const ptrdiff_t phase_h = phase_of_tap(first_r * p->dilation_h, p->pad_top, p->stride_h);
    const ptrdiff_t phase_w = phase_of_tap(first_s * p->dilation_w, p->pad_left, p->stride_w);
    fc_correlation c = common(p, operands);
    *out = c;
    if (phase_h >= p->h || phase_w >= p->w)
        return;
    fc_view dx = operands->y;
    dx.data = fc_at(&c, dx.data, phase_h * dx.stride[2] + phase_w * dx.stride[3]);
    dx.stride[2] *= p->stride_h, dx.stride[3] *= p->stride_w;
    set_views(&c, operands->x, dx);
    c.m = p->c / p->groups, c.q = p->k / p->groups;
    c.w_m = ws.c, c.w_q = ws.k;
    c.h = p->oh, c.w = p->ow;
    c.oh = fc_ceil_div(p->h - phase_h, p->stride_h);
    c.ow = fc_ceil_div(p->w - phase_w, p->stride_w);
    c.stride_h = c.stride_w = 1;
    c.tap = tap;
    for (ptrdiff_t r = first_r; r < p->kh; r += step_r)
        for (ptrdiff_t s = first_s; s < p->kw; s += step_s)
            tap[c.taps++] = (fc_tap){(phase_h + p->pad_top - r * p->dilation_h) / p->stride_h,
                                     (phase_w + p->pad_left - s * p->dilation_w) / p->stride_w, r * ws.r + s * ws.s};
    *out = c;
}

static ptrdiff_t phases_h(const fc_conv *p) { return fc_min(p->kh, period(p->stride_h, p->dilation_h)); }
static ptrdiff_t phases_w(const fc_conv *p) { return fc_min(p->kw, period(p->stride_w, p->dilation_w)); }

/* A claimed size costs nothing, but a list of its taps does: this bounds it to 1.5 GiB. */
enum { MOST_TAPS = 1 << 26 };

fc_tap *fc_take_taps(const fc_conv *p)
{
    const ptrdiff_t taps = p->kh * p->kw;
    return taps > MOST_TAPS ? NULL : malloc((size_t)taps * sizeof(fc_tap));
}

ptrdiff_t fc_correlation_count(const fc_conv *p, fc_operation operation)
{
    return operation == FC_BACKWARD_INPUT ? phases_h(p) * phases_w(p) : 1;
}

/* Whether the first taps, one of each phase, reach as many phases as an axis of the image has. */
static int covers(ptrdiff_t taps, ptrdiff_t stride, ptrdiff_t dilation, ptrdiff_t pad, ptrdiff_t size)
{
    ptrdiff_t reached = 0;
    for (ptrdiff_t r = 0; r < taps; r++)
        reached += phase_of_tap(r * dilation, pad, stride) < size;
    return reached == fc_min(stride, size);
}

int fc_correlations_cover(const fc_conv *p, fc_operation operation)
{
    return operation != FC_BACKWARD_INPUT || (covers(phases_h(p), p->stride_h, p->dilation_h, p->pad_top, p->h) &&
                                              covers(phases_w(p), p->stride_w, p->dilation_w, p->pad_left, p->w));
}

/* Whether an image is one run of elements, in the order of its filters' weights. */
static int is_flat(const fc_conv *p, fc_view image)
{
    const fc_view dense = fc_dense_view(NULL, p->layout, p->c, p->h, p->w);
    const ptrdiff_t size[] = {1, p->c, p->h, p->w};
    for (int axis = 1; axis < 4; axis++)
        if (size[axis] > 1 && image.stride[axis] != dense.stride[axis])
            return 0;
    return 1;
}

/* Whether each filter is as large as its image: a fully connected layer. A bias of dx is of channels, not of elements.
 * Held weights are packed for images of all sizes: HWIO ones in another order than that of an image's elements. */
static int is_product(const fc_conv *p, fc_operation operation, const fc_operands *operands)
{
    const int forward = operation != FC_BACKWARD_INPUT;
    const fc_view image = forward ? operands->x : operands->y, pixel = forward ? operands->y : operands->x;
    return p->groups == 1 && p->oh == 1 && p->ow == 1 && p->kh == p->h && p->kw == p->w && p->pad_top == 0 &&
           p->pad_left == 0 && (p->kh == 1 || p->dilation_h == 1) && (p->kw == 1 || p->dilation_w == 1) &&
           (forward || !operands->bias || p->h * p->w == 1) && (p->k == 1 || pixel.stride[1] == 1) &&
           (p->layout == FC_NCHW || !operands->packed || p->h * p->w == 1) && is_flat(p, image);
}

/* As NHWC has it: one row of pixels, one for each image, whose channels are the elements of x or y. */
static void product_correlation(const fc_conv *p, fc_operation operation, const fc_operands *operands, fc_tap *tap,
                                fc_correlation *out)
{
    const ptrdiff_t elements = p->c * p->h * p->w;
    /* Where filters are rows of OIHW, dw is dy^T x rather than its transpose, so that lanes run along its rows. */
    const int oihw = p->layout == FC_NCHW, turned = oihw && operation == FC_BACKWARD_WEIGHT;
    const int reads_images = operation != FC_BACKWARD_INPUT && !turned;
    fc_view x = turned ? operands->y : operands->x, y = turned ? operands->x : operands->y;
    x.stride[1] = y.stride[1] = 1;
    x.stride[3] = x.stride[0], y.stride[3] = y.stride[0];
    x.stride[2] = x.stride[0] *= p->n, y.stride[2] = y.stride[0] *= p->n;
    fc_correlation c = common(p, operands);
    set_views(&c, x, y);
    c.layout = FC_NHWC;
    c.order = FC_BY_CHANNEL;
    c.n = c.h = c.oh = c.stride_h = c.stride_w = 1;
    c.w = c.ow = p->n;
    c.m = reads_images ? p->k : elements, c.q = reads_images ? elements : p->k;
    c.w_m = oihw == reads_images ? c.q : 1, c.w_q = oihw == reads_images ? 1 : c.m;
    c.taps = c.kernel_taps = 1, c.tap = tap;
    *tap = (fc_tap){0, 0, 0};
    *out = c;
}

void fc_correlation_of(const fc_conv *p, fc_operation operation, ptrdiff_t i, const fc_operands *operands,
                       const fc_conv_algorithm *algorithm, fc_tap *tap, fc_correlation *out)
{
    if (!algorithm->transforms && is_product(p, operation, operands)) {
        product_correlation(p, operation, operands, tap, out);
        out->taps = i == 0;
    } else if (operation == FC_BACKWARD_INPUT) {
        phase_correlation(p, i / phases_w(p), i % phases_w(p), operands, tap, out);
    } else {
        whole_correlation(p, operands, tap, out);
    }
    out->is_part = i > 0;
}

void fc_store_pixels(const fc_correlation *c, char *y, ptrdiff_t first, ptrdiff_t pixels, const char *from, ptrdiff_t ld,
                     ptrdiff_t channels)
{
    /* Rows that follow each other without a gap are one. */
    const ptrdiff_t row = c->y_h == c->ow * c->y_w ? c->oh * c->ow : c->ow;
    for (ptrdiff_t p = first, count; p < first + pixels; p += count) {
        count = fc_min(row - p % row, first + pixels - p);
        c->kernels->store_strided(fc_at(c, y, p / c->ow * c->y_h + p % c->ow * c->y_w), c->y_w, c->y_c,
                                  fc_at(c, from, (p - first) * ld), ld, count, channels);
    }
}

double fc_scatter_cycles(const fc_correlation *c)
{
    if (c->layout != FC_NCHW || c->y_w == 1)
        return 0;
    const double pixels = (double)(c->n * c->groups * c->m) * (double)(c->oh * c->ow);
    const double line = fmin((double)c->y_w * (double)c->element, 64);
    const double bytes = (double)c->n * (double)c->y_n * (double)c->element;
    const double pass = bytes > FC_FAR_BYTES ? FC_FAR_LINE_CYCLES : bytes > FC_L2_BYTES ? FC_NEAR_LINE_CYCLES : 0;
    const double collides = c->y_c * (ptrdiff_t)c->element % FC_COLLIDING_BYTES == 0 ? 1.5 : 0;
    return pixels * (1 + pass * line + collides);
}
