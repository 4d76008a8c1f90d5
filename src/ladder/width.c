/* For each instruction set: its tile, and a loop that does nothing but read, which measures bandwidth. */
#include "isa.h"

#include "steps.h"

#define TEXT_(word) #word
#define TEXT(word) TEXT_(word)

/* As many sums as keep a load in each cycle from waiting for the addition before it. */
enum { SUMS = 8 };

static float ISA(read)(const float *data, ptrdiff_t count)
{
    const vec *from = (const vec *)data;
    vec sum[SUMS] = {0};
    for (ptrdiff_t i = 0; i + SUMS <= count / LANES; i += SUMS)
        UNROLL
        for (int v = 0; v < SUMS; v++)
            sum[v] += from[i + v];
    UNROLL
    for (int v = 1; v < SUMS; v++)
        sum[0] += sum[v];
    float total = 0;
    UNROLL
    for (int lane = 0; lane < LANES; lane++)
        total += sum[0][lane];
    return total;
}

const ladder_width ISA(ladder_width) = {TEXT(LADDER_ISA), TILE_ROWS, TILE_COLUMNS, ISA(read)};
