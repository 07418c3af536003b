# cython: language_level=3, embedsignature=False
"""The C core, one Python call for one C call: arrays in, a status out, an exception if it is bad.

Callers have validated shapes and dtypes and pass NumPy arrays of one or two dimensions whose last
is contiguous. The GIL is released during every call that computes.
"""
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport (
    PyCapsule_GetContext, PyCapsule_New, PyCapsule_SetContext,
)
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport strchr
from posix.stdlib cimport posix_memalign

from numpy import empty, ndarray

ACTIVATIONS = (
    "identity", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "mish", "exp", "softmax", "log_softmax",
)
LOSSES = (
    "softmax_cross_entropy", "binary_cross_entropy", "softmax_focal", "binary_focal",
    "softmax_dice", "binary_dice", "softmax_element_dice", "binary_element_dice",
    "mean_squared_error", "mean_absolute_error", "huber", "poisson", "custom",
)
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "rmsprop_momentum")
ALIGNMENT = FM_ALIGNMENT
_C_API = PyCapsule_New(<void *>fm_get_api(), "fastmlp._core._C_API", NULL)


cdef int check(fm_status status) except -1:
    if status == FM_OK:
        return 0
    message = fm_status_message(status).decode()
    if status == FM_ERROR_DTYPE:
        raise TypeError(message)
    if status == FM_ERROR_MEMORY:
        raise MemoryError(message)
    raise ValueError(message)


# The buffer is given back at once: an array's memory stays where it is while the array lives, and
# the caller holds it. This is cheaper than a memoryview and the same for every Python version.
cdef fm_matrix view(object array, bint writable=False) except *:
    cdef Py_buffer buffer
    cdef fm_matrix m
    cdef char code
    PyObject_GetBuffer(
        array, &buffer, PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0)
    )
    try:
        code = buffer.format[0]
        if code == c"f":
            m.dtype = FM_FLOAT32
        elif code == c"d":
            m.dtype = FM_FLOAT64
        elif code == c"B":
            m.dtype = FM_UINT8
        else:
            raise TypeError("float32, float64 or uint8 expected, not format " + chr(code))
        m.data = buffer.buf
        if buffer.ndim == 2:
            m.rows, m.cols = buffer.shape[0], buffer.shape[1]
            m.stride = buffer.strides[0] // buffer.itemsize
        elif buffer.ndim == 1:
            m.rows, m.cols = 1, buffer.shape[0]
            m.stride = buffer.shape[0]
        else:
            raise ValueError("one or two dimensions expected")
        if m.cols > 1 and buffer.strides[buffer.ndim - 1] != buffer.itemsize:
            raise ValueError("the last dimension must be contiguous")
    finally:
        PyBuffer_Release(&buffer)
    return m


# The elements of a vector of integers of a size, whose format is one of `formats`.
cdef const void *integers(
    object array, Py_ssize_t itemsize, const char *formats, size_t *count
) except? NULL:
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES | PyBUF_FORMAT)
    cdef const void *data = buffer.buf
    cdef bint fits = (
        buffer.ndim == 1 and buffer.itemsize == itemsize
        and buffer.format[0] != 0 and strchr(formats, buffer.format[0]) != NULL
        and (buffer.shape[0] < 2 or buffer.strides[0] == itemsize)
    )
    count[0] = buffer.shape[0] if buffer.ndim else 0
    PyBuffer_Release(&buffer)
    if not fits:
        raise TypeError(f"a contiguous array of int{8 * itemsize} expected")
    return data


cdef const int64_t *indices(object array, size_t *count) except? NULL:
    return <const int64_t *>integers(array, 8, b"lq", count)


# A matrix, or CSR rows, see sparse.py.
cdef fm_samples as_samples(object x) except *:
    cdef fm_samples samples
    cdef fm_matrix m
    cdef size_t count
    if isinstance(x, ndarray):
        m = view(x)
        samples.rows, samples.cols, samples.stride = m.rows, m.cols, m.stride
        samples.starts = NULL
        samples.columns = NULL
    else:
        m = view(x.values)
        samples.rows, samples.cols = x.shape
        samples.stride = 0
        samples.starts = indices(x.starts, &count)
        samples.columns = <const int32_t *>integers(x.columns, 4, b"i", &count)
    samples.data, samples.dtype = m.data, m.dtype
    return samples


