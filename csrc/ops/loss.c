/* Losses over a batch. */
#include <math.h>
#include <stdlib.h>

#include "ops.h"

static int is_of_softmax(fm_loss_kind kind)
{
    return kind == FM_SOFTMAX_CROSS_ENTROPY || kind == FM_SOFTMAX_FOCAL ||
           kind == FM_SOFTMAX_DICE || kind == FM_SOFTMAX_ELEMENT_DICE;
}

fm_status fm_check_loss(const fm_loss *loss, fm_activation output)
{
    if (loss->kind < 0 || loss->kind >= FM_LOSSES ||
        (loss->kind == FM_CUSTOM_LOSS && !loss->function)) {
        return FM_ERROR_VALUE;
    }
    if (loss->kind != FM_CUSTOM_LOSS && !(loss->scale > 0 && isfinite(loss->scale))) {
        return FM_ERROR_VALUE;
    }
    return is_of_softmax(loss->kind) && output != FM_SOFTMAX ? FM_ERROR_VALUE : FM_OK;
}

fm_status fm_check_targets(const fm_loss *loss, fm_activation output, fm_dtype dtype, size_t count,
                           size_t outputs, const fm_targets *targets)
{
    if (targets->count != count || (targets->indices == NULL) == (targets->values == NULL)) {
        return FM_ERROR_SHAPE;
    }
    if (targets->values) {
        if (targets->values->dtype != dtype) {
            return FM_ERROR_DTYPE;
        }
        return targets->values->rows == count && targets->values->cols == outputs ? FM_OK
                                                                                  : FM_ERROR_SHAPE;
    }
    if (!is_of_softmax(loss->kind) && (loss->kind != FM_CUSTOM_LOSS || output != FM_SOFTMAX)) {
        return FM_ERROR_SHAPE;
    }
    for (size_t i = 0; i < count; i++) {
        if (targets->indices[i] < 0 || (uint64_t)targets->indices[i] >= outputs) {
            return FM_ERROR_LABEL;
        }
    }
    return FM_OK;
}

double fm_weight_of(const fm_targets *targets, const size_t *order, size_t first, size_t count)
{
    double sum = 0;
    if (!targets->weights) {
        return (double)count;
    }
    for (size_t i = first; i < first + count; i++) {
        sum += targets->weights[fm_in_order(order, i)];
    }
    return sum;
}

static void loss_part(void *context, size_t part, size_t parts)
{
    const fm_row_losses *losses = context;
    fm_loss_rows(losses, fm_share(losses->predictions.rows, FM_MOST_LANES, part, parts));
}

static fm_status mean_of_rows(const fm_loss *loss, const fm_matrix *predictions,
                              const fm_targets *targets, int threads, double weight, double *mean,
                              const fm_matrix *gradient)
{
    const size_t count = predictions->rows;
    double *losses = malloc(count * sizeof *losses);
    if (!losses) {
        return FM_ERROR_MEMORY;
    }
    fm_row_losses b = {.kernels = fm_kernels_for(predictions->dtype),
                       .loss = loss,
                       .targets = targets,
                       .weight = weight,
                       .predictions = *predictions,
                       .gradient = *gradient,
                       .losses = losses};
    fm_in_parallel(threads, loss_part, &b);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += losses[i];
    }
    free(losses);
    *mean = weight > 0 ? sum / weight : 0;
    return FM_OK;
}

fm_status fm_loss_gradient(const fm_loss *loss, const fm_matrix *predictions,
                           const fm_targets *targets, double *mean, const fm_matrix *gradient)
{
    const size_t count = predictions->rows, n = predictions->cols;
    if (!fm_is_real(predictions->dtype) || gradient->dtype != predictions->dtype) {
        return FM_ERROR_DTYPE;
    }
    fm_status status = fm_check_loss(loss, FM_SOFTMAX);
    if (status || loss->kind == FM_CUSTOM_LOSS) {
        return FM_ERROR_VALUE;
    }
    if (!count || !n || gradient->rows != count || gradient->cols != n ||
        !fm_is_writable(gradient)) {
        return FM_ERROR_SHAPE;
    }
    status = fm_check_targets(loss, FM_SOFTMAX, predictions->dtype, count, n, targets);
    if (status) {
        return status;
    }
    const double weight = fm_weight_of(targets, NULL, 0, count);
    const fm_kernels *kernels = fm_kernels_for(predictions->dtype);
    const int threads = fm_threads_for(kernels->lanes, 20.0 * (double)count * (double)n);
    if (fm_is_of_batch(loss)) {
        fm_dice dice = {.kernels = kernels,
                        .loss = loss,
                        .targets = targets,
                        .predictions = *predictions,
                        .gradient = *gradient};
        return fm_dice_in_parallel(&dice, threads, weight, mean);
    }
    return mean_of_rows(loss, predictions, targets, threads, weight, mean, gradient);
}
