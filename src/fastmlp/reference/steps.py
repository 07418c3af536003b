"""Steps of the optimizers, in NumPy."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

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