# `values` is where a matrix of targets is kept for as long as the targets are used.
cdef fm_targets as_targets(object array, object weights, fm_matrix *values) except *:
    cdef fm_targets targets
    cdef fm_matrix m
    targets.weights = NULL
    if weights is not None:
        m = view(weights)
        if m.dtype != FM_FLOAT64 or m.rows != 1 or m.cols != <size_t>len(array):
            raise ValueError("one weight for each sample expected, as float64")
        targets.weights = <const double *>m.data
    if array.ndim == 1:
        targets.indices = indices(array, &targets.count)
        targets.values = NULL
    else:
        values[0] = view(array)
        targets.indices = NULL
        targets.values = values
        targets.count = values.rows
    return targets


def available_isas():
    cdef size_t i = 0
    names = []
    while fm_available_isa(i) != NULL:
        names.append(fm_available_isa(i).decode())
        i += 1
    return tuple(names)


def get_isa():
    return fm_get_isa().decode()


def set_isa(str name):
    check(fm_set_isa(name.encode()))


def set_exchange(int exchange):
    fm_set_exchange(exchange)


def compiler():
    return fm_compiler().decode()


def set_num_threads(int n):
    fm_set_num_threads(n)


def get_num_threads():
    return fm_get_num_threads()


def get_free_threads():
    return fm_get_free_threads()


# Whether an array is what the core takes as it is: a plain one, not empty, with contiguous rows.
cdef bint is_plain(object array, fm_matrix *m, bint writable) except -1:
    cdef Py_buffer buffer
    cdef bint plain
    if type(array) is not ndarray:
        return False
    try:
        PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES | PyBUF_FORMAT)
    except Exception:  # not every dtype can be told in a buffer
        return False
    plain = (
        buffer.ndim == 2
        and buffer.format[0] in b"fd" and buffer.format[1] == 0
        and buffer.shape[0] > 0 and buffer.shape[1] > 0
        and (buffer.shape[1] == 1 or buffer.strides[1] == buffer.itemsize)
        and buffer.strides[0] % buffer.itemsize == 0
        and buffer.strides[0] >= buffer.shape[1] * buffer.itemsize
        and <size_t>buffer.buf % <size_t>buffer.itemsize == 0
        and not (writable and buffer.readonly)
    )
    if plain:
        m.dtype = FM_FLOAT32 if buffer.format[0] == c"f" else FM_FLOAT64
        m.data = buffer.buf
        m.rows, m.cols = buffer.shape[0], buffer.shape[1]
        m.stride = buffer.strides[0] // buffer.itemsize
    PyBuffer_Release(&buffer)
    return plain


cdef bint are_apart(const fm_matrix *a, const fm_matrix *b) noexcept:
    cdef size_t item = 4 if a.dtype == FM_FLOAT32 else 8
    cdef const char *a_end = <const char *>a.data + a.rows * <size_t>a.stride * item
    cdef const char *b_end = <const char *>b.data + b.rows * <size_t>b.stride * item
    return a_end <= <const char *>b.data or b_end <= <const char *>a.data


def matmul_plain(a, b, transpose_a, transpose_b, out):
    """Return the product if the arguments need no conversion and no error message, else None."""
    cdef fm_matrix ma, mb, mo
    cdef bint ta, tb
    cdef fm_status status
    cdef size_t m, n
    if type(transpose_a) is not bool or type(transpose_b) is not bool:
        return None
    ta, tb = transpose_a, transpose_b
    if not (is_plain(a, &ma, False) and is_plain(b, &mb, False)) or ma.dtype != mb.dtype:
        return None
    if (ma.rows if ta else ma.cols) != (mb.cols if tb else mb.rows):
        return None
    m, n = ma.cols if ta else ma.rows, mb.rows if tb else mb.cols
    if out is None:
        out = empty((m, n), "f" if ma.dtype == FM_FLOAT32 else "d")
    if not is_plain(out, &mo, True) or mo.dtype != ma.dtype or mo.rows != m or mo.cols != n:
        return None
    if not (are_apart(&mo, &ma) and are_apart(&mo, &mb)):
        return None
    with nogil:
        status = fm_matmul(&ma, &mb, ta, tb, &mo)
    check(status)
    return out


