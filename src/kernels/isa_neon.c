/* AArch64 NEON: 32 registers of 16 bytes, fused multiply-add. */
#define FC_ISA neon
#define FC_VECTOR_BYTES 16
#define FC_TILE_ROWS 12
#define FC_TILE_VECTORS 2
#define FC_WIDE_ROWS 9
#define FC_DOT_ROWS 4
#define FC_DOT_COLUMNS 4

#include "isa.h"
