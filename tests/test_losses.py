"""The losses of `fm.ops` and of the reference: gradients, identities, extremes, weights, errors."""

import inspect
from functools import partial

import numpy as np
import pytest
from loss_cases import (
    BINARY_LOSSES,
    CLASS_LOSSES,
    ELEMENT_LOSSES,
    GAMMAS,
    LOSSES,
    NUMBER_LOSSES,
    class_parameters,
    class_targets,
    element_parameters,
    element_targets,
    one_hot,
    some_weights,
)

import fastmlp as fm
from fastmlp import ops
from fastmlp.reference import ops as reference_ops

EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)
"""Of a central difference, whose error is about STEP² from the third derivative and EPS / STEP from
rounding."""

BACKENDS = pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])


def numerical_gradient(function, z):
    """Return the central differences of a function of an array."""
    gradient = np.empty_like(z)
    for index in np.ndindex(z.shape):
        values = []
        for step in (STEP, -STEP):
            moved = z.copy()
            moved[index] += step
            values.append(function(moved))
        gradient[index] = (values[0] - values[1]) / (2 * STEP)
    return gradient


def settings_of(name, n=7, k=5, dtype=np.float64, seed=0):
    """Yield (first argument, targets, keywords) of a loss with all kinds of targets."""
    rng = np.random.default_rng(seed)
    if name in CLASS_LOSSES:
        z = rng.normal(scale=3, size=(n, k)).astype(dtype)
        targets, parameters = class_targets(rng, n, k, dtype), class_parameters(name, k)
    else:
        z = rng.normal(size=(n, k)).astype(dtype)
        targets = element_targets(rng, name, (n, k), dtype)
        parameters = element_parameters(name, k)
    for target in targets:
        for keywords in parameters:
            yield z, target, keywords


# Gradients --------------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_the_central_differences(module, name):
    loss = getattr(module, name)
    for z, targets, keywords in settings_of(name):
        for weights in (None, some_weights(np.random.default_rng(1), len(z))):

            def value(moved, targets=targets, weights=weights, keywords=keywords):
                return loss(moved, targets, weights, **keywords)[0]

            expected = numerical_gradient(value, z)
            gradient = loss(z, targets, weights, **keywords)[1]
            scale = 1 + abs(value(z))
            np.testing.assert_allclose(gradient, expected, rtol=0, atol=64 * STEP**2 * scale)


def formula(name, z, t, label_smoothing=0, class_weight=None, pos_weight=1, gamma=2, alpha=None,
            per="batch", smoothing=1, delta=1, deviance=False):  # fmt: skip
    """Return the losses of the samples by their definition, and the weights of their classes."""
    k = z.shape[1]
    weights = np.ones(len(z))
    if name in CLASS_LOSSES:
        t = one_hot(t, k) if t.ndim == 1 else t
        y = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    else:
        y = 1 / (1 + np.exp(-z))
    if name == "softmax_cross_entropy":
        if isinstance(class_weight, dict):
            class_weight = [class_weight.get(label, 1) for label in range(k)]
        weights = weights if class_weight is None else t @ np.array(class_weight)
        smooth = (1 - label_smoothing) * t + label_smoothing / k
        return -(smooth * np.log(y)).sum(axis=1), weights
    if name == "softmax_focal":
        a = 1 if alpha is None else np.array(alpha)
        return -(a * t * (1 - y) ** gamma * np.log(y)).sum(axis=1), weights
    if name == "binary_cross_entropy_with_logits":
        p = np.array(pos_weight)
        return -(p * t * np.log(y) + (1 - t) * np.log(1 - y)).mean(axis=1), weights
    if name == "binary_focal_with_logits":
        a, b = (1, 1) if alpha is None else (np.array(alpha), 1 - np.array(alpha))
        each = a * t * (1 - y) ** gamma * np.log(y) + b * (1 - t) * y**gamma * np.log(1 - y)
        return -each.mean(axis=1), weights
    if per == "element" and "dice" in name:
        return (1 - (2 * y * t + smoothing) / (y + t + smoothing)).mean(axis=1), weights
    e = z - t
    constant = t * np.log(np.where(t > 0, t, 1)) - t
    each = {
        "mean_squared_error": e**2,
        "mean_absolute_error": np.abs(e),
        "huber": np.where(np.abs(e) <= delta, e**2 / 2, delta * (np.abs(e) - delta / 2)),
        "poisson_with_log_rates": np.exp(z) - t * z + deviance * constant,
    }[name]
    return each.mean(axis=1), weights


