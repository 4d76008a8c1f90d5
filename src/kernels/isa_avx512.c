/* AVX-512 F, VL, DQ, BW: 32 registers of 64 bytes; 14x2 accumulators, broadcasts fold into the FMA. */
#define FC_ISA avx512
#define FC_VECTOR_BYTES 64
#define FC_TILE_ROWS 14
#define FC_TILE_VECTORS 2
#define FC_WIDE_ROWS 9
#define FC_DOT_ROWS 4
#define FC_DOT_COLUMNS 6

#include "isa.h"
