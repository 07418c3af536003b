/* Losses of few outputs, a sample in each lane: rows of ten or of one would leave most of a vector
 * empty, and pay for every sums across its lanes. */
#include "row.h"

/* With `others` the sum of exp(z_j - z_top) over all but the largest, which is 1, the loss is
 * log(1 + others) + z_top - z_label, and a largest label's gradient -others / (1 + others): no
 * digit of the others is lost in the 1. */
static void softmax_cross_entropy(const fm_lane_losses *l)
{
    real *z = l->z, own[LANES], best[LANES], loss[LANES], sure[LANES];
    const size_t end = l->n * LANES;
    const vec zero = vec_set1(0), half = vec_set1(REAL(0.5)), scale = vec_load(l->scale);
    vec largest = vec_load(z), top = zero, others = zero;
    for (size_t i = LANES, j = 1; i < end; i += LANES, j++) {
        const vec v = vec_load(z + i);
        top = vec_if_less(largest, v, vec_set1((real)j), top);
        largest = vec_if_less(largest, v, v, largest);
    }
    for (size_t r = 0; r < LANES; r++) {
        own[r] = z[l->labels[r] * LANES + r];
    }
    for (size_t i = 0, j = 0; i < end; i += LANES, j++) {
        const vec e = vec_exp(vec_load(z + i) - largest);
        others = others + vec_if_less(vec_abs(vec_set1((real)j) - top), half, zero, e);
        vec_store(z + i, e);
    }
    const vec factor = scale / (vec_set1(1) + others);
    for (size_t i = 0; i < end; i += LANES) {
        vec_store(z + i, factor * vec_load(z + i));
    }
    vec_store(best, top);
    vec_store(sure, zero - factor * others);
    vec_store(loss, vec_log1p_to_127(others) - (vec_load(own) - largest));
    for (size_t r = 0; r < LANES; r++) {
        real *at = z + l->labels[r] * LANES + r;
        l->hits[r] = best[r] == (real)l->labels[r];
        *at = l->hits[r] ? sure[r] : *at - ((const real *)l->scale)[r];
        l->losses[r] = (double)loss[r];
    }
}

/* max(z, 0) - z t + log(1 + exp(-|z|)), with gradient sigmoid(z) - t. Sides are taken of the
 * rounded sigmoid(z), as one sees them in a prediction. */
static void binary_cross_entropy(const fm_lane_losses *l)
{
    real *z = l->z, loss[LANES], different[LANES];
    const real *t = l->targets;
    const vec zero = vec_set1(0), one = vec_set1(1), half = vec_set1(REAL(0.5));
    const vec scale = vec_load(l->scale);
    vec sum = zero, differ = zero;
    for (size_t i = 0; i < l->n * LANES; i += LANES) {
        const vec x = vec_load(z + i), y = vec_load(t + i);
        const vec e = vec_exp(zero - vec_abs(x));
        const vec p = vec_if_less(x, zero, e, one) / (one + e);
        sum = sum + (vec_max(zero, x) - x * y + vec_log1p_unit(e));
        differ = differ +
                 vec_abs(vec_if_less(half, p, one, zero) - vec_if_less(half, y, one, zero));
        vec_store(z + i, scale * (p - y));
    }
    vec_store(loss, sum);
    vec_store(different, differ);
    for (size_t r = 0; r < LANES; r++) {
        l->losses[r] = (double)loss[r];
        l->hits[r] = different[r] == 0;
    }
}

void KERNEL(fill_lane_losses)(fm_kernels *table)
{
    table->lane_loss[FM_SOFTMAX_CROSS_ENTROPY] = softmax_cross_entropy;
    table->lane_loss[FM_BINARY_CROSS_ENTROPY] = binary_cross_entropy;
}
