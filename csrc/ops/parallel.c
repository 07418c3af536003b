/* The one place that opens parallel regions. */
#include <omp.h>

#include "ops.h"

void fm_in_parallel(int threads, fm_part run, void *context)
{
    fm_take_threads(threads);
    if (threads <= 1) {
        run(context, 0, 1);
    } else {
#pragma omp parallel num_threads(threads)
        run(context, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
    }
    fm_return_threads(threads);
}
