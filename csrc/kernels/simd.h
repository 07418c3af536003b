/* A vector of `real`s and the dozen operations the kernels are written in.
 *
 *   vec, LANES; vec_mask marks the first n lanes
 *   vec_load, vec_store            unaligned
 *   vec_load_first, vec_store_first    lanes outside the mask read as `fill`, are not written
 *   vec_fma(a, b, c) = a * b + c   fused where the ISA has it
 *   vec_max, vec_min               return the second operand if either is NaN
 *   vec_if_less(a, b, x, y)        a < b ? x : y, lane by lane
 *   vec_root(v)                    square root of 0 and of normal numbers, to two units in the last
 *                                  place; NaN for infinity where that is quicker
 *   vec_ratio(a, b) = a / b        likewise, b normal
 *   vec_keep(v)                    v, in a register: compilers load it again for every use
 *   vec_half, vec_half_load, vec_half_fma   the same for the first half of the lanes
 *   vec_half_of(v)                 the first half
 *   vec_of_half(h)                 its lanes, and zeros
 *   vec_not_zero(v)                bit i: lane i is not zero (NaN is not)
 *   vec_scale2(x, n) = x * 2^n     rounded once; n whole, at most twice the largest exponent
 *   + - * / work on vecs directly
 */
#ifndef FM_SIMD_H
#define FM_SIMD_H

#include <string.h>

#include "real.h"

#if FM_SIMD == 512
#include "simd_avx512.h"
#elif FM_SIMD == 256
#include "simd_avx2.h"
#elif FM_SIMD == 128
#include "simd_neon.h"
#else
#include "simd_generic.h"
#endif

#if FM_SIMD != 512
/* Half a vector takes the time of a whole one, or there are no halves: nothing uses them. */
typedef vec vec_half;
ALWAYS_INLINE vec_half vec_half_load(const real *p) { return vec_load(p); }
ALWAYS_INLINE vec_half vec_half_fma(vec_half a, vec_half b, vec_half c) { return vec_fma(a, b, c); }
ALWAYS_INLINE vec_half vec_half_of(vec v) { return v; }
ALWAYS_INLINE vec vec_of_half(vec_half h) { return h; }
#endif

#if FM_SIMD < 256
/* There is no instruction that makes a mask of lanes. */
ALWAYS_INLINE unsigned vec_not_zero(vec v)
{
    unsigned set = 0;
    for (unsigned i = 0; i < LANES; i++) {
        set |= (unsigned)(v[i] != 0) << i;
    }
    return set;
}
#endif

/* Halves are added until one lane is left, which takes a quarter of the time of lane after lane. */
ALWAYS_INLINE real vec_sum(vec v)
{
    real lane[LANES];
    vec_store(lane, v);
#pragma GCC unroll 4
    for (size_t width = LANES / 2; width; width /= 2) {
#pragma GCC unroll 8
        for (size_t i = 0; i < width; i++) {
            lane[i] += lane[i + width];
        }
    }
    return lane[0];
}

ALWAYS_INLINE real vec_largest(vec v)
{
    real lane[LANES];
    vec_store(lane, v);
#pragma GCC unroll 4
    for (size_t width = LANES / 2; width; width /= 2) {
#pragma GCC unroll 8
        for (size_t i = 0; i < width; i++) {
            lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
        }
    }
    return lane[0];
}

ALWAYS_INLINE vec vec_abs(vec x) { return vec_max(x, vec_set1(0) - x); }

#endif
