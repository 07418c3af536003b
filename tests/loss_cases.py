"""The losses of `fm.ops` with all their parameters: arguments, and bounds of rounding errors.

A bound is built as those of test_ops.py are, from the relative errors of what a loss is made of. It
takes the `Rounding` of a dtype, the truth, and the arguments in float64.
"""

import itertools

import numpy as np

CLASS_FACTORS = (0.25, 1.5, 0.0, 3.0)
"""Repeated over the outputs."""

MAX_LANES = 16
"""Partial sums of a sum over a row."""


def factors(k):
    return np.resize(CLASS_FACTORS, k).tolist()


GAMMAS = (0, 0.5, 1, 2, 5)


def class_parameters(name, k):
    """Return keywords for a loss over k classes."""
    if name == "softmax_cross_entropy":
        smooth = [{"label_smoothing": e} for e in (0.1, 0.9)]
        return [{}, *smooth, {"class_weight": factors(k + 1)[1:]}, {"class_weight": {0: 3}}]
    if name == "softmax_focal":
        alphas = (None, factors(k))
        return [{"gamma": g, "alpha": a} for g, a in itertools.product(GAMMAS, alphas)]
    return [{"per": p, "smoothing": s} for p in ("batch", "element") for s in (0, 1, 0.25)]


def element_parameters(name, k):
    """Return keywords for a loss over elements, k of them to a sample."""
    if name == "binary_cross_entropy_with_logits":
        return [{}, {"pos_weight": 2.5}, {"pos_weight": factors(k)}]
    if name == "binary_focal_with_logits":
        shares = [min(factor, 1) for factor in factors(k)]
        alphas = (None, 0.25, shares)
        return [{"gamma": g, "alpha": a} for g, a in itertools.product(GAMMAS, alphas)]
    if name == "binary_dice_with_logits":
        return class_parameters("softmax_dice", k)
    if name == "poisson_with_log_rates":
        return [{}, {"deviance": True}]
    return [{"delta": d} for d in (1, 0.3, 5)] if name == "huber" else [{}]


CLASS_LOSSES = ("softmax_cross_entropy", "softmax_focal", "softmax_dice")
BINARY_LOSSES = (
    "binary_cross_entropy_with_logits",
    "binary_focal_with_logits",
    "binary_dice_with_logits",
)
NUMBER_LOSSES = ("mean_squared_error", "mean_absolute_error", "huber", "poisson_with_log_rates")
ELEMENT_LOSSES = BINARY_LOSSES + NUMBER_LOSSES
LOSSES = CLASS_LOSSES + ELEMENT_LOSSES


