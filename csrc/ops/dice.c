/* Soft dice over a batch, in phases that threads can share. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

static size_t sample_of(const fm_dice *d, size_t row)
{
    return fm_in_order(d->order, d->first + row);
}

/* A sample's targets from column `first` on, or NULL, and its label, counted from there. */
static const void *targets_of(const fm_dice *d, size_t sample, size_t first, size_t *label)
{
    const size_t item = d->kernels->itemsize;
    if (d->targets->values) {
        *label = 0;
        return fm_at(fm_row(d->targets->values, sample, item), (ptrdiff_t)first, item);
    }
    *label = (size_t)d->targets->indices[sample] - first;
    return NULL;
}

static double weight_of(const fm_dice *d, size_t sample)
{
    return d->targets->weights ? d->unit * d->targets->weights[sample] : 1;
}

double fm_dice_unit(const fm_loss *loss, const fm_targets *targets, double weight)
{
    int exponent = 0;
    if (!targets->weights || !(weight > 0)) {
        return 1;
    }
    (void)frexp(fmax(weight, loss->parameter), &exponent);
    /* Twice the range would be infinite. */
    return ldexp(1, exponent < -1000 ? 1000 : -exponent);
}

void fm_dice_outputs(const fm_dice *d, fm_range rows)
{
    const size_t item = d->kernels->itemsize;
    const fm_activation output = d->loss->kind == FM_SOFTMAX_DICE ? FM_SOFTMAX : FM_SIGMOID;
    fm_activate_rows(d->kernels, output, rows.end - rows.begin, d->predictions.cols,
                     fm_row(&d->predictions, rows.begin, item), d->predictions.stride,
                     fm_row(&d->gradient, rows.begin, item), d->gradient.stride);
}

void fm_dice_sums(const fm_dice *d, fm_range columns)
{
    const fm_kernels *kernels = d->kernels;
    const size_t item = kernels->itemsize, n = columns.end - columns.begin;
    const ptrdiff_t first = (ptrdiff_t)columns.begin;
    double *both = d->both + first, *all = d->all + first;
    memset(both, 0, n * sizeof *both);
    memset(all, 0, n * sizeof *all);
    for (size_t i = 0; i < d->gradient.rows; i++) {
        const size_t sample = sample_of(d, i);
        size_t label;
        const void *t = targets_of(d, sample, columns.begin, &label);
        kernels->dice_sums(n, fm_at(fm_row(&d->gradient, i, item), first, item), t, label,
                           weight_of(d, sample), both, all);
    }
    const double share = d->loss->scale / (double)d->gradient.cols;
    kernels->dice_slopes(n, d->unit * d->loss->parameter, share, both, all,
                         fm_at(d->constant, first, item), fm_at(d->by_target, first, item));
}

double fm_dice_mean(const fm_dice *d, double weight)
{
    double sum = 0;
    for (size_t j = 0; j < d->gradient.cols; j++) {
        sum += d->both[j];
    }
    return weight > 0 ? d->loss->scale * (sum / (double)d->gradient.cols) : 0;
}

void fm_dice_gradient(const fm_dice *d, fm_range rows)
{
    const fm_kernels *kernels = d->kernels;
    const int is_softmax = d->loss->kind == FM_SOFTMAX_DICE;
    for (size_t i = rows.begin; i < rows.end; i++) {
        const size_t sample = sample_of(d, i);
        size_t label;
        const void *t = targets_of(d, sample, 0, &label);
        const void *z = fm_row(&d->predictions, i, kernels->itemsize);
        void *dz = fm_row(&d->gradient, i, kernels->itemsize);
        (is_softmax ? kernels->softmax_dice_gradient : kernels->sigmoid_dice_gradient)(
            d->gradient.cols, z, t, label, d->constant, d->by_target, weight_of(d, sample), dz);
    }
}

static void outputs_part(void *context, size_t part, size_t parts)
{
    const fm_dice *d = context;
    fm_dice_outputs(d, fm_share(d->gradient.rows, 1, part, parts));
}

static void sums_part(void *context, size_t part, size_t parts)
{
    const fm_dice *d = context;
    fm_dice_sums(d, fm_dice_share(d, part, parts));
}

static void gradient_part(void *context, size_t part, size_t parts)
{
    const fm_dice *d = context;
    fm_dice_gradient(d, fm_share(d->gradient.rows, 1, part, parts));
}

fm_status fm_dice_in_parallel(fm_dice *d, int threads, double weight, double *mean)
{
    const size_t n = d->gradient.cols;
    double *memory = malloc(4 * n * sizeof *memory);
    if (!memory) {
        return FM_ERROR_MEMORY;
    }
    d->unit = fm_dice_unit(d->loss, d->targets, weight);
    d->both = memory;
    d->all = memory + n;
    d->constant = memory + 2 * n;
    d->by_target = memory + 3 * n;
    fm_in_parallel(threads, outputs_part, d);
    fm_in_parallel(threads, sums_part, d);
    fm_in_parallel(threads, gradient_part, d);
    *mean = fm_dice_mean(d, weight);
    free(memory);
    return FM_OK;
}
