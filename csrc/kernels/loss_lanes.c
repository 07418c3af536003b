/* Losses of few outputs, a sample in each lane: rows of ten or of one would leave most of a vector
 * empty, and pay for sums across its lanes. */
#include "row.h"

/* Write whether a number is the same in each lane of two vectors, and the losses. */
ALWAYS_INLINE void tell(const fm_lane_losses *l, vec loss, vec predicted, vec wanted)
{
    real losses[LANES], differences[LANES];
    vec_store(losses, loss);
    vec_store(differences, predicted - wanted);
    for (size_t r = 0; r < LANES; r++) {
        l->losses[r] = (double)losses[r];
        l->hits[r] = differences[r] == 0;
    }
}

/* x where the j-th output is that of the lane, else y. */
ALWAYS_INLINE vec vec_if_output(size_t j, vec output, vec x, vec y)
{
    return vec_if_less(vec_abs(vec_set1((real)j) - output), vec_set1(REAL(0.5)), x, y);
}

/* With `others` the sum of exp(z_j - z_top) over all but the largest, which is 1, and `weight` that
 * of the targets t, the loss is weight log(1 + others) - sum t_j (z_j - z_top), and the gradient
 * weight p - t, which for the largest is weight - t - weight others / (1 + others): no digit of the
 * others is lost in the 1. */
static void softmax_cross_entropy(const fm_lane_losses *l)
{
    real *z = l->z;
    const real *t = l->targets;
    const vec zero = vec_set1(0), scale = vec_load(l->scale);
    vec largest = vec_load(z), top = zero, most = vec_load(t), label = zero;
    for (size_t j = 1; j < l->n; j++) {
        const vec v = vec_load(z + j * LANES), target = vec_load(t + j * LANES);
        top = vec_if_less(largest, v, vec_set1((real)j), top);
        largest = vec_if_less(largest, v, v, largest);
        label = vec_if_less(most, target, vec_set1((real)j), label);
        most = vec_if_less(most, target, target, most);
    }
    vec others = zero, weight = zero, product = zero;
    for (size_t j = 0; j < l->n; j++) {
        const vec shift = vec_load(z + j * LANES) - largest, target = vec_load(t + j * LANES);
        const vec e = vec_exp(shift);
        others = others + vec_if_output(j, top, zero, e);
        weight = weight + target;
        /* A class of no weight adds nothing, even where its logit is minus infinity. */
        product = product + vec_if_less(zero, vec_abs(target), target * shift, zero);
        vec_store(z + j * LANES, e);
    }
    const vec factor = weight / (vec_set1(1) + others), rest = factor * others;
    for (size_t j = 0; j < l->n; j++) {
        const vec target = vec_load(t + j * LANES);
        const vec p = factor * vec_load(z + j * LANES);
        vec_store(z + j * LANES, scale * vec_if_output(j, top, weight - target - rest, p - target));
    }
    tell(l, weight * vec_log1p_to_127(others) - product, top, label);
}

static void binary_cross_entropy(const fm_lane_losses *l)
{
    real *z = l->z;
    const real *t = l->targets;
    const vec zero = vec_set1(0), scale = vec_load(l->scale);
    vec sum = zero, differ = zero;
    for (size_t i = 0; i < l->n * LANES; i += LANES) {
        const vec x = vec_load(z + i), y = vec_load(t + i);
        vec p;
        sum = sum + vec_binary_cross_entropy(x, x * y, &p);
        differ = differ + vec_abs(vec_side(p) - vec_side(y));
        vec_store(z + i, scale * (p - y));
    }
    tell(l, sum, differ, zero);
}

void KERNEL(fill_lane_losses)(fm_kernels *table)
{
    table->lane_loss[FM_SOFTMAX_CROSS_ENTROPY] = softmax_cross_entropy;
    table->lane_loss[FM_BINARY_CROSS_ENTROPY] = binary_cross_entropy;
}
