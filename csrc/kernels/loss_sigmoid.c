/* Losses of independent sigmoid outputs, from their logits. */
#include "row.h"

typedef struct {
    vec p, rest;                   /* sigmoid(z), 1 - sigmoid(z) */
    vec minus_log, minus_log_rest; /* of them: log(1 + exp(-z)), log(1 + exp(z)) */
} logistic;

ALWAYS_INLINE logistic vec_logistic(vec z)
{
    const vec zero = vec_set1(0);
    const sigmoids s = vec_sigmoids(z);
    const vec log = vec_log1p_unit(s.small);
    return (logistic){s.p, s.rest, vec_max(zero, zero - z) + log, vec_max(zero, z) + log};
}

/* Its gradient is sigmoid(z) - t. */
static double plain_cross_entropy(size_t n, const real *z, const real *t, double scale, real *dz)
{
    const vec factor = vec_set1((real)scale);
    double loss = 0;
    for (size_t i = 0; i < n; i += LANES) {
        const vec x = load_row(z, n, i, -(real)INFINITY), y = load_row(t, n, i, 0);
        /* x past the row's end is minus infinity: its product with the target must not be NaN. */
        vec p;
        loss += (double)vec_sum(vec_binary_cross_entropy(x, load_row(z, n, i, 0) * y, &p));
        store_row(dz, n, i, factor * (p - y));
    }
    return loss;
}

/* -w t log p - (1 - t) log(1 - p), with gradient (1 - t) p - w t (1 - p) */
static double weighted_cross_entropy(const real *w, size_t n, const real *z, const real *t,
                                     double scale, real *dz)
{
    const vec one = vec_set1(1), factor = vec_set1((real)scale);
    double loss = 0;
    for (size_t i = 0; i < n; i += LANES) {
        const logistic y = vec_logistic(load_row(z, n, i, past_end));
        const vec target = load_row(t, n, i, 0), other = one - target;
        const vec positive = target * load_row(w, n, i, 0);
        loss += (double)vec_sum(positive * y.minus_log + other * y.minus_log_rest);
        store_row(dz, n, i, factor * (other * y.p - positive * y.rest));
    }
    return loss;
}

static double cross_entropy(const fm_loss *loss, size_t n, const void *z, const void *t,
                            size_t label, double scale, void *dz)
{
    (void)label;
    return loss->weights ? weighted_cross_entropy(loss->weights, n, z, t, scale, dz)
                         : plain_cross_entropy(n, z, t, scale, dz);
}

/* x^c, by its logarithm unless c is whole. */
ALWAYS_INLINE vec power(vec x, vec minus_log, double c, int whole)
{
    return whole ? vec_whole_power(x, (unsigned)c) : vec_exp(vec_set1(-(real)c) * minus_log);
}

ALWAYS_INLINE double focal_row(const fm_loss *loss, int whole, size_t n, const real *z,
                               const real *t, double scale, real *dz)
{
    const double c = loss->parameter;
    const real *a = loss->weights;
    const vec one = vec_set1(1), factor = vec_set1((real)scale), gamma = vec_set1((real)c);
    double sum = 0;
    for (size_t i = 0; i < n; i += LANES) {
        const logistic y = vec_logistic(load_row(z, n, i, past_end));
        const vec target = load_row(t, n, i, 0), share = a ? load_row(a, n, i, 0) : one;
        const vec other_share = one - (a ? share : vec_set1(0));
        const vec positive = share * target * power(y.rest, y.minus_log_rest, c, whole);
        const vec negative = other_share * (one - target) * power(y.p, y.minus_log, c, whole);
        sum += (double)vec_sum(positive * y.minus_log + negative * y.minus_log_rest);
        const vec down = positive * (gamma * y.p * y.minus_log + y.rest);
        const vec up = negative * (gamma * y.rest * y.minus_log_rest + y.p);
        store_row(dz, n, i, factor * (up - down));
    }
    return sum;
}

static double focal(const fm_loss *loss, size_t n, const void *z, const void *t, size_t label,
                    double scale, void *dz)
{
    const double c = loss->parameter;
    (void)label;
    if (c == 0 && !loss->weights) {
        return plain_cross_entropy(n, z, t, scale, dz);
    }
    return c == floor(c) && c <= 16 ? focal_row(loss, 1, n, z, t, scale, dz)
                                    : focal_row(loss, 0, n, z, t, scale, dz);
}

static int same_sides(size_t n, const void *logits, const void *targets)
{
    const real *z = logits, *t = targets;
    vec differ = vec_set1(0);
    for (size_t i = 0; i < n; i += LANES) {
        const vec p = vec_sigmoid(load_row(z, n, i, 0));
        differ = differ + vec_abs(vec_side(p) - vec_side(load_row(t, n, i, 0)));
    }
    return vec_sum(differ) == 0;
}

void KERNEL(fill_sigmoid_losses)(fm_kernels *table)
{
    table->row_loss[FM_BINARY_CROSS_ENTROPY] = cross_entropy;
    table->row_loss[FM_BINARY_FOCAL] = focal;
    table->same_sides = same_sides;
}
