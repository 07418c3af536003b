"""The operations of a dense network, written to be read.

Rows are samples: x is (n, n_in), w is (n_in, n_out), b is (n_out,). Every array is float32 or
float64, all arrays of a call have one dtype, and so has the result; sums that make a loss are
taken in float64. A wrong dtype raises TypeError, a wrong or empty shape ValueError, both naming
the argument. NaN and infinity are not looked for and propagate.

Where an `out` array is taken the result is written into it and returned.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import op_arguments
from ..checks import Features
from ..sparse import SparseRows
from .class_losses import (
    binary_cross_entropy_with_logits,
    binary_dice_with_logits,
    binary_focal_with_logits,
    softmax_cross_entropy,
    softmax_dice,
    softmax_focal,
)
from .number_losses import (
    huber,
    mean_absolute_error,
    mean_squared_error,
    poisson_with_log_rates,
)

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
    a, b, out = op_arguments.product(a, b, transpose_a, transpose_b, out)
    left = a.T if transpose_a else a
    right = b.T if transpose_b else b
    return np.matmul(left, right, out=out)


def dense_forward(
    x: Features,
    w: Array,
    b: Array | None = None,
    activation: str = "identity",
    out: Array | None = None,
) -> Array:
    """Return activation(x w + b), shape (n, n_out).

    `x` may be a sparse matrix of SciPy's.
    `activation` is identity, relu, sigmoid, tanh, exp, softmax or log_softmax. `out` must not
    overlap x, w or b.
    """
    x, w, b, out = op_arguments.forward(x, w, b, activation, out)
    np.matmul(x.dense(slice(None)) if isinstance(x, SparseRows) else x, w, out=out)
    if b is not None:
        out += b
    return FORWARDS[activation](out, out=out)


def dense_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of a dense layer with respect to x, w and b.

    `dy` is (n, n_out), the loss's gradient with respect to the pre-activation x w + b: the
    activation's own backward comes first. Sums over the samples are plain sums, since the loss
    has already divided by their number.
    """
    dy, x, w = op_arguments.backward(dy, x, w)
    return np.matmul(dy, w.T), np.matmul(x.T, dy), dy.sum(axis=0)


# Activations: each backward takes the gradient dy at the activation's output y ----------------


def identity(z: Array, out: Array | None = None) -> Array:
    """Return a copy of z, of any shape. `out` may be z."""
    z, out = op_arguments.function(z, out)
    if out is not z:
        np.copyto(out, z)
    return out


def identity_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy. `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    if out is not dy:
        np.copyto(out, dy)
    return out


def relu(z: Array, out: Array | None = None) -> Array:
    """Return max(z, 0) element by element, any shape; -0.0 stays -0.0. `out` may be z."""
    z, out = op_arguments.function(z, out)
    # Not np.maximum, which may return either of two zeros.
    np.copyto(out, np.where(z < 0, 0, z))
    return out


def relu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy where y = relu(z) is positive and 0 elsewhere. `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.multiply(dy, y > 0, out=out)
    return out


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(-z)) element by element, any shape. `out` may be z.

    Written with exp(-|z|), which cannot overflow: for z < 0 it is exp(z) / (1 + exp(z)).
    """
    z, out = op_arguments.function(z, out)
    small = np.exp(-np.abs(z))
    np.divide(np.where(z >= 0, 1, small), 1 + small, out=out)
    return out


def sigmoid_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy y (1 - y), where y = sigmoid(z). `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.multiply(dy, y * (1 - y), out=out)
    return out


def tanh(z: Array, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent element by element, any shape. `out` may be z."""
    z, out = op_arguments.function(z, out)
    np.tanh(z, out=out)
    return out


def tanh_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy (1 - y²), where y = tanh(z). `out` may be dy or y.

    1 - y² is taken as (1 - y)(1 + y), which keeps its digits when |y| is close to 1.
    """
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.multiply(dy, (1 - y) * (1 + y), out=out)
    return out


def exp(z: Array, out: Array | None = None) -> Array:
    """Return exp(z) element by element, any shape; infinite beyond the dtype. `out` may be z."""
    z, out = op_arguments.function(z, out)
    with np.errstate(over="ignore"):
        np.exp(z, out=out)
    return out


def exp_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy y, where y = exp(z). `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.multiply(dy, y, out=out)
    return out


def softmax(z: Array, out: Array | None = None) -> Array:
    """Return exp(z) over its sum along each row of a matrix. `out` may be z.

    Each row is shifted by its maximum first, which changes nothing but keeps exp in range.
    """
    z, out = op_arguments.function(z, out, ndim=2)
    np.subtract(z, z.max(axis=1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=1, keepdims=True)
    return out


def log_softmax(z: Array, out: Array | None = None) -> Array:
    """Return the logarithm of softmax(z): z less its log-sum-exp, by row. `out` may be z."""
    z, out = op_arguments.function(z, out, ndim=2)
    np.subtract(z, z.max(axis=1, keepdims=True), out=out)
    out -= np.log(np.exp(out).sum(axis=1, keepdims=True))
    return out


ACTIVATIONS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "identity": (identity, identity_backward),
    "relu": (relu, relu_backward),
    "sigmoid": (sigmoid, sigmoid_backward),
    "tanh": (tanh, tanh_backward),
    "exp": (exp, exp_backward),
}
"""The pointwise activations, each with its backward, by name."""

FORWARDS: dict[str, Callable[..., Array]] = {
    **{name: forward for name, (forward, _) in ACTIVATIONS.items()},
    "softmax": softmax,
    "log_softmax": log_softmax,
}
"""What `dense_forward` can apply, by name."""


# Update -------------------------------------------------------------------------------------


def sgd_update(params: Array, grads: Array, lr: float) -> Array:
    """Subtract lr times the gradients from the parameters, in place; return the parameters.

    Any shape; `lr` is a finite real number.
    """
    params, grads, lr = op_arguments.update(params, grads, lr)
    params -= lr * grads
    return params
