/* Gradient of max pooling over small windows of neighbours in NCHW planes, in one pass over x, dy and dx. */
#include "blocking.h"
#include "pool_walk.h"

typedef struct {
    const fc_pool_pass *pass;
    fc_pool_max_backward planes;  /* what blocks have in common */
    char *dx, *scratch;
    size_t scratch_bytes;
} backward_job;

static ptrdiff_t strips_of(const fc_pool *p, ptrdiff_t lanes)
{
    return (p->w - 1 + p->pad_left) / p->stride_w / lanes + 1;
}

static size_t scratch_of(ptrdiff_t strips, size_t vector_bytes)
{
    fc_workspace sizes = {0};
    const size_t shared = FC_POOL_SHARED_ROWS * FC_POOL_SHARED_VECTORS * vector_bytes;
    fc_take(&sizes, (size_t)strips * (shared + FC_POOL_EDGE_BYTES));
    return sizes.used;
}

int fc_pool_max_backward_serves(const fc_pool_pass *pass)
{
    const fc_pool *p = pass->p;
    const ptrdiff_t lanes = pass->kernels->lanes;
    return fc_pool_of_neighbours(pass) &&
           scratch_of(strips_of(p, lanes), (size_t)lanes * pass->element) <= FC_POOL_SHARED_BYTES;
}

static void backward_block(void *context, const fc_pool_block *block, int thread)
{
    const backward_job *job = context;
    const fc_pool *p = job->pass->p;
    const ptrdiff_t element = (ptrdiff_t)job->pass->element;
    const fc_view *x = &job->pass->x, *dy = &job->pass->dy;
    fc_pool_max_backward planes = job->planes;
    planes.count = block->planes;
    planes.pair = planes.pair && block->planes > 1;
    planes.row = block->row;
    planes.row_end = block->row_end;
    planes.x = (const char *)x->data + (block->n * x->stride[0] + block->c * x->stride[1]) * element;
    planes.dy = (const char *)dy->data + (block->n * dy->stride[0] + block->c * dy->stride[1]) * element;
    planes.dx = job->dx + (block->n * p->c + block->c) * p->h * p->w * element;
    planes.scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    job->pass->kernels->pool_max_backward(&planes);
}

fc_status fc_pool_max_backward_run(const fc_pool_pass *pass, void *dx, int threads)
{
    const fc_pool *p = pass->p;
    const ptrdiff_t lanes = pass->kernels->lanes, strips = strips_of(p, lanes);
    backward_job job = {
        .pass = pass,
        .planes =
            {
                .taps = (int)p->kw,
                .stride = (int)p->stride_w,
                .pair = fc_pool_pairs(pass) && (p->w - 1 + p->pad_left) / p->stride_w < lanes / 2,
                .strips = strips,
                .height = p->h,
                .width = p->w,
                .out_height = p->oh,
                .out_width = p->ow,
                .pad_top = p->pad_top,
                .pad_left = p->pad_left,
                .x_row = pass->x.stride[2],
                .x_next = pass->x.stride[1],
                .dy_row = pass->dy.stride[2],
                .dy_next = pass->dy.stride[1],
                .dx_next = p->h * p->w,
            },
        .dx = dx,
        .scratch_bytes = scratch_of(strips, (size_t)lanes * pass->element),
    };
    fc_pool_grid grid = fc_pool_backward_grid(pass, backward_block, &job, &threads);
    fc_pool_in_order(&grid);
    job.scratch_bytes = fc_scratch_step(job.scratch_bytes, threads);
    job.scratch = fc_workspace_acquire((size_t)threads * job.scratch_bytes);
    if (!job.scratch)
        return FC_NO_MEMORY;
    fc_pool_run(&grid, threads);
    fc_workspace_release(job.scratch);
    return FC_OK;
}
