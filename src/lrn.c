/* Local response normalisation across channels (Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep
 * Convolutional Neural Networks", 2012, section 3.3), by blocks of pixels with all their channels in L2. */
#include "blocking.h"
#include "correlation.h"
#include "parallel.h"

/* A block of pixels with all its channels, times the arrays a pass holds, should stay in L2. */
enum { BLOCK_BYTES = 64 << 10, VECTOR_PIXELS = 16, MOST_PIXELS = 1024, ARRAYS = 5 };

typedef struct {
    const fc_lrn *p;
    const fc_kernels *kernels;
    size_t element;
    fc_view x, dy, out;
    int backward;
    ptrdiff_t pixels, blocks;  /* of an image */
    char *scratch;
    size_t plane_bytes, scratch_bytes;
} lrn_job;

/* The arrays of one block: channel by channel, `pixels` elements apart. */
typedef struct {
    char *x, *dy, *power, *scale, *ratio;
} lrn_block;

static char *at(const lrn_job *job, const void *base, ptrdiff_t elements)
{
    return (char *)base + elements * (ptrdiff_t)job->element;
}

/* Moves `count` pixels from `first` of image n between an array and a block, by runs within a row. */
static void move_pixels(const lrn_job *job, fc_view view, ptrdiff_t n, ptrdiff_t first, ptrdiff_t count, char *block,
                        int store)
{
    const fc_lrn *p = job->p;
    const ptrdiff_t *s = view.stride;
    for (ptrdiff_t i = 0; i < count;) {
        const ptrdiff_t h = (first + i) / p->w, w = (first + i) % p->w, run = fc_min(count - i, p->w - w);
        char *outside = at(job, view.data, n * s[0] + h * s[2] + w * s[3]), *inside = at(job, block, i);
        if (store)
            job->kernels->store_strided(outside, s[1], s[3], inside, job->pixels, p->c, run);
        else if (p->layout == FC_NCHW)
            job->kernels->store_strided(inside, job->pixels, 1, outside, s[1], p->c, run);
        else
            job->kernels->store_strided(inside, 1, job->pixels, outside, s[3], run, p->c);
        i += run;
    }
}

/* The channels whose window a channel's sum runs over: [c - before, c + after]. */
static ptrdiff_t window(const fc_lrn *p, ptrdiff_t c, ptrdiff_t before, ptrdiff_t after, ptrdiff_t *count)
{
    const ptrdiff_t first = c < before ? 0 : c - before;
    *count = (p->c - 1 - c < after ? p->c - 1 : c + after) - first + 1;
    return first;
}

static void lrn_task(void *context, ptrdiff_t task, int thread)
{
    const lrn_job *job = context;
    const fc_lrn *p = job->p;
    const fc_kernels *kernels = job->kernels;
    const ptrdiff_t n = task / job->blocks, first = task % job->blocks * job->pixels;
    const ptrdiff_t count = fc_min(job->pixels, p->h * p->w - first);
    char *scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    const lrn_block block = {scratch, scratch + job->plane_bytes, scratch + 2 * job->plane_bytes,
                             scratch + 3 * job->plane_bytes, scratch + 4 * job->plane_bytes};
    /* An even size looks one channel further back than ahead, as PyTorch's does. */
    const ptrdiff_t before = p->size / 2, after = (p->size - 1) / 2;
    const double alpha_over_size = p->alpha / (double)p->size;
    move_pixels(job, job->x, n, first, count, block.x, 0);
    for (ptrdiff_t c = 0; c < p->c; c++) {
        ptrdiff_t channels;
        const ptrdiff_t low = window(p, c, before, after, &channels), row = c * job->pixels;
        kernels->lrn_scale(at(job, block.scale, row), at(job, block.x, low * job->pixels), job->pixels, channels, count,
                           p->k, alpha_over_size);
        kernels->lrn_power(at(job, block.power, row), at(job, block.scale, row), count, p->beta);
        if (!job->backward)
            kernels->lrn_multiply(at(job, block.dy, row), at(job, block.x, row), at(job, block.power, row), count);
    }
    if (!job->backward) {
        move_pixels(job, job->out, n, first, count, block.dy, 1);
        return;
    }
    move_pixels(job, job->dy, n, first, count, block.dy, 0);
    for (ptrdiff_t c = 0; c < p->c; c++) {
        const ptrdiff_t row = c * job->pixels;
        kernels->lrn_ratio(at(job, block.ratio, row), at(job, block.dy, row), at(job, block.x, row),
                           at(job, block.power, row), at(job, block.scale, row), count);
    }
    for (ptrdiff_t c = 0; c < p->c; c++) {
        /* The channels that see c: the window turned round. */
        ptrdiff_t channels;
        const ptrdiff_t low = window(p, c, after, before, &channels), row = c * job->pixels;
        kernels->lrn_gradient(at(job, block.scale, row), at(job, block.dy, row), at(job, block.x, row),
                              at(job, block.power, row), at(job, block.ratio, low * job->pixels), job->pixels, channels,
                              count, 2 * alpha_over_size * p->beta);
    }
    move_pixels(job, job->out, n, first, count, block.scale, 1);
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
    /* Whole vectors of pixels, as long as their channels fit into a thread's scratch. */
    const ptrdiff_t fitting = BLOCK_BYTES / (ptrdiff_t)job.element / lrn->c / VECTOR_PIXELS * VECTOR_PIXELS;
    const ptrdiff_t most = fc_max(1, FC_SCRATCH_LIMIT / ARRAYS / (ptrdiff_t)job.element / lrn->c);
    job.pixels = fc_min(fc_min(lrn->h * lrn->w, most), fc_min(MOST_PIXELS, fc_max(VECTOR_PIXELS, fitting)));
    job.blocks = fc_ceil_div(lrn->h * lrn->w, job.pixels);
    const ptrdiff_t tasks = lrn->n * job.blocks;
    const double seconds = 2e-9 * (double)(lrn->n * lrn->c) * (double)(lrn->h * lrn->w);
    threads = fc_useful_threads(threads, tasks, seconds);
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(lrn->c * job.pixels) * job.element);
    job.plane_bytes = sizes.used;
    job.scratch_bytes = ARRAYS * job.plane_bytes;
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
