/* The plan of a network and the pieces of a training step. */
#ifndef FM_NETWORK_H
#define FM_NETWORK_H

#include "ops.h"

typedef struct layer layer;

/* What a kind of layer can do. Buffers hold a batch, one sample a row, rows `in_stride` or
 * `out_stride` elements apart; row functions are called with disjoint rows by several threads. */
typedef struct {
    /* y = f(x) for `rows` rows; x's rows are x_row apart, y's y_row apart, and `columns` of y are
     * to be written: outputs, or out_stride to fill its padding too. */
    void (*forward)(const layer *l, const fm_kernels *kernels, const void *parameters, size_t rows,
                    const void *x, ptrdiff_t x_row, void *y, ptrdiff_t y_row, size_t columns,
                    fm_activation activation);
    /* dx from dy, the gradient of the pre-activation, with the layer's transposed weights. */
    void (*backward)(const layer *l, const fm_kernels *kernels, const void *transposed, size_t rows,
                     const void *dy, void *dx);
    /* Part `part` of `parts` of: target = gradient, or target += alpha * gradient. */
    void (*gradient)(const layer *l, const fm_kernels *kernels, size_t rows, const void *x,
                     const void *dy, fm_gemm_mode mode, double alpha, void *target, size_t part,
                     size_t parts);
    /* The same part of the transposed copy, after the weights have changed. */
    void (*transpose)(const layer *l, const fm_kernels *kernels, const void *parameters,
                      void *transposed, size_t part, size_t parts);
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

/* The buffers of a training step; all lie in the caller's workspace. */
typedef struct {
    const fm_network *network;
    const fm_kernels *kernels;
    const void *parameters;
    const fm_matrix *x;
    const fm_targets *y;
    const size_t *order; /* of the samples; NULL: as they stand */
    void *input;         /* batch x in_stride of the first layer */
    void **outputs;      /* per layer, batch x out_stride */
    void **deltas;       /* per layer, batch x out_stride: gradients of the pre-activations */
    void **transposed;   /* per layer but the first: its weights transposed */
    double *losses;      /* per sample of the batch */
    uint8_t *correct;
} fm_step;

/* Lay the step's buffers and `n_samples` indices out from `base` on, which may be NULL to learn
 * the size. Returns the bytes taken, SIZE_MAX if too many. */
size_t fm_step_lay_out(const fm_network *network, size_t n_samples, size_t batch_size, void *base,
                       fm_step *step, size_t **order);
/* Gather, forward, loss and backward of the rows in `rows` of a batch of `count` samples that
 * begins at position `first` of the order. */
void fm_step_rows(const fm_step *step, size_t first, size_t count, fm_range rows);
/* This part's share of every layer's gradient, see layer_type. */
void fm_step_gradient(const fm_step *step, size_t count, fm_gemm_mode mode, double alpha,
                      void *target, size_t part, size_t parts);
void fm_step_transpose(const fm_step *step, size_t part, size_t parts);
/* Rows of a batch for one of `parts` threads. */
fm_range fm_step_share(const fm_step *step, size_t count, size_t part, size_t parts);

/* FM_OK if parameters, x and y fit the network. y may be NULL. */
fm_status fm_check_arguments(const fm_network *network, const void *parameters, const fm_matrix *x,
                             const fm_targets *y);

/* Write row `index` of x into `to` as the network's dtype. */
void fm_gather_row(const fm_kernels *kernels, const fm_matrix *x, size_t index, void *to);

#endif
