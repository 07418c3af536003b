/* Activations and their derivatives, conversion, axpy: a value in, a value out. */
#include <math.h>

#include "simd_math.h"

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

/* The same over two inputs, dy and y. */
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

/* tanh |x| = -e / (2 + e) with e = expm1(-2 |x|), which loses nothing near zero. */
ALWAYS_INLINE vec vec_tanh(vec x)
{
    const vec e = vec_expm1_negative(vec_set1(-2) * vec_abs(x));
    const vec t = (vec_set1(0) - e) / (vec_set1(2) + e);
    return vec_if_less(x, vec_set1(0), vec_set1(0) - t, t);
}

MAP(relu, vec_max(zero, x))
MAP(sigmoid, vec_sigmoid(x))
MAP(hyperbolic_tangent, vec_tanh(x))
MAP(exponential, vec_exp(x))
MAP2(relu_derivative, vec_if_less(zero, y, dy, zero))
MAP2(sigmoid_derivative, dy * (y * (one - y)))
MAP2(tanh_derivative, dy * ((one - y) * (one + y)))
MAP2(exp_derivative, dy * y)

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

static void axpy(size_t n, double alpha, const void *x, void *y)
{
    const vec scale = vec_set1((real)alpha), zero = vec_set1(0);
    const real *from = x;
    real *to = y;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec_store(to + i, vec_fma(scale, vec_load(from + i), vec_load(to + i)));
    }
    if (i < n) {
        const vec_mask mask = vec_first(n - i);
        const vec old = vec_load_first(to + i, mask, zero);
        vec_store_first(to + i, vec_fma(scale, vec_load_first(from + i, mask, zero), old), mask);
    }
}

/* x - x is zero unless x is NaN or infinite, and then the sum stays NaN. */
static int all_within(size_t n, const void *x, double limit)
{
    const vec largest = vec_set1((real)limit), one = vec_set1(1);
    const real *from = x;
    vec sum = vec_set1(0);
    for (size_t i = 0; i < n; i += LANES) {
        const vec v = i + LANES <= n ? vec_load(from + i)
                                     : vec_load_first(from + i, vec_first(n - i), vec_set1(0));
        sum = sum + vec_if_less(largest, vec_abs(v), one, v - v);
    }
    return vec_sum(sum) == 0;
}

static void convert_uint8(size_t n, const void *x, void *y)
{
    const uint8_t *from = x;
    real *to = y;
    const real scale = REAL(1.0) / 255;
    for (size_t i = 0; i < n; i++) {
        to[i] = (real)from[i] * scale;
    }
}

static void convert_float32(size_t n, const void *x, void *y)
{
    const float *from = x;
    real *to = y;
    for (size_t i = 0; i < n; i++) {
        to[i] = (real)from[i];
    }
}

static void convert_float64(size_t n, const void *x, void *y)
{
    const double *from = x;
    real *to = y;
    for (size_t i = 0; i < n; i++) {
        to[i] = (real)from[i];
    }
}

void KERNEL(fill_elementwise)(fm_kernels *table)
{
    table->activation[FM_IDENTITY] = identity;
    table->activation[FM_RELU] = relu;
    table->activation[FM_SIGMOID] = sigmoid;
    table->activation[FM_TANH] = hyperbolic_tangent;
    table->activation[FM_EXP] = exponential;
    table->derivative[FM_IDENTITY] = identity_derivative;
    table->derivative[FM_RELU] = relu_derivative;
    table->derivative[FM_SIGMOID] = sigmoid_derivative;
    table->derivative[FM_TANH] = tanh_derivative;
    table->derivative[FM_EXP] = exp_derivative;
    table->axpy = axpy;
    table->all_within = all_within;
    table->convert[FM_FLOAT32] = convert_float32;
    table->convert[FM_FLOAT64] = convert_float64;
    table->convert[FM_UINT8] = convert_uint8;
}
