/* The life of one call: select, take a workspace, run every correlation in it, hand it back. */
#include <stdlib.h>
#include <string.h>

#include "packed.h"
#include "parallel.h"

/* What no tap reaches is the bias alone. */
static void fill_with_bias(const fc_correlation *c)
{
    const double zero = 0;
    for (ptrdiff_t n = 0; n < c->n; n++)
        for (ptrdiff_t k = 0; k < c->groups * c->m; k++)
            c->kernels->fill(fc_at(c, c->y, n * c->y_n + k * c->y_c), c->y_h, c->y_w, c->oh, c->ow,
                             c->bias ? fc_at(c, c->bias, k) : (const void *)&zero);
}

typedef struct {
    const fc_kernels *kernels;
    size_t element;
    ptrdiff_t channels, pixels, elements;  /* of a plane: a channel of an image, or with NHWC a row of pixels; of dx */
    int nhwc;
    char *dx;
    const char *bias;
} fill_job;

enum { FILLED = 1 << 14 };  /* elements of a task */

static void fill_zeros(void *context, ptrdiff_t task, int thread)
{
    const fill_job *job = context;
    const double zero = 0;
    const ptrdiff_t first = task * FILLED, count = fc_min(FILLED, job->elements - first);
    (void)thread;
    job->kernels->fill(job->dx + (size_t)first * job->element, count, 1, 1, count, &zero);
}

static void fill_plane(void *context, ptrdiff_t task, int thread)
{
    const fill_job *job = context;
    (void)thread;
    if (job->nhwc) {
        const size_t pixel = (size_t)job->channels * job->element;
        char *row = job->dx + (size_t)(task * job->pixels) * pixel;
        for (ptrdiff_t i = 0; i < job->pixels; i++)
            memcpy(row + (size_t)i * pixel, job->bias, pixel);
    } else {
        job->kernels->fill(job->dx + (size_t)(task * job->pixels) * job->element, job->pixels, 1, 1, job->pixels,
                           job->bias + (size_t)(task % job->channels) * job->element);
    }
}

/* Before the phases that taps reach are written. */
static void fill_input_gradient(const fc_conv *p, const fc_operands *operands, int threads)
{
    const int nhwc = p->layout == FC_NHWC;
    fill_job job = {
        .kernels = fc_kernels_for(p->dtype),
        .element = p->dtype == FC_F32 ? sizeof(float) : sizeof(double),
        .channels = p->c,
        .pixels = nhwc ? p->w : p->h * p->w,
        .elements = p->n * p->c * p->h * p->w,
        .nhwc = nhwc,
        .dx = (char *)operands->y.data,
        .bias = operands->bias,
    };
    const ptrdiff_t planes = p->n * (nhwc ? p->h : p->c), tasks = job.bias ? planes : fc_ceil_div(job.elements, FILLED);
    const double seconds = 1e-10 * (double)job.elements * (double)job.element;
    fc_parallel_for(fc_useful_threads(threads, tasks, seconds), tasks, job.bias ? fill_plane : fill_zeros, &job);
}

static fc_status run_correlation(const fc_conv *conv, fc_operation operation, const fc_operands *operands,
                                 const fc_correlation *c, const fc_conv_algorithm *algorithm, int threads)
{
    /* To plan takes a small layer as long as to begin: what the last call has left is mostly enough. */
    fc_workspace workspace = fc_workspace_kept();
    void *block = workspace.base;
    fc_drive(conv, operation, operands, c, algorithm, threads, &workspace);
    if (!workspace.base) {
        fc_workspace_release(block);
        block = fc_workspace_acquire(workspace.used);
        if (!block)
            return FC_NO_MEMORY;
        workspace = (fc_workspace){.base = block};
        fc_drive(conv, operation, operands, c, algorithm, threads, &workspace);
    }
    fc_workspace_release(block);
    return FC_OK;
}

/* The next row (column) from `i` on at which another set of taps finds something to read. */
static ptrdiff_t next_cut(const fc_correlation *c, ptrdiff_t i, int columns)
{
    const ptrdiff_t in = columns ? c->w : c->h;
    ptrdiff_t cut = columns ? c->ow : c->oh;
    for (ptrdiff_t t = 0; t < c->taps; t++) {
        const ptrdiff_t offset = columns ? c->tap[t].w : c->tap[t].h;
        if (-offset > i)
            cut = fc_min(cut, -offset);
        if (in - offset > i)
            cut = fc_min(cut, in - offset);
    }
    return cut;
}

