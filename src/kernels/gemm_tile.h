/* The micro-kernel: one register tile of C = A·B, and its epilogue.
 *
 * rows x vectors accumulators stay in registers through the whole reduction; each step loads `vectors` vectors of B
 * and broadcasts `rows` elements of A. The widest tile keeps 2 x latency fused multiply-adds in flight and leaves
 * registers for B. Every tile height is its own instance, so that panels can be split into equal heights and no
 * row is wasted. (Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.)
 */

/* Panels stream from L2, one after the other: this far ahead the next lines are asked for (512 floats gave +12 % on
 * VGG's 3x3 layers for A), unless the driver knows better. */
#define FC_PREFETCH_BYTES 2048

/* Steps during which C's lines come. */
#define FC_LAST_STEPS 64

/* The epilogue, a pass over the accumulators for each thing asked for: what short reductions do not want is then
 * skipped by one branch, not by one for each element of the tile. Only the last vector of a row may be partial, or both of
 * a pair. */
FC_INLINE void FC_NAME(gemm_tile_store)(const fc_tile *tile, vec *acc, const int rows, const int vectors, const int pair)
{
    const int tail = pair ? tile->columns : tile->columns - (vectors - 1) * LANES, whole = pair ? 0 : vectors - 1;
    real *c = tile->c;
    const ptrdiff_t ldc = tile->ldc, c_vector = pair ? tile->c_pair : LANES;
#define FC_EACH(statement)                     \
    FC_UNROLL                                  \
    for (int i = 0; i < rows; i++)             \
        FC_UNROLL                              \
        for (int j = 0; j < vectors; j++) {    \
            vec *v = acc + i * vectors + j;    \
            real *at = c + i * ldc + j * c_vector; \
            (void)at;                          \
            statement;                         \
        }
    if (tile->accumulate) {
        if (tail == LANES)
            FC_EACH(*v += vload(at))
        else
            FC_EACH(*v += j < whole ? vload(at) : vload_n(at, tail))
    }
    if (tile->row_bias)
        FC_EACH(*v += vset1(((const real *)tile->row_bias)[i]))
    if (tile->column_bias) {
        vec bias[FC_WIDE_VECTORS];
        FC_UNROLL
        for (int j = 0; j < vectors; j++)
            bias[j] = vload_n((const real *)tile->column_bias + j * LANES, j < vectors - 1 ? LANES : tail);
        FC_EACH(*v += bias[j])
    }
    if (tile->relu)
        FC_EACH(*v = vselect((vmask)(*v < (vec){0}), (vec){0}, *v))
    if (tail == LANES)
        FC_EACH(vstore(at, *v))
    else
        FC_EACH(if (j < whole) vstore(at, *v); else vstore_n(at, *v, tail))
#undef FC_EACH
}

FC_INLINE void FC_NAME(gemm_tile_ask_c)(const fc_tile *tile, const int rows, const int vectors, const int pair)
{
    const ptrdiff_t c_vector = pair ? tile->c_pair : LANES;
    if (tile->accumulate || tile->ask_c)
        FC_UNROLL
        for (int i = 0; i < rows; i++)
            FC_UNROLL
            for (int j = 0; j < vectors; j++)
                __builtin_prefetch((const real *)tile->c + i * tile->ldc + j * c_vector, 1);
    if (tile->ask_c)
        FC_UNROLL
        for (int i = 0; i < rows; i++)
            __builtin_prefetch((const real *)tile->c + i * tile->ldc + (pair ? c_vector : 0) + tile->columns - 1, 1);
}

enum { FC_NAME(A_PACKED), FC_NAME(A_BY_ROWS), FC_NAME(A_BY_STEPS), FC_NAME(A_BY_BOTH) };

enum { FC_NAME(B_PACKED), FC_NAME(B_IN_PLACE), FC_NAME(B_PAIR) };

