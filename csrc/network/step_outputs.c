/* A layer's outputs in a training step, after its product: where they do not tell the slopes of the
 * activation, or are dropped, slopes are kept beside them for the way back. */
#include <string.h>

#include "step_parts.h"

/* Rows and columns of a batch x out_stride buffer, taken as one row where there is no gap. */
typedef struct {
    size_t rows, n;
    ptrdiff_t first, row;
} block;

static block block_of(const layer *l, fm_range rows, fm_range columns)
{
    const size_t stride = l->out_stride;
    block b = {rows.end - rows.begin, columns.end - columns.begin,
               (ptrdiff_t)(rows.begin * stride + columns.begin), (ptrdiff_t)stride};
    if (b.n == stride) {
        b.n *= b.rows;
        b.rows = 1;
    }
    return b;
}

void fm_step_finish_outputs(const fm_step *step, const fm_rest *rest, fm_batch batch, size_t i,
                            fm_range rows, fm_range columns)
{
    const layer *l = &step->network->layers[i];
    const size_t item = step->network->itemsize;
    const block b = block_of(l, rows, columns);
    const fm_dropout dropout = fm_step_dropout(step, i + 1);
    if (!l->keeps_slopes && !dropout.threshold) {
        return;
    }
    for (size_t r = rows.begin; r < rows.end && dropout.threshold; r++) {
        const ptrdiff_t at = (ptrdiff_t)(r * l->out_stride + columns.begin);
        step->kernels->dropout(&dropout, fm_step_number(step, batch, r), columns.begin,
                               columns.end - columns.begin, fm_at(rest->slopes[i], at, item));
    }
    void *y = fm_step_output(step, rest, batch, i);
    for (size_t r = 0; r < b.rows; r++) {
        const ptrdiff_t at = b.first + (ptrdiff_t)r * b.row;
        void *to = fm_at(y, at, item), *slopes = fm_at(rest->slopes[i], at, item);
        if (dropout.threshold) {
            fm_drop_outputs(step->kernels, l, b.n, to, slopes);
        } else {
            step->kernels->sloped[l->activation](b.n, to, to, slopes);
        }
    }
}

void fm_step_through_activation(const fm_step *step, const fm_rest *rest, fm_batch batch, size_t i,
                                fm_range rows, fm_range columns)
{
    const layer *l = &step->network->layers[i];
    const size_t item = step->network->itemsize;
    const block b = block_of(l, rows, columns);
    const void *y = fm_step_output(step, rest, batch, i);
    for (size_t r = 0; r < b.rows; r++) {
        const ptrdiff_t at = b.first + (ptrdiff_t)r * b.row;
        void *delta = fm_at(rest->deltas[i], at, item);
        if (rest->slopes[i]) {
            step->kernels->multiply(b.n, delta, fm_at(rest->slopes[i], at, item), delta);
        } else {
            step->kernels->derivative[l->activation](b.n, delta, fm_at(y, at, item), delta);
        }
    }
}

void fm_step_finish_delta(const fm_step *step, const fm_rest *rest, fm_batch batch, size_t row)
{
    const fm_network *net = step->network;
    const layer *l = fm_last_layer(net);
    const size_t last = net->n_layers - 1;
    if (!net->fused) {
        fm_step_through_activation(step, rest, batch, last, (fm_range){row, row + 1},
                                   (fm_range){0, l->outputs});
    }
    /* Padding of the weights stays zero because that of the gradient is. */
    memset(fm_at(rest->deltas[last], (ptrdiff_t)(row * l->out_stride + l->outputs), net->itemsize),
           0, (l->out_stride - l->outputs) * net->itemsize);
}
