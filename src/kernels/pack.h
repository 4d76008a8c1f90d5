/* Data movement around the micro-kernels: packing panels, unpacking tiles. No arithmetic. */

FC_INLINE void FC_NAME(copy)(real *dst, const real *src, ptrdiff_t count)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vstore(dst + i, vload(src + i));
    if (i < count)
        vstore_n(dst + i, vload_n(src + i, (int)(count - i)), (int)(count - i));
}

#if FC_HAS_PERMUTE2
/* p[0], p[3], p[6] ...: the last load ends at the last element wanted. */
FC_INLINE vec FC_NAME(load_thirds)(const real *p)
{
    enum { LAST = 2 * LANES - 2 };  /* where the last load begins */
    vmask near, far;
    FC_UNROLL
    for (int i = 0; i < LANES; i++) {
        near[i] = 3 * i < 2 * LANES ? 3 * i : 0;
        far[i] = 3 * i < 2 * LANES ? i : LANES + 3 * i - LAST;
    }
    return vpermute2(vpermute2(vload(p), near, vload(p + LANES)), far, vload(p + LAST));
}
#endif

/* n elements `stride` apart. */
FC_INLINE vec FC_NAME(load_every)(const real *p, const int stride, const int n)
{
    if (stride == 1)
        return n == LANES ? vload(p) : vload_n(p, n);
    if (n == LANES)
        return vload_evens(p);
    const int left = 2 * n - 1;
    return vevens(vload_n(p, left < LANES ? left : LANES), vload_n(p + LANES - 1, left < LANES ? 0 : left - LANES + 1));
}

FC_INLINE void FC_NAME(copy_strided)(real *dst, const real *src, ptrdiff_t src_stride, ptrdiff_t count)
{
    if (count <= 0)
        return;
#if FC_HAS_PERMUTE2
    if (count >= LANES && src_stride == 3) {
        for (ptrdiff_t i = 0; i < count; i += LANES) {
            const ptrdiff_t at = i + LANES <= count ? i : count - LANES;
            vstore(dst + at, FC_NAME(load_thirds)(src + 3 * at));
        }
        return;
    }
#endif
    if (count >= LANES && (src_stride == 2 || src_stride == 4)) {
        /* The last vector ends at the last element, over some that the one before has copied. */
        for (ptrdiff_t i = 0; i < count; i += LANES) {
            const ptrdiff_t at = i + LANES <= count ? i : count - LANES;
            vstore(dst + at, src_stride == 2 ? vload_evens(src + 2 * at) : vload_fourths(src + 4 * at));
        }
        return;
    }
#if FC_HAS_PERMUTE2
    /* Some of a vector by masks: with AVX2's, every second element took 1.3 times as long as one by one. */
    if (src_stride == 2) {
        vstore_n(dst, FC_NAME(load_every)(src, 2, (int)count), (int)count);
        return;
    }
#endif
    if (src_stride == 4) {
        vstore_n(dst, vload_fourths_n(src, (int)count), (int)count);
        return;
    }
    for (ptrdiff_t i = 0; i < count; i++)
        dst[i] = src[i * src_stride];
}

FC_INLINE void FC_NAME(clear)(real *dst, ptrdiff_t count)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vstore(dst + i, (vec){0});
    if (i < count)
        vstore_n(dst + i, (vec){0}, (int)(count - i));
}

static void FC_NAME(pack_runs)(void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step,
                               ptrdiff_t src_stride, ptrdiff_t rows, const fc_run *runs, int run_count,
                               ptrdiff_t clear)
{
    for (ptrdiff_t row = 0; row < rows; row++) {
        real *to = (real *)dst + row * dst_step;
        const real *from = (const real *)src + row * src_step;
        FC_NAME(clear)(to, clear);
        for (int r = 0; r < run_count; r++)
            if (src_stride == 1)
                FC_NAME(copy)(to + runs[r].to, from + runs[r].from, runs[r].count);
            else
                FC_NAME(copy_strided)(to + runs[r].to, from + runs[r].from, src_stride, runs[r].count);
    }
}

