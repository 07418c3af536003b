/* Activations over matrices. */
#include <omp.h>

#include "ops.h"

/* Floating-point operations an element costs, roughly: what decides on a second thread. */
static const double element_operations[FM_ACTIVATIONS] = {
    [FM_IDENTITY] = 1, [FM_RELU] = 1,         [FM_SIGMOID] = 20,
    [FM_TANH] = 25,    [FM_SOFTMAX] = 20,     [FM_LOG_SOFTMAX] = 20,
};

/* Elements a thread takes at a time from rows that are one contiguous block. */
enum { CHUNK = 4096 };

void fm_activate_rows(const fm_kernels *kernels, fm_activation activation, size_t rows,
                      size_t cols, const void *z, ptrdiff_t z_row, void *y, ptrdiff_t y_row)
{
    const fm_map map = kernels->activation[activation];
    const ptrdiff_t width = (ptrdiff_t)cols;
    if (activation < FM_POINTWISE_ACTIVATIONS && z_row == width && y_row == width) {
        map(rows * cols, z, y);
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        map(cols, fm_at(z, (ptrdiff_t)i * z_row, kernels->itemsize),
            fm_at(y, (ptrdiff_t)i * y_row, kernels->itemsize));
    }
}

static fm_status check(const fm_matrix *in, const fm_matrix *out)
{
    if (!fm_is_real(in->dtype) || out->dtype != in->dtype) {
        return FM_ERROR_DTYPE;
    }
    if (out->rows != in->rows || out->cols != in->cols || !fm_is_writable(out)) {
        return FM_ERROR_SHAPE;
    }
    return FM_OK;
}

/* A matrix whose rows follow each other without a gap, as rows of CHUNK or fewer elements, so that
 * one long row can be shared out too; else as it is. */
typedef struct {
    size_t rows, cols, last_cols;
} grid;

static grid grid_of(size_t rows, size_t cols, int contiguous)
{
    if (!contiguous || rows * cols == 0) {
        return (grid){rows, cols, cols};
    }
    const size_t n = rows * cols, chunks = (n + CHUNK - 1) / CHUNK;
    return (grid){chunks, CHUNK, n - (chunks - 1) * CHUNK};
}

fm_status fm_activate(fm_activation activation, const fm_matrix *z, const fm_matrix *out)
{
    const fm_status status = check(z, out);
    if (status) {
        return status;
    }
    if (activation < 0 || activation >= FM_ACTIVATIONS) {
        return FM_ERROR_VALUE;
    }
    const fm_kernels *kernels = fm_kernels_for(z->dtype);
    const ptrdiff_t cols = (ptrdiff_t)z->cols;
    const int contiguous =
        activation < FM_POINTWISE_ACTIVATIONS && z->stride == cols && out->stride == cols;
    const grid g = grid_of(z->rows, z->cols, contiguous);
    const ptrdiff_t z_row = contiguous ? CHUNK : z->stride, y_row = contiguous ? CHUNK : out->stride;
    const double operations =
        (double)z->rows * (double)z->cols * element_operations[activation];
    const int threads = fm_threads_for(operations);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (size_t i = 0; i < g.rows; i++) {
        kernels->activation[activation](i + 1 < g.rows ? g.cols : g.last_cols,
                                        fm_at(z->data, (ptrdiff_t)i * z_row, kernels->itemsize),
                                        fm_at(out->data, (ptrdiff_t)i * y_row, kernels->itemsize));
    }
    return FM_OK;
}

fm_status fm_activate_backward(fm_activation activation, const fm_matrix *dy, const fm_matrix *y,
                               const fm_matrix *out)
{
    fm_status status = check(dy, out);
    if (!status) {
        status = check(y, out);
    }
    if (status) {
        return status;
    }
    if (activation < 0 || activation >= FM_POINTWISE_ACTIVATIONS) {
        return FM_ERROR_VALUE;
    }
    const fm_kernels *kernels = fm_kernels_for(dy->dtype);
    const size_t item = kernels->itemsize;
    const ptrdiff_t cols = (ptrdiff_t)dy->cols;
    const int contiguous = dy->stride == cols && y->stride == cols && out->stride == cols;
    const grid g = grid_of(dy->rows, dy->cols, contiguous);
    const int threads = fm_threads_for(2.0 * (double)dy->rows * (double)dy->cols);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (size_t i = 0; i < g.rows; i++) {
        const ptrdiff_t row = (ptrdiff_t)i;
        kernels->derivative[activation](
            i + 1 < g.rows ? g.cols : g.last_cols,
            fm_at(dy->data, row * (contiguous ? CHUNK : dy->stride), item),
            fm_at(y->data, row * (contiguous ? CHUNK : y->stride), item),
            fm_at(out->data, row * (contiguous ? CHUNK : out->stride), item));
    }
    return FM_OK;
}