@BACKENDS
@pytest.mark.parametrize("name", LOSSES)
def test_values_are_those_of_the_formulas(module, name):
    for z, targets, keywords in settings_of(name):
        for weights in (None, some_weights(np.random.default_rng(1), len(z))):
            w = np.ones(len(z)) if weights is None else weights
            if "dice" in name and keywords["per"] == "batch":
                e = keywords["smoothing"]
                is_class = name in CLASS_LOSSES
                t = one_hot(targets, z.shape[1]) if targets.ndim == 1 else targets
                y = reference_ops.softmax(z) if is_class else reference_ops.sigmoid(z)
                inner, both = w @ (y * t), w @ (y + t)
                expected = (1 - (2 * inner + e) / (both + e)).mean()
            else:
                losses, factor = formula(name, z, targets, **keywords)
                expected = np.average(losses, weights=w * factor)
            value = getattr(module, name)(z, targets, weights, **keywords)[0]
            # Logarithms of probabilities down to exp(-15) are off by exp(15) eps in the formula.
            assert value == pytest.approx(expected, rel=1e-9)


def torch_value(torch, name, z, t, label_smoothing=0.0, class_weight=None, pos_weight=None,
                delta=1.0):  # fmt: skip
    """Return one of PyTorch's own losses, mean over the batch."""
    functional = torch.nn.functional
    if name == "softmax_cross_entropy":
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=z.dtype)
        return functional.cross_entropy(z, t, weight, label_smoothing=label_smoothing)
    if name == "binary_cross_entropy_with_logits":
        weight = None if pos_weight is None else torch.tensor(pos_weight, dtype=z.dtype)
        return functional.binary_cross_entropy_with_logits(z, t, pos_weight=weight)
    return {
        "mean_squared_error": functional.mse_loss,
        "mean_absolute_error": functional.l1_loss,
        "huber": partial(functional.huber_loss, delta=delta),
        "poisson_with_log_rates": functional.poisson_nll_loss,
    }[name](z, t)


@BACKENDS
@pytest.mark.parametrize(
    "name", ["softmax_cross_entropy", "binary_cross_entropy_with_logits", *NUMBER_LOSSES]
)
def test_losses_that_pytorch_has(module, name):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not needed")
    for z, targets, keywords in settings_of(name):
        if isinstance(keywords.get("class_weight"), dict):
            continue
        if keywords.get("class_weight") and targets.ndim == 2:
            continue  # PyTorch does not divide by the sum of the weights there
        if keywords.get("deviance"):
            continue  # PyTorch can only approximate the term of the targets
        logits = torch.tensor(z, requires_grad=True)
        value = torch_value(torch, name, logits, torch.tensor(targets), **keywords)
        value.backward()
        loss, gradient = getattr(module, name)(z, targets, **keywords)
        assert loss == pytest.approx(value.item(), rel=64 * EPS)
        np.testing.assert_allclose(gradient, logits.grad.numpy(), rtol=0, atol=64 * EPS)


@BACKENDS
@pytest.mark.parametrize("name", ["softmax_focal", "binary_focal_with_logits"])
def test_focal_losses_in_pytorchs_autograd(module, name):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not needed")
    for z, targets, keywords in settings_of(name):
        logits = torch.tensor(z, requires_grad=True)
        t = torch.tensor(one_hot(targets, z.shape[1]) if targets.ndim == 1 else targets)
        gamma, alpha = keywords["gamma"], keywords["alpha"]
        a = None if alpha is None else torch.tensor(alpha, dtype=torch.float64)
        if name == "softmax_focal":
            log = torch.log_softmax(logits, 1)
            factor = t if a is None else a * t
            value = -(factor * (1 - log.exp()) ** gamma * log).sum(1).mean()
        else:
            log_p = torch.nn.functional.logsigmoid(logits)
            log_not = torch.nn.functional.logsigmoid(-logits)
            positive, negative = (t, 1 - t) if a is None else (a * t, (1 - a) * (1 - t))
            each = positive * (gamma * log_not).exp() * log_p
            value = -(each + negative * (gamma * log_p).exp() * log_not).mean()
        value.backward()
        loss, gradient = getattr(module, name)(z, targets, **keywords)
        assert loss == pytest.approx(value.item(), rel=1e-9)
        # 1 - exp(log p) loses digits where p is close to 1, up to exp(15) times.
        np.testing.assert_allclose(gradient, logits.grad.numpy(), rtol=0, atol=1e-9)


