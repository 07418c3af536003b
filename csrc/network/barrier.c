/* A barrier that spins briefly and then sleeps.
 *
 * Steps last tens of microseconds, so sleeping at every barrier would cost more than the work; but
 * where a thread has lost its core to somebody else, a spinning one only keeps it from coming
 * back. So a thread spins for about as long as a wake-up takes, and then sleeps in the kernel. */
#define _GNU_SOURCE /* syscall */
#include "barrier.h"

#include <time.h>

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

/* Longer than threads of one step are apart as a rule, and no longer than a few wake-ups take. */
static const long spin_nanoseconds = 50000;

/* Pauses between two looks at the clock. */
enum { PAUSES = 16 };

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec % 1000000 * 1000000000L + now.tv_nsec;
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
    const long start = nanoseconds();
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (b->generation != generation) {
                return;
            }
            pause_briefly();
        }
    } while (nanoseconds() - start < spin_nanoseconds);
    b->sleepers++;
    while (b->generation == generation) {
        sleep_while(&b->generation, generation);
    }
    b->sleepers--;
}
