/* The one problem that every convolution is reduced to.
 *
 * y[n, g, m, i, j] = epilogue(sum over q, t of w[g, m, q, t] * x[n, g, q, i*stride_h + tap[t].h, j*stride_w +
 * tap[t].w])
 *
 * with x zero outside its plane. The forward pass is one such correlation. The input gradient is one for each phase of
 * dx modulo the stride: the taps that reach a phase are its own, and within it the step is 1. The weight gradient is
 * the same map with dw, instead of y, as what is written. Layout is nothing but strides.
 */
#ifndef FC_CORRELATION_H
#define FC_CORRELATION_H

#include "dispatch.h"
#include "integers.h"
#include "workspace.h"

typedef struct {
    ptrdiff_t h, w;    /* where the tap reads x, relative to (i*stride_h, j*stride_w) */
    ptrdiff_t weight;  /* its offset in w */
} fc_tap;

/* The order of the reduction's steps, (channel, tap) pairs: channel by channel as OIHW has them, or tap by tap as HWIO
 * has them. */
typedef enum { FC_BY_CHANNEL, FC_BY_TAP } fc_step_order;

/* The axis of y that vector lanes run along: the algorithm's choice, mostly the one with unit stride. */
typedef enum { FC_LANES_PIXELS, FC_LANES_CHANNELS } fc_lanes;

typedef struct {
    const fc_kernels *kernels;
    size_t element;               /* bytes */
    fc_layout layout;             /* which axis of x and y has unit stride */
    fc_step_order order;
    ptrdiff_t n, groups, m, q;    /* m outputs and q reduced channels a group */
    ptrdiff_t h, w;               /* the plane that is read */
    ptrdiff_t oh, ow;             /* the lattice of y */
    ptrdiff_t stride_h, stride_w;
    ptrdiff_t taps;
    fc_tap *tap;
    ptrdiff_t kernel_taps;        /* of the convolution's kernel, of which a phase has some */

    char *x, *weights, *y;
    ptrdiff_t x_n, x_c, x_h, x_w;
    ptrdiff_t w_group, w_m, w_q;
    ptrdiff_t y_n, y_c, y_h, y_w;
    const char *bias;             /* one value an output channel, or NULL */
    int relu;
    int held;                     /* weights are packed before the call, which does not pay for it */
    const char *packed;           /* the held ones, as the algorithm's packing has them; or NULL */
    int way;                      /* of the algorithm's ways, the one that it has chosen */
    int is_part;                  /* of an operation of which others have run: it chooses for itself alone */
} fc_correlation;

static inline char *fc_at(const fc_correlation *c, const void *base, ptrdiff_t elements)
{
    return (char *)base + elements * (ptrdiff_t)c->element;
}

/* All weights, or all of a gradient: an array without gaps in either layout. */
static inline int fc_weights_are_finite(const fc_correlation *c)
{
    return __builtin_isfinite(c->kernels->sum(c->weights, c->groups * c->m * c->q * c->kernel_taps));
}

/* Offsets of every taps-th of some steps, channel by channel: one tap in channels that lie `plane` apart. */
static inline void fc_offsets_of_tap(const fc_correlation *c, ptrdiff_t *offset, ptrdiff_t steps, ptrdiff_t first,
                                     ptrdiff_t plane)
{
    const ptrdiff_t taps = c->taps;
    for (ptrdiff_t r = 0; r < steps; r += taps, first += plane)
        offset[r] = first;
}

/* What an operation reads and writes: `x` is what it reads (dy for the input gradient), `y` what it writes (y, dx; dy
 * for the weight gradient, which writes `w`). `bias` and `relu` belong to what is written. */
typedef struct {
    fc_view x, y;
    const void *w, *bias;
    int relu;
    fc_packed *packed;
} fc_operands;

/* correlation.c: how many correlations an operation is. */
ptrdiff_t fc_correlation_count(const fc_conv *conv, fc_operation operation);
/* Whether they write all of it, or leave out phases of an input gradient that no tap reaches. */
int fc_correlations_cover(const fc_conv *conv, fc_operation operation);
/* Room for the taps of a convolution; NULL if there is none. */
fc_tap *fc_take_taps(const fc_conv *conv);
fc_view fc_dense_view(const void *data, fc_layout layout, ptrdiff_t c, ptrdiff_t h, ptrdiff_t w);