def one_hot(labels, k, dtype=np.float64):
    rows = np.zeros((len(labels), k), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def some_weights(rng, n):
    """Return weights of which some, not all, are 0."""
    weights = rng.random(n) + 0.1
    weights[1::5] = 0
    return weights


def class_targets(rng, n, k, dtype):
    """Return class indices, the same one-hot, and probabilities."""
    labels = rng.integers(k, size=n)
    soft = rng.dirichlet(np.ones(k), size=n)
    return labels, one_hot(labels, k, dtype), soft.astype(dtype)


def element_targets(rng, name, shape, dtype):
    """Return targets of 0 and 1 and those between, or numbers."""
    if name in BINARY_LOSSES:
        targets = rng.integers(2, size=shape), rng.random(shape)
    elif name == "poisson_with_log_rates":
        targets = (rng.poisson(2, size=shape),)
    else:
        targets = (rng.normal(scale=2, size=shape),)
    return [np.asarray(t, dtype) for t in targets]


def make_class_loss(name, sizes):
    def make(rng, dtype):
        for number, (n, k) in enumerate(sizes):
            logits = rng.normal(scale=4, size=(n, k)).astype(dtype)
            parameters = class_parameters(name, k)
            weights = (None, some_weights(rng, n))
            every = list(itertools.product(class_targets(rng, n, k, dtype), parameters, weights))
            # All of them over the sizes, a few for each.
            for targets, keywords, weight in every[number % 5 :: 5]:
                yield (logits, targets, weight), keywords

    return make


def make_element_loss(name, shapes):
    def make(rng, dtype):
        for number, shape in enumerate(shapes):
            n = shape[0] if shape else 1
            scale = 1 if name == "poisson_with_log_rates" else 4
            values = np.asarray(rng.normal(scale=scale, size=shape), dtype)
            parameters = element_parameters(name, int(np.prod(shape)) // n)
            weights = (None, some_weights(rng, n))
            targets = element_targets(rng, name, shape, dtype)
            every = list(itertools.product(targets, parameters, weights))
            for target, keywords, weight in every[number % 3 :: 3]:
                yield (values, target, weight), keywords

    return make


# Bounds -------------------------------------------------------------------------------------


def shares_of(n, weights):
    return np.full((n, 1), 1 / n) if weights is None else (weights / weights.sum()).reshape(n, 1)


def total(rounding, losses, errors, gradient_errors, shares):
    """Bound the mean of the samples' losses, and its gradient.

    Losses and their errors are (n, k) with a sample's loss the sum of its row; sums over the row
    are chains of at most k / lanes vectors or of one float64.
    """
    loss = (shares * (errors + rounding.gamma(MAX_LANES + 4) * np.abs(losses))).sum()
    loss += losses.size * 2.0**-53 * (shares * np.abs(losses)).sum()
    return loss, shares * gradient_errors + rounding.tiny


def softmax_errors(rounding, z):
    """Return p, 1 - p and -log p, and the relative errors of each."""
    shift = z.max(axis=1, keepdims=True) - z
    largest = np.arange(len(z)), z.argmax(axis=1)
    p = np.exp(-shift)
    p[largest] = 0
    rest = p.sum(axis=1, keepdims=True)
    p[largest] = 1
    p /= 1 + rest
    others = 1 - p
    others[largest] = (rest / (1 + rest))[:, 0]
    each, sums = rounding.relative_exp(z)
    # The sum without the largest, which is 1, may be off by as much as its own largest term.
    away = each.max(axis=1, keepdims=True) + rounding.gamma(z.shape[1])
    own = each + sums + 2 * rounding.u
    rest_error = np.maximum(own, away + sums) + 2 * rounding.u
    log_error = away + rounding.function + 2 * rounding.u
    return (p, own), (others, rest_error), (np.log1p(rest) + shift, log_error)


def power_error(rounding, gamma, log, log_error):
    """Bound the relative error of exp(-gamma log) or of exp(-log)^gamma."""
    return gamma * (log_error + log * (2 * rounding.function + 3 * rounding.u)) + rounding.function


def per_class(targets, k):
    return one_hot(targets, k) if targets.ndim == 1 else targets


def bound_softmax_focal(rounding, truth, logits, targets, weight=None, gamma=2.0, alpha=None):
    n, k = logits.shape
    t = per_class(targets, k) * (1 if alpha is None else np.array(alpha))
    (p, p_error), (r, r_error), (log, log_error) = softmax_errors(rounding, logits)
    with np.errstate(divide="ignore"):
        log_r = np.minimum(-np.log(r), 800)
    power = r**gamma
    rel_power = power_error(rounding, gamma, log_r, r_error)
    losses = t * power * log
    errors = losses * (rel_power + log_error + 6 * rounding.u)
    ratio = np.where(r > 0, log / np.where(r > 0, r, 1), 1)
    q = t * power * (gamma * p * ratio + 1)
    q_error = q * (rel_power + p_error + log_error + r_error + 8 * rounding.u)
    sums = q.sum(axis=1, keepdims=True)
    sum_error = q_error.sum(axis=1, keepdims=True) + rounding.gamma(k) * sums
    gradient = q_error + p * (sum_error + sums * (p_error + 3 * rounding.u)) + 4 * rounding.u * q
    return total(rounding, losses, errors, gradient, shares_of(n, weight))


def bound_binary_focal(rounding, truth, logits, targets, weight=None, gamma=2.0, alpha=None):
    shape, n = logits.shape, len(logits) if logits.ndim else 1
    z, t = logits.reshape(n, -1), targets.reshape(n, -1)
    k = z.shape[1]
    a = None if alpha is None else np.full(k, alpha)
    positive, negative = (t, 1 - t) if a is None else (a * t, (1 - a) * (1 - t))
    soft = np.log1p(np.exp(-np.abs(z)))
    log_p, log_others = np.maximum(-z, 0) + soft, np.maximum(z, 0) + soft
    p, others = np.exp(-log_p), np.exp(-log_others)
    log_error = 2 * rounding.function + 2 * rounding.u
    losses, errors, gradient = 0, 0, 0
    for factor, log, other_log, y, x in (
        (positive, log_p, log_others, p, others),
        (negative, log_others, log_p, others, p),
    ):
        relative = power_error(rounding, gamma, other_log, log_error) + log_error + 8 * rounding.u
        power = factor * np.exp(-gamma * other_log)
        losses = losses + power * log
        errors = errors + power * log * relative
        slope = power * (gamma * y * log + x)
        gradient = gradient + slope * (relative + 2 * rounding.function + 4 * rounding.u)
    loss, gradient = total(rounding, losses, errors, gradient, shares_of(n, weight) / k)
    return loss, gradient.reshape(shape)


def dice_bound(rounding, y, y_error, t, weight, per, smoothing):
    """Bound a Dice loss and its gradient for y, both with the magnitudes that they come from."""
    n, k = y.shape
    relative = y_error.max() + 8 * rounding.u
    if per == "element":
        both = y + t + smoothing
        divisor = np.where(both == 0, 1, both)
        size = (smoothing + 2 * t * (t + smoothing)) / divisor**2
        losses = (y * (1 - t) + t * (1 - y)) / divisor
        # The same as 1 less a ratio, which is what the sums below may lose.
        errors = relative * np.where(both == 0, 0, 1 + (2 * y * t + smoothing) / divisor)
        loss, _ = total(rounding, losses, errors, 0, shares_of(n, weight) / k)
        shares = shares_of(n, weight) / k
        return loss, shares * size * 4 * relative, shares * size
    w = np.ones((n, 1)) if weight is None else weight.reshape(n, 1)
    both = (w * (y + t)).sum(axis=0) + smoothing
    divisor = np.where(both == 0, 1, both)
    ratio = (2 * (w * y * t).sum(axis=0) + smoothing) / divisor
    loss = (2 * (relative + n * 2.0**-53) * (1 + ratio)).mean()
    size = w * (ratio + 2 * t) / (k * divisor)
    return loss, 4 * (relative + n * 2.0**-53) * size, size


def bound_softmax_dice(rounding, truth, logits, targets, weight=None, per="batch", smoothing=1.0):
    t = per_class(targets, logits.shape[1])
    (y, y_error), _, _ = softmax_errors(rounding, logits)
    loss, error, size = dice_bound(rounding, y, y_error, t, weight, per, smoothing)
    around = (y * size).sum(axis=1, keepdims=True)
    relative = y_error + rounding.gamma(y.shape[1] + 4)
    around_error = (y * error).sum(axis=1, keepdims=True) + around * relative.max()
    return loss, y * (error + around_error + (size + around) * relative) + rounding.tiny


def bound_binary_dice(rounding, truth, logits, targets, weight=None, per="batch", smoothing=1.0):
    n = len(logits) if logits.ndim else 1
    z, t = logits.reshape(n, -1), targets.reshape(n, -1)
    y, others = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
    y_error = np.full_like(y, rounding.function)
    loss, error, size = dice_bound(rounding, y, y_error, t, weight, per, smoothing)
    gradient = y * others * (error + size * (2 * rounding.function + 4 * rounding.u))
    return loss, gradient.reshape(logits.shape) + rounding.tiny


def bound_numbers(name):
    """Bound a loss whose value and derivative are a few operations on the difference."""

    def bound(rounding, truth, predictions, targets, weight=None, delta=1.0, deviance=False):
        n = len(predictions) if predictions.ndim else 1
        p, t = predictions.reshape(n, -1), targets.reshape(n, -1)
        e, u = np.abs(p - t), rounding.u
        if name == "mean_squared_error":
            losses, errors, gradient = e**2, 4 * u * e**2, 8 * u * e
        elif name == "mean_absolute_error":
            losses, errors, gradient = e, 2 * u * e, np.full_like(e, 4 * u)
        elif name == "huber":
            least = np.minimum(e, delta)
            losses = least * (e - least / 2)
            errors, gradient = 10 * u * losses, 6 * u * least
        else:
            rates = np.exp(p)
            losses = rates + np.abs(t * p)
            errors = rates * rounding.function + 3 * u * losses
            gradient = rates * rounding.function + 6 * u * (rates + t)
            if deviance:
                own = t * (np.abs(np.log(np.where(t > 0, t, 1))) + 1)
                errors, losses = errors + 6 * u * own, losses + own
        shares = shares_of(n, weight) / p.shape[1]
        loss, gradient = total(rounding, losses, errors, gradient, shares)
        return loss, gradient.reshape(predictions.shape)

    return bound


BOUNDS = {
    "softmax_focal": bound_softmax_focal,
    "softmax_dice": bound_softmax_dice,
    "binary_focal_with_logits": bound_binary_focal,
    "binary_dice_with_logits": bound_binary_dice,
    **{name: bound_numbers(name) for name in NUMBER_LOSSES},
}
