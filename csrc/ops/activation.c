/* Activations over matrices. */
#include "ops.h"

/* What an element costs, roughly, in floating-point operations; to load and store it takes as long
 * as some ten. */
static const double element_operations[FM_ACTIVATIONS] = {
    [FM_IDENTITY] = 10,   [FM_RELU] = 10,        [FM_SIGMOID] = 20, [FM_TANH] = 25,
    [FM_LEAKY_RELU] = 10, [FM_ELU] = 20,         [FM_SELU] = 20,    [FM_SOFTPLUS] = 30,
    [FM_GELU] = 50,       [FM_SILU] = 20,        [FM_MISH] = 30,    [FM_EXP] = 20,
    [FM_SOFTMAX] = 20,    [FM_LOG_SOFTMAX] = 20,
};

/* Elements a thread takes at a time from rows that are one contiguous block. */
enum { CHUNK = 4096 };

void fm_activate_rows(const fm_kernels *kernels, fm_activation activation, size_t rows, size_t cols,
                      const void *z, ptrdiff_t z_row, void *y, ptrdiff_t y_row)
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

/* One operand or none, as rows of the elements that a thread takes at a time. A matrix without
 * gaps is cut into rows of CHUNK elements, so that one long row can be shared out too. */
typedef struct {
    const fm_kernels *kernels;
    fm_activation activation;
    size_t rows, cols, last_cols;
    fm_matrix in, y, out; /* y: of the backward only */
} elementwise;

static elementwise cut(fm_activation activation, fm_matrix in, fm_matrix y, fm_matrix out)
{
    elementwise e = {fm_kernels_for(in.dtype), activation, in.rows, in.cols, in.cols, in, y, out};
    const ptrdiff_t cols = (ptrdiff_t)in.cols;
    const int contiguous = in.stride == cols && y.stride == cols && out.stride == cols;
    if (contiguous && activation < FM_POINTWISE_ACTIVATIONS && in.rows && in.cols) {
        const size_t n = in.rows * in.cols;
        e.rows = (n + CHUNK - 1) / CHUNK;
        e.cols = CHUNK;
        e.last_cols = n - (e.rows - 1) * CHUNK;
        e.in.stride = e.y.stride = e.out.stride = CHUNK;
    }
    return e;
}

static size_t row_length(const elementwise *e, size_t row)
{
    return row + 1 < e->rows ? e->cols : e->last_cols;
}

static void forward_part(void *context, size_t part, size_t parts)
{
    const elementwise *e = context;
    const size_t item = e->kernels->itemsize;
    const fm_range rows = fm_share(e->rows, 1, part, parts);
    for (size_t i = rows.begin; i < rows.end; i++) {
        e->kernels->activation[e->activation](row_length(e, i), fm_row(&e->in, i, item),
                                              fm_row(&e->out, i, item));
    }
}

static void backward_part(void *context, size_t part, size_t parts)
{
    const elementwise *e = context;
    const size_t item = e->kernels->itemsize;
    const fm_range rows = fm_share(e->rows, 1, part, parts);
    for (size_t i = rows.begin; i < rows.end; i++) {
        e->kernels->derivative[e->activation](row_length(e, i), fm_row(&e->in, i, item),
                                              fm_row(&e->y, i, item), fm_row(&e->out, i, item));
    }
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
    elementwise e = cut(activation, *z, *z, *out);
    const double work = (double)z->rows * (double)z->cols * element_operations[activation];
    fm_in_parallel(fm_threads_for(e.kernels->lanes, work), forward_part, &e);
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
    elementwise e = cut(activation, *dy, *y, *out);
    const fm_activation cost = fm_takes_z(activation) ? activation : FM_RELU;
    const double work = (double)dy->rows * (double)dy->cols * element_operations[cost];
    fm_in_parallel(fm_threads_for(e.kernels->lanes, work), backward_part, &e);
    return FM_OK;
}
