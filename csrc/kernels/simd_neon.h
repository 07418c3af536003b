/* 128-bit vectors with fused multiply-add. There are no masks: a partial vector is loaded and
 * stored lane by lane. */
#include <arm_neon.h>

typedef size_t vec_mask; /* how many of the first lanes */

#if FM_REAL_BITS == 32
typedef float32x4_t vec;
enum { LANES = 4 };
#define MM(op) op##_f32
#else
typedef float64x2_t vec;
enum { LANES = 2 };
#define MM(op) op##_f64
#endif

ALWAYS_INLINE vec vec_set1(real x) { return MM(vdupq_n)(x); }
ALWAYS_INLINE vec vec_load(const real *p) { return MM(vld1q)(p); }
ALWAYS_INLINE void vec_store(real *p, vec v) { MM(vst1q)(p, v); }
ALWAYS_INLINE vec_mask vec_first(size_t n) { return n; }

/* Lanes are constants of the instructions, so there is no loop over them. */
ALWAYS_INLINE vec vec_load_first(const real *p, vec_mask m, vec fill)
{
    fill = m > 0 ? MM(vld1q_lane)(p, fill, 0) : fill;
    fill = m > 1 ? MM(vld1q_lane)(p + 1, fill, 1) : fill;
#if FM_REAL_BITS == 32
    fill = m > 2 ? MM(vld1q_lane)(p + 2, fill, 2) : fill;
    fill = m > 3 ? MM(vld1q_lane)(p + 3, fill, 3) : fill;
#endif
    return fill;
}
ALWAYS_INLINE void vec_store_first(real *p, vec v, vec_mask m)
{
    if (m > 0) {
        MM(vst1q_lane)(p, v, 0);
    }
    if (m > 1) {
        MM(vst1q_lane)(p + 1, v, 1);
    }
#if FM_REAL_BITS == 32
    if (m > 2) {
        MM(vst1q_lane)(p + 2, v, 2);
    }
    if (m > 3) {
        MM(vst1q_lane)(p + 3, v, 3);
    }
#endif
}
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { return MM(vfmaq)(c, a, b); }
ALWAYS_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
    return MM(vbslq)(MM(vcltq)(a, b), x, y);
}
/* The instructions for these return NaN if either operand is. */
ALWAYS_INLINE vec vec_max(vec a, vec b) { return vec_if_less(b, a, a, b); }
ALWAYS_INLINE vec vec_min(vec a, vec b) { return vec_if_less(a, b, a, b); }
ALWAYS_INLINE vec vec_root(vec v) { return MM(vsqrtq)(v); }
ALWAYS_INLINE vec vec_ratio(vec a, vec b) { return a / b; }
ALWAYS_INLINE vec vec_round(vec x) { return MM(vrndnq)(x); }

ALWAYS_INLINE vec vec_keep(vec v)
{
    __asm__("" : "+w"(v));
    return v;
}

/* 2^n by writing the exponent field; n within the normal range. */
ALWAYS_INLINE vec vec_power2(vec n)
{
#if FM_REAL_BITS == 32
    const int32x4_t e = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(e, 23));
#else
    const int64x2_t e = vaddq_s64(vcvtq_s64_f64(n), vdupq_n_s64(1023));
    return vreinterpretq_f64_s64(vshlq_n_s64(e, 52));
#endif
}

#include "simd_scale2.h"
#undef MM
