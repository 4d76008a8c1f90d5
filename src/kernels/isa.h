/* What every ISA file includes after naming itself: FC_ISA, FC_VECTOR_BYTES and the register tile.
 *
 * FC_TILE_ROWS x FC_TILE_VECTORS accumulators are the micro-kernel's tile, of an image read in place FC_WIDE_ROWS x
 * FC_WIDE_VECTORS, which leave registers for B and a broadcast, and of one vector of B FC_TALL_ROWS; FC_DOT_ROWS x
 * FC_DOT_COLUMNS the direct weight gradient's. Every function here is static and carries the ISA in its name: nothing
 * compiled with wide registers can be picked by the linker for a CPU without them. The tables are the only exported symbols.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels.h"

/* A build with checks at every access has one instance of what is otherwise inlined and unrolled for each width and
 * height: the compiler took ten minutes for a file. */
#ifdef FC_INSTRUMENTED
#define FC_INLINE static __attribute__((unused))
#define FC_UNROLL
#else
#define FC_INLINE static inline __attribute__((always_inline))
#define FC_UNROLL _Pragma("GCC unroll 32")
#endif
#define FC_JOIN_(stem, type, isa) fc_##stem##_##type##__##isa
#define FC_JOIN(stem, type, isa) FC_JOIN_(stem, type, isa)
#define FC_STRING_(word) #word
#define FC_STRING(word) FC_STRING_(word)

#define FC_WIDE_VECTORS 3
#define FC_TALL_ROWS (2 * FC_TILE_ROWS)

#define FC_CASES_1(X) X(1)
#define FC_CASES_2(X) FC_CASES_1(X) X(2)
#define FC_CASES_3(X) FC_CASES_2(X) X(3)
#define FC_CASES_4(X) FC_CASES_3(X) X(4)
#define FC_CASES_5(X) FC_CASES_4(X) X(5)
#define FC_CASES_6(X) FC_CASES_5(X) X(6)
#define FC_CASES_7(X) FC_CASES_6(X) X(7)
#define FC_CASES_8(X) FC_CASES_7(X) X(8)
#define FC_CASES_9(X) FC_CASES_8(X) X(9)
#define FC_CASES_10(X) FC_CASES_9(X) X(10)
#define FC_CASES_11(X) FC_CASES_10(X) X(11)
#define FC_CASES_12(X) FC_CASES_11(X) X(12)
#define FC_CASES_13(X) FC_CASES_12(X) X(13)
#define FC_CASES_14(X) FC_CASES_13(X) X(14)
#define FC_CASES_(n, X) FC_CASES_##n(X)
#define FC_CASES(n, X) FC_CASES_(n, X)

#define FC_REAL_BITS 32
#include "table.h"
#undef FC_REAL_BITS
#define FC_REAL_BITS 64
#include "table.h"
#undef FC_REAL_BITS
