/* A tile of inner products: both operands lie along the reduction, so neither is packed.
 *
 * It serves the direct weight gradient, whose reduction runs along rows of pixels, and images of a few pixels, whose
 * weights would be packed to be used only a few times. Each accumulator is a vector of partial sums that are added up
 * once at the end, always in the same order.
 */
FC_INLINE void FC_NAME(dot_tile_body)(const fc_dot_tile *tile, const int rows, const int columns)
{
    vec acc[FC_DOT_ROWS][FC_DOT_COLUMNS];
    FC_UNROLL
    for (int i = 0; i < rows; i++)
        FC_UNROLL
        for (int j = 0; j < columns; j++)
            acc[i][j] = (vec){0};

    const real *a[FC_DOT_ROWS], *b[FC_DOT_COLUMNS];
    FC_UNROLL
    for (int i = 0; i < rows; i++)
        a[i] = (const real *)tile->a + i * tile->a_row;
    FC_UNROLL
    for (int j = 0; j < columns; j++)
        b[j] = (const real *)tile->b + tile->b_offset[j];
#define FC_STEP(load)                              \
    {                                              \
        vec b_vector[FC_DOT_COLUMNS];              \
        FC_UNROLL                                  \
        for (int j = 0; j < columns; j++)          \
            b_vector[j] = load(b[j] + p);          \
        FC_UNROLL                                  \
        for (int i = 0; i < rows; i++) {           \
            vec a_vector = load(a[i] + p);         \
            FC_UNROLL                              \
            for (int j = 0; j < columns; j++)      \
                acc[i][j] += a_vector * b_vector[j]; \
        }                                          \
    }
#define FC_LOAD_TAIL(from) vload_n(from, tail)
    const ptrdiff_t whole = tile->width / LANES * LANES;
    const int tail = (int)(tile->width - whole);
    for (ptrdiff_t line = 0; line < tile->lines; line++) {
        ptrdiff_t p = 0;
        for (; p < whole; p += LANES)
            FC_STEP(vload_once)
        /* Both operands are masked: a lane of zero times an infinity behind the row is a NaN. */
        if (tail)
            FC_STEP(FC_LOAD_TAIL)
        FC_UNROLL
        for (int i = 0; i < rows; i++)
            a[i] += tile->a_line;
        FC_UNROLL
        for (int j = 0; j < columns; j++)
            b[j] += tile->b_line;
    }
#undef FC_STEP
#undef FC_LOAD_TAIL
    enum { SUMS = (FC_DOT_ROWS * FC_DOT_COLUMNS + LANES - 1) / LANES * LANES };
    _Alignas(FC_VECTOR_BYTES) real sums[SUMS];
    FC_UNROLL
    for (int first = 0; first < rows * columns; first += LANES) {
        vec v[LANES];
        FC_UNROLL
        for (int i = 0; i < LANES; i++)
            v[i] = first + i < rows * columns ? acc[(first + i) / columns][(first + i) % columns] : (vec){0};
        vstore(sums + first, vsums(v));
    }
    for (int i = 0; i < rows; i++) {
        real *c = (real *)tile->c + i * tile->c_row;
        const real bias = tile->row_bias ? ((const real *)tile->row_bias)[i] : 0;
        for (int j = 0; j < columns; j++) {
            real total = sums[i * columns + j];
            if (tile->accumulate)
                total += c[tile->c_offset[j]];
            if (tile->row_bias)
                total += bias;
            c[tile->c_offset[j]] = tile->relu && total < 0 ? 0 : total;
        }
    }
}

#define FC_DOT_CASE(i, j)                             \
    case (i) * 8 + (j):                               \
        FC_NAME(dot_tile_body)(tile, i, j);           \
        break;
#define FC_DOT_CASE_1(j) FC_DOT_CASE(1, j)
#define FC_DOT_CASE_2(j) FC_DOT_CASE(2, j)
#define FC_DOT_CASE_3(j) FC_DOT_CASE(3, j)
#define FC_DOT_CASE_4(j) FC_DOT_CASE(4, j)

static void FC_NAME(dot_tile)(const fc_dot_tile *tile)
{
    switch (tile->rows * 8 + tile->columns) {
        FC_CASES(FC_DOT_COLUMNS, FC_DOT_CASE_1)
        FC_CASES(FC_DOT_COLUMNS, FC_DOT_CASE_2)
#if FC_DOT_ROWS == 4
        FC_CASES(FC_DOT_COLUMNS, FC_DOT_CASE_3)
        FC_CASES(FC_DOT_COLUMNS, FC_DOT_CASE_4)
#endif
    }
}
#undef FC_DOT_CASE
#undef FC_DOT_CASE_1
#undef FC_DOT_CASE_2
#undef FC_DOT_CASE_3
#undef FC_DOT_CASE_4
