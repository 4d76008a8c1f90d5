/* The forward pass. */
#include "correlation.h"

fc_status fc_conv_forward(const fc_conv *conv, const char *algo, fc_view x, const void *w, fc_packed *packed,
                          const void *bias, int relu, void *y, int threads)
{
    const fc_operands operands = {
        .x = x,
        .w = w,
        .y = fc_dense_view(y, conv->layout, conv->k, conv->oh, conv->ow),
        .bias = bias,
        .relu = relu,
        .packed = packed,
    };
    return fc_run_operation(conv, FC_FORWARD, algo, &operands, threads);
}
