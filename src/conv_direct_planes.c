/* Grouped convolution of NHWC with few channels a group, and its gradients: blocks of groups are turned to NCHW in L2, where
 * lanes run along pixels, and what comes out is turned back.
 *
 * Lanes along the channels of a group of 4 leave a vector of 16 three quarters empty. (conv_direct_turned.c goes the other
 * way: lanes along channels for depthwise NCHW.)
 */
#include <math.h>

#include "blocking.h"
#include "conv_direct.h"
#include "parallel.h"

enum { MOST_TAPS = 256, FEWEST_TASKS = 4, WANTED_TASKS = 8 };

/* One side of a group: its channels, and the planes that they become, some lines apart: neighbours do not share the sets of
 * a cache. */
typedef struct {
    ptrdiff_t channels, h, w, plane;
} side;

static side side_of(ptrdiff_t channels, ptrdiff_t h, ptrdiff_t w, size_t element)
{
    const ptrdiff_t line = (ptrdiff_t)(64 / element);
    return (side){channels, h, w, (fc_ceil_div(h * w, line) | 1) * line};
}

/* Groups of a task: their channels fill whole vectors on both sides, unless that leaves too few tasks. Of the problem alone. */
typedef struct {
    ptrdiff_t groups, block, blocks;
} group_blocks;

static group_blocks blocks_of(ptrdiff_t groups, ptrdiff_t images, const side *in, const side *out, ptrdiff_t lanes,
                              size_t element)
{
    const ptrdiff_t whole = fc_ceil_div(lanes, fc_min(in->channels, out->channels));
    const ptrdiff_t bytes = (in->channels * in->plane + out->channels * out->plane) * (ptrdiff_t)element * whole;
    const ptrdiff_t vectors = fc_min(FC_TURNED_BYTES / bytes, groups / fc_ceil_div(WANTED_TASKS, images) / whole);
    const ptrdiff_t most = fc_max(1, groups / fc_ceil_div(FEWEST_TASKS, images));
    group_blocks b = {groups, .block = fc_min(most, whole * fc_max(1, vectors))};
    b.blocks = fc_ceil_div(groups, b.block);
    return b;
}

static ptrdiff_t groups_of(const group_blocks *b, ptrdiff_t block)
{
    return fc_min(b->block, b->groups - block * b->block);
}

static void turn_in(const fc_kernels *kernels, ptrdiff_t element, const char *pixel, const ptrdiff_t stride[4], const side *s,
                    ptrdiff_t groups, char *to)
{
    const int dense = stride[2] == s->w * stride[3] || s->h == 1;
    const ptrdiff_t rows = dense ? 1 : s->h, columns = dense ? s->h * s->w : s->w;
    for (ptrdiff_t row = 0; row < rows; row++)
        kernels->pack_strided(to + row * columns * element, 1, s->plane, pixel + row * stride[2] * element, stride[3], columns,
                              groups * s->channels);
}

typedef struct {
    const fc_conv *conv;
    fc_operation operation;
    const fc_operands *operands;
    const fc_kernels *kernels;
    ptrdiff_t element;
    side in, out;
    group_blocks blocks;
    size_t in_bytes, out_bytes, scratch_bytes;
    char *weights;  /* as OIHW */
    char *scratch;
} planes_job;

/* So many groups of one image as NCHW. */
static fc_conv conv_of(const planes_job *job, ptrdiff_t groups)
{
    fc_conv conv = *job->conv;
    conv.layout = FC_NCHW;
    conv.n = 1;
    conv.c = conv.c / conv.groups * groups, conv.k = conv.k / conv.groups * groups;
    conv.groups = groups;
    return conv;
}

static fc_view view_of(const char *data, const side *s) { return (fc_view){data, {0, s->plane, s->w, 1}}; }

/* The i-th correlation of a block, in the cheaper of the ways that NCHW has. */
static void correlate(const planes_job *job, const fc_conv *conv, ptrdiff_t i, const fc_operands *operands,
                      fc_workspace *workspace)
{
    fc_tap tap[MOST_TAPS];
    fc_correlation c;
    fc_correlation_of(conv, job->operation, i, operands, &fc_algorithm_direct, tap, &c);
    if (c.taps == 0)
        return;
    fc_choose_way(&c, &fc_algorithm_direct, job->operation);
    fc_drive(conv, job->operation, operands, &c, &fc_algorithm_direct, 1, workspace);
}

