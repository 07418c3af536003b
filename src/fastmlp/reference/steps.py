"""Steps of the optimizers, and what else moves the weights, in NumPy."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NotFiniteError
from ..optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from . import ops

Array = npt.NDArray[Any]


def take(
    optimizer: Optimizer, w: Array, g: Array, states: list[Array], lr: float, number: int
) -> None:
    """Change the parameters w, and what the optimizer remembers of them, by a step in place.

    Parameters
    ----------
    g
        The gradient, shaped as w.
    states
        Arrays shaped as w, as many as `optimizers.STATES` says, zero before the first step.
    number
        Of the step, counted from 1.
    """
    if isinstance(optimizer, SGD):
        _sgd(optimizer, w, g, states, lr)
    elif isinstance(optimizer, Adam | AdamW):
        _adam(optimizer, w, g, states, lr, number)
    elif isinstance(optimizer, RMSprop):
        _rmsprop(optimizer, w, g, states, lr)


def penalty(weights: list[Array], l1: float, l2: float) -> float:
    """Return l1 sum |w| + l2 / 2 sum w^2 over all weights."""
    total = 0.0
    for w in weights:
        wide = w.astype(np.float64)
        total += l1 * float(np.abs(wide).sum()) + l2 / 2 * float((wide * wide).sum())
    return total


def add_penalty_gradient(
    weights: list[Array], gradients: list[Array], l1: float, l2: float
) -> None:
    """Add the penalty's gradient, l1 sign(w) + l2 w, to that of each layer's weights in place."""
    if l1 or l2:
        for w, g in zip(weights, gradients, strict=True):
            g += l1 * np.sign(w) + l2 * w


def clip(gradients: list[Array], limit: float) -> None:
    """Scale all gradients, in place, so that their Euclidean norm together is at most the limit.

    NotFiniteError when it is not finite.
    """
    norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients))
    if not math.isfinite(norm):
        raise NotFiniteError(f"the gradient's norm is {norm}")
    if norm > limit:
        for g in gradients:
            g *= limit / norm


def limit_norms(weights: list[Array], limit: float) -> None:
    """Scale the columns of each layer's weights, in place, to at most a Euclidean norm."""
    for w in weights:
        norms = np.sqrt((w.astype(np.float64) ** 2).sum(axis=0))
        over = norms > limit
        w[:, over] *= limit / norms[over]


def average(parameters: list[Array], averages: list[Array], decay: float) -> None:
    """Bring the exponential moving averages of the parameters up to date in place."""
    for p, a in zip(parameters, averages, strict=True):
        a += (1 - decay) * (p - a)


def _sgd(optimizer: SGD, w: Array, g: Array, states: list[Array], lr: float) -> None:
    if not optimizer.momentum:
        ops.sgd_update(w, g, lr)
        return
    (v,) = states
    v[...] = optimizer.momentum * v - lr * g
    w += optimizer.momentum * v - lr * g if optimizer.nesterov else v


def _adam(
    optimizer: Adam | AdamW, w: Array, g: Array, states: list[Array], lr: float, number: int
) -> None:
    m, v = states
    m[...] = optimizer.beta1 * m + (1 - optimizer.beta1) * g
    v[...] = optimizer.beta2 * v + (1 - optimizer.beta2) * g * g
    unbiased = math.sqrt(1 - optimizer.beta2**number)
    epsilon = optimizer.epsilon
    if isinstance(optimizer, AdamW):
        w *= 1 - lr * optimizer.weight_decay
    elif optimizer.epsilon_hat:
        epsilon /= unbiased
    w -= lr / (1 - optimizer.beta1**number) * (m / (np.sqrt(v) / unbiased + epsilon))


def _rmsprop(optimizer: RMSprop, w: Array, g: Array, states: list[Array], lr: float) -> None:
    v = states[0]
    v[...] = optimizer.rho * v + (1 - optimizer.rho) * g * g
    step = lr * (g / (np.sqrt(v) + optimizer.epsilon))
    if not optimizer.momentum:
        w -= step
        return
    u = states[1]
    u[...] = optimizer.momentum * u - step
    w += u
