/* Splitting the weight gradient's sum: the images are cut into units of rows, the units into chunks by the problem
 * alone, each chunk sums into its own copy of dw, and the copies are added in order. */
#ifndef FC_WEIGHT_PARTIALS_H
#define FC_WEIGHT_PARTIALS_H

#include "correlation.h"

typedef struct {
    ptrdiff_t chunks, units, units_in_image, rows, images;
    ptrdiff_t weights;  /* elements of dw */
    size_t bytes, step; /* of dw, and between the copies */
    char *dw, *copies;  /* one chunk sums straight into dw */
} fc_weight_partials;

/* Rows of one image, or all rows of some images. */
typedef struct {
    ptrdiff_t n, images, row, rows;
} fc_weight_unit;

/* Units of `rows` rows, or of `images` images if these are all rows, in up to `chunks` chunks. */
fc_weight_partials fc_plan_partials(const fc_correlation *c, ptrdiff_t rows, ptrdiff_t images, ptrdiff_t chunks,
                                    fc_workspace *workspace);

/* Chunks of so many units, whose copies of dw take a bounded size in sum. */
ptrdiff_t fc_most_chunks(const fc_correlation *c, ptrdiff_t units);

/* Chunks that are enough for all threads where dw itself offers so many independent tiles. */
ptrdiff_t fc_chunks_beside(ptrdiff_t tiles);

static inline ptrdiff_t fc_partials_first(const fc_weight_partials *p, ptrdiff_t chunk)
{
    return fc_part(p->units, p->chunks, chunk);
}

static inline fc_weight_unit fc_partials_unit(const fc_weight_partials *p, const fc_correlation *c, ptrdiff_t unit)
{
    const ptrdiff_t n = unit / p->units_in_image * p->images, row = unit % p->units_in_image * p->rows;
    return (fc_weight_unit){n, fc_min(p->images, c->n - n), row, fc_min(p->rows, c->oh - row)};
}

static inline char *fc_partial(const fc_weight_partials *p, ptrdiff_t chunk)
{
    return p->chunks == 1 ? p->dw : p->copies + (size_t)chunk * p->step;
}

void fc_clear_partials(const fc_weight_partials *p, int threads);
void fc_sum_partials(const fc_weight_partials *p, const fc_correlation *c, int threads);

#endif
