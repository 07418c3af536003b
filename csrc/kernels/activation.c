/* Activations and their derivatives: a value in, a value out. */
#include "row.h"

/* Define a function over n elements from an expression in x, whole vectors and then the rest. */
#define MAP(name, expression)                                                                      \
    static void name(size_t n, const void *from, void *to)                                         \
    {                                                                                              \
        const vec zero = vec_set1(0), one = vec_set1(1);                                           \
        const real *source = from;                                                                 \
        real *target = to;                                                                         \
        (void)zero;                                                                                \
        (void)one;                                                                                 \
        size_t i = 0;                                                                              \
        for (; i + LANES <= n; i += LANES) {                                                       \
            const vec x = vec_load(source + i);                                                    \
            vec_store(target + i, expression);                                                     \
        }                                                                                          \
        if (i < n) {                                                                               \
            const vec_mask mask = vec_first(n - i);                                                \
            const vec x = vec_load_first(source + i, mask, zero);                                  \
            vec_store_first(target + i, expression, mask);                                         \
        }                                                                                          \
    }

/* The same over two inputs: dy, and y = f(x) or, for those functions whose slope y does not tell,
 * x. */
#define MAP2(name, expression)                                                                     \
    static void name(size_t n, const void *from, const void *output, void *to)                     \
    {                                                                                              \
        const vec zero = vec_set1(0), one = vec_set1(1);                                           \
        const real *source = from, *values = output;                                               \
        real *target = to;                                                                         \
        (void)zero;                                                                                \
        (void)one;                                                                                 \
        size_t i = 0;                                                                              \
        for (; i + LANES <= n; i += LANES) {                                                       \
            const vec dy = vec_load(source + i), y = vec_load(values + i);                         \
            vec_store(target + i, expression);                                                     \
        }                                                                                          \
        if (i < n) {                                                                               \
            const vec_mask mask = vec_first(n - i);                                                \
            const vec dy = vec_load_first(source + i, mask, zero);                                 \
            const vec y = vec_load_first(values + i, mask, zero);                                  \
            vec_store_first(target + i, expression, mask);                                         \
        }                                                                                          \
    }

/* f(x) and f'(x), where the latter cannot be had from the former: they share an exponential. */
#define MAP_SLOPED(name, function)                                                                 \
    static void name(size_t n, const void *from, void *to, void *slopes)                           \
    {                                                                                              \
        const real *source = from;                                                                 \
        for (size_t i = 0; i < n; i += LANES) {                                                    \
            const sloped f = function(load_row(source, n, i, 0));                                  \
            store_row(to, n, i, f.y);                                                              \
            store_row(slopes, n, i, f.slope);                                                      \
        }                                                                                          \
    }

typedef struct {
    vec y, slope;
} sloped;

/* tanh |x| = -e / (2 + e) with e = expm1(-2 |x|), which loses nothing near zero. */
ALWAYS_INLINE vec vec_tanh(vec x)
{
    const vec e = vec_expm1_negative(vec_set1(-2) * vec_abs(x));
    const vec t = (vec_set1(0) - e) / (vec_set1(2) + e);
    return vec_if_less(x, vec_set1(0), vec_set1(0) - t, t);
}

/* expm1(x) where x is negative. */
ALWAYS_INLINE vec vec_expm1_below(vec x) { return vec_expm1_negative(vec_min(vec_set1(0), x)); }

/* log(1 + exp(x)), which neither overflows nor loses what is small. */
ALWAYS_INLINE vec vec_softplus(vec x)
{
    const vec zero = vec_set1(0);
    return vec_max(zero, x) + vec_log1p_unit(vec_exp(zero - vec_abs(x)));
}

/* x between -limit and limit, where a product of an infinite x with what is 0 there is 0. */
ALWAYS_INLINE vec vec_within(vec x, real limit)
{
    return vec_max(vec_set1(-limit), vec_min(vec_set1(limit), x));
}

/* From here on exp(-|x|) is 0. */
static const real far_out = REAL(1000.0);

/* x s with s = sigmoid(x), and s (1 + x (1 - s)). */
ALWAYS_INLINE sloped vec_silu(vec x)
{
    const sigmoids s = vec_sigmoids(x);
    const vec y = vec_max(vec_set1(-far_out), x) * s.p;
    return (sloped){y, s.p * vec_fma(vec_within(x, far_out), s.rest, vec_set1(1))};
}

/* x t with t = tanh(softplus(x)), and t + x (1 - t^2) sigmoid(x). With e = exp(-|x|), t = u / v and
 * (1 - t^2) sigmoid(x) = w / v^2, where none of the three cancels:
 *   x < 0    u = e (2 + e),  v = 2 + 2e + e^2,  w = 4e (1 + e)
 *   x >= 0   u = 1 + 2e,     v = 1 + 2e + 2e^2, w = 4e^2 (1 + e) */
