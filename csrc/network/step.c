/* One training step, cut so that any number of threads can share it: forward, loss and backward
 * belong to rows, the gradient to the inputs of each layer. */
#include <string.h>

#include "network.h"

/* A cursor that hands out aligned pieces of a workspace and saturates at SIZE_MAX. */
typedef struct {
    char *base;
    size_t used;
} cursor;

static void *take(cursor *c, size_t count, size_t size)
{
    if (c->used > SIZE_MAX - FM_ALIGNMENT || count > (SIZE_MAX / 2 - c->used) / size) {
        c->used = SIZE_MAX;
        return NULL;
    }
    void *piece = c->base ? c->base + c->used : NULL;
    c->used += fm_round_up(count * size, FM_ALIGNMENT);
    return piece;
}

size_t fm_step_lay_out(const fm_network *network, size_t n_samples, size_t batch_size, void *base,
                       fm_step *step, size_t **order)
{
    const size_t item = network->itemsize, n_layers = network->n_layers;
    const size_t batch = fm_min(batch_size, n_samples);
    cursor c = {base, 0};
    *order = take(&c, n_samples, sizeof **order);
    step->losses = take(&c, batch, sizeof *step->losses);
    step->correct = take(&c, batch, 1);
    step->outputs = take(&c, n_layers, sizeof(void *));
    step->deltas = take(&c, n_layers, sizeof(void *));
    step->transposed = take(&c, n_layers, sizeof(void *));
    step->input = take(&c, batch, network->layers[0].in_stride * item);
    for (size_t i = 0; i < n_layers; i++) {
        const layer *l = &network->layers[i];
        void *output = take(&c, batch, l->out_stride * item);
        void *delta = take(&c, batch, l->out_stride * item);
        void *transposed = i ? take(&c, l->transposed_size, item) : NULL;
        if (base) {
            step->outputs[i] = output;
            step->deltas[i] = delta;
            step->transposed[i] = transposed;
            if (transposed) {
                /* Nothing but the padding keeps these zeros. */
                memset(transposed, 0, l->transposed_size * item);
            }
        }
    }
    return c.used;
}

void fm_gather_row(const fm_kernels *kernels, const fm_matrix *x, size_t index, void *to)
{
    const size_t size = x->dtype == FM_UINT8 ? 1 : x->dtype == FM_FLOAT32 ? 4 : 8;
    kernels->convert[x->dtype](x->cols, fm_row(x, index, size), to);
}

/* The loss and, in deltas, the gradient of the last pre-activation. */
static void loss_rows(const fm_step *step, size_t first, size_t count, fm_range rows)
{
    const fm_network *net = step->network;
    const size_t item = net->itemsize, last = net->n_layers - 1;
    const layer *l = &net->layers[last];
    const ptrdiff_t row = (ptrdiff_t)l->out_stride;
    const size_t padding = l->out_stride - l->outputs;

    for (size_t i = rows.begin; i < rows.end; i++) {
        const size_t index = step->order ? step->order[first + i] : first + i;
        const void *output = fm_at(step->outputs[last], (ptrdiff_t)i * row, item);
        void *delta = fm_at(step->deltas[last], (ptrdiff_t)i * row, item);
        step->losses[i] = fm_loss_row(step->kernels, net->loss, l->outputs, output, step->y, index,
                                      1.0 / (double)count, delta, &step->correct[i]);
        if (!net->fused) {
            step->kernels->derivative[l->activation](l->outputs, delta, output, delta);
        }
        /* Padding of the weights stays zero because that of the gradient is. */
        memset(fm_at(delta, (ptrdiff_t)l->outputs, item), 0, padding * item);
    }
}

void fm_step_rows(const fm_step *step, size_t first, size_t count, fm_range rows)
{
    const fm_network *net = step->network;
    const fm_kernels *kernels = step->kernels;
    const size_t item = net->itemsize, n = rows.end - rows.begin;
    if (!n) {
        return;
    }

    ptrdiff_t x_row = (ptrdiff_t)net->layers[0].in_stride;
    for (size_t i = rows.begin; i < rows.end; i++) {
        const size_t index = step->order ? step->order[first + i] : first + i;
        fm_gather_row(kernels, step->x, index, fm_at(step->input, (ptrdiff_t)i * x_row, item));
    }

    const void *x = step->input;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const int logits = net->fused && i + 1 == net->n_layers;
        const ptrdiff_t y_row = (ptrdiff_t)l->out_stride, begin = (ptrdiff_t)rows.begin;
        l->type->forward(l, kernels, step->parameters, n, fm_at(x, begin * x_row, item), x_row,
                         fm_at(step->outputs[i], begin * y_row, item), y_row, l->out_stride,
                         logits ? FM_IDENTITY : l->activation);
        x = step->outputs[i];
        x_row = y_row;
    }

    loss_rows(step, first, count, rows);

    for (size_t i = net->n_layers - 1; i > 0; i--) {
        const layer *l = &net->layers[i];
        const ptrdiff_t in = (ptrdiff_t)(rows.begin * l->in_stride);
        void *dx = fm_at(step->deltas[i - 1], in, item);
        l->type->backward(l, kernels, step->transposed[i], n,
                          fm_at(step->deltas[i], (ptrdiff_t)(rows.begin * l->out_stride), item), dx);
        kernels->derivative[net->layers[i - 1].activation](
            n * l->in_stride, dx, fm_at(step->outputs[i - 1], in, item), dx);
    }
}

void fm_step_gradient(const fm_step *step, size_t count, fm_gemm_mode mode, double alpha,
                      void *target, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        l->type->gradient(l, step->kernels, count, i ? step->outputs[i - 1] : step->input,
                          step->deltas[i], mode, alpha, target, part, parts);
    }
}

void fm_step_transpose(const fm_step *step, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    for (size_t i = 1; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        l->type->transpose(l, step->kernels, step->parameters, step->transposed[i], part, parts);
    }
}

fm_range fm_step_share(const fm_step *step, size_t count, size_t part, size_t parts)
{
    const size_t tile = step->kernels->mr;
    return fm_share(count, count >= tile * parts ? tile : 1, part, parts);
}
