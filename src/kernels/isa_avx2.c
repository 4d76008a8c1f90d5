/* AVX2 with FMA: 16 registers of 32 bytes; 6x2 accumulators leave room for B and a broadcast. */
#define FC_ISA avx2
#define FC_VECTOR_BYTES 32
#define FC_TILE_ROWS 6
#define FC_TILE_VECTORS 2
#define FC_WIDE_ROWS 4
#define FC_DOT_ROWS 2
#define FC_DOT_COLUMNS 4

#include "isa.h"