FC_INLINE void FC_NAME(gemm_tile_body)(const fc_tile *tile, const int rows, const int vectors, const int a_is,
                                      const int b_is)
{
    const int b_in_place = b_is != FC_NAME(B_PACKED), pair = b_is == FC_NAME(B_PAIR);
    const ptrdiff_t b_vector_step = pair ? tile->b_pair : LANES;
    vec acc[FC_TILE_ROWS * FC_WIDE_VECTORS];
    FC_UNROLL
    for (int i = 0; i < rows * vectors; i++)
        acc[i] = (vec){0};
    /* C's lines come while the products are summed: a new C's during the last steps, for panels that stream through L1
     * would drive them out again. */
    const int streams = a_is == FC_NAME(A_PACKED) && !b_in_place;
    const int asks_last = streams && tile->ask_c && !tile->accumulate;
    if (!asks_last)
        FC_NAME(gemm_tile_ask_c)(tile, rows, vectors, pair);

    const real *a = tile->a;
    const real *b = tile->b;
    const int a_by_rows = a_is == FC_NAME(A_BY_ROWS), a_by_steps = a_is >= FC_NAME(A_BY_STEPS);
    const real *a_of_row[FC_TALL_ROWS];
    FC_UNROLL
    for (int i = 0; i < rows; i++)
        a_of_row[i] = a_is == FC_NAME(A_BY_BOTH) ? a + tile->a_row_offset[i] : a;
    const ptrdiff_t a_step = tile->a_step ? tile->a_step : rows, ldb = tile->ldb;
    const ptrdiff_t *a_offset = tile->a_offset, *b_offset = tile->b_offset;
    /* Towards the end of its rows, the beginnings of the next tile's are asked for. */
    const ptrdiff_t turn = tile->depth - 2 * LANES;
    const real *a_next = a_by_rows && tile->a_next ? (const real *)tile->a_next - tile->depth : a;
    const real *ask = tile->ask ? tile->ask : b_in_place ? b : b + FC_PREFETCH_BYTES / sizeof(real);
    const ptrdiff_t ask_step = tile->ask ? tile->ask_step : b_in_place ? 0 : ldb;
    real *copy = tile->b_copy;
    ptrdiff_t r = 0, end = asks_last ? tile->depth - FC_LAST_STEPS : tile->depth;
    for (;; end = tile->depth) {
        for (; r < end; r++) {
            const real *b_row = b_in_place ? b + b_offset[r] : b;
            const ptrdiff_t at = a_by_steps ? a_offset[r] : 0;
            vec b_vector[FC_WIDE_VECTORS];
            FC_UNROLL
            for (int j = 0; j < vectors; j++) {
                /* One vector's loads are hidden by the latency of its products. */
                const real *at_vector = b_row + j * b_vector_step;
                b_vector[j] = rows > 1 && vectors > 1 ? vload_once(at_vector) : vload(at_vector);
            }
            FC_UNROLL
            for (int i = 0; i < rows; i++) {
                vec a_element = vset1(a_by_rows                        ? a[i * tile->a_row]
                                      : a_is == FC_NAME(A_BY_BOTH) ? a_of_row[i][at]
                                                                   : a[at + i]);
                FC_UNROLL
                for (int j = 0; j < vectors; j++)
                    acc[i * vectors + j] += a_element * b_vector[j];
            }
            /* By rows, one row's next lines a step. Few panels that meet pixels in place stay in L1: to ask for them, too, took
             * depthwise convolution 1.04 to 1.09 times as long. A tall tile has a load for each product, and none to spare. */
            if (a_is == FC_NAME(A_PACKED) && !b_in_place && rows <= FC_TILE_ROWS)
                __builtin_prefetch(a + FC_PREFETCH_BYTES / sizeof(real));
            else if (a_by_rows && r % LANES < rows)
                __builtin_prefetch((r < turn ? a : a_next) + r % LANES * tile->a_row + 2 * LANES);
            FC_UNROLL
            for (int j = 0; j < vectors; j++)
                __builtin_prefetch(ask + j * LANES);
            if (b_in_place && copy) {
                FC_UNROLL
                for (int j = 0; j < vectors; j++)
                    vstore(copy + j * LANES, b_vector[j]);
                copy += FC_TILE_VECTORS * LANES;
            }
            ask += ask_step;
            a += a_by_steps ? 0 : a_by_rows ? 1 : a_step;
            a_next += a_by_rows;
            b += b_in_place ? 0 : ldb;
        }
        if (!streams || end == tile->depth)
            break;
        FC_NAME(gemm_tile_ask_c)(tile, rows, vectors, pair);
    }

    if (tile->epilogue_ticks)
        *tile->epilogue_ticks = fc_ticks();
    FC_NAME(gemm_tile_store)(tile, acc, rows, vectors, pair);
}

