"""The losses of `fastmlp.ops` in NumPy, written to be read beside their formulas.

Formulas and sources are in `fastmlp.losses`, at the class of each loss. Every function returns the
mean over the samples, with weights sum(w_i L_i) / sum(w_i), and its gradient.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import op_arguments
from ..losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
)
from ..losses.base import factor_array

Array = npt.NDArray[Any]


# What the losses share ------------------------------------------------------------------------


def _shares(n: int, weights: Array | None) -> Array:
    """Return each sample's share of the mean, (n, 1) float64; all 0 when all weights are."""
    if weights is None:
        return np.full((n, 1), 1 / n)
    total = weights.sum()
    return np.divide(weights, total if total else 1, dtype=np.float64).reshape(n, 1)


def _mean(losses: Array, derivatives: Array, shares: Array) -> tuple[float, Array]:
    """Return the mean of the samples' losses, and its gradient in the place of the derivatives.

    `losses` is (n, 1), or (n, k) when a sample's loss is a sum of k.
    """
    derivatives *= shares.astype(derivatives.dtype)
    return float((losses * shares).sum()), derivatives


def _element_mean(
    losses: Array, derivatives: Array, weights: Array | None, shape: tuple[int, ...]
) -> tuple[float, Array]:
    """Return the mean over samples and outputs, both (n, k), and its gradient of a given shape."""
    n, k = losses.shape
    loss, gradient = _mean(losses, derivatives, _shares(n, weights) / k)
    return loss, gradient.reshape(shape)


def _matrix(array: Array) -> Array:
    """Return one row for each index of the first axis."""
    return array.reshape(len(array) if array.ndim else 1, -1)


def _one_hot(targets: Array, like: Array) -> Array:
    """Return targets as one weight for each class, (n, k)."""
    if targets.ndim == 2:
        return targets
    rows = np.zeros_like(like)
    rows[np.arange(len(targets)), targets] = 1
    return rows


def _softplus(z: Array) -> Array:
    """Return log(1 + exp(z)) = -log sigmoid(-z), in a form that cannot overflow."""
    return np.asarray(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))


