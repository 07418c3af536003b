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

static void take_scratch(cursor *c, const fm_network *network, size_t batch, fm_scratch *scratch)
{
    const layer *l = &network->layers[0];
    const size_t room = l->in_stride + FM_ALIGNMENT, words = (batch + 31) / 32;
    fm_scratch s = {0};
    for (int i = 0; i < 2; i++) {
        s.index[i] = take(c, room, sizeof(uint32_t));
        s.value[i] = take(c, room, network->itemsize);
    }
    s.marks_stride = (l->inputs + FM_MARK_GROUP - 1) / FM_MARK_GROUP;
    s.marks = take(c, words * s.marks_stride, sizeof(uint32_t));
    s.list = take(c, 32 * words, sizeof(uint32_t));
    if (batch > FM_GRADIENT_SAMPLES) {
        s.sums = take(c, FM_GRADIENT_INPUTS * network->widest, network->itemsize);
    }
    if (c->base) {
        *scratch = s;
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
    step->scratch = take(&c, threads, sizeof *step->scratch);
    step->panels = take(&c, threads, sizeof *step->panels);
    for (size_t i = 0; i < threads; i++) {
        take_scratch(&c, network, batch, base ? &step->scratch[i] : NULL);
        /* Any thread's, as fewer may come than were asked for. */
        void *panel = step->by_columns ? take(&c, first->inputs, first->out_stride * item) : NULL;
        if (base) {
            step->panels[i] = panel;
        }
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
    kernels->convert[x->dtype](x->cols, fm_row(x, index, fm_dtype_size(x->dtype)), to);
}

void fm_step_look_at_zeros(fm_step *step)
{
    const fm_scratch *scratch = &step->scratch[0];
    const size_t n = step->x->cols, groups = scratch->marks_stride;
    const size_t rows = fm_min(step->x->rows, LOOK_AT);
    size_t set = 0, groups_set = 0;
    for (size_t i = 0; i < rows; i++) {
        fm_gather_row(step->kernels, step->x, i * (step->x->rows / rows), step->input);
        set += step->kernels->compress(n, step->input, scratch->index[0], scratch->value[0]);
        memset(scratch->marks, 0, groups * sizeof *scratch->marks);
        step->kernels->mark(n, step->input, 0, scratch->marks);
        for (size_t g = 0; g < groups; g++) {
            groups_set += scratch->marks[g];
        }
    }
    step->skip_forward = (double)set < dense_enough * (double)(rows * n);
    step->skip_gradient = (double)groups_set < dense_enough * (double)(rows * groups);
}

static size_t sample_of(const fm_step *step, fm_batch batch, size_t row)
{
    return step->order ? step->order[batch.first + row] : batch.first + row;
}

/* Ask for the sample a batch ahead: samples come in random order from more memory than is cached,
 * which the hardware cannot foresee. Inlined, as GCC takes a function that only prefetches for one
 * without effect and leaves its calls out. */
static inline __attribute__((always_inline)) void
prefetch_sample(const fm_step *step, fm_batch batch, size_t row)
{
    if (batch.first + row >= step->x->rows) {
        return;
    }
    const size_t size = fm_dtype_size(step->x->dtype);
    const char *from = fm_row(step->x, sample_of(step, batch, row), size);
    for (size_t i = 0; i < step->x->cols * size; i += FM_ALIGNMENT) {
        __builtin_prefetch(from + i, 0, 2);
    }
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

static fm_range share_of_columns(const fm_step *step, size_t part, size_t parts)
{
    const size_t item = step->network->itemsize;
    return fm_share(step->network->layers[0].out_stride, FM_ALIGNMENT / item, part, parts);
}

/* The first layer's parameters as this thread holds them: by columns, the weights are in a panel of
 * its own. In place, the hardware would prefetch the neighbor's columns with every row, and take
 * them from the core that writes them. */
static fm_columns first_parameters(const fm_step *step, size_t part, fm_range columns)
{
    const layer *l = &step->network->layers[0];
    fm_columns p = fm_columns_of(step->network, l, step->parameters, columns);
    if (step->by_columns) {
        p.weight = step->panels[part];
        p.row = (ptrdiff_t)p.outputs;
    }
    return p;
}

static void copy_columns(const fm_step *step, fm_columns from, fm_columns to)
{
    const size_t item = step->network->itemsize;
    for (size_t i = 0; i < step->network->layers[0].inputs; i++) {
        memcpy(fm_at(to.weight, (ptrdiff_t)i * to.row, item),
               fm_at(from.weight, (ptrdiff_t)i * from.row, item), from.outputs * item);
    }
}

void fm_step_begin(const fm_step *step, size_t part, size_t parts)
{
    if (step->by_columns) {
        const fm_range columns = share_of_columns(step, part, parts);
        const layer *l = &step->network->layers[0];
        copy_columns(step, fm_columns_of(step->network, l, step->parameters, columns),
                     first_parameters(step, part, columns));
    }
    fm_step_transpose(step, part, parts);
}

void fm_step_end(const fm_step *step, size_t part, size_t parts)
{
    if (step->by_columns) {
        const fm_range columns = share_of_columns(step, part, parts);
        const layer *l = &step->network->layers[0];
        copy_columns(step, first_parameters(step, part, columns),
                     fm_columns_of(step->network, l, step->parameters, columns));
    }
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
        prefetch_sample(step, batch, i + batch.count);
        fm_gather_row(step->kernels, step->x, sample_of(step, batch, i),
                      fm_at(x, (ptrdiff_t)i * x_row, item));
    }
    void *y = fm_at(output_of(step, batch, 0), begin * y_row + (ptrdiff_t)columns.begin, item);
    l->type->forward(l, step->kernels, first_parameters(step, part, columns),
                     rows.end - rows.begin, fm_at(x, begin * x_row, item), x_row, y, y_row,
                     activation_of(net, 0), step->skip_forward ? &step->scratch[part] : NULL);
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
        const fm_range all = {0, l->out_stride};
        l->type->forward(l, step->kernels, fm_columns_of(net, l, step->parameters, all),
                         rows.end - rows.begin,
                         fm_at(output_of(step, batch, i - 1), begin * x_row, item), x_row,
                         fm_at(step->outputs[i], begin * y_row, item), y_row,
                         activation_of(net, i), NULL);
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

/* The first layer's share: all inputs of this thread's columns. */
static void gradient_by_columns(const fm_step *step, fm_batch batch, fm_gemm_mode mode,
                                double alpha, void *target, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    const layer *l = &net->layers[0];
    const fm_range columns = share_of_columns(step, part, parts);
    const fm_range inputs = {0, l->inputs}, biases = {0, columns.end - columns.begin};
    fm_columns to = fm_columns_of(net, l, target, columns);
    if (target == step->parameters) {
        to = first_parameters(step, part, columns);
    }
    l->type->gradient(l, step->kernels, batch.count, input_of(step, part),
                      fm_at(step->deltas[0], (ptrdiff_t)columns.begin, net->itemsize), mode, alpha,
                      to, inputs, biases, &step->scratch[part], step->skip_gradient);
}

void fm_step_gradient(const fm_step *step, fm_batch batch, fm_gemm_mode mode, double alpha,
                      void *target, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    if (step->by_columns) {
        gradient_by_columns(step, batch, mode, alpha, target, part, parts);
    }
    for (size_t i = step->by_columns ? 1 : 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_range all = {0, l->out_stride};
        const fm_range biases = fm_share(l->out_stride, FM_ALIGNMENT / net->itemsize, part, parts);
        l->type->gradient(l, step->kernels, batch.count,
                          i ? output_of(step, batch, i - 1) : step->input, step->deltas[i], mode,
                          alpha, fm_columns_of(net, l, target, all),
                          share_of_inputs(step, l, part, parts), biases,
                          &step->scratch[part], i == 0 && step->skip_gradient);
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
