/* Buffers and phases of a training step. */
#include "step.h"

#include <string.h>

/* Rows that pass through the layers together, while their activations are cached. */
enum { BLOCK_ROWS = 64 };

/* Up to this many samples for each column of the first layer, moving the layer's output from core
 * to core is cheaper than moving its weights: a weight goes there and back, an output there and
 * its gradient back, for an input and a sample each. */
enum { SAMPLES_PER_COLUMN = 2 };

/* Zeros are skipped where less than this share of the input is not zero, or of the groups of
 * features that share a tile: then the shorter sums save more than the lists cost. */
static const double dense_enough = 0.5;

/* Samples that are looked at to learn how many zeros there are. */
enum { LOOK_AT = 64 };

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

static void take_zeros(cursor *c, const fm_network *network, size_t batch, fm_zeros *zeros)
{
    const layer *l = &network->layers[0];
    const size_t room = l->in_stride + FM_ALIGNMENT, words = (batch + 31) / 32;
    fm_zeros z;
    for (int i = 0; i < 2; i++) {
        z.index[i] = take(c, room, sizeof(uint32_t));
        z.value[i] = take(c, room, network->itemsize);
    }
    z.marks_stride = (l->inputs + FM_MARK_GROUP - 1) / FM_MARK_GROUP;
    z.marks = take(c, words * z.marks_stride, sizeof(uint32_t));
    z.list = take(c, 32 * words, sizeof(uint32_t));
    if (c->base) {
        *zeros = z;
    }
}

