/* The portable build: 16-byte vectors, which every CPU of the architecture has (SSE2 on x86-64). */
#define FC_ISA baseline
#define FC_VECTOR_BYTES 16
#define FC_TILE_ROWS 6
#define FC_TILE_VECTORS 2
#define FC_WIDE_ROWS 4
#define FC_DOT_ROWS 2
#define FC_DOT_COLUMNS 4

#include "isa.h"
