/* The direct weight gradient's tile: inner products of rows of dy with shifted rows of x, both read in place.
 *
 * Lanes run along pixels, so neither operand is packed; each accumulator is a vector of partial sums that are added
 * up once at the end, always in the same order.
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
        const real *dy = (const real *)tile->dy + line * tile->dy_line;
        const real *x = (const real *)tile->x + line * tile->x_line;
        for (ptrdiff_t p = 0; p < tile->width; p += LANES) {
            const ptrdiff_t left = tile->width - p;
            vec x_vector[FC_DOT_COLUMNS];
            /* Both operands are masked in the tail: a lane of zero times an infinity behind the row is a NaN. */
            FC_UNROLL
            for (int j = 0; j < columns; j++) {
                const real *q = x + tile->x_offset[j] + p;
                x_vector[j] = left >= LANES ? vload(q) : vload_n(q, (int)left);
            }
            FC_UNROLL
            for (int i = 0; i < rows; i++) {
                const real *q = dy + i * tile->dy_row + p;
                vec dy_vector = left >= LANES ? vload(q) : vload_n(q, (int)left);
                FC_UNROLL
                for (int j = 0; j < columns; j++)
                    acc[i][j] += dy_vector * x_vector[j];
            }
        }
    }
    FC_UNROLL
    for (int i = 0; i < rows; i++)
        FC_UNROLL
        for (int j = 0; j < columns; j++)
            ((real *)tile->dw)[i * tile->dw_row + tile->dw_offset[j]] += vsum(acc[i][j]);
}

#define FC_DOT_COLUMN_CASE_(i, j)                     \
    case (i) * 8 + (j):                               \
        FC_NAME(dot_tile_body)(tile, i, j);           \
        break;
#define FC_DOT_CASE_1(j) FC_DOT_COLUMN_CASE_(1, j)
#define FC_DOT_CASE_2(j) FC_DOT_COLUMN_CASE_(2, j)
#define FC_DOT_CASE_3(j) FC_DOT_COLUMN_CASE_(3, j)
#define FC_DOT_CASE_4(j) FC_DOT_COLUMN_CASE_(4, j)

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
#undef FC_DOT_COLUMN_CASE_
#undef FC_DOT_CASE_1
#undef FC_DOT_CASE_2
#undef FC_DOT_CASE_3
#undef FC_DOT_CASE_4