/* One vector of each row, from the pieces that fall into it, which stay in registers if their number is known. */
FC_INLINE void FC_NAME(pack_vector)(real *to, ptrdiff_t dst_step, const real *from, ptrdiff_t src_step, ptrdiff_t rows,
                                    const fc_piece *pieces, const int count)
{
    enum { MOST_KNOWN = 2 };
    fc_piece known[MOST_KNOWN];
    FC_UNROLL
    for (int i = 0; i < MOST_KNOWN; i++)
        known[i] = i < count ? pieces[i] : (fc_piece){0, 0};
    for (ptrdiff_t row = 0; row < rows; row++, to += dst_step, from += src_step) {
        vec v = count > 0 ? vload_lanes(from + known[0].from, known[0].lanes) : (vec){0};
        FC_UNROLL
        for (int i = 1; i < count && i < MOST_KNOWN; i++)
            v = vor(v, vload_lanes(from + known[i].from, known[i].lanes));
        for (int i = MOST_KNOWN; i < count; i++)
            v = vor(v, vload_lanes(from + pieces[i].from, pieces[i].lanes));
        vstore(to, v);
    }
}

/* One or two pieces in a vector are the rule. */
static void FC_NAME(pack_pieces)(void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step, ptrdiff_t rows,
                                 const fc_piece *pieces, const int *first_piece, int vectors)
{
    for (int j = 0; j < vectors; j++) {
        const fc_piece *piece = pieces + first_piece[j];
        const int count = first_piece[j + 1] - first_piece[j];
        real *to = (real *)dst + j * LANES;
        switch (count) {
        case 0: FC_NAME(pack_vector)(to, dst_step, src, src_step, rows, piece, 0); break;
        case 1: FC_NAME(pack_vector)(to, dst_step, src, src_step, rows, piece, 1); break;
        case 2: FC_NAME(pack_vector)(to, dst_step, src, src_step, rows, piece, 2); break;
        default: FC_NAME(pack_vector)(to, dst_step, src, src_step, rows, piece, count); break;
        }
    }
}

/* Vectors that hold `rows` rows of `count` elements, turned: element j of each is stored as a row, at to + j*step. */
FC_INLINE void FC_NAME(store_turned)(real *to, ptrdiff_t step, vec v[LANES], const int rows, const int count)
{
    vtranspose(v);
    if (rows == LANES && count == LANES)
        FC_UNROLL
        for (int j = 0; j < LANES; j++)
            vstore(to + j * step, v[j]);
    else
        for (int j = 0; j < count; j++)
            vstore_n(to + j * step, v[j], rows);
}

/* A vector of rows, by transposes; `step` of each is 0 if it is all zero, and else `stride`. */
FC_INLINE void FC_NAME(pack_rows)(real *to, ptrdiff_t dst_step, const real *const row[LANES],
                                  const ptrdiff_t step[LANES], const int used, const int stride, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        const int steps = count - i < LANES ? (int)(count - i) : LANES;
        vec v[LANES];
        FC_UNROLL
        for (int j = 0; j < LANES; j++) {
            v[j] = FC_NAME(load_every)(row[j] + i * step[j], stride, steps);
            __builtin_prefetch(row[j] + i * step[j] + 16 * LANES);
        }
        FC_NAME(store_turned)(to + i * dst_step, dst_step, v, used, steps);
    }
}

static void FC_NAME(pack_columns)(void *dst, ptrdiff_t dst_step, const void *const *rows, int row_count,
                                  ptrdiff_t src_stride, ptrdiff_t count)
{
    static const real zeros[2 * LANES];
    for (int first = 0; first < row_count; first += LANES) {
        const int used = row_count - first < LANES ? row_count - first : LANES;
        const real *row[LANES];
        ptrdiff_t stride[LANES];
        for (int j = 0; j < LANES; j++) {
            const real *given = j < used ? rows[first + j] : NULL;
            row[j] = given ? given : zeros;
            stride[j] = given ? src_stride : 0;
        }
        real *to = (real *)dst + first;
        if (src_stride == 1)
            FC_NAME(pack_rows)(to, dst_step, row, stride, used, 1, count);
        else if (src_stride == 2)
            FC_NAME(pack_rows)(to, dst_step, row, stride, used, 2, count);
        else
            for (ptrdiff_t i = 0; i < count; i++)
                for (int j = 0; j < used; j++)
                    to[i * dst_step + j] = row[j][i * stride[j]];
    }
}

