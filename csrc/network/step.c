/* The phases of a training step. */
#include <string.h>

#include "step_parts.h"

/* Rows that pass through the layers together, while their activations are cached. */
enum { BLOCK_ROWS = 64 };

/* Copy what belongs to the layers past the first. */
static void copy_rest(const fm_step *step, const fm_buffers *from, const fm_buffers *to)
{
    const fm_network *net = step->network;
    const size_t begin = net->layers[1].weight;
    for (size_t i = 0; i < step->n_buffers; i++) {
        memcpy(fm_at(to->of[i], (ptrdiff_t)begin, net->itemsize),
               fm_at(from->of[i], (ptrdiff_t)begin, net->itemsize),
               (net->n_parameters - begin) * net->itemsize);
    }
}

void fm_step_begin(const fm_step *step, size_t part, size_t parts)
{
    if (step->split.by_columns) {
        fm_first_fetch(step, part, parts);
    }
    if (step->split.replicated) {
        copy_rest(step, &step->buffers, &fm_step_rest(step, part)->buffers);
    }
}

void fm_step_give_back(const fm_step *step, size_t part, size_t parts)
{
    if (step->split.by_columns) {
        fm_first_give_back(step, part, parts);
    }
    if (step->split.replicated && part == 0) {
        copy_rest(step, &fm_step_rest(step, part)->buffers, &step->buffers);
    }
}

void fm_step_first(const fm_step *step, fm_batch batch, size_t part, size_t parts)
{
    if (step->split.by_columns) {
        fm_first_forward(step, batch, part, (fm_range){0, batch.count},
                         fm_step_columns(step, part, parts));
    }
}

/* The loss and, in deltas, the gradient of the last pre-activation. */
static void loss_rows(const fm_step *step, const fm_rest *rest, fm_batch batch, fm_range rows)
{
    const fm_network *net = step->network;
    const size_t last = net->n_layers - 1;
    const layer *l = &net->layers[last];
    const ptrdiff_t row = (ptrdiff_t)l->out_stride;
    const fm_row_losses losses = {
        .kernels = step->kernels,
        .loss = step->loss,
        .output = l->activation,
        .targets = step->y,
        .order = step->order,
        .first = batch.first,
        .weight = batch.weight,
        .predictions = {fm_step_output(step, rest, batch, last), batch.count, l->outputs, row,
                        net->dtype},
        .gradient = {rest->deltas[last], batch.count, l->outputs, row, net->dtype},
        .losses = rest->losses,
        .hits = rest->correct};
    fm_loss_rows(&losses, rows);
    for (size_t i = rows.begin; i < rows.end; i++) {
        fm_step_finish_delta(step, rest, batch, i);
    }
}

/* Columns of a layer past the first, for rows of the batch. */
static void forward_block(const fm_step *step, const fm_rest *rest, fm_batch batch, size_t i,
                          fm_range rows, fm_range columns)
{
    const fm_network *net = step->network;
    const layer *l = &net->layers[i];
    const size_t item = net->itemsize;
    const ptrdiff_t x_row = (ptrdiff_t)l->in_stride, y_row = (ptrdiff_t)l->out_stride;
    const ptrdiff_t begin = (ptrdiff_t)rows.begin;
    const fm_rows x = {fm_at(fm_step_output(step, rest, batch, i - 1), begin * x_row, item), x_row,
                       NULL, 0};
    l->type->forward(l, step->kernels, fm_columns_of(net, l, rest->buffers.of[0], columns),
                     rows.end - rows.begin, x,
                     fm_at(rest->outputs[i], begin * y_row + (ptrdiff_t)columns.begin, item), y_row,
                     fm_step_activation(net, i));
    fm_step_finish_outputs(step, rest, batch, i, rows, columns);
}

/* The pre-activation's gradient of layer i - 1 from that of layer i: some columns, some rows. */
static void backward_block(const fm_step *step, const fm_rest *rest, fm_batch batch, size_t i,
                           size_t part, fm_range rows, fm_range columns)
{
    const fm_network *net = step->network;
    const layer *l = &net->layers[i];
    const size_t item = net->itemsize;
    if (columns.begin == columns.end) {
        return;
    }
    void *dx = fm_at(rest->deltas[i - 1], (ptrdiff_t)(rows.begin * l->in_stride + columns.begin),
                     item);
    const void *dy = fm_at(rest->deltas[i], (ptrdiff_t)(rows.begin * l->out_stride), item);
    l->type->backward(l, step->kernels, rest->buffers.of[0],
                      step->split.by_layers ? NULL : step->transposed[part][i],
                      rows.end - rows.begin, dy, dx, columns, &step->scratch[part]);
    fm_step_through_activation(step, rest, batch, i - 1, rows, columns);
}

