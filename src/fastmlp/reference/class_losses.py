"""The losses for classes of `fastmlp.ops` in NumPy, written to be read beside their formulas.

Formulas and sources are in `fastmlp.losses`, at the class of each loss. Every function returns the
mean over the samples, with weights sum(w_i L_i) / sum(w_i), and its gradient.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import op_arguments
from ..losses import BinaryCrossEntropy, CrossEntropy, Dice, Focal
from ..losses.base import factor_array
from .loss_parts import (
    element_mean,
    matrix,
    one_hot,
    shares_of,
    sigmoid,
    softmax_parts,
    softplus,
    weighted_mean,
)

Array = npt.NDArray[Any]


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
    loss = CrossEntropy(label_smoothing, class_weight)
    z, targets, weights = op_arguments.class_targets(loss, logits, targets, sample_weight)
    n, k = z.shape
    shares = shares_of(n, weights)
    shifted = z - z.max(axis=1, keepdims=True)
    dz = np.exp(shifted)
    sums = dz.sum(axis=1, keepdims=True)
    dz /= sums
    if targets.ndim == 1 and not loss.label_smoothing:
        cells = np.arange(n), targets
        losses = np.log(sums) - shifted[cells].reshape(n, 1)
        dz[cells] -= 1
        return weighted_mean(losses, dz, shares)
    t = one_hot(targets, z)
    total = t.sum(axis=1, keepdims=True)
    if loss.label_smoothing:
        t = t * (1 - loss.label_smoothing) + total * (loss.label_smoothing / k)
    # A class of weight 0 adds nothing, even where its logit is minus infinity.
    losses = np.zeros_like(z)
    np.multiply(t, np.log(sums) - shifted, where=t != 0, out=losses)
    dz *= total
    dz -= t
    return weighted_mean(losses, dz, shares)


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
    loss = Focal(gamma, alpha)
    if loss.gamma == 0 and loss.alpha is None:
        return softmax_cross_entropy(logits, targets, sample_weight)
    z, targets, weights = op_arguments.class_targets(loss, logits, targets, sample_weight)
    n, k = z.shape
    t = one_hot(targets, z)
    factors = factor_array(loss.alpha, k, z.dtype)
    if factors is not None:
        t = t * factors
    p, others, log = softmax_parts(z)
    power = others**loss.gamma
    # (1 - p)^(gamma - 1) log p would be infinity times 0 where p is 1 and gamma below 1, whereas
    # -log p / (1 - p) tends to 1 there. A class of weight 0 adds nothing, as in cross-entropy.
    ratio = np.divide(log, others, where=(others > 0) & (t != 0), out=np.ones_like(z))
    losses = np.zeros_like(z)
    np.multiply(t * power, log, where=t != 0, out=losses)
    q = np.zeros_like(z)
    np.multiply(-t * power, loss.gamma * p * ratio + 1, where=t != 0, out=q)
    return weighted_mean(losses, q - p * q.sum(axis=1, keepdims=True), shares_of(n, weights))


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
    loss = Dice(per, smoothing)
    z, targets, weights = op_arguments.class_targets(loss, logits, targets, sample_weight)
    y, _, _ = softmax_parts(z)
    value, dy = _dice(loss, y, one_hot(targets, z), weights)
    return value, y * (dy - (dy * y).sum(axis=1, keepdims=True))


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
    loss = BinaryCrossEntropy(pos_weight)
    z, t, weights = op_arguments.element_targets(loss, logits, targets, sample_weight, "logits")
    shape, z, t = z.shape, matrix(z), matrix(t)
    factors = factor_array(loss.pos_weight, z.shape[1], z.dtype)
    if factors is None:
        losses = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
        return element_mean(losses, sigmoid(z) - t, weights, shape)
    positive, negative = factors * t, 1 - t
    losses = positive * softplus(-z) + negative * softplus(z)
    derivatives = negative * sigmoid(z) - positive * sigmoid(-z)
    return element_mean(losses, derivatives, weights, shape)


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
    loss = Focal(gamma, alpha)
    if loss.gamma == 0 and loss.alpha is None:
        return binary_cross_entropy_with_logits(logits, targets, sample_weight)
    z, t, weights = op_arguments.element_targets(loss, logits, targets, sample_weight, "logits")
    shape, z, t = z.shape, matrix(z), matrix(t)
    factors = factor_array(loss.alpha, z.shape[1], z.dtype)
    positive, negative = t, 1 - t
    if factors is not None:
        positive, negative = factors * positive, (1 - factors) * negative
    p, others = sigmoid(z), sigmoid(-z)
    log_p, log_others = softplus(-z), softplus(z)
    positive = positive * np.exp(-loss.gamma * log_others)
    negative = negative * np.exp(-loss.gamma * log_p)
    losses = positive * log_p + negative * log_others
    derivatives = negative * (loss.gamma * others * log_others + p)
    derivatives -= positive * (loss.gamma * p * log_p + others)
    return element_mean(losses, derivatives, weights, shape)


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
    loss = Dice(per, smoothing)
    z, t, weights = op_arguments.element_targets(loss, logits, targets, sample_weight, "logits")
    shape, z, t = z.shape, matrix(z), matrix(t)
    y = sigmoid(z)
    value, dy = _dice(loss, y, t, weights)
    return value, (dy * y * sigmoid(-z)).reshape(shape)


def _dice(loss: Dice, y: Array, t: Array, weights: Array | None) -> tuple[float, Array]:
    """Return the Dice loss of probabilities, (n, k), and its gradient for them.

    1 - (2 I + e) / (U + e) is taken as (U - 2 I) / (U + e), and U - 2 I as a sum of
    y (1 - t) + t (1 - y), in which nothing cancels.
    """
    n, k = y.shape
    e = loss.smoothing
    apart = y * (1 - t) + t * (1 - y)
    if not loss.couples_samples:
        both = y + t + e
        divisor = np.where(both == 0, 1, both)
        losses = np.where(both == 0, 1, apart / divisor)
        # d/dy of apart / both is ((1 - 2 t) both - apart) / both^2.
        derivatives = np.where(both == 0, 0, (e - 2 * t * (t + e)) / divisor / divisor)
        return element_mean(losses, derivatives.astype(y.dtype, copy=False), weights, y.shape)
    w = np.ones((n, 1)) if weights is None else weights.reshape(n, 1)
    if not w.any():
        return 0.0, np.zeros_like(y)
    if weights is not None:
        # A power of 2, which cancels, so that no sum or quotient leaves float64.
        unit = np.ldexp(1.0, -max(int(np.frexp(max(w.sum(), e))[1]), -1000))
        w, e = unit * w, unit * e
    both = (w * (y + t)).sum(axis=0) + e
    divisor = np.where(both == 0, 1, both)
    losses = np.where(both == 0, 1, (w * apart).sum(axis=0) / divisor)
    ratio = (2 * (w * y * t).sum(axis=0) + e) / divisor
    gradient = w * np.where(both == 0, 0, (ratio - 2 * t) / (k * divisor))
    return float(losses.mean()), gradient.astype(y.dtype)
