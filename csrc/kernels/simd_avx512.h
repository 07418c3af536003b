/* 512-bit vectors. */
#include <immintrin.h>

#if FM_REAL_BITS == 32
typedef __m512 vec;
typedef __mmask16 vec_mask;
enum { LANES = 16 };
#define MM(op) _mm512_##op##_ps
#else
typedef __m512d vec;
typedef __mmask8 vec_mask;
enum { LANES = 8 };
#define MM(op) _mm512_##op##_pd
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
#if FM_REAL_BITS == 32
/* One unit divides and takes roots, and is busy for about ten cycles with 16 lanes of either. What
 * takes both leaves it the root: a step of Newton's from an estimate of 14 bits keeps it free. */
ALWAYS_INLINE vec vec_ratio(vec a, vec b)
{
    const vec estimate = _mm512_rcp14_ps(b), ratio = a * estimate;
    return vec_fma(_mm512_fnmadd_ps(b, ratio, a), estimate, ratio);
}
ALWAYS_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
ALWAYS_INLINE unsigned vec_not_zero(vec v)
{
    return _mm512_cmp_ps_mask(v, vec_set1(0), _CMP_NEQ_UQ);
}
#else
ALWAYS_INLINE vec vec_ratio(vec a, vec b) { return a / b; }
ALWAYS_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), y, x);
}
ALWAYS_INLINE unsigned vec_not_zero(vec v)
{
    return _mm512_cmp_pd_mask(v, vec_set1(0), _CMP_NEQ_UQ);
}
#endif
#undef MM