static void forward_rows(const fm_step *step, fm_batch batch, size_t part, fm_range rows)
{
    const fm_network *net = step->network;
    const fm_rest *rest = fm_step_rest(step, part);
    if (!step->split.by_columns) {
        fm_first_forward(step, batch, part, rows, (fm_range){0, net->layers[0].out_stride});
    }
    for (size_t i = 1; i < net->n_layers; i++) {
        forward_block(step, rest, batch, i, rows, (fm_range){0, net->layers[i].out_stride});
    }
}

/* Columns of what a thread that takes rows brings back through a layer. */
static fm_range columns_back(const fm_step *step, size_t i, size_t part, size_t parts)
{
    const fm_range all = {0, step->network->layers[i].in_stride};
    return i == 1 && step->split.replicated ? fm_step_columns(step, part, parts) : all;
}

/* For the way back, each thread makes a copy of its own: of one that they shared, every line would
 * be taken from a core that reads it before it is written, and travel back. */
static void transpose_weights(const fm_step *step, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    const void *parameters = fm_step_rest(step, part)->buffers.of[0];
    for (size_t i = 1; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_range columns = columns_back(step, i, part, parts);
        l->type->transpose(l, step->kernels, parameters, step->transposed[part][i],
                           (fm_range){columns.begin, fm_min(columns.end, l->inputs)});
    }
}

static void backward_rows(const fm_step *step, fm_batch batch, size_t part, size_t parts,
                          fm_range rows)
{
    const fm_network *net = step->network;
    const fm_rest *rest = fm_step_rest(step, part);
    for (size_t i = net->n_layers - 1; i > 0; i--) {
        backward_block(step, rest, batch, i, part, rows, columns_back(step, i, part, parts));
    }
}

static fm_range share_of_rows(const fm_step *step, fm_batch batch, size_t part, size_t parts)
{
    const size_t tile = step->kernels->mr;
    return fm_share(batch.count, batch.count >= tile * parts ? tile : 1, part, parts);
}

void fm_step_rows(const fm_step *step, fm_batch batch, size_t part, size_t parts,
                  int (*stop)(void *context, size_t part), void *context)
{
    const fm_range all = {0, batch.count};
    const fm_range rows = step->split.replicated ? all : share_of_rows(step, batch, part, parts);
    transpose_weights(step, part, parts);
    /* A thread without rows asks too. */
    size_t i = rows.begin;
    while (!stop(context, part) && i < rows.end) {
        const size_t end = fm_min(i + BLOCK_ROWS, rows.end);
        const fm_range block = {i, end};
        forward_rows(step, batch, part, block);
        loss_rows(step, fm_step_rest(step, part), batch, block);
        backward_rows(step, batch, part, parts, block);
        i = end;
    }
}

int fm_step_batch(const fm_step *step, fm_batch batch, size_t part, size_t parts, fm_meet meet,
                  void *context)
{
    const fm_range rows = share_of_rows(step, batch, part, parts);
    for (size_t i = rows.begin; i < rows.end; i += BLOCK_ROWS) {
        forward_rows(step, batch, part, (fm_range){i, fm_min(i + BLOCK_ROWS, rows.end)});
    }
    const int stop = fm_step_batch_loss(step, batch, rows, part, parts, meet, context);
    transpose_weights(step, part, parts);
    for (size_t i = rows.begin; i < rows.end; i += BLOCK_ROWS) {
        backward_rows(step, batch, part, parts, (fm_range){i, fm_min(i + BLOCK_ROWS, rows.end)});
    }
    return stop;
}

int fm_step_layers(const fm_step *step, fm_batch batch, size_t part, size_t parts, fm_meet meet,
                   void *context)
{
    int stop = 0;
    const fm_network *net = step->network;
    const fm_rest *rest = fm_step_rest(step, part);
    const fm_range rows = share_of_rows(step, batch, part, parts), all = {0, batch.count};
    if (!step->split.by_columns) {
        fm_first_forward(step, batch, part, rows, (fm_range){0, net->layers[0].out_stride});
        meet(context, part, parts);
    }
    for (size_t i = 1; i < net->n_layers; i++) {
        const size_t stride = net->layers[i].out_stride;
        forward_block(step, rest, batch, i, all, fm_step_width(step, stride, part, parts));
        meet(context, part, parts);
    }
    if (fm_is_of_batch(step->loss)) {
        stop = fm_step_batch_loss(step, batch, rows, part, parts, meet, context);
    } else {
        loss_rows(step, rest, batch, rows);
    }
    for (size_t i = net->n_layers - 1; i > 0; i--) {
        const size_t stride = net->layers[i].in_stride;
        meet(context, part, parts);
        backward_block(step, rest, batch, i, part, all, fm_step_width(step, stride, part, parts));
    }
    return stop;
}