size_t fm_step_lay_out(const fm_network *network, size_t n_samples, size_t batch_size,
                       size_t threads, void *base, fm_step *step, size_t **order)
{
    const size_t item = network->itemsize, n_layers = network->n_layers;
    const size_t batch = fm_min(batch_size, n_samples);
    const layer *first = &network->layers[0];
    cursor c = {base, 0};
    *order = take(&c, n_samples, sizeof **order);
    step->by_columns = threads > 1 && batch <= SAMPLES_PER_COLUMN * first->out_stride &&
                       first->out_stride * item >= threads * FM_ALIGNMENT;
    step->input_size = step->by_columns ? batch * first->in_stride : 0;
    step->input = take(&c, batch, (step->by_columns ? threads : 1) * first->in_stride * item);
    step->losses = take(&c, batch, sizeof *step->losses);
    step->correct = take(&c, batch, 1);
    step->outputs = take(&c, n_layers, sizeof(void *));
    step->deltas = take(&c, n_layers, sizeof(void *));
    step->transposed = take(&c, n_layers, sizeof(void *));
    step->zeros = take(&c, threads, sizeof *step->zeros);
    for (size_t i = 0; i < threads; i++) {
        take_zeros(&c, network, batch, base ? &step->zeros[i] : NULL);
    }
    for (size_t i = 0; i < n_layers; i++) {
        const layer *l = &network->layers[i];
        void *output = take(&c, batch, l->out_stride * item);
        void *delta = take(&c, batch, l->out_stride * item);
        void *transposed = i ? take(&c, l->transposed_size, item) : NULL;
        if (i == 0) {
            step->first_output[0] = output;
            step->first_output[1] = take(&c, batch, l->out_stride * item);
        }
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

void fm_step_look_at_zeros(fm_step *step)
{
    const fm_zeros *zeros = &step->zeros[0];
    const size_t n = step->x->cols, groups = zeros->marks_stride;
    const size_t rows = fm_min(step->x->rows, LOOK_AT);
    size_t set = 0, groups_set = 0;
    for (size_t i = 0; i < rows; i++) {
        fm_gather_row(step->kernels, step->x, i * (step->x->rows / rows), step->input);
        set += step->kernels->compress(n, step->input, zeros->index[0], zeros->value[0]);
        memset(zeros->marks, 0, groups * sizeof *zeros->marks);
        step->kernels->mark(n, step->input, 0, zeros->marks);
        for (size_t g = 0; g < groups; g++) {
            groups_set += zeros->marks[g];
        }
    }
    step->skip_forward = (double)set < dense_enough * (double)(rows * n);
    step->skip_gradient = (double)groups_set < dense_enough * (double)(rows * groups);
}

static size_t sample_of(const fm_step *step, fm_batch batch, size_t row)
{
    return step->order ? step->order[batch.first + row] : batch.first + row;
}

static void *input_of(const fm_step *step, size_t part)
{
    return fm_at(step->input, (ptrdiff_t)(part * step->input_size), step->network->itemsize);
}

static void *output_of(const fm_step *step, fm_batch batch, size_t layer_index)
{
    return layer_index ? step->outputs[layer_index] : step->first_output[batch.number % 2];
}

/* The activation a layer's forward applies: none where the loss contains it. */
static fm_activation activation_of(const fm_network *net, size_t layer_index)
{
    const int in_loss = net->fused && layer_index + 1 == net->n_layers;
    return in_loss ? FM_IDENTITY : net->layers[layer_index].activation;
}

/* Gather rows and pass them through columns of the first layer. */
static void first_layer(const fm_step *step, fm_batch batch, size_t part, fm_range rows,
                        fm_range columns)
{
    const fm_network *net = step->network;
    const layer *l = &net->layers[0];
    const size_t item = net->itemsize;
    const ptrdiff_t x_row = (ptrdiff_t)l->in_stride, y_row = (ptrdiff_t)l->out_stride;
    const ptrdiff_t begin = (ptrdiff_t)rows.begin;
    void *x = input_of(step, part);
    for (size_t i = rows.begin; i < rows.end; i++) {
        fm_gather_row(step->kernels, step->x, sample_of(step, batch, i),
                      fm_at(x, (ptrdiff_t)i * x_row, item));
    }
    l->type->forward(l, step->kernels, step->parameters, rows.end - rows.begin,
                     fm_at(x, begin * x_row, item), x_row,
                     fm_at(output_of(step, batch, 0), begin * y_row, item), y_row, columns,
                     activation_of(net, 0), step->skip_forward ? &step->zeros[part] : NULL);
}

static fm_range share_of_columns(const fm_step *step, size_t part, size_t parts)
{
    const size_t item = step->network->itemsize;
    return fm_share(step->network->layers[0].out_stride, FM_ALIGNMENT / item, part, parts);
}

void fm_step_first(const fm_step *step, fm_batch batch, size_t part, size_t parts)
{
    if (step->by_columns) {
        first_layer(step, batch, part, (fm_range){0, batch.count},
                    share_of_columns(step, part, parts));
    }
}

/* The loss and, in deltas, the gradient of the last pre-activation. */
static void loss_rows(const fm_step *step, fm_batch batch, fm_range rows)
{
    const fm_network *net = step->network;
    const size_t item = net->itemsize, last = net->n_layers - 1;
    const layer *l = &net->layers[last];
    const ptrdiff_t row = (ptrdiff_t)l->out_stride;
    const size_t padding = l->out_stride - l->outputs;

    for (size_t i = rows.begin; i < rows.end; i++) {
        const void *output = fm_at(output_of(step, batch, last), (ptrdiff_t)i * row, item);
        void *delta = fm_at(step->deltas[last], (ptrdiff_t)i * row, item);
        step->losses[i] = fm_loss_row(step->kernels, net->loss, l->outputs, output, step->y,
                                      sample_of(step, batch, i), 1.0 / (double)batch.count, delta,
                                      &step->correct[i]);
        if (!net->fused) {
            step->kernels->derivative[l->activation](l->outputs, delta, output, delta);
        }
        /* Padding of the weights stays zero because that of the gradient is. */
        memset(fm_at(delta, (ptrdiff_t)l->outputs, item), 0, padding * item);
    }
}

static void backward_rows(const fm_step *step, fm_batch batch, fm_range rows)
{
    const fm_network *net = step->network;
    const size_t item = net->itemsize, n = rows.end - rows.begin;
    for (size_t i = net->n_layers - 1; i > 0; i--) {
        const layer *l = &net->layers[i];
        const ptrdiff_t in = (ptrdiff_t)(rows.begin * l->in_stride);
        const ptrdiff_t out = (ptrdiff_t)(rows.begin * l->out_stride);
        void *dx = fm_at(step->deltas[i - 1], in, item);
        l->type->backward(l, step->kernels, step->transposed[i], n,
                          fm_at(step->deltas[i], out, item), dx);
        step->kernels->derivative[net->layers[i - 1].activation](
            n * l->in_stride, dx, fm_at(output_of(step, batch, i - 1), in, item), dx);
    }
}

static void block_rows(const fm_step *step, fm_batch batch, size_t part, fm_range rows)
{
    const fm_network *net = step->network;
    const size_t item = net->itemsize;
    const ptrdiff_t begin = (ptrdiff_t)rows.begin;
    if (!step->by_columns) {
        first_layer(step, batch, part, rows, (fm_range){0, net->layers[0].out_stride});
    }
    for (size_t i = 1; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const ptrdiff_t x_row = (ptrdiff_t)l->in_stride, y_row = (ptrdiff_t)l->out_stride;
        l->type->forward(l, step->kernels, step->parameters, rows.end - rows.begin,
                         fm_at(output_of(step, batch, i - 1), begin * x_row, item), x_row,
                         fm_at(step->outputs[i], begin * y_row, item), y_row,
                         (fm_range){0, l->out_stride}, activation_of(net, i), NULL);
    }
    loss_rows(step, batch, rows);
    backward_rows(step, batch, rows);
}

void fm_step_rows(const fm_step *step, fm_batch batch, size_t part, size_t parts,
                  int (*stop)(void *context, size_t part), void *context)
{
    const size_t tile = step->kernels->mr;
    const size_t unit = batch.count >= tile * parts ? tile : 1;
    const fm_range rows = fm_share(batch.count, unit, part, parts);
    /* A thread without rows asks too. */
    size_t i = rows.begin;
    while (!stop(context, part) && i < rows.end) {
        const size_t end = fm_min(i + BLOCK_ROWS, rows.end);
        block_rows(step, batch, part, (fm_range){i, end});
        i = end;
    }
}

/* Shares are cut at whole cache lines of the transposed copy, so that threads never write the same
 * one. */
static fm_range share_of_inputs(const fm_step *step, const layer *l, size_t part, size_t parts)
{
    return fm_share(l->inputs, FM_ALIGNMENT / step->network->itemsize, part, parts);
}

void fm_step_gradient(const fm_step *step, fm_batch batch, fm_gemm_mode mode, double alpha,
                      void *target, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_range all_inputs = {0, l->inputs}, all_outputs = {0, l->out_stride};
        const fm_range outputs =
            fm_share(l->out_stride, FM_ALIGNMENT / net->itemsize, part, parts);
        const int by_columns = i == 0 && step->by_columns;
        const fm_block block = {by_columns ? all_inputs : share_of_inputs(step, l, part, parts),
                                by_columns ? outputs : all_outputs, outputs};
        const int skip = i == 0 && step->skip_gradient;
        l->type->gradient(l, step->kernels, batch.count,
                          i ? output_of(step, batch, i - 1) : input_of(step, part),
                          step->deltas[i], mode, alpha, target, block,
                          skip ? &step->zeros[part] : NULL);
    }
}

void fm_step_transpose(const fm_step *step, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    for (size_t i = 1; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        l->type->transpose(l, step->kernels, step->parameters, step->transposed[i],
                           share_of_inputs(step, l, part, parts));
    }
}
