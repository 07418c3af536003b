/* Thread policy and fork guard. */
#include "threads.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>

/* A parallel region costs a few microseconds to enter and leave, in which one core makes some
 * 10^5 operations; below twice that a second thread cannot win. */
static const double worthwhile_operations = 2e5;

static atomic_int requested; /* 0: follow OpenMP */
static atomic_int forked;
static int limit_at_load;

/* OpenMP's threads do not survive a fork, and its run-time would wait for them for ever. */
static void after_fork_in_child(void)
{
    forked = 1;
}

__attribute__((constructor)) static void set_up(void)
{
    limit_at_load = omp_get_max_threads();
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

void fm_set_num_threads(int n)
{
    requested = n > 0 ? n : 0;
}

int fm_get_num_threads(void)
{
    if (forked) {
        return 1;
    }
    const int limit = omp_get_max_threads();
    const int wanted = requested;
    if (!wanted) {
        return limit;
    }
    return limit < limit_at_load && limit < wanted ? limit : wanted;
}

int fm_threads_for(double operations)
{
    return operations < worthwhile_operations ? 1 : fm_get_num_threads();
}
