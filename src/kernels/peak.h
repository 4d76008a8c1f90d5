/* The CPU's own limit: independent multiply-adds on registers. Returns a value that depends on all of them. */
static double FC_NAME(peak)(ptrdiff_t steps, double seed)
{
    enum { ACCUMULATORS = FC_TILE_ROWS * FC_TILE_VECTORS };
    vec acc[ACCUMULATORS];
    const vec factor = vset1((real)(seed * 0.5)), term = vset1((real)seed);
    FC_UNROLL
    for (int i = 0; i < ACCUMULATORS; i++)
        acc[i] = vset1((real)(seed * i));
    for (ptrdiff_t s = 0; s < steps; s++)
        FC_UNROLL
        for (int i = 0; i < ACCUMULATORS; i++)
            acc[i] = acc[i] * factor + term;
    vec total = {0};
    FC_UNROLL
    for (int i = 0; i < ACCUMULATORS; i++)
        total += acc[i];
    return (double)vsum(total);
}
