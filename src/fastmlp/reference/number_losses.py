"""The losses for numbers of `fastmlp.ops` in NumPy, written to be read beside their formulas.

Formulas and sources are in `fastmlp.losses`, at the class of each loss. Every function returns the
mean over the samples, with weights sum(w_i L_i) / sum(w_i), and its gradient.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import op_arguments
from ..losses import Huber, MeanAbsoluteError, MeanSquaredError, Poisson
from .loss_parts import element_mean, matrix

Array = npt.NDArray[Any]


def mean_squared_error(
    predictions: Array, targets: Array, sample_weight: npt.ArrayLike | None = None
) -> tuple[float, Array]:
    """Return the mean of (p - t)² over all elements, and its gradient 2 (p - t) / size.

    Predictions and targets are arrays of one shape, samples along the first axis; with
    `sample_weight`, (n,), the mean over the samples is weighted.
    """
    loss = MeanSquaredError()
    p, t, weights = op_arguments.element_targets(
        loss, predictions, targets, sample_weight, "predictions"
    )
    error = matrix(p) - matrix(t)
    return element_mean(np.square(error, dtype=np.float64), 2 * error, weights, p.shape)


def mean_absolute_error(
    predictions: Array, targets: Array, sample_weight: npt.ArrayLike | None = None
) -> tuple[float, Array]:
    """Return the mean of |p - t| over all elements, and its gradient sign(p - t) / size.

    The gradient is 0 where p = t. Arguments are those of `mean_squared_error`.
    """
    loss = MeanAbsoluteError()
    p, t, weights = op_arguments.element_targets(
        loss, predictions, targets, sample_weight, "predictions"
    )
    error = matrix(p) - matrix(t)
    return element_mean(np.abs(error), np.sign(error), weights, p.shape)


def huber(
    predictions: Array,
    targets: Array,
    sample_weight: npt.ArrayLike | None = None,
    delta: float = 1.0,
) -> tuple[float, Array]:
    """Return the mean Huber loss over all elements, and its gradient.

    e² / 2 where |e| <= delta and delta (|e| - delta / 2) elsewhere, e = p - t; the derivative is e
    held to [-delta, delta]. Other arguments are those of `mean_squared_error`.
    """
    loss = Huber(delta)
    p, t, weights = op_arguments.element_targets(
        loss, predictions, targets, sample_weight, "predictions"
    )
    error = matrix(p) - matrix(t)
    # The smaller of |e| and delta, m, makes one formula of both: m (|e| - m / 2).
    size = np.abs(error)
    least = np.minimum(size, loss.delta)
    losses = least * (size - least / 2)
    return element_mean(losses, np.clip(error, -loss.delta, loss.delta), weights, p.shape)


def poisson_with_log_rates(
    log_rates: Array,
    targets: Array,
    sample_weight: npt.ArrayLike | None = None,
    deviance: bool = False,
) -> tuple[float, Array]:
    """Return the mean of exp(z) - t z over all elements, and its gradient (exp(z) - t) / size.

    Log-rates and targets, which are counts of at least 0, are arrays of one shape, samples along
    the first axis; with `sample_weight`, (n,), the mean over the samples is weighted. `deviance`
    adds t log(t) - t to the loss. Infinite where the rate exp(z) is beyond the dtype.
    """
    loss = Poisson(deviance)
    z, t, weights = op_arguments.element_targets(
        loss, log_rates, targets, sample_weight, "log_rates"
    )
    shape, z, t = z.shape, matrix(z), matrix(t)
    with np.errstate(over="ignore"):
        rates = np.exp(z)
    losses = rates - t * z
    if loss.deviance:
        positive = np.where(t > 0, t, 1)
        losses += t * np.log(positive) - t
    return element_mean(losses, rates - t, weights, shape)
