/* The input gradient, and with a bias the transposed convolution: one correlation for each phase of dx modulo the
 * stride (correlation.h), so that nothing is scattered. */
#include "correlation.h"

fc_status fc_conv_backward_input(const fc_conv *conv, const char *algo, fc_view dy, const void *w, const void *bias,
                                 void *dx, int threads)
{
    const fc_operands operands = {
        .x = dy,
        .w = w,
        .y = fc_dense_view(dx, conv->layout, conv->c, conv->h, conv->w),
        .bias = bias,
    };
    return fc_run_operation(conv, FC_BACKWARD_INPUT, algo, &operands, threads);
}
