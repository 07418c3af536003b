/* Losses over a batch. */
#include <omp.h>
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
    const void *values =
        targets->values ? fm_row(targets->values, index, kernels->itemsize) : NULL;
    switch (loss) {
    case FM_SOFTMAX_CROSS_ENTROPY:
        if (correct) {
            const size_t label =
                values ? kernels->argmax(n, values) : (size_t)targets->indices[index];
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
    const fm_kernels *kernels = fm_kernels_for(predictions->dtype);
    const int threads = fm_threads_for(20.0 * (double)count * (double)n);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (size_t i = 0; i < count; i++) {
        losses[i] = fm_loss_row(kernels, loss, n, fm_row(predictions, i, kernels->itemsize),
                                targets, i, 1.0 / (double)count,
                                fm_row(gradient, i, kernels->itemsize), NULL);
    }
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += losses[i];
    }
    free(losses);
    *mean = sum / (double)count;
    return FM_OK;
}