# Identities ---------------------------------------------------------------------------------------


@BACKENDS
def test_cross_entropies_learn_from_the_difference(module, dtype):
    """The study's dL/dz = y - t."""
    rng = np.random.default_rng(2)
    z = rng.normal(scale=3, size=(33, 17)).astype(dtype)
    soft = rng.dirichlet(np.ones(17), size=33).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    _, gradient = module.softmax_cross_entropy(z, soft)
    difference = reference_ops.softmax(z.astype(np.float64)) - soft
    # Exponents of up to 30 are known up to half an eps of themselves.
    np.testing.assert_allclose(33 * gradient, difference, rtol=0, atol=24 * eps)
    _, gradient = module.binary_cross_entropy_with_logits(z, soft)
    difference = reference_ops.sigmoid(z.astype(np.float64)) - soft
    np.testing.assert_allclose(z.size * gradient, difference, rtol=0, atol=8 * eps)


@BACKENDS
def test_the_identity_of_dice_of_an_element(module, dtype):
    """The study's dL/dz = (y - 1) / (2 y) (1 - L)²."""
    rng = np.random.default_rng(3)
    eps = float(np.finfo(dtype).eps)
    for z, t in zip(rng.normal(scale=3, size=40), [*rng.random(20), *[0, 1] * 10], strict=True):
        loss, gradient = module.binary_dice_with_logits(
            np.array([z], dtype), np.array([t], dtype), per="element", smoothing=0
        )
        z, t = float(dtype.type(z)), float(dtype.type(t))
        y, rest = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
        assert loss == pytest.approx(1 - 2 * y * t / (y + t), rel=16 * eps, abs=16 * eps)
        expected = -rest / (2 * y) * (2 * y * t / (y + t)) ** 2
        assert float(gradient[0]) == pytest.approx(expected, rel=32 * eps, abs=1e-30)


@BACKENDS
@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_studys_derivative_of_the_focal_loss(module, gamma, dtype):
    """With eps_p = -p log p, dL/dy is -(t (1 - y)^g (g eps_y + 1 - y) + (t - 1) y^g (g eps_(1-y)
    + y)) / (y (1 - y)), whose denominator the sigmoid's derivative takes away."""
    rng = np.random.default_rng(4)
    z = rng.normal(scale=3, size=65).astype(dtype)
    t = np.concatenate([rng.random(33), rng.integers(2, size=32)]).astype(dtype)
    _, gradient = module.binary_focal_with_logits(z, t, gamma=gamma)
    y, t = 1 / (1 + np.exp(-z.astype(np.float64))), t.astype(np.float64)
    own, other = -y * np.log(y), -(1 - y) * np.log(1 - y)
    expected = -t * (1 - y) ** gamma * (gamma * own + 1 - y)
    expected -= (t - 1) * y**gamma * (gamma * other + y)
    # Powers of probabilities known to a few eps, gamma times.
    tolerance = (16 + 8 * gamma) * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(65 * gradient, expected, rtol=0, atol=tolerance)


@BACKENDS
def test_focal_loss_without_gamma_is_cross_entropy_to_the_bit(module, dtype, isa):
    rng = np.random.default_rng(5)
    weights = some_weights(rng, 33)
    z = rng.normal(scale=5, size=(33, 17)).astype(dtype)
    for targets in class_targets(rng, 33, 17, dtype):
        for w in (None, weights):
            focal = module.softmax_focal(z, targets, w, gamma=0)
            plain = module.softmax_cross_entropy(z, targets, w)
            assert focal[0] == plain[0]
            assert focal[1].tobytes() == plain[1].tobytes()
    for targets in element_targets(rng, "binary_focal_with_logits", z.shape, dtype):
        for w in (None, weights):
            focal = module.binary_focal_with_logits(z, targets, w, gamma=0)
            plain = module.binary_cross_entropy_with_logits(z, targets, w)
            assert focal[0] == plain[0]
            assert focal[1].tobytes() == plain[1].tobytes()


