/* Conversion, axpy, and the test for finite values: a value in, a value out. */
#include "simd.h"

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
    table->axpy = axpy;
    table->all_within = all_within;
    table->convert[FM_FLOAT32] = convert_float32;
    table->convert[FM_FLOAT64] = convert_float64;
    table->convert[FM_UINT8] = convert_uint8;
}
