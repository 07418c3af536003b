"""The arguments of the ops, checked: one function for each signature, shared by both backends.

Each returns its arguments as float32 or float64 arrays of one dtype and fitting shapes, `out`
allocated where it was None, or raises the exceptions described in `checks`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import (
    Features,
    check_array,
    check_class_indices,
    check_numeric,
    check_out,
    check_pair,
    check_real,
    check_real_dtype,
    check_same_dtype,
    check_sample_weight,
    check_shape,
    is_same_memory,
)
from .losses import Loss
from .sparse import from_scipy, is_sparse

Array = npt.NDArray[Any]

ACTIVATIONS = (
    "identity",
    "relu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "gelu",
    "silu",
    "mish",
    "exp",
    "softmax",
    "log_softmax",
)
"""What `dense_forward` can apply."""


def product(
    a: Array, b: Array, transpose_a: bool, transpose_b: bool, out: Array | None
) -> tuple[Array, Array, Array]:
    """Check a, b and out of a matrix product."""
    a = check_array(a, "a", ndim=2)
    b = check_array(b, "b", ndim=2)
    check_same_dtype(b, "b", a, "a")
    left = a.shape[::-1] if transpose_a else a.shape
    right = b.shape[::-1] if transpose_b else b.shape
    if left[1] != right[0]:
        raise ValueError(f"b: {left} times {right} is no matrix product")
    shape = (left[0], right[1])
    return a, b, check_out(out, shape, a.dtype, {"a": a, "b": b}, in_place=False)


def forward(
    x: Features, w: Array, b: Array | None, activation: str, out: Array | None
) -> tuple[Features, Array, Array | None, Array]:
    """Check x, which may be sparse, w, b and out of a dense layer."""
    if is_sparse(x):
        x = from_scipy(x, "x")
        check_real_dtype(x, "x")
        if not len(x):
            raise ValueError(f"x is empty, its shape is {x.shape}")
        inputs = {"x.data": x.values}
    else:
        x = check_array(x, "x", ndim=2)  # type: ignore[arg-type]
        inputs = {"x": x}
    w = check_array(w, "w", ndim=2)
    check_same_dtype(w, "w", x, "x")
    n_in, n_out = w.shape
    check_shape(x, "x", (x.shape[0], n_in), "w")
    inputs["w"] = w
    if b is not None:
        b = check_array(b, "b", ndim=1)
        check_same_dtype(b, "b", x, "x")
        check_shape(b, "b", (n_out,), "w")
        inputs["b"] = b
    if not isinstance(activation, str):
        raise TypeError(f"activation must be a name, got {activation!r}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}: known are {', '.join(ACTIVATIONS)}")
    return x, w, b, check_out(out, (x.shape[0], n_out), x.dtype, inputs, in_place=False)


def backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """Check dy, x and w of a dense layer's gradient."""
    dy = check_array(dy, "dy", ndim=2)
    x = check_array(x, "x", ndim=2)
    w = check_array(w, "w", ndim=2)
    check_same_dtype(x, "x", dy, "dy")
    check_same_dtype(w, "w", dy, "dy")
    n, n_out = dy.shape
    check_shape(w, "w", (w.shape[0], n_out), "dy")
    check_shape(x, "x", (n, w.shape[0]), "dy and w")
    return dy, x, w


def function(z: Array, out: Array | None, ndim: int | None = None) -> tuple[Array, Array]:
    """Check z and out of a function of one array, which may work in place."""
    z = check_array(z, "z", ndim)
    return z, check_out(out, z.shape, z.dtype, {"z": z}, in_place=True)


def derivative(
    dy: Array, y: Array, out: Array | None, name: str = "y"
) -> tuple[Array, Array, Array]:
    """Check dy, y (or what has another name) and out of an activation's backward, which may work in
    place.
    """
    dy = check_array(dy, "dy")
    y = check_array(y, name)
    check_pair(dy, "dy", y, name)
    return dy, y, check_out(out, dy.shape, dy.dtype, {"dy": dy, name: y}, in_place=True)


def class_targets(
    loss: Loss, logits: Array, targets: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Check what a loss over the classes of a softmax takes.

    Class indices come back as int64, and with the samples' weights those of their classes.
    """
    logits = check_array(logits, "logits", ndim=2)
    n, k = logits.shape
    loss.check("softmax", k, logits.dtype)
    given = check_numeric(targets, "targets")
    if given.dtype.kind in "biu" and given.shape == (n, k):
        raise TypeError(
            f"targets must be {logits.dtype} like logits where its shape is, "
            f"its dtype is {given.dtype}: class indices are ({n},)"
        )
    if given.dtype.kind in "iu":
        check_shape(given, "targets", (n,), "logits")
        values: Array = check_class_indices(given, k, "targets")
    else:
        values = check_array(given, "targets", ndim=2)
        check_pair(logits, "logits", values, "targets")
    weights = check_sample_weight(sample_weight, n)
    return logits, values, loss.sample_weights(values, weights, k)


def element_targets(
    loss: Loss,
    predictions: Array,
    targets: Array,
    sample_weight: npt.ArrayLike | None,
    predictions_name: str,
) -> tuple[Array, Array, Array | None]:
    """Check what a loss over elements takes: arrays of one shape, samples along the first axis."""
    p = check_array(predictions, predictions_name)
    t = check_array(targets, "targets")
    check_pair(p, predictions_name, t, "targets")
    n = len(p) if p.ndim else 1
    # The last of the outputs of a loss for classes is the sigmoid, whose elements are separate.
    loss.check(loss.outputs[-1], p.size // n, p.dtype)
    return p, t, check_sample_weight(sample_weight, n)


def update(params: Array, grads: Array, lr: float) -> tuple[Array, Array, float]:
    """Check the arguments of an update in place."""
    if not isinstance(params, np.ndarray):
        raise TypeError(f"params must be a NumPy array, got {type(params).__name__}")
    params = check_array(params, "params")
    grads = check_array(grads, "grads")
    check_pair(params, "params", grads, "grads")
    if not params.flags.writeable:
        raise ValueError("params is read-only")
    if np.shares_memory(params, grads) and not is_same_memory(params, grads):
        raise ValueError("grads overlaps params")
    return params, grads, check_real(lr, "lr")
