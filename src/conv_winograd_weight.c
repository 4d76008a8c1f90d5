/* Winograd weight gradient F(r x r, m x m).
 *
 * A block of rows of tiles at a time, all threads transform x and dy, lanes along channels, and then multiply point by
 * point, adding to the transformed gradient. Of many filters, and channels, slabs are taken one after the other, so that
 * their sum stays in L3. The sum runs over blocks in their order, whatever thread takes which point. Few weights are
 * conv_winograd_weight_tiles.c's. A gradient that comes out not finite is computed again without transform, as a whole.
 */
#include "blocking.h"
#include "im2col.h"
#include "parallel.h"
#include "winograd_sums.h"

typedef struct {
    fc_winograd_sums *sums;
    fc_winograd_sum_block block;       /* the one at hand */
    ptrdiff_t slabs;                   /* of filters */
    ptrdiff_t transformed;             /* vectors that need not be transformed */
    ptrdiff_t row_parts;               /* of the block, for all threads to have a part of few vectors */
    ptrdiff_t filter_blocks;           /* that the product of a point is split into */
    size_t scratch_bytes;
    char *scratch;
} gradient_job;

static void transform_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const ptrdiff_t rows = job->block.rows.rows, part = task % job->row_parts, row = fc_part(rows, job->row_parts, part);
    fc_winograd_transform_vector(job->sums, &job->block, task / job->row_parts + job->transformed, row,
                                 fc_part(rows, job->row_parts, part + 1) - row,
                                 job->scratch + (size_t)thread * job->scratch_bytes);
}

static void multiply_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    (void)thread;
    fc_winograd_multiply_point(job->sums, &job->block, task / job->filter_blocks, task % job->filter_blocks,
                               job->filter_blocks);
}

static void store_task(void *context, ptrdiff_t task, int thread)
{
    const gradient_job *job = context;
    const fc_winograd_sum_part part = fc_winograd_sum_part_at(job->sums, task);
    fc_winograd_store_gradient(job->sums, job->block.sum, &part, job->scratch + (size_t)thread * job->scratch_bytes);
}

/* Through all blocks. A single one's x is still there from the slab before. */
static void sum_slab(gradient_job *job, int threads)
{
    const fc_winograd_sums *sums = job->sums;
    const ptrdiff_t of_x = fc_winograd_vectors_of_x(sums);
    for (ptrdiff_t i = 0; i < sums->blocks; i++) {
        job->block.rows = fc_winograd_sum_rows(sums, i);
        job->block.accumulate = i > 0;
        job->transformed = sums->blocks == 1 && sums->first_filter > 0 ? of_x : 0;
        const ptrdiff_t vectors = of_x + fc_winograd_vectors_of_dy(sums) - job->transformed;
        job->row_parts = threads > 1 ? fc_min(job->block.rows.rows, fc_ceil_div(4 * threads, vectors)) : 1;
        fc_parallel_for(threads, vectors * job->row_parts, transform_task, job);
        fc_parallel_for(threads, sums->plan.points * job->filter_blocks, multiply_task, job);
    }
}

static void cut_filters(gradient_job *job, ptrdiff_t slabs)
{
    const fc_correlation *c = &job->sums->plan.c;
    job->slabs = fc_min(slabs, fc_ceil_div(c->m, c->kernels->tile_rows));
    fc_winograd_cut_filters(job->sums, job->slabs);
}

/* All tiles in one block, whose x is transformed once for all slabs of filters, which are of what room that leaves; if it
 * leaves too little, with more slabs of channels, for each of which dy is transformed. 0 if that does not help. */
static int plan_one_block(gradient_job *job)
{
    fc_winograd_sums *sums = job->sums;
    const fc_winograd_plan *plan = &sums->plan;
    const ptrdiff_t tiles = plan->rows * plan->tiles_w, bytes = plan->points * (ptrdiff_t)plan->c.element;
    if (tiles > FC_WINOGRAD_GRADIENT_TILES)
        return 0;
    const ptrdiff_t most = tiles <= FC_WINOGRAD_GRADIENT_TILES / 2 ? FC_WINOGRAD_CHANNEL_SLABS : 1;
    for (ptrdiff_t slabs = 1; slabs <= most; slabs++) {
        fc_winograd_cut_channels(sums, slabs);
        const ptrdiff_t x_bytes = tiles * fc_winograd_padded_channels(sums) * bytes;
        const ptrdiff_t room = FC_SCRATCH_LIMIT / 2 + FC_WINOGRAD_SUM_BYTES - x_bytes;
        const ptrdiff_t filters = fc_min(room / (bytes * (tiles + sums->sum_ld)),
                                         FC_WINOGRAD_SUM_BYTES / bytes / sums->sum_ld);
        if (filters < fc_min(plan->c.m, FC_WINOGRAD_SLAB_FILTERS))
            continue;
        cut_filters(job, fc_ceil_div(plan->c.m, filters));
        fc_winograd_cut_rows(sums, 1);
        return 1;
    }
    return 0;
}

