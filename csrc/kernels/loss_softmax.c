/* Softmax, and cross-entropy and focal loss from its logits, a row at a time. */
#include "row.h"

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

static double cross_entropy_of_index(size_t n, const real *z, size_t label, double scale, real *dz)
{
    real sum;
    const real largest = row_max(n, z);
    const double target = (double)(z[label] - largest);
    const double loss = log_sum_exp(n, z, largest, dz, &sum) - target;
    row_scale(n, (real)scale / sum, dz);
    dz[label] -= (real)scale;
    return loss;
}

/* -sum(t log softmax(z)) with gradient softmax(z) sum(t) - t */
static double cross_entropy_of_values(size_t n, const real *z, const real *t, double scale,
                                      real *dz)
{
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

/* Cross-entropy with (1 - c) t + c / n sum(t) for t. With weight = sum(t), the loss is
 * weight log(sum(exp(z))) - (1 - c) sum(t z) - c / n weight sum(z), all z less the largest. */
ALWAYS_INLINE double smoothed_cross_entropy(double c, size_t n, const real *z, const real *t,
                                            size_t label, double scale, real *dz)
{
    const real largest = row_max(n, z);
    const vec offset = vec_set1(largest), zero = vec_set1(0);
    vec sums = zero, shifts = zero, weights = zero, products = zero;
    for (size_t i = 0; i < n; i += LANES) {
        const vec e = vec_exp(load_row(z, n, i, -(real)INFINITY) - offset);
        const vec shift = load_row(z, n, i, largest) - offset;
        store_row(dz, n, i, e);
        sums = sums + e;
        shifts = shifts + shift;
        if (t) {
            const vec target = load_row(t, n, i, 0);
            weights = weights + target;
            products = vec_fma(target, shift, products);
        }
    }
    const double weight = t ? (double)vec_sum(weights) : 1;
    const double product = t ? (double)vec_sum(products) : (double)(z[label] - largest);
    const real sum = vec_sum(sums);
    const vec factor = vec_set1((real)(scale * weight) / sum);
    const vec minus = vec_set1(-(real)(scale * (1 - c)));
    const vec share = vec_set1(-(real)(scale * weight * c / (double)n));
    for (size_t i = 0; i < n; i += LANES) {
        const vec p = vec_fma(load_row(dz, n, i, 0), factor, share);
        store_row(dz, n, i, t ? vec_fma(minus, load_row(t, n, i, 0), p) : p);
    }
    if (!t) {
        dz[label] -= (real)(scale * (1 - c));
    }
    return weight * log((double)sum) - (1 - c) * product -
           c / (double)n * weight * (double)vec_sum(shifts);
}

static double cross_entropy(const fm_loss *loss, size_t n, const void *z, const void *t,
                            size_t label, double scale, void *dz)
{
    const double c = loss->parameter;
    if (t) {
        return c > 0 ? smoothed_cross_entropy(c, n, z, t, 0, scale, dz)
                     : cross_entropy_of_values(n, z, t, scale, dz);
    }
    return c > 0 ? smoothed_cross_entropy(c, n, z, NULL, label, scale, dz)
                 : cross_entropy_of_index(n, z, label, scale, dz);
}

/* A class's -(1 - p)^c log p, and -q with q p the derivative of the former's negative, in the
 * manner of p - 1 for cross-entropy: q = c p (1 - p)^(c - 1) log p - (1 - p)^c. */
typedef struct {
    double loss, slope;
} focal_class;

/* Of a class whose exponential is `own` and its logit `shift` above the largest, by the sum of the
 * others: 1 - p loses no digits then, and as it goes to 0, log p / (1 - p) goes to -1. */
static focal_class focal_of(double c, double own, double others, double shift)
{
    const double sum = own + others, p = own / sum, rest = others / sum;
    const double minus_log = shift == 0 ? log1p(others) : log(sum) - shift;
    const double power = c == 2 ? rest * rest : pow(rest, c);
    const double ratio = rest > 0 ? minus_log / rest : 1;
    return (focal_class){power * minus_log, power * (1 + c * p * ratio)};
}

static double focal_of_index(const fm_loss *loss, size_t n, const real *z, size_t label,
                             double scale, real *dz)
{
    const real *a = loss->weights;
    const double weight = a ? (double)a[label] : 1;
    const real largest = row_max(n, z);
    row_exp(n, z, largest, dz);
    const double own = (double)dz[label];
    dz[label] = 0;
    const double others = (double)row_sum(n, dz);
    const focal_class f = focal_of(loss->parameter, own, others, (double)(z[label] - largest));
    const double slope = scale * weight * f.slope / (own + others);
    row_scale(n, (real)slope, dz);
    dz[label] = -(real)(slope * others);
    return weight * f.loss;
}

/* dz = p sum(s) - s with s the slopes of all classes times their targets. The largest class is
 * computed apart: no other has p > 1/2, so that they can take 1 - p as it is. */
static double focal_of_values(const fm_loss *loss, size_t n, const real *z, const real *t,
                              double scale, real *dz)
{
    const double c = loss->parameter;
    const real *a = loss->weights;
    const int whole = c == floor(c) && c <= 16;
    const real largest = row_max(n, z);
    row_exp(n, z, largest, dz);
    const size_t top = position_of_one(n, dz);
    dz[top] = 0;
    const double others = (double)row_sum(n, dz), sum = 1 + others;
    const double top_weight = (double)t[top] * (a ? (double)a[top] : 1);
    const focal_class f = focal_of(c, 1, others, 0);

    const vec zero = vec_set1(0), one = vec_set1(1), half = vec_set1(REAL(0.5));
    const vec offset = vec_set1(largest), log_sum = vec_set1((real)log1p(others));
    const vec inverse = vec_set1((real)(1 / sum)), gamma = vec_set1((real)c);
    const vec huge = vec_set1(REAL(1e30));
    vec losses = zero, slopes = zero;
    for (size_t i = 0; i < n; i += LANES) {
        const vec target = load_row(t, n, i, 0) * (one - load_one_hot(top, i));
        const vec weight = target * (a ? load_row(a, n, i, 0) : one);
        const vec p = vec_min(half, load_row(dz, n, i, 0) * inverse), rest = one - p;
        const vec log = log_sum - (load_row(z, n, i, largest) - offset);
        /* A class of no weight adds nothing, even where its logit is minus infinity. */
        const vec minus_log = vec_if_less(zero, vec_abs(weight), log, vec_min(huge, log));
        const vec power = weight * (whole ? vec_whole_power(rest, (unsigned)c)
                                          : vec_exp(zero - gamma * vec_minus_log1m_half(p)));
        const vec slope = power * (one + gamma * p * minus_log / rest);
        losses = vec_fma(power, minus_log, losses);
        slopes = slopes + slope;
        store_row(dz, n, i, slope);
    }
    const double rest_slope = (double)vec_sum(slopes), top_slope = top_weight * f.slope;
    const vec total = vec_set1((real)(scale * (rest_slope + top_slope) / sum));
    const vec minus = vec_set1(-(real)scale);
    for (size_t i = 0; i < n; i += LANES) {
        const vec e = vec_exp(load_row(z, n, i, -(real)INFINITY) - offset);
        store_row(dz, n, i, vec_fma(minus, load_row(dz, n, i, 0), e * total));
    }
    dz[top] = (real)(scale * (rest_slope - top_slope * others) / sum);
    return (double)vec_sum(losses) + top_weight * f.loss;
}

static double focal(const fm_loss *loss, size_t n, const void *z, const void *t, size_t label,
                    double scale, void *dz)
{
    if (loss->parameter == 0 && !loss->weights) {
        return t ? cross_entropy_of_values(n, z, t, scale, dz)
                 : cross_entropy_of_index(n, z, label, scale, dz);
    }
    return t ? focal_of_values(loss, n, z, t, scale, dz)
             : focal_of_index(loss, n, z, label, scale, dz);
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

void KERNEL(fill_softmax_losses)(fm_kernels *table)
{
    table->activation[FM_SOFTMAX] = softmax;
    table->activation[FM_LOG_SOFTMAX] = log_softmax;
    table->row_loss[FM_SOFTMAX_CROSS_ENTROPY] = cross_entropy;
    table->row_loss[FM_SOFTMAX_FOCAL] = focal;
    table->argmax = argmax;
}
