/* The dense layer inside a network: products small enough to be read where they lie. */
#include "network.h"

static void forward(const layer *l, const fm_kernels *kernels, const void *parameters, size_t rows,
                    const void *x, ptrdiff_t x_row, void *y, ptrdiff_t y_row, size_t columns,
                    fm_activation activation)
{
    const fm_gemm gemm = {.m = rows,
                          .n = columns,
                          .k = l->inputs,
                          .a = x,
                          .a_row = x_row,
                          .a_col = 1,
                          .b = fm_at(parameters, (ptrdiff_t)l->weight, kernels->itemsize),
                          .b_row = (ptrdiff_t)l->out_stride,
                          .c = y,
                          .c_row = y_row,
                          .mode = FM_GEMM_STORE,
                          .bias = fm_at(parameters, (ptrdiff_t)l->bias, kernels->itemsize),
                          .relu = activation == FM_RELU};
    kernels->gemm(&gemm);
    if (activation != FM_IDENTITY && activation != FM_RELU) {
        const size_t width = activation < FM_POINTWISE_ACTIVATIONS ? columns : l->outputs;
        fm_activate_rows(kernels, activation, rows, width, y, y_row, y, y_row);
    }
}

static void backward(const layer *l, const fm_kernels *kernels, const void *transposed, size_t rows,
                     const void *dy, void *dx)
{
    const fm_gemm gemm = {.m = rows,
                          .n = l->in_stride,
                          .k = l->outputs,
                          .a = dy,
                          .a_row = (ptrdiff_t)l->out_stride,
                          .a_col = 1,
                          .b = transposed,
                          .b_row = (ptrdiff_t)l->in_stride,
                          .c = dx,
                          .c_row = (ptrdiff_t)l->in_stride,
                          .mode = FM_GEMM_STORE};
    kernels->gemm(&gemm);
}

/* Shares are cut at whole cache lines of the transposed copy, so that threads never write the same
 * one. */
static fm_range inputs_share(const layer *l, const fm_kernels *kernels, size_t part, size_t parts)
{
    return fm_share(l->inputs, FM_ALIGNMENT / kernels->itemsize, part, parts);
}

static void gradient(const layer *l, const fm_kernels *kernels, size_t rows, const void *x,
                     const void *dy, fm_gemm_mode mode, double alpha, void *target, size_t part,
                     size_t parts)
{
    const size_t item = kernels->itemsize;
    const ptrdiff_t out_row = (ptrdiff_t)l->out_stride;
    const fm_range in = inputs_share(l, kernels, part, parts);
    const fm_range out = fm_share(l->out_stride, FM_ALIGNMENT / item, part, parts);
    const fm_gemm gemm = {.m = in.end - in.begin,
                          .n = l->out_stride,
                          .k = rows,
                          .a = fm_at(x, (ptrdiff_t)in.begin, item),
                          .a_row = 1,
                          .a_col = (ptrdiff_t)l->in_stride,
                          .b = dy,
                          .b_row = out_row,
                          .c = fm_at(target, (ptrdiff_t)(l->weight + in.begin * l->out_stride), item),
                          .c_row = out_row,
                          .mode = mode,
                          .alpha = alpha};
    kernels->gemm(&gemm);
    kernels->column_sums(rows, out.end - out.begin, fm_at(dy, (ptrdiff_t)out.begin, item), out_row,
                         mode, alpha, fm_at(target, (ptrdiff_t)(l->bias + out.begin), item));
}

static void transpose(const layer *l, const fm_kernels *kernels, const void *parameters,
                      void *transposed, size_t part, size_t parts)
{
    const size_t item = kernels->itemsize;
    const fm_range in = inputs_share(l, kernels, part, parts);
    const ptrdiff_t from = (ptrdiff_t)(l->weight + in.begin * l->out_stride);
    kernels->transpose(in.end - in.begin, l->outputs, fm_at(parameters, from, item),
                       (ptrdiff_t)l->out_stride, fm_at(transposed, (ptrdiff_t)in.begin, item),
                       (ptrdiff_t)l->in_stride);
}

const layer_type fm_dense_layer = {forward, backward, gradient, transpose};
