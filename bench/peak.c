/* The rate of float32 fused multiply-adds: chains of them in registers, enough to keep every unit
 * busy. Compiled and run by machine.py on the machine that is measured, and nowhere else. */
#include <stddef.h>

#if defined(__AVX512F__)
enum { BYTES = 64, CHAINS = 16 };
#elif defined(__AVX__)
enum { BYTES = 32, CHAINS = 12 };
#elif defined(__aarch64__)
enum { BYTES = 16, CHAINS = 24 };
#else
enum { BYTES = 16, CHAINS = 12 };
#endif

typedef float vector __attribute__((vector_size(BYTES)));

/* Floating-point operations of one round. */
size_t operations(void) { return 2 * CHAINS * BYTES / sizeof(float); }

/* Runs the rounds; returns a sum so that no compiler drops them. */
float run(size_t rounds, float factor, float addend) {
    vector sums[CHAINS], factors = factor + (vector){0}, addends = addend + (vector){0};
    for (int c = 0; c < CHAINS; c++) sums[c] = addends * (float)c;
    for (size_t i = 0; i < rounds; i++) {
#pragma GCC unroll 32
        for (int c = 0; c < CHAINS; c++) sums[c] = sums[c] * factors + addends;
    }
    float total = 0;
    for (int c = 0; c < CHAINS; c++) total += sums[c][0];
    return total;
}
