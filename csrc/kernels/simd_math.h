/* exp, expm1, log1p and powers on vectors, accurate to a few units in the last place. */
#ifndef FM_SIMD_MATH_H
#define FM_SIMD_MATH_H

#include "simd.h"

/* x = n ln 2 + r with |r| <= ln(2) / 2; returns expm1(r) by its Taylor series, cut where the next
 * term is below a tenth of a unit in the last place. ln 2 is subtracted in two parts, the first
 * with enough trailing zeros that n times it is exact. */
ALWAYS_INLINE vec vec_expm1_reduced(vec x, vec *n)
{
    *n = vec_round(x * vec_set1(REAL(1.44269504088896340736)));
#if FM_REAL_BITS == 32
    static const real ln2_high = 0.693145751953125f, ln2_low = 1.42860682030941723212e-6f;
    static const real term[] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f};
#else
    static const real ln2_high = 0.693147180369123816490, ln2_low = 1.90821492927058770002e-10;
    static const real term[] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800,
                                1. / 362880,     1. / 40320,     1. / 5040,     1. / 720,
                                1. / 120,        1. / 24,        1. / 6,        1. / 2,
                                1. / 1};
#endif
    vec r = vec_fma(*n, vec_set1(-ln2_high), x);
    r = vec_fma(*n, vec_set1(-ln2_low), r);
    vec sum = vec_set1(term[0]);
    for (size_t i = 1; i < sizeof term / sizeof term[0]; i++) {
        sum = vec_fma(sum, r, vec_set1(term[i]));
    }
    return sum * r;
}

/* Arguments beyond these give 0 and infinity; NaN passes through vec_min and comparisons. What
 * gives 0 is left out of the arithmetic, since to underflow takes processors a hundred cycles, and
 * lanes past the end of a row are minus infinity. */
ALWAYS_INLINE vec vec_exp(vec x)
{
    const vec low = vec_set1(FM_REAL_BITS == 32 ? REAL(-104.0) : REAL(-746.0));
    const vec high = vec_set1(FM_REAL_BITS == 32 ? REAL(90.0) : REAL(711.0));
    const vec zero = vec_set1(0);
    vec n;
    const vec p = vec_expm1_reduced(vec_min(high, vec_if_less(x, low, zero, x)), &n);
    return vec_if_less(x, low, zero, vec_scale2(p + vec_set1(1), n));
}

/* For x <= 0: 2^n (1 + p) - 1 = 2^n p + (2^n - 1), which keeps small results accurate. Below -50 it
 * is -1 in any case. */
ALWAYS_INLINE vec vec_expm1_negative(vec x)
{
    const vec one = vec_set1(1);
    vec n;
    const vec p = vec_expm1_reduced(vec_max(vec_set1(-50), x), &n);
    return vec_scale2(p, n) + (vec_scale2(one, n) - one);
}

ALWAYS_INLINE vec vec_sigmoid(vec x)
{
    const vec one = vec_set1(1);
    return one / (one + vec_exp(vec_set1(0) - x));
}

/* 2 artanh(s) for s in [0, 1/3], by its series in s^2. */
ALWAYS_INLINE vec vec_artanh_twice(vec s)
{
    enum { TERMS = FM_REAL_BITS == 32 ? 8 : 17 };
    const vec square = s * s;
    vec sum = vec_set1(REAL(2.0) / (2 * TERMS - 1));
    for (int i = TERMS - 2; i >= 0; i--) {
        sum = vec_fma(sum, square, vec_set1(REAL(2.0) / (real)(2 * i + 1)));
    }
    return sum * s;
}

/* log(1 + u) for u in [0, 1]. */
ALWAYS_INLINE vec vec_log1p_unit(vec u) { return vec_artanh_twice(u / (vec_set1(2) + u)); }

/* -log(1 - u) for u in [0, 1/2]. */
ALWAYS_INLINE vec vec_minus_log1m_half(vec u) { return vec_artanh_twice(u / (vec_set1(2) - u)); }

/* x^n by squaring. */
ALWAYS_INLINE vec vec_whole_power(vec x, unsigned n)
{
    vec y = n % 2 ? x : vec_set1(1);
    while (n /= 2) {
        x = x * x;
        if (n % 2) {
            y = y * x;
        }
    }
    return y;
}

#endif
