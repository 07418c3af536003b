"""What the losses of the reference are made of."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def shares_of(n: int, weights: Array | None) -> Array:
    """Return each sample's share of the mean, (n, 1) float64; all 0 when all weights are."""
    if weights is None:
        return np.full((n, 1), 1 / n)
    total = weights.sum()
    return np.divide(weights, total if total else 1, dtype=np.float64).reshape(n, 1)


def weighted_mean(losses: Array, derivatives: Array, shares: Array) -> tuple[float, Array]:
    """Return the mean of the samples' losses, and its gradient in the place of the derivatives.

    `losses` is (n, 1), or (n, k) when a sample's loss is a sum of k.
    """
    derivatives *= shares.astype(derivatives.dtype)
    return float((losses * shares).sum()), derivatives


def element_mean(
    losses: Array, derivatives: Array, weights: Array | None, shape: tuple[int, ...]
) -> tuple[float, Array]:
    """Return the mean over samples and outputs, both (n, k), and its gradient of a given shape."""
    n, k = losses.shape
    loss, gradient = weighted_mean(losses, derivatives, shares_of(n, weights) / k)
    return loss, gradient.reshape(shape)


def matrix(array: Array) -> Array:
    """Return one row for each index of the first axis."""
    return array.reshape(len(array) if array.ndim else 1, -1)


def one_hot(targets: Array, like: Array) -> Array:
    """Return targets as one weight for each class, (n, k)."""
    if targets.ndim == 2:
        return targets
    rows = np.zeros_like(like)
    rows[np.arange(len(targets)), targets] = 1
    return rows


def softplus(z: Array) -> Array:
    """Return log(1 + exp(z)) = -log sigmoid(-z), in a form that cannot overflow."""
    return np.asarray(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), whose complement to 1 is that of -z."""
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1, small) / (1 + small))


def softmax_parts(z: Array) -> tuple[Array, Array, Array]:
    """Return p = softmax(z), 1 - p and -log p, each with all its digits, by row.

    With exp(z - max) = 1 for the largest class and a sum `rest` over the others, its 1 - p is
    rest / (1 + rest); all other p are at most a half, so that 1 - p loses nothing.
    """
    shifted = z - z.max(axis=1, keepdims=True)
    largest = np.arange(len(z)), z.argmax(axis=1)
    p = np.exp(shifted)
    p[largest] = 0
    rest = p.sum(axis=1, keepdims=True)
    p[largest] = 1
    p /= 1 + rest
    others = 1 - p
    others[largest] = (rest / (1 + rest))[:, 0]
    return p, others, np.log1p(rest) - shifted
