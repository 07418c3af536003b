"""Every operation against the same operation of the reference in float64.

Tolerances are bounds of rounding errors, not guesses. With u = eps / 2, a sum of k products in any
order is off by at most gamma(k) sum|a||b|, gamma(k) = k u / (1 - k u) (Higham, "Accuracy and
Stability of Numerical Algorithms", section 3.1). The truth is rounded too, to float64, so each
bound holds u + 2**-53 in the place of u. Results below the normal range may be lost.
"""

import inspect
import itertools
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from loss_cases import (
    BINARY_LOSSES,
    BOUNDS,
    CLASS_LOSSES,
    ELEMENT_LOSSES,
    LOSSES,
    MAX_LANES,
    NUMBER_LOSSES,
    make_class_loss,
    make_element_loss,
    one_hot,
    shares_of,
)

import fastmlp as fm
from fastmlp import ops
from fastmlp.reference import ops as reference_ops

POINTWISE = (
    "identity", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "mish", "exp",
)  # fmt: skip
TAKING_Z = ("gelu", "silu", "mish")
"""Those whose backward takes z instead of y."""
ROW_WISE = ("softmax", "log_softmax")
DERIVATIVES = tuple(f"{name}_backward" for name in POINTWISE)
ACTIVATIONS = POINTWISE + ROW_WISE

WIDTHS = (1, 2, 15, 16, 17, 31, 33, 63, 65)
"""Around one, two and four vectors of every instruction set, in both dtypes."""

FUNCTION_EPS = 2
"""Error allowed to exp, expm1, log1p and what is one division away from them, in eps of their
value: simd_math.h promises a few units in the last place."""


def public_functions(module):
    return {name: getattr(module, name) for name in module.__all__}


def test_ops_and_reference_have_the_same_names_and_signatures():
    engine, reference = public_functions(ops), public_functions(reference_ops)
    assert engine.keys() == reference.keys()
    for name, function in engine.items():
        assert inspect.signature(function) == inspect.signature(reference[name]), name


# Bounds -------------------------------------------------------------------------------------


class Rounding:
    """Bounds of the rounding errors of one dtype."""

    def __init__(self, dtype):
        info = np.finfo(dtype)
        self.u = info.eps / 2 + 2.0**-53
        self.function = 2 * FUNCTION_EPS * self.u
        self.tiny = float(info.tiny)

    def gamma(self, k):
        return k * self.u / (1 - k * self.u)

    def product(self, a, b):
        """Bound a @ b."""
        k = a.shape[1]
        return self.gamma(k) * (np.abs(a) @ np.abs(b)) + k * self.tiny

    def activation(self, name, z, error=0.0):
        """Bound an activation of z, which itself is known up to `error`."""
        if name in ROW_WISE:
            return self.rows(name, z, error)
        value = getattr(reference_ops, name)(z)
        value = np.where(np.isfinite(value), value, 0)
        slope = {
            "sigmoid": 0.25, "exp": value, "selu": 1.76, **dict.fromkeys(TAKING_Z, 1.13)
        }.get(name, 1.0)  # fmt: skip
        return slope * error + self.of(name, z) * np.abs(value) + self.tiny

    def of(self, name, z):
        """Bound the relative error of a pointwise activation of an exact z."""
        if name in ("identity", "relu"):
            return 0.0
        if name == "leaky_relu":  # the constant and a product
            return self.gamma(2)
        if name in ("sigmoid", "tanh", "elu", "exp"):
            return self.function
        # Two functions. For the truth of gelu, z is divided by a rounded sqrt(2): far below 0 the
        # errors of both are multiplied by the square of z.
        square = np.clip(z, -40, 0) ** 2 if name == "gelu" else 0.0
        return 2 * self.function + square * 2.0**-52

    def relative_exp(self, z, error=0.0):
        """Bound the relative errors of exp(z - max z) and of their sum, row by row.

        An error d of an exponent is a relative error d of the exponential, to first order. The
        subtraction is off by u |z - max|, a z that is known up to `error` adds twice as much.
        """
        shift = np.abs(z - z.max(axis=1, keepdims=True))
        each = np.where(np.isfinite(shift), self.u * shift, 0) + self.function + 2 * error
        p = reference_ops.softmax(z)
        return each, (p * each).sum(axis=1, keepdims=True) + self.gamma(z.shape[1])

    def rows(self, name, z, error=0.0):
        each, total = self.relative_exp(z, np.max(error, axis=-1, keepdims=True))
        if name == "softmax":  # one division, one product
            return (each + total + 2 * self.u) * reference_ops.softmax(z) + self.tiny
        # log_softmax: the difference of z, its maximum and the logarithm of the sum.
        shift = np.abs(z - z.max(axis=1, keepdims=True))
        log_sum = np.log(np.exp(-shift).sum(axis=1, keepdims=True))
        value = np.abs(reference_ops.log_softmax(z))
        finite = np.where(np.isfinite(shift), shift + value, 0)
        return total + self.u * (finite + 2 * log_sum) + 2 * np.max(error, axis=-1, keepdims=True)


# The table: how to make the arguments of each operation, and how far its results may be off ------


class Operation(NamedTuple):
    make: Callable[..., Any]
    """Takes rng, dtype; yields (arguments, keywords)."""
    bound: Callable[..., Any]
    """Takes the rounding, the results' truth, and the arguments in float64."""


def normal(rng, dtype, *shape, scale=1.0):
    return np.asarray(rng.normal(scale=scale, size=shape), dtype)


SMALL_PRODUCTS = tuple(itertools.product((1, 3, 16, 17, 33), (1, 2, 31, 65), (1, 15, 16, 17, 63)))
# In turn: several blocks in every dimension; columns and rows as the longest; a vector times a
# matrix and back; b large but a too short to pack for; more rows of c than a vector for each of a
# few columns.
LARGE_PRODUCTS = (
    (197, 300, 803),
    (33, 257, 511),
    (803, 256, 101),
    (1, 2001, 301),
    (301, 701, 1),
    (5, 601, 301),
    (64, 513, 130),
    (97, 70, 1),
    (66, 129, 5),
)


def make_matmul(rng, dtype):
    for m, k, n in (*SMALL_PRODUCTS, *LARGE_PRODUCTS):
        a, b = normal(rng, dtype, m, k), normal(rng, dtype, k, n)
        for transpose_a, transpose_b in itertools.product((False, True), repeat=2):
            left = a.T.copy() if transpose_a else a
            right = b.T.copy() if transpose_b else b
            yield (left, right), {"transpose_a": transpose_a, "transpose_b": transpose_b}


def bound_matmul(rounding, truth, a, b, transpose_a, transpose_b):
    return rounding.product(a.T if transpose_a else a, b.T if transpose_b else b)


def make_dense_forward(rng, dtype):
    shapes = (*SMALL_PRODUCTS[::7], *LARGE_PRODUCTS)
    for index, (n, n_in, n_out) in enumerate(shapes):
        x, w = normal(rng, dtype, n, n_in), normal(rng, dtype, n_in, n_out)
        b = None if index % 4 == 0 else normal(rng, dtype, n_out)
        w /= np.sqrt(n_in).astype(dtype)
        for activation in ACTIVATIONS:
            yield (x, w, b), {"activation": activation}


