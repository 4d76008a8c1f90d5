/* Choosing lanes: which of two values counts, loads with something in place of what is missing, and permutations. The
 * choices are a mask register with AVX-512 and a vector of all ones or zeros elsewhere. */
#undef FC_HAS_PERMUTE2
#undef FC_MM512
#define vchoice FC_NAME(vec_choice)
#define vbeats FC_NAME(vec_beats)
#define vgreater FC_NAME(vec_greater)
#define vunordered FC_NAME(vec_unordered)
#define vany FC_NAME(vec_any)
#define vmax FC_NAME(vec_max)
#define vtake FC_NAME(vec_take)
#define vtake_int FC_NAME(vec_take_int)
#define vadd_where_equal FC_NAME(vec_add_where_equal)
#define vwhere FC_NAME(vec_where)
#define vunless FC_NAME(vec_unless)
#define vadd_where FC_NAME(vec_add_where)
#define vno_larger FC_NAME(vec_no_larger)
#define vchoice_and FC_NAME(vec_choice_and)
#define vchoice_but FC_NAME(vec_choice_but)
#define vchoice_all FC_NAME(vec_choice_all)
#define vload_lanes_else FC_NAME(vec_load_lanes_else)
#define vdeal_evens FC_NAME(vec_deal_evens)
#define vdeal_odds FC_NAME(vec_deal_odds)
#define vshift_in FC_NAME(vec_shift_in)
#define vshift_out FC_NAME(vec_shift_out)
#define vpermute2 FC_NAME(vec_permute2)
#define vsqrt FC_NAME(vec_sqrt)

#if defined(__AVX512F__) && FC_VECTOR_BYTES == 64
#if FC_REAL_BITS == 32
#define FC_MM512(operation) _mm512_##operation##_ps
#define FC_MM512_INT(operation) _mm512_##operation##_epi32
#define FC_CMP(operation) _mm512_##operation##_ps_mask
#define FC_CMP_INT(operation) _mm512_##operation##_epi32_mask
#define FC_MASK(operation) operation##_mask16
typedef __mmask16 vchoice;
#else
#define FC_MM512(operation) _mm512_##operation##_pd
#define FC_MM512_INT(operation) _mm512_##operation##_epi64
#define FC_CMP(operation) _mm512_##operation##_pd_mask
#define FC_CMP_INT(operation) _mm512_##operation##_epi64_mask
#define FC_MASK(operation) operation##_mask8
typedef __mmask8 vchoice;
#endif

/* Lanes where v is larger than best, or the first NaN. */
FC_INLINE vchoice vbeats(vec v, vec best)
{
    return FC_CMP(mask_cmp)(FC_CMP(cmp)(best, best, _CMP_ORD_Q), best, v, _CMP_NGE_UQ);
}

FC_INLINE vchoice vgreater(vec a, vec b) { return FC_CMP(cmp)(a, b, _CMP_GT_OQ); }
/* Lanes where a or b is a NaN. */
FC_INLINE vchoice vunordered(vec a, vec b) { return FC_CMP(cmp)(a, b, _CMP_UNORD_Q); }
FC_INLINE int vany(vchoice chosen) { return chosen != 0; }
/* The larger; the second where they are equal or one of them is a NaN. */
FC_INLINE vec vmax(vec a, vec b) { return FC_MM512(max)(a, b); }

/* a in the chosen lanes, b in the others. */
FC_INLINE vec vtake(vchoice chosen, vec a, vec b) { return FC_MM512(mask_mov)(b, chosen, a); }
FC_INLINE vmask vtake_int(vchoice chosen, vmask a, vmask b)
{
    return (vmask)FC_MM512_INT(mask_mov)((__m512i)b, chosen, (__m512i)a);
}

/* sum + v in the lanes where a equals b, sum in the others. */
FC_INLINE vec vadd_where_equal(vec sum, vec v, vmask a, vmask b)
{
    return FC_MM512(mask_add)(sum, FC_CMP_INT(cmpeq)((__m512i)a, (__m512i)b), sum, v);
}

