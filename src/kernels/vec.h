/* One vector type for every ISA, over GCC/Clang vector extensions.
 *
 * Included once per dtype by table.h, which sets FC_REAL_BITS; the ISA file sets FC_VECTOR_BYTES. Width
 * follows the ISA: a vector type wider than the registers is split by the compiler and loses most of the speed.
 * Intrinsics appear only where the extension has no word: partial loads and stores.
 */
#undef real
#undef vec
#undef lane_int
#undef LANES
#undef FC_NAME

#if FC_REAL_BITS == 32
#define real float
#define lane_int int32_t
#define FC_NAME(stem) FC_JOIN(stem, f32, FC_ISA)
#else
#define real double
#define lane_int int64_t
#define FC_NAME(stem) FC_JOIN(stem, f64, FC_ISA)
#endif
#define LANES ((int)(FC_VECTOR_BYTES / sizeof(real)))

typedef real FC_NAME(vec_type) __attribute__((vector_size(FC_VECTOR_BYTES)));
typedef real FC_NAME(vec_unaligned) __attribute__((vector_size(FC_VECTOR_BYTES), aligned(FC_REAL_BITS / 8), may_alias));
typedef lane_int FC_NAME(mask_type) __attribute__((vector_size(FC_VECTOR_BYTES)));
#define vec FC_NAME(vec_type)
#define vmask FC_NAME(mask_type)
#define vload FC_NAME(vec_load)
#define vload_once FC_NAME(vec_load_once)
#define vstore FC_NAME(vec_store)
#define vload_n FC_NAME(vec_load_n)
#define vload_lanes FC_NAME(vec_load_lanes)
#define vstore_n FC_NAME(vec_store_n)
#define vstore_lanes FC_NAME(vec_store_lanes)
#define vset1 FC_NAME(vec_set1)
#define vselect FC_NAME(vec_select)
#define vor FC_NAME(vec_or)
#define vsum FC_NAME(vec_sum)
#define vsums FC_NAME(vec_sums)
#define vzip_lo FC_NAME(vec_zip_lo)
#define vzip_hi FC_NAME(vec_zip_hi)
#define vtranspose FC_NAME(vec_transpose)
#define vevens FC_NAME(vec_evens)
#define vload_evens FC_NAME(vec_load_evens)
#define vload_fourths FC_NAME(vec_load_fourths)
#define vload_fourths_n FC_NAME(vec_load_fourths_n)

FC_INLINE vec vload(const real *p) { return *(const FC_NAME(vec_unaligned) *)p; }

FC_INLINE void vstore(real *p, vec v) { *(FC_NAME(vec_unaligned) *)p = v; }

