/* Depthwise convolution of NHWC, and its weight gradient: lanes run along channels, each of which meets its own filter.
 * (Small planes of NCHW are turned to it: conv_direct_turned.c.)
 *
 * Nothing is copied or packed. Outputs are cut into rectangles, each of which sees the image through the same taps, so
 * that padding is left out rather than read as zeros. (The lanes of the other ways, pixels or filters of one channel,
 * would be gathered from lines of which they use an element.)
 */
#include "blocking.h"
#include "conv_direct.h"
#include "im2col.h"
#include "parallel.h"
#include "weight_partials.h"

/* Outputs of a row (column) that see a row (column) of the image through a tap: [begin, end). */
typedef struct {
    ptrdiff_t begin, end;
} seen_range;

typedef struct {
    const fc_correlation *c;
    fc_weight_partials partials;
    seen_range *rows_seen, *columns_seen;  /* of each tap */
    ptrdiff_t row_blocks, channel_blocks;
    size_t scratch_bytes;
    char *scratch;  /* offsets for the taps of a rectangle: in x, and behind them in the weights */
} depthwise_job;

/* Outputs of rows [h, h_end), columns [j, j_end), which see the image through the same taps. */
typedef struct {
    ptrdiff_t h_end, j_end;
    int taps;
    ptrdiff_t *x_offset, *weight_offset;
} rectangle;

int fc_serves_depthwise(const fc_correlation *c)
{
    return c->layout == FC_NHWC && c->groups > 1 && c->m == 1 && c->q == 1 && c->w_group == 1 && c->x_c == 1 &&
           c->y_c == 1;
}

static void lay_out(depthwise_job *job, int threads, fc_workspace *workspace)
{
    const fc_correlation *c = job->c;
    job->rows_seen = fc_take(workspace, (size_t)c->taps * sizeof *job->rows_seen);
    job->columns_seen = fc_take(workspace, (size_t)c->taps * sizeof *job->columns_seen);
    job->scratch_bytes = 2 * (size_t)c->taps * sizeof(ptrdiff_t);
    job->scratch = fc_take_scratch(workspace, threads, &job->scratch_bytes);
    for (ptrdiff_t t = 0; t < c->taps && workspace->base; t++) {
        seen_range *rows = &job->rows_seen[t], *columns = &job->columns_seen[t];
        fc_valid_outputs(c->oh, c->stride_h, c->tap[t].h, c->h, &rows->begin, &rows->end);
        fc_valid_outputs(c->ow, c->stride_w, c->tap[t].w, c->w, &columns->begin, &columns->end);
    }
}

/* Whether `at` is in a range, and in *end the next output of which that is no longer so. */
static int sees(const seen_range *range, ptrdiff_t at, ptrdiff_t *end)
{
    if (at < range->begin)
        *end = fc_min(*end, range->begin);
    else if (at < range->end)
        *end = fc_min(*end, range->end);
    return at >= range->begin && at < range->end;
}

static rectangle rectangle_at(const depthwise_job *job, ptrdiff_t h, ptrdiff_t j, int thread)
{
    const fc_correlation *c = job->c;
    rectangle r = {.h_end = c->oh, .j_end = c->ow};
    r.x_offset = (ptrdiff_t *)(void *)(job->scratch + (size_t)thread * job->scratch_bytes);
    r.weight_offset = r.x_offset + c->taps;
    /* In the order of the pixels, which is the other way round in an input gradient. */
    const int turned = c->taps > 1 && c->tap[c->taps - 1].w < c->tap[0].w;
    for (ptrdiff_t i = 0; i < c->taps; i++) {
        const ptrdiff_t t = turned ? c->taps - 1 - i : i;
        const int row = sees(&job->rows_seen[t], h, &r.h_end), column = sees(&job->columns_seen[t], j, &r.j_end);
        if (!row || !column)
            continue;
        r.x_offset[r.taps] =
            (h * c->stride_h + c->tap[t].h) * c->x_h + (j * c->stride_w + c->tap[t].w) * c->x_w;
        r.weight_offset[r.taps++] = c->tap[t].weight;
    }
    return r;
}