/* v in the chosen lanes, zero in the others; and the other way round. */
FC_INLINE vec vwhere(vchoice chosen, vec v) { return FC_MM512(maskz_mov)(chosen, v); }
FC_INLINE vec vunless(vchoice chosen, vec v) { return FC_MM512(mask_blend)(chosen, v, (vec){0}); }
/* sum + v in the chosen lanes, sum in the others. */
FC_INLINE vec vadd_where(vchoice chosen, vec sum, vec v) { return FC_MM512(mask_add)(sum, chosen, sum, v); }
/* The chosen lanes where a is no larger than b. */
FC_INLINE vchoice vno_larger(vchoice chosen, vec a, vec b) { return FC_CMP(mask_cmp)(chosen, a, b, _CMP_LE_OQ); }
/* All lanes or none. */
FC_INLINE vchoice vchoice_all(int yes) { return (vchoice)-yes; }
/* Lanes of both, and of the first alone. Operators of C would move the masks to other registers and back. */
FC_INLINE vchoice vchoice_and(vchoice a, vchoice b) { return FC_MASK(_kand)(a, b); }
FC_INLINE vchoice vchoice_but(vchoice a, vchoice b) { return FC_MASK(_kandn)(b, a); }

/* The lanes whose bits are set, those of `other` elsewhere; memory of the others is not touched. */
FC_INLINE vec vload_lanes_else(const real *p, uint32_t lanes, vec other)
{
    return FC_MM512(mask_loadu)(other, (vchoice)lanes, p);
}

/* Lane i is lane index[i] of a, or lane index[i] - LANES of b. */
FC_INLINE vec vpermute2(vec a, vmask index, vec b) { return FC_MM512(permutex2var)(a, (__m512i)index, b); }
#define FC_HAS_PERMUTE2 1

FC_INLINE vec vsqrt(vec v) { return FC_MM512(sqrt)(v); }
#else
typedef vmask vchoice;

FC_INLINE vchoice vgreater(vec a, vec b) { return (vmask)(a > b); }
FC_INLINE vchoice vunordered(vec a, vec b) { return (vmask)(a != a) | (vmask)(b != b); }
FC_INLINE int vany(vchoice chosen)
{
#if defined(__AVX2__) && FC_VECTOR_BYTES == 32
    return !_mm256_testz_si256((__m256i)chosen, (__m256i)chosen);
#else
    lane_int any = 0;
    for (int i = 0; i < LANES; i++)
        any |= chosen[i];
    return any != 0;
#endif
}
FC_INLINE vchoice vbeats(vec v, vec best) { return ~(vmask)(best >= v) & (vmask)(best == best); }

#if defined(__AVX2__) && FC_VECTOR_BYTES == 32 && FC_REAL_BITS == 32
FC_INLINE vec vtake(vchoice chosen, vec a, vec b) { return _mm256_blendv_ps(b, a, (vec)chosen); }
#elif defined(__AVX2__) && FC_VECTOR_BYTES == 32
FC_INLINE vec vtake(vchoice chosen, vec a, vec b) { return _mm256_blendv_pd(b, a, (vec)chosen); }
#else
FC_INLINE vec vtake(vchoice chosen, vec a, vec b) { return vselect(chosen, a, b); }
#endif
FC_INLINE vmask vtake_int(vchoice chosen, vmask a, vmask b) { return (vmask)vtake(chosen, (vec)a, (vec)b); }

FC_INLINE vec vmax(vec a, vec b)
{
#if defined(__AVX2__) && FC_VECTOR_BYTES == 32 && FC_REAL_BITS == 32
    return _mm256_max_ps(a, b);
#elif defined(__AVX2__) && FC_VECTOR_BYTES == 32
    return _mm256_max_pd(a, b);
#else
    return vtake(vgreater(a, b), a, b);
#endif
}

FC_INLINE vec vadd_where_equal(vec sum, vec v, vmask a, vmask b)
{
    return sum + (vec)((vmask)v & (vmask)(a == b));
}

