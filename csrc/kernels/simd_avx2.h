/* 256-bit vectors with fused multiply-add. */
#include <immintrin.h>

typedef __m256i vec_mask;

#if FM_REAL_BITS == 32
typedef __m256 vec;
enum { LANES = 8 };
#define MM(op) _mm256_##op##_ps
ALWAYS_INLINE vec_mask vec_first(size_t n)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index);
}
ALWAYS_INLINE vec vec_from_mask(vec_mask m) { return _mm256_castsi256_ps(m); }
#else
typedef __m256d vec;
enum { LANES = 4 };
#define MM(op) _mm256_##op##_pd
ALWAYS_INLINE vec_mask vec_first(size_t n)
{
    const __m256i index = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)n), index);
}
ALWAYS_INLINE vec vec_from_mask(vec_mask m) { return _mm256_castsi256_pd(m); }
#endif

ALWAYS_INLINE vec vec_set1(real x) { return MM(set1)(x); }
ALWAYS_INLINE vec vec_load(const real *p) { return MM(loadu)(p); }
ALWAYS_INLINE void vec_store(real *p, vec v) { MM(storeu)(p, v); }
ALWAYS_INLINE vec vec_load_first(const real *p, vec_mask m, vec fill)
{
    return MM(blendv)(fill, MM(maskload)(p, m), vec_from_mask(m));
}
ALWAYS_INLINE void vec_store_first(real *p, vec v, vec_mask m) { MM(maskstore)(p, m, v); }
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { return MM(fmadd)(a, b, c); }
ALWAYS_INLINE vec vec_max(vec a, vec b) { return MM(max)(a, b); }
ALWAYS_INLINE vec vec_min(vec a, vec b) { return MM(min)(a, b); }
ALWAYS_INLINE vec vec_root(vec v) { return MM(sqrt)(v); }
ALWAYS_INLINE vec vec_ratio(vec a, vec b) { return a / b; }
ALWAYS_INLINE vec vec_round(vec x)
{
    return MM(round)(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
ALWAYS_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
    return MM(blendv)(y, x, MM(cmp)(a, b, _CMP_LT_OQ));
}
ALWAYS_INLINE vec vec_keep(vec v)
{
    __asm__("" : "+x"(v));
    return v;
}
ALWAYS_INLINE unsigned vec_not_zero(vec v)
{
    return (unsigned)MM(movemask)(MM(cmp)(v, vec_set1(0), _CMP_NEQ_UQ));
}

/* 2^n by writing the exponent field; n within the normal range. */
ALWAYS_INLINE vec vec_power2(vec n)
{
#if FM_REAL_BITS == 32
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
#else
    __m256i e = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n));
    return _mm256_castsi256_pd(
        _mm256_slli_epi64(_mm256_add_epi64(e, _mm256_set1_epi64x(1023)), 52));
#endif
}

#include "simd_scale2.h"
#undef MM
