/* Depthwise convolution of NCHW on small planes, and its gradients: blocks of channels are turned to NHWC in L2, where lanes
 * run along them (conv_direct_depthwise.c), and what comes out is turned back.
 *
 * A row of 7 or 14 pixels leaves vectors of pixels half empty, and one of dx with a stride lies apart. All correlations of an
 * operation write into one block, so that its planes are turned once and whole.
 */
#include <math.h>
#include <string.h>

#include "blocking.h"
#include "conv_direct.h"
#include "im2col.h"
#include "parallel.h"

/* Vectors of channels whose planes share a part of L2: some, for a block has its rectangles listed once for all. */
static ptrdiff_t most_vectors(const fc_kernels *kernels, size_t element, double pixels)
{
    const double fitting = FC_TURNED_BYTES / (pixels * (double)kernels->lanes * (double)element);
    return (ptrdiff_t)fmax(0, fmin(FC_TURNED_VECTORS, fitting));
}

/* Blocks of whole vectors, the last the largest: it is never one channel alone, which would be another problem. */
typedef struct {
    ptrdiff_t channels, lanes, vectors, count, widest;
} channel_blocks;

static channel_blocks blocks_of(ptrdiff_t channels, const fc_kernels *kernels, ptrdiff_t most, ptrdiff_t wanted)
{
    channel_blocks b = {.channels = channels, .lanes = kernels->lanes, .vectors = fc_ceil_div(channels, kernels->lanes)};
    b.count = fc_min(fc_max(1, channels / b.lanes), fc_max(wanted, fc_ceil_div(b.vectors, most)));
    b.widest = fc_ceil_div(b.vectors, b.count) * b.lanes;
    return b;
}

static ptrdiff_t first_channel(const channel_blocks *b, ptrdiff_t block)
{
    return fc_min(b->channels, (b->vectors - fc_part(b->vectors, b->count, b->count - block)) * b->lanes);
}

typedef struct {
    const fc_conv *conv;
    fc_operation operation;
    const fc_operands *operands;
    const fc_kernels *kernels;
    size_t element;
    channel_blocks blocks;
    ptrdiff_t in_h, in_w, out_pixels;
    int covers;                /* correlations write all of dx */
    int threads;
    size_t in_bytes, out_bytes, task_bytes, scratch_bytes;
    char *weights;             /* tap by tap, for each block of channels */
    char *scratch;
} turned_job;

/* What the list of rectangles takes (conv_direct_depthwise.c). */
static size_t list_bytes(ptrdiff_t taps) { return 4 * ((size_t)taps * sizeof(fc_tap) + 64); }

static void lay_out(turned_job *job, int threads, fc_workspace *workspace)
{
    const fc_conv *p = job->conv;
    const int backward = job->operation == FC_BACKWARD_INPUT;
    job->kernels = fc_kernels_for(p->dtype);
    job->element = p->dtype == FC_F32 ? sizeof(float) : sizeof(double);
    job->in_h = backward ? p->oh : p->h, job->in_w = backward ? p->ow : p->w;
    job->out_pixels = backward ? p->h * p->w : p->oh * p->ow;
    job->covers = fc_correlations_cover(p, job->operation);
    const double pixels = (double)(job->in_h * job->in_w + job->out_pixels);
    job->blocks = blocks_of(p->c, job->kernels, most_vectors(job->kernels, job->element, pixels),
                            threads > 1 ? fc_ceil_div(4 * threads, p->n) : 1);
    job->threads = (int)fc_min(threads, p->n * job->blocks.count);
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(job->in_h * job->in_w * job->blocks.widest) * job->element);
    job->in_bytes = sizes.used;
    fc_take(&sizes, (size_t)(job->out_pixels * job->blocks.widest) * job->element);
    job->out_bytes = sizes.used - job->in_bytes;
    job->task_bytes = list_bytes(p->kh * p->kw);
    fc_take(&sizes, job->task_bytes);
    fc_take(&sizes, (size_t)(p->kh * p->kw) * sizeof(fc_tap));
    job->scratch_bytes = sizes.used;
    job->weights = fc_take(workspace, (size_t)(p->c * p->kh * p->kw) * job->element);
    job->scratch = fc_take_scratch(workspace, job->threads, &job->scratch_bytes);
}

static void turn_weights(const turned_job *job)
{
    const fc_conv *p = job->conv;
    const ptrdiff_t taps = p->kh * p->kw;
    for (ptrdiff_t block = 0; block < job->blocks.count; block++) {
        const ptrdiff_t first = first_channel(&job->blocks, block), channels = first_channel(&job->blocks, block + 1) - first;
        const size_t begin = (size_t)(first * taps) * job->element;
        job->kernels->pack_strided(job->weights + begin, 1, channels, (const char *)job->operands->w + begin, taps, channels,
                                   taps);
    }
}