/* What the driver of a block's largest correlation takes. */
static size_t driver_bytes(const planes_job *job, ptrdiff_t groups)
{
    size_t most = 0;
    const fc_conv conv = conv_of(job, groups);
    const fc_operands nowhere = {.x = view_of(NULL, &job->in), .y = view_of(NULL, &job->out)};
    const ptrdiff_t count = fc_correlation_count(&conv, job->operation);
    for (ptrdiff_t i = 0; i < count; i++) {
        fc_workspace sizes = {0};
        correlate(job, &conv, i, &nowhere, &sizes);
        most = sizes.used > most ? sizes.used : most;
    }
    return most;
}

/* Channel by channel of a filter's group, its taps from HWIO. */
static void turn_weights(const planes_job *job)
{
    const fc_conv *p = job->conv;
    const ptrdiff_t taps = p->kh * p->kw, channels = p->c / p->groups, element = job->element;
    for (ptrdiff_t q = 0; q < channels; q++)
        job->kernels->pack_strided(job->weights + q * taps * element, 1, channels * taps,
                                   (const char *)job->operands->w + q * p->k * element, channels * p->k, taps, p->k);
}

static void planes_task(void *context, ptrdiff_t task, int thread)
{
    const planes_job *job = context;
    const fc_operands *operands = job->operands;
    const ptrdiff_t element = job->element, n = task / job->blocks.blocks, block = task % job->blocks.blocks;
    const ptrdiff_t first = block * job->blocks.block, groups = groups_of(&job->blocks, block);
    char *in = job->scratch + (size_t)thread * job->scratch_bytes, *out = in + job->in_bytes, *rest = out + job->out_bytes;
    const fc_conv conv = conv_of(job, groups);
    const fc_operands turned = {
        .x = view_of(in, &job->in),
        .y = view_of(out, &job->out),
        .w = job->weights + conv.k / groups * first * (conv.c / groups) * conv.kh * conv.kw * element,
        .bias = operands->bias ? (const char *)operands->bias + first * job->out.channels * element : NULL,
        .relu = operands->relu,
    };
    const ptrdiff_t *x = operands->x.stride, *y = operands->y.stride;
    turn_in(job->kernels, element, (const char *)operands->x.data + (n * x[0] + first * job->in.channels * x[1]) * element, x,
            &job->in, groups, in);
    if (!fc_correlations_cover(&conv, job->operation))
        for (ptrdiff_t i = 0; i < groups * job->out.channels; i++) {
            const double zero = 0;
            job->kernels->fill(out + i * job->out.plane * element, 1, 1, 1, job->out.h * job->out.w,
                               turned.bias ? (const char *)turned.bias + i * element : (const void *)&zero);
        }
    const ptrdiff_t count = fc_correlation_count(&conv, job->operation);
    for (ptrdiff_t i = 0; i < count; i++) {
        fc_workspace own = {.base = rest};
        correlate(job, &conv, i, &turned, &own);
    }
    job->kernels->store_strided((char *)operands->y.data + (n * y[0] + first * job->out.channels * y[1]) * element, 1, y[3],
                                out, job->out.plane, groups * job->out.channels, job->out.h * job->out.w);
}

