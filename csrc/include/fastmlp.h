/* fastmlp: dense kernels and multi-layer perceptrons on the CPU.
 *
 * The one public header; Python extensions include it through fastmlp_python.h. Conventions that
 * hold for every function:
 *   - Matrices are row-major; rows are samples; sizes and strides count elements, not bytes.
 *   - A function returns a status, never aborts or prints, and writes its outputs only after it
 *     has accepted every argument.
 *   - Data is not copied or kept: the caller owns every pointer.
 *   - A value that sums over a dimension is one chain of fused multiply-adds (multiply and add
 *     where the machine has no FMA) in index order, whatever the number of threads.
 */
#ifndef FASTMLP_H
#define FASTMLP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---------------------------------------------------------------------------- */

typedef enum {
    FM_OK = 0,
    FM_ERROR_SHAPE,       /* sizes of the arguments do not fit together */
    FM_ERROR_DTYPE,       /* a dtype that the function does not take, or dtypes that differ */
    FM_ERROR_VALUE,       /* an argument outside its range */
    FM_ERROR_LABEL,       /* a class index outside [0, classes) */
    FM_ERROR_MEMORY,      /* out of memory, or a workspace that is too small */
    FM_ERROR_NOT_FINITE,  /* a sample that is not finite, or too large for the network's dtype */
    FM_ERROR_DIVERGED,    /* a training loss that is not finite */
    FM_ERROR_INTERRUPTED, /* a function of the caller's asked to stop */
    FM_ERROR_ISA          /* an instruction set that is unknown or that this machine lacks */
} fm_status;

const char *fm_status_message(fm_status status);

/* ---- machine --------------------------------------------------------------------------- */

/* Names of the instruction sets this machine can run, best first; NULL past the last. */
const char *fm_available_isa(size_t index);
const char *fm_get_isa(void);
/* Choose the kernels for all later calls. Not to be called while other calls run. */
fm_status fm_set_isa(const char *name);
/* The compiler that built the library, as a readable name with version. */
const char *fm_compiler(void);

/* Upper bound on the threads of a call, 0 to follow OpenMP's own setting again. */
void fm_set_num_threads(int n);
/* Threads that a call made now may use: the bound, lowered to OpenMP's setting where that was
 * lowered since the library was loaded (threadpoolctl), and 1 in a forked child. */
int fm_get_num_threads(void);
/* Of those, the threads that calls in other threads of the process have left free, 1 at least. */
int fm_get_free_threads(void);

/* Take it that a cache line which another core has written costs 2^exchange nanoseconds where
 * several are on their way: 0 to FM_MOST_EXCHANGE, 2 where cores share a cache; -1, as to begin
 * with, to have it measured in training. It decides how many threads a step takes, and how they
 * share it, and never a result. */
enum { FM_MOST_EXCHANGE = 7 };
void fm_set_exchange(int exchange);

/* ---- arrays ---------------------------------------------------------------------------- */

typedef enum { FM_FLOAT32 = 0, FM_FLOAT64 = 1, FM_UINT8 = 2 } fm_dtype;

/* rows x cols elements; element (i, j) lies at data[i * stride + j]. A stride may be negative or
 * zero for arguments that are only read. */
typedef struct {
    void *data;
    size_t rows, cols;
    ptrdiff_t stride;
    fm_dtype dtype;
} fm_matrix;

/* Samples, one a row: dense rows as in fm_matrix, or, where starts is not NULL, compressed sparse
 * rows (CSR): row i holds the elements p in [starts[i], starts[i + 1]), data[p] in column
 * columns[p], columns ascending, within [0, cols) and none twice. */
typedef struct {
    const void *data;
    size_t rows, cols;
    ptrdiff_t stride; /* dense rows only */
    const int64_t *starts;
    const int32_t *columns;
    fm_dtype dtype;
} fm_samples;

