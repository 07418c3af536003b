/* exp, expm1, log1p, powers and the normal distribution on vectors, accurate to a few units in the
 * last place. */
#ifndef FM_SIMD_MATH_H
#define FM_SIMD_MATH_H

#include "simd.h"

/* x = n ln 2 + r with |r| <= ln(2) / 2: returns r. ln 2 is subtracted in two parts, the first with
 * enough trailing zeros that n times it is exact. */
ALWAYS_INLINE vec vec_reduced(vec x, vec *n)
{
#if FM_REAL_BITS == 32
    static const real ln2_high = 0.693145751953125f, ln2_low = 1.42860682030941723212e-6f;
#else
    static const real ln2_high = 0.693147180369123816490, ln2_low = 1.90821492927058770002e-10;
#endif
    *n = vec_round(x * vec_set1(REAL(1.44269504088896340736)));
    return vec_fma(*n, vec_set1(-ln2_low), vec_fma(*n, vec_set1(-ln2_high), x));
}

/* expm1(r) by its Taylor series, cut where the next term is below a tenth of a unit in the last
 * place for |r| <= ln(2) / 2. */
ALWAYS_INLINE vec vec_expm1_series(vec r)
{
#if FM_REAL_BITS == 32
    static const real term[] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f};
#else
    static const real term[] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800,
                                1. / 362880,     1. / 40320,     1. / 5040,     1. / 720,
                                1. / 120,        1. / 24,        1. / 6,        1. / 2,
                                1. / 1};
#endif
    vec sum = vec_set1(term[0]);
    for (size_t i = 1; i < sizeof term / sizeof term[0]; i++) {
        sum = vec_fma(sum, r, vec_set1(term[i]));
    }
    return sum * r;
}

ALWAYS_INLINE vec vec_expm1_reduced(vec x, vec *n) { return vec_expm1_series(vec_reduced(x, n)); }

#define FM_EXP_LOW (FM_REAL_BITS == 32 ? REAL(-104.0) : REAL(-746.0))

/* Arguments beyond these give 0 and infinity; NaN passes through vec_min and comparisons. What
 * gives 0 is left out of the arithmetic, since to underflow takes processors a hundred cycles, and
 * lanes past the end of a row are minus infinity. */
ALWAYS_INLINE vec vec_exp(vec x)
{
    const vec low = vec_set1(FM_EXP_LOW), zero = vec_set1(0);
    const vec high = vec_set1(FM_REAL_BITS == 32 ? REAL(90.0) : REAL(711.0));
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

/* log(1 + u) for u in [0, 127]: divided by a power of 2, x = 1 + u lies between the square roots of
 * 1/2 and 2. Where that is 1, u is taken as it is, with all its digits. */
ALWAYS_INLINE vec vec_log1p_to_127(vec u)
{
    static const real power[] = {4, 2, 1}, divisor[] = {16, 4, 2};
    const vec zero = vec_set1(0), one = vec_set1(1);
    vec n = zero, x = one + u;
    for (size_t i = 0; i < 3; i++) {
        const vec least = vec_set1(divisor[i] * REAL(0.70710678118654752440));
        n = n + vec_if_less(least, x, vec_set1(power[i]), zero);
        x = x * vec_if_less(least, x, vec_set1(1 / divisor[i]), one);
    }
    const vec past_one = vec_if_less(zero, n, x - one, u);
    return vec_fma(n, vec_set1(REAL(0.69314718055994530942)),
                   vec_artanh_twice(past_one / (vec_set1(2) + past_one)));
}

/* -log(1 - u) for u in [0, 1/2]. */
ALWAYS_INLINE vec vec_minus_log1m_half(vec u) { return vec_artanh_twice(u / (vec_set1(2) - u)); }

/* Where exp(-a^2 / 2) has become 0. */
#define FM_NORMAL_LIMIT (FM_REAL_BITS == 32 ? REAL(16.0) : REAL(40.0))

/* exp(-a^2 / 2) for a in [0, FM_NORMAL_LIMIT]. An error of the exponent is one of the result as
 * many times as large, so a^2 is split into the square of a rounded a, which is exact, and the
 * rest, which is added once the exponent has been reduced. */
ALWAYS_INLINE vec vec_exp_half_square(vec a)
{
    static const real grid = FM_REAL_BITS == 32 ? REAL(256.0) : REAL(1048576.0);
    const vec half = vec_set1(REAL(0.5)), zero = vec_set1(0);
    const vec high = vec_round(a * vec_set1(grid)) * vec_set1(1 / grid);
    const vec x = zero - half * high * high, rest = half * (high - a) * (high + a);
    const vec low = vec_set1(FM_EXP_LOW);
    vec n;
    const vec r = vec_reduced(vec_if_less(x, low, zero, x), &n) + rest;
    return vec_if_less(x, low, zero, vec_scale2(vec_expm1_series(r) + vec_set1(1), n));
}

/* The upper tail of the normal distribution, times exp(a^2 / 2), for a in [0, FM_NORMAL_LIMIT].
 * Times a + 4 it is a smooth function of q = (a - 4) / (a + 4) (Shepherd and Laframboise, 1981),
 * here its Chebyshev series, cut where the next term is below a unit in the last place. */
ALWAYS_INLINE vec vec_normal_tail(vec a)
{
#if FM_REAL_BITS == 32
    static const real term[] = {-4.8267598789e-5f, -2.2419139457e-4f, 1.7402716455e-4f,
                                1.6408995872e-3f,  -3.4922439467e-3f, -7.5445675532e-3f,
                                6.0398204377e-2f,  -0.18652131047f,   0.38713732097f,
                                -0.60789665911f,   0.75528513113f};
#else
    static const real term[] = {
        -6.91603230279148350123e-10, -2.44413011223488284737e-9, 1.83877430502808133176e-9,
        1.93406625599754481161e-8,   1.33144388343168115322e-8,  -8.49770644190080908466e-8,
        -1.54891366979051928599e-7,  2.7142688501747761457e-7,   1.02143882275598218761e-6,
        -6.29490609549997304558e-7,  -5.92009678801188042025e-6, 7.16593810544535159219e-7,
        3.51446572165765619339e-5,   -1.90824195997390565503e-6, -2.31094928674879312035e-4,
        1.33344310038413129686e-4,   1.63081845673169052555e-3,  -3.47969236719216877652e-3,
        -7.54018896666562249177e-3,  6.03965748909276226367e-2,  -0.186521857959659225316,
        0.387137400742214699164,     -0.607896641971892088929,   0.755285130415751492796};
#endif
    const vec four = vec_set1(4), inverse = vec_set1(1) / (a + four), q = (a - four) * inverse;
    vec sum = vec_set1(term[0]);
    for (size_t i = 1; i < sizeof term / sizeof term[0]; i++) {
        sum = vec_fma(sum, q, vec_set1(term[i]));
    }
    return sum * inverse;
}

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
