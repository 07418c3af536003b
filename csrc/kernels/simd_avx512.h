/* 512-bit vectors. */
#include <immintrin.h>

#if FM_REAL_BITS == 32
typedef __m512 vec;
typedef __m256 vec_half;
typedef __mmask16 vec_mask;
enum { LANES = 16 };
#define MM(op) _mm512_##op##_ps
#define HALF(op) _mm256_##op##_ps
ALWAYS_INLINE vec_half vec_half_of(vec v) { return _mm512_castps512_ps256(v); }
ALWAYS_INLINE vec vec_of_half(vec_half h) { return _mm512_zextps256_ps512(h); }
#else
typedef __m512d vec;
typedef __m256d vec_half;
typedef __mmask8 vec_mask;
enum { LANES = 8 };
#define MM(op) _mm512_##op##_pd
#define HALF(op) _mm256_##op##_pd
ALWAYS_INLINE vec_half vec_half_of(vec v) { return _mm512_castpd512_pd256(v); }
ALWAYS_INLINE vec vec_of_half(vec_half h) { return _mm512_zextpd256_pd512(h); }
#endif

ALWAYS_INLINE vec vec_set1(real x) { return MM(set1)(x); }
ALWAYS_INLINE vec vec_load(const real *p) { return MM(loadu)(p); }
ALWAYS_INLINE void vec_store(real *p, vec v) { MM(storeu)(p, v); }
ALWAYS_INLINE vec_mask vec_first(size_t n) { return (vec_mask)((1u << n) - 1u); }
ALWAYS_INLINE vec vec_load_first(const real *p, vec_mask m, vec fill)
{
    return MM(mask_loadu)(fill, m, p);
}
ALWAYS_INLINE void vec_store_first(real *p, vec v, vec_mask m) { MM(mask_storeu)(p, m, v); }
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { return MM(fmadd)(a, b, c); }
ALWAYS_INLINE vec_half vec_half_load(const real *p) { return HALF(loadu)(p); }
ALWAYS_INLINE vec_half vec_half_fma(vec_half a, vec_half b, vec_half c)
{
    return HALF(fmadd)(a, b, c);
}
ALWAYS_INLINE vec vec_keep(vec v)
{
    __asm__("" : "+v"(v));
    return v;
}
ALWAYS_INLINE vec vec_max(vec a, vec b) { return MM(max)(a, b); }
ALWAYS_INLINE vec vec_min(vec a, vec b) { return MM(min)(a, b); }
ALWAYS_INLINE vec vec_round(vec x)
{
    return MM(roundscale)(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
ALWAYS_INLINE vec vec_scale2(vec x, vec n) { return MM(scalef)(x, n); }

ALWAYS_INLINE vec vec_root(vec v) { return MM(sqrt)(v); }
/* One unit divides and takes roots, and is busy for about ten cycles with a vector of float32, and
 * longer with one of float64. What takes both leaves it the root: Newton's steps from an estimate
 * of 14 bits keep it free. */
#if FM_REAL_BITS == 32
ALWAYS_INLINE vec vec_reciprocal(vec v) { return _mm512_rcp14_ps(v); }
#else
ALWAYS_INLINE vec vec_reciprocal(vec v)
{
    const vec estimate = _mm512_rcp14_pd(v);
    return vec_fma(estimate, MM(fnmadd)(v, estimate, vec_set1(1)), estimate);
}
#endif
ALWAYS_INLINE vec vec_ratio(vec a, vec b)
{
    const vec estimate = vec_reciprocal(b), ratio = a * estimate;
    return vec_fma(MM(fnmadd)(b, ratio, a), estimate, ratio);
}
#if FM_REAL_BITS == 32
ALWAYS_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
ALWAYS_INLINE unsigned vec_not_zero(vec v)
{
    return _mm512_cmp_ps_mask(v, vec_set1(0), _CMP_NEQ_UQ);
}
#else
ALWAYS_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), y, x);
}
ALWAYS_INLINE unsigned vec_not_zero(vec v)
{
    return _mm512_cmp_pd_mask(v, vec_set1(0), _CMP_NEQ_UQ);
}
#endif
#undef HALF
#undef MM
