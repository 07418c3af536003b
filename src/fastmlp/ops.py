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
from .loss_ops import (
    binary_cross_entropy_with_logits,
    binary_dice_with_logits,
    binary_focal_with_logits,
    huber,
    mean_absolute_error,
    mean_squared_error,
    poisson_with_log_rates,
    softmax_cross_entropy,
    softmax_dice,
    softmax_focal,
)
from .memory import deliver, flat, oriented, out_rows, rows
from .sparse import SparseRows

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_dice_with_logits",
    "binary_focal_with_logits",
    "dense_backward",
    "dense_forward",
    "exp",
    "exp_backward",
    "huber",
    "identity",
    "identity_backward",
    "log_softmax",
    "matmul",
    "mean_absolute_error",
    "mean_squared_error",
    "poisson_with_log_rates",
    "relu",
    "relu_backward",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_cross_entropy",
    "softmax_dice",
    "softmax_focal",
    "tanh",
    "tanh_backward",
]

Array = npt.NDArray[Any]

ACTIVATION_CODES = {name: code for code, name in enumerate(_core.ACTIVATIONS)}


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
    a, transpose_a = oriented(a, transpose_a)
    b, transpose_b = oriented(b, transpose_b)
    result = out_rows(out)
    _core.matmul(a, b, transpose_a, transpose_b, result)
    return deliver(result, out)


def dense_forward(
    x: Features,
    w: Array,
    b: Array | None = None,
    activation: str = "identity",
    out: Array | None = None,
) -> Array:
    """Return activation(x w + b), shape (n, n_out).

    `x` may be a sparse matrix of SciPy's, which is not made dense.
    `activation` is identity, relu, sigmoid, tanh, exp, softmax or log_softmax. `out` must not
    overlap x, w or b.
    """
    x, w, b, out = op_arguments.forward(x, w, b, activation, out)
    result = out_rows(out)
    bias = None if b is None else flat(b)
    samples = x if isinstance(x, SparseRows) else rows(x)
    _core.dense_forward(samples, rows(w), bias, ACTIVATION_CODES[activation], result)
    return deliver(result, out)


def dense_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of a dense layer with respect to x, w and b.

    `dy` is (n, n_out), the loss's gradient with respect to the pre-activation x w + b: the
    activation's own backward comes first. Sums over the samples are plain sums, since the loss
    has already divided by their number.
    """
    dy, x, w = op_arguments.backward(dy, x, w)
    dx, dw, db = np.empty(x.shape, x.dtype), np.empty(w.shape, w.dtype), np.empty_like(dy[0])
    _core.dense_backward(rows(dy), rows(x), rows(w), dx, dw, db)
    return dx, dw, db


# Activations: each backward takes the gradient dy at the activation's output y ----------------


def _apply(name: str, z: Array, out: Array | None) -> Array:
    """Apply a pointwise activation to an array of any shape."""
    z, out = op_arguments.function(z, out)
    result = flat(out)
    _core.activate(ACTIVATION_CODES[name], flat(z), result)
    return out if np.may_share_memory(result, out) else deliver(result, out)


def _apply_backward(name: str, dy: Array, y: Array, out: Array | None) -> Array:
    """Apply the derivative of a pointwise activation to arrays of any shape."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    result = flat(out)
    _core.activate_backward(ACTIVATION_CODES[name], flat(dy), flat(y), result)
    return out if np.may_share_memory(result, out) else deliver(result, out)


def _apply_to_rows(name: str, z: Array, out: Array | None) -> Array:
    """Apply an activation that works on the rows of a matrix."""
    z, out = op_arguments.function(z, out, ndim=2)
    result = out_rows(out)
    _core.activate(ACTIVATION_CODES[name], rows(z), result)
    return deliver(result, out)


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


def exp(z: Array, out: Array | None = None) -> Array:
    """Return exp(z) element by element, any shape; infinite beyond the dtype. `out` may be z."""
    return _apply("exp", z, out)


def exp_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy y, where y = exp(z). `out` may be dy or y."""
    return _apply_backward("exp", dy, y, out)


def softmax(z: Array, out: Array | None = None) -> Array:
    """Return exp(z) over its sum along each row of a matrix. `out` may be z."""
    return _apply_to_rows("softmax", z, out)


def log_softmax(z: Array, out: Array | None = None) -> Array:
    """Return the logarithm of softmax(z): z less its log-sum-exp, by row. `out` may be z."""
    return _apply_to_rows("log_softmax", z, out)


# Update -------------------------------------------------------------------------------------


def sgd_update(params: Array, grads: Array, lr: float) -> Array:
    """Subtract lr times the gradients from the parameters, in place; return the parameters.

    Any shape; `lr` is a finite real number.
    """
    params, grads, lr = op_arguments.update(params, grads, lr)
    updated = flat(params)
    _core.sgd_update(updated, flat(grads), lr)
    return params if np.may_share_memory(updated, params) else deliver(updated, params)
