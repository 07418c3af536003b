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

/* Linux may wake a thread on the processor of one that works, though others are idle, and then
 * needs up to a hundredth of a second to notice: so long the two take turns, and wait for each
 * other. Who comes second goes to a processor where none of its region has begun, as far as it may.
 */
static void find_processor(processors *p)
{
#ifdef __linux__
    const int here = sched_getcpu();
    if (here < 0 || here >= MOST_PROCESSORS) {
        return;
    }
    const uint64_t bit = (uint64_t)1 << here % 64;
    cpu_set_t allowed;
    if (!(atomic_fetch_or(&p->taken[here / 64], bit) & bit) ||
        sched_getaffinity(0, sizeof allowed, &allowed)) {
        return;
    }
    cpu_set_t others = allowed;
    for (int cpu = 0; cpu < MOST_PROCESSORS && cpu < CPU_SETSIZE; cpu++) {
        if (p->taken[cpu / 64] >> cpu % 64 & 1) {
            CPU_CLR(cpu, &others);
        }
    }
    /* It moves at once, and may be moved again later. */
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others)) {
        sched_setaffinity(0, sizeof allowed, &allowed);
    }
#else
    (void)p;
#endif
}

void fm_in_parallel(int threads, fm_part run, void *context)
{
    fm_take_threads(threads);
    if (threads <= 1) {
        run(context, 0, 1);
    } else {
        processors p = {{0}};
#pragma omp parallel num_threads(threads)
        {
            find_processor(&p);
            run(context, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
        }
    }
    fm_return_threads(threads);
}