def bound_dense_forward(rounding, truth, x, w, b, activation):
    z, error = x @ w, rounding.product(x, w)
    if b is not None:
        z = z + b
        error = error + rounding.u * np.abs(z)
    return rounding.activation(activation, z, error)


def make_dense_backward(rng, dtype):
    for n, n_in, n_out in (*SMALL_PRODUCTS[::3], *LARGE_PRODUCTS):
        yield (normal(rng, dtype, n, n_out), normal(rng, dtype, n, n_in),
               normal(rng, dtype, n_in, n_out)), {}  # fmt: skip


def bound_dense_backward(rounding, truth, dy, x, w):
    bias = rounding.gamma(len(dy)) * np.abs(dy).sum(axis=0)
    return rounding.product(dy, w.T), rounding.product(x.T, dy), bias


ANY_SHAPE = (
    *((n,) for n in WIDTHS),
    (),
    (1, 1),
    (3, 65),
    (17, 1),
    (2, 3, 17),
    (5, 4099),
    (300_007,),
)
"""The last is enough for three threads whatever the function, the one before for most."""


def make_pointwise(rng, dtype):
    for shape in ANY_SHAPE:
        yield (normal(rng, dtype, *shape, scale=3),), {}


def make_derivative(name):
    def make(rng, dtype):
        for shape in ANY_SHAPE:
            z = normal(rng, dtype, *shape, scale=2)
            y = z if name in TAKING_Z else getattr(ops, name)(z)
            yield (normal(rng, dtype, *shape), y), {}

    return make


ROWS = (*itertools.product((1, 3, 17), WIDTHS), (1, 20_001), (701, 33))
SINGLE_COLUMN = (65, 1)


def make_rows(rng, dtype):
    for shape in (*ROWS, SINGLE_COLUMN):
        yield (normal(rng, dtype, *shape, scale=5),), {}


def make_cross_entropy(rng, dtype):
    for n, k in (*ROWS, SINGLE_COLUMN):
        logits = normal(rng, dtype, n, k, scale=5)
        labels = rng.integers(k, size=n)
        yield (logits, labels), {}
        yield (logits, labels.astype(np.uint16)), {}
        yield (logits, one_hot(labels, k, dtype)), {}
        yield (logits, rng.dirichlet(np.ones(k), size=n).astype(dtype)), {}
        yield (logits, np.abs(normal(rng, dtype, n, k))), {}
    yield from make_class_loss("softmax_cross_entropy", ROWS)(rng, dtype)


def bound_cross_entropy(
    rounding, truth, logits, targets, weight=None, label_smoothing=0.0, class_weight=None
):
    n, k = logits.shape
    if targets.ndim == 1:
        targets = one_hot(targets, k)
    if class_weight is not None:
        if isinstance(class_weight, dict):
            class_weight = [class_weight.get(label, 1) for label in range(k)]
        weight = (1 if weight is None else weight) * (targets @ np.array(class_weight))
        if not weight.any():
            return 0, np.full((n, k), rounding.tiny)
    shares = shares_of(n, weight)
    total_weight = targets.sum(axis=1, keepdims=True)
    targets = (1 - label_smoothing) * targets + label_smoothing / k * total_weight
    each, total = rounding.relative_exp(logits)
    shift = np.abs(logits - logits.max(axis=1, keepdims=True))
    weight = np.abs(targets).sum(axis=1, keepdims=True)
    # The logarithm of the sum, the shifted logits, and the sum over rows and classes in float64.
    magnitude = weight * np.log(np.exp(-shift).sum(axis=1, keepdims=True))
    magnitude += (targets * shift).sum(axis=1, keepdims=True)
    loss = (shares * weight * total).sum()
    loss += rounding.u * (shares * ((targets * shift).sum(axis=1, keepdims=True))).sum()
    # The targets may have been smoothed, in two products and a sum.
    loss += (7 * rounding.u + n * k * 2.0**-53) * (shares * magnitude).sum()
    # Softmax times a factor of three operations, targets times a factor of two, one difference.
    p = reference_ops.softmax(logits)
    factor = each + total + (4 + rounding.gamma(k) / rounding.u) * rounding.u
    gradient = p * weight * factor + 6 * rounding.u * targets
    return loss, shares * gradient + rounding.tiny


ANY_PAIR = (
    *((n,) for n in WIDTHS),
    (),
    (3, 65),
    (17, 1),
    (33, 17),
    (2, 3, 17),
    (20_003,),
    (701, 33),
)


def make_binary_cross_entropy(rng, dtype):
    for shape in ANY_PAIR:
        logits = normal(rng, dtype, *shape, scale=5)
        yield (logits, np.asarray(rng.integers(2, size=shape), dtype)), {}
        yield (logits, np.asarray(rng.random(shape), dtype)), {}
    yield from make_element_loss("binary_cross_entropy_with_logits", ANY_PAIR)(rng, dtype)


def bound_binary_cross_entropy(rounding, truth, logits, targets, weight=None, pos_weight=None):
    n = len(logits) if logits.ndim else 1
    shape, logits, targets = logits.shape, logits.reshape(n, -1), targets.reshape(n, -1)
    shares = shares_of(n, weight) / logits.shape[1]
    if pos_weight is not None:
        factor = np.full(logits.shape[1], pos_weight)
        soft = np.log1p(np.exp(-np.abs(logits)))
        value = factor * targets * (np.maximum(-logits, 0) + soft)
        value += (1 - targets) * (np.maximum(logits, 0) + soft)
        slope = factor * targets / (1 + np.exp(logits)) + (1 - targets) / (1 + np.exp(-logits))
        relative = 2 * rounding.function + rounding.gamma(MAX_LANES + 8)
        loss = (relative + logits.size * 2.0**-53) * (shares * value).sum()
        return loss, (shares * slope * relative).reshape(shape) + rounding.tiny
    p = reference_ops.sigmoid(logits)
    hinge, product = np.maximum(logits, 0), np.abs(logits * targets)
    soft = np.log1p(np.exp(-np.abs(logits)))
    # The product, the difference, log1p of exp (off by as much again), and the last addition.
    term = rounding.u * (product + np.abs(hinge - logits * targets)) + 2 * rounding.function * soft
    value = hinge - logits * targets + soft
    loss = (shares * (term + (rounding.u + rounding.gamma(MAX_LANES)) * np.abs(value))).sum()
    loss += logits.size * 2.0**-53 * (shares * np.abs(value)).sum()
    gradient = rounding.function * p + 4 * rounding.u * np.abs(p - targets)
    return loss, (shares * gradient).reshape(shape) + rounding.tiny


def bound_focal(name, plain):
    """Bound a focal loss, which without gamma and alpha is a plain one."""

    def bound(rounding, truth, logits, targets, weight=None, gamma=2.0, alpha=None):
        if gamma == 0 and alpha is None:
            return plain(rounding, truth, logits, targets, weight)
        return BOUNDS[name](rounding, truth, logits, targets, weight, gamma, alpha)

    return bound


def make_update(rng, dtype):
    for shape in (*ANY_PAIR, (160_003,)):
        yield (normal(rng, dtype, *shape), normal(rng, dtype, *shape), 0.1), {}
    yield (normal(rng, dtype, 17), normal(rng, dtype, 17), -3), {}


def bound_update(rounding, truth, params, grads, lr):
    # lr rounded to the dtype, the product, the difference.
    return 2 * rounding.u * np.abs(lr * grads) + rounding.u * np.abs(truth) + rounding.tiny


