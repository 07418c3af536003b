/* The plan of a network. */
#ifndef FM_NETWORK_H
#define FM_NETWORK_H

#include <string.h>

#include "ops.h"

typedef struct layer layer;

/* Samples that a gradient takes at a time, and inputs, where the batch has more samples: the
 * inputs' values of those samples then stay cached. */
enum { FM_GRADIENT_SAMPLES = 512, FM_GRADIENT_INPUTS = 64 };

/* The elements of a batch of sparse samples by feature: a list of samples for each, ascending. */
typedef struct {
    uint32_t *head;          /* per input: 1 + its first entry, or 0 */
    uint32_t *next, *sample; /* per entry: 1 + the feature's next entry, or 0; row of the batch */
    void *value;             /* per entry */
    uint32_t *features;      /* those that have entries */
    size_t n_features;
    uint32_t *samples; /* one feature's samples and values */
    void *values;
} fm_entries;

/* Copy an element of 4 or 8 bytes, without a call. */
static inline void fm_copy_element(void *to, const void *from, size_t item)
{
    if (item == sizeof(float)) {
        memcpy(to, from, sizeof(float));
    } else {
        memcpy(to, from, sizeof(double));
    }
}

/* A thread's scratch. */
typedef struct {
    void
        *sums; /* FM_GRADIENT_INPUTS rows of a gradient; NULL where no more than tiles are needed */
    void *panel; /* fm_panel_elements, for what is packed where weights are large; else NULL */
    /* For products with an input that is mostly zeros, see kernels.h. */
    uint32_t *index;
    void *value[2]; /* in_stride + FM_ALIGNMENT elements each, as index */
    uint32_t *marks, *list;
    size_t marks_stride;
    fm_entries *entries; /* of sparse samples only */
} fm_scratch;

/* Columns of a layer's parameters, or of their gradient: `outputs` of them, from the first column
 * `weight` and `bias` point at. */
typedef struct {
    void *weight, *bias;
    ptrdiff_t row; /* from one input's weights to the next's */
    size_t outputs;
    int half_end; /* see fm_gemm */
} fm_columns;

/* Rows of a matrix: `stride` elements apart, from `data` on, or where `lines` says that each
 * begins, if that is not NULL; lines may be of bytes where zeros are skipped, see fm_gemm. */
typedef struct {
    const void *data;
    ptrdiff_t stride;
    const void *const *lines;
    int bytes;
} fm_rows;

/* What becomes of a gradient: it is stored, or alpha times it is added; or, where there is an
 * update, it is used for a step of the parameters, and stored nowhere. */
typedef struct {
    fm_gemm_mode mode;
    double alpha;
    const fm_update *update;
    size_t states;
    fm_columns columns;          /* of the gradient or of the parameters */
    fm_columns state[FM_STATES]; /* of the optimizer's state */
    fm_columns average;          /* of the parameters' average; NULL for none, or not now */
    double *cells;               /* of the penalty, from the first column and input on, or NULL */
    double *squares;             /* likewise, of a gradient's norm */
    ptrdiff_t cells_run;
} fm_target;

/* What a kind of layer can do. Buffers hold a batch, one sample a row, rows `in_stride` or
 * `out_stride` elements apart. Threads call these at the same time with disjoint rows or blocks. */