/* How an algorithm packs weights that are held for later calls. */
typedef struct {
    size_t (*bytes)(const fc_correlation *c);
    void (*pack)(const fc_correlation *c, int threads, char *packed);
} fc_packing;

/* One algorithm: what it refuses, what it needs, what it costs, and its two kernels' drivers, which lay out the workspace
 * themselves. conv_select.c orders them. */
typedef struct {
    const char *name, *variant, *rank;
    int transforms;  /* sums something else than the products themselves: "auto" takes it in float32 where allowed */
    double error;    /* for such: RMS error, in units of the dtype's rounding unit */
    const char *(*refuses)(const fc_correlation *c, fc_operation operation);  /* NULL, or why it cannot serve */
    double (*cycles)(const fc_correlation *c, fc_operation operation);        /* of one thread */
    /* Of several ways the cheapest, for c->way; or NULL. */
    int (*choose)(const fc_correlation *c, fc_operation operation);
    void (*correlate)(const fc_correlation *c, int threads, fc_workspace *workspace);
    /* In the place of `correlate`, of the way FC_WHOLE_OPERATION. */
    void (*operate)(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                    fc_workspace *workspace);
    void (*correlate_weights)(const fc_correlation *c, int threads, fc_workspace *workspace);
    const fc_packing *(*packing)(const fc_correlation *c);
} fc_conv_algorithm;

/* A way that takes all correlations of an operation at once: the first one's choice. */
enum { FC_WHOLE_OPERATION = 16 };

/* To be asked once a correlation, before it runs or packs: to estimate takes a small layer longer than to begin. */
static inline void fc_choose_way(fc_correlation *c, const fc_conv_algorithm *algorithm, fc_operation operation)
{
    c->way = algorithm->choose && operation != FC_BACKWARD_WEIGHT ? algorithm->choose(c, operation) : 0;
}

/* Runs a correlation, or the operation that it stands for, in the way that it has chosen. */
static inline void fc_drive(const fc_conv *conv, fc_operation operation, const fc_operands *operands,
                            const fc_correlation *c, const fc_conv_algorithm *algorithm, int threads,
                            fc_workspace *workspace)
{
    if (operation == FC_BACKWARD_WEIGHT)
        algorithm->correlate_weights(c, threads, workspace);
    else if (c->way == FC_WHOLE_OPERATION)
        algorithm->operate(conv, operation, operands, threads, workspace);
    else
        algorithm->correlate(c, threads, workspace);
}

extern const fc_conv_algorithm fc_algorithm_direct, fc_algorithm_im2col;
extern const fc_conv_algorithm fc_algorithm_winograd_2_3, fc_algorithm_winograd_4_3, fc_algorithm_winograd_6_3;
extern const fc_conv_algorithm fc_algorithm_winograd_2_5, fc_algorithm_winograd_3_5, fc_algorithm_winograd_4_5;

/* What a variant says of a problem that is another variant's of the same name. */
extern const char fc_other_variant[];

/* correlation.c: the i-th correlation of an operation, as the algorithm takes it: one that transforms wants windows even
 * where a kernel is as large as its image. No taps where an input gradient's phase lies beyond the image, or where an
 * earlier one has done all. `tap` has room for kh * kw. */
void fc_correlation_of(const fc_conv *conv, fc_operation operation, ptrdiff_t i, const fc_operands *operands,
                       const fc_conv_algorithm *algorithm, fc_tap *tap, fc_correlation *out);

/* Pixels [first, first + pixels) of an image's lattice, of each `channels` side by side and `ld` from one to the next, to
 * where y has them; `y` is the first channel's plane. */
void fc_store_pixels(const fc_correlation *c, char *y, ptrdiff_t first, ptrdiff_t pixels, const char *from, ptrdiff_t ld,
                     ptrdiff_t channels);

/* What pixels of y that lie apart take to store, as those of an input gradient's phase do: one by one, in lines that the
 * other phases come back to. Of NHWC vectors are stored. */
double fc_scatter_cycles(const fc_correlation *c);

/* conv_select.c: the named algorithm, or the cheapest for "auto", of weights that are held or not; NULL when the named
 * one refuses or is unknown. `seconds` is the estimate on one thread. */
const fc_conv_algorithm *fc_select(const fc_conv *conv, fc_operation operation, const char *algo, int held,
                                   fc_tap *tap, double *seconds);

/* conv_run.c: the whole operation. */
fc_status fc_run_operation(const fc_conv *conv, fc_operation operation, const char *algo, const fc_operands *operands,
                           int threads);

#endif