def _sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), whose complement to 1 is that of -z."""
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1, small) / (1 + small))


def _softmax_parts(z: Array) -> tuple[Array, Array, Array]:
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
    shares = _shares(n, weights)
    shifted = z - z.max(axis=1, keepdims=True)
    dz = np.exp(shifted)
    sums = dz.sum(axis=1, keepdims=True)
    dz /= sums
    if targets.ndim == 1 and not loss.label_smoothing:
        cells = np.arange(n), targets
        losses = np.log(sums) - shifted[cells].reshape(n, 1)
        dz[cells] -= 1
        return _mean(losses, dz, shares)
    t = _one_hot(targets, z)
    total = t.sum(axis=1, keepdims=True)
    if loss.label_smoothing:
        t = t * (1 - loss.label_smoothing) + total * (loss.label_smoothing / k)
    # A class of weight 0 adds nothing, even where its logit is minus infinity.
    losses = np.zeros_like(z)
    np.multiply(t, np.log(sums) - shifted, where=t != 0, out=losses)
    dz *= total
    dz -= t
    return _mean(losses, dz, shares)


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
    t = _one_hot(targets, z)
    factors = factor_array(loss.alpha, k, z.dtype)
    if factors is not None:
        t = t * factors
    p, others, log = _softmax_parts(z)
    power = others**loss.gamma
    # (1 - p)^(gamma - 1) log p would be infinity times 0 where p is 1 and gamma below 1, whereas
    # -log p / (1 - p) tends to 1 there.
    ratio = np.divide(log, others, where=others > 0, out=np.ones_like(z))
    losses = np.zeros_like(z)
    np.multiply(t * power, log, where=t != 0, out=losses)
    q = np.zeros_like(z)
    np.multiply(-t * power, loss.gamma * p * ratio + 1, where=t != 0, out=q)
    return _mean(losses, q - p * q.sum(axis=1, keepdims=True), _shares(n, weights))


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
    y, _, _ = _softmax_parts(z)
    value, dy = _dice(loss, y, _one_hot(targets, z), weights)
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
    shape, z, t = z.shape, _matrix(z), _matrix(t)
    factors = factor_array(loss.pos_weight, z.shape[1], z.dtype)
    if factors is None:
        losses = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
        return _element_mean(losses, _sigmoid(z) - t, weights, shape)
    positive, negative = factors * t, 1 - t
    losses = positive * _softplus(-z) + negative * _softplus(z)
    derivatives = negative * _sigmoid(z) - positive * _sigmoid(-z)
    return _element_mean(losses, derivatives, weights, shape)


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
    shape, z, t = z.shape, _matrix(z), _matrix(t)
    factors = factor_array(loss.alpha, z.shape[1], z.dtype)
    positive, negative = t, 1 - t
    if factors is not None:
        positive, negative = factors * positive, (1 - factors) * negative
    p, others = _sigmoid(z), _sigmoid(-z)
    log_p, log_others = _softplus(-z), _softplus(z)
    positive = positive * np.exp(-loss.gamma * log_others)
    negative = negative * np.exp(-loss.gamma * log_p)
    losses = positive * log_p + negative * log_others
    derivatives = negative * (loss.gamma * others * log_others + p)
    derivatives -= positive * (loss.gamma * p * log_p + others)
    return _element_mean(losses, derivatives, weights, shape)


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
    shape, z, t = z.shape, _matrix(z), _matrix(t)
    y = _sigmoid(z)
    value, dy = _dice(loss, y, t, weights)
    return value, (dy * y * _sigmoid(-z)).reshape(shape)


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
        return _element_mean(losses, derivatives.astype(y.dtype, copy=False), weights, y.shape)
    w = np.ones((n, 1)) if weights is None else weights.reshape(n, 1)
    if not w.any():
        return 0.0, np.zeros_like(y)
    both = (w * (y + t)).sum(axis=0) + e
    divisor = np.where(both == 0, 1, both)
    losses = np.where(both == 0, 1, (w * apart).sum(axis=0) / divisor)
    ratio = (2 * (w * y * t).sum(axis=0) + e) / divisor
    gradient = w * np.where(both == 0, 0, (ratio - 2 * t) / (k * divisor))
    return float(losses.mean()), gradient.astype(y.dtype)


# Of numbers -----------------------------------------------------------------------------------


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
    error = _matrix(p) - _matrix(t)
    return _element_mean(np.square(error, dtype=np.float64), 2 * error, weights, p.shape)


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
    error = _matrix(p) - _matrix(t)
    return _element_mean(np.abs(error), np.sign(error), weights, p.shape)


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
    error = _matrix(p) - _matrix(t)
    # The smaller of |e| and delta, m, makes one formula of both: m (|e| - m / 2).
    size = np.abs(error)
    least = np.minimum(size, loss.delta)
    losses = least * (size - least / 2)
    return _element_mean(losses, np.clip(error, -loss.delta, loss.delta), weights, p.shape)


def poisson_with_log_rates(
    log_rates: Array, targets: Array, sample_weight: npt.ArrayLike | None = None
) -> tuple[float, Array]:
    """Return the mean of exp(z) - t z over all elements, and its gradient (exp(z) - t) / size.

    Log-rates and targets, which are counts of at least 0, are arrays of one shape, samples along
    the first axis; with `sample_weight`, (n,), the mean over the samples is weighted. Infinite
    where the rate exp(z) is beyond the dtype.
    """
    loss = Poisson()
    z, t, weights = op_arguments.element_targets(
        loss, log_rates, targets, sample_weight, "log_rates"
    )
    shape, z, t = z.shape, _matrix(z), _matrix(t)
    with np.errstate(over="ignore"):
        rates = np.exp(z)
    return _element_mean(rates - t * z, rates - t, weights, shape)
