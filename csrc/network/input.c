/* Samples on their way into the first layer. */
#include <string.h>

#include "network.h"

/* Samples that are looked at to learn how many zeros there are. */
enum { LOOK_AT = 64 };

void fm_gather_row(const fm_kernels *kernels, const fm_matrix *x, size_t index, void *to)
{
    kernels->convert[x->dtype](x->cols, fm_row(x, index, fm_dtype_size(x->dtype)), to);
}

fm_density fm_look_at_zeros(const fm_kernels *kernels, const fm_matrix *x, void *row,
                            const fm_scratch *scratch)
{
    const size_t n = x->cols, rows = fm_min(x->rows, LOOK_AT);
    const size_t groups = (n + FM_MARK_GROUP - 1) / FM_MARK_GROUP;
    size_t set = 0, groups_set = 0;
    for (size_t i = 0; i < rows; i++) {
        fm_gather_row(kernels, x, i * (x->rows / rows), row);
        set += kernels->compress(n, row, scratch->index[0], scratch->value[0]);
        if (scratch->marks) {
            memset(scratch->marks, 0, groups * sizeof *scratch->marks);
            kernels->mark(n, row, 0, scratch->marks);
            for (size_t g = 0; g < groups; g++) {
                groups_set += scratch->marks[g];
            }
        }
    }
    return (fm_density){(double)set / (double)(rows * n),
                        (double)groups_set / (double)(rows * groups)};
}
