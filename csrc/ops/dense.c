/* The dense layer as three products. */
#include "ops.h"

fm_status fm_dense_forward(const fm_matrix *x, const fm_matrix *w, const void *b,
                           fm_activation activation, const fm_matrix *out)
{
    if (!fm_is_real(x->dtype) || w->dtype != x->dtype || out->dtype != x->dtype) {
        return FM_ERROR_DTYPE;
    }
    if (w->rows != x->cols || out->rows != x->rows || out->cols != w->cols ||
        !fm_is_writable(out)) {
        return FM_ERROR_SHAPE;
    }
    if (activation < 0 || activation >= FM_ACTIVATIONS) {
        return FM_ERROR_VALUE;
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
    const fm_status status = fm_product(fm_kernels_for(x->dtype), &gemm, 0);
    if (status || activation == FM_IDENTITY || activation == FM_RELU) {
        return status;
    }
    return fm_activate(activation, out, out);
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
