/* Filters in Winograd's domain: packed and transformed a few channels at a time, so that the packed ones stay in L1, or
 * transformed from packed ones that are held. */
#include "blocking.h"
#include "pack_weights.h"
#include "parallel.h"
#include "winograd.h"

#include <string.h>

/* Of each packed channel the squares of its phases, with zeros where there is no tap. */
static void fill_squares(const fc_winograd_plan *plan, ptrdiff_t channels, ptrdiff_t filters, const char *packed,
                         char *to)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t places = plan->phases * plan->r * plan->r;
    const size_t row = (size_t)filters * c->element;
    for (ptrdiff_t q = 0; q < channels; q++)
        for (ptrdiff_t i = 0; i < places; i++, to += row) {
            if (plan->at[i] < 0)
                memset(to, 0, row);
            else
                memcpy(to, packed + (size_t)(q * c->taps + plan->at[i]) * row, row);
        }
}

static size_t tap_bytes(const fc_correlation *c)
{
    return (size_t)(c->groups * c->m * c->q * c->taps) * c->element;
}

/* Where the held taps of a panel begin, whose first filter is `first`. */
static ptrdiff_t tap_panel(const fc_correlation *c, ptrdiff_t group, ptrdiff_t first)
{
    return (group * c->m + first) * c->q * c->taps;
}

void fc_winograd_transform_filters(const fc_winograd_plan *plan, ptrdiff_t group, ptrdiff_t panel,
                                   ptrdiff_t depth_block, ptrdiff_t part, ptrdiff_t parts, char *to)
{
    const fc_correlation *c = &plan->c;
    _Alignas(64) char packed[FC_WINOGRAD_APART_BYTES], squares[FC_WINOGRAD_PACK_BYTES];
    const ptrdiff_t rows = fc_max(c->taps, plan->phases * plan->r * plan->r);
    const ptrdiff_t bytes = plan->full && fc_taps_lie_apart(c) ? FC_WINOGRAD_APART_BYTES : FC_WINOGRAD_PACK_BYTES;
    const ptrdiff_t most = bytes / (rows * c->kernels->tile_columns * (ptrdiff_t)c->element);
    const ptrdiff_t first = panel * c->kernels->tile_columns, blocks = plan->filters.depth_blocks;
    const ptrdiff_t block = fc_part(c->q, blocks, depth_block), count = fc_part(c->q, blocks, depth_block + 1) - block;
    const ptrdiff_t begin = block + fc_part(count, parts, part), end = block + fc_part(count, parts, part + 1);
    const char *held = plan->holds_taps ? fc_at(c, c->packed, tap_panel(c, group, first)) : NULL;
    fc_winograd_filter f = {
        .size = plan->size,
        .r = plan->r,
        .rows = (int)fc_min(c->kernels->tile_columns, c->m - first),
        .point_step = plan->filters.point_step,
        .ask = held && tap_bytes(c) > FC_WINOGRAD_FILTER_BYTES,
    };
    for (int i = 0; i < plan->r * plan->r; i++)
        f.tap[i] = plan->full ? plan->at[i] : i;
    for (ptrdiff_t q = begin, channels; q < end; q += channels) {
        channels = fc_min(most, end - q);
        f.channels = channels * plan->phases;
        f.transformed = fc_at(c, to, (q - block) * plan->phases * f.rows);
        const char *taps = packed;
        if (held)
            taps = fc_at(c, held, q * c->taps * f.rows);
        else
            fc_pack_weight_panel(c, FC_LANES_PIXELS, group, first, f.rows, q * c->taps, channels * c->taps, packed);
        if (!plan->full)
            fill_squares(plan, channels, f.rows, taps, squares);
        f.panel = plan->full ? taps : squares;
        c->kernels->winograd_filter(&f);
    }
}

typedef struct {
    const fc_correlation *c;
    char *to;
} tap_job;

static void pack_taps(void *context, ptrdiff_t task, int thread)
{
    const tap_job *job = context;
    const fc_correlation *c = job->c;
    const ptrdiff_t width = c->kernels->tile_columns, panels = fc_ceil_div(c->m, width);
    const ptrdiff_t group = task / panels, first = task % panels * width;
    (void)thread;
    fc_pack_weight_panel(c, FC_LANES_PIXELS, group, first, fc_min(width, c->m - first), 0, c->q * c->taps,
                         fc_at(c, job->to, tap_panel(c, group, first)));
}

static void pack_all_taps(const fc_correlation *given, int threads, char *to)
{
    fc_correlation c = *given;
    c.order = FC_BY_CHANNEL;
    tap_job job = {&c, to};
    fc_parallel_for(threads, c.groups * fc_ceil_div(c.m, c.kernels->tile_columns), pack_taps, &job);
}

const fc_packing fc_winograd_tap_packing = {tap_bytes, pack_all_taps};

size_t fc_winograd_filter_bytes(const fc_winograd_plan *plan)
{
    const fc_winograd_filters *f = &plan->filters;
    return (size_t)(plan->c.groups * f->panels * f->depth_blocks) * (size_t)f->panel_step * plan->c.element;
}

typedef struct {
    const fc_winograd_plan *plan;
    ptrdiff_t parts;  /* of a block of channels */
    char *to;
} filter_job;

static void transform_block(void *context, ptrdiff_t task, int thread)
{
    const filter_job *job = context;
    const fc_winograd_filters *f = &job->plan->filters;
    const ptrdiff_t part = task % job->parts;
    task /= job->parts;
    const ptrdiff_t block = task % f->depth_blocks, panel = task / f->depth_blocks % f->panels;
    const ptrdiff_t group = task / f->depth_blocks / f->panels;
    (void)thread;
    fc_winograd_transform_filters(job->plan, group, panel, block, part, job->parts,
                                  fc_at(&job->plan->c, job->to,
                                        fc_winograd_filter_block(job->plan, group, panel, block)));
}

void fc_winograd_transform_all_filters(const fc_winograd_plan *plan, int threads, char *to)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t blocks = c->groups * plan->filters.panels * plan->filters.depth_blocks;
    /* Whole vectors are written: only where filters fill them may a thread begin where another's channels end. */
    const ptrdiff_t parts = c->m % c->kernels->lanes ? 1 : fc_min(c->q / plan->filters.depth_blocks, 4 * threads / blocks);
    filter_job job = {plan, fc_max(1, parts), to};
    /* On one thread 3 nanoseconds for a filter's channel with 3x3 taps, 10 with 5x5. */
    const double seconds = 1.5e-10 * (double)(c->groups * c->m) * (double)(plan->channels * plan->points);
    const ptrdiff_t tasks = blocks * job.parts;
    fc_parallel_for(fc_useful_beside(threads, tasks, seconds), tasks, transform_block, &job);
}