/* Rows [h, last) of an image, channels [channel, channel + channels). */
static void compute_rows(const depthwise_job *job, ptrdiff_t n, ptrdiff_t h, ptrdiff_t last, ptrdiff_t channel,
                         ptrdiff_t channels, int thread)
{
    const fc_correlation *c = job->c;
    for (ptrdiff_t h_end = h; h < last; h = h_end)
        for (ptrdiff_t j = 0, j_end; j < c->ow; j = j_end) {
            const rectangle r = rectangle_at(job, h, j, thread);
            h_end = fc_min(r.h_end, last);
            j_end = r.j_end;
            const fc_depthwise_block block = {
                .channels = channels,
                .rows = h_end - h,
                .pixels = j_end - j,
                .taps = r.taps,
                .x_offset = r.x_offset,
                .weight_offset = r.weight_offset,
                .x = fc_at(c, c->x, n * c->x_n + channel),
                .weights = fc_at(c, c->weights, channel),
                .bias = c->bias ? fc_at(c, c->bias, channel) : NULL,
                .y = fc_at(c, c->y, n * c->y_n + h * c->y_h + j * c->y_w + channel),
                .x_row = c->stride_h * c->x_h,
                .x_pixel = c->stride_w * c->x_w,
                .y_row = c->y_h,
                .y_pixel = c->y_w,
                .relu = c->relu,
            };
            c->kernels->depthwise(&block);
        }
}

static void output_task(void *context, ptrdiff_t task, int thread)
{
    const depthwise_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t channel_block = task % job->channel_blocks, row_block = task / job->channel_blocks;
    const ptrdiff_t channel = fc_part(c->groups, job->channel_blocks, channel_block);
    const ptrdiff_t channels = fc_part(c->groups, job->channel_blocks, channel_block + 1) - channel;
    const ptrdiff_t n = row_block / job->row_blocks, block = row_block % job->row_blocks;
    compute_rows(job, n, fc_part(c->oh, job->row_blocks, block), fc_part(c->oh, job->row_blocks, block + 1), channel,
                 channels, thread);
}

void fc_direct_depthwise_correlate(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    depthwise_job job = {.c = c};
    const double row_bytes = (double)c->ow * (double)c->stride_h * (double)c->groups * (double)c->element;
    const ptrdiff_t wanted = fc_ceil_div(threads > 1 ? 4 * threads : 1, c->n);
    job.row_blocks = fc_min(c->oh, fc_max(wanted, (ptrdiff_t)((double)c->oh * row_bytes / FC_IMAGE_BLOCK_BYTES)));
    job.channel_blocks = fc_min(fc_ceil_div(c->groups, 4 * c->kernels->lanes), fc_ceil_div(wanted, job.row_blocks));
    const ptrdiff_t tasks = c->n * job.row_blocks * job.channel_blocks;
    threads = (int)fc_min(threads, tasks);
    lay_out(&job, threads, workspace);
    if (workspace->base)
        fc_parallel_for(threads, tasks, output_task, &job);
}

/* Rows of one image. */
static void accumulate_unit(const depthwise_job *job, const fc_weight_unit *unit, char *dw, int thread)
{
    const fc_correlation *c = job->c;
    const ptrdiff_t last = unit->row + unit->rows;
    for (ptrdiff_t h = unit->row, h_end = h; h < last; h = h_end)
        for (ptrdiff_t j = 0, j_end; j < c->ow; j = j_end) {
            const rectangle r = rectangle_at(job, h, j, thread);
            h_end = fc_min(r.h_end, last);
            j_end = r.j_end;
            const fc_depthwise_gradient block = {
                .channels = c->groups,
                .rows = h_end - h,
                .pixels = j_end - j,
                .taps = r.taps,
                .x_offset = r.x_offset,
                .weight_offset = r.weight_offset,
                .x = fc_at(c, c->x, unit->n * c->x_n),
                .dy = fc_at(c, c->y, unit->n * c->y_n + h * c->y_h + j * c->y_w),
                .dw = dw,
                .x_row = c->stride_h * c->x_h,
                .x_pixel = c->stride_w * c->x_w,
                .dy_row = c->y_h,
                .dy_pixel = c->y_w,
            };
            c->kernels->depthwise_gradient(&block);
        }
}

