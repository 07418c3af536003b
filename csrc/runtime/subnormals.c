/* The processor's register that says what to do with subnormal numbers. */
#include "subnormals.h"

#if defined(__SSE__)
#include <xmmintrin.h>

/* Flush results to zero, and take operands for zero. */
enum { FLUSH = 0x8040 };

static uint64_t get(void)
{
    return _mm_getcsr();
}

static void set(uint64_t bits)
{
    _mm_setcsr((unsigned)bits);
}
#elif defined(__aarch64__)
enum { FLUSH = 1 << 24 };

static uint64_t get(void)
{
    uint64_t bits;
    __asm__ volatile("mrs %0, fpcr" : "=r"(bits));
    return bits;
}

static void set(uint64_t bits)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(bits));
}
#else
enum { FLUSH = 0 };

static uint64_t get(void)
{
    return 0;
}

static void set(uint64_t bits)
{
    (void)bits;
}
#endif

uint64_t fm_flush_subnormals(void)
{
    const uint64_t before = get();
    set(before | FLUSH);
    return before;
}

uint64_t fm_keep_subnormals(void)
{
    const uint64_t before = get();
    set(before & ~(uint64_t)FLUSH);
    return before;
}

void fm_restore_subnormals(uint64_t before)
{
    set(before);
}
