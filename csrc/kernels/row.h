/* Rows of any length, vector by vector. */
#ifndef FM_ROW_H
#define FM_ROW_H

#include <math.h>

#include "simd_math.h"

/* Load the i-th vector of a row of n, lanes past the end reading as `fill`. */
ALWAYS_INLINE vec load_row(const real *row, size_t n, size_t i, real fill)
{
    return i + LANES <= n ? vec_load(row + i)
                          : vec_load_first(row + i, vec_first(n - i), vec_set1(fill));
}

ALWAYS_INLINE void store_row(real *row, size_t n, size_t i, vec v)
{
    if (i + LANES <= n) {
        vec_store(row + i, v);
    } else {
        vec_store_first(row + i, v, vec_first(n - i));
    }
}

ALWAYS_INLINE real row_max(size_t n, const real *z)
{
    vec largest = vec_set1(-(real)INFINITY);
    for (size_t i = 0; i < n; i += LANES) {
        largest = vec_max(largest, load_row(z, n, i, -(real)INFINITY));
    }
    return vec_largest(largest);
}

/* y = exp(z - shift); returns the sum of y. */
ALWAYS_INLINE real row_exp(size_t n, const real *z, real shift, real *y)
{
    const vec offset = vec_set1(shift);
    vec sum = vec_set1(0);
    for (size_t i = 0; i < n; i += LANES) {
        const vec e = vec_exp(load_row(z, n, i, -(real)INFINITY) - offset);
        store_row(y, n, i, e);
        sum = sum + e;
    }
    return vec_sum(sum);
}

ALWAYS_INLINE void row_scale(size_t n, real factor, real *y)
{
    const vec scale = vec_set1(factor);
    for (size_t i = 0; i < n; i += LANES) {
        store_row(y, n, i, load_row(y, n, i, 0) * scale);
    }
}

ALWAYS_INLINE real row_sum(size_t n, const real *x)
{
    vec sum = vec_set1(0);
    for (size_t i = 0; i < n; i += LANES) {
        sum = sum + load_row(x, n, i, 0);
    }
    return vec_sum(sum);
}

/* 1 in the lanes of the i-th vector of a row of n, 0 past its end. */
ALWAYS_INLINE vec lanes_of_row(size_t n, size_t i)
{
    real ones[LANES];
    vec_store(ones, vec_set1(1));
    return load_row(ones, n - i, 0, 0);
}

/* Load the i-th vector of a row that is 1 at `label` and 0 elsewhere. */
ALWAYS_INLINE vec load_one_hot(size_t label, size_t i)
{
    static const real one_in_zeros[2 * LANES] = {[LANES] = 1};
    return label - i < LANES ? vec_load(one_in_zeros + LANES - (label - i)) : vec_set1(0);
}

/* Load the i-th vector of a row of targets, one-hot if t is NULL. */
ALWAYS_INLINE vec load_target(const real *t, size_t label, size_t n, size_t i)
{
    return t ? load_row(t, n, i, 0) : load_one_hot(label, i);
}

/* Index of the first 1 in a row of exponentials less their largest. */
ALWAYS_INLINE size_t position_of_one(size_t n, const real *e)
{
    size_t i = 0;
    while (i + 1 < n && e[i] < 1) {
        i++;
    }
    return i;
}

/* What a lane past a row's end has for its logit: its loss is 0 if its target is, as no product of
 * an infinite term with that is NaN. */
static const real past_end = REAL(-1e30);

/* max(z, 0) - z t + log(1 + exp(-|z|)), given z t; p becomes sigmoid(z). */
ALWAYS_INLINE vec vec_binary_cross_entropy(vec z, vec product, vec *p)
{
    const vec zero = vec_set1(0), one = vec_set1(1);
    const vec e = vec_exp(zero - vec_abs(z));
    *p = vec_if_less(z, zero, e, one) / (one + e);
    return vec_max(zero, z) - product + vec_log1p_unit(e);
}

/* 1 for more than 1/2, else 0: a side is taken of the rounded sigmoid(z), as one sees it in a
 * prediction. */
ALWAYS_INLINE vec vec_side(vec p)
{
    return vec_if_less(vec_set1(REAL(0.5)), p, vec_set1(1), vec_set1(0));
}

typedef struct {
    vec p, rest, small; /* sigmoid(z), 1 - sigmoid(z), exp(-|z|) */
} sigmoids;

ALWAYS_INLINE sigmoids vec_sigmoids(vec z)
{
    const vec zero = vec_set1(0), one = vec_set1(1);
    const vec e = vec_exp(zero - vec_abs(z));
    const vec large = one / (one + e), small = e * large;
    return (sigmoids){vec_if_less(z, zero, small, large), vec_if_less(z, zero, large, small), e};
}

#endif