static void gradient_task(void *context, ptrdiff_t chunk, int thread)
{
    const depthwise_job *job = context;
    const ptrdiff_t last = fc_partials_first(&job->partials, chunk + 1);
    for (ptrdiff_t i = fc_partials_first(&job->partials, chunk); i < last; i++) {
        const fc_weight_unit unit = fc_partials_unit(&job->partials, job->c, i);
        accumulate_unit(job, &unit, fc_partial(&job->partials, chunk), thread);
    }
}

void fc_depthwise_add_gradient(const fc_correlation *c, char *dw, fc_workspace *workspace)
{
    depthwise_job job = {.c = c};
    lay_out(&job, 1, workspace);
    const fc_weight_unit image = {.images = 1, .rows = c->oh};
    accumulate_unit(&job, &image, dw, 0);
}

static void sum_gradients(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    depthwise_job job = {.c = c};
    const ptrdiff_t rows = fc_max(1, fc_min(FC_GRADIENT_PIXELS / c->ow, fc_ceil_div(c->n * c->oh, FC_DEPTHWISE_CHUNKS)));
    job.partials = fc_plan_partials(c, fc_min(c->oh, rows), 1, FC_DEPTHWISE_CHUNKS, workspace);
    threads = (int)fc_min(threads, job.partials.chunks);
    lay_out(&job, threads, workspace);
    if (!workspace->base)
        return;
    fc_clear_partials(&job.partials, threads);
    fc_parallel_for(threads, job.partials.chunks, gradient_task, &job);
    fc_sum_partials(&job.partials, c, threads);
}

/* Whether each output of a row (column) sees the image. */
static int all_see(const fc_correlation *c, int columns)
{
    const ptrdiff_t outputs = columns ? c->ow : c->oh;
    for (ptrdiff_t at = 0, seen; at < outputs; at = seen) {
        seen = at;
        for (ptrdiff_t t = 0; t < c->taps; t++) {
            ptrdiff_t begin, end;
            if (columns)
                fc_valid_outputs(c->ow, c->stride_w, c->tap[t].w, c->w, &begin, &end);
            else
                fc_valid_outputs(c->oh, c->stride_h, c->tap[t].h, c->h, &begin, &end);
            if (at >= begin)
                seen = fc_max(seen, end);
        }
        if (seen == at)
            return 0;
    }
    return 1;
}

/* Zeros of the padding make a NaN of a dy that is not finite: then dw, which is not either, is computed again with them; and
 * where dy may be so unseen. */
static int misses_padding(const fc_correlation *c)
{
    return !fc_taps_stay_inside(c) && (!fc_weights_are_finite(c) || !all_see(c, 0) || !all_see(c, 1));
}

void fc_direct_depthwise_correlate_weights(const fc_correlation *c, int threads, fc_workspace *workspace)
{
    const size_t begin = workspace->used;
    fc_workspace again = {0};
    fc_direct_weight_pixels_correlate(c, threads, &again);
    fc_take(workspace, again.used);
    const size_t end = workspace->used;
    workspace->used = begin;
    if (fc_serves_depthwise(c))
        sum_gradients(c, threads, workspace);
    else
        fc_turned_sum_gradients(c, threads, workspace);
    if (workspace->used < end)
        workspace->used = end;
    if (workspace->base && misses_padding(c)) {
        again = (fc_workspace){.base = workspace->base + begin};
        fc_direct_weight_pixels_correlate(c, threads, &again);
    }
}

/* What a vector takes for each tap, and a rectangle to be listed. */
double fc_direct_depthwise_cycles(const fc_correlation *c, fc_operation operation)
{
    const double rows = (double)(c->n * c->oh), vectors = (double)fc_ceil_div(c->groups, c->kernels->lanes);
    const double pixel = (operation == FC_BACKWARD_WEIGHT ? 2.5 : 1.7) * (double)c->taps + 3;
    return rows * vectors * (double)c->ow * pixel + (double)c->n * 100 * (double)c->taps + 2000;
}