# Extremes -----------------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "poisson_with_log_rates"])
def test_extreme_arguments_make_finite_losses(module, name, dtype, isa):
    rng = np.random.default_rng(6)
    for z, targets, keywords in settings_of(name, 17, 33, dtype):
        signs = np.sign(rng.normal(size=z.shape)).astype(dtype)
        for extreme in (1e4 * signs, 1e4 * z / np.abs(z).max(), np.full_like(z, -1e4)):
            with np.errstate(all="raise", under="ignore"):
                loss, gradient = getattr(module, name)(extreme.astype(dtype), targets, **keywords)
            assert np.isfinite(loss)
            assert np.isfinite(gradient).all()
            truth = getattr(reference_ops, name)(
                extreme.astype(dtype).astype(np.float64),
                targets if targets.ndim == 1 else targets.astype(np.float64),
                **keywords,
            )
            # Exponents of 1e4 are exact here or far below the range; alpha and targets are not.
            eps = float(np.finfo(dtype).eps)
            assert loss == pytest.approx(truth[0], rel=64 * eps)
            scale = max(1.0, float(np.abs(truth[1]).max()))
            np.testing.assert_allclose(gradient, truth[1], rtol=0, atol=64 * eps * scale)


@BACKENDS
@pytest.mark.parametrize("name", CLASS_LOSSES + BINARY_LOSSES)
def test_classes_that_no_sample_or_every_sample_has(module, name, dtype):
    rng = np.random.default_rng(7)
    z = rng.normal(size=(9, 4)).astype(dtype)
    z[:, 3] = -1e4  # predicted by none either
    column = np.zeros((9, 4), dtype)
    column[:, 1] = 1
    parameters = class_parameters if name in CLASS_LOSSES else element_parameters
    for keywords in parameters(name, 4):
        if keywords.get("class_weight"):
            continue
        loss, gradient = getattr(module, name)(z, column, **keywords)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()
        if name in CLASS_LOSSES:
            labels = np.ones(9, int)
            np.testing.assert_allclose(
                getattr(module, name)(z, labels, **keywords)[1], gradient, rtol=0,
                atol=4 * float(np.finfo(dtype).eps),
            )  # fmt: skip


@BACKENDS
def test_dice_of_nothing_is_one_and_teaches_nothing(module, dtype):
    """Neither predicted nor there: 0 / 0 without smoothing, and right with it."""
    z, t = np.full((5, 3), -1e4, dtype), np.zeros((5, 3), dtype)
    for per in ("batch", "element"):
        loss, gradient = module.binary_dice_with_logits(z, t, per=per, smoothing=0)
        assert loss == pytest.approx(1, rel=16 * EPS)
        assert not gradient.any()
        loss, gradient = module.binary_dice_with_logits(z, t, per=per, smoothing=1)
        assert loss == 0
        assert not gradient.any()


@BACKENDS
def test_poisson_overflows_where_the_rate_does(module, dtype):
    z = np.array([[np.log(np.finfo(dtype).max) * 1.01]], dtype)
    loss, gradient = module.poisson_with_log_rates(z, np.ones((1, 1), dtype))
    assert loss == np.inf
    assert gradient[0, 0] == np.inf