typedef struct {
    /* Columns of y = f(x) for `rows` rows, y pointing at the first; y's rows are y_row apart. The
     * columns may include the padding. */
    void (*forward)(const layer *l, const fm_kernels *kernels, fm_columns parameters, size_t rows,
                    fm_rows x, void *y, ptrdiff_t y_row, fm_activation activation);
    /* The same for up to FM_MARK_GROUP lines of x. Zeros are skipped, and columns cut at multiples
     * of FM_ALIGNMENT bytes. */
    void (*forward_group)(const layer *l, const fm_kernels *kernels, fm_columns parameters,
                          size_t rows, fm_rows x, void *y, ptrdiff_t y_row,
                          fm_activation activation, const fm_scratch *scratch);
    /* Columns of y for `rows` sparse samples: from `first` on or, where order is not NULL, those
     * that order lists from there on. To dropout, which may be NULL, the first is `number`. */
    void (*forward_sparse)(const layer *l, const fm_kernels *kernels, fm_columns parameters,
                           size_t rows, const fm_samples *x, const size_t *order, size_t first,
                           const fm_dropout *dropout, uint64_t number, void *y, ptrdiff_t y_row,
                           fm_activation activation, const fm_scratch *scratch);
    /* Columns of dx from dy, the gradient of the pre-activation; dx points at the first. Where
     * there is no transposed copy of the weights, NULL, panels of it are made in scratch. */
    void (*backward)(const layer *l, const fm_kernels *kernels, const void *parameters,
                     const void *transposed, size_t rows, const void *dy, void *dx,
                     fm_range columns, const fm_scratch *scratch);
    /* The gradient of the weights of these inputs and of all the target's columns, and of the
     * biases; dy points at the first column. The zeros of x may be skipped if it has lines, and
     * are if these are of bytes. */
    void (*gradient)(const layer *l, const fm_kernels *kernels, size_t rows, fm_rows x, int skip,
                     const void *dy, const fm_target *target, fm_range inputs, fm_range biases,
                     const fm_scratch *scratch);
    /* The same for sparse samples, whose entries are used up; inputs are those that the entries
     * were collected for. */
    void (*gradient_sparse)(const layer *l, const fm_kernels *kernels, size_t rows, const void *dy,
                            const fm_target *target, fm_range inputs, fm_range biases,
                            const fm_scratch *scratch);
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
    size_t cell, cells_run;       /* the first of its cells, and how many a run of columns has, the
                                     last of them the biases' */
    fm_activation activation;
    int keeps_slopes; /* in training, beside the outputs, which do not tell them */
};

extern const layer_type fm_dense_layer;

/* y = f(y) for columns of a layer's output, padding included; functions of a whole row leave that
 * out. */
void fm_activate_columns(const layer *l, const fm_kernels *kernels, fm_activation activation,
                         size_t rows, size_t columns, void *y, ptrdiff_t y_row);

/* Multiply a sample's n inputs by their factors, in place; elements of a sparse row into values. */
void fm_drop_row(const fm_kernels *kernels, const fm_dropout *dropout, uint64_t sample, size_t n,
                 void *x);
fm_sparse_row fm_drop_elements(const fm_kernels *kernels, const fm_dropout *dropout,
                               uint64_t sample, fm_sparse_row row, void *values);
/* Multiply n outputs of a layer, or where it keeps slopes its pre-activations after the activation,
 * by factors, in whose place come the slopes of the result. */
void fm_drop_outputs(const fm_kernels *kernels, const layer *l, size_t n, void *y, void *slopes);

struct fm_network {
    fm_dtype dtype;
    int fused; /* losses take the last layer's pre-activation */
    size_t itemsize, n_parameters, n_layers;
    size_t widest;  /* the longest padded row of any activation */
    size_t n_cells; /* see kernels.h; a multiple of FM_CELL_CHAINS */
    layer layers[];
};

/* Columns of a padded row without the half line that is zeros at its end, where there is one. */
static inline size_t fm_filled(size_t columns, size_t stride, size_t itemsize)
{
    const size_t half = FM_ALIGNMENT / 2 / itemsize;
    return stride - columns >= half ? stride - half : stride;
}

/* Columns [begin, end) of a layer in a parameter or gradient buffer. */
static inline fm_columns fm_columns_of(const fm_network *network, const layer *l,
                                       const void *buffer, fm_range columns)
{
    const size_t item = network->itemsize;
    return (fm_columns){fm_at(buffer, (ptrdiff_t)(l->weight + columns.begin), item),
                        fm_at(buffer, (ptrdiff_t)(l->bias + columns.begin), item),
                        (ptrdiff_t)l->out_stride, columns.end - columns.begin,
                        columns.end > fm_filled(l->outputs, l->out_stride, item)};
}

