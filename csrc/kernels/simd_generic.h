/* 128-bit vectors in the compiler's own vector extension: SSE2 on x86-64, NEON on aarch64. No
 * fused multiply-add, as the oldest x86-64 has none. */
#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef real vec __attribute__((vector_size(16), aligned(16)));
typedef real_int vec_int __attribute__((vector_size(16), aligned(16)));
typedef size_t vec_mask; /* how many of the first lanes */

enum { LANES = 16 / sizeof(real) };

ALWAYS_INLINE vec vec_set1(real x)
{
#if FM_REAL_BITS == 32
    return (vec){x, x, x, x};
#else
    return (vec){x, x};
#endif
}
ALWAYS_INLINE vec vec_load(const real *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS_INLINE void vec_store(real *p, vec v) { memcpy(p, &v, sizeof v); }
ALWAYS_INLINE vec_mask vec_first(size_t n) { return n; }
ALWAYS_INLINE vec vec_load_first(const real *p, vec_mask m, vec fill)
{
    for (size_t i = 0; i < m; i++) {
        fill[i] = p[i];
    }
    return fill;
}
ALWAYS_INLINE void vec_store_first(real *p, vec v, vec_mask m)
{
    for (size_t i = 0; i < m; i++) {
        p[i] = v[i];
    }
}
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { return a * b + c; }
ALWAYS_INLINE vec vec_if(vec_int condition, vec x, vec y)
{
    return (vec)(((vec_int)x & condition) | ((vec_int)y & ~condition));
}
ALWAYS_INLINE vec vec_if_less(vec a, vec b, vec x, vec y) { return vec_if(a < b, x, y); }
ALWAYS_INLINE vec vec_max(vec a, vec b) { return vec_if(a > b, a, b); }
ALWAYS_INLINE vec vec_min(vec a, vec b) { return vec_if(a < b, a, b); }

ALWAYS_INLINE vec vec_root(vec v)
{
#if defined(__SSE2__) && FM_REAL_BITS == 32
    return (vec)_mm_sqrt_ps((__m128)v);
#elif defined(__SSE2__)
    return (vec)_mm_sqrt_pd((__m128d)v);
#else
    for (size_t i = 0; i < LANES; i++) {
        v[i] = FM_REAL_BITS == 32 ? sqrtf((float)v[i]) : sqrt(v[i]);
    }
    return v;
#endif
}
ALWAYS_INLINE vec vec_ratio(vec a, vec b) { return a / b; }

ALWAYS_INLINE vec vec_keep(vec v) { return v; }

/* Adding and taking away 1.5 * 2^(mantissa bits) rounds to the nearest integer. */
ALWAYS_INLINE vec vec_round(vec x)
{
    const vec shift = vec_set1(FM_REAL_BITS == 32 ? REAL(12582912.0) : REAL(6755399441055744.0));
    return (x + shift) - shift;
}

/* 2^n by writing the exponent field; n within the normal range. */
ALWAYS_INLINE vec vec_power2(vec n)
{
    const real_int bias = FM_REAL_BITS == 32 ? 127 : 1023;
    const int mantissa = FM_REAL_BITS == 32 ? 23 : 52;
    return (vec)((__builtin_convertvector(n, vec_int) + bias) << mantissa);
}

#include "simd_scale2.h"