@BACKENDS
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_focal"])
def test_a_class_without_probability_costs_infinitely_much(module, name, dtype, isa):
    loss = getattr(module, name)
    for k in (2, 15, 16, 33):
        z = np.zeros((1, k), dtype)
        z[0, 1] = -np.inf
        there, other = np.eye(k, dtype=dtype)[[1, 0]]
        with np.errstate(invalid="ignore"):
            for targets in (np.array([1]), there[np.newaxis], (there + other)[np.newaxis] / 2):
                assert loss(z, targets)[0] == np.inf
        for targets in (np.array([0]), other[np.newaxis]):
            value, gradient = loss(z, targets)
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()
    if name == "softmax_focal":
        z = np.array([[0, -2e35, 1e30]], dtype)
        for targets in (np.array([1]), np.array([[0, 1, 0]], dtype)):
            assert loss(z, targets)[0] == pytest.approx(2e35, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("place", [0, 15, 16, 36])
def test_nan_reaches_the_loss(name, place, dtype, isa):
    parameters = class_parameters if name in CLASS_LOSSES else element_parameters
    for keywords in parameters(name, 37):
        z = np.zeros((3, 37), dtype)
        z[1, place] = np.nan
        targets = np.zeros(3, int) if name in CLASS_LOSSES else np.ones_like(z)
        loss, gradient = getattr(ops, name)(z, targets, **keywords)
        if keywords.get("class_weight"):
            continue
        assert np.isnan(loss), keywords
        assert np.isnan(gradient[1, place]), keywords


# Weights of samples -------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_is_a_number_of_copies(module, name, dtype):
    counts = np.array([2, 0, 1, 3, 1, 0, 1])
    index = np.repeat(np.arange(7), counts)
    eps = float(np.finfo(dtype).eps)
    for z, targets, keywords in settings_of(name, 7, 5, dtype):
        loss, gradient = getattr(module, name)(z, targets, counts, **keywords)
        copied, each = getattr(module, name)(z[index], targets[index], **keywords)
        assert loss == pytest.approx(copied, rel=16 * eps)
        expected = np.zeros_like(z)
        np.add.at(expected, index, each)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=16 * eps * (1 + abs(loss)))
        assert not gradient[counts == 0].any()


@BACKENDS
@pytest.mark.parametrize("name", LOSSES)
def test_equal_weights_are_none(module, name, dtype):
    eps = float(np.finfo(dtype).eps)
    for z, targets, keywords in settings_of(name, 7, 5, dtype):
        if keywords.get("per") == "batch":
            continue  # there weights stand against the smoothing
        plain = getattr(module, name)(z, targets, **keywords)
        weighted = getattr(module, name)(z, targets, [0.3] * 7, **keywords)
        assert weighted[0] == pytest.approx(plain[0], rel=16 * eps)
        np.testing.assert_allclose(weighted[1], plain[1], rtol=0, atol=16 * eps)


@BACKENDS
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1e-300, 1e-42, 1e42, 1e300])
def test_weights_of_any_size(module, name, scale, dtype):
    """The logits' dtype need not hold them; only against a smoothing does their size count."""
    weights = np.array([2, 0, 1, 3, 1, 0, 1])
    eps = float(np.finfo(dtype).eps)
    for z, targets, keywords in settings_of(name, 7, 5, dtype):
        small = dict(keywords)
        if keywords.get("per") == "batch" and scale > 1:
            small["smoothing"] = 0
        elif keywords.get("per") == "batch" and keywords["smoothing"]:
            continue
        loss, gradient = getattr(module, name)(z, targets, weights, **small)
        scaled, other = getattr(module, name)(z, targets, scale * weights, **keywords)
        assert scaled == pytest.approx(loss, rel=16 * eps)
        np.testing.assert_allclose(other, gradient, rtol=0, atol=16 * eps * (1 + abs(loss)))
    if "dice" in name:  # a smoothing against which they are nothing
        loss, gradient = getattr(module, name)(z, targets, 1e-300 * weights, smoothing=1e20)
        assert loss == pytest.approx(0, abs=1e-15)
        np.testing.assert_allclose(gradient, 0, atol=1e-15)


@BACKENDS
def test_class_weights_are_weights_of_samples(module, dtype):
    rng = np.random.default_rng(8)
    z = rng.normal(size=(33, 4)).astype(dtype)
    factors = np.array([1, 0.5, 4, 0])
    for targets in class_targets(rng, 33, 4, dtype):
        own = factors[targets] if targets.ndim == 1 else targets @ factors
        for weights in (None, some_weights(rng, 33)):
            folded = own if weights is None else own * weights
            expected = module.softmax_cross_entropy(z, targets, folded)
            for given in (factors, {1: 0.5, 2: 4, 3: 0}):
                result = module.softmax_cross_entropy(z, targets, weights, class_weight=given)
                assert result[0] == pytest.approx(expected[0], rel=4 * EPS)
                np.testing.assert_allclose(result[1], expected[1], rtol=1e-6)
    assert module.softmax_cross_entropy(z, np.full(33, 3), class_weight=factors)[0] == 0


