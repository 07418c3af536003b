/* What the files of a training step share. */
#ifndef FM_STEP_PARTS_H
#define FM_STEP_PARTS_H

#include "step.h"

static inline size_t fm_step_sample(const fm_step *step, fm_batch batch, size_t row)
{
    return step->order ? step->order[batch.first + row] : batch.first + row;
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

/* Of thread `part`, without the buffers, for columns from `first` on of a layer. */
static inline fm_target fm_target_of(const fm_step *step, const fm_effect *effect, size_t part,
                                     const layer *l, size_t first)
{
    const size_t run = first / (FM_ALIGNMENT / step->network->itemsize);
    /* Of what all threads do, the first tells. */
    const int tells = !step->split.replicated || part == 0 || l == step->network->layers;
    return (fm_target){
        .mode = effect->mode,
        .alpha = effect->alpha,
        .update = effect->update,
        .states = effect->update ? step->n_buffers - 1 : 0,
        .cells = effect->cells && tells ? effect->cells + l->cell + run * l->cells_run : NULL,
        .cells_run = (ptrdiff_t)l->cells_run};
}

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
/* Its gradient: split by columns, of all inputs and this thread's columns; otherwise of `inputs`
 * and all columns, and of `biases`. */
void fm_first_gradient(const fm_step *step, fm_batch batch, const fm_effect *effect, size_t part,
                       size_t parts, fm_range inputs, fm_range biases);
/* Split by columns: copy this thread's columns from the step's buffers, and back. */
void fm_first_fetch(const fm_step *step, size_t part, size_t parts);
void fm_first_give_back(const fm_step *step, size_t part, size_t parts);

#endif