ALWAYS_INLINE sloped vec_mish(vec x)
{
    const vec zero = vec_set1(0), one = vec_set1(1), two = vec_set1(2);
    const vec e = vec_exp(zero - vec_abs(x)), below = e * (two + e), above = vec_fma(two, e, one);
    const vec u = vec_if_less(x, zero, below, above);
    const vec v = vec_if_less(x, zero, two + below, vec_fma(two * e, e, above));
    const vec w = vec_set1(4) * e * (one + e) * vec_if_less(x, zero, one, e);
    const vec inverse = one / v, t = u * inverse;
    const vec slope = vec_fma(vec_within(x, far_out) * w, inverse * inverse, t);
    return (sloped){vec_max(vec_set1(-far_out), x) * t, slope};
}

/* x P and P + x p, with the normal distribution P(x) = (1 + erf(x / sqrt 2)) / 2 and its density
 * p. */
ALWAYS_INLINE sloped vec_gelu(vec x)
{
    const vec zero = vec_set1(0), limit = vec_set1(FM_NORMAL_LIMIT);
    const vec a = vec_min(limit, vec_abs(x)), e = vec_exp_half_square(a);
    const vec tail = e * vec_normal_tail(a);
    const vec p = vec_if_less(x, zero, tail, vec_set1(1) - tail);
    const vec moment = vec_if_less(x, zero, zero - a, a) * e;
    return (sloped){vec_max(zero - limit, x) * p,
                    vec_fma(moment, vec_set1(REAL(0.39894228040143267794)), p)};
}

/* Klambauer et al. 2017: the scale, and the scale times alpha. */
#define SELU_SCALE vec_set1(REAL(1.0507009873554804934))
#define SELU_LOWEST vec_set1(REAL(1.7580993408473768599))
#define LEAK vec_set1(REAL(0.01))

MAP(relu, vec_max(zero, x))
MAP(leaky_relu, vec_max(LEAK * x, x))
MAP(elu, vec_if_less(x, zero, vec_expm1_below(x), x))
MAP(selu, vec_if_less(x, zero, SELU_LOWEST * vec_expm1_below(x), SELU_SCALE * x))
MAP(softplus, vec_softplus(x))
MAP(sigmoid, vec_sigmoid(x))
MAP(hyperbolic_tangent, vec_tanh(x))
MAP(gelu, vec_gelu(x).y)
MAP(silu, vec_silu(x).y)
MAP(mish, vec_mish(x).y)
MAP(exponential, vec_exp(x))

MAP_SLOPED(gelu_sloped, vec_gelu)
MAP_SLOPED(silu_sloped, vec_silu)
MAP_SLOPED(mish_sloped, vec_mish)

MAP2(relu_derivative, vec_if_less(zero, y, dy, zero))
MAP2(leaky_relu_derivative, vec_if_less(zero, y, dy, LEAK * dy))
MAP2(elu_derivative, vec_if_less(zero, y, dy, dy * (y + one)))
MAP2(selu_derivative, dy * vec_if_less(zero, y, SELU_SCALE, y + SELU_LOWEST))
MAP2(softplus_derivative, dy * (zero - vec_expm1_negative(zero - y)))
MAP2(sigmoid_derivative, dy * (y * (one - y)))
MAP2(tanh_derivative, dy * ((one - y) * (one + y)))
MAP2(gelu_derivative, dy * vec_gelu(y).slope)
MAP2(silu_derivative, dy * vec_silu(y).slope)
MAP2(mish_derivative, dy * vec_mish(y).slope)
MAP2(multiply, dy * y)

static void identity(size_t n, const void *x, void *y)
{
    if (x != y) {
        memcpy(y, x, n * sizeof(real));
    }
}

static void identity_derivative(size_t n, const void *dy, const void *y, void *dz)
{
    (void)y;
    identity(n, dy, dz);
}

void KERNEL(fill_activations)(fm_kernels *table)
{
    table->activation[FM_IDENTITY] = identity;
    table->activation[FM_RELU] = relu;
    table->activation[FM_SIGMOID] = sigmoid;
    table->activation[FM_TANH] = hyperbolic_tangent;
    table->activation[FM_LEAKY_RELU] = leaky_relu;
    table->activation[FM_ELU] = elu;
    table->activation[FM_SELU] = selu;
    table->activation[FM_SOFTPLUS] = softplus;
    table->activation[FM_GELU] = gelu;
    table->activation[FM_SILU] = silu;
    table->activation[FM_MISH] = mish;
    table->activation[FM_EXP] = exponential;
    table->sloped[FM_GELU] = gelu_sloped;
    table->sloped[FM_SILU] = silu_sloped;
    table->sloped[FM_MISH] = mish_sloped;
    table->derivative[FM_IDENTITY] = identity_derivative;
    table->derivative[FM_RELU] = relu_derivative;
    table->derivative[FM_SIGMOID] = sigmoid_derivative;
    table->derivative[FM_TANH] = tanh_derivative;
    table->derivative[FM_LEAKY_RELU] = leaky_relu_derivative;
    table->derivative[FM_ELU] = elu_derivative;
    table->derivative[FM_SELU] = selu_derivative;
    table->derivative[FM_SOFTPLUS] = softplus_derivative;
    table->derivative[FM_GELU] = gelu_derivative;
    table->derivative[FM_SILU] = silu_derivative;
    table->derivative[FM_MISH] = mish_derivative;
    table->derivative[FM_EXP] = multiply;
    table->multiply = multiply;
}
