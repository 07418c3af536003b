/* Updates of flat parameter buffers, and the scan for values that are not finite. */
#include <float.h>
#include <omp.h>

#include "ops.h"

/* Elements a thread takes at a time. */
enum { CHUNK = 1 << 14 };

fm_status fm_sgd_update(fm_dtype dtype, size_t n, void *params, const void *grads, double lr)
{
    if (!fm_is_real(dtype)) {
        return FM_ERROR_DTYPE;
    }
    const fm_kernels *kernels = fm_kernels_for(dtype);
    const int threads = fm_threads_for(2.0 * (double)n);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (size_t i = 0; i < n; i += CHUNK) {
        kernels->axpy(fm_min(CHUNK, n - i), -lr, fm_at(grads, (ptrdiff_t)i, kernels->itemsize),
                      fm_at(params, (ptrdiff_t)i, kernels->itemsize));
    }
    return FM_OK;
}

fm_status fm_all_finite(const fm_matrix *x, fm_dtype as, int *finite)
{
    if (!fm_is_real(as)) {
        return FM_ERROR_DTYPE;
    }
    *finite = 1;
    if (x->dtype == FM_UINT8) {
        return FM_OK;
    }
    const fm_kernels *kernels = fm_kernels_for(x->dtype);
    const double limit = as == FM_FLOAT64 && x->dtype == FM_FLOAT64 ? DBL_MAX : FLT_MAX;
    const int threads = fm_threads_for((double)x->rows * (double)x->cols);
    int all = 1;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static) reduction(&& : all)
    for (size_t i = 0; i < x->rows; i++) {
        all = all && kernels->all_within(x->cols, fm_row(x, i, kernels->itemsize), limit);
    }
    *finite = all;
    return FM_OK;
}