/* Slabs by their sum alone, and blocks of rows whose transformed x and dy fit into half of a thread's scratch. */
static void plan_blocks(gradient_job *job)
{
    fc_winograd_sums *sums = job->sums;
    const fc_winograd_plan *plan = &sums->plan;
    const ptrdiff_t point_bytes = plan->points * (ptrdiff_t)plan->c.element;
    fc_winograd_cut_channels(sums, 1);
    const double sum_bytes = (double)plan->c.m * (double)sums->sum_ld * (double)point_bytes;
    cut_filters(job, 1 + (ptrdiff_t)(sum_bytes / FC_WINOGRAD_SUM_BYTES));
    const ptrdiff_t bytes = point_bytes * (fc_winograd_padded_channels(sums) + sums->dy_ld);
    const ptrdiff_t tiles = fc_min(FC_WINOGRAD_GRADIENT_TILES, FC_SCRATCH_LIMIT / 2 / bytes);
    fc_winograd_cut_rows(sums, fc_ceil_div(plan->rows, fc_max(1, tiles / plan->tiles_w)));
}

/* All slabs of a group. */
static void sum_slabs(gradient_job *job, int threads)
{
    fc_winograd_sums *sums = job->sums;
    const fc_winograd_plan *plan = &sums->plan;
    const ptrdiff_t channels = sums->channels;
    for (sums->first_channel = 0; sums->first_channel < plan->channels; sums->first_channel += channels) {
        sums->channels = fc_min(channels, plan->channels - sums->first_channel);
        for (ptrdiff_t slab = 0; slab < job->slabs; slab++) {
            sums->first_filter = fc_part(plan->c.m, job->slabs, slab);
            sums->filters = fc_part(plan->c.m, job->slabs, slab + 1) - sums->first_filter;
            sum_slab(job, threads);
            fc_parallel_for(threads, fc_winograd_sum_parts(sums), store_task, job);
        }
    }
    sums->channels = channels;
}

static void sum_blocks(fc_winograd_sums *sums, int threads, fc_workspace *workspace)
{
    gradient_job job = {.sums = sums, .filter_blocks = fc_ceil_div(threads, 4)};
    const fc_winograd_plan *plan = &sums->plan;
    const size_t element = plan->c.element;
    if (!plan_one_block(&job))
        plan_blocks(&job);
    job.block.x = fc_take(workspace, (size_t)(plan->points * sums->x_step) * element);
    job.block.dy = fc_take(workspace, (size_t)(plan->points * sums->dy_step) * element);
    job.block.sum = fc_take(workspace, (size_t)(plan->points * sums->sum_step) * element);
    fc_workspace sizes = {0};
    fc_take(&sizes, fc_winograd_image_bytes(plan));
    job.scratch_bytes = sizes.used;
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    for (sums->group = 0; workspace->base && sums->group < plan->c.groups; sums->group++)
        sum_slabs(&job, threads);
}

void fc_winograd_correlate_weights(const fc_correlation *c, int m, int r, int threads, fc_workspace *workspace)
{
    atomic_int not_finite = 0;
    fc_winograd_sums sums = {.not_finite = &not_finite};
    const fc_winograd_plan *plan = &sums.plan;
    fc_winograd_plan_of(&sums.plan, c, m, r);
    sums.taps_in_order = plan->full;
    for (int i = 0; i < r * r && plan->full; i++)
        sums.taps_in_order &= c->tap[plan->at[i]].weight == i;
    /* What is computed again takes the place of all else. */
    const size_t begin = workspace->used;
    fc_workspace again = {0};
    fc_im2col_correlate_weights(c, threads, &again);
    fc_take(workspace, again.used);
    const size_t end = workspace->used;
    workspace->used = begin;
    const ptrdiff_t chunks = fc_winograd_chunks(&sums);
    if (fc_winograd_serves_slabs(plan))
        fc_winograd_sum_by_slabs(&sums, threads, workspace);
    else if (chunks)
        fc_winograd_sum_chunks(&sums, chunks, threads, workspace);
    else
        sum_blocks(&sums, threads, workspace);
    if (workspace->used < end)
        workspace->used = end;
    if (workspace->base && atomic_load(&not_finite)) {
        again = (fc_workspace){.base = workspace->base + begin};
        fc_im2col_correlate_weights(c, threads, &again);
    }
}