/* The taps of up to LANES filters: many by a transpose, a few one by one. */
FC_INLINE void FC_NAME(pack_filter_block)(real *dst, ptrdiff_t dst_step, const real *src, ptrdiff_t row_step, int rows,
                                          int filled, int taps)
{
    for (int t = 0; t < taps; t += LANES) {
        const int steps = taps - t < LANES ? taps - t : LANES;
        real *to = dst + t * dst_step;
        if (steps < LANES / 4) {
            for (int s = 0; s < steps; s++)
                for (int j = 0; j < filled; j++)
                    to[s * dst_step + j] = j < rows ? src[j * row_step + t + s] : 0;
            continue;
        }
        vec v[LANES];
        FC_UNROLL
        for (int j = 0; j < LANES; j++)
            v[j] = j < rows ? vload_n(src + j * row_step + t, steps) : (vec){0};
        vtranspose(v);
        FC_UNROLL
        for (int s = 0; s < LANES; s++)
            if (s < steps && filled == LANES)
                vstore(to + s * dst_step, v[s]);
            else if (s < steps)
                vstore_n(to + s * dst_step, v[s], filled);
    }
}

static void FC_NAME(pack_filters)(void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step,
                                  ptrdiff_t row_step, int rows, int filled, int taps, ptrdiff_t count)
{
    for (int first = 0; first < filled; first += LANES) {
        const int used = rows - first < LANES ? rows - first : LANES;
        const int stored = filled - first < LANES ? filled - first : LANES;
        for (ptrdiff_t q = 0; q < count; q++) {
            real *to = (real *)dst + first + q * taps * dst_step;
            const real *from = (const real *)src + q * src_step + first * row_step;
            /* Channels lie whole filters apart, where the hardware does not look ahead. */
            for (int j = 0; j < used; j++)
                __builtin_prefetch(from + 4 * src_step + j * row_step);
            if (used == LANES)
                FC_NAME(pack_filter_block)(to, dst_step, from, row_step, LANES, LANES, taps);
            else
                FC_NAME(pack_filter_block)(to, dst_step, from, row_step, used, stored, taps);
        }
    }
}

/* Up to LANES rows, ld apart, as columns: element j of each is stored as a row, at to + j*step. */
FC_INLINE void FC_NAME(turn_rows)(real *to, ptrdiff_t step, const real *from, ptrdiff_t ld, const int rows, ptrdiff_t columns)
{
    for (ptrdiff_t j = 0; j < columns; j += LANES) {
        const int count = columns - j < LANES ? (int)(columns - j) : LANES;
        vec v[LANES];
        FC_UNROLL
        for (int i = 0; i < LANES; i++)
            v[i] = i >= rows ? (vec){0} : count == LANES ? vload(from + i * ld + j) : vload_n(from + i * ld + j, count);
        FC_NAME(store_turned)(to + j * step, step, v, rows, count);
    }
}

static void FC_NAME(copy_matrix)(void *dst, ptrdiff_t row_step, ptrdiff_t column_step, const void *src, ptrdiff_t ld,
                                 ptrdiff_t rows, ptrdiff_t columns)
{
    if (column_step == 1) {
        for (ptrdiff_t i = 0; i < rows; i++)
            FC_NAME(copy)((real *)dst + i * row_step, (const real *)src + i * ld, columns);
    } else if (row_step == 1) {
        for (ptrdiff_t i = 0; i < rows; i += LANES) {
            const int used = rows - i < LANES ? (int)(rows - i) : LANES;
            real *to = (real *)dst + i;
            const real *from = (const real *)src + i * ld;
            for (ptrdiff_t j = 0; j < columns && i + 2 * LANES < rows; j++)
                __builtin_prefetch(to + 2 * LANES + j * column_step, 1);
            /* The last of 7 x 7 pixels, say: a transpose takes as long as for a vector of them. */
            if (used < LANES / 4)
                for (ptrdiff_t j = 0; j < columns; j++)
                    for (int s = 0; s < used; s++)
                        to[s + j * column_step] = from[s * ld + j];
            else if (used == LANES)
                FC_NAME(turn_rows)(to, column_step, from, ld, LANES, columns);
            else
                FC_NAME(turn_rows)(to, column_step, from, ld, used, columns);
        }
    } else if (row_step < column_step) {
        /* Near elements first: of planes 4 KiB apart a cache holds few at a time. */
        for (ptrdiff_t j = 0; j < columns; j++)
            for (ptrdiff_t i = 0; i < rows; i++)
                ((real *)dst)[i * row_step + j * column_step] = ((const real *)src)[i * ld + j];
    } else {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < columns; j++)
                ((real *)dst)[i * row_step + j * column_step] = ((const real *)src)[i * ld + j];
    }
}

static void FC_NAME(fill)(void *dst, ptrdiff_t row_step, ptrdiff_t column_step, ptrdiff_t rows, ptrdiff_t columns,
                          const void *value)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            ((real *)dst)[i * row_step + j * column_step] = *(const real *)value;
}