@BACKENDS
@pytest.mark.parametrize("name", ELEMENT_LOSSES)
def test_samples_lie_along_the_first_axis_of_any_shape(module, name, dtype):
    rng = np.random.default_rng(9)
    weights = some_weights(rng, 6)
    for shape in ((6,), (6, 1), (6, 2, 3)):
        z = rng.normal(size=shape).astype(dtype)
        t = element_targets(rng, name, shape, dtype)[0]
        loss, gradient = getattr(module, name)(z, t, weights)
        flat = getattr(module, name)(z.reshape(6, -1), t.reshape(6, -1), weights)
        assert gradient.shape == shape
        assert loss == flat[0]
        assert gradient.tobytes() == flat[1].tobytes()


# Errors -------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")

BAD_PARAMETERS = [
    ("softmax_cross_entropy", {"label_smoothing": 1}, ValueError, "label_smoothing must"),
    ("softmax_cross_entropy", {"label_smoothing": -0.1}, ValueError, "label_smoothing must"),
    ("softmax_cross_entropy", {"label_smoothing": NAN}, ValueError, "label_smoothing must"),
    ("softmax_cross_entropy", {"label_smoothing": "much"}, TypeError, "label_smoothing must"),
    ("softmax_cross_entropy", {"class_weight": 2}, TypeError, "class_weight must"),
    ("softmax_cross_entropy", {"class_weight": [1, 2]}, ValueError, "class_weight holds 2"),
    ("softmax_cross_entropy", {"class_weight": [1, -2, 1]}, ValueError, r"class_weight\[1\] must"),
    ("softmax_cross_entropy", {"class_weight": [0, 0, 0]}, ValueError, "class_weight is 0"),
    ("softmax_cross_entropy", {"class_weight": {3: 1}}, ValueError, "class_weight names class 3"),
    ("softmax_cross_entropy", {"class_weight": {-1: 1}}, ValueError, "class_weight names class"),
    ("softmax_cross_entropy", {"class_weight": {"a": 1}}, TypeError, "a class of class_weight"),
    ("softmax_cross_entropy", {"class_weight": {0: INF}}, ValueError, r"class_weight\[0\] must"),
    ("softmax_cross_entropy", {"class_weight": "balanced"}, TypeError, "class_weight must"),
    ("binary_cross_entropy_with_logits", {"pos_weight": -1}, ValueError, "pos_weight must"),
    ("binary_cross_entropy_with_logits", {"pos_weight": [1, 2]}, ValueError, "pos_weight holds 2"),
    ("binary_cross_entropy_with_logits", {"pos_weight": []}, ValueError, "pos_weight is empty"),
    ("binary_cross_entropy_with_logits", {"pos_weight": [[1]]}, TypeError, r"pos_weight\[0\] must"),
    ("binary_cross_entropy_with_logits", {"pos_weight": 1e300}, ValueError, "pos_weight is too"),
    *(
        (name, {"gamma": gamma}, kind, "gamma must")
        for name in ("softmax_focal", "binary_focal_with_logits")
        for gamma, kind in ((-1, ValueError), (NAN, ValueError), (INF, ValueError),
                            ("2", TypeError), (None, TypeError), (True, TypeError))
    ),
    ("softmax_focal", {"alpha": 0.25}, ValueError, "alpha must hold a factor for each class"),
    ("softmax_focal", {"alpha": [1, 1]}, ValueError, "alpha holds 2"),
    ("softmax_focal", {"alpha": [1, 1, -1]}, ValueError, r"alpha\[2\] must"),
    ("binary_focal_with_logits", {"alpha": 1.5}, ValueError, r"alpha must be in \[0, 1\]"),
    ("binary_focal_with_logits", {"alpha": -0.5}, ValueError, "alpha must"),
    ("binary_focal_with_logits", {"alpha": [1, 0, 2]}, ValueError, r"alpha must be in \[0, 1\]"),
    *(
        (name, keywords, kind, words)
        for name in ("softmax_dice", "binary_dice_with_logits")
        for keywords, kind, words in (
            ({"per": "sample"}, ValueError, "per must"), ({"per": 1}, TypeError, "per must"),
            ({"smoothing": -1}, ValueError, "smoothing must"),
            ({"smoothing": NAN}, ValueError, "smoothing must"),
        )
    ),
    ("huber", {"delta": 0}, ValueError, "delta must"),
    ("huber", {"delta": -1}, ValueError, "delta must"),
    ("huber", {"delta": NAN}, ValueError, "delta must"),
    *(
        (name, {"sample_weight": weights}, kind, words)
        for name in LOSSES
        for weights, kind, words in (
            ([1, 1], ValueError, "sample_weight has shape"),
            ([[1, 1, 1]], ValueError, "sample_weight has shape"),
            (1.0, ValueError, "sample_weight has shape"),
            ([1, -1, 1], ValueError, r"sample_weight\[1\] is -1"),
            ([1, 1, NAN], ValueError, r"sample_weight\[2\] is nan"),
            ([1, 1, INF], ValueError, r"sample_weight\[2\] is inf"),
            ([0, 0, 0], ValueError, "sample_weight is 0 for every sample"),
            ([1e308, 1e308, 1], ValueError, "sample_weight has a sum"),
            (["a", "b", "c"], TypeError, "sample_weight"),
        )
    ),
]  # fmt: skip


