/* The life of one call: select, measure the workspace, take it, run every correlation, hand it back. */
#include <stdlib.h>

#include "packed.h"
#include "parallel.h"

/* A phase that no tap reaches is the bias alone. */
static void fill_with_bias(const fc_correlation *c)
{
    const double zero = 0;
    for (ptrdiff_t n = 0; n < c->n; n++)
        for (ptrdiff_t k = 0; k < c->groups * c->m; k++)
            c->kernels->fill(fc_at(c, c->y, n * c->y_n + k * c->y_c), c->y_h, c->y_w, c->oh, c->ow,
                             c->bias ? fc_at(c, c->bias, k) : (const void *)&zero);
}

static fc_status run_correlation(const fc_correlation *c, fc_operation operation, const fc_conv_algorithm *algorithm,
                                 int threads)
{
    if (c->taps == 0) {
        fill_with_bias(c);
        return FC_OK;
    }
    void (*run)(const fc_correlation *, int, fc_workspace *) =
        operation == FC_BACKWARD_WEIGHT ? algorithm->correlate_weights : algorithm->correlate;
    fc_workspace workspace = {0};
    run(c, threads, &workspace);
    void *block = fc_workspace_acquire(workspace.used);
    if (!block)
        return FC_NO_MEMORY;
    workspace = (fc_workspace){.base = block};
    run(c, threads, &workspace);
    fc_workspace_release(block);
    return FC_OK;
}

fc_status fc_run_operation(const fc_conv *conv, fc_operation operation, const char *algo, const fc_operands *operands,
                           int threads)
{
    fc_status status = fc_conv_check(conv);
    if (status != FC_OK)
        return status;
    fc_tap *tap = malloc((size_t)(conv->kh * conv->kw) * sizeof *tap);
    if (!tap)
        return FC_NO_MEMORY;
    double seconds;
    const int held = operands->packed != NULL;
    const fc_conv_algorithm *algorithm = fc_select(conv, operation, algo, held, tap, &seconds);
    if (!algorithm)
        status = FC_CANNOT_SERVE;
    const ptrdiff_t count = fc_correlation_count(conv, operation);
    for (ptrdiff_t i = 0; i < count && status == FC_OK; i++) {
        fc_correlation c;
        fc_correlation_of(conv, operation, i, operands->x, operands->w, operands->y, tap, &c);
        c.bias = operands->bias;
        c.relu = operands->relu;
        c.held = held;
        if (held)
            status = fc_hold_weights(operands->packed, algorithm->packing(&c), &c, threads);
        if (status == FC_OK)
            status = run_correlation(&c, operation, algorithm,
                                     fc_useful_threads(threads, FC_MAX_THREADS, seconds / (double)count));
    }
    free(tap);
    return status;
}
