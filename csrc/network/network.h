/* The plan of a network. */
#ifndef FM_NETWORK_H
#define FM_NETWORK_H

#include "ops.h"

typedef struct layer layer;

/* A thread's scratch for products with an input that is mostly zeros, see kernels.h. */
typedef struct {
    uint32_t *index[2];
    void *value[2]; /* in_stride + FM_ALIGNMENT elements each, as index */
    uint32_t *marks, *list;
    size_t marks_stride;
} fm_zeros;

/* The part of a layer's parameters that a thread computes the gradient of. */
typedef struct {
    fm_range inputs, outputs; /* of the weights */
    fm_range biases;
} fm_block;

/* What a kind of layer can do. Buffers hold a batch, one sample a row, rows `in_stride` or
 * `out_stride` elements apart. Threads call these at the same time with disjoint rows or blocks. */
typedef struct {
    /* Columns `columns` of y = f(x) for `rows` rows; x's rows are x_row apart, y's y_row apart. The
     * columns may include the padding. Where zeros is not NULL, zeros of x are skipped and columns
     * are cut at multiples of FM_ALIGNMENT bytes. */
    void (*forward)(const layer *l, const fm_kernels *kernels, const void *parameters, size_t rows,
                    const void *x, ptrdiff_t x_row, void *y, ptrdiff_t y_row, fm_range columns,
                    fm_activation activation, const fm_zeros *zeros);
    /* dx from dy, the gradient of the pre-activation, with the layer's transposed weights. */
    void (*backward)(const layer *l, const fm_kernels *kernels, const void *transposed, size_t rows,
                     const void *dy, void *dx);
    /* Of a block: target = gradient, or target += alpha * gradient. */
    void (*gradient)(const layer *l, const fm_kernels *kernels, size_t rows, const void *x,
                     const void *dy, fm_gemm_mode mode, double alpha, void *target, fm_block block,
                     const fm_zeros *zeros);
    /* The transposed copy of the weights of these inputs, after they have changed. */
    void (*transpose)(const layer *l, const fm_kernels *kernels, const void *parameters,
                      void *transposed, fm_range inputs);
} layer_type;

struct layer {
    const layer_type *type;
    size_t inputs, outputs;
    size_t in_stride, out_stride; /* padded to FM_ALIGNMENT bytes */
    size_t weight, bias;          /* offsets in the parameter buffer */
    size_t transposed_size;       /* elements of the transposed copy */
    fm_activation activation;
};

extern const layer_type fm_dense_layer;

struct fm_network {
    fm_dtype dtype;
    fm_loss loss;
    int fused; /* the loss takes the last layer's pre-activation */
    size_t itemsize, n_parameters, n_layers;
    size_t widest; /* the longest padded row of any activation */
    layer layers[];
};

/* FM_OK if parameters, x and y fit the network. y may be NULL. */
fm_status fm_check_arguments(const fm_network *network, const void *parameters, const fm_matrix *x,
                             const fm_targets *y);

/* Write row `index` of x into `to` as the network's dtype. */
void fm_gather_row(const fm_kernels *kernels, const fm_matrix *x, size_t index, void *to);

#endif
