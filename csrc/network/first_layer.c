/* The first layer within a training step: where samples come in, and what is split by columns. */
#include <string.h>

#include "step_parts.h"

/* Samples come in random order from more memory than is cached, which the hardware cannot foresee.
 * They are asked for while others are multiplied: a batch ahead or, where that is more than the
 * second-level cache keeps beside the weights, so many bytes ahead. */
enum { AHEAD_BYTES = 128 * 1024 };

static size_t row_bytes(const fm_step *step)
{
    return step->x->cols * fm_dtype_size(step->x->dtype);
}

/* Ask for a row of the batch, or beyond its end of the next, and for its target. Inlined, as GCC
 * takes a function that only prefetches for one without effect and leaves its calls out. */
static inline __attribute__((always_inline)) void prefetch_sample(const fm_step *step,
                                                                  fm_batch batch, size_t row)
{
    if (batch.first + row >= step->x->rows) {
        return;
    }
    const size_t sample = fm_step_sample(step, batch, row);
    const char *from = fm_sample(step->x, sample), *end = from + row_bytes(step);
    /* By the lines they lie in: rows begin anywhere in one. */
    for (from -= (uintptr_t)from % FM_ALIGNMENT; from < end; from += FM_ALIGNMENT) {
        __builtin_prefetch(from, 0, 2);
    }
    if (step->y->indices) {
        __builtin_prefetch(step->y->indices + sample, 0, 2);
    }
    if (step->y->weights) {
        __builtin_prefetch(step->y->weights + sample, 0, 2);
    }
}

static int reads_bytes(const fm_step *step)
{
    return step->in_place && step->x->dtype == FM_UINT8;
}

/* Row of the batch in a thread's input. */
static void *input_of(const fm_step *step, size_t part, size_t row)
{
    const size_t stride = step->network->layers[0].in_stride;
    return fm_at(step->input, (ptrdiff_t)((part * step->input_rows + row) * stride),
                 step->network->itemsize);
}

/* Where a thread keeps the beginnings of the batch's rows. */
static const void **rows_of(const fm_step *step, size_t part)
{
    return step->rows + part * step->input_rows;
}

/* A row of the batch as the network's dtype, in the step's input unless it can stay where it is. */
static const void *row_of(const fm_step *step, fm_batch batch, size_t part, size_t row,
                          const fm_dropout *dropout)
{
    const size_t sample = fm_step_sample(step, batch, row);
    if (step->in_place) {
        return fm_sample(step->x, sample);
    }
    void *to = input_of(step, part, row);
    fm_gather_row(step->kernels, step->x, sample, to);
    if (dropout->threshold) {
        fm_drop_row(step->kernels, dropout, fm_step_number(step, batch, row), step->x->cols, to);
    }
    return to;
}

static void copy_columns(const fm_step *step, fm_columns from, fm_columns to)
{
    const size_t item = step->network->itemsize;
    for (size_t i = 0; i < step->network->layers[0].inputs; i++) {
        memcpy(fm_at(to.weight, (ptrdiff_t)i * to.row, item),
               fm_at(from.weight, (ptrdiff_t)i * from.row, item), from.outputs * item);
    }
}

void fm_first_fetch(const fm_step *step, size_t part, size_t parts)
{
    const fm_range columns = fm_step_columns(step, part, parts);
    const layer *l = &step->network->layers[0];
    for (size_t i = 0; i < step->n_buffers; i++) {
        copy_columns(step, fm_columns_of(step->network, l, step->buffers.of[i], columns),
                     fm_step_held(step, l, part, i, columns));
    }
}

void fm_first_give_back(const fm_step *step, size_t part, size_t parts)
{
    const fm_range columns = fm_step_columns(step, part, parts);
    const layer *l = &step->network->layers[0];
    for (size_t i = 0; i < step->n_buffers; i++) {
        copy_columns(step, fm_step_held(step, l, part, i, columns),
                     fm_columns_of(step->network, l, step->buffers.of[i], columns));
    }
}