/* Planes of a vector of channels at a time; rows that follow each other as one. */
static void turn_in(const fc_kernels *kernels, ptrdiff_t element, const char *planes, const ptrdiff_t stride[4], ptrdiff_t h,
                    ptrdiff_t w, ptrdiff_t channels, char *to)
{
    const int dense = stride[2] == w || h == 1;
    const ptrdiff_t rows = dense ? 1 : h, columns = dense ? h * w : w, lanes = kernels->lanes;
    for (ptrdiff_t channel = 0; channel < channels; channel += lanes)
        for (ptrdiff_t row = 0; row < rows; row++)
            kernels->pack_strided(to + (channel + row * columns * channels) * element, 1, channels,
                                  planes + (channel * stride[1] + row * stride[2]) * element, stride[1],
                                  fc_min(lanes, channels - channel), columns);
}

static void fill(const turned_job *job, const char *bias, ptrdiff_t channels, char *out)
{
    const size_t bytes = (size_t)channels * job->element;
    for (ptrdiff_t i = 0; i < job->out_pixels; i++)
        if (bias)
            memcpy(out + (size_t)i * bytes, bias, bytes);
        else
            memset(out + (size_t)i * bytes, 0, bytes);
}

static void turned_task(void *context, ptrdiff_t task, int thread)
{
    const turned_job *job = context;
    const fc_operands *operands = job->operands;
    const ptrdiff_t element = (ptrdiff_t)job->element, n = task / job->blocks.count, block = task % job->blocks.count;
    const ptrdiff_t first = first_channel(&job->blocks, block), channels = first_channel(&job->blocks, block + 1) - first;
    char *in = job->scratch + (size_t)thread * job->scratch_bytes, *out = in + job->in_bytes;
    char *rest = out + job->out_bytes;
    fc_tap *tap = (fc_tap *)(void *)(rest + job->task_bytes);
    fc_conv conv = *job->conv;
    conv.layout = FC_NHWC;
    conv.n = 1;
    conv.c = conv.k = conv.groups = channels;
    const fc_operands turned = {
        .x = fc_dense_view(in, FC_NHWC, channels, job->in_h, job->in_w),
        .y = fc_dense_view(out, FC_NHWC, channels, job->operation == FC_BACKWARD_INPUT ? conv.h : conv.oh,
                           job->operation == FC_BACKWARD_INPUT ? conv.w : conv.ow),
        .w = job->weights + first * conv.kh * conv.kw * element,
        .bias = operands->bias ? (const char *)operands->bias + first * element : NULL,
        .relu = operands->relu,
    };
    const fc_view *x = &operands->x;
    turn_in(job->kernels, element, (const char *)x->data + (n * x->stride[0] + first * x->stride[1]) * element, x->stride,
            job->in_h, job->in_w, channels, in);
    if (!job->covers)
        fill(job, turned.bias, channels, out);
    const ptrdiff_t count = fc_correlation_count(&conv, job->operation);
    for (ptrdiff_t i = 0; i < count; i++) {
        fc_correlation c;
        fc_correlation_of(&conv, job->operation, i, &turned, &fc_algorithm_direct, tap, &c);
        if (c.taps) {
            fc_workspace own = {.base = rest};
            fc_direct_depthwise_correlate(&c, 1, &own);
        }
    }
    const ptrdiff_t *stride = operands->y.stride;
    job->kernels->store_strided((char *)operands->y.data + (n * stride[0] + first * stride[1]) * element, 1, stride[1], out,
                                channels, job->out_pixels, channels);
}

void fc_turned_operate(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                       fc_workspace *workspace)
{
    turned_job job = {.conv = conv, .operation = operation, .operands = operands};
    lay_out(&job, threads, workspace);
    if (!workspace->base)
        return;
    turn_weights(&job);
    fc_parallel_for(job.threads, conv->n * job.blocks.count, turned_task, &job);
}

/* The weight gradient: chunks of images, which the problem alone decides, and blocks of channels; what the images of a chunk
 * give is added up in their order. */
typedef struct {
    const fc_correlation *c;
    channel_blocks blocks;
    ptrdiff_t chunks;
    size_t x_bytes, dy_bytes, scratch_bytes;
    char *partial;  /* for each chunk and block, tap by tap */
    char *scratch;
} gradient_job;

static char *partial_of(const gradient_job *job, ptrdiff_t chunk, ptrdiff_t first)
{
    return fc_at(job->c, job->partial, (chunk * job->c->groups + first) * job->c->taps);
}

