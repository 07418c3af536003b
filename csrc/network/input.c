/* Samples on their way into the first layer. */
#include <string.h>

#include "network.h"

/* Samples that are looked at to learn how many zeros there are. */
enum { LOOK_AT = 64 };

void fm_gather_row(const fm_kernels *kernels, const fm_samples *x, size_t index, void *to)
{
    kernels->convert[x->dtype](x->cols, fm_sample(x, index), to);
}

size_t fm_longest_row(const fm_samples *x)
{
    int64_t longest = 0;
    for (size_t i = 0; i < x->rows; i++) {
        const int64_t length = x->starts[i + 1] - x->starts[i];
        longest = length > longest ? length : longest;
    }
    return (size_t)longest;
}

void fm_collect_row(const fm_kernels *kernels, const fm_sparse_row *row, uint32_t sample,
                    fm_range inputs, size_t *count, fm_entries *entries)
{
    const size_t item = kernels->itemsize;
    for (size_t p = 0; p < row->count; p++) {
        const uint32_t feature = row->index[p];
        if (feature < inputs.begin || feature >= inputs.end) {
            continue;
        }
        const size_t entry = (*count)++;
        if (!entries->head[feature]) {
            entries->features[entries->n_features++] = feature;
        }
        entries->next[entry] = entries->head[feature];
        entries->sample[entry] = sample;
        fm_copy_element(fm_at(entries->value, (ptrdiff_t)entry, item),
                        fm_at(row->value, (ptrdiff_t)p, item), item);
        entries->head[feature] = (uint32_t)entry + 1;
    }
}

fm_density fm_look_at_zeros(const fm_kernels *kernels, const fm_samples *x, void *row,
                            const fm_scratch *scratch)
{
    const size_t n = x->cols, rows = fm_min(x->rows, LOOK_AT);
    const size_t groups = (n + FM_MARK_GROUP - 1) / FM_MARK_GROUP;
    size_t set = 0, groups_set = 0;
    const int bytes = x->dtype == FM_UINT8;
    for (size_t i = 0; i < rows; i++) {
        const size_t sample = i * (x->rows / rows);
        const void *const from = bytes ? fm_sample(x, sample) : row;
        if (!bytes) {
            fm_gather_row(kernels, x, sample, row);
        }
        set += kernels->compress[bytes](n, from, from, scratch->index, scratch->value[0],
                                        scratch->value[0]);
        if (scratch->marks) {
            memset(scratch->marks, 0, groups * sizeof *scratch->marks);
            kernels->mark[bytes](n, from, 0, scratch->marks);
            for (size_t g = 0; g < groups; g++) {
                groups_set += scratch->marks[g];
            }
        }
    }
    return (fm_density){(double)set / (double)(rows * n),
                        (double)groups_set / (double)(rows * groups)};
}