/* What a network or a loss is asked to produce: class indices or a matrix, never both.
 *   indices: count values in [0, classes), for losses of a softmax output only;
 *   values: count x outputs, same dtype as the network. */
typedef struct {
    const int64_t *indices;
    const fm_matrix *values;
    size_t count;
    const double *weights; /* count, of the samples: finite and not negative; or NULL: all 1 */
} fm_targets;

typedef enum {
    FM_IDENTITY = 0,
    FM_RELU,
    FM_SIGMOID,
    FM_TANH,
    FM_LEAKY_RELU, /* max(0.01 z, z) */
    FM_ELU,        /* z, below 0 expm1(z) */
    FM_SELU,       /* s z, below 0 s a expm1(z); s = 1.0507..., a = 1.6732... */
    FM_SOFTPLUS,   /* log(1 + exp(z)) */
    FM_GELU,       /* z (1 + erf(z / sqrt(2))) / 2 */
    FM_SILU,       /* z sigmoid(z) */
    FM_MISH,       /* z tanh(softplus(z)) */
    FM_EXP,
    FM_POINTWISE_ACTIVATIONS, /* those above work element by element, those below on rows */
    FM_SOFTMAX = FM_POINTWISE_ACTIVATIONS,
    FM_LOG_SOFTMAX,
    FM_ACTIVATIONS
} fm_activation;

/* Losses of one sample, whose mean over a batch, weighted by the samples' weights, is the batch's.
 * Those for softmax, sigmoid and exp outputs take the pre-activation z and differentiate by it:
 * y = softmax(z) or sigmoid(z) below. t is the target, n the outputs, a and p the loss's weights,
 * 1 where there are none, and c its parameter. */
typedef enum {
    FM_SOFTMAX_CROSS_ENTROPY = 0, /* -sum t' log y, t' = (1 - c) t + c sum(t) / n */
    FM_BINARY_CROSS_ENTROPY,      /* mean of -p t log y - (1 - t) log(1 - y) */
    FM_SOFTMAX_FOCAL,             /* -sum a t (1 - y)^c log y */
    FM_BINARY_FOCAL,              /* mean of -a t (1 - y)^c log y - a' (1 - t) y^c log(1 - y),
                                     a' = 1 - a, or 1 where there are no weights */
    FM_SOFTMAX_DICE,              /* over the batch: mean over the outputs of 1 - (2I + c) / (U + c)
                                     with the weighted sums I of y t and U of y + t */
    FM_BINARY_DICE,
    FM_SOFTMAX_ELEMENT_DICE, /* mean of 1 - (2 y t + c) / (y + t + c), or 1 for 0 / 0 */
    FM_BINARY_ELEMENT_DICE,
    FM_MEAN_SQUARED_ERROR,  /* mean of (y - t)^2 */
    FM_MEAN_ABSOLUTE_ERROR, /* mean of |y - t|; slope 0 at 0 */
    FM_HUBER,               /* mean of e^2 / 2 where e = |y - t| <= c, else of c (e - c / 2) */
    FM_POISSON,             /* mean of exp(z) - t z, or with c of exp(z) - t z + t log t - t */
    FM_CUSTOM_LOSS,         /* over the batch, by a function of the caller's; in networks only */
    FM_LOSSES
} fm_loss_kind;

/* The mean loss of a batch and its gradient, both (count, outputs), by the predictions; rows
 * (count) are the samples' indices. Called by the thread that called the network; non-zero stops.
 */
typedef int (*fm_loss_function)(void *context, const fm_matrix *predictions, const size_t *rows,
                                const fm_matrix *gradient, double *mean);

typedef struct {
    fm_loss_kind kind;
    double parameter;
    double scale;        /* factor of the loss and its gradient, greater than 0; not of functions */
    const void *weights; /* one an output, of the predictions' dtype, or NULL */
    fm_loss_function function;
    void *context;
} fm_loss;

/* ---- operations (float32 or float64, all arrays of a call alike) ------------------------ */

