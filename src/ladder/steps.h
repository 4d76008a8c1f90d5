/* The compiled steps by name, and what places them on the roofline. */
#ifndef LADDER_STEPS_H
#define LADDER_STEPS_H

#include "ladder.h"

/* The step compiled for an instruction set, or for all; NULL if there is none of that name. */
ladder_step *ladder_find(const char *name, const char *isa);

/* Step 8's tile with an instruction set, and a sum of `count` floats read once from an aligned array. */
typedef struct {
    const char *isa;
    ptrdiff_t tile_rows, tile_columns;
    float (*read)(const float *data, ptrdiff_t count);
} ladder_width;
const ladder_width *ladder_width_of(const char *isa);

#endif
