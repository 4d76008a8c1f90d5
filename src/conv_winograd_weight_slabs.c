/* Winograd's weight gradient of few tiles, or few channels of x or dy: a thread transforms the one that has fewer channels
 * and keeps it; and the other a slab at a time. Of each slab it multiplies one piece after the other of what it keeps,
 * whose sum stays in its L2 until it is the gradient. Nothing passes from thread to thread: that would take longer than
 * to transform again what is kept.
 */
#include <math.h>

#include "blocking.h"
#include "parallel.h"
#include "winograd_sums.h"

typedef struct {
    fc_winograd_sums *sums;              /* with the steps of the largest part and slab */
    int keeps_x;
    ptrdiff_t parts, slabs;              /* of what is kept, of the other */
    ptrdiff_t piece;                     /* channels, or filters, of the largest one */
    ptrdiff_t sum_ld, sum_step;          /* of its sum */
    ptrdiff_t *kept;                     /* the part that a thread has transformed, or -1 */
    size_t scratch_bytes;
    char *scratch;
} slabs_job;

/* The pieces of a thread's scratch; the image takes the taps in the end. */
static fc_winograd_sum_block lay_out(const slabs_job *job, fc_workspace *scratch, char **image)
{
    const fc_winograd_sums *sums = job->sums;
    const fc_winograd_plan *plan = &sums->plan;
    fc_winograd_sum_block block = {.accumulate = 0};
    *image = fc_take(scratch, fc_winograd_image_bytes(plan));
    block.x = fc_take(scratch, (size_t)(plan->points * sums->x_step) * plan->c.element);
    block.dy = fc_take(scratch, (size_t)(plan->points * sums->dy_step) * plan->c.element);
    block.sum = fc_take(scratch, (size_t)(plan->points * job->sum_step) * plan->c.element);
    return block;
}

/* Channels of cut i of `count` equal ones, by whole vectors. */
static void take_channels(fc_winograd_sums *sums, ptrdiff_t count, ptrdiff_t i)
{
    const ptrdiff_t lanes = sums->plan.c.kernels->lanes, vectors = fc_ceil_div(sums->plan.channels, lanes);
    sums->first_channel = fc_part(vectors, count, i) * lanes;
    sums->channels = fc_min(sums->plan.channels, fc_part(vectors, count, i + 1) * lanes) - sums->first_channel;
}

static void take_filters(fc_winograd_sums *sums, ptrdiff_t count, ptrdiff_t i)
{
    sums->first_filter = fc_part(sums->plan.c.m, count, i);
    sums->filters = fc_part(sums->plan.c.m, count, i + 1) - sums->first_filter;
}

static void multiply_pieces(const slabs_job *job, const fc_winograd_sums *sums, const fc_winograd_sum_block *block,
                            char *taps)
{
    const fc_correlation *c = &sums->plan.c;
    const ptrdiff_t all = job->keeps_x ? sums->channels : sums->filters;
    for (ptrdiff_t begin = 0; begin < all; begin += job->piece) {
        const ptrdiff_t count = fc_min(job->piece, all - begin);
        fc_winograd_sums piece = *sums;
        fc_winograd_sum_block of_piece = *block;
        piece.sum_ld = job->sum_ld, piece.sum_step = job->sum_step;
        if (job->keeps_x) {
            piece.first_channel += begin, piece.channels = count;
            of_piece.x = fc_at(c, block->x, begin * block->rows.tiles);
        } else {
            piece.first_filter += begin, piece.filters = count;
            of_piece.dy = fc_at(c, block->dy, begin);
        }
        for (ptrdiff_t point = 0; point < sums->plan.points; point++)
            fc_winograd_multiply_point(&piece, &of_piece, point, 0, 1);
        for (ptrdiff_t i = 0; i < fc_winograd_sum_parts(&piece); i++) {
            const fc_winograd_sum_part part = fc_winograd_sum_part_at(&piece, i);
            fc_winograd_store_gradient(&piece, block->sum, &part, taps);
        }
    }
}

/* A slab of a part. */
static void run_task(void *context, ptrdiff_t index, int thread)
{
    const slabs_job *job = context;
    fc_winograd_sums sums = *job->sums;
    const ptrdiff_t slab = index % job->slabs, group_part = index / job->slabs, part = group_part % job->parts;
    sums.group = group_part / job->parts;
    take_channels(&sums, job->keeps_x ? job->parts : job->slabs, job->keeps_x ? part : slab);
    take_filters(&sums, job->keeps_x ? job->slabs : job->parts, job->keeps_x ? slab : part);
    fc_workspace scratch = {.base = job->scratch + (size_t)thread * job->scratch_bytes};
    char *image;
    fc_winograd_sum_block block = lay_out(job, &scratch, &image);
    block.rows = fc_winograd_sum_rows(&sums, 0);
    const ptrdiff_t of_x = fc_winograd_vectors_of_x(&sums), vectors = of_x + fc_winograd_vectors_of_dy(&sums);
    const int is_kept = job->kept[thread * FC_THREAD_NUMBERS] == group_part;
    for (ptrdiff_t vector = 0; vector < vectors; vector++)
        if (!is_kept || (vector < of_x) != job->keeps_x)
            fc_winograd_transform_vector(&sums, &block, vector, 0, block.rows.rows, image);
    job->kept[thread * FC_THREAD_NUMBERS] = group_part;
    multiply_pieces(job, &sums, &block, image);
}

/* Parts: each of `threads` transforms one, and all of them together the other as often as there are parts, which is least
 * work for this many. Slabs: of some vectors, few enough to stay in L2, and as many for each thread. */
