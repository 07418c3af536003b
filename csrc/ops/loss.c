/* Losses over a batch. */
#include <stdlib.h>

#include "ops.h"

fm_status fm_check_targets(fm_loss loss, fm_dtype dtype, size_t count, size_t outputs,
                           const fm_targets *targets)
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
    if (loss != FM_SOFTMAX_CROSS_ENTROPY) {
        return FM_ERROR_SHAPE;
    }
    for (size_t i = 0; i < count; i++) {
        if (targets->indices[i] < 0 || (uint64_t)targets->indices[i] >= outputs) {
            return FM_ERROR_LABEL;
        }
    }
    return FM_OK;
}

double fm_loss_row(const fm_kernels *kernels, fm_loss loss, size_t n, const void *predictions,
                   const fm_targets *targets, size_t index, double scale, void *gradient,
                   uint8_t *correct)
{
    const void *values = targets->values ? fm_row(targets->values, index, kernels->itemsize) : NULL;
    switch (loss) {
    case FM_SOFTMAX_CROSS_ENTROPY:
        if (correct) {
            const size_t label = values ? kernels->argmax(n, values)
                                        : (size_t)targets->indices[index];
            *correct = kernels->argmax(n, predictions) == label;
        }
        if (values) {
            return kernels->cross_entropy(n, predictions, values, scale, gradient);
        }
        return kernels->cross_entropy_index(n, predictions, (size_t)targets->indices[index], scale,
                                            gradient);
    case FM_BINARY_CROSS_ENTROPY:
        if (correct) {
            *correct = (uint8_t)kernels->same_sides(n, predictions, values);
        }
        return kernels->binary_cross_entropy(n, predictions, values, scale / (double)n, gradient) /
               (double)n;
    default:
        if (correct) {
            *correct = 0;
        }
        return kernels->squared_error(n, predictions, values, scale / (double)n, gradient) /
               (double)n;
    }
}

typedef struct {
    const fm_kernels *kernels;
    fm_loss loss;
    const fm_matrix *predictions, *gradient;
    const fm_targets *targets;
    double *losses;
} batch_loss;

static void loss_part(void *context, size_t part, size_t parts)
{
    const batch_loss *b = context;
    const size_t item = b->kernels->itemsize, count = b->predictions->rows;
    const fm_range rows = fm_share(count, 1, part, parts);
    for (size_t i = rows.begin; i < rows.end; i++) {
        b->losses[i] = fm_loss_row(b->kernels, b->loss, b->predictions->cols,
                                   fm_row(b->predictions, i, item), b->targets, i,
                                   1.0 / (double)count, fm_row(b->gradient, i, item), NULL);
    }
}

fm_status fm_loss_gradient(fm_loss loss, const fm_matrix *predictions, const fm_targets *targets,
                           double *mean, const fm_matrix *gradient)
{
    const size_t count = predictions->rows, n = predictions->cols;
    if (!fm_is_real(predictions->dtype) || gradient->dtype != predictions->dtype) {
        return FM_ERROR_DTYPE;
    }
    if (loss < 0 || loss >= FM_LOSSES) {
        return FM_ERROR_VALUE;
    }
    if (!count || !n || gradient->rows != count || gradient->cols != n ||
        !fm_is_writable(gradient)) {
        return FM_ERROR_SHAPE;
    }
    const fm_status status = fm_check_targets(loss, predictions->dtype, count, n, targets);
    if (status) {
        return status;
    }
    double *losses = malloc(count * sizeof *losses);
    if (!losses) {
        return FM_ERROR_MEMORY;
    }
    batch_loss b = {
        fm_kernels_for(predictions->dtype), loss, predictions, gradient, targets, losses};
    fm_in_parallel(fm_threads_for(b.kernels->lanes, 20.0 * (double)count * (double)n), loss_part,
                   &b);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += losses[i];
    }
    free(losses);
    *mean = sum / (double)count;
    return FM_OK;
}
