/* Weights in the panels of the micro-kernel. */
#ifndef FC_PACK_WEIGHTS_H
#define FC_PACK_WEIGHTS_H

#include "gemm.h"

/* Steps of the reduction. */
static inline ptrdiff_t fc_depth(const fc_correlation *c) { return c->q * c->taps; }

/* The channels whose step with tap t lies in [k, k + depth): `count` of them from `q`; the first is step `first` of
 * the range, the others follow every `step`. */
typedef struct {
    ptrdiff_t q, count, first, step;
} fc_tap_range;
fc_tap_range fc_steps_of_tap(const fc_correlation *c, ptrdiff_t t, ptrdiff_t k, ptrdiff_t depth);

/* Whether the weights of one output channel lie in the order of the steps, without gaps. */
int fc_steps_are_contiguous(const fc_correlation *c);

/* The weights of one group as the packed operand of a product: A with lanes along pixels, else B. */
void fc_pack_weight_panel(const fc_correlation *c, fc_lanes lanes, ptrdiff_t group, ptrdiff_t first, ptrdiff_t count,
                          ptrdiff_t k, ptrdiff_t depth, char *panel);
/* What sizes the product of one image's group: panels, depth blocks. */
fc_gemm fc_correlation_gemm(const fc_correlation *c, fc_lanes lanes);
ptrdiff_t fc_weight_panels(const fc_correlation *c, fc_lanes lanes);
size_t fc_packed_group_bytes(const fc_correlation *c, fc_lanes lanes);
int fc_taps_are_contiguous(const fc_correlation *c);
/* Taps with gaps between them, an input gradient's with a stride: packed one by one. */
static inline int fc_taps_lie_apart(const fc_correlation *c)
{
    return c->w_m != 1 && !fc_steps_are_contiguous(c) && !fc_taps_are_contiguous(c);
}
/* Cycles of packing all weights, unless they are held. */
double fc_packing_cycles(const fc_correlation *c);
/* How weights are held for later calls: as operand A (lanes along pixels) or B. */
const fc_packing *fc_panel_packing(fc_lanes lanes, fc_step_order order);
/* All weights in panels: held ones, or what a call packs for several tasks. That is done once for all threads or, of few
 * weights, by each thread that comes to a group: what one core has packed takes another longer to read than to pack. */
typedef struct {
    const fc_correlation *c;
    fc_lanes lanes;
    size_t group_bytes, bytes;   /* of all groups */
    size_t step;                 /* from one thread's weights, and a flag for each group, to the next's; 0: all share them */
    const char *packed;
    char *fresh;                 /* the same, if the call packs them */
} fc_weights;
/* Blocks of a group's panels, each for a thread that packs what it uses and no other reads; 0 if some had less to do. */
ptrdiff_t fc_blocks_apart(ptrdiff_t groups, ptrdiff_t panels, int threads);
fc_weights fc_take_weights(fc_workspace *workspace, const fc_correlation *c, fc_lanes lanes, int threads);
/* Before the tasks, which then ask for the weights of their groups. */
void fc_begin_weights(const fc_weights *weights, int threads);
const char *fc_weights_of_group(const fc_weights *weights, ptrdiff_t group, int thread);
/* Panels [first, end) of one group among all that are packed so, on the calling thread. */
void fc_pack_panels(const fc_correlation *c, fc_lanes lanes, ptrdiff_t group, ptrdiff_t first, ptrdiff_t end,
                    char *packed);

#endif
