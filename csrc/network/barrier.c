/* A barrier that spins briefly and then sleeps.
 *
 * Steps last tens of microseconds, so sleeping at every barrier would cost more than the work; but
 * where a thread has lost its core to somebody else, a spinning one only keeps it from coming
 * back. So a thread spins for about as long as a wake-up takes, and then sleeps in the kernel. */
#define _GNU_SOURCE /* syscall */
#include "barrier.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static void sleep_while(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}
#else
#include <sched.h>

static void sleep_while(_Atomic uint32_t *word, uint32_t value)
{
    if (*word == value) {
        sched_yield();
    }
}

static void wake_all(_Atomic uint32_t *word)
{
    (void)word;
}
#endif

/* Pauses of 40 to 140 cycles each: some 10 microseconds. */
enum { SPINS = 400 };

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void fm_barrier_meet(fm_barrier *b, size_t threads)
{
    if (threads == 1) {
        return;
    }
    const uint32_t generation = b->generation;
    if (b->arrived++ + 1 == threads) {
        b->arrived = 0;
        b->generation++;
        if (b->sleepers) {
            wake_all(&b->generation);
        }
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (b->generation != generation) {
            return;
        }
        pause_briefly();
    }
    b->sleepers++;
    while (b->generation == generation) {
        sleep_while(&b->generation, generation);
    }
    b->sleepers--;
}
