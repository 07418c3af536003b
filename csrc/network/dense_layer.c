/* The dense layer inside a network: products small enough to be read where they lie. */
#include <string.h>

#include "network.h"

static void forward_dense(const fm_kernels *kernels, fm_gemm gemm)
{
    kernels->gemm(&gemm);
}

/* Rows go in pairs, as the kernel runs two side by side. */
static void forward_sparse(const fm_kernels *kernels, fm_gemm g, const fm_zeros *zeros)
{
    for (size_t i = 0; i < g.m; i += 2) {
        const size_t rows = g.m - i < 2 ? 1 : 2;
        fm_sparse_row row[2];
        for (size_t r = 0; r < rows; r++) {
            const void *x = fm_at(g.a, (ptrdiff_t)(i + r) * g.a_row, kernels->itemsize);
            row[r].count = kernels->compress(g.k, x, zeros->index[r], zeros->value[r]);
            row[r].index = zeros->index[r];
            row[r].value = zeros->value[r];
        }
        kernels->sparse_rows(rows, g.n, row, g.b, g.b_row, g.bias, g.relu,
                             fm_at(g.c, (ptrdiff_t)i * g.c_row, kernels->itemsize), g.c_row);
    }
}

static void forward(const layer *l, const fm_kernels *kernels, const void *parameters, size_t rows,
                    const void *x, ptrdiff_t x_row, void *y, ptrdiff_t y_row, fm_range columns,
                    fm_activation activation, const fm_zeros *zeros)
{
    const size_t item = kernels->itemsize, n = columns.end - columns.begin;
    const ptrdiff_t begin = (ptrdiff_t)columns.begin;
    void *out = fm_at(y, begin, item);
    if (!n) {
        return;
    }
    const fm_gemm gemm = {.m = rows,
                          .n = n,
                          .k = l->inputs,
                          .a = x,
                          .a_row = x_row,
                          .a_col = 1,
                          .b = fm_at(parameters, (ptrdiff_t)l->weight + begin, item),
                          .b_row = (ptrdiff_t)l->out_stride,
                          .c = out,
                          .c_row = y_row,
                          .mode = FM_GEMM_STORE,
                          .bias = fm_at(parameters, (ptrdiff_t)l->bias + begin, item),
                          .relu = activation == FM_RELU};
    if (zeros) {
        forward_sparse(kernels, gemm, zeros);
    } else {
        forward_dense(kernels, gemm);
    }
    if (activation != FM_IDENTITY && activation != FM_RELU) {
        const size_t width = activation < FM_POINTWISE_ACTIVATIONS ? n : l->outputs;
        fm_activate_rows(kernels, activation, rows, width, out, y_row, out, y_row);
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

static void gradient_sparse(const fm_kernels *kernels, const fm_gemm *g, const fm_zeros *zeros)
{
    const size_t words = (g->k + 31) / 32, stride = zeros->marks_stride;
    memset(zeros->marks, 0, words * stride * sizeof *zeros->marks);
    for (size_t i = 0; i < g->k; i++) {
        kernels->mark(g->m, fm_at(g->a, (ptrdiff_t)i * g->a_col, kernels->itemsize),
                      (unsigned)(i % 32), zeros->marks + i / 32 * stride);
    }
    kernels->marked_gemm(g, zeros->marks, words, stride, zeros->list);
}

static void gradient(const layer *l, const fm_kernels *kernels, size_t rows, const void *x,
                     const void *dy, fm_gemm_mode mode, double alpha, void *target, fm_block block,
                     const fm_zeros *zeros)
{
    const size_t item = kernels->itemsize;
    const fm_range in = block.inputs, out = block.outputs, biases = block.biases;
    const ptrdiff_t row = (ptrdiff_t)l->out_stride;
    const size_t corner = l->weight + in.begin * l->out_stride + out.begin;
    const fm_gemm gemm = {.m = in.end - in.begin,
                          .n = out.end - out.begin,
                          .k = rows,
                          .a = fm_at(x, (ptrdiff_t)in.begin, item),
                          .a_row = 1,
                          .a_col = (ptrdiff_t)l->in_stride,
                          .b = fm_at(dy, (ptrdiff_t)out.begin, item),
                          .b_row = row,
                          .c = fm_at(target, (ptrdiff_t)corner, item),
                          .c_row = row,
                          .mode = mode,
                          .alpha = alpha};
    if (gemm.m && gemm.n) {
        if (zeros) {
            gradient_sparse(kernels, &gemm, zeros);
        } else {
            kernels->gemm(&gemm);
        }
    }
    kernels->column_sums(rows, biases.end - biases.begin, fm_at(dy, (ptrdiff_t)biases.begin, item),
                         row, mode, alpha, fm_at(target, (ptrdiff_t)(l->bias + biases.begin), item));
}

static void transpose(const layer *l, const fm_kernels *kernels, const void *parameters,
                      void *transposed, fm_range in)
{
    const size_t item = kernels->itemsize;
    const ptrdiff_t from = (ptrdiff_t)(l->weight + in.begin * l->out_stride);
    kernels->transpose(in.end - in.begin, l->outputs, fm_at(parameters, from, item),
                       (ptrdiff_t)l->out_stride, fm_at(transposed, (ptrdiff_t)in.begin, item),
                       (ptrdiff_t)l->in_stride);
}

const layer_type fm_dense_layer = {forward, backward, gradient, transpose};