@BACKENDS
@pytest.mark.parametrize(
    ("name", "keywords", "kind", "words"),
    BAD_PARAMETERS,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(BAD_PARAMETERS)],
)
def test_bad_parameters_are_named(module, name, keywords, kind, words):
    z = np.ones((3, 3), np.float32)
    targets = np.zeros(3, int) if name in CLASS_LOSSES else np.zeros_like(z)
    with pytest.raises(kind, match=f"^{words}"):
        getattr(module, name)(z, targets, **keywords)


# Objects ------------------------------------------------------------------------------------------


def test_names_and_classes():
    assert set(fm.losses.NAMES) == {
        "cross_entropy", "binary_cross_entropy", "focal", "dice", "mean_squared_error",
        "mean_absolute_error", "huber", "poisson",
    }  # fmt: skip
    for name in fm.losses.NAMES:
        kind = type(fm.losses.get(name, fm.losses.resolve.CLASSES[name].outputs[0]))
        assert kind.name == name
        assert inspect.getdoc(kind)
        # A call of its own class, which reads as the loss.
        assert eval(repr(kind()), vars(fm.losses)) == kind()
        function, parameters = kind().function(kind.outputs[0])
        signature = inspect.signature(getattr(ops, function)).parameters
        assert parameters.keys() <= signature.keys()


def test_parameters_have_one_form():
    losses = fm.losses
    assert losses.Focal(2, np.array([1, 0.5])) == losses.Focal(2.0, (1.0, 0.5))
    assert losses.Focal(2, np.float32(0.5)).alpha == 0.5
    assert losses.Focal(2, np.array(0.5)).alpha == 0.5
    assert losses.BinaryCrossEntropy([1, 2]).pos_weight == (1.0, 2.0)
    weights = losses.CrossEntropy(class_weight={np.int64(2): 3, 0: 1}).class_weight
    assert weights == {0: 1.0, 2: 3.0}
    assert all(type(label) is int for label in weights)
    assert len({losses.Focal(), losses.Focal(2.0), losses.Focal(1)}) == 2
    for name in losses.NAMES:
        kind = losses.resolve.CLASSES[name]
        assert kind(scale=2) == kind(scale=2.0) != kind()
        assert eval(repr(kind(scale=2)), vars(losses)) == kind(scale=2)
        for scale, error in (
            (0, ValueError),
            (-1, ValueError),
            (np.nan, ValueError),
            ("1", TypeError),
        ):
            with pytest.raises(error, match=r"^scale must"):
                kind(scale=scale)
    with pytest.raises(AttributeError):
        losses.Focal().gamma = 1
