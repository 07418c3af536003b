"""The losses of `fastmlp.ops`: checks and allocation here, arithmetic in the core.

Formulas and sources are in `fastmlp.losses`, at the class of each loss. Every function returns the
mean over the samples, with weights sum(w_i L_i) / sum(w_i), and its gradient.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, op_arguments
from .losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
)
from .losses.base import factor_array
from .memory import flat, rows

Array = npt.NDArray[Any]

LOSS_CODES = {name: code for code, name in enumerate(_core.LOSSES)}
CoreLoss = tuple[int, Any, Array | None, float]
"""A loss as the core takes it: code, parameter, a factor for each output, and one for all."""


def core_loss(loss: Loss, output: str, n_outputs: int, dtype: np.dtype[Any]) -> CoreLoss:
    """Return a loss behind an output activation as the core takes it."""
    kernel = loss.kernel(output)
    factors = factor_array(kernel.factors, n_outputs, dtype)
    return LOSS_CODES[kernel.name], kernel.parameter, factors, loss.scale


def _class_loss(
    loss: Loss, logits: Array, targets: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[float, Array]:
    """Return a loss over the classes of a softmax, and its gradient."""
    logits, targets, weights = op_arguments.class_targets(loss, logits, targets, sample_weight)
    code = core_loss(loss, "softmax", logits.shape[1], logits.dtype)
    gradient = np.empty(logits.shape, logits.dtype)
    if targets.ndim == 2:
        targets = rows(targets)
    return _core.loss_gradient(code, rows(logits), targets, weights, gradient), gradient


def _element_loss(
    loss: Loss,
    predictions: Array,
    targets: Array,
    sample_weight: npt.ArrayLike | None,
    name: str = "predictions",
) -> tuple[float, Array]:
    """Return a loss over elements of arrays of any shape, and its gradient."""
    p, t, weights = op_arguments.element_targets(loss, predictions, targets, sample_weight, name)
    gradient = np.empty(p.shape, p.dtype)
    # Where samples and outputs make no difference, a vector is faster as one row than as a column.
    one_row = p.ndim < 2 and weights is None and not loss.couples_samples
    matrix = (1 if one_row else len(p) if p.ndim else 1, -1)
    p, t = flat(p).reshape(matrix), flat(t).reshape(matrix)
    # All losses of single elements have a sigmoid among their outputs, or but one kernel.
    code = core_loss(loss, loss.outputs[-1], p.shape[1], p.dtype)
    return _core.loss_gradient(code, p, t, weights, gradient.reshape(p.shape)), gradient


# Behind a softmax -----------------------------------------------------------------------------


def softmax_cross_entropy(
    logits: Array,
    targets: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    class_weight: Any = None,
) -> tuple[float, Array]:
    """Return the mean cross-entropy of softmax(logits) over the rows, and its gradient.

    Parameters
    ----------
    logits
        (n, k).
    targets
        (n,) class indices of an integer dtype in [0, k), or (n, k) weights of the classes of the
        logits' dtype, rows of probabilities as a rule.
    sample_weight
        (n,) finite numbers of at least 0, not all 0; or None.
    label_smoothing, class_weight
        As for `fastmlp.losses.CrossEntropy`.

    Returns
    -------
    loss : float
        Mean of -sum(t' log softmax(z)), t' the smoothed targets.
    dlogits : ndarray
        softmax(z) sum(t') - t' by row, times the sample's share of the mean: y - t for
        probabilities, from the softmax's Jacobian y_i (d_ij - y_j).
    """
    return _class_loss(CrossEntropy(label_smoothing, class_weight), logits, targets, sample_weight)


def softmax_focal(
    logits: Array,
    targets: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    gamma: float = 2.0,
    alpha: npt.ArrayLike | None = None,
) -> tuple[float, Array]:
    """Return the mean focal loss of softmax(logits) over the rows, and its gradient.

    Parameters
    ----------
    logits, targets, sample_weight
        As for `softmax_cross_entropy`, which this is for a gamma of 0 without alpha.
    gamma, alpha
        As for `fastmlp.losses.Focal`.

    Returns
    -------
    loss : float
        Mean of -sum(a t (1 - p)^gamma log p), p = softmax(z).
    dlogits : ndarray
        q - p sum(q) by row with q = a t (gamma p (1 - p)^(gamma - 1) log p - (1 - p)^gamma), times
        the sample's share of the mean.
    """
    return _class_loss(Focal(gamma, alpha), logits, targets, sample_weight)


def softmax_dice(
    logits: Array,
    targets: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    per: str = "batch",
    smoothing: float = 1.0,
) -> tuple[float, Array]:
    """Return the soft Dice loss of softmax(logits), and its gradient.

    Parameters
    ----------
    logits, targets, sample_weight
        As for `softmax_cross_entropy`.
    per, smoothing
        As for `fastmlp.losses.Dice`.

    Returns
    -------
    loss : float
        Mean over the classes of 1 - (2 I + smoothing) / (U + smoothing), where I and U are sums of
        y t and y + t over the batch; or mean over rows and classes of the same for each element.
    dlogits : ndarray
        y (g - sum(g y)) by row, g the gradient for y = softmax(z).
    """
    return _class_loss(Dice(per, smoothing), logits, targets, sample_weight)


# Behind a sigmoid -----------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    logits: Array,
    targets: Array,
    sample_weight: npt.ArrayLike | None = None,
    pos_weight: npt.ArrayLike | None = None,
) -> tuple[float, Array]:
    """Return the mean logistic loss of sigmoid(logits) over all elements, and its gradient.

    Parameters
    ----------
    logits, targets
        Arrays of one shape, samples along the first axis, targets in [0, 1].
    sample_weight
        (n,) finite numbers of at least 0, not all 0; or None.
    pos_weight
        A factor of the positive targets, or one for each element of a sample; or None.

    Returns
    -------
    loss : float
        Mean of -(p t log y + (1 - t) log(1 - y)) with y = sigmoid(z) and p the positive weight, in
        the form p t softplus(-z) + (1 - t) softplus(z), which cannot overflow.
    dlogits : ndarray
        (1 - t) y - p t (1 - y), for p = 1 that is y - t, times the element's share of the mean.
    """
    return _element_loss(BinaryCrossEntropy(pos_weight), logits, targets, sample_weight, "logits")


def binary_focal_with_logits(
    logits: Array,
    targets: Array,
    sample_weight: npt.ArrayLike | None = None,
    gamma: float = 2.0,
    alpha: npt.ArrayLike | None = None,
) -> tuple[float, Array]:
    """Return the mean focal loss of sigmoid(logits) over all elements, and its gradient.

    Parameters
    ----------
    logits, targets, sample_weight
        As for `binary_cross_entropy_with_logits`, which this is for a gamma of 0 without alpha.
    gamma, alpha
        As for `fastmlp.losses.Focal`.

    Returns
    -------
    loss : float
        Mean of a t (1 - p)^gamma softplus(-z) + (1 - a) (1 - t) p^gamma softplus(z) with
        p = sigmoid(z), 1 in the place of both a and 1 - a without alpha.
    dlogits : ndarray
        -a t (1 - p)^gamma (gamma p softplus(-z) + 1 - p)
        + (1 - a) (1 - t) p^gamma (gamma (1 - p) softplus(z) + p), times the element's share of the
        mean.
    """
    return _element_loss(Focal(gamma, alpha), logits, targets, sample_weight, "logits")


def binary_dice_with_logits(
    logits: Array,
    targets: Array,
    sample_weight: npt.ArrayLike | None = None,
    per: str = "batch",
    smoothing: float = 1.0,
) -> tuple[float, Array]:
    """Return the soft Dice loss of sigmoid(logits), and its gradient.

    Parameters
    ----------
    logits, targets, sample_weight
        As for `binary_cross_entropy_with_logits`.
    per, smoothing
        As for `fastmlp.losses.Dice`.

    Returns
    -------
    loss : float
        As of `softmax_dice`, with the elements of a sample as the classes.
    dlogits : ndarray
        g y (1 - y), g the gradient for y = sigmoid(z).
    """
    return _element_loss(Dice(per, smoothing), logits, targets, sample_weight, "logits")


# Of numbers -----------------------------------------------------------------------------------


def mean_squared_error(
    predictions: Array, targets: Array, sample_weight: npt.ArrayLike | None = None
) -> tuple[float, Array]:
    """Return the mean of (p - t)² over all elements, and its gradient 2 (p - t) / size.

    Predictions and targets are arrays of one shape, samples along the first axis; with
    `sample_weight`, (n,), the mean over the samples is weighted.
    """
    return _element_loss(MeanSquaredError(), predictions, targets, sample_weight)


def mean_absolute_error(
    predictions: Array, targets: Array, sample_weight: npt.ArrayLike | None = None
) -> tuple[float, Array]:
    """Return the mean of |p - t| over all elements, and its gradient sign(p - t) / size.

    The gradient is 0 where p = t. Arguments are those of `mean_squared_error`.
    """
    return _element_loss(MeanAbsoluteError(), predictions, targets, sample_weight)


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
    return _element_loss(Huber(delta), predictions, targets, sample_weight)


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
    return _element_loss(Poisson(deviance), log_rates, targets, sample_weight, "log_rates")
