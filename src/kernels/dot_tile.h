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

    for (ptrdiff_t line = 0; line < tile->lines; line++) {
        const real *a = (const real *)tile->a + line * tile->a_line;
        const real *b = (const real *)tile->b + line * tile->b_line;
        for (ptrdiff_t p = 0; p < tile->width; p += LANES) {
            const ptrdiff_t left = tile->width - p;
            vec b_vector[FC_DOT_COLUMNS];
            /* Both operands are masked in the tail: a lane of zero times an infinity behind the row is a NaN. */
            FC_UNROLL
            for (int j = 0; j < columns; j++) {
                const real *q = b + tile->b_offset[j] + p;
                b_vector[j] = left >= LANES ? vload(q) : vload_n(q, (int)left);
            }
            FC_UNROLL
            for (int i = 0; i < rows; i++) {
                const real *q = a + i * tile->a_row + p;
                vec a_vector = left >= LANES ? vload(q) : vload_n(q, (int)left);
                FC_UNROLL
                for (int j = 0; j < columns; j++)
                    acc[i][j] += a_vector * b_vector[j];
            }
        }
    }
    FC_UNROLL
    for (int i = 0; i < rows; i++)
        FC_UNROLL
        for (int j = 0; j < columns; j++) {
            real *c = (real *)tile->c + i * tile->c_row + tile->c_offset[j];
            real total = vsum(acc[i][j]);
            if (tile->accumulate)
                total += *c;
            if (tile->row_bias)
                total += ((const real *)tile->row_bias)[i];
            *c = tile->relu && total < 0 ? 0 : total;
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
