# The declarations of csrc/include/fastmlp.h that _core calls.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "fastmlp.h" nogil:
    ctypedef enum fm_status:
        FM_OK
        FM_ERROR_SHAPE
        FM_ERROR_DTYPE
        FM_ERROR_VALUE
        FM_ERROR_LABEL
        FM_ERROR_MEMORY
        FM_ERROR_NOT_FINITE
        FM_ERROR_DIVERGED
        FM_ERROR_INTERRUPTED
        FM_ERROR_ISA
    const char *fm_status_message(fm_status status)

    const char *fm_available_isa(size_t index)
    const char *fm_get_isa()
    fm_status fm_set_isa(const char *name)
    void fm_set_exchange(int exchange)
    const char *fm_compiler()
    void fm_set_num_threads(int n)
    int fm_get_num_threads()
    int fm_get_free_threads()

    ctypedef enum fm_dtype:
        FM_FLOAT32
        FM_FLOAT64
        FM_UINT8
    ctypedef struct fm_matrix:
        void *data
        size_t rows
        size_t cols
        ptrdiff_t stride
        fm_dtype dtype
    ctypedef struct fm_samples:
        const void *data
        size_t rows, cols
        ptrdiff_t stride
        const int64_t *starts
        const int32_t *columns
        fm_dtype dtype

    ctypedef struct fm_targets:
        const int64_t *indices
        const fm_matrix *values
        size_t count
        const double *weights
    ctypedef enum fm_activation:
        FM_IDENTITY
        FM_RELU
        FM_SIGMOID
        FM_TANH
        FM_LEAKY_RELU
        FM_ELU
        FM_SELU
        FM_SOFTPLUS
        FM_GELU
        FM_SILU
        FM_MISH
        FM_EXP
        FM_SOFTMAX
        FM_LOG_SOFTMAX
    ctypedef enum fm_loss_kind:
        FM_CUSTOM_LOSS
    ctypedef int (*fm_loss_function)(void *context, const fm_matrix *predictions,
                                     const size_t *rows, const fm_matrix *gradient,
                                     double *mean) noexcept nogil
    ctypedef struct fm_loss:
        fm_loss_kind kind
        double parameter
        double scale
        const void *weights
        fm_loss_function function
        void *context

    fm_status fm_matmul(const fm_matrix *a, const fm_matrix *b, int transpose_a, int transpose_b,
                        const fm_matrix *out)
    fm_status fm_dense_forward(const fm_matrix *x, const fm_matrix *w, const void *b,
                               fm_activation activation, const fm_matrix *out)
    fm_status fm_dense_forward_sparse(const fm_samples *x, const fm_matrix *w, const void *b,
                                      fm_activation activation, const fm_matrix *out)
    fm_status fm_dense_backward(const fm_matrix *dy, const fm_matrix *x, const fm_matrix *w,
                                const fm_matrix *dx, const fm_matrix *dw, void *db)
    fm_status fm_activate(fm_activation activation, const fm_matrix *z, const fm_matrix *out)
    fm_status fm_activate_backward(fm_activation activation, const fm_matrix *dy,
                                   const fm_matrix *y, const fm_matrix *out)
    fm_status fm_loss_gradient(const fm_loss *loss, const fm_matrix *predictions,
                               const fm_targets *targets, double *mean, const fm_matrix *gradient)
    fm_status fm_sgd_update(fm_dtype dtype, size_t n, void *params, const void *grads, double lr)
    fm_status fm_all_finite(const fm_matrix *x, fm_dtype as_, int *finite)
    void fm_shuffle(size_t n, uint64_t seed, uint64_t epoch, uint64_t part, size_t *order)

    ctypedef struct fm_network:
        pass
    ctypedef struct fm_dense_spec:
        size_t inputs
        size_t outputs
        fm_activation activation
    ctypedef struct fm_layer_layout:
        size_t weight
        size_t weight_stride
        size_t bias
    int FM_ALIGNMENT
    fm_status fm_network_create(fm_dtype dtype, const fm_dense_spec *layers, size_t n_layers,
                                fm_network **network)
    void fm_network_free(fm_network *network)
    size_t fm_network_parameters(const fm_network *network)
    fm_status fm_network_layout(const fm_network *network, size_t layer, fm_layer_layout *layout)
    ctypedef enum fm_update_kind:
        FM_UPDATE_SGD
    int FM_STATES
    ctypedef struct fm_optimizer:
        fm_update_kind kind
        double beta1
        double beta2
        double epsilon
        double weight_decay
        int epsilon_hat
        uint64_t steps
        void *state[2]
        double l1
        double l2
        int penalty_per_sample
        double clip_norm
        double max_norm
        double ema
        void *average
    size_t fm_network_training_workspace(const fm_network *network, const fm_samples *x,
                                         const fm_loss *loss, const fm_optimizer *optimizer,
                                         const double *dropout, size_t batch_size, int threads)
    size_t fm_network_inference_workspace(const fm_network *network, size_t n_samples)

    ctypedef struct fm_totals:
        double loss
        double weight
        double penalty
        size_t correct
        size_t samples
        size_t steps
    ctypedef int (*fm_progress)(void *context, const fm_totals *totals) noexcept nogil
    ctypedef struct fm_training:
        size_t batch_size
        int threads
        double lr
        const double *rates
        fm_optimizer *optimizer
        int mean_of_batches
        double loss_unit
        int shuffle
        uint64_t seed
        uint64_t epoch
        uint64_t part
        const double *dropout
        size_t first
        fm_totals before
        fm_progress progress
        void *progress_context
        double poll_seconds
    fm_status fm_network_train_epoch(const fm_network *network, void *parameters,
                                     const fm_samples *x, const fm_targets *y,
                                     const fm_loss *loss, const fm_training *options,
                                     void *workspace,
                                     size_t workspace_size, fm_totals *totals)
    fm_status fm_network_gradient(const fm_network *network, const void *parameters,
                                  const fm_samples *x, const fm_targets *y,
                                  const fm_loss *loss, int threads, void *gradient,
                                  void *workspace, size_t workspace_size, fm_totals *totals)
    fm_status fm_network_predict(const fm_network *network, const void *parameters,
                                 const fm_samples *x, int logits, const fm_matrix *out,
                                 void *workspace, size_t workspace_size)
    fm_status fm_network_evaluate(const fm_network *network, const void *parameters,
                                  const fm_samples *x, const fm_targets *y,
                                  const fm_loss *loss, void *workspace, size_t workspace_size,
                                  fm_totals *totals)

    ctypedef struct fm_model:
        const fm_network *network
        const void *parameters
        size_t inputs
        size_t outputs
        fm_dtype dtype
    ctypedef struct fm_api:
        pass
    const fm_api *fm_get_api()
