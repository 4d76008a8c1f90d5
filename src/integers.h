/* Arithmetic of sizes that every driver needs. */
#ifndef FC_INTEGERS_H
#define FC_INTEGERS_H

#include <stddef.h>

static inline ptrdiff_t fc_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t fc_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
static inline ptrdiff_t fc_ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
/* `count` in equal parts, of which the first `longer` are one longer: a loop over them divides once. */
typedef struct {
    ptrdiff_t length, longer;
} fc_parts;
static inline fc_parts fc_equal_parts(ptrdiff_t count, ptrdiff_t parts)
{
    return (fc_parts){count / parts, count % parts};
}
static inline ptrdiff_t fc_part_begin(fc_parts parts, ptrdiff_t i)
{
    return parts.length * i + fc_min(i, parts.longer);
}
/* Where part i of `parts` equal parts of `count` begins; without an overflowing product. */
static inline ptrdiff_t fc_part(ptrdiff_t count, ptrdiff_t parts, ptrdiff_t i)
{
    return fc_part_begin(fc_equal_parts(count, parts), i);
}
/* The same with the longer parts spread among the others: neighbours, which threads take in ranges, are as much work. */
static inline ptrdiff_t fc_spread_part(ptrdiff_t count, ptrdiff_t parts, ptrdiff_t i)
{
    const fc_parts equal = fc_equal_parts(count, parts);
    return parts < 1 << 15 ? equal.length * i + equal.longer * i / parts : fc_part_begin(equal, i);
}

#endif
