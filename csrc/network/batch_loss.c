/* Losses that couple the samples of a batch: all rows pass forward before any passes back. */
#include <string.h>

#include "step_parts.h"
#include "subnormals.h"

/* Returns non-zero if the caller's function says to stop. */
static int loss_of_batch(const fm_step *step, fm_batch batch, const fm_matrix *outputs,
                         const fm_matrix *deltas, fm_range rows, size_t part, size_t parts,
                         fm_meet meet, void *context)
{
    double mean = 0;
    int stop = 0;
    if (step->loss->kind == FM_CUSTOM_LOSS) {
        meet(context, part, parts);
        if (part == 0) {
            const uint64_t before = fm_keep_subnormals();
            stop = step->loss->function(step->loss->context, outputs, step->order + batch.first,
                                        deltas, &mean);
            fm_restore_subnormals(before);
        }
        meet(context, part, parts);
    } else {
        fm_dice dice = step->dice;
        dice.kernels = step->kernels;
        dice.loss = step->loss;
        dice.targets = step->y;
        dice.order = step->order;
        dice.first = batch.first;
        dice.unit = fm_dice_unit(step->loss, step->y, batch.weight);
        dice.predictions = *outputs;
        dice.gradient = *deltas;
        fm_dice_outputs(&dice, rows);
        meet(context, part, parts);
        fm_dice_sums(&dice, fm_dice_share(&dice, part, parts));
        meet(context, part, parts);
        fm_dice_gradient(&dice, rows);
        mean = part == 0 ? fm_dice_mean(&dice, batch.weight) : 0;
    }
    if (part == 0) {
        step->rests[0].losses[0] = mean * batch.weight;
    }
    return stop;
}

int fm_step_batch_loss(const fm_step *step, fm_batch batch, fm_range rows, size_t part,
                       size_t parts, fm_meet meet, void *context)
{
    const fm_network *net = step->network;
    const fm_rest *rest = &step->rests[0];
    const layer *l = fm_last_layer(net);
    const size_t last = net->n_layers - 1;
    const ptrdiff_t stride = (ptrdiff_t)l->out_stride;
    const fm_matrix outputs = {fm_step_output(step, rest, batch, last), batch.count, l->outputs,
                               stride, net->dtype};
    const fm_matrix deltas = {rest->deltas[last], batch.count, l->outputs, stride, net->dtype};
    for (size_t i = rows.begin; i < rows.end; i++) {
        rest->correct[i] = (uint8_t)fm_is_hit(step->kernels, l->activation, l->outputs,
                                              fm_row(&outputs, i, net->itemsize), step->y,
                                              fm_step_sample(step, batch, i));
    }
    const int stop = loss_of_batch(step, batch, &outputs, &deltas, rows, part, parts, meet,
                                   context);
    for (size_t i = rows.begin; i < rows.end; i++) {
        fm_step_finish_delta(step, rest, batch, i);
    }
    return stop;
}

double fm_step_loss(const fm_step *step, fm_batch batch, size_t *correct)
{
    const fm_rest *rest = &step->rests[0];
    double sum = fm_is_of_batch(step->loss) ? rest->losses[0] : 0;
    for (size_t i = 0; i < batch.count; i++) {
        sum += fm_is_of_batch(step->loss) ? 0 : rest->losses[i];
        *correct += rest->correct[i];
    }
    return sum;
}