def matmul(a, b, bint transpose_a, bint transpose_b, out):
    cdef fm_matrix ma = view(a), mb = view(b), mo = view(out, True)
    cdef fm_status status
    with nogil:
        status = fm_matmul(&ma, &mb, transpose_a, transpose_b, &mo)
    check(status)


def dense_forward(x, w, b, int activation, out):
    cdef fm_samples samples
    cdef fm_matrix mx, mw = view(w), mb, mo = view(out, True)
    cdef void *bias = NULL
    cdef bint sparse = not isinstance(x, ndarray)
    cdef fm_status status
    if sparse:
        samples = as_samples(x)
    else:
        mx = view(x)
    if b is not None:
        mb = view(b)
        bias = mb.data
    with nogil:
        if sparse:
            status = fm_dense_forward_sparse(&samples, &mw, bias, <fm_activation>activation, &mo)
        else:
            status = fm_dense_forward(&mx, &mw, bias, <fm_activation>activation, &mo)
    check(status)


def dense_backward(dy, x, w, dx, dw, db):
    cdef fm_matrix mdy = view(dy), mx = view(x), mw = view(w)
    cdef fm_matrix mdx = view(dx, True), mdw = view(dw, True), mdb = view(db, True)
    cdef fm_status status
    with nogil:
        status = fm_dense_backward(&mdy, &mx, &mw, &mdx, &mdw, mdb.data)
    check(status)


def activate(int activation, z, out):
    cdef fm_matrix mz = view(z), mo = view(out, True)
    cdef fm_status status
    with nogil:
        status = fm_activate(<fm_activation>activation, &mz, &mo)
    check(status)


def activate_backward(int activation, dy, y, out):
    cdef fm_matrix mdy = view(dy), my = view(y), mo = view(out, True)
    cdef fm_status status
    with nogil:
        status = fm_activate_backward(<fm_activation>activation, &mdy, &my, &mo)
    check(status)


def loss_gradient(loss, predictions, targets, weights, gradient):
    cdef fm_matrix mp = view(predictions), values, mg = view(gradient, True)
    cdef fm_targets mt = as_targets(targets, weights, &values)
    cdef fm_loss ml = as_loss(loss, mp.cols, mp.dtype, None)
    cdef double mean = 0
    cdef fm_status status
    with nogil:
        status = fm_loss_gradient(&ml, &mp, &mt, &mean, &mg)
    check(status)
    return mean


def sgd_update(params, grads, double lr):
    cdef fm_matrix mp = view(params, True), mg = view(grads)
    cdef fm_status status
    with nogil:
        status = fm_sgd_update(mp.dtype, mp.rows * mp.cols, mp.data, mg.data, lr)
    check(status)


def all_finite(x, bint double_precision):
    cdef fm_matrix mx = view(x)
    cdef fm_dtype as_dtype = FM_FLOAT64 if double_precision else FM_FLOAT32
    cdef int finite = 0
    cdef fm_status status
    with nogil:
        status = fm_all_finite(&mx, as_dtype, &finite)
    check(status)
    return bool(finite)


def shuffle(uint64_t seed, uint64_t epoch, order, uint64_t part=0):
    cdef size_t count
    cdef size_t *data = <size_t *>indices(order, &count)
    with nogil:
        fm_shuffle(count, seed, epoch, part, data)


cdef class Reporter:
    # What the progress function of a running epoch needs, and the exception it met.
    cdef object function
    cdef object raised
    # The optimizer's state, and its steps before the epoch.
    cdef object state
    cdef uint64_t steps


cdef tuple sums_of(const fm_totals *totals):
    return (
        totals.loss, totals.weight, totals.correct, totals.samples, totals.steps, totals.penalty
    )


cdef int report(void *context, const fm_totals *totals) noexcept with gil:
    reporter = <Reporter>context
    try:
        PyErr_CheckSignals()
        if reporter.function is not None and totals.samples:
            reporter.state.steps = reporter.steps + totals.steps
            reporter.function(*sums_of(totals))
    except BaseException as error:
        reporter.raised = error
        return 1
    return 0