void fc_planes_operate(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                       fc_workspace *workspace)
{
    const int backward = operation == FC_BACKWARD_INPUT;
    planes_job job = {.conv = conv, .operation = operation, .operands = operands, .kernels = fc_kernels_for(conv->dtype)};
    const size_t element = conv->dtype == FC_F32 ? sizeof(float) : sizeof(double);
    job.element = (ptrdiff_t)element;
    const side image = side_of(conv->c / conv->groups, conv->h, conv->w, element),
               lattice = side_of(conv->k / conv->groups, conv->oh, conv->ow, element);
    job.in = backward ? lattice : image, job.out = backward ? image : lattice;
    job.blocks = blocks_of(conv->groups, conv->n, &job.in, &job.out, job.kernels->lanes, element);
    const ptrdiff_t tasks = conv->n * job.blocks.blocks;
    threads = (int)fc_min(threads, tasks);
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(job.blocks.block * job.in.channels * job.in.plane) * element);
    job.in_bytes = sizes.used;
    fc_take(&sizes, (size_t)(job.blocks.block * job.out.channels * job.out.plane) * element);
    job.out_bytes = sizes.used - job.in_bytes;
    const size_t whole = driver_bytes(&job, job.blocks.block),
                 last = driver_bytes(&job, groups_of(&job.blocks, job.blocks.blocks - 1));
    fc_take(&sizes, whole > last ? whole : last);
    job.scratch_bytes = sizes.used;
    job.weights = fc_take(workspace, (size_t)(conv->k * (conv->c / conv->groups) * conv->kh * conv->kw) * element);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    turn_weights(&job);
    fc_parallel_for(threads, tasks, planes_task, &job);
}

/* The weight gradient: chunks of images, which the problem alone decides, and blocks of groups; what the images of a chunk
 * give is added up in their order. */
typedef struct {
    const fc_correlation *c;
    side x, dy;
    group_blocks blocks;
    ptrdiff_t chunks, weights;  /* of a group */
    size_t x_bytes, dy_bytes, dw_bytes, scratch_bytes;
    char *partial;              /* for each chunk, as OIHW */
    char *scratch;
} gradient_job;

/* So many groups of one image as NCHW; `tap` has room for all. */
static fc_correlation planes_of(const gradient_job *job, ptrdiff_t groups, char *x, char *dy, char *dw, fc_tap *tap)
{
    fc_correlation planes = *job->c;
    planes.layout = FC_NCHW, planes.order = FC_BY_CHANNEL;
    planes.n = 1, planes.groups = groups;
    planes.x = x, planes.x_c = job->x.plane, planes.x_h = job->x.w, planes.x_w = 1;
    planes.y = dy, planes.y_c = job->dy.plane, planes.y_h = job->dy.w, planes.y_w = 1;
    planes.weights = dw, planes.w_group = job->weights, planes.w_m = planes.q * planes.taps, planes.w_q = planes.taps;
    planes.tap = tap;
    for (ptrdiff_t t = 0; t < planes.taps; t++)
        tap[t] = (fc_tap){job->c->tap[t].h, job->c->tap[t].w, t};
    return planes;
}

static void gradient_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t chunk = task / job->blocks.blocks, block = task % job->blocks.blocks, element = (ptrdiff_t)c->element;
    const ptrdiff_t first = block * job->blocks.block, groups = groups_of(&job->blocks, block);
    char *x = job->scratch + (size_t)thread * job->scratch_bytes, *dy = x + job->x_bytes, *dw = dy + job->dy_bytes;
    char *sum = fc_at(c, job->partial, (chunk * job->blocks.groups + first) * job->weights);
    const ptrdiff_t x_stride[] = {c->x_n, c->x_c, c->x_h, c->x_w}, dy_stride[] = {c->y_n, c->y_c, c->y_h, c->y_w};
    const ptrdiff_t begin = fc_part(c->n, job->chunks, chunk), end = fc_part(c->n, job->chunks, chunk + 1);
    for (ptrdiff_t n = begin; n < end; n++) {
        fc_tap tap[MOST_TAPS];
        const fc_correlation planes = planes_of(job, groups, x, dy, n == begin ? sum : dw, tap);
        turn_in(c->kernels, element, fc_at(c, c->x, n * c->x_n + first * c->q * c->x_c), x_stride, &job->x, groups, x);
        turn_in(c->kernels, element, fc_at(c, c->y, n * c->y_n + first * c->m * c->y_c), dy_stride, &job->dy, groups, dy);
        fc_workspace own = {.base = dw + job->dw_bytes};
        fc_algorithm_direct.correlate_weights(&planes, 1, &own);
        if (n > begin)
            c->kernels->sum_partials(sum, sum, (dw - sum) / element, 2, groups * job->weights, 0);
    }
}

