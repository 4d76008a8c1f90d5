/* Direct convolution with lanes along output channels: what its plan decides and its tasks read. */
#ifndef FC_CONV_DIRECT_CHANNELS_H
#define FC_CONV_DIRECT_CHANNELS_H

#include "gemm.h"
#include "image_block.h"
#include "pack_weights.h"

typedef struct {
    const fc_correlation *c;
    fc_gemm gemm;                /* panels of the weights; its rows are pixels */
    int in_place;                /* the image is read where it lies, a small one of a 1x1 kernel as one row of pixels */
    int by_rows;                 /* of NHWC: a pixel's channels are its steps, side by side */
    int steady;                  /* of an image in place, each step is the next channel */
    ptrdiff_t pixel_step;        /* between pixels of a row */
    int buffered;                /* y is turned: its channels do not lie side by side */
    ptrdiff_t height, width;     /* rows of outputs and pixels of a row: of y, or all in one row */
    ptrdiff_t rows;              /* in a block */
    ptrdiff_t row_blocks, pixel_blocks, filter_blocks;
    ptrdiff_t chunks;            /* of depth blocks, whose channels are copied at once */
    ptrdiff_t parts;             /* of the chunks, each a task whose products are added up in the end; or 0 */
    fc_image_block block;
    fc_weights weights;          /* unless each task packs a panel when it comes to it */
    ptrdiff_t ask_step;          /* elements of the next image that are asked for at each step, or 0 */
    ptrdiff_t *offset;           /* of every step of the reduction, from the first channel of its chunk */
    char *partial;               /* products of each part: pixels with their channels */
    size_t group_bytes, image_bytes, c_bytes, scratch_bytes;
    int packs_first;             /* weights that more than one image or block of rows uses; */
    int packs_apart;             /* of these a task packs what it uses, for all images */
    ptrdiff_t *kept;             /* the panel of weights that a thread's scratch keeps for its next task, or -1 */
    char *scratch;
} fc_channels_job;

/* Steps [k, end) of the reduction, the first in depth block `block`: of channels [q, q + channels). */
typedef struct {
    ptrdiff_t i, k, end, block, q, channels;
} fc_depth_chunk;

/* Pixels of a tile, at most, of a panel of so many filters: of one vector it takes more, if they lie side by side. */
static inline ptrdiff_t fc_tile_pixels(const fc_channels_job *job, ptrdiff_t filters)
{
    const fc_kernels *kernels = job->c->kernels;
    return filters <= kernels->lanes && !job->by_rows ? kernels->tall_rows : kernels->tile_rows;
}

/* conv_direct_channels_plan.c: chunk i of the reduction. */
fc_depth_chunk fc_depth_chunk_at(const fc_channels_job *job, ptrdiff_t i);
/* 0 if a task does not fit into a thread's scratch. */
int fc_direct_channels_plan(fc_channels_job *job, const fc_correlation *c, int threads);

#endif
