/* What the files of a training step share. */
#ifndef FM_STEP_PARTS_H
#define FM_STEP_PARTS_H

#include "step.h"

static inline size_t fm_step_sample(const fm_step *step, fm_batch batch, size_t row)
{
    return fm_in_order(step->order, batch.first + row);
}

static inline const fm_rest *fm_step_rest(const fm_step *step, size_t part)
{
    return &step->rests[step->split.replicated ? part : 0];
}

/* The activation a layer's forward applies: none where the loss contains it, or where it comes
 * later with its slopes. */
static inline fm_activation fm_step_activation(const fm_network *net, size_t layer_index)
{
    const int in_loss = net->fused && layer_index + 1 == net->n_layers;
    const layer *l = &net->layers[layer_index];
    return in_loss || l->keeps_slopes ? FM_IDENTITY : l->activation;
}

static inline fm_range fm_step_width(const fm_step *step, size_t stride, size_t part, size_t parts)
{
    return fm_share(stride, FM_ALIGNMENT / step->network->itemsize, part, parts);
}

static inline fm_range fm_step_columns(const fm_step *step, size_t part, size_t parts)
{
    return fm_step_width(step, step->network->layers[0].out_stride, part, parts);
}

static inline void *fm_step_output(const fm_step *step, const fm_rest *rest, fm_batch batch,
                                   size_t layer_index)
{
    return layer_index ? rest->outputs[layer_index] : step->first_output[batch.number % 2];
}

/* What of a layer's parameters a thread brings up to date: inputs and columns of the weights, and
 * biases, counted from the first of the columns. */
typedef struct {
    fm_range inputs, columns, biases;
} fm_own;
fm_own fm_step_own(const fm_step *step, const layer *l, size_t part, size_t parts);
/* Columns of a layer in a buffer as this thread holds them: of the first layer by columns, the
 * weights are in a panel of its own. In place, the hardware would prefetch the neighbor's columns
 * with every row, and take them from the core that writes them. */
fm_columns fm_step_held(const fm_step *step, const layer *l, size_t part, size_t buffer,
                        fm_range columns);
/* Columns of a layer in a gradient; in the step's own a thread's columns lie together likewise. */
fm_columns fm_step_stored(const fm_step *step, const layer *l, void *gradient, fm_range columns);
/* What an effect is on, of columns of a layer. */
fm_target fm_step_target(const fm_step *step, const fm_effect *effect, const layer *l, size_t part,
                         fm_range columns);

/* Dropout of the inputs of a layer; none past the last. */
fm_dropout fm_step_dropout(const fm_step *step, size_t layer_index);
/* The samples of the epoch before a row of the batch, by which dropout knows it. */
uint64_t fm_step_number(const fm_step *step, fm_batch batch, size_t row);
/* What is left to do to outputs of a layer after its forward. */
void fm_step_finish_outputs(const fm_step *step, const fm_rest *rest, fm_batch batch,
                            size_t layer_index, fm_range rows, fm_range columns);
/* Deltas of a layer, from gradients by its outputs to those by its pre-activations. */
void fm_step_through_activation(const fm_step *step, const fm_rest *rest, fm_batch batch,
                                size_t layer_index, fm_range rows, fm_range columns);
/* From the gradient by a row's prediction that by its pre-activation, padding included. */
void fm_step_finish_delta(const fm_step *step, const fm_rest *rest, fm_batch batch, size_t row);
/* The loss of the whole batch, with hits and deltas of rows. */
int fm_step_batch_loss(const fm_step *step, fm_batch batch, fm_range rows, size_t part,
                       size_t parts, fm_meet meet, void *context);

/* The first layer, for rows of the batch and for columns of its output. */
void fm_first_forward(const fm_step *step, fm_batch batch, size_t part, fm_range rows,
                      fm_range columns);
/* Its gradient, of what a thread owns. */
void fm_first_gradient(const fm_step *step, fm_batch batch, const fm_target *target, size_t part,
                       fm_own own);
/* Split by columns: copy this thread's columns from the step's buffers, and back. */
void fm_first_fetch(const fm_step *step, size_t part, size_t parts);
void fm_first_give_back(const fm_step *step, size_t part, size_t parts);

#endif