/* out (m, n) = op(a) (m, k) * op(b) (k, n), op transposing where asked. */
fm_status fm_matmul(const fm_matrix *a, const fm_matrix *b, int transpose_a, int transpose_b,
                    const fm_matrix *out);
/* out (n, outputs) = activation(x (n, inputs) * w (inputs, outputs) + b (outputs)); b may be
 * NULL. */
fm_status fm_dense_forward(const fm_matrix *x, const fm_matrix *w, const void *b,
                           fm_activation activation, const fm_matrix *out);
/* The same for compressed sparse rows of w's dtype. */
fm_status fm_dense_forward_sparse(const fm_samples *x, const fm_matrix *w, const void *b,
                                  fm_activation activation, const fm_matrix *out);
/* From dy (n, outputs), the gradient of the pre-activation:
 * dx (n, inputs) = dy * w', dw (inputs, outputs) = x' * dy, db (outputs) = column sums of dy. */
fm_status fm_dense_backward(const fm_matrix *dy, const fm_matrix *x, const fm_matrix *w,
                            const fm_matrix *dx, const fm_matrix *dw, void *db);
/* out = f(z), element by element or row by row; out may be z. */
fm_status fm_activate(fm_activation activation, const fm_matrix *z, const fm_matrix *out);
/* out = dy * f'(z), with y = f(z) given, or z in the place of y for gelu, silu and mish, whose
 * slopes y does not tell; pointwise activations only; out may be dy or y. */
fm_status fm_activate_backward(fm_activation activation, const fm_matrix *dy, const fm_matrix *y,
                               const fm_matrix *out);
/* mean: the batch's loss; gradient (n, outputs): of that with respect to predictions, which it must
 * not overlap. */
fm_status fm_loss_gradient(const fm_loss *loss, const fm_matrix *predictions,
                           const fm_targets *targets, double *mean, const fm_matrix *gradient);
/* params -= lr * grads, over n elements. */
fm_status fm_sgd_update(fm_dtype dtype, size_t n, void *params, const void *grads, double lr);
/* *finite = 1 when every element, converted to `as`, is neither NaN nor infinite. */
fm_status fm_all_finite(const fm_matrix *x, fm_dtype as, int *finite);
/* The training order of an epoch, or of a part of it, each part's drawn on its own: a permutation
 * of 0..n-1 drawn by Fisher-Yates from the Philox 4x64-10 stream with key {seed, 1} and counter
 * {., epoch, part, 0}. */
void fm_shuffle(size_t n, uint64_t seed, uint64_t epoch, uint64_t part, size_t *order);

/* ---- networks -------------------------------------------------------------------------- */

typedef struct fm_network fm_network;

typedef struct {
    size_t inputs, outputs;
    fm_activation activation; /* FM_EXP and FM_SOFTMAX in the last layer only */
} fm_dense_spec;

/* Where a layer's parameters lie in the parameter buffer, in elements. weight (inputs, outputs)
 * has rows of weight_stride elements, the tail of each kept at zero; bias has outputs. */
typedef struct {
    size_t weight, weight_stride, bias;
} fm_layer_layout;

/* A plan: sizes and offsets; it holds no parameters and is never changed, so any number of
 * threads may use it. Losses take the pre-activation of a last layer of softmax, sigmoid or exp,
 * and the output of any other; which loss suits which is for the caller to see to. */
fm_status fm_network_create(fm_dtype dtype, const fm_dense_spec *layers, size_t n_layers,
                            fm_network **network);
void fm_network_free(fm_network *network);
/* Elements of the parameter buffer, which must be aligned to FM_ALIGNMENT bytes. */
size_t fm_network_parameters(const fm_network *network);
fm_status fm_network_layout(const fm_network *network, size_t layer, fm_layer_layout *layout);

enum { FM_ALIGNMENT = 64 };

