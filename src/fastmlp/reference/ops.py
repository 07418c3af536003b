"""The operations of a dense network, written to be read.

Rows are samples: x is (n, n_in), w is (n_in, n_out), b is (n_out,). Every array is float32 or
float64, all arrays of a call have one dtype, and so has the result; sums that make a loss are
taken in float64. A wrong dtype raises TypeError, a wrong or empty shape ValueError, both naming
the argument. NaN and infinity are not looked for and propagate.

Where an `out` array is taken the result is written into it and returned.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import op_arguments
from ..checks import Features
from ..sparse import SparseRows
from . import loss_parts
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
    "elu",
    "elu_backward",
    "exp",
    "exp_backward",
    "gelu",
    "gelu_backward",
    "huber",
    "identity",
    "identity_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "matmul",
    "mean_absolute_error",
    "mean_squared_error",
    "mish",
    "mish_backward",
    "poisson_with_log_rates",
    "relu",
    "relu_backward",
    "selu",
    "selu_backward",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_cross_entropy",
    "softmax_dice",
    "softmax_focal",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]

Array = npt.NDArray[Any]

LEAK = 0.01
"""The slope of leaky_relu where z is negative."""

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
"""Klambauer et al. 2017, "Self-normalizing neural networks"."""

FAR_OUT = 1000.0
"""Where gelu, silu and mish are 0 on the one side and z on the other: to be multiplied by a 0, an
infinite z is taken for this."""


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
    `activation` is the name of any of the activations below. `out` must not overlap x, w or b.
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


# Activations: each backward takes the gradient dy at the output y, and y, or z where it says so --


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


def leaky_relu(z: Array, out: Array | None = None) -> Array:
    """Return z where it is positive, 0.01 z elsewhere, any shape. `out` may be z."""
    z, out = op_arguments.function(z, out)
    np.copyto(out, np.where(z < 0, LEAK * z, z))
    return out


def leaky_relu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy where y = leaky_relu(z) is positive and 0.01 dy elsewhere. `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.copyto(out, np.where(y > 0, dy, LEAK * dy))
    return out


def elu(z: Array, out: Array | None = None) -> Array:
    """Return z where it is positive, exp(z) - 1 elsewhere, any shape. `out` may be z."""
    z, out = op_arguments.function(z, out)
    np.copyto(out, np.where(z < 0, np.expm1(np.minimum(z, 0)), z))
    return out


def elu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy where y = elu(z) is positive and dy (y + 1) elsewhere. `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.multiply(dy, np.where(y > 0, 1, y + 1), out=out)
    return out


def selu(z: Array, out: Array | None = None) -> Array:
    """Return s z where z is positive, s a (exp(z) - 1) elsewhere, any shape. `out` may be z.

    s = 1.0507... and a = 1.6732... keep mean 0 and variance 1 from layer to layer (Klambauer et al.
    2017).
    """
    z, out = op_arguments.function(z, out)
    with np.errstate(over="ignore"):
        above = SELU_SCALE * z
    below = SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(z, 0))
    np.copyto(out, np.where(z < 0, below, above))
    return out


def selu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy s where y = selu(z) is positive, dy (y + s a) elsewhere. `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.multiply(dy, np.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA), out=out)
    return out


def softplus(z: Array, out: Array | None = None) -> Array:
    """Return log(1 + exp(z)) element by element, any shape. `out` may be z.

    Written with exp(-|z|), which cannot overflow.
    """
    z, out = op_arguments.function(z, out)
    np.copyto(out, loss_parts.softplus(z))
    return out


def softplus_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy (1 - exp(-y)), where y = softplus(z). `out` may be dy or y."""
    dy, y, out = op_arguments.derivative(dy, y, out)
    np.multiply(dy, -np.expm1(-y), out=out)
    return out


def _normal_distribution(z: Array) -> Array:
    """Return (1 + erf(z / sqrt(2))) / 2, as a half of erfc, which does not cancel below 0."""
    tails = np.frompyfunc(math.erfc, 1, 1)(z.astype(np.float64) / -math.sqrt(2))
    return (np.asarray(tails, np.float64) / 2).astype(z.dtype)


def gelu(z: Array, out: Array | None = None) -> Array:
    """Return z P(z) with the normal distribution P, any shape. `out` may be z.

    P(z) = (1 + erf(z / sqrt(2))) / 2, not one of its approximations (Hendrycks and Gimpel 2016).
    """
    z, out = op_arguments.function(z, out)
    np.multiply(np.maximum(z, -FAR_OUT), _normal_distribution(z), out=out)
    return out


def gelu_backward(dy: Array, z: Array, out: Array | None = None) -> Array:
    """Return dy (P(z) + z p(z)), p the normal density. `out` may be dy or z.

    Takes z, which y = gelu(z) does not tell.
    """
    dy, z, out = op_arguments.derivative(dy, z, out, "z")
    near = np.clip(z, -FAR_OUT, FAR_OUT)
    density = np.exp(-near * near / 2) / math.sqrt(2 * math.pi)
    np.multiply(dy, _normal_distribution(z) + near * density, out=out)
    return out


def silu(z: Array, out: Array | None = None) -> Array:
    """Return z sigmoid(z) element by element, any shape. `out` may be z."""
    z, out = op_arguments.function(z, out)
    np.multiply(np.maximum(z, -FAR_OUT), loss_parts.sigmoid(z), out=out)
    return out


def silu_backward(dy: Array, z: Array, out: Array | None = None) -> Array:
    """Return dy s (1 + z (1 - s)), where s = sigmoid(z). `out` may be dy or z.

    Takes z, which y = silu(z) does not tell.
    """
    dy, z, out = op_arguments.derivative(dy, z, out, "z")
    near = np.clip(z, -FAR_OUT, FAR_OUT)
    slope = loss_parts.sigmoid(z) * (1 + near * loss_parts.sigmoid(-z))
    np.multiply(dy, slope, out=out)
    return out


def mish(z: Array, out: Array | None = None) -> Array:
    """Return z tanh(softplus(z)) element by element, any shape. `out` may be z."""
    z, out = op_arguments.function(z, out)
    np.multiply(np.maximum(z, -FAR_OUT), np.tanh(loss_parts.softplus(z)), out=out)
    return out


def mish_backward(dy: Array, z: Array, out: Array | None = None) -> Array:
    """Return dy (t + z (1 - t²) sigmoid(z)), t = tanh(softplus(z)). `out` may be dy or z.

    Takes z, which y = mish(z) does not tell.

    1 - t² is taken as 1 / cosh(softplus(z))², which keeps its digits when t is close to 1.
    """
    dy, z, out = op_arguments.derivative(dy, z, out, "z")
    near = np.clip(z, -FAR_OUT, FAR_OUT)
    soft = loss_parts.softplus(near)
    # Half of what would overflow, as its square does not.
    t, rest = np.tanh(soft), 1 / np.cosh(np.minimum(soft, 40)) ** 2
    np.multiply(dy, t + near * rest * loss_parts.sigmoid(near), out=out)
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
    "leaky_relu": (leaky_relu, leaky_relu_backward),
    "elu": (elu, elu_backward),
    "selu": (selu, selu_backward),
    "softplus": (softplus, softplus_backward),
    "gelu": (gelu, gelu_backward),
    "silu": (silu, silu_backward),
    "mish": (mish, mish_backward),
    "exp": (exp, exp_backward),
}
"""The pointwise activations, each with its backward, by name."""

TAKING_Z = ("gelu", "silu", "mish")
"""Those whose backward takes z in the place of y."""

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
