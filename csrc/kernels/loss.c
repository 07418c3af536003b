/* Softmax and the losses, a row at a time. */
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

static real row_max(size_t n, const real *z)
{
    vec largest = vec_set1(-(real)INFINITY);
    for (size_t i = 0; i < n; i += LANES) {
        largest = vec_max(largest, load_row(z, n, i, -(real)INFINITY));
    }
    return vec_largest(largest);
}

/* y = exp(z - shift); returns the sum of y. */
static real row_exp(size_t n, const real *z, real shift, real *y)
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

static void row_scale(size_t n, real factor, real *y)
{
    const vec scale = vec_set1(factor);
    for (size_t i = 0; i < n; i += LANES) {
        store_row(y, n, i, load_row(y, n, i, 0) * scale);
    }
}

static void softmax(size_t n, const void *z, void *y)
{
    const real sum = row_exp(n, z, row_max(n, z), y);
    row_scale(n, 1 / sum, y);
}

/* log(sum(exp(z))) less the largest z; `scratch` (n) is written over. */
static double log_sum_exp(size_t n, const real *z, real largest, real *scratch, real *sum)
{
    *sum = row_exp(n, z, largest, scratch);
    return log((double)*sum);
}

static void log_softmax(size_t n, const void *from, void *to)
{
    const real *z = from;
    real *y = to;
    const real largest = row_max(n, z);
    const vec offset = vec_set1(largest);
    vec sum = vec_set1(0);
    for (size_t i = 0; i < n; i += LANES) {
        sum = sum + vec_exp(load_row(z, n, i, -(real)INFINITY) - offset);
    }
    const vec log_sum = vec_set1((real)log((double)vec_sum(sum)));
    for (size_t i = 0; i < n; i += LANES) {
        store_row(y, n, i, load_row(z, n, i, 0) - offset - log_sum);
    }
}

static double cross_entropy_index(size_t n, const void *logits, size_t label, double scale,
                                  void *gradient)
{
    const real *z = logits;
    real *dz = gradient;
    real sum;
    const real largest = row_max(n, z);
    const double target = (double)(z[label] - largest);
    const double loss = log_sum_exp(n, z, largest, dz, &sum) - target;
    row_scale(n, (real)scale / sum, dz);
    dz[label] -= (real)scale;
    return loss;
}

/* -sum(t log softmax(z)) with gradient softmax(z) sum(t) - t */
static double cross_entropy(size_t n, const void *logits, const void *targets, double scale,
                            void *gradient)
{
    const real *z = logits, *t = targets;
    real *dz = gradient;
    real sum;
    const real largest = row_max(n, z);
    double weight = 0, target = 0;
    for (size_t i = 0; i < n; i++) {
        weight += t[i];
        /* A class of no weight adds nothing, even where its logit is minus infinity. */
        target += t[i] != 0 ? (double)t[i] * (double)(z[i] - largest) : 0;
    }
    const double loss = weight * log_sum_exp(n, z, largest, dz, &sum) - target;
    const vec factor = vec_set1((real)(scale * weight) / sum), minus = vec_set1(-(real)scale);
    for (size_t i = 0; i < n; i += LANES) {
        const vec p = load_row(dz, n, i, 0) * factor;
        store_row(dz, n, i, vec_fma(minus, load_row(t, n, i, 0), p));
    }
    return loss;
}

/* max(z, 0) - z t + log(1 + exp(-|z|)), with gradient sigmoid(z) - t */
static double binary_cross_entropy(size_t n, const void *logits, const void *targets, double scale,
                                   void *gradient)
{
    const real *z = logits, *t = targets;
    real *dz = gradient;
    const vec zero = vec_set1(0), one = vec_set1(1), factor = vec_set1((real)scale);
    double loss = 0;
    for (size_t i = 0; i < n; i += LANES) {
        const vec x = load_row(z, n, i, -(real)INFINITY), y = load_row(t, n, i, 0);
        const vec e = vec_exp(zero - vec_abs(x));
        const vec p = vec_if_less(x, zero, e, one) / (one + e);
        /* x past the row's end is minus infinity: its product with the target must not be NaN. */
        const vec product = load_row(z, n, i, 0) * y;
        const vec term = vec_max(zero, x) - product + vec_log1p_unit(e);
        loss += (double)vec_sum(term);
        store_row(dz, n, i, factor * (p - y));
    }
    return loss;
}

static double squared_error(size_t n, const void *predictions, const void *targets, double scale,
                            void *gradient)
{
    const real *p = predictions, *t = targets;
    real *dp = gradient;
    const vec factor = vec_set1((real)(2 * scale));
    /* Squares of large errors fit float64 only. Eight sums, so that they can run side by side. */
    double sum[8] = {0}, loss = 0;
    for (size_t i = 0; i < n; i++) {
        const double error = (double)(p[i] - t[i]);
        sum[i % 8] += error * error;
    }
    for (size_t i = 0; i < n; i += LANES) {
        store_row(dp, n, i, factor * (load_row(p, n, i, 0) - load_row(t, n, i, 0)));
    }
    for (size_t i = 0; i < 8; i++) {
        loss += sum[i];
    }
    return loss;
}

/* Sides are taken of the rounded sigmoid(z), as one sees them in a prediction. */
static int same_sides(size_t n, const void *logits, const void *targets)
{
    const vec zero = vec_set1(0), one = vec_set1(1), half = vec_set1(REAL(0.5));
    const real *z = logits, *t = targets;
    vec differ = zero;
    for (size_t i = 0; i < n; i += LANES) {
        const vec p = vec_sigmoid(load_row(z, n, i, 0));
        const vec predicted = vec_if_less(half, p, one, zero);
        const vec wanted = vec_if_less(half, load_row(t, n, i, 0), one, zero);
        differ = differ + vec_abs(predicted - wanted);
    }
    return vec_sum(differ) == 0;
}

static size_t argmax(size_t n, const void *x)
{
    const real *value = x;
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = value[i] > value[best] ? i : best;
    }
    return best;
}

void KERNEL(fill_loss)(fm_kernels *table)
{
    table->activation[FM_SOFTMAX] = softmax;
    table->activation[FM_LOG_SOFTMAX] = log_softmax;
    table->cross_entropy_index = cross_entropy_index;
    table->cross_entropy = cross_entropy;
    table->binary_cross_entropy = binary_cross_entropy;
    table->squared_error = squared_error;
    table->same_sides = same_sides;
    table->argmax = argmax;
}
