/* For files that setup.py compiles once for each instruction set (its flags, and LADDER_ISA as its name): vectors as
 * wide as the registers, a tile that fills them, and names that carry the instruction set, as in `multiply__avx2`. */
#ifndef LADDER_ISA_H
#define LADDER_ISA_H

#include "ladder.h"

#define LADDER_JOIN_(name, isa) name##__##isa
#define LADDER_JOIN(name, isa) LADDER_JOIN_(name, isa)
#define ISA(name) LADDER_JOIN(name, LADDER_ISA)

/* Static functions too: by its name a disassembly tells which registers a function may use. */
#define pack ISA(pack)
#define tile ISA(tile)
#define multiply ISA(multiply)

#if defined(__AVX512F__)
#define VECTOR_BYTES 64 /* 32 registers: 14 x 2 sums, 2 of B, 1 of A */
#define TILE_ROWS 14
#elif defined(__AVX2__)
#define VECTOR_BYTES 32 /* 16 registers: 6 x 2 sums, 2 of B, 1 of A */
#define TILE_ROWS 6
#else
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#endif

/* A vector of floats: + and * work lane by lane, and a number stands for a vector full of it. This is an extension of
 * GCC and Clang; they make the instructions of whatever CPU they compile for. */
typedef float vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
enum { LANES = VECTOR_BYTES / sizeof(float), TILE_VECTORS = 2, TILE_COLUMNS = TILE_VECTORS * LANES };

/* Unrolls a short loop with constant ends completely, so that an array that it walks can live in registers. */
#define UNROLL _Pragma("GCC unroll 16")

#endif