static void cut(slabs_job *job, int threads)
{
    const fc_winograd_plan *plan = &job->sums->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t lanes = c->kernels->lanes, filters = c->m, vectors = fc_ceil_div(plan->channels, lanes);
    const ptrdiff_t kept = job->keeps_x ? plan->channels : filters, other = job->keeps_x ? filters : plan->channels;
    const ptrdiff_t most_parts = job->keeps_x ? vectors : filters, most_slabs = job->keeps_x ? filters : vectors;
    const double least = sqrt((double)kept / (double)other * threads);
    job->parts = fc_max(1, fc_min(most_parts, (ptrdiff_t)least));

    /* Vectors of channels come in pairs, the panels of B. */
    const ptrdiff_t row_bytes = plan->rows * plan->tiles_w * plan->points * lanes * (ptrdiff_t)c->element;
    const ptrdiff_t pair = job->keeps_x ? 1 : 2, fitting = FC_WINOGRAD_SLAB_BYTES / row_bytes / pair * pair;
    const ptrdiff_t slab = fc_min(FC_WINOGRAD_SLAB_VECTORS, fc_max(pair, fitting));
    job->slabs = fc_ceil_div(fc_ceil_div(other, lanes), slab);
    if (c->groups * job->parts % threads != 0)
        job->slabs = fc_min(most_slabs, fc_ceil_div(job->slabs, threads) * threads);
}

/* The sizes of the largest part, slab and piece. */
static void plan_scratch(slabs_job *job)
{
    fc_winograd_sums *sums = job->sums;
    const fc_winograd_plan *plan = &sums->plan;
    const fc_correlation *c = &plan->c;
    const ptrdiff_t width = c->kernels->tile_columns, lanes = c->kernels->lanes;
    const ptrdiff_t vectors = fc_ceil_div(plan->channels, lanes), cuts = job->keeps_x ? job->parts : job->slabs;
    sums->channels = fc_min(plan->channels, lanes * fc_ceil_div(vectors, cuts));
    fc_winograd_cut_filters(sums, job->keeps_x ? job->slabs : job->parts);
    fc_winograd_cut_rows(sums, 1);

    const ptrdiff_t most = FC_WINOGRAD_PIECE_BYTES / (plan->points * (ptrdiff_t)c->element);
    ptrdiff_t filters = sums->filters;
    if (job->keeps_x) {
        const ptrdiff_t panels = fc_ceil_div(sums->channels, width);
        job->piece = width * fc_ceil_div(panels, fc_ceil_div(panels, fc_max(1, most / filters / width)));
        job->sum_ld = fc_odd_lines(c, fc_min(job->piece, sums->channels));
    } else {
        job->sum_ld = fc_odd_lines(c, sums->channels);
        const ptrdiff_t pieces = fc_ceil_div(filters, fc_max(c->kernels->tile_rows, most / job->sum_ld));
        filters = job->piece = fc_ceil_div(filters, pieces);
    }
    job->sum_step = fc_odd_lines(c, filters * job->sum_ld);
}

static int keeps_x(const fc_winograd_plan *plan) { return plan->channels < plan->c.m; }

int fc_winograd_serves_slabs(const fc_winograd_plan *plan)
{
    const ptrdiff_t tiles = plan->rows * plan->tiles_w, lanes = plan->c.kernels->lanes;
    const ptrdiff_t x = fc_ceil_div(plan->channels, lanes), dy = fc_ceil_div(plan->c.m, lanes);
    const ptrdiff_t point_bytes = plan->points * (ptrdiff_t)plan->c.element, kept = fc_min(x, dy);
    const ptrdiff_t unlike = fc_max(x, dy) / kept;
    const ptrdiff_t least = keeps_x(plan) ? FC_WINOGRAD_UNLIKE : FC_WINOGRAD_MUCH_UNLIKE;
    /* Chains of more tiles would round F(3x3,5x5) beyond the error bound of "auto". */
    const int much = plan->c.layout == FC_NCHW && !fc_winograd_sums_briefly(plan) && unlike >= least;
    const ptrdiff_t most_bytes = much ? FC_WINOGRAD_MUCH_KEPT_BYTES : FC_WINOGRAD_KEPT_BYTES;
    const ptrdiff_t most_tiles = unlike < FC_WINOGRAD_UNLIKE ? FC_WINOGRAD_SLAB_TILES : FC_WINOGRAD_UNLIKE_TILES;
    return (tiles <= most_tiles || (much && keeps_x(plan))) && kept <= most_bytes / (lanes * point_bytes * tiles);
}

void fc_winograd_sum_by_slabs(fc_winograd_sums *sums, int threads, fc_workspace *workspace)
{
    slabs_job job = {.sums = sums, .keeps_x = keeps_x(&sums->plan)};
    cut(&job, threads);
    plan_scratch(&job);
    const ptrdiff_t tasks = sums->plan.c.groups * job.parts * job.slabs;
    threads = (int)fc_min(threads, tasks);
    fc_workspace sizes = {0};
    char *image;
    lay_out(&job, &sizes, &image);
    job.scratch_bytes = sizes.used;
    job.kept = fc_take(workspace, (size_t)(threads * FC_THREAD_NUMBERS) * sizeof *job.kept);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    if (!workspace->base)
        return;
    for (int i = 0; i < threads; i++)
        job.kept[i * FC_THREAD_NUMBERS] = -1;
    fc_parallel_for(threads, tasks, run_task, &job);
}
