"""The operations of a dense network in C: validation and allocation here, arithmetic in `_core`.

Rows are samples: x is (n, n_in), w is (n_in, n_out), b is (n_out,). Every array is float32 or
float64, all arrays of a call have one dtype, and so has the result; sums that make a loss are
taken in float64. A wrong dtype raises TypeError, a wrong or empty shape ValueError, both naming
the argument. NaN and infinity are not looked for and propagate.

Where an `out` array is taken the result is written into it and returned. Results are the same to
the bit for any number of threads. `fastmlp.reference.ops` has the same functions in NumPy.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, op_arguments
from .checks import Features
from .sparse import SparseRows

Array = npt.NDArray[Any]

ACTIVATION_CODES = {name: code for code, name in enumerate(_core.ACTIVATIONS)}
LOSS_CODES = {name: code for code, name in enumerate(_core.LOSSES)}


# Memory as the core takes it ------------------------------------------------------------------


def _rows(array: Array) -> Array:
    """Return a matrix whose rows are contiguous: the array itself if it can be read so."""
    usable = array.flags.aligned and (array.shape[1] == 1 or array.strides[1] == array.itemsize)
    return array if usable else np.array(array, order="C")


def _out_rows(out: Array) -> Array:
    """Return `out` if the core can write into it, else an array to be copied into it."""
    usable = (
        out.flags.aligned
        and (out.shape[1] == 1 or out.strides[1] == out.itemsize)
        and (out.shape[0] == 1 or out.strides[0] >= out.shape[1] * out.itemsize)
    )
    return out if usable else np.empty(out.shape, out.dtype)


def _oriented(array: Array, transpose: bool) -> tuple[Array, bool]:
    """Return a matrix with contiguous rows, and whether to transpose it: a transposed view needs
    no copy."""
    if array.shape[1] > 1 and array.strides[0] == array.itemsize and array.flags.aligned:
        return _rows(array.T), not transpose
    return _rows(array), transpose


def _flat(array: Array) -> Array:
    """Return the elements in order as one contiguous row: a view where that is possible."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array.reshape(-1)
    return np.array(array, order="C").reshape(-1)


def _deliver(result: Array, out: Array) -> Array:
    """Copy a result into `out`, unless it was written there."""
    if result is not out:
        out[...] = result.reshape(out.shape)
    return out


# Products -----------------------------------------------------------------------------------


def matmul(
    a: Array,
    b: Array,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
) -> Array:
    """Return the matrix product of a, or its transpose, and b, or its transpose.

    `out` must not overlap a or b.
    """
    # Small products would spend most of their time on the checks that follow.
    plain = _core.matmul_plain(a, b, transpose_a, transpose_b, out)
    if plain is not None:
        return plain
    a, b, out = op_arguments.product(a, b, transpose_a, transpose_b, out)
    a, transpose_a = _oriented(a, transpose_a)
    b, transpose_b = _oriented(b, transpose_b)
    result = _out_rows(out)
    _core.matmul(a, b, transpose_a, transpose_b, result)
    return _deliver(result, out)


def dense_forward(
    x: Features,
    w: Array,
    b: Array | None = None,
    activation: str = "identity",
    out: Array | None = None,
) -> Array:
    """Return activation(x w + b), shape (n, n_out).

    `x` may be a sparse matrix of SciPy's, which is not made dense.
    `activation` is identity, relu, sigmoid, tanh, softmax or log_softmax. `out` must not overlap
    x, w or b.
    """
    x, w, b, out = op_arguments.forward(x, w, b, activation, out)
    result = _out_rows(out)
    bias = None if b is None else _flat(b)
    samples = x if isinstance(x, SparseRows) else _rows(x)
    _core.dense_forward(samples, _rows(w), bias, ACTIVATION_CODES[activation], result)
    return _deliver(result, out)


def dense_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of a dense layer with respect to x, w and b.

    `dy` is (n, n_out), the loss's gradient with respect to the pre-activation x w + b: the
    activation's own backward comes first. Sums over the samples are plain sums, since the loss
    has already divided by their number.
    """
    dy, x, w = op_arguments.backward(dy, x, w)
    dx, dw, db = np.empty(x.shape, x.dtype), np.empty(w.shape, w.dtype), np.empty_like(dy[0])
    _core.dense_backward(_rows(dy), _rows(x), _rows(w), dx, dw, db)
    return dx, dw, db


# Activations: each backward takes the gradient dy at the activation's output y ----------------


def _apply(name: str, z: Array, out: Array | None) -> Array:
    """Apply a pointwise activation to an array of any shape."""
    z, out = op_arguments.function(z, out)
    result = _flat(out)
    _core.activate(ACTIVATION_CODES[name], _flat(z), result)
    return out if np.may_share_memory(result, out) else _deliver(result, out)


def _apply_backward(name: str, dy: Array, y: Array, out: Array | None) -> Array:
    """Apply the derivative of a pointwise activation to arrays of any shape."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    result = _flat(out)
    _core.activate_backward(ACTIVATION_CODES[name], _flat(dy), _flat(y), result)
    return out if np.may_share_memory(result, out) else _deliver(result, out)