cdef class LossCaller:
    # What a Python loss needs, and the exception it met. Its arrays are views of the workspace's
    # array, which they keep alive.
    cdef object function
    cdef object workspace
    cdef char *base
    cdef object raised

    cdef object rows_of(self, const void *data, size_t rows, size_t cols, ptrdiff_t stride,
                        str code):
        cdef size_t item = 4 if code == "f" else 8
        cdef size_t begin = <size_t>(<const char *>data - self.base)
        array = self.workspace[begin:begin + rows * <size_t>stride * item].view(code)
        return array.reshape(rows, stride)[:, :cols]


cdef int call_loss(void *context, const fm_matrix *predictions, const size_t *rows,
                   const fm_matrix *gradient, double *mean) noexcept with gil:
    caller = <LossCaller>context
    cdef str code = "f" if predictions.dtype == FM_FLOAT32 else "d"
    cdef size_t count = predictions.rows, cols = predictions.cols
    try:
        z = caller.rows_of(predictions.data, count, cols, predictions.stride, code)
        indices = caller.rows_of(rows, 1, count, count, "p")[0]
        z.flags.writeable = indices.flags.writeable = False
        mean[0] = caller.function(
            z, indices, caller.rows_of(gradient.data, count, cols, gradient.stride, code)
        )
    except BaseException as error:
        caller.raised = error
        return 1
    return 0


# (code, parameter, weights, scale), or (code, function, None, 1) with what calls the function.
cdef fm_loss as_loss(object loss, size_t outputs, fm_dtype dtype, LossCaller caller) except *:
    cdef fm_loss as_struct
    cdef fm_matrix m
    code, parameter, weights, scale = loss
    as_struct.kind = <fm_loss_kind><int>code
    as_struct.parameter = 0
    as_struct.scale = scale
    as_struct.weights = NULL
    as_struct.function = NULL
    as_struct.context = NULL
    if as_struct.kind == FM_CUSTOM_LOSS:
        if caller is not None:
            caller.function = parameter
            as_struct.context = <void *>caller
        as_struct.function = <fm_loss_function>call_loss
        return as_struct
    as_struct.parameter = parameter
    if weights is not None:
        m = view(weights)
        if m.dtype != dtype or m.rows != 1 or m.cols != outputs:
            raise ValueError("one weight for each output expected, of the predictions' dtype")
        as_struct.weights = m.data
    return as_struct


# (code, beta1, beta2, epsilon, weight_decay, epsilon_hat), (l1, l2, penalty_per_sample, clip_norm,
# max_norm, ema); the state and the average are added by who has them.
cdef fm_optimizer as_optimizer(object optimizer) except *:
    cdef fm_optimizer as_struct
    cdef size_t i
    rule, regularization = optimizer
    code, beta1, beta2, epsilon, weight_decay, epsilon_hat = rule
    l1, l2, as_struct.penalty_per_sample, clip_norm, max_norm, ema = regularization
    as_struct.l1, as_struct.l2 = l1, l2
    as_struct.clip_norm, as_struct.max_norm, as_struct.ema = clip_norm, max_norm, ema
    as_struct.average = NULL
    as_struct.kind = <fm_update_kind><int>code
    as_struct.beta1, as_struct.beta2 = beta1, beta2
    as_struct.epsilon, as_struct.weight_decay = epsilon, weight_decay
    as_struct.epsilon_hat = epsilon_hat
    as_struct.steps = 0
    for i in range(FM_STATES):
        as_struct.state[i] = NULL
    return as_struct


# NULL, which the core reports as out of memory, where there is not so much.
cdef void *allocate(size_t size) noexcept nogil:
    cdef void *memory
    return NULL if posix_memalign(&memory, FM_ALIGNMENT, size) else memory


cdef class Model:
    # What a capsule points into, with the objects that this needs.
    cdef fm_model model
    cdef object network, parameters


cdef void release_model(object capsule) noexcept:
    Py_XDECREF(<PyObject *>PyCapsule_GetContext(capsule))