def bound_map(name):
    return lambda rounding, truth, z: rounding.activation(name, z)


def bound_derivative(operations):
    return lambda rounding, truth, dy, y: (
        rounding.gamma(operations) * np.abs(truth) + bool(operations) * rounding.tiny
    )


def bound_selu_backward(rounding, truth, dy, y):
    # The constant, a sum and a product.
    return rounding.gamma(3) * np.abs(dy) * (np.abs(y) + 1.76) + rounding.tiny


def bound_softplus_backward(rounding, truth, dy, y):
    return (rounding.function + rounding.gamma(1)) * np.abs(truth) + rounding.tiny


def bound_backward_of_z(name):
    """Bound dy times a sum of f(z) / z and another term."""

    def bound(rounding, truth, dy, z):
        slope = getattr(reference_ops, f"{name}_backward")(np.ones_like(z), z)
        share = np.divide(getattr(reference_ops, name)(z), z, where=z != 0, out=slope.copy())
        magnitude = np.abs(share) + np.abs(slope - share)
        return (rounding.of(name, z) + rounding.gamma(2)) * np.abs(dy) * magnitude + rounding.tiny

    return bound


OPERATIONS = {
    "matmul": Operation(make_matmul, bound_matmul),
    "dense_forward": Operation(make_dense_forward, bound_dense_forward),
    "dense_backward": Operation(make_dense_backward, bound_dense_backward),
    **{name: Operation(make_pointwise, bound_map(name)) for name in POINTWISE},
    **{name: Operation(make_rows, bound_map(name)) for name in ROW_WISE},
    # sigmoid: 1 - y and two products; tanh: 1 - y, 1 + y and two products; leaky_relu: the constant
    # and a product; elu: a sum and a product.
    "identity_backward": Operation(make_derivative("identity"), bound_derivative(0)),
    "relu_backward": Operation(make_derivative("relu"), bound_derivative(0)),
    "sigmoid_backward": Operation(make_derivative("sigmoid"), bound_derivative(3)),
    "tanh_backward": Operation(make_derivative("tanh"), bound_derivative(4)),
    "leaky_relu_backward": Operation(make_derivative("leaky_relu"), bound_derivative(2)),
    "elu_backward": Operation(make_derivative("elu"), bound_derivative(2)),
    "selu_backward": Operation(make_derivative("selu"), bound_selu_backward),
    "softplus_backward": Operation(make_derivative("softplus"), bound_softplus_backward),
    **{
        f"{name}_backward": Operation(make_derivative(name), bound_backward_of_z(name))
        for name in TAKING_Z
    },
    "exp_backward": Operation(make_derivative("exp"), bound_derivative(1)),
    **{
        name: Operation(make_class_loss(name, (*ROWS, SINGLE_COLUMN)), BOUNDS[name])
        for name in CLASS_LOSSES[1:]
    },
    **{
        name: Operation(make_element_loss(name, ANY_PAIR), BOUNDS[name])
        for name in ELEMENT_LOSSES[1:]
    },
    "softmax_focal": Operation(
        make_class_loss("softmax_focal", (*ROWS, SINGLE_COLUMN)),
        bound_focal("softmax_focal", bound_cross_entropy),
    ),
    "binary_focal_with_logits": Operation(
        make_element_loss("binary_focal_with_logits", ANY_PAIR),
        bound_focal("binary_focal_with_logits", bound_binary_cross_entropy),
    ),
    "softmax_cross_entropy": Operation(make_cross_entropy, bound_cross_entropy),
    "binary_cross_entropy_with_logits": Operation(
        make_binary_cross_entropy, bound_binary_cross_entropy
    ),
    "sgd_update": Operation(make_update, bound_update),
}


def test_every_operation_is_in_the_table():
    assert public_functions(ops).keys() == OPERATIONS.keys()


# Comparing -----------------------------------------------------------------------------------


def as_tuple(results):
    return results if isinstance(results, tuple) else (results,)


def widened(value):
    """Return an argument in float64, if it is an array of reals."""
    is_real = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return np.array(value, np.float64) if is_real else value


def truth_and_bound(name, dtype, arguments, keywords):
    wide = [widened(argument) for argument in arguments]
    with np.errstate(all="ignore"):
        truth = getattr(reference_ops, name)(*map(np.copy, wide[:1]), *wide[1:], **keywords)
        bound = OPERATIONS[name].bound(Rounding(dtype), truth, *wide, **keywords)
        # What the dtype has no number for is infinite in it.
        largest = float(np.finfo(dtype).max)
        truth = [
            np.where(np.abs(t) > largest, np.copysign(np.inf, t), t)[()] for t in as_tuple(truth)
        ]
    bound = as_tuple(bound)
    if name in LOSSES:
        # Weights are summed in float64, in any order.
        sums = np.shape(wide[0])[:1] or (1,)
        bound = [b + sums[0] * 2.0**-53 * np.abs(t) for b, t in zip(bound, truth, strict=True)]
    return tuple(truth), bound


def assert_within(results, truths, bounds, dtype):
    """Assert that results have a dtype, and are as close to the truth as the bound."""
    for result, truth, bound in zip(as_tuple(results), truths, bounds, strict=True):
        if isinstance(result, np.ndarray):
            assert result.dtype == dtype
            assert result.shape == truth.shape
        else:
            assert type(result) is float
        finite = np.isfinite(truth)
        np.testing.assert_array_equal(
            np.asarray(result)[~finite], np.asarray(truth)[~finite], strict=False
        )
        with np.errstate(invalid="ignore"):
            error = np.where(finite, np.abs(result - truth), 0)
        assert not np.isnan(error).any()
        assert (error <= bound).all(), f"{np.max(error / np.maximum(bound, 1e-300)):.3g} bounds"


def own_first(name, arguments):
    """Return the arguments with the one that the operation changes copied."""
    return (arguments[0].copy(), *arguments[1:]) if name == "sgd_update" else arguments


def call(name, arguments, keywords=None):
    return getattr(ops, name)(*own_first(name, arguments), **(keywords or {}))


@cache
def cases(name, dtype):
    """Return (arguments, keywords, truth, bound) for every size; the arguments are read-only."""
    rng = np.random.default_rng(7)
    result = []
    for arguments, keywords in OPERATIONS[name].make(rng, dtype):
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                argument.setflags(write=False)
        truth, bound = truth_and_bound(name, dtype, arguments, keywords)
        result.append((arguments, keywords, truth, bound))
    return result


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_matches_the_reference(name, dtype, isa, threads):
    for arguments, keywords, truth, bound in cases(name, dtype):
        results = call(name, arguments, keywords)
        assert_within(results, truth, bound, dtype)


# Properties over shapes and strides -------------------------------------------------------------

