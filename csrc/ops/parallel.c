/* The one place that opens parallel regions. */
#ifdef __linux__
#define _GNU_SOURCE /* for sched_getcpu */
#include <sched.h>
#endif
#include <omp.h>
#include <stdatomic.h>

#include "ops.h"

/* The processors that threads of a region have begun on. */
enum { MOST_PROCESSORS = 1024 };
typedef struct {
    _Atomic uint64_t taken[MOST_PROCESSORS / 64];
} processors;

#ifdef __linux__
/* Whether the processor that a thread is on has been taken before. */
static int take_processor(processors *p)
{
    const int here = sched_getcpu();
    if (here < 0 || here >= MOST_PROCESSORS) {
        return 0;
    }
    const uint64_t bit = (uint64_t)1 << here % 64;
    return (atomic_fetch_or(&p->taken[here / 64], bit) & bit) != 0;
}

/* To one that nobody has taken, of those that the thread may run on. It moves at once, and may be
 * moved again later. */
static void move_on(processors *p)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) {
        return;
    }
    cpu_set_t others = allowed;
    for (size_t i = 0; i < MOST_PROCESSORS / 64; i++) {
        uint64_t taken = atomic_load_explicit(&p->taken[i], memory_order_relaxed);
        for (; taken; taken &= taken - 1) {
            CPU_CLR(64 * i + (size_t)__builtin_ctzll(taken), &others);
        }
    }
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others)) {
        sched_setaffinity(0, sizeof allowed, &allowed);
    }
}

/* Linux may wake a thread on the processor of one that works, though others are idle, and then
 * needs up to a hundredth of a second to notice: so long the two take turns, and wait for each
 * other. So a thread that comes second leaves. The calling thread, the first, is not touched. */
static void find_processor(processors *p)
{
    if (omp_get_thread_num() && take_processor(p)) {
        move_on(p);
    }
}
#else
static int take_processor(processors *p)
{
    (void)p;
    return 0;
}

static void find_processor(processors *p)
{
    (void)p;
}
#endif

void fm_in_parallel(int threads, fm_part run, void *context)
{
    fm_take_threads(threads);
    if (threads <= 1) {
        run(context, 0, 1);
    } else {
        processors p = {{0}};
        take_processor(&p);
#pragma omp parallel num_threads(threads)
        {
            find_processor(&p);
            run(context, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
        }
    }
    fm_return_threads(threads);
}
