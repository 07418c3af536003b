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
    `activation` is the name of any of the activations below. `out` must not overlap x, w or b.
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


# Activations: each backward takes the gradient dy at the output y, and y, or z where it says so --


def _apply(name: str, z: Array, out: Array | None) -> Array:
    """Apply a pointwise activation to an array of any shape."""
    z, out = op_arguments.function(z, out)
    result = flat(out)
    _core.activate(ACTIVATION_CODES[name], flat(z), result)
    return out if np.may_share_memory(result, out) else deliver(result, out)


def _apply_backward(
    name: str, dy: Array, y: Array, out: Array | None, argument: str = "y"
) -> Array:
    """Apply the derivative of a pointwise activation to arrays of any shape."""
    dy, y, out = op_arguments.derivative(dy, y, out, argument)
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


def leaky_relu(z: Array, out: Array | None = None) -> Array:
    """Return z where it is positive, 0.01 z elsewhere, any shape. `out` may be z."""
    return _apply("leaky_relu", z, out)


def leaky_relu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy where y = leaky_relu(z) is positive and 0.01 dy elsewhere. `out` may be dy or y."""
    return _apply_backward("leaky_relu", dy, y, out)


def elu(z: Array, out: Array | None = None) -> Array:
    """Return z where it is positive, exp(z) - 1 elsewhere, any shape. `out` may be z."""
    return _apply("elu", z, out)


def elu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy where y = elu(z) is positive and dy (y + 1) elsewhere. `out` may be dy or y."""
    return _apply_backward("elu", dy, y, out)


def selu(z: Array, out: Array | None = None) -> Array:
    """Return s z where z is positive, s a (exp(z) - 1) elsewhere, any shape. `out` may be z.

    s = 1.0507... and a = 1.6732... keep mean 0 and variance 1 from layer to layer (Klambauer et al.
    2017).
    """
    return _apply("selu", z, out)


def selu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy s where y = selu(z) is positive, dy (y + s a) elsewhere. `out` may be dy or y."""
    return _apply_backward("selu", dy, y, out)


def softplus(z: Array, out: Array | None = None) -> Array:
    """Return log(1 + exp(z)) element by element, any shape. `out` may be z."""
    return _apply("softplus", z, out)


def softplus_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dy (1 - exp(-y)), where y = softplus(z). `out` may be dy or y."""
    return _apply_backward("softplus", dy, y, out)


def gelu(z: Array, out: Array | None = None) -> Array:
    """Return z P(z) with the normal distribution P, any shape. `out` may be z.

    P(z) = (1 + erf(z / sqrt(2))) / 2, not one of its approximations (Hendrycks and Gimpel 2016).
    """
    return _apply("gelu", z, out)


def gelu_backward(dy: Array, z: Array, out: Array | None = None) -> Array:
    """Return dy (P(z) + z p(z)), p the normal density. `out` may be dy or z.

    Takes z, which y = gelu(z) does not tell.
    """
    return _apply_backward("gelu", dy, z, out, "z")


def silu(z: Array, out: Array | None = None) -> Array:
    """Return z sigmoid(z) element by element, any shape. `out` may be z."""
    return _apply("silu", z, out)


def silu_backward(dy: Array, z: Array, out: Array | None = None) -> Array:
    """Return dy s (1 + z (1 - s)), where s = sigmoid(z). `out` may be dy or z.

    Takes z, which y = silu(z) does not tell.
    """
    return _apply_backward("silu", dy, z, out, "z")


def mish(z: Array, out: Array | None = None) -> Array:
    """Return z tanh(softplus(z)) element by element, any shape. `out` may be z."""
    return _apply("mish", z, out)


def mish_backward(dy: Array, z: Array, out: Array | None = None) -> Array:
    """Return dy (t + z (1 - t²) sigmoid(z)), t = tanh(softplus(z)). `out` may be dy or z.

    Takes z, which y = mish(z) does not tell.
    """
    return _apply_backward("mish", dy, z, out, "z")


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
