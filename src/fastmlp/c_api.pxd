# What other Cython modules may call, without the GIL. A module that cimports this is compiled with
# fastmlp.get_include() among its include directories, and calls import_fastmlp() at its top.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t


cdef extern from "fastmlp_python.h" nogil:
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

    ctypedef enum fm_dtype:
        FM_FLOAT32
        FM_FLOAT64
        FM_UINT8
    ctypedef struct fm_matrix:
        void *data
        size_t rows, cols
        ptrdiff_t stride
        fm_dtype dtype
    ctypedef struct fm_samples:
        const void *data
        size_t rows, cols
        ptrdiff_t stride
        const int64_t *starts
        const int32_t *columns
        fm_dtype dtype

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

    ctypedef struct fm_network:
        pass
    ctypedef struct fm_model:
        const fm_network *network
        const void *parameters
        size_t inputs, outputs
        fm_dtype dtype
    int FM_ALIGNMENT
    size_t fm_network_inference_workspace(const fm_network *network, size_t n_samples)
    fm_status fm_network_predict(const fm_network *network, const void *parameters,
                                 const fm_samples *x, int logits, const fm_matrix *out,
                                 void *workspace, size_t workspace_size)


cdef extern from "fastmlp_python.h":
    int import_fastmlp() except -1
    # From what MLP.c_model() returned, which must be kept for as long as the model is used.
    const fm_model *fm_get_model(object capsule) except NULL
