/* Soft dice of softmax and sigmoid outputs, element by element and over a batch. */
#include "row.h"

/* 1 - (2 y t + c) / (y + t + c) and its derivative by y, by y and 1 - y; `empty` for 0 / 0. */
typedef struct {
    vec loss, slope;
} element;

ALWAYS_INLINE element element_of(vec y, vec rest, vec t, vec c, vec empty)
{
    const vec zero = vec_set1(0), one = vec_set1(1);
    const vec sum = y + t + c, divisor = vec_if_less(zero, sum, sum, one);
    const vec unlike = (y * (one - t) + t * rest) / divisor;
    const vec share = t / divisor, smoothing = c / divisor;
    /* What is neither above 0 nor below 1 is NaN, as is its loss. */
    const vec none = vec_if_less(sum, one, empty, unlike);
    return (element){vec_if_less(zero, sum, unlike, none),
                     smoothing / divisor - (share + share) * (share + smoothing)};
}

/* The gradient by a row's logits sums to zero. The class that has most of the probability loses
 * digits to cancellation, so it is set to what the others leave. */
ALWAYS_INLINE void settle(size_t n, size_t top, real *dz)
{
    dz[top] = 0;
    dz[top] = -row_sum(n, dz);
}

/* With g the derivative by y, dz = y (g - sum(g y)). */
ALWAYS_INLINE double element_softmax(double parameter, size_t n, const real *z, const real *t,
                                     size_t label, double scale, real *dz)
{
    const vec zero = vec_set1(0), one = vec_set1(1), c = vec_set1((real)parameter);
    const real sum = row_exp(n, z, row_max(n, z), dz);
    const vec inverse = vec_set1(1 / sum), factor = vec_set1((real)scale / sum);
    const size_t top = sum < 2 ? position_of_one(n, dz) : n;
    vec losses = zero, means = zero;
    for (size_t i = 0; i < n; i += LANES) {
        const vec y = load_row(dz, n, i, 0) * inverse;
        const element e = element_of(y, one - y, load_target(t, label, n, i), c,
                                     lanes_of_row(n, i));
        losses = losses + e.loss;
        means = vec_fma(e.slope, y, means);
    }
    const vec mean = vec_set1(vec_sum(means));
    for (size_t i = 0; i < n; i += LANES) {
        const vec y = load_row(dz, n, i, 0);
        const element e = element_of(y * inverse, zero, load_target(t, label, n, i), c, zero);
        store_row(dz, n, i, y * factor * (e.slope - mean));
    }
    if (top < n) {
        settle(n, top, dz);
    }
    return (double)vec_sum(losses);
}

static double softmax_element_dice(const fm_loss *loss, size_t n, const void *z, const void *t,
                                   size_t label, double scale, void *dz)
{
    return t ? element_softmax(loss->parameter, n, z, t, label, scale, dz)
             : element_softmax(loss->parameter, n, z, NULL, label, scale, dz);
}

static double sigmoid_element_dice(const fm_loss *loss, size_t n, const void *logits,
                                   const void *targets, size_t label, double scale, void *gradient)
{
    const real *z = logits, *t = targets;
    real *dz = gradient;
    const vec c = vec_set1((real)loss->parameter), factor = vec_set1((real)scale);
    vec losses = vec_set1(0);
    (void)label;
    for (size_t i = 0; i < n; i += LANES) {
        const sigmoids y = vec_sigmoids(load_row(z, n, i, past_end));
        const element e = element_of(y.p, y.rest, load_row(t, n, i, 0), c, lanes_of_row(n, i));
        losses = losses + e.loss;
        store_row(dz, n, i, factor * e.slope * (y.p * y.rest));
    }
    return (double)vec_sum(losses);
}

static void dice_sums(size_t n, const void *outputs, const void *targets, size_t label,
                      double weight, double *both, double *all)
{
    const real *y = outputs, *t = targets;
    if (t) {
        for (size_t j = 0; j < n; j++) {
            const double share = weight * (double)t[j];
            all[j] = all[j] + weight * (double)y[j] + share;
            both[j] += share * (double)y[j];
        }
        return;
    }
    for (size_t j = 0; j < n; j++) {
        all[j] += weight * (double)y[j];
    }
    if (label < n) {
        all[label] += weight;
        both[label] += weight * (double)y[label];
    }
}

static void dice_slopes(size_t n, double c, double share, double *both, const double *all,
                        void *constant, void *by_target)
{
    /* A class that has next to nothing must not make infinities, whose product with 0 is NaN. */
    const double largest = FM_REAL_BITS == 32 ? 0x1p127 : 0x1p1023;
    real *b = constant, *a = by_target;
    for (size_t j = 0; j < n; j++) {
        const double sum = all[j] + c, divisor = sum > 0 ? sum : 1;
        const double ratio = (2 * both[j] + c) / divisor;
        both[j] = 1 - ratio;
        b[j] = (real)fmin(largest, share * ratio / divisor);
        a[j] = (real)(sum > 0 ? -fmin(largest, 2 * share / divisor) : 0);
    }
}

static void softmax_dice_gradient(size_t n, const void *z, const void *targets, size_t label,
                                  const void *constant, const void *by_target, double weight,
                                  void *gradient)
{
    const real *t = targets, *b = constant, *a = by_target;
    real *dz = gradient;
    const vec factor = vec_set1((real)weight);
    size_t top = 0;
    vec means = vec_set1(0);
    (void)z;
    while (top < n && !(dz[top] > REAL(0.5))) {
        top++;
    }
    for (size_t i = 0; i < n; i += LANES) {
        const vec slope = vec_fma(load_row(a, n, i, 0), load_target(t, label, n, i),
                                  load_row(b, n, i, 0));
        means = vec_fma(slope, load_row(dz, n, i, 0), means);
    }
    const vec mean = vec_set1(vec_sum(means));
    for (size_t i = 0; i < n; i += LANES) {
        const vec slope = vec_fma(load_row(a, n, i, 0), load_target(t, label, n, i),
                                  load_row(b, n, i, 0));
        store_row(dz, n, i, factor * load_row(dz, n, i, 0) * (slope - mean));
    }
    if (top < n) {
        settle(n, top, dz);
    }
}

static void sigmoid_dice_gradient(size_t n, const void *logits, const void *targets, size_t label,
                                  const void *constant, const void *by_target, double weight,
                                  void *gradient)
{
    const real *z = logits, *t = targets, *b = constant, *a = by_target;
    real *dz = gradient;
    const vec factor = vec_set1((real)weight);
    (void)label;
    for (size_t i = 0; i < n; i += LANES) {
        const sigmoids y = vec_sigmoids(load_row(z, n, i, past_end));
        const vec slope = vec_fma(load_row(a, n, i, 0), load_row(t, n, i, 0), load_row(b, n, i, 0));
        store_row(dz, n, i, factor * slope * (y.p * y.rest));
    }
}

void KERNEL(fill_dice_losses)(fm_kernels *table)
{
    table->row_loss[FM_SOFTMAX_ELEMENT_DICE] = softmax_element_dice;
    table->row_loss[FM_BINARY_ELEMENT_DICE] = sigmoid_element_dice;
    table->dice_sums = dice_sums;
    table->dice_slopes = dice_slopes;
    table->softmax_dice_gradient = softmax_dice_gradient;
    table->sigmoid_dice_gradient = sigmoid_dice_gradient;
}