def _apply_to_rows(name: str, z: Array, out: Array | None) -> Array:
    """Apply an activation that works on the rows of a matrix."""
    z, out = op_arguments.function(z, out, ndim=2)
    result = _out_rows(out)
    _core.activate(ACTIVATION_CODES[name], _rows(z), result)
    return _deliver(result, out)


def identity(z: Array, out: Array | None = None) -> Array:
    """Return a copy of z, of any shape. `out` may be z."""
    return _apply("identity", z, out)


def identity_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy. `out` may be dy or y."""
    return _apply_backward("identity", dy, y, out)


def relu(z: Array, out: Array | None = None) -> Array:
    """Return max(z, 0) element by element, any shape; -0.0 stays -0.0. `out` may be z."""
    return _apply("relu", z, out)


def relu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy where y = relu(z) is positive and 0 elsewhere. `out` may be dy or y."""
    return _apply_backward("relu", dy, y, out)


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(-z)) element by element, any shape. `out` may be z."""
    return _apply("sigmoid", z, out)


def sigmoid_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy y (1 - y), where y = sigmoid(z). `out` may be dy or y."""
    return _apply_backward("sigmoid", dy, y, out)


def tanh(z: Array, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent element by element, any shape. `out` may be z."""
    return _apply("tanh", z, out)


def tanh_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy (1 - y²), where y = tanh(z). `out` may be dy or y."""
    return _apply_backward("tanh", dy, y, out)


def softmax(z: Array, out: Array | None = None) -> Array:
    """Return exp(z) over its sum along each row of a matrix. `out` may be z."""
    return _apply_to_rows("softmax", z, out)


def log_softmax(z: Array, out: Array | None = None) -> Array:
    """Return the logarithm of softmax(z): z less its log-sum-exp, by row. `out` may be z."""
    return _apply_to_rows("log_softmax", z, out)


# Losses: each returns its value and its gradient with respect to the first argument -----------


def softmax_cross_entropy(logits: Array, targets: npt.ArrayLike) -> tuple[float, Array]:
    """Return the mean cross-entropy of softmax(logits) over the rows, and its gradient.

    Parameters
    ----------
    logits
        (n, k).
    targets
        (n,) class indices of an integer dtype in [0, k), or (n, k) weights of the classes of the
        logits' dtype, rows of probabilities as a rule.

    Returns
    -------
    loss : float
        -sum(t log softmax(z)) / n.
    dlogits : ndarray
        (softmax(z) sum(t) - t) / n, the sum by row.
    """
    logits, targets = op_arguments.class_targets(logits, targets)
    dlogits = np.empty(logits.shape, logits.dtype)
    if targets.ndim == 2:
        targets = _rows(targets)
    code = LOSS_CODES["softmax_cross_entropy"]
    return _core.loss_gradient(code, _rows(logits), targets, dlogits), dlogits


def _element_loss(name: str, predictions: Array, targets: Array) -> tuple[float, Array]:
    """Return a mean over all elements of arrays of any shape, and its gradient."""
    matrix = (predictions.shape[0] if predictions.ndim > 1 else 1, -1)
    gradient = np.empty(predictions.shape, predictions.dtype)
    loss = _core.loss_gradient(
        LOSS_CODES[name],
        _flat(predictions).reshape(matrix),
        _flat(targets).reshape(matrix),
        gradient.reshape(matrix),
    )
    return loss, gradient


def binary_cross_entropy_with_logits(logits: Array, targets: Array) -> tuple[float, Array]:
    """Return the mean logistic loss of sigmoid(logits) over all elements, and its gradient.

    Parameters
    ----------
    logits, targets
        Arrays of one shape, targets in [0, 1].

    Returns
    -------
    loss : float
        Mean of max(z, 0) - z t + log(1 + exp(-|z|)), which cannot overflow.
    dlogits : ndarray
        (sigmoid(z) - t) / size.
    """
    z, t = op_arguments.element_targets(logits, targets, "logits")
    return _element_loss("binary_cross_entropy", z, t)


def mean_squared_error(predictions: Array, targets: Array) -> tuple[float, Array]:
    """Return the mean of (p - t)² over all elements, and its gradient 2 (p - t) / size.

    Predictions and targets are arrays of one shape.
    """
    p, t = op_arguments.element_targets(predictions, targets, "predictions")
    return _element_loss("mean_squared_error", p, t)


# Update -------------------------------------------------------------------------------------


def sgd_update(params: Array, grads: Array, lr: float) -> Array:
    """Subtract lr times the gradients from the parameters, in place; return the parameters.

    Any shape; `lr` is a finite real number.
    """
    params, grads, lr = op_arguments.update(params, grads, lr)
    updated = _flat(params)
    _core.sgd_update(updated, _flat(grads), lr)
    return params if np.may_share_memory(updated, params) else _deliver(updated, params)