settings = hypothesis.settings(
    max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
lengths = st.integers(1, 70)
steps = st.sampled_from([1, 1, 2, 3, -1, -2])
dtypes = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
isas = st.sampled_from(fm.available_isas())
seeds = st.integers(0, 2**32 - 1)


def stepped(array, strides):
    """Return every step-th element along each axis, backwards where the step is negative."""
    return array[tuple(slice(None, None, step) for step in strides)]


@st.composite
def arrays(draw, dtype, *shape):
    """Draw a view of this shape: sliced with steps of either sign, maybe transposed."""
    rng = np.random.default_rng(draw(seeds))
    order = draw(st.permutations(range(len(shape))))
    strides = [draw(steps) for _ in shape]
    pads = [draw(st.integers(0, 2)) for _ in shape]
    base = rng.normal(size=[shape[axis] * abs(strides[axis]) + pads[axis] for axis in order])
    view = base.astype(dtype).transpose(np.argsort(order))
    return stepped(view[tuple(slice(pad, None) for pad in pads)], strides)


def check_property(name, dtype, arguments, keywords=None):
    truth, bound = truth_and_bound(name, dtype, arguments, keywords or {})
    assert_within(call(name, arguments, keywords), truth, bound, dtype)


@settings
@hypothesis.given(st.data())
def test_matmul_of_any_shape_and_strides(data):
    dtype, (m, k, n) = data.draw(dtypes), [data.draw(lengths) for _ in range(3)]
    transpose_a, transpose_b = data.draw(st.booleans()), data.draw(st.booleans())
    fm.set_isa(data.draw(isas))
    a = data.draw(arrays(dtype, *((k, m) if transpose_a else (m, k))))
    b = data.draw(arrays(dtype, *((n, k) if transpose_b else (k, n))))
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    check_property("matmul", dtype, (a, b), flags)


@settings
@hypothesis.given(st.data())
def test_dense_of_any_shape_and_strides(data):
    dtype, (n, n_in, n_out) = data.draw(dtypes), [data.draw(lengths) for _ in range(3)]
    fm.set_isa(data.draw(isas))
    x, w = data.draw(arrays(dtype, n, n_in)), data.draw(arrays(dtype, n_in, n_out))
    b = data.draw(st.none() | arrays(dtype, n_out))
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    check_property("dense_forward", dtype, (x, w, b), {"activation": activation})
    check_property("dense_backward", dtype, (data.draw(arrays(dtype, n, n_out)), x, w))


@settings
@hypothesis.given(st.data())
def test_functions_of_any_shape_and_strides(data):
    dtype, name = data.draw(dtypes), data.draw(st.sampled_from(POINTWISE + DERIVATIVES))
    shape = data.draw(st.lists(st.integers(1, 20), max_size=4))
    hypothesis.assume(np.prod(shape) < 20_000)
    fm.set_isa(data.draw(isas))
    given = [data.draw(arrays(dtype, *shape)) for _ in range(1 + name.endswith("_backward"))]
    if name == "softplus_backward":  # of a y that is not negative
        given[1] = np.abs(given[1])
    check_property(name, dtype, given)


@settings
@hypothesis.given(st.data())
def test_row_functions_and_losses_of_any_shape_and_strides(data):
    dtype, n, k = data.draw(dtypes), data.draw(lengths), data.draw(lengths)
    fm.set_isa(data.draw(isas))
    z, t = data.draw(arrays(dtype, n, k)), data.draw(arrays(dtype, n, k))
    labels = data.draw(arrays(np.dtype(np.float64), n)).view()
    for name in ROW_WISE:
        check_property(name, dtype, (z,))
    check_property("softmax_cross_entropy", dtype, (z, (np.abs(labels * 1e6) % k).astype(int)))
    check_property("softmax_cross_entropy", dtype, (z, np.abs(t)))
    check_property("binary_cross_entropy_with_logits", dtype, (z, np.abs(np.tanh(t))))
    for name in CLASS_LOSSES[1:]:
        check_property(name, dtype, (z, (np.abs(labels * 1e6) % k).astype(int)))
        check_property(name, dtype, (z, np.abs(np.tanh(t))))
    for name in BINARY_LOSSES[1:]:
        check_property(name, dtype, (z, np.abs(np.tanh(t))))
    for name in NUMBER_LOSSES:
        check_property(name, dtype, (z, np.abs(t)))
    params = z.copy()
    check_property("sgd_update", dtype, (params, t, 0.5))


# Where the arrays lie -----------------------------------------------------------------------------


def misaligned(array):
    """Return the same values at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = np.ndarray(array.shape, array.dtype, memory.data, offset=1)
    view[...] = array
    assert not view.flags.aligned or array.itemsize == 1
    return view


def in_records(array):
    """Return the same values as a field of packed records of odd size."""
    records = np.zeros(array.shape, [("before", np.uint8), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


def sliced(array, step):
    """Return the same values as every step-th element, along each axis, within a larger array."""
    base = np.zeros([abs(step) * length + 5 for length in array.shape], array.dtype)
    inner = base[tuple(slice(2, 2 + abs(step) * length) for length in array.shape)]
    view = stepped(inner, [step] * array.ndim)
    view[...] = array
    return view


LAYOUTS = {
    "misaligned": misaligned,
    "in records": in_records,
    "column-major": np.asfortranarray,
    "wide rows": lambda array: sliced(array, 1),
    "every second": lambda array: sliced(array, 2),
    "every third": lambda array: sliced(array, 3),
    "reversed": lambda array: sliced(array, -1),
    "every second, reversed": lambda array: sliced(array, -2),
}

PLACED = [
    ("matmul", ((17, 33), (33, 19)), {}),
    ("matmul", ((33, 17), (19, 33)), {"transpose_a": True, "transpose_b": True}),
    ("matmul", ((70, 301), (301, 260)), {}),
    ("matmul", ((301, 70), (260, 301)), {"transpose_a": True, "transpose_b": True}),
    ("matmul", ((1, 33), (33, 1)), {}),
    ("dense_forward", ((17, 33), (33, 19), (19,)), {"activation": "relu"}),
    ("dense_forward", ((70, 301), (301, 260), (260,)), {"activation": "softmax"}),
    ("dense_backward", ((17, 19), (17, 33), (33, 19)), {}),
    *((name, ((17, 33),), {}) for name in ACTIVATIONS),
    *((name, ((5, 3, 17),), {}) for name in POINTWISE),
    *((name, ((17, 33),) * 2, {}) for name in DERIVATIVES),
    *((name, ((65,),) * 2, {}) for name in DERIVATIVES),
    ("softmax_cross_entropy", ((17, 33),) * 2, {"label_smoothing": 0.1}),
    *((name, ((17, 33),) * 2, {}) for name in LOSSES),
    *((name, ((65,),) * 2, {}) for name in ELEMENT_LOSSES),
    *((name, ((5, 3, 17),) * 2, {}) for name in ELEMENT_LOSSES),
    ("binary_cross_entropy_with_logits", ((17,),) * 2, {}),
    ("sgd_update", ((17, 33),) * 2, {"lr": 0.25}),
]


def placed_id(case):
    name, shapes, keywords = case
    return "-".join([name, *map(str, shapes), *keywords])


def assert_same_bits(results, expected):
    for result, other in zip(as_tuple(results), as_tuple(expected), strict=True):
        assert np.asarray(result).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize("case", PLACED, ids=placed_id)
def test_results_do_not_depend_on_the_layout_of_inputs(case, dtype, isa):
    name, shapes, keywords = case
    rng = np.random.default_rng(3)
    given = [normal(rng, dtype, *shape) for shape in shapes]
    expected = call(name, given, keywords)
    for position, place in itertools.product(range(len(given)), LAYOUTS.values()):
        arguments = list(given)
        arguments[position] = place(given[position])
        arguments[position].setflags(write=False)
        assert_same_bits(call(name, arguments, keywords), expected)
    arguments = [place(array) for array, place in zip(given, LAYOUTS.values(), strict=False)]
    assert_same_bits(call(name, arguments, keywords), expected)


@pytest.mark.parametrize("shape", [(40, 7, 400), (67, 16, 192), (9, 3, 224)], ids=str)
@pytest.mark.parametrize("transpose_b", [False, True])
def test_products_do_not_depend_on_where_out_begins(shape, transpose_b, dtype, isa):
    m, k, n = shape
    rng = np.random.default_rng(5)
    a, b = normal(rng, dtype, m, k), normal(rng, dtype, *((n, k) if transpose_b else (k, n)))
    check_property("matmul", dtype, (a, b), {"transpose_a": False, "transpose_b": transpose_b})
    expected = ops.matmul(a, b, transpose_b=transpose_b)
    line = 64 // a.itemsize
    memory = np.empty(m * n + 2 * line, dtype)
    first = -memory.ctypes.data % 64 // a.itemsize
    for offset in range(line):
        memory[...] = np.nan
        out = memory[first + offset :][: m * n].reshape(m, n)
        ops.matmul(a, b, transpose_b=transpose_b, out=out)
        assert_same_bits(out, expected)
        assert np.isnan(memory).sum() == memory.size - m * n


@pytest.mark.parametrize("case", PLACED, ids=placed_id)
def test_broadcast_inputs(case, dtype):
    name, shapes, keywords = case
    rng = np.random.default_rng(4)
    given = [normal(rng, dtype, *shape) for shape in shapes]
    for position, array in enumerate(given):
        for corner in (array[:1], array[..., :1], array[(slice(1),) * array.ndim]):
            arguments = list(given)
            arguments[position] = np.broadcast_to(corner, array.shape)
            copies = [argument.copy() for argument in arguments]
            assert_same_bits(call(name, arguments, keywords), call(name, copies, keywords))


@pytest.mark.parametrize("place", LAYOUTS)
@pytest.mark.parametrize("label_type", [np.int64, np.int32, np.uint8, np.uint64, ">i8"])
def test_class_indices_of_any_layout(label_type, place, dtype):
    rng = np.random.default_rng(5)
    logits = normal(rng, dtype, 17, 9)
    labels = rng.integers(9, size=17)
    expected = ops.softmax_cross_entropy(logits, labels)
    placed = LAYOUTS[place](labels.astype(label_type))
    assert_same_bits(ops.softmax_cross_entropy(logits, placed), expected)
    assert_same_bits(ops.softmax_cross_entropy(logits, labels.tolist()), expected)


WITH_OUT = [case for case in PLACED if "out" in inspect.signature(getattr(ops, case[0])).parameters]


def test_out_is_taken_where_the_table_says():
    names = {name for name, *_ in WITH_OUT}
    assert names == {"matmul", "dense_forward", *ACTIVATIONS, *DERIVATIVES}


def framed(shape, dtype, place):
    """Return an array to write into and all the memory around it."""
    marked = place(np.full(shape, 7.25, dtype))
    base = marked
    while isinstance(base.base, np.ndarray):
        base = base.base
    return marked, base


@pytest.mark.parametrize("place", LAYOUTS)
@pytest.mark.parametrize("case", WITH_OUT, ids=placed_id)
def test_out_of_any_layout_is_filled_and_nothing_else(case, place, dtype):
    name, shapes, keywords = case
    rng = np.random.default_rng(6)
    given = [normal(rng, dtype, *shape) for shape in shapes]
    before = [array.copy() for array in given]
    expected = call(name, given, keywords)
    out, base = framed(expected.shape, dtype, LAYOUTS[place])
    outside = base.copy()
    result = call(name, given, {**keywords, "out": out})
    assert result is out
    np.testing.assert_array_equal(out, expected)
    out[...] = 7.25
    assert base.tobytes() == outside.tobytes()
    assert_same_bits(tuple(given), tuple(before))


@pytest.mark.parametrize("place", ["contiguous", *LAYOUTS])
@pytest.mark.parametrize("name", [*ACTIVATIONS, *DERIVATIVES])
def test_out_may_be_an_input_of_a_function(name, place, dtype, isa):
    rng = np.random.default_rng(8)
    count = 1 + name.endswith("_backward")
    given = [normal(rng, dtype, 17, 33) for _ in range(count)]
    expected = call(name, given)
    for position in range(count):
        arguments = [LAYOUTS.get(place, np.copy)(array) for array in given]
        target = arguments[position]
        assert call(name, arguments, {"out": target}) is target
        np.testing.assert_array_equal(target, expected)
        # The very same memory through another array is the same array.
        arguments = [LAYOUTS.get(place, np.copy)(array) for array in given]
        again = arguments[position].view()
        assert call(name, arguments, {"out": again}) is again
        np.testing.assert_array_equal(arguments[position], expected)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_all_arguments_of_a_derivative_may_be_one_array(name, dtype):
    y = np.linspace(-0.9, 0.9, 37).astype(dtype)
    expected = call(name, (y.copy(), y.copy()))
    call(name, (y, y), {"out": y})
    np.testing.assert_array_equal(y, expected)


def test_update_in_place_of_any_layout(dtype):
    rng = np.random.default_rng(9)
    given, grads = normal(rng, dtype, 17, 33), normal(rng, dtype, 17, 33)
    expected = ops.sgd_update(given.copy(), grads, 0.5)
    for place in LAYOUTS.values():
        params = place(given)
        assert ops.sgd_update(params, grads, 0.5) is params
        np.testing.assert_array_equal(params, expected)
    params = given.copy()
    np.testing.assert_array_equal(ops.sgd_update(params, params, 0.5), given * dtype.type(0.5))


# Errors -------------------------------------------------------------------------------------------


def overlapping_calls(module, dtype):
    """Yield (name, function of no argument, all memory it can reach, argument named)."""
    rng = np.random.default_rng(10)

    def pool():
        return normal(rng, dtype, 12, 12)

    p = pool()
    yield "matmul", lambda p=p: module.matmul(p, p, out=p), p
    p = pool()
    yield "matmul", lambda p=p: module.matmul(p[:4], p[:, :5], out=p[4:8, :5]), p
    p = pool()
    yield "matmul", lambda p=p: module.matmul(p[:4, :4].copy(), p[:4, :4], out=p[3:7, 3:7]), p
    p = pool()
    yield "dense_forward", lambda p=p: module.dense_forward(p, p.copy(), out=p), p
    p = pool()
    yield "dense_forward", lambda p=p: module.dense_forward(p.copy(), p, out=p.T), p
    p = pool()
    yield (
        "dense_forward",
        lambda p=p: module.dense_forward(p.copy(), p.copy(), p[3], out=p),
        p,
    )
    for name in ACTIVATIONS:
        p = pool()
        yield name, lambda p=p, name=name: getattr(module, name)(p[:-1], out=p[1:]), p
        p = pool()
        yield name, lambda p=p, name=name: getattr(module, name)(p, out=p.T), p
        p = pool()
        yield name, lambda p=p, name=name: getattr(module, name)(p, out=p[::-1]), p
    for name in DERIVATIVES:
        p = pool()
        yield (
            name,
            lambda p=p, name=name: getattr(module, name)(p[1:].copy(), p[1:], out=p[:-1]),
            p,
        )
        p = pool()
        yield name, lambda p=p, name=name: getattr(module, name)(p[1:], p[:-1], out=p[1:]), p


@pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])
def test_out_that_overlaps_an_input_is_refused(module, dtype):
    for name, function, memory in overlapping_calls(module, dtype):
        before = memory.copy()
        with pytest.raises(ValueError, match="out overlaps"):
            function()
        assert memory.tobytes() == before.tobytes(), name


@pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])
def test_parameters_that_partly_overlap_their_gradients_are_refused(module, dtype):
    memory = np.arange(300, dtype=dtype)
    before = memory.copy()
    for params, grads in ((memory[1:], memory[:-1]), (memory, memory[::-1])):
        with pytest.raises(ValueError, match="grads"):
            module.sgd_update(params, grads, 0.5)
        np.testing.assert_array_equal(memory, before)


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


READ_ONLY = np.broadcast_to(np.float32(1), (3, 3))
DOUBLE = np.float64
F32 = np.float32

BAD_CALLS = [
    # name, arguments, keywords, exception, what the message names
    ("matmul", (ones(3), ones(3, 3)), {}, ValueError, "a must"),
    ("matmul", (ones(3, 3), ones(3)), {}, ValueError, "b must"),
    ("matmul", (ones(3, 3), ones(2, 3)), {}, ValueError, "b:"),
    ("matmul", (ones(3, 2), ones(3, 2)), {}, ValueError, "b:"),
    ("matmul", (ones(3, 2), ones(3, 2)), {"transpose_a": True, "transpose_b": True},
     ValueError, "b:"),
    ("matmul", (ones(3, 3), ones(3, 3, dtype=DOUBLE)), {}, TypeError, "b is"),
    ("matmul", (ones(3, 3).astype(int), ones(3, 3)), {}, TypeError, "a must"),
    ("matmul", (ones(3, 3).astype(np.float16), ones(3, 3)), {}, TypeError, "a must"),
    # NumPy cannot tell this dtype in a buffer, which is how the core first looks at arrays.
    ("matmul", (np.zeros((3, 3), "M8[s]"), ones(3, 3)), {}, TypeError, "a must"),
    ("matmul", (ones(3, 3).astype(">f4"), ones(3, 3)), {}, TypeError, "a must"),
    ("matmul", (ones(3, 3), ones(3, 3).astype(complex)), {}, TypeError, "b must"),
    ("matmul", (ones(3, 3), "text"), {}, TypeError, "b must"),
    ("matmul", (None, ones(3, 3)), {}, TypeError, "a must"),
    ("matmul", (ones(0, 3), ones(3, 3)), {}, ValueError, "a is empty"),
    ("matmul", (ones(3, 0), ones(0, 3)), {}, ValueError, "a is empty"),
    ("matmul", (ones(3, 3), ones(3, 0)), {}, ValueError, "b is empty"),
    ("matmul", (ones(3, 3), ones(3, 3)), {"out": ones(3, 2)}, ValueError, "out has"),
    ("matmul", (ones(3, 3), ones(3, 3)), {"out": ones(9)}, ValueError, "out has"),
    ("matmul", (ones(3, 3), ones(3, 3)), {"out": ones(3, 3, dtype=DOUBLE)}, TypeError, "out must"),
    ("matmul", (ones(3, 3), ones(3, 3)), {"out": READ_ONLY}, ValueError, "out is read-only"),
    ("matmul", (ones(3, 3), ones(3, 3)), {"out": [[1.0]]}, TypeError, "out must"),
    ("matmul", (np.ma.masked_less(ones(3, 3), 2), ones(3, 3)), {}, TypeError, "a is"),
    ("dense_forward", (ones(3), ones(3, 3)), {}, ValueError, "x must"),
    ("dense_forward", (ones(3, 2), ones(3, 3)), {}, ValueError, "x has"),
    ("dense_forward", (ones(3, 3), ones(3, 3, dtype=DOUBLE)), {}, TypeError, "w is"),
    ("dense_forward", (ones(3, 3), ones(3, 3), ones(2)), {}, ValueError, "b has"),
    ("dense_forward", (ones(3, 3), ones(3, 3), ones(3, 3)), {}, ValueError, "b must"),
    ("dense_forward", (ones(3, 3), ones(3, 3), ones(3, dtype=DOUBLE)), {}, TypeError, "b is"),
    ("dense_forward", (ones(3, 3), ones(3, 3)), {"activation": "swish"}, ValueError, "activation"),
    ("dense_forward", (ones(3, 3), ones(3, 3)), {"activation": None}, TypeError, "activation"),
    ("dense_forward", (ones(3, 3), ones(3, 3)), {"out": ones(3)}, ValueError, "out has"),
    ("dense_backward", (ones(3), ones(3, 3), ones(3, 3)), {}, ValueError, "dy must"),
    ("dense_backward", (ones(3, 3), ones(2, 3), ones(3, 3)), {}, ValueError, "x has"),
    ("dense_backward", (ones(3, 3), ones(3, 3), ones(3, 2)), {}, ValueError, "w has"),
    ("dense_backward", (ones(3, 3), ones(3, 3), ones(3, 3, dtype=DOUBLE)), {}, TypeError, "w is"),
    ("dense_backward", (ones(0, 3), ones(0, 3), ones(3, 3)), {}, ValueError, "dy is empty"),
    *(
        (name, arguments, keywords, kind, words)
        for name in ACTIVATIONS
        for arguments, keywords, kind, words in (
            ((ones(3, 3).astype(int),), {}, TypeError, "z must"),
            ((np.ones((0, 3), F32),), {}, ValueError, "z is empty"),
            ((ones(3, 3),), {"out": ones(3, 2)}, ValueError, "out has"),
            ((ones(3, 3),), {"out": ones(3, 3, dtype=DOUBLE)}, TypeError, "out must"),
            ((ones(3, 3),), {"out": READ_ONLY}, ValueError, "out is read-only"),
            (([["a"]],), {}, TypeError, "z must"),
        )
    ),
    *((name, (ones(3),), {}, ValueError, "z must") for name in ROW_WISE),
    *((name, (ones(2, 3, 3),), {}, ValueError, "z must") for name in ROW_WISE),
    *(
        (name, arguments, {}, kind, words)
        for name in DERIVATIVES
        for arguments, kind, words in (
            ((ones(3), ones(2)), ValueError, "[yz] has"),
            ((ones(3), ones(3, 1)), ValueError, "[yz] has"),
            ((ones(3), ones(3, dtype=DOUBLE)), TypeError, "[yz] is"),
            ((ones(3).astype(int), ones(3)), TypeError, "dy must"),
        )
    ),
    ("softmax_cross_entropy", (ones(3), np.zeros(3, int)), {}, ValueError, "logits must"),
    ("softmax_cross_entropy", (ones(3, 3), np.zeros(2, int)), {}, ValueError, "targets has"),
    ("softmax_cross_entropy", (ones(3, 3), np.zeros((3, 1), int)), {}, ValueError, "targets has"),
    ("softmax_cross_entropy", (ones(3, 3), [0, 1, 3]), {}, ValueError, r"targets\[2\] is 3"),
    ("softmax_cross_entropy", (ones(3, 3), [0, -1, 0]), {}, ValueError, r"targets\[1\] is -1"),
    ("softmax_cross_entropy", (ones(3, 3), np.array([2**63, 0, 0], np.uint64)), {}, ValueError,
     r"targets\[0\]"),
    ("softmax_cross_entropy", (ones(3, 3), ones(3)), {}, ValueError, "targets must"),
    ("softmax_cross_entropy", (ones(3, 3), ones(3, 2)), {}, ValueError, "targets has"),
    ("softmax_cross_entropy", (ones(3, 3), ones(3, 3, dtype=DOUBLE)), {}, TypeError, "targets is"),
    ("softmax_cross_entropy", (ones(3, 3), ["a", "b", "c"]), {}, TypeError, "targets"),
    *(
        ("softmax_cross_entropy", (ones(3, 3, dtype=dtype), np.eye(3, dtype=kind)), {}, TypeError,
         f"targets must be {np.dtype(dtype)} like logits .*, its dtype is {kind}")
        for dtype in (F32, DOUBLE)
        for kind in ("int64", "uint8", "bool")
    ),
    *(
        (name, arguments, {}, kind, words)
        for name, first in (
            ("binary_cross_entropy_with_logits", "logits"), ("mean_squared_error", "predictions")
        )
        for arguments, kind, words in (
            ((ones(3), ones(2)), ValueError, "targets has"),
            ((ones(3), ones(3, 1)), ValueError, "targets has"),
            ((ones(3), ones(3, dtype=DOUBLE)), TypeError, "targets is"),
            ((ones(3).astype(int), ones(3)), TypeError, first),
            ((ones(0), ones(0)), ValueError, first),
        )
    ),
    ("tanh_backward", (ones(3), ones(2)), {}, ValueError, "y has"),
    *((f"{name}_backward", (ones(3), ones(2)), {}, ValueError, "z has") for name in TAKING_Z),
    ("sgd_update", ([1.0], ones(1), 0.1), {}, TypeError, "params must"),
    ("sgd_update", (ones(3), ones(2), 0.1), {}, ValueError, "grads has"),
    ("sgd_update", (ones(3), ones(3, dtype=DOUBLE), 0.1), {}, TypeError, "grads is"),
    ("sgd_update", (ones(3), ones(3), "fast"), {}, TypeError, "lr must"),
    ("sgd_update", (ones(3), ones(3), True), {}, TypeError, "lr must"),
    ("sgd_update", (ones(3), ones(3), float("nan")), {}, ValueError, "lr must"),
    ("sgd_update", (ones(3), ones(3), float("inf")), {}, ValueError, "lr must"),
]  # fmt: skip


@pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])
@pytest.mark.parametrize(
    ("name", "arguments", "keywords", "kind", "words"),
    BAD_CALLS,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(BAD_CALLS)],
)
def test_bad_arguments_are_named_and_nothing_changes(
    module, name, arguments, keywords, kind, words
):
    involved = [a for a in (*arguments, *keywords.values()) if isinstance(a, np.ndarray)]
    before = [array.tobytes() for array in involved]
    with pytest.raises(kind, match=rf"^{words}"):
        getattr(module, name)(*arguments, **keywords)
    assert [array.tobytes() for array in involved] == before


def test_read_only_parameters_are_refused(dtype):
    params = np.ones(3, dtype)
    params.setflags(write=False)
    with pytest.raises(ValueError, match="params is read-only"):
        ops.sgd_update(params, np.ones(3, dtype), 0.1)


# Extreme values ---------------------------------------------------------------------------------


def extremes(dtype):
    """Return zeros, subnormal, tiny, ordinary, large and infinite values of both signs."""
    info = np.finfo(dtype)
    positive = [0, info.smallest_subnormal, info.tiny / 3, info.tiny, 1e-20, info.eps, 0.5, 1]
    positive += [10, 88, 89, 104, 709, 710, 746, 1e4, 1e15, info.max / 4, info.max, np.inf]
    values = np.array(positive, dtype)
    return np.concatenate([values, -values])


@pytest.mark.parametrize("name", POINTWISE)
def test_functions_of_extreme_values(name, dtype, isa):
    z = extremes(dtype)
    truth, bound = truth_and_bound(name, dtype, (z,), {})
    result = call(name, (z,))
    assert_within(result, truth, bound, dtype)
    subnormal = np.abs(z) < np.finfo(dtype).tiny
    if name in ("identity", "tanh"):  # nothing is flushed to zero
        np.testing.assert_array_equal(result[subnormal], z[subnormal])


FAR_BELOW = {
    # By mpmath, 40 digits.
    "gelu": {
        -0.75: -0.16997051428265114,
        -1.5: -0.1002108019032871,
        -5: -1.4332578593959695e-06,
        -9: -1.0157295653584566e-18,
        -12.5: -4.665705373597142e-35,
        -13: -7.952313719414843e-38,
        -20: -5.507248237212468e-88,
        -30.75: -1.8800264270456532e-206,
        -37: -2.1184613523340935e-298,
    },
    "silu": {
        -0.75: -0.24061597561845527,
        -1.5: -0.2736382857095345,
        -5: -0.03346425462142428,
        -20: -4.122307236380407e-08,
        -85: -1.0336844043649018e-35,
        -89.5: -1.2091130400474887e-37,
        -300: -1.5444600667236042e-128,
        -700: -6.90177358063184e-302,
    },
    "mish": {
        -0.75: -0.2764947145054652,
        -1.5: -0.29809974216680674,
        -5: -0.033576237730161704,
        -20: -4.122307240628761e-08,
        -85: -1.0336844043649018e-35,
        -89.5: -1.2091130400474887e-37,
        -300: -1.5444600667236042e-128,
        -700: -6.90177358063184e-302,
    },
    "softplus": {
        -0.75: 0.38687100611489994,
        -1.5: 0.2014132779827524,
        -5: 0.006715348489118068,
        -20: 2.061153620314381e-09,
        -85: 1.2160992992528256e-37,
        -300: 5.148200222412013e-131,
        -700: 9.85967654375977e-305,
    },
}


@pytest.mark.parametrize("name", FAR_BELOW)
def test_functions_far_below_zero_keep_their_digits(name, dtype, isa):
    z = np.array([*FAR_BELOW[name]], dtype)
    truth = np.array([*FAR_BELOW[name].values()])
    normal_range = np.abs(truth) > np.finfo(dtype).tiny
    eps = float(np.finfo(dtype).eps)
    result = call(name, (z,)).astype(np.float64)
    np.testing.assert_allclose(result[normal_range], truth[normal_range], rtol=3 * eps)


@pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])
@pytest.mark.parametrize("name", [name for name in POINTWISE if name != "exp"])
def test_functions_of_infinity(module, name, dtype, isa):
    z = np.array([np.inf, -np.inf], dtype)
    ends = {
        "identity": (np.inf, -np.inf),
        "sigmoid": (1, 0),
        "tanh": (1, -1),
        "leaky_relu": (np.inf, -np.inf),
        "elu": (np.inf, -1),
        "selu": (np.inf, -1.7580993408473766),
    }.get(name, (np.inf, 0))
    found = getattr(module, name)(z)
    np.testing.assert_allclose(found, ends, rtol=float(np.finfo(dtype).eps))
    if name in TAKING_Z:
        slopes = getattr(module, f"{name}_backward")(np.ones(2, dtype), z)
        np.testing.assert_array_equal(slopes, [1, 0])


@pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])
def test_relu_keeps_the_sign_of_zero(module, dtype, isa):
    for n in range(1, 70):
        z = np.zeros(n, dtype)
        z[::2] = -0.0
        assert module.relu(z).tobytes() == z.tobytes()
        assert module.relu(z, out=z.copy()).tobytes() == z.tobytes()
        below = np.full(n, -np.finfo(dtype).smallest_subnormal, dtype)
        assert module.relu(below).tobytes() == np.zeros(n, dtype).tobytes()


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_at_extreme_gradients(name, dtype, isa):
    dy = extremes(dtype)[np.isfinite(extremes(dtype))]
    for value in (0, 0.25, 1):
        y = np.full_like(dy, value)
        truth, bound = truth_and_bound(name, dtype, (dy, y), {})
        assert_within(call(name, (dy, y)), truth, bound, dtype)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("scale", [1e4, 1e30, 1e-40])
def test_rows_of_extreme_logits(name, scale, dtype, isa):
    rng = np.random.default_rng(11)
    z = (rng.normal(size=(9, 37)) * scale).astype(dtype)
    z[3] = z[3, 0]
    z[4] = -scale
    z[5, 7:] = -np.inf
    z[6, :-1] = -np.inf
    truth, bound = truth_and_bound(name, dtype, (z,), {})
    result = call(name, (z,))
    assert_within(result, truth, bound, dtype)
    if name == "softmax":
        sums = result.sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(sums, 1, rtol=40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("scale", [1e4, 1e15, 1e-40])
def test_losses_at_extreme_logits(scale, dtype, isa):
    rng = np.random.default_rng(12)
    z = (rng.normal(size=(9, 37)) * scale).astype(dtype)
    t = rng.integers(2, size=z.shape).astype(dtype)
    labels = rng.integers(37, size=9)
    for name, targets in (
        ("softmax_cross_entropy", labels),
        ("softmax_cross_entropy", one_hot(labels, 37, dtype)),
        ("binary_cross_entropy_with_logits", t),
        ("mean_squared_error", t),
    ):
        truth, bound = truth_and_bound(name, dtype, (z, targets), {})
        assert_within(call(name, (z, targets)), truth, bound, dtype)


@pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])
def test_classes_of_no_weight_may_have_a_logit_of_minus_infinity(module, dtype):
    logits = np.array([[1, -np.inf, 2], [-np.inf, 3, -np.inf]], dtype)
    from_labels = module.softmax_cross_entropy(logits, np.array([2, 1]))
    expected = np.log1p(np.exp(-1)) / 2
    assert from_labels[0] == pytest.approx(expected, rel=8 * float(np.finfo(dtype).eps))
    from_weights = module.softmax_cross_entropy(logits, one_hot([2, 1], 3, dtype))
    assert from_weights[0] == pytest.approx(expected, rel=8 * float(np.finfo(dtype).eps))
    np.testing.assert_allclose(from_weights[1], from_labels[1], atol=float(np.finfo(dtype).eps))


@pytest.mark.parametrize("module", [ops, reference_ops], ids=["ops", "reference"])
def test_squares_of_large_errors_are_summed_in_float64(module):
    predictions = np.array([[1e20, 1]], np.float32)
    loss, gradient = module.mean_squared_error(predictions, np.zeros_like(predictions))
    assert loss == pytest.approx(5e39, rel=1e-6)
    np.testing.assert_array_equal(gradient, predictions)


@pytest.mark.parametrize("place", [0, 15, 16, 36])
def test_nan_propagates(place, dtype, isa):
    clean = np.linspace(-1, 1, 3 * 37).reshape(3, 37).astype(dtype)
    z = clean.copy()
    z[1, place] = np.nan
    only = np.isnan(z)
    row = np.zeros_like(only)
    row[1] = True
    for name in POINTWISE:
        np.testing.assert_array_equal(np.isnan(call(name, (z,))), only)
    for name in ROW_WISE:
        np.testing.assert_array_equal(np.isnan(call(name, (z,))), row)
    for name in DERIVATIVES:
        dy = np.abs(clean) + 1
        np.testing.assert_array_equal(np.isnan(call(name, (z, dy))), only)
    loss, gradient = ops.softmax_cross_entropy(z, np.zeros(3, int))
    assert np.isnan(loss)
    np.testing.assert_array_equal(np.isnan(gradient), row)
    for name in ("binary_cross_entropy_with_logits", "mean_squared_error"):
        loss, gradient = call(name, (z, np.abs(clean)))
        assert np.isnan(loss)
        np.testing.assert_array_equal(np.isnan(gradient), only)
    b = np.ones((37, 5), dtype)
    rows = np.zeros((3, 5), bool)
    rows[1] = True
    np.testing.assert_array_equal(np.isnan(ops.matmul(z, b)), rows)
    for activation in ACTIVATIONS:
        output = ops.dense_forward(z, b, activation=activation)
        np.testing.assert_array_equal(np.isnan(output), rows)
    np.testing.assert_array_equal(np.isnan(ops.sgd_update(clean.copy(), z, 0.1)), only)
    dx, dw, db = ops.dense_backward(z, np.ones((3, 4), dtype), np.ones((4, 37), dtype))
    assert np.isnan(dx[1]).all()
    assert not np.isnan(dx[[0, 2]]).any()
    assert np.isnan(dw[:, place]).all()
    np.testing.assert_array_equal(np.isnan(db), only.any(axis=0))


def test_infinity_times_zero_in_a_product_is_nan(dtype, isa):
    a, b = np.ones((3, 17), dtype), np.ones((17, 33), dtype)
    a[1, 16], b[16, 4] = np.inf, 0
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(ops.matmul(a, b), a @ b)


@pytest.mark.parametrize("n", [2, 10, 31, 32, 33])
@pytest.mark.parametrize("likely", ["first", "last"])
def test_cross_entropy_of_a_confident_prediction(n, likely, dtype, isa):
    """What the other classes have must not be lost beside the 1 of the likely one."""
    top = 0 if likely == "first" else n - 1
    z = np.zeros((5, n), dtype)
    z[:, top] = [4, 8, 12, 13, 15]
    labels = np.full(5, top)
    others = (n - 1) * np.exp(-z[:, top].astype(np.float64))
    loss, gradient = fm.ops.softmax_cross_entropy(z, labels)
    eps = np.finfo(dtype).eps
    # Row after row, as more than 32 outputs are taken, 1 - p has the error of p.
    bound = (n + 8) * eps * (np.ones(5) if n > 32 else others / (1 + others))
    np.testing.assert_array_less(
        np.abs(gradient[:, top] + others / (1 + others) / 5), bound / 5 + np.finfo(dtype).tiny
    )
    assert abs(loss - np.log1p(others).mean()) <= np.mean(bound)


def test_cross_entropy_of_labels_does_not_depend_on_the_rows_around(dtype, isa):
    rng = np.random.default_rng(0)
    z, labels = rng.normal(scale=5, size=(37, 10)).astype(dtype), rng.integers(10, size=37)
    _, whole = fm.ops.softmax_cross_entropy(z, labels)
    for i in range(37):
        _, alone = fm.ops.softmax_cross_entropy(z[i : i + 1], labels[i : i + 1])
        np.testing.assert_array_less(
            np.abs(alone[0] / 37 - whole[i]), 4 * np.finfo(dtype).eps * np.abs(alone[0]) + 1e-30
        )
