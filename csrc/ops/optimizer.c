/* Updates of flat parameter buffers. */
#include "ops.h"

typedef struct {
    const fm_kernels *kernels;
    size_t n;
    void *params;
    const void *grads;
    double lr;
} update;

static void update_part(void *context, size_t part, size_t parts)
{
    const update *u = context;
    const size_t item = u->kernels->itemsize;
    const fm_range range = fm_share(u->n, FM_ALIGNMENT, part, parts);
    u->kernels->axpy(range.end - range.begin, -u->lr, fm_at(u->grads, (ptrdiff_t)range.begin, item),
                     fm_at(u->params, (ptrdiff_t)range.begin, item));
}

fm_status fm_sgd_update(fm_dtype dtype, size_t n, void *params, const void *grads, double lr)
{
    if (!fm_is_real(dtype)) {
        return FM_ERROR_DTYPE;
    }
    update u = {fm_kernels_for(dtype), n, params, grads, lr};
    /* An element costs what it takes to load and store it, see activation.c. */
    fm_in_parallel(fm_threads_for(u.kernels->lanes, 10.0 * (double)n), update_part, &u);
    return FM_OK;
}