/* Inputs of a layer past the first whose weights this thread keeps up to date, in whole cells. */
static fm_range share_of_inputs(const fm_step *step, const layer *l, size_t part, size_t parts)
{
    if (step->split.replicated) {
        return (fm_range){0, l->inputs};
    }
    return fm_share(l->inputs, FM_CELL_INPUTS, part, parts);
}

fm_own fm_step_own(const fm_step *step, const layer *l, size_t part, size_t parts)
{
    const fm_range all = {0, l->out_stride};
    if (l == step->network->layers && step->split.by_columns) {
        const fm_range columns = fm_step_columns(step, part, parts);
        return (fm_own){{0, l->inputs}, columns, {0, columns.end - columns.begin}};
    }
    return (fm_own){share_of_inputs(step, l, part, parts), all,
                    step->split.replicated ? all : fm_step_width(step, l->out_stride, part, parts)};
}

fm_columns fm_step_held(const fm_step *step, const layer *l, size_t part, size_t buffer,
                        fm_range columns)
{
    const int first = l == step->network->layers;
    const fm_buffers *buffers = first ? &step->buffers : &fm_step_rest(step, part)->buffers;
    fm_columns held = fm_columns_of(step->network, l, buffers->of[buffer], columns);
    if (first && step->split.by_columns) {
        held.weight = step->panels[part].of[buffer];
        held.row = (ptrdiff_t)held.outputs;
    }
    return held;
}

fm_columns fm_step_stored(const fm_step *step, const layer *l, void *gradient, fm_range columns)
{
    fm_columns stored = fm_columns_of(step->network, l, gradient, columns);
    if (gradient == step->gradient && l == step->network->layers && step->split.by_columns) {
        stored.weight = fm_at(gradient, (ptrdiff_t)(l->weight + columns.begin * l->inputs),
                              step->network->itemsize);
        stored.row = (ptrdiff_t)stored.outputs;
    }
    return stored;
}

fm_target fm_step_target(const fm_step *step, const fm_effect *effect, const layer *l, size_t part,
                         fm_range columns)
{
    const fm_network *net = step->network;
    const size_t run = columns.begin / (FM_ALIGNMENT / net->itemsize);
    const size_t cell = l->cell + run * l->cells_run;
    /* Of what all threads do, the first tells. */
    const int tells = !step->split.replicated || part == 0 || l == net->layers;
    fm_target target = {.mode = effect->mode,
                        .alpha = effect->alpha,
                        .update = effect->update,
                        .states = effect->update ? fm_optimizer_states(step->optimizer) : 0,
                        .cells = effect->cells && tells ? effect->cells + cell : NULL,
                        .squares = step->squares ? step->squares + cell : NULL,
                        .cells_run = (ptrdiff_t)l->cells_run};
    target.columns = effect->gradient ? fm_step_stored(step, l, effect->gradient, columns)
                                      : fm_step_held(step, l, part, 0, columns);
    for (size_t s = 0; s < target.states; s++) {
        target.state[s] = fm_step_held(step, l, part, 1 + s, columns);
    }
    /* Of weights that are limited, later. */
    if (effect->update && step->optimizer->ema > 0 && !(step->optimizer->max_norm > 0)) {
        target.average = fm_step_held(step, l, part, 1 + target.states, columns);
    }
    return target;
}

void fm_step_gradient(const fm_step *step, fm_batch batch, const fm_effect *effect, size_t part,
                      size_t parts)
{
    const fm_network *net = step->network;
    const fm_rest *rest = fm_step_rest(step, part);
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_own own = fm_step_own(step, l, part, parts);
        const fm_target target = fm_step_target(step, effect, l, part, own.columns);
        if (i == 0) {
            fm_first_gradient(step, batch, &target, part, own);
        } else {
            const fm_rows x = {fm_step_output(step, rest, batch, i - 1), (ptrdiff_t)l->in_stride,
                               NULL, 0};
            l->type->gradient(l, step->kernels, batch.count, x, 0, rest->deltas[i], &target,
                              own.inputs, own.biases, &step->scratch[part]);
        }
    }
}
