/* Thread policy and fork guard. */
#include "threads.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>

/* What a thread must have to do for a lane of its vectors. A core makes about 10 operations a lane
 * in a nanosecond, so this is 3 us. To enter and leave a region costs 1 us while OpenMP's threads
 * still wait for it, and 20 us or more once they sleep: much less, and two threads would gain
 * nothing at best; much more, and calls in a row would not gain what they could. */
static const double operations_per_lane = 32768;

static atomic_int requested; /* 0: follow OpenMP */
static atomic_int forked;
static atomic_int taken; /* threads of the calls that are under way */
static int limit_at_load, largest;

/* More threads than this a core cannot help, and creating them may fail, at which OpenMP's run-time
 * ends the process. */
enum { THREADS_PER_CORE = 16 };

/* OpenMP's threads do not survive a fork, and its run-time would wait for them for ever. */
static void after_fork_in_child(void)
{
    forked = 1;
}

__attribute__((constructor)) static void set_up(void)
{
    limit_at_load = omp_get_max_threads();
    largest = THREADS_PER_CORE * omp_get_num_procs();
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

void fm_set_num_threads(int n)
{
    requested = n <= 0 ? 0 : n < largest ? n : largest;
}

int fm_get_num_threads(void)
{
    if (forked) {
        return 1;
    }
    const int limit = omp_get_max_threads() < largest ? omp_get_max_threads() : largest;
    const int wanted = requested;
    if (!wanted) {
        return limit;
    }
    return limit < limit_at_load && limit < wanted ? limit : wanted;
}

void fm_take_threads(int n)
{
    taken += n;
}

void fm_return_threads(int n)
{
    taken -= n;
}

/* Two calls that each used all cores would wait at every barrier for a thread that has none. */
int fm_get_free_threads(void)
{
    const int left = fm_get_num_threads() - taken;
    return left > 1 ? left : 1;
}

int fm_threads_for(size_t lanes, double operations)
{
    const int threads = fm_get_free_threads();
    const double useful = operations / (operations_per_lane * (double)lanes);
    return useful < 2 ? 1 : useful < threads ? (int)useful : threads;
}