/* A correlation with step 1 that leaves out what lies beyond the plane instead of reading zeros there: by rectangles of
 * y, each with the taps that find something to read. */
static fc_status run_without_padding(const fc_conv *conv, const fc_operands *operands, const fc_correlation *c, int threads)
{
    fc_tap *tap = malloc((size_t)c->taps * sizeof *tap);
    if (!tap)
        return FC_NO_MEMORY;
    fc_status status = FC_OK;
    for (ptrdiff_t i = 0, next_i; i < c->oh; i = next_i) {
        next_i = next_cut(c, i, 0);
        for (ptrdiff_t j = 0, next_j; j < c->ow && status == FC_OK; j = next_j) {
            next_j = next_cut(c, j, 1);
            fc_correlation part = *c;
            part.tap = tap, part.taps = 0;
            part.oh = next_i - i, part.ow = next_j - j;
            part.y = fc_at(c, c->y, i * c->y_h + j * c->y_w);
            for (ptrdiff_t t = 0; t < c->taps; t++) {
                const ptrdiff_t h = i + c->tap[t].h, w = j + c->tap[t].w;
                if (h >= 0 && h < c->h && w >= 0 && w < c->w)
                    tap[part.taps++] = (fc_tap){h, w, c->tap[t].weight};
            }
            if (part.taps) {
                part.is_part = 1;
                fc_choose_way(&part, &fc_algorithm_im2col, FC_BACKWARD_INPUT);
                status = run_correlation(conv, FC_BACKWARD_INPUT, operands, &part, &fc_algorithm_im2col, threads);
            } else {
                fill_with_bias(&part);
            }
        }
    }
    free(tap);
    return status;
}

/* The zeros around dy are the algorithms' own: no pixel of dx sees through them a weight that is not finite. Every
 * pixel met them all, so that the first of each channel tells whether there is such a weight. */
static int spreads_weights(const fc_correlation *c)
{
    if (c->taps == 1 && c->oh <= c->h && c->ow <= c->w && c->tap[0].h == 0 && c->tap[0].w == 0)
        return 0;
    int finite = 1;
    for (ptrdiff_t k = 0; k < c->groups * c->m && finite; k++)
        finite = __builtin_isfinite(c->kernels->sum(fc_at(c, c->y, k * c->y_c), 1));
    return !finite && !fc_weights_are_finite(c);
}

fc_status fc_run_operation(const fc_conv *conv, fc_operation operation, const char *algo, const fc_operands *operands,
                           int threads)
{
    fc_status status = fc_conv_check(conv);
    if (status != FC_OK)
        return status;
    fc_tap *tap = fc_take_taps(conv);
    if (!tap)
        return FC_NO_MEMORY;
    double seconds;
    const int held = operands->packed != NULL;
    const fc_conv_algorithm *algorithm = fc_select(conv, operation, algo, held, tap, &seconds);
    if (!algorithm)
        status = FC_CANNOT_SERVE;
    else if (!fc_correlations_cover(conv, operation))
        fill_input_gradient(conv, operands, threads);
    const ptrdiff_t count = fc_correlation_count(conv, operation);
    for (ptrdiff_t i = 0; i < count && status == FC_OK; i++) {
        fc_correlation c;
        fc_correlation_of(conv, operation, i, operands, algorithm, tap, &c);
        if (c.taps == 0)
            continue;
        fc_choose_way(&c, algorithm, operation);
        /* The first phase wakes the threads for all: a few share what would not pay for waking them in each. */
        const int useful = fc_useful_threads(threads, FC_MAX_THREADS, seconds / (double)fc_ceil_div(count, 4));
        if (c.way == FC_WHOLE_OPERATION) {
            const int all = fc_useful_threads(threads, FC_MAX_THREADS, seconds);
            status = run_correlation(conv, operation, operands, &c, algorithm, all);
            break;
        }
        if (held)
            status = fc_hold_weights(operands->packed, algorithm->packing(&c), &c, threads);
        if (status == FC_OK)
            status = run_correlation(conv, operation, operands, &c, algorithm, useful);
        if (status == FC_OK && operation == FC_BACKWARD_INPUT && spreads_weights(&c))
            status = run_without_padding(conv, operands, &c, useful);
    }
    free(tap);
    return status;
}
