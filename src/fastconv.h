/* The C API of fastconv: problems, statuses and entry points.
 *
 * Every function is reentrant. Arrays that are written are C-contiguous in the problem's layout; activations that are
 * only read may have any strides as long as the innermost axis (W, or C with FC_NHWC) has unit stride. Weights are
 * OIHW, or HWIO with FC_NHWC. Strides and offsets count elements.
 */
#ifndef FASTCONV_H
#define FASTCONV_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    FC_OK = 0,
    FC_NO_MEMORY,      /* scratch could not be allocated */
    FC_OVERFLOW,       /* a product of sizes does not fit into an address */
    FC_BAD_PROBLEM,    /* sizes that contradict each other */
    FC_CANNOT_SERVE,   /* the named algorithm does not take this problem */
    FC_EMPTY_WINDOW,   /* a pooling window that no pixel lies in */
    FC_BAD_INDEX,      /* a max pooling index outside its plane */
} fc_status;

typedef enum { FC_F32, FC_F64 } fc_dtype;
typedef enum { FC_NCHW, FC_NHWC } fc_layout;
typedef enum { FC_FORWARD, FC_BACKWARD_INPUT, FC_BACKWARD_WEIGHT } fc_operation;

/* One 2-D convolution; y[n, k, i, j] = sum over c, r, s of
 * x[n, c, i*stride_h + r*dilation_h - pad_top, j*stride_w + s*dilation_w - pad_left] * w[k, c, r, s]. */
typedef struct {
    fc_dtype dtype;
    fc_layout layout;
    ptrdiff_t n, c, h, w;    /* input */
    ptrdiff_t k, kh, kw;     /* filters */
    ptrdiff_t oh, ow;        /* output */
    ptrdiff_t groups;
    ptrdiff_t stride_h, stride_w, dilation_h, dilation_w;
    ptrdiff_t pad_top, pad_bottom, pad_left, pad_right;
} fc_conv;

/* One 2-D pooling. Windows are clipped to the padded input (with ceil mode the last may reach beyond it). */
typedef struct {
    fc_dtype dtype;
    fc_layout layout;
    ptrdiff_t n, c, h, w;
    ptrdiff_t kh, kw, oh, ow;
    ptrdiff_t stride_h, stride_w, dilation_h, dilation_w;
    ptrdiff_t pad_top, pad_bottom, pad_left, pad_right;
} fc_pool;

/* Local response normalisation across channels: y = x / (k + alpha/size * sum of x^2 over `size` channels)^beta. */
typedef struct {
    fc_dtype dtype;
    fc_layout layout;
    ptrdiff_t n, c, h, w;
    ptrdiff_t size;
    double alpha, beta, k;
} fc_lrn;

/* An activation read in place; strides in the order n, c, h, w whatever the layout. */
typedef struct {
    const void *data;
    ptrdiff_t stride[4];
} fc_view;

/* One convolution's weights as its algorithms want them packed, each when first called for; opaque to callers. */
typedef struct fc_packed fc_packed;

/* What one algorithm says of one problem. */
typedef struct {
    const char *name, *variant;
    const char *reason;      /* why it ranks where it does, or why it cannot serve */
    int eligible;            /* 1, or 2 where the choice by cost may take it */
    size_t workspace;        /* bytes */
    double multiply_adds;
    double cost;             /* estimated seconds */
    double error_bound;      /* RMS error relative to the output's RMS, independent N(0,1) data */
} fc_algorithm_record;

enum { FC_ALGORITHM_COUNT = 8, FC_MAX_THREADS = 1024 };

const char *fc_status_text(fc_status status);

/* problem.c: sizes that are positive, agree with each other and fit into memory. */
fc_status fc_conv_check(const fc_conv *conv);
fc_status fc_pool_check(const fc_pool *pool);
fc_status fc_lrn_check(const fc_lrn *lrn);

/* conv_select.c: the ordered list of algorithms. `algo` is a variant from the list, or a name, or "auto"; of a name's
 * variants those within the error bound are taken, and all of "winograd-fast". "exact" is the choice of "auto" among
 * those that do not transform, "fast" that without a bound. */
fc_status fc_conv_algorithms(const fc_conv *conv, fc_operation operation, const char *algo, int threads,
                             fc_algorithm_record records[FC_ALGORITHM_COUNT]);
/* Why `algo` cannot serve the problem, for a message; NULL when it can. */
const char *fc_conv_refusal(const fc_conv *conv, fc_operation operation, const char *algo);

/* bias: k values or NULL; packed: from fc_packed_new, always with the same filters, or NULL to pack within the call. */
fc_status fc_conv_forward(const fc_conv *conv, const char *algo, fc_view x, const void *w, fc_packed *packed,
                          const void *bias, int relu, void *y, int threads);
/* bias: c values added to dx (the transposed convolution's), or NULL. */
fc_status fc_conv_backward_input(const fc_conv *conv, const char *algo, fc_view dy, const void *w, const void *bias,
                                 void *dx, int threads);
fc_status fc_conv_backward_weight(const fc_conv *conv, const char *algo, fc_view dy, fc_view x, void *dw, int threads);
fc_status fc_conv_backward_bias(const fc_conv *conv, fc_view dy, void *db, int threads);

/* Empty; NULL without memory. Calls from several threads may share it. */
fc_packed *fc_packed_new(void);
void fc_packed_free(fc_packed *packed);

/* index: y's shape in C order, offsets within each H x W plane; NULL when not wanted. */
fc_status fc_max_pool_forward(const fc_pool *pool, fc_view x, void *y, int64_t *index, int threads);
/* Uses `index` if given, else finds the maxima of x again. */
fc_status fc_max_pool_backward(const fc_pool *pool, fc_view dy, fc_view x, const int64_t *index, void *dx, int threads);
fc_status fc_avg_pool_forward(const fc_pool *pool, fc_view x, int count_include_pad, void *y, int threads);
fc_status fc_avg_pool_backward(const fc_pool *pool, fc_view dy, int count_include_pad, void *dx, int threads);

fc_status fc_lrn_forward(const fc_lrn *lrn, fc_view x, void *y, int threads);
fc_status fc_lrn_backward(const fc_lrn *lrn, fc_view dy, fc_view x, void *dx, int threads);

/* dispatch.c: instruction sets, narrowest first; names are static. */
int fc_isas_built(const char *names[4]);
int fc_isa_supported(const char *name);
const char *fc_isa(void);
/* Takes `name` and all narrower sets; FC_BAD_PROBLEM if this build or CPU does not have it. */
fc_status fc_set_isa(const char *name);

/* output_blocks.c: memory of large outputs, for NumPy to allocate arrays in; the caller holds the GIL. */
void *fc_output_take(size_t bytes);
void *fc_output_resize(void *block, size_t bytes);
void fc_output_give(void *block);

/* parallel.c */
int fc_openmp(void);
int fc_max_threads(void);

/* phase_clock.c: what the kernels of convolutions are for; Winograd's transforms pack and store. */
typedef enum { FC_PHASE_PACK, FC_PHASE_MULTIPLY, FC_PHASE_STORE, FC_PHASES } fc_phase;
/* From here on calls note how long their kernels run, all threads together; one caller at a time. */
void fc_phase_clock_start(void);
/* The sums by phase, and the time since the start, in ticks of the same clock. */
uint64_t fc_phase_clock_stop(uint64_t ticks[FC_PHASES]);

/* peak.c: GFLOP/s of an FMA loop on registers. */
double fc_peak_gflops(fc_dtype dtype, int threads);

#endif