static void gradient_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t chunk = task / job->blocks.count, block = task % job->blocks.count, element = (ptrdiff_t)c->element;
    const ptrdiff_t first = first_channel(&job->blocks, block), channels = first_channel(&job->blocks, block + 1) - first;
    char *x = job->scratch + (size_t)thread * job->scratch_bytes, *dy = x + job->x_bytes, *rest = dy + job->dy_bytes;
    fc_correlation turned = *c;
    turned.layout = FC_NHWC;
    turned.n = 1, turned.groups = channels;
    turned.x = x, turned.x_c = 1, turned.x_w = channels, turned.x_h = c->w * channels;
    turned.y = dy, turned.y_c = 1, turned.y_w = channels, turned.y_h = c->ow * channels;
    turned.tap = (fc_tap *)(void *)(rest + list_bytes(c->taps));
    for (ptrdiff_t t = 0; t < c->taps; t++)
        turned.tap[t] = (fc_tap){c->tap[t].h, c->tap[t].w, t * channels};
    char *sum = partial_of(job, chunk, first);
    memset(sum, 0, (size_t)(channels * c->taps) * c->element);
    const ptrdiff_t x_stride[] = {c->x_n, c->x_c, c->x_h, c->x_w}, dy_stride[] = {c->y_n, c->y_c, c->y_h, c->y_w};
    for (ptrdiff_t n = fc_part(c->n, job->chunks, chunk); n < fc_part(c->n, job->chunks, chunk + 1); n++) {
        turn_in(c->kernels, element, fc_at(c, c->x, n * c->x_n + first * c->x_c), x_stride, c->h, c->w, channels, x);
        turn_in(c->kernels, element, fc_at(c, c->y, n * c->y_n + first * c->y_c), dy_stride, c->oh, c->ow, channels, dy);
        fc_workspace own = {.base = rest};
        fc_depthwise_add_gradient(&turned, sum, &own);
    }
}

void fc_turned_sum_gradients(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    gradient_job job = {.c = c};
    const ptrdiff_t vectors = fc_ceil_div(c->groups, c->kernels->lanes);
    const double pixels = (double)(c->h * c->w + c->oh * c->ow);
    job.chunks = fc_min(c->n, fc_ceil_div(FC_DEPTHWISE_CHUNKS, vectors));
    job.blocks = blocks_of(c->groups, c->kernels, most_vectors(c->kernels, c->element, pixels),
                           threads > 1 ? fc_ceil_div(4 * threads, job.chunks) : 1);
    const size_t pixel = (size_t)job.blocks.widest * c->element;
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(c->h * c->w) * pixel);
    job.x_bytes = sizes.used;
    fc_take(&sizes, (size_t)(c->oh * c->ow) * pixel);
    job.dy_bytes = sizes.used - job.x_bytes;
    fc_take(&sizes, list_bytes(c->taps) + (size_t)c->taps * sizeof(fc_tap));
    job.scratch_bytes = sizes.used;
    const ptrdiff_t tasks = job.chunks * job.blocks.count, count = c->groups * c->taps;
    threads = (int)fc_min(threads, tasks);
    job.partial = fc_take(workspace, (size_t)(job.chunks * count) * c->element);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    fc_parallel_for(threads, tasks, gradient_task, &job);
    c->kernels->sum_partials(job.partial, job.partial, count, job.chunks, count, 0);
    for (ptrdiff_t block = 0; block < job.blocks.count; block++) {
        const ptrdiff_t first = first_channel(&job.blocks, block), channels = first_channel(&job.blocks, block + 1) - first;
        c->kernels->store_strided(fc_at(c, c->weights, first * c->w_group), 1, c->w_group, partial_of(&job, 0, first), channels,
                                  c->taps, channels);
    }
}

/* Pixels of a plane in and out. Of an input gradient's phase, planes are what lies between channels of dx; a view of dy says
 * less of its planes, or more. */
static double planes_of(const fc_correlation *c)
{
    return (double)(c->h * c->w) + (double)fc_max(c->oh * c->ow, c->y_c);
}

int fc_serves_turned(const fc_correlation *c)
{
    return c->layout == FC_NCHW && c->groups > 1 && c->m == 1 && c->q == 1 && c->x_w == 1 &&
           most_vectors(c->kernels, c->element, planes_of(c)) >= 1 && list_bytes(c->w_group) <= FC_TURNED_BYTES;
}

/* A vector of pixels is turned with its channels by shuffles, unless planes so far apart share the lines of an L1; taps meet
 * them as with NHWC; and rectangles are listed for each block. Fits to 15 problems. */
double fc_turned_cycles(const fc_correlation *c, fc_operation operation)
{
    const double lanes = (double)c->kernels->lanes, vectors = ceil((double)c->groups / lanes), taps = (double)c->taps;
    const double in = (double)(c->h * c->w), out = (double)(c->oh * c->ow);
    const ptrdiff_t element = (ptrdiff_t)c->element;
    const int collide = c->x_c * element % FC_COLLIDING_BYTES == 0 || c->y_c * element % FC_COLLIDING_BYTES == 0;
    const double turned = (collide ? 1.4 : 0.36) * lanes * (in + out);
    const double tap = operation == FC_BACKWARD_WEIGHT && c->taps % 9 != 0 ? 1.75 : 1.1;
    const double most = (double)most_vectors(c->kernels, c->element, planes_of(c));
    return 3000 + (double)(c->groups * c->taps) +
           (double)c->n * (vectors * (turned + out * tap * taps) + ceil(vectors / most) * 400 * taps);
}