static inline const layer *fm_last_layer(const fm_network *network)
{
    return &network->layers[network->n_layers - 1];
}

/* FM_OK if parameters, x, y and loss fit the network. y and loss may both be NULL. */
fm_status fm_check_arguments(const fm_network *network, const void *parameters, const fm_samples *x,
                             const fm_targets *y, const fm_loss *loss);

/* Cells are added up in so many chains side by side, as one waits for every addition. */
enum { FM_CELL_CHAINS = 8 };
double fm_sum_of_cells(const fm_network *network, const double *cells);

/* The optimizer, or NULL where its step is a mode of the products: plain SGD. */
const fm_optimizer *fm_used_optimizer(const fm_optimizer *optimizer);
/* Buffers that it keeps: of states, and all. */
size_t fm_optimizer_states(const fm_optimizer *optimizer);
size_t fm_optimizer_buffers(const fm_optimizer *optimizer);
int fm_has_penalty(const fm_optimizer *optimizer);
fm_status fm_check_optimizer(const fm_optimizer *optimizer);
/* The number-th step of an epoch, counted from 0, for a batch of that weight. */
fm_update fm_update_of(const fm_optimizer *optimizer, double lr, size_t number, double weight);
/* How many inputs' gradients, of so many outputs, to store before they are used: whole cells, at
 * most FM_GRADIENT_INPUTS. */
size_t fm_update_inputs(const fm_update *update, size_t outputs, size_t itemsize);
/* Use a gradient, whose rows are gradient_row apart, for the target's parameters. */
void fm_update_weights(const fm_kernels *kernels, const fm_target *target, fm_range inputs,
                       fm_range columns, const void *gradient, ptrdiff_t gradient_row);
void fm_update_biases(const fm_kernels *kernels, const fm_target *target, fm_range biases,
                      const void *gradient);
/* Bring averages up to date: of rows, n weights each, or of biases. */
void fm_average(const fm_kernels *kernels, double share, size_t rows, size_t n, const void *from,
                ptrdiff_t from_row, void *to, ptrdiff_t to_row);
/* Before it is used: add the penalty's gradient to a gradient, and sum up the squares of the result
 * times `unit`. */
void fm_penalize_weights(const fm_kernels *kernels, const fm_target *target, fm_range inputs,
                         void *gradient, ptrdiff_t gradient_row, double unit);
void fm_penalize_biases(const fm_kernels *kernels, const fm_target *target, fm_range biases,
                        void *gradient, double unit);

/* The first layer's view of its input: which share is not zero, and of the groups of features that
 * share a tile of the gradient. */
typedef struct {
    double elements, groups;
} fm_density;

/* Zeros are skipped where less than this share is not zero: then the shorter sums save more than
 * the lists cost. */
#define FM_DENSE_ENOUGH 0.5

/* Elements of a thread's panel for batches and layers up to these sizes. */
size_t fm_panel_elements(const fm_kernels *kernels, size_t batch, size_t widest);

/* Look at some of x's rows, which are dense; row (in_stride) and scratch, marks for one word a
 * group included, are written over. marks may be NULL, and groups is then not told. */
fm_density fm_look_at_zeros(const fm_kernels *kernels, const fm_samples *x, void *row,
                            const fm_scratch *scratch);

/* Write dense row `index` of x into `to` as the network's dtype. */
void fm_gather_row(const fm_kernels *kernels, const fm_samples *x, size_t index, void *to);

/* Row `index` of dense samples. */
static inline const void *fm_sample(const fm_samples *x, size_t index)
{
    return fm_at(x->data, (ptrdiff_t)index * x->stride, fm_dtype_size(x->dtype));
}

/* Elements of the longest row of sparse samples. */
size_t fm_longest_row(const fm_samples *x);
/* Add the elements of a sparse row, row `sample` of the batch, that lie within some of the inputs.
 * The rows of a batch come last first. */
void fm_collect_row(const fm_kernels *kernels, const fm_sparse_row *row, uint32_t sample,
                    fm_range inputs, size_t *count, fm_entries *entries);

#endif
