/* The dense layer as three products. */
#include "ops.h"

/* FM_OK if samples of a dtype and shape fit the layer. */
static fm_status check_forward(fm_dtype dtype, size_t rows, size_t cols, const fm_matrix *w,
                               fm_activation activation, const fm_matrix *out)
{
    if (!fm_is_real(dtype) || w->dtype != dtype || out->dtype != dtype) {
        return FM_ERROR_DTYPE;
    }
    if (w->rows != cols || out->rows != rows || out->cols != w->cols || !fm_is_writable(out)) {
        return FM_ERROR_SHAPE;
    }
    return activation < 0 || activation >= FM_ACTIVATIONS ? FM_ERROR_VALUE : FM_OK;
}

/* Apply what the product has not applied yet. */
static fm_status finish_forward(fm_activation activation, const fm_matrix *out)
{
    return activation == FM_IDENTITY || activation == FM_RELU ? FM_OK
                                                              : fm_activate(activation, out, out);
}

fm_status fm_dense_forward(const fm_matrix *x, const fm_matrix *w, const void *b,
                           fm_activation activation, const fm_matrix *out)
{
    fm_status status = check_forward(x->dtype, x->rows, x->cols, w, activation, out);
    if (status) {
        return status;
    }
    const fm_gemm gemm = {.m = x->rows,
                          .n = w->cols,
                          .k = x->cols,
                          .a = x->data,
                          .a_row = x->stride,
                          .a_col = 1,
                          .b = w->data,
                          .b_row = w->stride,
                          .c = out->data,
                          .c_row = out->stride,
                          .mode = FM_GEMM_STORE,
                          .bias = b,
                          .relu = activation == FM_RELU};
    status = fm_product(fm_kernels_for(x->dtype), &gemm, 0);
    return status ? status : finish_forward(activation, out);
}

typedef struct {
    const fm_kernels *kernels;
    const fm_samples *x;
    const fm_matrix *w, *out;
    const void *b;
    int relu;
} sparse_forward;

static void sparse_forward_part(void *context, size_t part, size_t parts)
{
    const sparse_forward *f = context;
    const size_t item = f->kernels->itemsize;
    const fm_range rows = fm_share(f->x->rows, 1, part, parts);
    for (size_t i = rows.begin; i < rows.end; i++) {
        const fm_sparse_row row = fm_sparse_row_of(f->kernels, f->x, i, NULL);
        f->kernels->sparse_rows(1, f->w->cols, &row, f->w->data, f->w->stride, f->b, f->relu,
                                fm_row(f->out, i, item), f->out->stride);
    }
}

fm_status fm_dense_forward_sparse(const fm_samples *x, const fm_matrix *w, const void *b,
                                  fm_activation activation, const fm_matrix *out)
{
    const fm_status status = check_forward(x->dtype, x->rows, x->cols, w, activation, out);
    if (status || !x->starts) {
        return status ? status : FM_ERROR_SHAPE;
    }
    sparse_forward f = {fm_kernels_for(x->dtype), x, w, out, b, activation == FM_RELU};
    const double operations = 2.0 * (double)(x->starts[x->rows] - x->starts[0]) * (double)w->cols;
    fm_in_parallel(fm_threads_for(f.kernels->lanes, operations), sparse_forward_part, &f);
    return finish_forward(activation, out);
}

fm_status fm_dense_backward(const fm_matrix *dy, const fm_matrix *x, const fm_matrix *w,
                            const fm_matrix *dx, const fm_matrix *dw, void *db)
{
    const fm_dtype dtype = dy->dtype;
    if (!fm_is_real(dtype) || x->dtype != dtype || w->dtype != dtype || dx->dtype != dtype ||
        dw->dtype != dtype) {
        return FM_ERROR_DTYPE;
    }
    if (x->rows != dy->rows || w->rows != x->cols || w->cols != dy->cols || dx->rows != x->rows ||
        dx->cols != x->cols || dw->rows != w->rows || dw->cols != w->cols || !fm_is_writable(dx) ||
        !fm_is_writable(dw)) {
        return FM_ERROR_SHAPE;
    }
    fm_status status = fm_matmul(dy, w, 0, 1, dx);
    if (!status) {
        status = fm_matmul(x, dy, 1, 0, dw);
    }
    if (!status) {
        fm_kernels_for(dtype)->column_sums(dy->rows, dy->cols, dy->data, dy->stride, FM_GEMM_STORE,
                                           1, db);
    }
    return status;
}
