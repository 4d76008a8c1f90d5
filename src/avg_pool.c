/* Average pooling. The divisor counts the taps inside the padded input, or inside the input alone. */
#include "pool_walk.h"

/* The pass with its divisors, in a block of scratch that the caller hands back; NULL if there is none. */
static double *count(fc_pool_pass *pass, int count_include_pad)
{
    const fc_pool *p = pass->p;
    double *counted = fc_workspace_acquire((size_t)(p->oh + p->ow) * sizeof(double));
    if (counted) {
        fc_pool_count(p, count_include_pad, counted, counted + p->oh);
        pass->counted_h = counted;
        pass->counted_w = counted + p->oh;
    }
    return counted;
}

fc_status fc_avg_pool_forward(const fc_pool *pool, fc_view x, int count_include_pad, void *y, int threads)
{
    const fc_status status = fc_pool_check(pool);
    if (status != FC_OK)
        return status;
    fc_pool_pass pass = fc_pool_pass_of(pool);
    pass.x = x, pass.y = y;
    double *counted = count(&pass, count_include_pad);
    if (!counted)
        return FC_NO_MEMORY;
    pass.forward = pass.kernels->pool_mean;
    fc_pool_forward(&pass, threads);
    fc_workspace_release(counted);
    return FC_OK;
}

fc_status fc_avg_pool_backward(const fc_pool *pool, fc_view dy, int count_include_pad, void *dx, int threads)
{
    fc_status status = fc_pool_check(pool);
    if (status != FC_OK)
        return status;
    fc_pool_pass pass = fc_pool_pass_of(pool);
    double *counted = count(&pass, count_include_pad);
    if (!counted)
        return FC_NO_MEMORY;
    pass.dy = dy;
    status = fc_pool_backward(&pass, dx, threads);
    fc_workspace_release(counted);
    return status;
}
