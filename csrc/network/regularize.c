/* What a step does to a gradient as a whole, and to all weights of an output. */
#include <math.h>

#include "step_parts.h"

/* What a thread owns of a gradient: its first weight of the inputs, and its first bias. */
static void *weights_at(const fm_step *step, const fm_columns *gradient, fm_own own)
{
    return fm_at(gradient->weight, (ptrdiff_t)own.inputs.begin * gradient->row,
                 step->network->itemsize);
}

static void *biases_at(const fm_step *step, const fm_columns *gradient, fm_own own)
{
    return fm_at(gradient->bias, (ptrdiff_t)own.biases.begin, step->network->itemsize);
}

/* Penalty and squares of what a thread owns. */
static void penalize(const fm_step *step, const fm_effect *effect, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    const double unit = 1 / step->optimizer->clip_norm;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_own own = fm_step_own(step, l, part, parts);
        const fm_columns g = fm_step_stored(step, l, step->gradient, own.columns);
        const fm_target target = fm_step_target(step, effect, l, part, own.columns);
        fm_penalize_weights(step->kernels, &target, own.inputs, weights_at(step, &g, own), g.row,
                            unit);
        fm_penalize_biases(step->kernels, &target, own.biases, biases_at(step, &g, own), unit);
    }
}

static void scale(const fm_step *step, double factor, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_own own = fm_step_own(step, l, part, parts);
        const fm_columns g = fm_step_stored(step, l, step->gradient, own.columns);
        for (size_t r = own.inputs.begin; r < own.inputs.end; r++) {
            step->kernels->scale(g.outputs, factor,
                                 fm_at(g.weight, (ptrdiff_t)r * g.row, net->itemsize));
        }
        step->kernels->scale(own.biases.end - own.biases.begin, factor, biases_at(step, &g, own));
    }
}

static void update(const fm_step *step, const fm_effect *effect, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_own own = fm_step_own(step, l, part, parts);
        const fm_columns g = fm_step_stored(step, l, step->gradient, own.columns);
        const fm_target target = fm_step_target(step, effect, l, part, own.columns);
        fm_update_weights(step->kernels, &target, own.inputs, (fm_range){0, g.outputs},
                          weights_at(step, &g, own), g.row);
        fm_update_biases(step->kernels, &target, own.biases, biases_at(step, &g, own));
    }
}

void fm_step_clipped(const fm_step *step, fm_batch batch, const fm_effect *effect, size_t part,
                     size_t parts, fm_meet meet, void *context, int *diverged)
{
    const fm_effect store = {.mode = FM_GEMM_STORE, .gradient = step->gradient};
    fm_step_gradient(step, batch, &store, part, parts);
    penalize(step, effect, part, parts);
    meet(context, part, parts);
    /* In units of the limit. Every thread adds up the same cells in the same order. */
    const double norm = sqrt(fm_sum_of_cells(step->network, step->squares));
    if (!isfinite(norm) && part == 0) {
        *diverged = 1;
    }
    if (norm > 1) {
        scale(step, 1 / norm, part, parts);
    }
    fm_update once = *effect->update;
    once.penalty = FM_NO_PENALTY;
    const fm_effect finished = {.mode = FM_GEMM_STORE, .update = &once};
    update(step, &finished, part, parts);
}

void fm_step_limit(const fm_step *step, size_t part, size_t parts)
{
    const fm_network *net = step->network;
    const fm_kernels *kernels = step->kernels;
    const fm_optimizer *o = step->optimizer;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const fm_range columns = fm_step_width(step, l->out_stride, part, parts);
        const fm_columns w = fm_step_held(step, l, part, 0, columns);
        kernels->limit_norms(l->inputs, w.outputs, w.weight, w.row, o->max_norm);
        if (o->ema > 0) {
            const fm_columns to = fm_step_held(step, l, part, 1 + fm_optimizer_states(o), columns);
            fm_average(kernels, 1 - o->ema, l->inputs, w.outputs, w.weight, w.row, to.weight,
                       to.row);
            fm_average(kernels, 1 - o->ema, 1, w.outputs, w.bias, 0, to.bias, 0);
        }
    }
}
