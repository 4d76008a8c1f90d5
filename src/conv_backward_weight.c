/* The gradients of the weights and of the bias. */
#include "blocking.h"
#include "correlation.h"
#include "parallel.h"

fc_status fc_conv_backward_weight(const fc_conv *conv, const char *algo, fc_view dy, fc_view x, void *dw, int threads)
{
    const fc_operands operands = {.x = x, .w = dw, .y = dy};
    return fc_run_operation(conv, FC_BACKWARD_WEIGHT, algo, &operands, threads);
}

/* Rows of pixels whose sums are kept apart before they are added: bounds the length of a rounding chain. */
enum { BIAS_ROWS = 256 };

typedef struct {
    const fc_conv *conv;
    const fc_kernels *kernels;
    size_t element;
    fc_view dy;
    void *db;
    char *rows;  /* NHWC: one row of k sums for each block of pixels */
} bias_job;

static const char *at(const bias_job *job, const void *base, ptrdiff_t elements)
{
    return (const char *)base + elements * (ptrdiff_t)job->element;
}

static void bias_of_channel(void *context, ptrdiff_t k, int thread)
{
    const bias_job *job = context;
    const fc_conv *p = job->conv;
    const ptrdiff_t *stride = job->dy.stride;
    (void)thread;
    const int dense = stride[2] == p->ow;
    double total = 0;
    for (ptrdiff_t n = 0; n < p->n; n++)
        for (ptrdiff_t i = 0; i < (dense ? 1 : p->oh); i++)
            total += job->kernels->sum(at(job, job->dy.data, n * stride[0] + k * stride[1] + i * stride[2]),
                                       dense ? p->oh * p->ow : p->ow);
    if (p->dtype == FC_F32)
        ((float *)job->db)[k] = (float)total;
    else
        ((double *)job->db)[k] = total;
}

/* NHWC: the sums of one row of pixels, lanes along channels. */
static void bias_of_row(void *context, ptrdiff_t row, int thread)
{
    const bias_job *job = context;
    const fc_conv *p = job->conv;
    const ptrdiff_t *stride = job->dy.stride;
    (void)thread;
    job->kernels->sum_partials((char *)at(job, job->rows, row * p->k),
                               at(job, job->dy.data, row / p->oh * stride[0] + row % p->oh * stride[2]), stride[3],
                               p->ow, p->k, 0);
}

fc_status fc_conv_backward_bias(const fc_conv *conv, fc_view dy, void *db, int threads)
{
    const fc_status status = fc_conv_check(conv);
    if (status != FC_OK)
        return status;
    bias_job job = {
        .conv = conv,
        .kernels = fc_kernels_for(conv->dtype),
        .element = conv->dtype == FC_F32 ? sizeof(float) : sizeof(double),
        .dy = dy,
        .db = db,
    };
    const double seconds = 1e-10 * (double)(conv->n * conv->k) * (double)(conv->oh * conv->ow);
    if (conv->layout == FC_NCHW) {
        fc_parallel_for(fc_useful_threads(threads, conv->k, seconds), conv->k, bias_of_channel, &job);
        return FC_OK;
    }
    ptrdiff_t rows = conv->n * conv->oh;
    const size_t row_bytes = (size_t)conv->k * job.element;
    job.rows = fc_workspace_acquire((size_t)rows * row_bytes);
    if (!job.rows)
        return FC_NO_MEMORY;
    fc_parallel_for(fc_useful_threads(threads, rows, seconds), rows, bias_of_row, &job);
    /* Rows of sums are added by blocks, in place, until one is left. */
    while (rows > 1) {
        const ptrdiff_t blocks = fc_ceil_div(rows, BIAS_ROWS);
        for (ptrdiff_t b = 0; b < blocks; b++) {
            const ptrdiff_t first = b * BIAS_ROWS;
            job.kernels->sum_partials(blocks == 1 ? (char *)db : (char *)at(&job, job.rows, b * conv->k),
                                      at(&job, job.rows, first * conv->k), conv->k, fc_min(BIAS_ROWS, rows - first),
                                      conv->k, 0);
        }
        rows = blocks;
    }
    if (conv->n * conv->oh == 1)
        job.kernels->sum_partials(db, job.rows, conv->k, 1, conv->k, 0);
    fc_workspace_release(job.rows);
    return FC_OK;
}