void fc_planes_sum_gradients(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    gradient_job job = {.c = c, .weights = c->m * c->q * c->taps};
    job.x = side_of(c->q, c->h, c->w, c->element), job.dy = side_of(c->m, c->oh, c->ow, c->element);
    job.blocks = blocks_of(c->groups, c->n, &job.x, &job.dy, c->kernels->lanes, c->element);
    job.chunks = fc_min(c->n, fc_ceil_div(FC_DEPTHWISE_CHUNKS, job.blocks.blocks));
    const ptrdiff_t tasks = job.chunks * job.blocks.blocks, count = c->groups * job.weights;
    threads = (int)fc_min(threads, tasks);
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(job.blocks.block * job.x.channels * job.x.plane) * c->element);
    job.x_bytes = sizes.used;
    fc_take(&sizes, (size_t)(job.blocks.block * job.dy.channels * job.dy.plane) * c->element);
    job.dy_bytes = sizes.used - job.x_bytes;
    fc_take(&sizes, (size_t)(job.blocks.block * job.weights) * c->element);
    job.dw_bytes = sizes.used - job.dy_bytes - job.x_bytes;
    size_t most = 0;
    for (int last = 0; last < 2; last++) {
        fc_tap tap[MOST_TAPS];
        const ptrdiff_t block = last ? job.blocks.blocks - 1 : 0;
        const fc_correlation planes = planes_of(&job, groups_of(&job.blocks, block), NULL, NULL, NULL, tap);
        fc_workspace own = {0};
        fc_algorithm_direct.correlate_weights(&planes, 1, &own);
        most = own.used > most ? own.used : most;
    }
    fc_take(&sizes, most);
    job.scratch_bytes = sizes.used;
    job.partial = fc_take(workspace, (size_t)(job.chunks * count) * c->element);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    fc_parallel_for(threads, tasks, gradient_task, &job);
    c->kernels->sum_partials(job.partial, job.partial, count, job.chunks, count, 0);
    const ptrdiff_t filters = c->groups * c->m, tap_step = c->q * filters;
    for (ptrdiff_t q = 0; q < c->q; q++)
        c->kernels->store_strided(fc_at(c, c->weights, q * c->w_q), 1, tap_step, fc_at(c, job.partial, q * c->taps),
                                  c->q * c->taps, filters, c->taps);
}

/* Pixels of a plane of y, or of dx whose phases each have some; a view of dy says less of its planes, or more. */
static ptrdiff_t pixels_out(const fc_correlation *c)
{
    return fc_max(c->oh * c->ow, c->y_n / (c->groups * c->m));
}

int fc_serves_planes(const fc_correlation *c)
{
    const ptrdiff_t lanes = c->kernels->lanes;
    if (c->layout != FC_NHWC || c->groups == 1 || c->m * c->q == 1 || 2 * fc_min(c->m, c->q) > lanes || c->x_c != 1 ||
        c->y_c != 1 || c->kernel_taps > MOST_TAPS)
        return 0;
    const double whole = (double)fc_ceil_div(lanes, fc_min(c->m, c->q));
    return whole * ((double)c->q * (double)(c->h * c->w) + (double)c->m * (double)pixels_out(c)) * (double)c->element <=
           2 * FC_TURNED_BYTES;
}

/* The same on planes, and each plane of a group turned: a phase's share of them. Fits to 11 problems. */
double fc_planes_cycles(const fc_correlation *c, fc_operation operation)
{
    fc_correlation planes = *c;
    planes.layout = FC_NCHW, planes.order = FC_BY_CHANNEL;
    planes.x_c = c->h * c->w, planes.x_h = c->w, planes.x_w = 1;
    planes.y_n = 0, planes.y_c = pixels_out(c), planes.y_w = c->y_w / (c->groups * c->m);
    planes.y_h = c->y_h / (c->groups * c->m);
    const double share = (double)c->taps / (double)c->kernel_taps;
    const double turned = (double)(c->n * c->groups) *
                          ((double)c->q * (double)(c->h * c->w) + (double)c->m * (double)pixels_out(c));
    const double products = operation == FC_BACKWARD_WEIGHT
                                ? fmin(fc_direct_weight_pixels_cycles(&planes), fc_direct_weight_channels_cycles(&planes))
                                : fmin(fc_direct_pixels_cycles(&planes), fc_direct_channels_cycles(&planes));
    return products + share * (0.7 * turned + 3000);
}
