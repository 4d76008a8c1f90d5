/* Local response normalisation across channels (Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep
 * Convolutional Neural Networks", 2012, section 3.3): each task takes some pixels of an image with all their channels. */
#include "correlation.h"
#include "parallel.h"

typedef struct {
    const fc_lrn *p;
    const fc_kernels *kernels;
    size_t element;
    fc_view x, dy, out;
    int backward;
    ptrdiff_t runs, run;      /* of an image: pixels that lie one after the other in all arrays, in rows or all together */
    ptrdiff_t pixels, parts;  /* of a run that are a task */
    char *scratch;
    size_t scratch_bytes;
} lrn_job;

static char *at(const lrn_job *job, fc_view view, ptrdiff_t n, ptrdiff_t h, ptrdiff_t w)
{
    const ptrdiff_t elements = n * view.stride[0] + h * view.stride[2] + w * view.stride[3];
    return (char *)view.data + elements * (ptrdiff_t)job->element;
}

static void lrn_task(void *context, ptrdiff_t task, int thread)
{
    const lrn_job *job = context;
    const fc_lrn *p = job->p;
    const ptrdiff_t part = task % job->parts, h = task / job->parts % job->runs, n = task / job->parts / job->runs;
    const ptrdiff_t w = part * job->pixels;
    /* An even size looks one channel further back than ahead, as PyTorch's does; no window is wider than all channels. */
    const fc_lrn_block block = {
        .channels = p->c,
        .pixels = fc_min(job->pixels, job->run - w),
        .planes = p->layout == FC_NCHW,
        .x = at(job, job->x, n, h, w),
        .dy = job->backward ? at(job, job->dy, n, h, w) : NULL,
        .out = at(job, job->out, n, h, w),
        .x_channel = job->x.stride[1],
        .x_pixel = job->x.stride[3],
        .dy_channel = job->dy.stride[1],
        .dy_pixel = job->dy.stride[3],
        .out_channel = job->out.stride[1],
        .out_pixel = job->out.stride[3],
        .before = fc_min(p->size / 2, p->c - 1),
        .after = fc_min((p->size - 1) / 2, p->c - 1),
        .alpha_over_size = p->alpha / (double)p->size,
        .beta = p->beta,
        .k = p->k,
        .scratch = job->scratch + (size_t)thread * job->scratch_bytes,
    };
    job->kernels->lrn(&block);
}

static fc_status run(const fc_lrn *lrn, fc_view dy, fc_view x, void *out, int backward, int threads)
{
    const fc_status status = fc_lrn_check(lrn);
    if (status != FC_OK)
        return status;
    lrn_job job = {
        .p = lrn,
        .kernels = fc_kernels_for(lrn->dtype),
        .element = lrn->dtype == FC_F32 ? sizeof(float) : sizeof(double),
        .x = x,
        .dy = dy,
        .out = fc_dense_view(out, lrn->layout, lrn->c, lrn->h, lrn->w),
        .backward = backward,
    };
    /* A row of one pixel may have any stride between pixels; planes count on one. */
    const int planes = lrn->layout == FC_NCHW;
    const int whole = x.stride[2] == lrn->w * (planes ? 1 : x.stride[3]) &&
                      dy.stride[2] == lrn->w * (planes ? 1 : dy.stride[3]);
    job.runs = whole ? 1 : lrn->h;
    job.run = whole ? lrn->h * lrn->w : lrn->w;
    const ptrdiff_t lanes = job.kernels->lanes, group = FC_LRN_VECTORS * lanes;
    const double seconds = (backward ? 1e-9 : 0.4e-9) * (double)(lrn->n * lrn->c) * (double)(lrn->h * lrn->w);
    threads = fc_useful_threads(threads, lrn->n * lrn->h * lrn->w, seconds);
    /* A few tasks a thread, of whole groups of pixels. */
    const ptrdiff_t wanted = threads == 1 ? 1 : fc_ceil_div(8 * (ptrdiff_t)threads, lrn->n * job.runs);
    job.pixels = fc_ceil_div(fc_ceil_div(job.run, wanted), group) * group;
    job.parts = fc_ceil_div(job.run, job.pixels);
    const ptrdiff_t tasks = lrn->n * job.runs * job.parts;
    threads = (int)fc_min(threads, tasks);
    const ptrdiff_t window = fc_min(lrn->size, 2 * lrn->c);
    const ptrdiff_t scratch = !planes ? 2 * (lrn->c + 2 * window + lanes) : backward ? lrn->c * group : 0;
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)scratch * job.element);
    job.scratch_bytes = fc_scratch_step(sizes.used, threads);
    job.scratch = fc_workspace_acquire((size_t)threads * job.scratch_bytes);
    if (!job.scratch)
        return FC_NO_MEMORY;
    fc_parallel_for(threads, tasks, lrn_task, &job);
    fc_workspace_release(job.scratch);
    return FC_OK;
}

fc_status fc_lrn_forward(const fc_lrn *lrn, fc_view x, void *y, int threads)
{
    return run(lrn, x, x, y, 0, threads);
}

fc_status fc_lrn_backward(const fc_lrn *lrn, fc_view dy, fc_view x, void *dx, int threads)
{
    return run(lrn, dy, x, dx, 1, threads);
}
