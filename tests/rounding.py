"""How far two evaluations of the same network may differ by rounding."""

import math

import numpy as np

OWN_ERROR = 8
"""Units in the last place within which any library computes an activation from exact input."""

OF_ONE = {"elu", "selu", "softplus", "gelu", "silu", "mish"}
"""Those whose small values some libraries have from differences of numbers about 1."""

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
STEEPEST = {"selu": SELU_SCALE * SELU_ALPHA, "gelu": 1.13, "silu": 1.1, "mish": 1.09}
"""Slopes above 1."""


def activate(name, z):
    """Return an activation in the dtype of z, by its definition."""
    if name == "softmax":
        raised = np.exp(z - z.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)
    return {
        "identity": lambda: z,
        "relu": lambda: np.maximum(z, 0),
        "sigmoid": lambda: 1 / (1 + np.exp(-z)),
        "tanh": lambda: np.tanh(z),
        "leaky_relu": lambda: np.maximum(z, 0.01 * z),
        "elu": lambda: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "selu": lambda: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        "gelu": lambda: z * np.vectorize(math.erfc)(-z / math.sqrt(2)) / 2,
        "silu": lambda: z / (1 + np.exp(-z)),
        "mish": lambda: z * np.tanh(np.log1p(np.exp(z))),
        "softplus": lambda: np.log1p(np.exp(z)),
        "exp": lambda: np.exp(z),
    }[name]()


def output_and_bound(net, X):
    """Return a network's output in float64, and how far each value of an output computed in the
    network's dtype, in any order of summation, may be from it.

    A sum of n products and a bias is off by at most (n + 1) eps times the sum of the magnitudes
    (Higham 2002, section 3.1), besides what the errors of its terms bring. An activation multiplies
    an error by its slope, softmax by the row sums of the Jacobian, which are within 1.
    """
    eps = float(np.finfo(net.dtype).eps)
    a = np.asarray(X, net.dtype).astype(np.float64)
    error = np.zeros_like(a)
    for w, b, name in zip(net.weights, net.biases, net.activations, strict=True):
        w, b = w.astype(np.float64), b.astype(np.float64)
        magnitude = (np.abs(a) + error) @ np.abs(w) + np.abs(b)
        error = error @ np.abs(w) + (len(w) + 1) * eps * magnitude
        z = a @ w + b
        a = activate(name, z)
        error = STEEPEST.get(name, 1) * error
        if name in OF_ONE:
            error = error + 2 * eps * (1 + np.abs(z))
        if name == "softmax":
            error = np.broadcast_to(error.max(axis=1, keepdims=True), a.shape)
        if name == "exp":
            error = a * np.expm1(error)
        # A difference of logits that is off by an ulp of theirs is within `error` already.
        error = error + OWN_ERROR * eps * np.abs(a)
    return a, error


def assert_same_output(net, X, *outputs):
    """Assert that outputs for X, each (n, n_outputs), are the network's to rounding.

    A bound that allows a visible difference shows nothing: that it is small is asserted too.
    """
    expected, bound = output_and_bound(net, X)
    assert bound.max() < 1e4 * np.finfo(net.dtype).eps * max(1, np.abs(expected).max())
    for output in outputs:
        assert output.dtype == net.dtype
        assert output.shape == expected.shape
        assert (np.abs(output - expected) <= bound).all()
