# cython: language_level=3, boundscheck=False, wraparound=False
"""Matrix products and predictions by fastmlp's C functions, without the GIL."""
from libc.stdlib cimport free
from posix.stdlib cimport posix_memalign

from fastmlp.c_api cimport (
    FM_ALIGNMENT, FM_ERROR_MEMORY, FM_FLOAT32, FM_OK, fm_get_model, fm_matmul, fm_matrix, fm_model,
    fm_network_inference_workspace, fm_network_predict, fm_samples, fm_status, fm_status_message,
    import_fastmlp,
)

import_fastmlp()


cdef int check(fm_status status) except -1:
    if status != FM_OK:
        raise ValueError(fm_status_message(status).decode())
    return 0


cdef fm_matrix matrix(const float[:, ::1] array) noexcept nogil:
    cdef fm_matrix m
    m.data = <void *>&array[0, 0] if array.shape[0] and array.shape[1] else NULL
    m.rows, m.cols = array.shape[0], array.shape[1]
    m.stride = array.shape[1]
    m.dtype = FM_FLOAT32
    return m


def matmul(const float[:, ::1] a, const float[:, ::1] b, float[:, ::1] out):
    """Write the product of two matrices into `out`, which must not overlap them."""
    cdef fm_matrix ma = matrix(a), mb = matrix(b), mo = matrix(out)
    cdef fm_status status
    with nogil:
        status = fm_matmul(&ma, &mb, False, False, &mo)
    check(status)


# Plain C, which a thread without Python may call as well: `rows` rows at a time, with one workspace.
cdef fm_status predict_blocks(
    const fm_model *model, const float *x, size_t n, size_t rows, float *out
) noexcept nogil:
    cdef size_t size = fm_network_inference_workspace(model.network, rows), first = 0
    cdef void *workspace
    cdef fm_samples samples
    cdef fm_matrix outputs
    cdef fm_status status = FM_OK
    if posix_memalign(&workspace, FM_ALIGNMENT, size):
        return FM_ERROR_MEMORY
    samples.starts = NULL  # dense rows
    samples.columns = NULL
    samples.cols, samples.stride, samples.dtype = model.inputs, model.inputs, FM_FLOAT32
    outputs.cols, outputs.stride, outputs.dtype = model.outputs, model.outputs, FM_FLOAT32
    while status == FM_OK and first < n:
        samples.rows = outputs.rows = min(rows, n - first)
        samples.data = x + first * model.inputs
        outputs.data = out + first * model.outputs
        status = fm_network_predict(
            model.network, model.parameters, &samples, False, &outputs, workspace, size
        )
        first += rows
    free(workspace)
    return status


def predict(capsule, const float[:, ::1] x, float[:, ::1] out, size_t rows=256):
    """Write a network's output for each row of `x` into `out`; `capsule` is its `c_model()`."""
    cdef const fm_model *model = fm_get_model(capsule)
    cdef fm_status status = FM_OK
    if <size_t>x.shape[1] != model.inputs or <size_t>out.shape[1] != model.outputs:
        raise ValueError("the columns are not the network's")
    if out.shape[0] != x.shape[0] or rows == 0:
        raise ValueError("as many rows of output as of input expected, in blocks of at least 1")
    if x.shape[0]:
        with nogil:
            status = predict_blocks(model, &x[0, 0], x.shape[0], rows, &out[0, 0])
    check(status)