FC_INLINE vec vwhere(vchoice chosen, vec v) { return (vec)((vmask)v & chosen); }
FC_INLINE vec vunless(vchoice chosen, vec v) { return (vec)((vmask)v & ~chosen); }
FC_INLINE vec vadd_where(vchoice chosen, vec sum, vec v) { return sum + vwhere(chosen, v); }
FC_INLINE vchoice vno_larger(vchoice chosen, vec a, vec b) { return chosen & (a <= b); }
FC_INLINE vchoice vchoice_all(int yes) { return -(lane_int)yes - (vmask){0}; }
FC_INLINE vchoice vchoice_and(vchoice a, vchoice b) { return a & b; }
FC_INLINE vchoice vchoice_but(vchoice a, vchoice b) { return a & ~b; }

FC_INLINE vec vload_lanes_else(const real *p, uint32_t lanes, vec other)
{
#if defined(__AVX2__) && FC_VECTOR_BYTES == 32
    return vtake((vmask)FC_NAME(vec_lanes)(lanes), vload_lanes(p, lanes), other);
#else
    for (int i = 0; i < LANES; i++)
        if (lanes >> i & 1)
            other[i] = p[i];
    return other;
#endif
}
#define FC_HAS_PERMUTE2 0

FC_INLINE vec vsqrt(vec v)
{
#if defined(__AVX2__) && FC_VECTOR_BYTES == 32 && FC_REAL_BITS == 32
    return _mm256_sqrt_ps(v);
#elif defined(__AVX2__) && FC_VECTOR_BYTES == 32
    return _mm256_sqrt_pd(v);
#else
    FC_UNROLL
    for (int i = 0; i < LANES; i++)
        v[i] = FC_REAL_BITS == 32 ? (real)sqrtf((float)v[i]) : (real)sqrt((double)v[i]);
    return v;
#endif
}
#endif

/* The even (odd) lanes of a, then those of b. */
FC_INLINE vec vdeal_evens(vec a, vec b)
{
#if FC_VECTOR_BYTES / (FC_REAL_BITS / 8) == 2
#define FC_DEAL(first) first, 2 + first
#define FC_SHIFT 1, 2
#define FC_SHIFT_OUT 1, 2
#elif FC_VECTOR_BYTES / (FC_REAL_BITS / 8) == 4
#define FC_DEAL(first) first, 2 + first, 4 + first, 6 + first
#define FC_SHIFT 3, 4, 5, 6
#define FC_SHIFT_OUT 1, 2, 3, 4
#elif FC_VECTOR_BYTES / (FC_REAL_BITS / 8) == 8
#define FC_DEAL(first) first, 2 + first, 4 + first, 6 + first, 8 + first, 10 + first, 12 + first, 14 + first
#define FC_SHIFT 7, 8, 9, 10, 11, 12, 13, 14
#define FC_SHIFT_OUT 1, 2, 3, 4, 5, 6, 7, 8
#else
#define FC_DEAL(first)                                                                                                 \
    first, 2 + first, 4 + first, 6 + first, 8 + first, 10 + first, 12 + first, 14 + first, 16 + first, 18 + first,     \
        20 + first, 22 + first, 24 + first, 26 + first, 28 + first, 30 + first
#define FC_SHIFT 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
#define FC_SHIFT_OUT 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
#endif
#ifdef __clang__
#define FC_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vmask){__VA_ARGS__})
#endif
    return FC_SHUFFLE(a, b, FC_DEAL(0));
}
FC_INLINE vec vdeal_odds(vec a, vec b) { return FC_SHUFFLE(a, b, FC_DEAL(1)); }

/* The last lane of a, then all lanes of b but the last. */
FC_INLINE vec vshift_in(vec a, vec b) { return FC_SHUFFLE(a, b, FC_SHIFT); }
/* All lanes of a but the first, then the first lane of b. */
FC_INLINE vec vshift_out(vec a, vec b) { return FC_SHUFFLE(a, b, FC_SHIFT_OUT); }
#undef FC_SHUFFLE
#undef FC_DEAL
#undef FC_SHIFT
#undef FC_SHIFT_OUT
#undef FC_MM512
#undef FC_MM512_INT
#undef FC_CMP
#undef FC_MASK
#undef FC_CMP_INT
