/* Winograd's transforms of the weight gradient F(r x r, m x m): tiles of dy as filters, and the r x r taps as the
 * outputs of one tile. The transform of x is winograd_tile.h's. */

FC_INLINE void FC_NAME(winograd_tile_filter_of)(const fc_winograd_lanes *lanes, const int size, const int m)
{
    const ptrdiff_t tiles = FC_NAME(winograd_whole_tiles)(lanes, size), step = lanes->point_step, ld = lanes->ld;
    real *to = lanes->transformed;
    for (ptrdiff_t t = 0; t < tiles; t++, to += ld) {
        vec d[FC_WINOGRAD_LARGEST];
        FC_NAME(winograd_load_tile)(lanes, t, size, m, d);
        FC_WINOGRAD_PASSES(winograd_filter_line, d, size, m, size,
                           FC_NAME(winograd_store_row)(to + i * size * step, step, size, d + i * size), size, m);
    }
    if (fc_winograd_has_edges(size))
        for (ptrdiff_t t = tiles; t < lanes->tiles; t++)
            FC_NAME(winograd_filter_edge)(lanes, t);
}

static void FC_NAME(winograd_tile_filter)(const fc_winograd_lanes *lanes)
{
    if (lanes->size == 4)
        FC_NAME(winograd_tile_filter_of)(lanes, 4, 2);
    else if (lanes->size == 6 && lanes->m == 4)
        FC_NAME(winograd_tile_filter_of)(lanes, 6, 4);
    else if (lanes->size == 6)
        FC_NAME(winograd_tile_filter_of)(lanes, 6, 2);
    else if (lanes->size == 7)
        FC_NAME(winograd_tile_filter_of)(lanes, 7, 3);
    else if (lanes->m == 6)
        FC_NAME(winograd_tile_filter_of)(lanes, 8, 6);
    else
        FC_NAME(winograd_tile_filter_of)(lanes, 8, 4);
}

FC_INLINE int FC_NAME(winograd_gradient_of)(const fc_winograd_gradient *gradient, const int size, const int r)
{
    vec taps[25], residue = {0};
    FC_NAME(winograd_output_tile)(gradient->sum, gradient->point_step, size, r, taps, r, &residue);
    FC_UNROLL
    for (int i = 0; i < r * r; i++)
        vstore((real *)gradient->taps + i * LANES, taps[i]);
    int finite = 1;
    for (int i = 0; i < gradient->channels; i++)
        finite &= residue[i] == 0;
    return finite;
}

static int FC_NAME(winograd_gradient)(const fc_winograd_gradient *gradient)
{
    if (gradient->size == 4)
        return FC_NAME(winograd_gradient_of)(gradient, 4, 3);
    if (gradient->size == 6)
        return gradient->r == 3 ? FC_NAME(winograd_gradient_of)(gradient, 6, 3)
                                : FC_NAME(winograd_gradient_of)(gradient, 6, 5);
    if (gradient->size == 7)
        return FC_NAME(winograd_gradient_of)(gradient, 7, 5);
    return gradient->r == 3 ? FC_NAME(winograd_gradient_of)(gradient, 8, 3)
                            : FC_NAME(winograd_gradient_of)(gradient, 8, 5);
}

#undef FC_WINOGRAD_PASSES
#undef FC_WINOGRAD_LARGEST