cdef class Network:
    """A plan of layers: `layers` lists (inputs, outputs, index into ACTIVATIONS)."""

    cdef fm_network *plan
    cdef fm_dtype dtype
    cdef size_t inputs, outputs, n_layers

    def __cinit__(self, bint double_precision, layers):
        cdef size_t n = len(layers), i
        cdef fm_dense_spec *specs = <fm_dense_spec *>malloc(max(n, 1) * sizeof(fm_dense_spec))
        if specs == NULL:
            raise MemoryError
        try:
            for i in range(n):
                specs[i].inputs, specs[i].outputs = layers[i][0], layers[i][1]
                specs[i].activation = <fm_activation><int>layers[i][2]
            self.dtype = FM_FLOAT64 if double_precision else FM_FLOAT32
            self.inputs = layers[0][0] if n else 0
            self.outputs = layers[n - 1][1] if n else 0
            self.n_layers = n
            check(fm_network_create(self.dtype, specs, n, &self.plan))
        finally:
            free(specs)

    def __dealloc__(self):
        fm_network_free(self.plan)

    @property
    def n_parameters(self):
        return fm_network_parameters(self.plan)

    def layout(self, size_t layer):
        cdef fm_layer_layout layout
        check(fm_network_layout(self.plan, layer, &layout))
        return layout.weight, layout.weight_stride, layout.bias

    def model(self, parameters):
        """Return a capsule of an fm_model, which keeps the network and the parameters alive."""
        cdef fm_matrix mp = view(parameters)
        cdef Model holder = Model()
        if mp.dtype != self.dtype or mp.rows * mp.cols != fm_network_parameters(self.plan):
            raise ValueError("not the parameters of this network")
        holder.network, holder.parameters = self, parameters
        holder.model.network, holder.model.parameters = self.plan, mp.data
        holder.model.inputs, holder.model.outputs = self.inputs, self.outputs
        holder.model.dtype = self.dtype
        capsule = PyCapsule_New(&holder.model, "fastmlp.fm_model", release_model)
        PyCapsule_SetContext(capsule, <void *>holder)
        Py_INCREF(holder)
        return capsule

    cdef fm_loss loss_of(self, object loss, LossCaller caller) except *:
        return as_loss(loss, self.outputs, self.dtype, caller)

    cdef const double *chances_of(self, dropout) except? NULL:
        """Return what each layer's inputs are dropped by, from a float64 array or None."""
        cdef fm_matrix m
        if dropout is None:
            return NULL
        m = view(dropout)
        if m.dtype != FM_FLOAT64 or m.rows != 1 or m.cols != self.n_layers:
            raise ValueError("one chance for each layer expected, as float64")
        return <const double *>m.data

    def training_workspace(self, x, loss, optimizer, dropout, size_t batch_size, int threads):
        cdef fm_samples mx = as_samples(x)
        cdef fm_loss ml = self.loss_of(loss, None)
        cdef fm_optimizer mo
        cdef fm_optimizer *used = NULL
        if optimizer is not None:
            mo = as_optimizer(optimizer)
            used = &mo
        return fm_network_training_workspace(
            self.plan, &mx, &ml, used, self.chances_of(dropout), batch_size, threads
        )

    def train_epoch(self, parameters, x, y, weights, loss, optimizer, state, size_t batch_size,
                    int threads, rates, counting, bint shuffle, uint64_t seed, uint64_t epoch,
                    uint64_t part, dropout, size_t first, before, workspace, progress,
                    double poll_seconds):
        """Train an epoch or a part of it, from sample `first` of its order on; return the epoch's
        totals so far, and whether every loss was finite.

        Totals, such as those `before`, are the sums of losses and of weights, hits, samples, steps
        and the sum of penalties. The optimizer's `state` is kept up to date. What `progress` or a
        loss in Python raises is raised.
        """
        cdef fm_optimizer mo = as_optimizer(optimizer)
        cdef fm_matrix ms
        cdef fm_samples mx = as_samples(x)
        cdef fm_matrix mp = view(parameters, True), mr = view(rates), values
        cdef fm_matrix mw = view(workspace, True)
        cdef fm_targets my = as_targets(y, weights, &values)
        cdef LossCaller caller = LossCaller()
        cdef fm_loss ml = self.loss_of(loss, caller)
        cdef fm_totals totals
        cdef fm_training options
        cdef fm_status status
        cdef Reporter reporter = Reporter()
        reporter.function = progress
        caller.workspace, caller.base = workspace, <char *>mw.data
        options.batch_size = batch_size
        options.threads = threads
        if first > mx.rows:
            raise ValueError("more samples done than there are")
        if mr.dtype != FM_FLOAT64 or mr.cols != (mx.rows - first + batch_size - 1) // batch_size:
            raise ValueError("one rate for each step expected, as float64")
        options.rates = <const double *>mr.data
        for i, array in enumerate(state.arrays()):
            ms = view(array, True)
            if ms.dtype != self.dtype or ms.cols != mp.cols:
                raise ValueError("a state laid out as the parameters expected")
            if <size_t>i < <size_t>len(state.buffers):
                mo.state[<size_t>i] = ms.data
            else:
                mo.average = ms.data
        mo.steps = state.steps
        options.optimizer = &mo
        options.mean_of_batches, options.loss_unit = counting
        options.shuffle = shuffle
        options.seed = seed
        options.epoch = epoch
        options.part = part
        options.dropout = self.chances_of(dropout)
        options.before.loss, options.before.weight = before[0], before[1]
        options.before.correct, options.before.samples = before[2], before[3]
        options.before.steps, options.before.penalty = before[4], before[5]
        options.first = first
        reporter.state, reporter.steps = state, state.steps - options.before.steps
        options.progress = <fm_progress>report
        options.progress_context = <void *>reporter
        options.poll_seconds = poll_seconds
        with nogil:
            status = fm_network_train_epoch(
                self.plan, mp.data, &mx, &my, &ml, &options, mw.data, mw.cols, &totals
            )
        state.steps = mo.steps
        if reporter.raised is not None:
            raise reporter.raised
        if caller.raised is not None:
            raise caller.raised
        if status != FM_ERROR_DIVERGED:
            check(status)
        return sums_of(&totals), status == FM_OK

    def gradient(self, parameters, x, y, weights, loss, int threads, gradient, workspace):
        """Fill `gradient` and return sum of losses, of weights, hits."""
        cdef fm_samples mx = as_samples(x)
        cdef fm_matrix mp = view(parameters), mg = view(gradient, True), values
        cdef fm_matrix mw = view(workspace, True)
        cdef fm_targets my = as_targets(y, weights, &values)
        cdef LossCaller caller = LossCaller()
        cdef fm_loss ml = self.loss_of(loss, caller)
        cdef fm_totals totals
        cdef fm_status status
        caller.workspace, caller.base = workspace, <char *>mw.data
        with nogil:
            status = fm_network_gradient(
                self.plan, mp.data, &mx, &my, &ml, threads, mg.data, mw.data, mw.cols, &totals
            )
        if caller.raised is not None:
            raise caller.raised
        check(status)
        return totals.loss, totals.weight, totals.correct

    # Every prediction has a workspace of its own, so that threads can share a network.
    def predict(self, parameters, x, bint logits, out):
        """Fill `out`; return whether all samples were finite."""
        cdef fm_samples mx = as_samples(x)
        cdef fm_matrix mp = view(parameters), mo = view(out, True)
        cdef fm_status status
        cdef size_t size
        cdef void *workspace
        with nogil:
            size = fm_network_inference_workspace(self.plan, mx.rows)
            workspace = allocate(size)
            status = fm_network_predict(self.plan, mp.data, &mx, logits, &mo, workspace, size)
            free(workspace)
        if status == FM_ERROR_NOT_FINITE:
            return False
        check(status)
        return True

    def evaluate(self, parameters, x, y, weights, loss):
        """Return sum of losses, of weights, hits; None where a sample was not finite.

        Not for losses over the batch.
        """
        cdef fm_samples mx = as_samples(x)
        cdef fm_matrix mp = view(parameters), values
        cdef fm_targets my = as_targets(y, weights, &values)
        cdef fm_loss ml = self.loss_of(loss, None)
        cdef fm_totals totals
        cdef fm_status status
        cdef size_t size
        cdef void *workspace
        with nogil:
            size = fm_network_inference_workspace(self.plan, mx.rows)
            workspace = allocate(size)
            status = fm_network_evaluate(
                self.plan, mp.data, &mx, &my, &ml, workspace, size, &totals
            )
            free(workspace)
        if status == FM_ERROR_NOT_FINITE:
            return None
        check(status)
        return totals.loss, totals.weight, totals.correct