/* The product and the activation, for dense rows. */
static void forward_dense(const fm_step *step, fm_batch batch, size_t part, fm_range rows,
                          fm_columns parameters, void *y)
{
    const fm_network *net = step->network;
    const layer *l = &net->layers[0];
    const size_t item = net->itemsize;
    const ptrdiff_t y_row = (ptrdiff_t)l->out_stride;
    const fm_dropout dropout = fm_step_dropout(step, 0);
    const fm_activation activation = fm_step_activation(net, 0);
    /* Sparse rows go by a few, so that what is asked for comes while these are multiplied. */
    const size_t unit = step->skip_forward ? FM_MARK_GROUP : rows.end - rows.begin;
    const size_t ahead = fm_min(batch.count, fm_max(FM_MARK_GROUP, AHEAD_BYTES / row_bytes(step)));
    const int by_lines = step->skip_forward || step->in_place;
    const void **x = rows_of(step, part);
    for (size_t i = rows.begin; i < rows.end; i += unit) {
        const size_t end = fm_min(i + unit, rows.end);
        for (size_t r = i; r < end; r++) {
            prefetch_sample(step, batch, r + ahead);
            x[r] = row_of(step, batch, part, r, &dropout);
        }
        void *to = fm_at(y, (ptrdiff_t)(i - rows.begin) * y_row, item);
        const fm_rows group = {x[i], (ptrdiff_t)l->in_stride, by_lines ? x + i : NULL,
                               reads_bytes(step)};
        if (step->skip_forward) {
            l->type->forward_group(l, step->kernels, parameters, end - i, group, to, y_row,
                                   activation, &step->scratch[part]);
        } else {
            l->type->forward(l, step->kernels, parameters, end - i, group, to, y_row, activation);
        }
    }
}

/* Gather rows and pass them through columns of the first layer. */
void fm_first_forward(const fm_step *step, fm_batch batch, size_t part, fm_range rows,
                      fm_range columns)
{
    const fm_network *net = step->network;
    const layer *l = &net->layers[0];
    const fm_columns parameters = fm_step_held(step, l, part, 0, columns);
    const fm_rest *rest = fm_step_rest(step, part);
    void *y = fm_at(fm_step_output(step, rest, batch, 0),
                    (ptrdiff_t)(rows.begin * l->out_stride + columns.begin), net->itemsize);
    if (step->x->starts) {
        const fm_dropout dropout = fm_step_dropout(step, 0);
        l->type->forward_sparse(
            l, step->kernels, parameters, rows.end - rows.begin, step->x, step->order,
            batch.first + rows.begin, dropout.threshold ? &dropout : NULL,
            fm_step_number(step, batch, rows.begin), y, (ptrdiff_t)l->out_stride,
            fm_step_activation(net, 0), &step->scratch[part]);
    } else {
        forward_dense(step, batch, part, rows, parameters, y);
    }
    fm_step_finish_outputs(step, rest, batch, 0, rows, columns);
}

void fm_first_gradient(const fm_step *step, fm_batch batch, const fm_target *target, size_t part,
                       fm_own own)
{
    const fm_network *net = step->network;
    const layer *l = &net->layers[0];
    fm_scratch *scratch = &step->scratch[part];
    const void *dy = fm_at(fm_step_rest(step, part)->deltas[0], (ptrdiff_t)own.columns.begin,
                           net->itemsize);
    if (!step->x->starts) {
        const int by_lines = step->skip_gradient || step->in_place;
        const fm_rows x = {input_of(step, part, 0), (ptrdiff_t)l->in_stride,
                           by_lines ? rows_of(step, part) : NULL, reads_bytes(step)};
        l->type->gradient(l, step->kernels, batch.count, x, step->skip_gradient, dy, target,
                          own.inputs, own.biases, scratch);
        return;
    }
    const fm_dropout dropout = fm_step_dropout(step, 0);
    size_t entries = 0;
    for (size_t i = batch.count; i-- > 0;) {
        fm_sparse_row row = fm_sparse_row_of(step->kernels, step->x, fm_step_sample(step, batch, i),
                                             scratch->value[0]);
        if (dropout.threshold) {
            row = fm_drop_elements(step->kernels, &dropout, fm_step_number(step, batch, i), row,
                                   scratch->value[0]);
        }
        fm_collect_row(step->kernels, &row, (uint32_t)i, own.inputs, &entries, scratch->entries);
    }
    l->type->gradient_sparse(l, step->kernels, batch.count, dy, target, own.inputs, own.biases,
                             scratch);
}