/* A vector that has several uses: GCC would load it again for each, as the memory operand of a multiply-add. */
FC_INLINE vec vload_once(const real *p)
{
    vec v = vload(p);
#if defined(__AVX512F__)
    __asm__("" : "+v"(v));
#elif defined(__x86_64__)
    __asm__("" : "+x"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}

FC_INLINE vec vset1(real a) { return a - (vec){0}; }

/* Lanes of `a` where the mask is all ones, of `b` where it is zero. */
FC_INLINE vec vselect(vmask m, vec a, vec b) { return (vec)(((vmask)a & m) | ((vmask)b & ~m)); }

FC_INLINE vec vor(vec a, vec b) { return (vec)((vmask)a | (vmask)b); }

/* vload_n, vstore_n: the first n lanes, 0 <= n <= LANES; memory behind them is not touched and loads as zero.
 * vload_lanes, vstore_lanes: the lanes whose bits are set, others load as zero; memory of the others is not touched. */
#if defined(__AVX512F__) && FC_VECTOR_BYTES == 64 && FC_REAL_BITS == 32
FC_INLINE vec vload_n(const real *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
FC_INLINE void vstore_n(real *p, vec v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
FC_INLINE vec vload_lanes(const real *p, uint32_t lanes) { return _mm512_maskz_loadu_ps((__mmask16)lanes, p); }
FC_INLINE void vstore_lanes(real *p, vec v, uint32_t lanes) { _mm512_mask_storeu_ps(p, (__mmask16)lanes, v); }
#elif defined(__AVX512F__) && FC_VECTOR_BYTES == 64
FC_INLINE vec vload_n(const real *p, int n) { return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
FC_INLINE void vstore_n(real *p, vec v, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), v); }
FC_INLINE vec vload_lanes(const real *p, uint32_t lanes) { return _mm512_maskz_loadu_pd((__mmask8)lanes, p); }
FC_INLINE void vstore_lanes(real *p, vec v, uint32_t lanes) { _mm512_mask_storeu_pd(p, (__mmask8)lanes, v); }
#elif defined(__AVX2__) && FC_VECTOR_BYTES == 32
FC_INLINE __m256i FC_NAME(vec_first_lanes)(int n)
{
    static const lane_int ones_then_zeros[2 * LANES] = {
        -1, -1, -1, -1,
#if FC_REAL_BITS == 32
        -1, -1, -1, -1,
#endif
    };
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + LANES - n));
}
FC_INLINE __m256i FC_NAME(vec_lanes)(uint32_t lanes)
{
#if FC_REAL_BITS == 32
    const vmask bit = {1, 2, 4, 8, 16, 32, 64, 128};
#else
    const vmask bit = {1, 2, 4, 8};
#endif
    return (__m256i)(vmask)((((lane_int)lanes - (vmask){0}) & bit) == bit);
}
#if FC_REAL_BITS == 32
FC_INLINE vec vload_lanes(const real *p, uint32_t lanes) { return _mm256_maskload_ps(p, FC_NAME(vec_lanes)(lanes)); }
FC_INLINE vec vload_n(const real *p, int n) { return _mm256_maskload_ps(p, FC_NAME(vec_first_lanes)(n)); }
/* In halves: AMD's cores take a dozen cycles or more for a masked store. */
FC_INLINE void vstore_n(real *p, vec v, int n)
{
    if (n == LANES) {
        vstore(p, v);
        return;
    }
    __m128 part = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, part);
        part = _mm_movehl_ps(part, part);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, part);
}
FC_INLINE void vstore_lanes(real *p, vec v, uint32_t lanes) { _mm256_maskstore_ps(p, FC_NAME(vec_lanes)(lanes), v); }
#else
FC_INLINE vec vload_lanes(const real *p, uint32_t lanes) { return _mm256_maskload_pd(p, FC_NAME(vec_lanes)(lanes)); }
FC_INLINE vec vload_n(const real *p, int n) { return _mm256_maskload_pd(p, FC_NAME(vec_first_lanes)(n)); }
FC_INLINE void vstore_n(real *p, vec v, int n)
{
    if (n == LANES) {
        vstore(p, v);
        return;
    }
    __m128d part = _mm256_castpd256_pd128(v);
    if (n & 2) {
        _mm_storeu_pd(p, part);
        part = _mm256_extractf128_pd(v, 1);
        p += 2;
    }
    if (n & 1)
        _mm_store_sd(p, part);
}
FC_INLINE void vstore_lanes(real *p, vec v, uint32_t lanes) { _mm256_maskstore_pd(p, FC_NAME(vec_lanes)(lanes), v); }
#endif
#else
FC_INLINE vec vload_lanes(const real *p, uint32_t lanes)
{
    vec v = {0};
    for (int i = 0; i < LANES; i++)
        if (lanes >> i & 1)
            v[i] = p[i];
    return v;
}
FC_INLINE vec vload_n(const real *p, int n)
{
    vec v = {0};
    for (int i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}
FC_INLINE void vstore_n(real *p, vec v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = v[i];
}
FC_INLINE void vstore_lanes(real *p, vec v, uint32_t lanes)
{
    for (int i = 0; i < LANES; i++)
        if (lanes >> i & 1)
            p[i] = v[i];
}
#endif

/* Interleave the lower (upper) halves of a and b: a0 b0 a1 b1 ... */
#if FC_VECTOR_BYTES / (FC_REAL_BITS / 8) == 2
#define FC_ZIP_LO 0, 2
#define FC_ZIP_HI 1, 3
#define FC_EVENS 0, 3
#elif FC_VECTOR_BYTES / (FC_REAL_BITS / 8) == 4
#define FC_ZIP_LO 0, 4, 1, 5
#define FC_ZIP_HI 2, 6, 3, 7
#define FC_EVENS 0, 2, 5, 7
#elif FC_VECTOR_BYTES / (FC_REAL_BITS / 8) == 8
#define FC_ZIP_LO 0, 8, 1, 9, 2, 10, 3, 11
#define FC_ZIP_HI 4, 12, 5, 13, 6, 14, 7, 15
#define FC_EVENS 0, 2, 4, 6, 9, 11, 13, 15
#else
#define FC_ZIP_LO 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FC_ZIP_HI 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define FC_EVENS 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31
#endif
#ifdef __clang__
#define FC_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vmask){__VA_ARGS__})
#endif
FC_INLINE vec vzip_lo(vec a, vec b) { return FC_SHUFFLE(a, b, FC_ZIP_LO); }
FC_INLINE vec vzip_hi(vec a, vec b) { return FC_SHUFFLE(a, b, FC_ZIP_HI); }

/* The even lanes of a, then the odd lanes of b. */
FC_INLINE vec vevens(vec a, vec b) { return FC_SHUFFLE(a, b, FC_EVENS); }

/* p[0], p[2], p[4] ... and p[0], p[4], p[8] ...: the later loads end at the last element wanted, so that nothing behind
 * it is read. */
FC_INLINE vec vload_evens(const real *p) { return vevens(vload(p), vload(p + LANES - 1)); }
FC_INLINE vec vload_fourths(const real *p) { return vevens(vload_evens(p), vload_evens(p + 2 * LANES - 2)); }

/* The first n lanes of vload_fourths, n > 0. */
FC_INLINE vec vload_fourths_n(const real *p, int n)
{
    vec part[4];
    FC_UNROLL
    for (int i = 0; i < 4; i++) {
        const int left = 4 * n - 3 - i * (LANES - 1);
        part[i] = vload_n(p + i * (LANES - 1), left < 0 ? 0 : left < LANES ? left : LANES);
    }
    return vevens(vevens(part[0], part[1]), vevens(part[2], part[3]));
}
#undef FC_SHUFFLE
#undef FC_ZIP_LO
#undef FC_ZIP_HI
#undef FC_EVENS

/* The sum of all lanes, by halves: a fixed order. */
FC_INLINE real vsum(vec v)
{
    FC_UNROLL
    for (int pass = 1; pass < LANES; pass *= 2)
        v = vzip_lo(v, v) + vzip_hi(v, v);
    return v[0];
}

/* The same of LANES vectors: lane i is the sum of v[i]. Two halves are added for two vectors at a time. */
FC_INLINE vec vsums(vec v[LANES])
{
    FC_UNROLL
    for (int left = LANES / 2; left > 0; left /= 2)
        FC_UNROLL
        for (int i = 0; i < left; i++)
            v[i] = vzip_lo(v[i], v[i + left]) + vzip_hi(v[i], v[i + left]);
    return v[0];
}

/* Transpose LANES vectors in place: log2(LANES) passes of the perfect shuffle of rows i and i + LANES / 2. */
FC_INLINE void vtranspose(vec v[LANES])
{
    vec t[LANES];
    FC_UNROLL
    for (int pass = 1; pass < LANES; pass *= 2) {
        FC_UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            t[2 * i] = vzip_lo(v[i], v[i + LANES / 2]);
            t[2 * i + 1] = vzip_hi(v[i], v[i + LANES / 2]);
        }
        FC_UNROLL
        for (int i = 0; i < LANES; i++)
            v[i] = t[i];
    }
}