/* With g a weight's gradient, lr the learning rate and t = 1, 2, ... the step:
 *   momentum   s0 = beta1 s0 - lr g,  w = w + s0
 *   Nesterov   s0 likewise,  w = w + beta1 s0 - lr g
 *   Adam       s0 = beta1 s0 + (1 - beta1) g,  s1 = beta2 s1 + (1 - beta2) g^2,
 *              w = w - lr s0 / (1 - beta1^t) / (sqrt(s1 / (1 - beta2^t)) + epsilon)
 *   AdamW      the same, once w = (1 - lr weight_decay) w
 *   RMSprop    s0 = beta2 s0 + (1 - beta2) g^2,  w = w - lr g / (sqrt(s0) + epsilon)
 *     with momentum  s1 = beta1 s1 - lr g / (sqrt(s0) + epsilon),  w = w + s1 */
typedef enum {
    FM_UPDATE_SGD, /* w = w - lr g */
    FM_UPDATE_MOMENTUM,
    FM_UPDATE_NESTEROV,
    FM_UPDATE_ADAM,
    FM_UPDATE_ADAMW,
    FM_UPDATE_RMSPROP,
    FM_UPDATE_RMSPROP_MOMENTUM,
    FM_UPDATES
} fm_update_kind;

enum { FM_STATES = 2 };

typedef struct {
    fm_update_kind kind;
    double beta1, beta2, epsilon, weight_decay;
    int epsilon_hat;        /* Adam: epsilon is added to sqrt(s1), and the sum divided by
                               sqrt(1 - beta2^t) */
    uint64_t steps;         /* taken so far; training adds its own */
    void *state[FM_STATES]; /* s0 and s1, laid out as the parameters and aligned alike; NULL for
                               those that the kind has not. Zero at the start; the padding stays so.
                             */
    double l1, l2;          /* a penalty joins a batch's loss: l1 sum |w| + l2 / 2 sum w^2 over the
                               weights, not the biases; the slope of |w| at 0 is 0 */
    int penalty_per_sample; /* l1 and l2 are divided by the sum of the batch's weights; a batch that
                               weighs nothing has no penalty */
    double clip_norm;       /* the gradient of loss and penalty by all parameters is scaled to at
                               most this Euclidean norm; 0: it is not */
    double max_norm;        /* after a step the weights of each output are scaled to at most this
                               Euclidean norm; 0: they are not */
    double ema;             /* after a step each number of average, laid out as the parameters and
                               aligned alike, becomes ema times itself + (1 - ema) its parameter;
                               0: there is no average */
    void *average;
} fm_optimizer;

/* Bytes of workspace for training on x with batches of up to batch_size on up to `threads` threads,
 * or for predicting and evaluating; aligned to FM_ALIGNMENT by the caller. SIZE_MAX if too
 * large. */
size_t fm_network_training_workspace(const fm_network *network, const fm_samples *x,
                                     const fm_loss *loss, const fm_optimizer *optimizer,
                                     const double *dropout, size_t batch_size, int threads);
size_t fm_network_inference_workspace(const fm_network *network, size_t n_samples);

typedef struct {
    double loss;    /* sum over the samples of weight times loss */
    double weight;  /* sum of their weights */
    double penalty; /* sum over the batches of weight times penalty, that of the weights before the
                       batch's step; not in loss */
    size_t correct; /* samples predicted right; 0 unless the output is softmax or sigmoid */
    size_t samples; /* samples that are in the sums */
    size_t steps;   /* of training: batches that are */
} fm_totals;

/* Called by the calling thread, at most every poll_seconds, while no parameter is being written;
 * non-zero stops. The totals and the parameters are those of the steps before. */
typedef int (*fm_progress)(void *context, const fm_totals *totals);

