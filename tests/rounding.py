"""How far two evaluations of the same network may differ by rounding."""

import numpy as np

OWN_ERROR = 8
"""Units in the last place within which any library computes an activation from exact input."""


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
        "exp": lambda: np.exp(z),
    }[name]()


def output_and_bound(net, X):
    """Return a network's output in float64, and how far each value of an output computed in the
    network's dtype, in any order of summation, may be from it.

    A sum of n products and a bias is off by at most (n + 1) eps times the sum of the magnitudes
    (Higham 2002, section 3.1), besides what the errors of its terms bring. No activation but exp
    makes an error larger: their derivatives, of softmax the row sums of the Jacobian, are within 1.
    """
    eps = float(np.finfo(net.dtype).eps)
    a = np.asarray(X, net.dtype).astype(np.float64)
    error = np.zeros_like(a)
    for w, b, name in zip(net.weights, net.biases, net.activations, strict=True):
        w, b = w.astype(np.float64), b.astype(np.float64)
        magnitude = (np.abs(a) + error) @ np.abs(w) + np.abs(b)
        error = error @ np.abs(w) + (len(w) + 1) * eps * magnitude
        a = activate(name, a @ w + b)
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
