/* Narrow rows of an image, padded and split by stride phase: each vector of a row is a permutation of the image's row, which
 * takes two vectors at most. Only where a permutation may choose from two. */

#if FC_HAS_PERMUTE2
/* Which element of the image's row is in each lane of a vector, and whether there is one. */
static void FC_NAME(map_row)(const fc_image_rows *job, ptrdiff_t first, vmask *index, vchoice *inside)
{
    uint32_t lanes = 0;
    for (int i = 0; i < LANES; i++) {
        const ptrdiff_t phase = (first + i) / job->phase_length, e = (first + i) % job->phase_length;
        const ptrdiff_t at = job->low + e * job->stride + phase;
        const int is_inside = phase < job->phases && at >= 0 && at < job->width;
        (*index)[i] = is_inside ? (lane_int)at : 0;
        lanes |= (uint32_t)is_inside << i;
    }
    *inside = (vchoice)lanes;
}

static void FC_NAME(image_rows)(const fc_image_rows *job)
{
    vmask index[FC_IMAGE_ROW_VECTORS];
    vchoice inside[FC_IMAGE_ROW_VECTORS];
    const ptrdiff_t row_length = job->phases * job->phase_length, whole = row_length / LANES;
    for (ptrdiff_t j = 0; j * LANES < row_length; j++)
        FC_NAME(map_row)(job, j * LANES, &index[j], &inside[j]);
    const int low = job->width < LANES ? (int)job->width : LANES, high = (int)job->width - low;
    const real *x = job->x;
    real *plane = job->to;
    for (ptrdiff_t channel = 0; channel < job->channels; channel++, x += job->x_channel, plane += job->plane) {
        FC_NAME(clear)(plane, job->zeros_before);
        real *to = plane + job->zeros_before;
        const real *row = x;
        for (ptrdiff_t i = 0; i < job->rows; i++, row += job->x_row, to += job->row_step) {
            const vec a = vload_n(row, low), b = vload_n(row + LANES, high);
            __builtin_prefetch(row + job->x_channel);
            for (ptrdiff_t j = 0; j < whole; j++)
                vstore(to + j * LANES, vwhere(inside[j], vpermute2(a, index[j], b)));
            if (whole * LANES < row_length)
                vstore_n(to + whole * LANES, vwhere(inside[whole], vpermute2(a, index[whole], b)),
                         (int)(row_length - whole * LANES));
        }
        FC_NAME(clear)(plane + job->end, job->zeros_behind);
    }
}
#else
static void FC_NAME(image_rows)(const fc_image_rows *job) { (void)job; }
#endif
