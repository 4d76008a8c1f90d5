/* Max pooling. A NaN wins; ties and NaNs go to the first element in row-major order; padding never wins. */
#include <string.h>

#include "parallel.h"
#include "pool_walk.h"

fc_status fc_max_pool_forward(const fc_pool *pool, fc_view x, void *y, int64_t *index, int threads)
{
    const fc_status status = fc_pool_check(pool);
    if (status != FC_OK)
        return status;
    /* Lanes hold the place of a maximum in its window. */
    ptrdiff_t span;
    if (index && (__builtin_mul_overflow((pool->kh - 1) * pool->dilation_h + 1, pool->w, &span) || span > INT32_MAX))
        return FC_OVERFLOW;
    fc_pool_pass pass = fc_pool_pass_of(pool);
    pass.x = x, pass.y = y, pass.index = index;
    pass.forward = index ? pass.kernels->pool_argmax : pass.kernels->pool_max;
    fc_pool_forward(&pass, threads);
    return FC_OK;
}

typedef struct {
    fc_pool_pass pass;
    fc_view dy;
    const int64_t *index;
    char *dx;
} scatter_job;

/* All rows of a block of planes, by the places that the caller gives. */
static void scatter_block(void *context, const fc_pool_block *block, int thread)
{
    const scatter_job *job = context;
    const fc_pool *p = job->pass.p;
    const ptrdiff_t element = (ptrdiff_t)job->pass.element, *dy = job->dy.stride;
    const int nhwc = p->layout == FC_NHWC;
    (void)thread;
    for (ptrdiff_t c = block->c; c < block->c + block->planes; c += nhwc ? block->planes : 1) {
        char *dx = job->dx + (nhwc ? block->n * p->h * p->w * p->c + c : (block->n * p->c + c) * p->h * p->w) * element;
        const size_t run = (size_t)((nhwc ? block->planes : p->h * p->w) * element);
        for (ptrdiff_t i = 0; i < (nhwc ? p->h * p->w : 1); i++)
            memset(dx + i * p->c * element, 0, run);
        for (ptrdiff_t i = 0; i < p->oh; i++)
            for (ptrdiff_t j = 0; j < (nhwc ? p->ow : 1); j++) {
                const char *from =
                    (const char *)job->dy.data + (block->n * dy[0] + c * dy[1] + i * dy[2] + j * dy[3]) * element;
                if (nhwc)
                    job->pass.kernels->pool_scatter(dx, p->c, 1, from, dy[1],
                                                    job->index + ((block->n * p->oh + i) * p->ow + j) * p->c + c,
                                                    block->planes);
                else
                    job->pass.kernels->pool_scatter(dx, 1, 0, from, dy[3],
                                                    job->index + ((block->n * p->c + c) * p->oh + i) * p->ow, p->ow);
            }
    }
}

static fc_status scatter(const fc_pool *pool, fc_view dy, const int64_t *index, void *dx, int threads)
{
    const ptrdiff_t outputs = pool->n * pool->c * pool->oh * pool->ow;
    for (ptrdiff_t i = 0; i < outputs; i++)
        if (index[i] < 0 || index[i] >= pool->h * pool->w)
            return FC_BAD_INDEX;
    scatter_job job = {fc_pool_pass_of(pool), dy, index, dx};
    threads = fc_useful_threads(threads, pool->n * pool->c, 2 * fc_pool_seconds(pool));
    fc_pool_grid grid = fc_pool_grid_of(pool, 1, 2 * pool->h * pool->w * (ptrdiff_t)job.pass.element, threads);
    grid.visit = scatter_block;
    grid.context = &job;
    fc_pool_run(&grid, threads);
    return FC_OK;
}

/* One window a plane: what it leaves alone is nearly all of dx. */
static fc_status find_and_scatter(const fc_pool *pool, fc_view dy, fc_view x, void *dx, int threads)
{
    const size_t outputs = (size_t)(pool->n * pool->c);
    fc_workspace sizes = {0};
    fc_take(&sizes, outputs * sizeof(int64_t));
    const size_t index_bytes = sizes.used;
    fc_take(&sizes, outputs * sizeof(double));
    char *scratch = fc_workspace_acquire(sizes.used);
    if (!scratch)
        return FC_NO_MEMORY;
    fc_status status = fc_max_pool_forward(pool, x, scratch + index_bytes, (int64_t *)(void *)scratch, threads);
    if (status == FC_OK)
        status = scatter(pool, dy, (const int64_t *)(void *)scratch, dx, threads);
    fc_workspace_release(scratch);
    return status;
}

fc_status fc_max_pool_backward(const fc_pool *pool, fc_view dy, fc_view x, const int64_t *index, void *dx, int threads)
{
    const fc_status status = fc_pool_check(pool);
    if (status != FC_OK)
        return status;
    if (index)
        return scatter(pool, dy, index, dx, threads);
    if (pool->oh == 1 && pool->ow == 1)
        return find_and_scatter(pool, dy, x, dx, threads);
    fc_pool_pass pass = fc_pool_pass_of(pool);
    pass.x = x, pass.dy = dy;
    return fc_pool_max_backward_serves(&pass) ? fc_pool_max_backward_run(&pass, dx, threads)
                                              : fc_pool_backward(&pass, dx, threads);
}
