/* An optimizer within a training step. */
#include <math.h>

#include "network.h"

static const size_t states_of[FM_UPDATES] = {
    [FM_UPDATE_SGD] = 0,
    [FM_UPDATE_MOMENTUM] = 1,
    [FM_UPDATE_NESTEROV] = 1,
    [FM_UPDATE_ADAM] = 2,
    [FM_UPDATE_ADAMW] = 2,
    [FM_UPDATE_RMSPROP] = 1,
    [FM_UPDATE_RMSPROP_MOMENTUM] = 2,
};

int fm_has_penalty(const fm_optimizer *optimizer)
{
    return optimizer && (optimizer->l1 != 0 || optimizer->l2 != 0);
}

const fm_optimizer *fm_used_optimizer(const fm_optimizer *o)
{
    const int plain = o && o->kind == FM_UPDATE_SGD && !fm_has_penalty(o) && !o->clip_norm &&
                      !o->max_norm && !o->ema;
    return plain ? NULL : o;
}

size_t fm_optimizer_states(const fm_optimizer *optimizer)
{
    return optimizer ? states_of[optimizer->kind] : 0;
}

static int is_amount(double x)
{
    return x >= 0 && isfinite(x);
}

size_t fm_optimizer_buffers(const fm_optimizer *optimizer)
{
    return fm_optimizer_states(optimizer) + (optimizer && optimizer->ema > 0);
}

static int is_buffer(const void *buffer)
{
    return buffer && (uintptr_t)buffer % FM_ALIGNMENT == 0;
}

fm_status fm_check_optimizer(const fm_optimizer *o)
{
    if (!o) {
        return FM_OK;
    }
    if (o->kind < 0 || o->kind >= FM_UPDATES || !(o->beta1 >= 0 && o->beta1 < 1) ||
        !(o->beta2 >= 0 && o->beta2 < 1) || !isfinite(o->epsilon) || !isfinite(o->weight_decay) ||
        !is_amount(o->l1) || !is_amount(o->l2) || !is_amount(o->clip_norm) ||
        !is_amount(o->max_norm) || !(o->ema >= 0 && o->ema < 1) ||
        (o->ema > 0 && !is_buffer(o->average))) {
        return FM_ERROR_VALUE;
    }
    for (size_t i = 0; i < fm_optimizer_states(o); i++) {
        if (!is_buffer(o->state[i])) {
            return FM_ERROR_VALUE;
        }
    }
    return FM_OK;
}

fm_update fm_update_of(const fm_optimizer *o, double lr, size_t number, double weight)
{
    const double share = !o->penalty_per_sample ? 1 : weight > 0 ? 1 / weight : 0;
    fm_update u = {.kind = o->kind,
                   .rate = lr,
                   .keep1 = o->beta1,
                   .keep2 = o->beta2,
                   .take1 = 1 - o->beta1,
                   .take2 = 1 - o->beta2,
                   .epsilon = o->epsilon,
                   .decay = 1 - lr * o->weight_decay,
                   .penalty = o->l1 > 0   ? FM_L1_L2_PENALTY
                              : o->l2 > 0 ? FM_L2_PENALTY
                                          : FM_NO_PENALTY,
                   .l1 = o->l1 * share,
                   .l2 = o->l2 * share,
                   .average = 1 - o->ema};
    if (o->kind == FM_UPDATE_ADAM || o->kind == FM_UPDATE_ADAMW) {
        const double t = (double)(o->steps + number + 1);
        const double unbiased = sqrt(1 - pow(o->beta2, t));
        u.rate = lr / (1 - pow(o->beta1, t));
        u.root = 1 / unbiased;
        u.epsilon = o->epsilon_hat ? o->epsilon / unbiased : o->epsilon;
    }
    return u;
}

double fm_sum_of_cells(const fm_network *network, const double *cells)
{
    double chain[FM_CELL_CHAINS] = {0}, sum = 0;
    for (size_t i = 0; i < network->n_cells; i += FM_CELL_CHAINS) {
        for (size_t c = 0; c < FM_CELL_CHAINS; c++) {
            chain[c] += cells[i + c];
        }
    }
    for (size_t c = 0; c < FM_CELL_CHAINS; c++) {
        sum += chain[c];
    }
    return sum;
}

/* Bytes of a gradient that is used while it is in the first-level cache. */
enum { BLOCK_BYTES = 16 * 1024 };

size_t fm_update_inputs(const fm_update *u, size_t outputs, size_t item)
{
    const size_t unit = u->penalty ? FM_CELL_INPUTS : 8;
    const size_t fit = BLOCK_BYTES / (outputs * item) / unit * unit;
    return fm_max(unit, fm_min(fit, FM_GRADIENT_INPUTS));
}

