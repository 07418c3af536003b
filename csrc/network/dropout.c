/* Dropout in a training step: the factors of a sample's inputs, and those of a layer's outputs. */
#include <string.h>

#include "step_parts.h"

/* Factors that are made at a time. */
enum { CHUNK = 512 };

fm_dropout fm_step_dropout(const fm_step *step, size_t layer_index)
{
    const double units = 65536;
    const fm_training *o = step->training;
    fm_dropout d = {.factor = 1};
    if (!o || !o->dropout || layer_index >= step->network->n_layers) {
        return d;
    }
    const double threshold = o->dropout[layer_index] * units + 0.5;
    for (uint32_t i = 0; i < FM_DROPOUT_ROUNDS; i++) {
        d.keys[i][0] = (uint32_t)o->seed + i * 0x9E3779B9u;
        d.keys[i][1] = (uint32_t)(o->seed >> 32) + i * 0xBB67AE85u;
    }
    d.layer = (uint32_t)layer_index;
    d.epoch = (uint32_t)o->epoch;
    d.threshold = threshold < units ? (uint32_t)threshold : (uint32_t)units - 1;
    d.factor = units / (units - d.threshold);
    return d;
}

uint64_t fm_step_number(const fm_step *step, fm_batch batch, size_t row)
{
    const fm_training *o = step->training;
    return (o ? o->before.samples - o->first : 0) + batch.first + row;
}

void fm_drop_row(const fm_kernels *kernels, const fm_dropout *d, uint64_t sample, size_t n, void *x)
{
    double factors[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t count = fm_min(CHUNK, n - i);
        void *to = fm_at(x, (ptrdiff_t)i, kernels->itemsize);
        kernels->dropout(d, sample, i, count, factors);
        kernels->multiply(count, to, factors, to);
    }
}

fm_sparse_row fm_drop_elements(const fm_kernels *kernels, const fm_dropout *d, uint64_t sample,
                               fm_sparse_row row, void *values)
{
    double factors[CHUNK];
    for (size_t i = 0; i < row.count; i += CHUNK) {
        const size_t count = fm_min(CHUNK, row.count - i);
        const ptrdiff_t at = (ptrdiff_t)i;
        kernels->dropout_at(d, sample, count, row.index + i, factors);
        kernels->multiply(count, fm_at(row.value, at, kernels->itemsize), factors,
                          fm_at(values, at, kernels->itemsize));
    }
    row.value = values;
    return row;
}

void fm_drop_outputs(const fm_kernels *kernels, const layer *l, size_t n, void *y, void *slopes)
{
    double kept[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t count = fm_min(CHUNK, n - i);
        void *output = fm_at(y, (ptrdiff_t)i, kernels->itemsize);
        void *factors = fm_at(slopes, (ptrdiff_t)i, kernels->itemsize);
        memcpy(kept, factors, count * kernels->itemsize);
        if (l->keeps_slopes) {
            kernels->sloped[l->activation](count, output, output, factors);
            kernels->multiply(count, factors, kept, factors);
        } else {
            kernels->derivative[l->activation](count, kept, output, factors);
        }
        kernels->multiply(count, output, kept, output);
    }
}
