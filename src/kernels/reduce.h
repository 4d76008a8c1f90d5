/* Sums in a fixed order: bias gradients and the partial weight gradients. */

/* Rounding grows with the number of additions in a row: partial sums of this many vectors are added in double. */
#define FC_SUM_BLOCK 64

static void FC_NAME(sum_partials)(void *dst, const void *partial, ptrdiff_t step, ptrdiff_t partials,
                                  ptrdiff_t count, int relu)
{
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        const int lanes = count - i < LANES ? (int)(count - i) : LANES;
        const real *from = (const real *)partial + i;
        vec total = vload_n(from, lanes);
        for (ptrdiff_t p = 1; p < partials; p++)
            total += vload_n(from + p * step, lanes);
        vstore_n((real *)dst + i, relu ? vselect((vmask)(total < (vec){0}), (vec){0}, total) : total, lanes);
    }
}

static double FC_NAME(sum)(const void *src, ptrdiff_t count)
{
    const real *x = src;
    double total = 0;
    for (ptrdiff_t start = 0; start < count; start += FC_SUM_BLOCK * LANES) {
        const ptrdiff_t end = count - start < FC_SUM_BLOCK * LANES ? count : start + FC_SUM_BLOCK * LANES;
        vec even = {0}, odd = {0};
        ptrdiff_t i = start;
        for (; i + 2 * LANES <= end; i += 2 * LANES) {
            even += vload(x + i);
            odd += vload(x + i + LANES);
        }
        for (; i < end; i += LANES)
            even += vload_n(x + i, end - i < LANES ? (int)(end - i) : LANES);
        total += (double)vsum(even + odd);
    }
    return total;
}
#undef FC_SUM_BLOCK