typedef struct {
    size_t batch_size;
    int threads; /* at most, see fm_get_num_threads */
    double lr;
    const double *rates;     /* one a step of this call; NULL: lr for all */
    fm_optimizer *optimizer; /* NULL: plain SGD */
    /* How the totals count: a batch by its samples, whatever their weights; and a factor of the
     * losses, not of the penalties, 0 standing for 1. */
    int mean_of_batches;
    double loss_unit;
    int shuffle;
    uint64_t seed, epoch, part; /* name the order of the samples, see fm_shuffle */
    /* One a layer: the chance, in [0, 1) and rounded to a multiple of 2^-16, that an input of the
     * layer counts as 0 for a sample; otherwise it is divided by 1 - chance. What is dropped
     * depends on seed, epoch, the number of samples of the epoch before, layer and input alone.
     * NULL for none. */
    const double *dropout;
    size_t first;         /* samples of the order that are done, at most all of them */
    fm_totals before;     /* of the epoch so far, from which the totals go on */
    fm_progress progress; /* may be NULL */
    void *progress_context;
    double poll_seconds;
} fm_training;

/* One epoch of mini-batches over x (n, inputs), uint8 (scaled by 1/255), float32 or float64; what
 * is left of one; or a part of an epoch over more samples than there is memory for. On
 * FM_ERROR_DIVERGED and FM_ERROR_INTERRUPTED the parameters and the optimizer are those after a
 * whole step; otherwise an error leaves them as they were. */
fm_status fm_network_train_epoch(const fm_network *network, void *parameters, const fm_samples *x,
                                 const fm_targets *y, const fm_loss *loss,
                                 const fm_training *options, void *workspace, size_t workspace_size,
                                 fm_totals *totals);
/* Mean loss over x and its gradient, laid out as the parameters. Workspace: training, with a
 * batch of all samples. */
fm_status fm_network_gradient(const fm_network *network, const void *parameters,
                              const fm_samples *x, const fm_targets *y, const fm_loss *loss,
                              int threads, void *gradient, void *workspace, size_t workspace_size,
                              fm_totals *totals);
/* Samples are looked at for values that are not finite: FM_ERROR_NOT_FINITE leaves outputs in an
 * undefined state.
 * out (n, outputs) = the network's output, of the network's dtype; with logits, a softmax, sigmoid
 * or exp output is left as its pre-activation. Workspace: inference. */
fm_status fm_network_predict(const fm_network *network, const void *parameters, const fm_samples *x,
                             int logits, const fm_matrix *out, void *workspace,
                             size_t workspace_size);
/* Not for losses over the batch. */
fm_status fm_network_evaluate(const fm_network *network, const void *parameters,
                              const fm_samples *x, const fm_targets *y, const fm_loss *loss,
                              void *workspace, size_t workspace_size, fm_totals *totals);

/* ---- other libraries ------------------------------------------------------------------- */

/* A network with its parameters. */
typedef struct {
    const fm_network *network;
    const void *parameters;
    size_t inputs, outputs;
    fm_dtype dtype; /* of the parameters and of the output */
} fm_model;

/* VERSION rises when something that fm_api leads to changes: a function's arguments, a structure,
 * a value of an enumeration. REVISION rises when a function is added, at the end. */
enum { FM_API_VERSION = 2, FM_API_REVISION = 0 };

/* The functions that libraries which are not linked with this one may call. */
typedef struct {
    int version, revision;
    __typeof__(fm_status_message) *status_message;
    __typeof__(fm_matmul) *matmul;
    __typeof__(fm_dense_forward) *dense_forward;
    __typeof__(fm_dense_forward_sparse) *dense_forward_sparse;
    __typeof__(fm_dense_backward) *dense_backward;
    __typeof__(fm_activate) *activate;
    __typeof__(fm_activate_backward) *activate_backward;
    __typeof__(fm_network_inference_workspace) *network_inference_workspace;
    __typeof__(fm_network_predict) *network_predict;
} fm_api;

const fm_api *fm_get_api(void);

#ifdef __cplusplus
}
#endif

#endif
