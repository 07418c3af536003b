/* vec_scale2 for instruction sets without a scaling instruction. The exponent is applied in two
 * halves, each a normal power of two; the first product is exact, so the result, even a subnormal
 * or an infinite one, is rounded once. */
ALWAYS_INLINE vec vec_scale2(vec x, vec n)
{
    const vec half = vec_round(n * vec_set1(REAL(0.5)));
    return x * vec_power2(half) * vec_power2(n - half);
}
