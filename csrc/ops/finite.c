/* The scan for values that are not finite. */
#include <stdatomic.h>

#include "ops.h"

typedef struct {
    const fm_kernels *kernels;
    const fm_matrix *x;
    double limit;
    atomic_int finite;
} scan;

static void scan_part(void *context, size_t part, size_t parts)
{
    scan *s = context;
    const fm_range rows = fm_share(s->x->rows, 1, part, parts);
    for (size_t i = rows.begin; i < rows.end && s->finite; i++) {
        if (!s->kernels->all_within(s->x->cols, fm_row(s->x, i, s->kernels->itemsize), s->limit)) {
            s->finite = 0;
        }
    }
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
    scan s = {fm_kernels_for(x->dtype), x, fm_largest(x->dtype, as), 1};
    const double work = 5.0 * (double)x->rows *
                        (double)x->cols; /* to load them, see activation.c */
    fm_in_parallel(fm_threads_for(s.kernels->lanes, work), scan_part, &s);
    *finite = s.finite;
    return FM_OK;
}
