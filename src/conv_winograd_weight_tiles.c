/* Winograd's weight gradient of few weights: a thread transforms and multiplies some rows of tiles after the other, all of
 * whose data is in its L2, and adds them to the sum of its chunk. The chunks are the same for any number of threads, and
 * their sums are added up in their order. */
#include "blocking.h"
#include "parallel.h"
#include "winograd_sums.h"

typedef struct {
    fc_winograd_sums *sums;
    ptrdiff_t chunks, chunk_step;  /* and elements between their sums */
    size_t scratch_bytes;
    char *chunk_sums, *scratch;
} chunks_job;

/* The pieces of a thread's scratch; the image is first, and takes the taps in the end. */
static fc_winograd_sum_block lay_out(const fc_winograd_sums *sums, fc_workspace *scratch, char **image)
{
    const fc_winograd_plan *plan = &sums->plan;
    fc_winograd_sum_block block = {.accumulate = 0};
    *image = fc_take(scratch, fc_winograd_image_bytes(plan));
    block.x = fc_take(scratch, (size_t)(plan->points * sums->x_step) * plan->c.element);
    block.dy = fc_take(scratch, (size_t)(plan->points * sums->dy_step) * plan->c.element);
    return block;
}

ptrdiff_t fc_winograd_chunks(fc_winograd_sums *sums)
{
    const fc_winograd_plan *plan = &sums->plan;
    const ptrdiff_t point_bytes = plan->points * (ptrdiff_t)plan->c.element;
    fc_winograd_cut_channels(sums, 1);
    fc_winograd_cut_filters(sums, 1);
    if ((double)plan->c.m * (double)sums->sum_ld * (double)point_bytes > FC_WINOGRAD_CHUNK_SUM_BYTES)
        return 0;
    const ptrdiff_t tiles = plan->rows * plan->tiles_w;
    const ptrdiff_t bytes = point_bytes * (fc_winograd_padded_channels(sums) + sums->dy_ld);
    const ptrdiff_t most = fc_min(FC_WINOGRAD_GRADIENT_DEPTH, FC_WINOGRAD_CHUNK_BYTES / bytes) / plan->tiles_w;
    const ptrdiff_t blocks = fc_max(fc_ceil_div(plan->rows, fc_max(1, most)), fc_min(4, tiles / FC_WINOGRAD_CHUNK_TILES));
    if (blocks < 2 || blocks > plan->rows)
        return 0;
    const ptrdiff_t chunks = fc_min(blocks, FC_WINOGRAD_CHUNKS);
    fc_winograd_cut_rows(sums, fc_min(plan->rows, fc_ceil_div(blocks, chunks) * chunks));
    return chunks;
}

static void sum_chunk(void *context, ptrdiff_t chunk, int thread)
{
    const chunks_job *job = context;
    const fc_winograd_sums *sums = job->sums;
    fc_workspace scratch = {.base = job->scratch + (size_t)thread * job->scratch_bytes};
    char *image;
    fc_winograd_sum_block block = lay_out(sums, &scratch, &image);
    block.sum = fc_at(&sums->plan.c, job->chunk_sums, chunk * job->chunk_step);
    const ptrdiff_t vectors = fc_winograd_vectors_of_x(sums) + fc_winograd_vectors_of_dy(sums);
    const ptrdiff_t end = fc_part(sums->blocks, job->chunks, chunk + 1);
    for (ptrdiff_t i = fc_part(sums->blocks, job->chunks, chunk); i < end; i++) {
        block.rows = fc_winograd_sum_rows(sums, i);
        for (ptrdiff_t vector = 0; vector < vectors; vector++)
            fc_winograd_transform_vector(sums, &block, vector, 0, block.rows.rows, image);
        for (ptrdiff_t point = 0; point < sums->plan.points; point++)
            fc_winograd_multiply_point(sums, &block, point, 0, 1);
        block.accumulate = 1;
    }
}

/* Some filters of all chunks' sums, which are added to the first. */
static void store_part(void *context, ptrdiff_t task, int thread)
{
    const chunks_job *job = context;
    const fc_winograd_sums *sums = job->sums;
    const fc_correlation *c = &sums->plan.c;
    const fc_winograd_sum_part part = fc_winograd_sum_part_at(sums, task);
    for (ptrdiff_t m = part.m; m < part.m + part.filters; m++)
        for (ptrdiff_t point = 0; point < sums->plan.points; point++) {
            char *row = fc_at(c, job->chunk_sums, point * sums->sum_step + m * sums->sum_ld + part.q);
            c->kernels->sum_partials(row, row, job->chunk_step, job->chunks, part.channels, 0);
        }
    fc_winograd_store_gradient(sums, job->chunk_sums, &part, job->scratch + (size_t)thread * job->scratch_bytes);
}

void fc_winograd_sum_chunks(fc_winograd_sums *sums, ptrdiff_t chunks, int threads, fc_workspace *workspace)
{
    const fc_winograd_plan *plan = &sums->plan;
    chunks_job job = {.sums = sums, .chunks = chunks, .chunk_step = plan->points * sums->sum_step};
    fc_workspace sizes = {0};
    char *image;
    lay_out(sums, &sizes, &image);
    job.scratch_bytes = sizes.used;
    job.chunk_sums = fc_take(workspace, (size_t)(chunks * job.chunk_step) * plan->c.element);
    job.scratch = fc_take_scratch(workspace, threads, &job.scratch_bytes);
    for (sums->group = 0; workspace->base && sums->group < plan->c.groups; sums->group++) {
        fc_parallel_for(threads, chunks, sum_chunk, &job);
        fc_parallel_for(threads, fc_winograd_sum_parts(sums), store_part, &job);
    }
}
