/* Losses by the difference of prediction and target, and of log-rates. */
#include "row.h"

static double squared_error(const fm_loss *loss, size_t n, const void *predictions,
                            const void *targets, size_t label, double scale, void *gradient)
{
    (void)loss;
    (void)label;
    const real *p = predictions, *t = targets;
    real *dp = gradient;
    const vec factor = vec_set1((real)(2 * scale));
    /* Squares of large errors fit float64 only. Eight sums, so that they can run side by side. */
    double sum[8] = {0}, total = 0;
    for (size_t i = 0; i < n; i++) {
        const double error = (double)(p[i] - t[i]);
        sum[i % 8] += error * error;
    }
    for (size_t i = 0; i < n; i += LANES) {
        store_row(dp, n, i, factor * (load_row(p, n, i, 0) - load_row(t, n, i, 0)));
    }
    for (size_t i = 0; i < 8; i++) {
        total += sum[i];
    }
    return total;
}

/* The sum of a cost of the errors, in double, as large errors add up to more than float32 holds. */
ALWAYS_INLINE double sum_costs(size_t n, const real *p, const real *t, double limit,
                               double (*cost)(double size, double limit))
{
    double sum[8] = {0}, total = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            sum[j] += cost(fabs((double)(p[i + j] - t[i + j])), limit);
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        sum[j] += cost(fabs((double)(p[i] - t[i])), limit);
    }
    for (size_t j = 0; j < 8; j++) {
        total += sum[j];
    }
    return total;
}

ALWAYS_INLINE double size_itself(double size, double limit)
{
    (void)limit;
    return size;
}

ALWAYS_INLINE double huber_cost(double size, double limit)
{
    return size <= limit ? size * size / 2 : limit * (size - limit / 2);
}

static double absolute_error(const fm_loss *loss, size_t n, const void *predictions,
                             const void *targets, size_t label, double scale, void *gradient)
{
    const real *p = predictions, *t = targets;
    real *dp = gradient;
    const vec zero = vec_set1(0), up = vec_set1((real)scale), down = vec_set1(-(real)scale);
    (void)loss;
    (void)label;
    for (size_t i = 0; i < n; i += LANES) {
        const vec error = load_row(p, n, i, 0) - load_row(t, n, i, 0);
        /* An error that is neither is 0 or NaN. */
        store_row(dp, n, i, vec_if_less(zero, error, up, vec_if_less(error, zero, down, error)));
    }
    return sum_costs(n, p, t, 0, size_itself);
}

static double huber(const fm_loss *loss, size_t n, const void *predictions, const void *targets,
                    size_t label, double scale, void *gradient)
{
    const real *p = predictions, *t = targets;
    real *dp = gradient;
    const vec factor = vec_set1((real)scale), limit = vec_set1((real)loss->parameter);
    const vec least = vec_set1(-(real)loss->parameter);
    (void)label;
    for (size_t i = 0; i < n; i += LANES) {
        const vec error = load_row(p, n, i, 0) - load_row(t, n, i, 0);
        store_row(dp, n, i, factor * vec_max(least, vec_min(limit, error)));
    }
    return sum_costs(n, p, t, loss->parameter, huber_cost);
}

/* exp(z) - t z, for the deviance with t log t - t, with gradient exp(z) - t */
static double poisson(const fm_loss *loss, size_t n, const void *log_rates, const void *targets,
                      size_t label, double scale, void *gradient)
{
    const real *z = log_rates, *t = targets;
    real *dz = gradient;
    const vec factor = vec_set1((real)scale);
    double total = 0;
    (void)label;
    for (size_t i = 0; loss->parameter != 0 && i < n; i++) {
        total += t[i] > 0 ? (double)t[i] * (log((double)t[i]) - 1) : 0;
    }
    for (size_t i = 0; i < n; i += LANES) {
        const vec rate = vec_exp(load_row(z, n, i, -(real)INFINITY)), target = load_row(t, n, i, 0);
        total += (double)vec_sum(rate - target * load_row(z, n, i, 0));
        store_row(dz, n, i, factor * (rate - target));
    }
    return total;
}

void KERNEL(fill_error_losses)(fm_kernels *table)
{
    table->row_loss[FM_MEAN_SQUARED_ERROR] = squared_error;
    table->row_loss[FM_MEAN_ABSOLUTE_ERROR] = absolute_error;
    table->row_loss[FM_HUBER] = huber;
    table->row_loss[FM_POISSON] = poisson;
}