FC_INLINE void FC_NAME(gemm_tile_of)(const fc_tile *tile, const int rows, const int vectors)
{
    if (tile->a_row_offset)
        FC_NAME(gemm_tile_body)(tile, rows, vectors, FC_NAME(A_BY_BOTH), FC_NAME(B_PACKED));
    else if (tile->a_offset)
        FC_NAME(gemm_tile_body)(tile, rows, vectors, FC_NAME(A_BY_STEPS), FC_NAME(B_PACKED));
    else if (tile->a_row && tile->b_offset)
        FC_NAME(gemm_tile_body)(tile, rows, vectors, FC_NAME(A_BY_ROWS), FC_NAME(B_IN_PLACE));
    else if (tile->a_row)
        FC_NAME(gemm_tile_body)(tile, rows, vectors, FC_NAME(A_BY_ROWS), FC_NAME(B_PACKED));
    else if (tile->b_offset)
        FC_NAME(gemm_tile_body)(tile, rows, vectors, FC_NAME(A_PACKED), FC_NAME(B_IN_PLACE));
    else
        FC_NAME(gemm_tile_body)(tile, rows, vectors, FC_NAME(A_PACKED), FC_NAME(B_PACKED));
}

/* The last vectors of two rows of an image, which alone would be bound by their loads. */
FC_INLINE void FC_NAME(gemm_tile_pair)(const fc_tile *tile, const int rows)
{
    if (tile->a_row)
        FC_NAME(gemm_tile_body)(tile, rows, 2, FC_NAME(A_BY_ROWS), FC_NAME(B_PAIR));
    else
        FC_NAME(gemm_tile_body)(tile, rows, 2, FC_NAME(A_PACKED), FC_NAME(B_PAIR));
}

/* Few rows of an image read in place: with three vectors each broadcast is used three times. Of more rows there is no
 * instance: a case that cannot be names that of one. */
FC_INLINE void FC_NAME(gemm_tile_wide)(const fc_tile *tile, const int rows)
{
    if (tile->a_row)
        FC_NAME(gemm_tile_body)(tile, rows, FC_WIDE_VECTORS, FC_NAME(A_BY_ROWS), FC_NAME(B_IN_PLACE));
    else
        FC_NAME(gemm_tile_body)(tile, rows, FC_WIDE_VECTORS, FC_NAME(A_PACKED), FC_NAME(B_IN_PLACE));
}

#define FC_GEMM_CASE(n)                                             \
    case n:                                                         \
        if (tile->b_pair)                                           \
            FC_NAME(gemm_tile_pair)(tile, n);                       \
        else if (n <= FC_WIDE_ROWS && tile->columns > 2 * LANES)    \
            FC_NAME(gemm_tile_wide)(tile, n <= FC_WIDE_ROWS ? n : 1); \
        else if (tile->columns > LANES)                             \
            FC_NAME(gemm_tile_of)(tile, n, 2);                      \
        else                                                        \
            FC_NAME(gemm_tile_of)(tile, n, 1);                      \
        break;

/* Pixels side by side times one vector of filters: with twice the rows each vector of B is used as often as two are, and
 * nearly all loads are broadcasts that come with their products. (Steps at offsets take 1.1 times as long.) */
FC_INLINE void FC_NAME(gemm_tile_tall)(const fc_tile *tile, const int rows)
{
    if (tile->a_offset)
        FC_NAME(gemm_tile_body)(tile, rows, 1, FC_NAME(A_BY_STEPS), FC_NAME(B_PACKED));
    else
        FC_NAME(gemm_tile_body)(tile, rows, 1, FC_NAME(A_PACKED), FC_NAME(B_PACKED));
}

#define FC_TALL_CASE(n)                                \
    case FC_TILE_ROWS + n:                             \
        FC_NAME(gemm_tile_tall)(tile, FC_TILE_ROWS + n); \
        break;

static void FC_NAME(gemm_tile)(const fc_tile *tile)
{
    switch (tile->rows) {
        FC_CASES(FC_TILE_ROWS, FC_GEMM_CASE)
        FC_CASES(FC_TILE_ROWS, FC_TALL_CASE)
    }
}
#undef FC_GEMM_CASE
#undef FC_TALL_CASE
#undef FC_PREFETCH_BYTES
#undef FC_LAST_STEPS