static ptrdiff_t cell_of(const fm_kernels *kernels, const fm_target *t, ptrdiff_t input,
                         ptrdiff_t column)
{
    const ptrdiff_t run = FM_ALIGNMENT / (ptrdiff_t)kernels->itemsize;
    return input / FM_CELL_INPUTS + column / run * t->cells_run;
}

/* The block of rows from `input` on and of n columns from `column` on; of biases, where input is
 * that of their cells. */
static fm_update_block block_of(const fm_kernels *kernels, const fm_target *t, size_t rows,
                                size_t n, const void *gradient, ptrdiff_t gradient_row,
                                ptrdiff_t input, ptrdiff_t column, int bias)
{
    const size_t item = kernels->itemsize;
    fm_update_block block = {.rows = rows,
                             .n = n,
                             .gradient = gradient,
                             .gradient_row = gradient_row,
                             .weights_row = t->columns.row,
                             .penalized = !bias,
                             .cells_run = t->cells_run};
    const fm_columns *c = &t->columns;
    block.weights = fm_at(bias ? c->bias : c->weight, bias ? column : input * c->row + column,
                          item);
    for (size_t i = 0; i < t->states; i++) {
        c = &t->state[i];
        block.state[i] = fm_at(bias ? c->bias : c->weight, bias ? column : input * c->row + column,
                               item);
        block.state_row = c->row;
    }
    if (t->cells) {
        block.cells = t->cells + cell_of(kernels, t, input, column);
    }
    return block;
}

void fm_average(const fm_kernels *kernels, double share, size_t rows, size_t n, const void *from,
                ptrdiff_t from_row, void *to, ptrdiff_t to_row)
{
    if (from_row == (ptrdiff_t)n && to_row == from_row) {
        n *= rows;
        rows = 1;
    }
    for (size_t r = 0; r < rows; r++) {
        kernels->average(n, share, fm_at(from, (ptrdiff_t)r * from_row, kernels->itemsize),
                         fm_at(to, (ptrdiff_t)r * to_row, kernels->itemsize));
    }
}

void fm_update_weights(const fm_kernels *kernels, const fm_target *target, fm_range inputs,
                       fm_range columns, const void *gradient, ptrdiff_t gradient_row)
{
    const fm_update *u = target->update;
    const fm_columns *average = &target->average;
    const ptrdiff_t input = (ptrdiff_t)inputs.begin, column = (ptrdiff_t)columns.begin;
    const fm_update_block block = block_of(kernels, target, inputs.end - inputs.begin,
                                           columns.end - columns.begin, gradient, gradient_row,
                                           input, column, 0);
    kernels->update[u->kind](u, &block);
    if (average->weight) {
        fm_average(kernels, u->average, block.rows, block.n, block.weights, block.weights_row,
                   fm_at(average->weight, input * average->row + column, kernels->itemsize),
                   average->row);
    }
}

static fm_update_block block_of_biases(const fm_kernels *kernels, const fm_target *t,
                                       fm_range biases, const void *gradient)
{
    return block_of(kernels, t, 1, biases.end - biases.begin, gradient, 0,
                    (t->cells_run - 1) * FM_CELL_INPUTS, (ptrdiff_t)biases.begin, 1);
}

void fm_update_biases(const fm_kernels *kernels, const fm_target *target, fm_range biases,
                      const void *gradient)
{
    const fm_update *u = target->update;
    const fm_columns *average = &target->average;
    const fm_update_block block = block_of_biases(kernels, target, biases, gradient);
    kernels->update[u->kind](u, &block);
    if (average->bias) {
        fm_average(kernels, u->average, 1, block.n, block.weights, 0,
                   fm_at(average->bias, (ptrdiff_t)biases.begin, kernels->itemsize), 0);
    }
}

void fm_penalize_weights(const fm_kernels *kernels, const fm_target *target, fm_range inputs,
                         void *gradient, ptrdiff_t gradient_row, double unit)
{
    const fm_update_block block = block_of(kernels, target, inputs.end - inputs.begin,
                                           target->columns.outputs, gradient, gradient_row,
                                           (ptrdiff_t)inputs.begin, 0, 0);
    kernels->penalize(target->update, &block, gradient, unit,
                      target->squares + cell_of(kernels, target, (ptrdiff_t)inputs.begin, 0));
}

void fm_penalize_biases(const fm_kernels *kernels, const fm_target *target, fm_range biases,
                        void *gradient, double unit)
{
    const fm_update_block block = block_of_biases(kernels, target, biases, gradient);
    kernels->penalize(target->update, &block, gradient, unit,
                      target->squares + cell_of(kernels, target,
                                                (target->cells_run - 1) * FM_CELL_INPUTS,
                                                (ptrdiff_t)biases.begin));
}
