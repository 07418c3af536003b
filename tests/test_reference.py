"""The NumPy reference: gradients, numerics, training, and what it refuses."""

import math
import re
from collections import Counter

import numpy as np
import pytest

from fastmlp.callbacks import Callback
from fastmlp.checks import check_features
from fastmlp.errors import DivergenceError
from fastmlp.initializers import initial_weights
from fastmlp.reference import MLP, ops
from fastmlp.reference.mlp import PREDICTION_ROWS, epoch_order
from fastmlp.scores import R2

DTYPES = ["float32", "float64"]
MNIST_LAYERS = [784, 128, 64, 32, 10]
POINTWISE = [
    "identity", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "mish",
]  # fmt: skip
EPS = float(np.finfo(np.float64).eps)


def make_classes(n=300, n_features=8, n_classes=4, seed=0):
    """Draw clusters so far apart that a network can tell them all."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=3.0, size=(n_classes, n_features))
    y = rng.integers(n_classes, size=n)
    X = centers[y] + 0.3 * rng.normal(size=(n, n_features))
    return X.astype(np.float32), y


def parameters(net):
    return [*net.weights, *net.biases]


def snapshot(net):
    return [p.copy() for p in parameters(net)]


def assert_same_bits(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# Gradients ----------------------------------------------------------------------------------


def assert_gradient(loss_of, parameter, gradient):
    """Compare a gradient with central differences D(h), element by element.

    The truncation error of D is c h² with nearly the same c at h and at 2h, so |D(2h) - D(h)| is
    three times it. The rest is the rounding of two losses, each a sum of fewer than 50 terms,
    divided by 2h.
    """
    h = EPS ** (1 / 3)
    for index in np.ndindex(parameter.shape):
        center = parameter[index]
        losses = {}
        for step in (-2, -1, 1, 2):
            parameter[index] = center + step * h
            losses[step] = loss_of()
        parameter[index] = center
        narrow = (losses[1] - losses[-1]) / (2 * h)
        wide = (losses[2] - losses[-2]) / (4 * h)
        tolerance = abs(wide - narrow) + 50 * EPS * max(1.0, abs(losses[1])) / h
        assert abs(gradient[index] - narrow) <= tolerance, index


def targets_for(output, n, k, rng):
    if output == "softmax":
        return rng.integers(k, size=n)
    if output == "probabilities":
        return rng.dirichlet(np.ones(k), size=n)
    if output == "sigmoid":
        return rng.random((n, k))
    return rng.normal(size=(n, k))


def smooth_problem(hidden, output, k):
    """Build a network and a batch with no pre-activation near the kink of relu."""
    last = "softmax" if output == "probabilities" else output
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        net = MLP([3, 5, 4, k], [hidden, hidden, last], dtype="float64", seed=seed)
        for b in net.biases:
            b[...] = rng.normal(size=b.shape)
        X = rng.normal(size=(6, 3))
        a, distances = X, []
        for w, b, name in zip(net.weights, net.biases, net.activations, strict=True):
            z = a @ w + b
            distances.append(np.abs(z).min())
            a = ops.dense_forward(a, w, b, name)
        if min(distances) > 1e-3:
            return net, X, targets_for(output, 6, k, rng)
    raise AssertionError("no smooth problem found")


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("output", ["softmax", "probabilities", *POINTWISE])
@pytest.mark.parametrize("hidden", POINTWISE)
def test_gradients_match_finite_differences(hidden, output, k):
    net, X, y = smooth_problem(hidden, output, k)
    loss, weight_gradients, bias_gradients = net.loss_and_gradients(X, y)
    assert loss == pytest.approx(net.evaluate(X, y)["loss"], rel=8 * EPS)
    gradients = [*weight_gradients, *bias_gradients]
    for parameter, gradient in zip(parameters(net), gradients, strict=True):
        assert gradient.shape == parameter.shape
        assert gradient.dtype == parameter.dtype
        assert_gradient(lambda: net.evaluate(X, y)["loss"], parameter, gradient)


def test_dense_backward_matches_finite_differences():
    rng = np.random.default_rng(3)
    x, w, b = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    dy = rng.normal(size=(5, 3))

    def loss():
        return float((dy * ops.dense_forward(x, w, b)).sum())

    for parameter, gradient in zip((x, w, b), ops.dense_backward(dy, x, w), strict=True):
        assert_gradient(loss, parameter, gradient)


def test_probabilities_that_do_not_sum_to_one_keep_the_gradient_right():
    rng = np.random.default_rng(4)
    z, t = rng.normal(size=(4, 3)), 2 * rng.random((4, 3))
    _, dz = ops.softmax_cross_entropy(z, t)
    assert_gradient(lambda: ops.softmax_cross_entropy(z, t)[0], z, dz)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_gradient_is_output_minus_target(dtype):
    rng = np.random.default_rng(5)
    z = (4 * rng.normal(size=(7, 5))).astype(dtype)
    classes = rng.integers(5, size=7)
    one_hot = np.eye(5, dtype=dtype)[classes]
    tolerance = 4 * float(np.finfo(dtype).eps)

    loss, dz = ops.softmax_cross_entropy(z, classes)
    np.testing.assert_allclose(7 * dz, ops.softmax(z) - one_hot, rtol=0, atol=tolerance)
    same_loss, same_dz = ops.softmax_cross_entropy(z, one_hot)
    assert same_loss == pytest.approx(loss, rel=4 * tolerance)
    np.testing.assert_allclose(same_dz, dz, rtol=0, atol=tolerance)

    _, dz = ops.binary_cross_entropy_with_logits(z, one_hot)
    np.testing.assert_allclose(35 * dz, ops.sigmoid(z) - one_hot, rtol=0, atol=tolerance)


def test_softmax_jacobian():
    z = np.random.default_rng(6).normal(size=(1, 4))
    y = ops.softmax(z)[0]
    jacobian = np.diag(y) - np.outer(y, y)
    for j in range(4):
        assert_gradient(lambda j=j: float(ops.softmax(z)[0, j]), z, jacobian[[j]])


# Numerics of the ops ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_ops_agree_with_plain_formulas(dtype):
    rng = np.random.default_rng(7)
    eps = float(np.finfo(dtype).eps)
    x, w, b = (rng.normal(size=s).astype(dtype) for s in [(9, 17), (17, 5), (5,)])
    x64, w64, b64 = (a.astype(np.float64) for a in (x, w, b))
    z64 = x64 @ w64 + b64
    # The error of a sum of k products is at most k eps times the sum of their magnitudes.
    bound = 19 * eps * (np.abs(x64) @ np.abs(w64) + np.abs(b64))
    z = ops.dense_forward(x, w, b)
    assert np.all(np.abs(z - z64) <= bound)
    plain = {
        "identity": z64,
        "relu": np.maximum(z64, 0),
        "sigmoid": 1 / (1 + np.exp(-z64)),
        "tanh": np.tanh(z64),
        "leaky_relu": np.maximum(z64, 0.01 * z64),
        "elu": np.where(z64 > 0, z64, np.exp(z64) - 1),
        "selu": 1.0507009873554805 * np.where(z64 > 0, z64, 1.6732632423543772 * (np.exp(z64) - 1)),
        "softplus": np.log(1 + np.exp(z64)),
        "gelu": z64 * [[(1 + math.erf(v / math.sqrt(2))) / 2 for v in row] for row in z64],
        "silu": z64 / (1 + np.exp(-z64)),
        "mish": z64 * np.tanh(np.log(1 + np.exp(z64))),
        "exp": np.exp(z64),
        "softmax": np.exp(z64) / np.exp(z64).sum(axis=1, keepdims=True),
        "log_softmax": z64 - np.log(np.exp(z64).sum(axis=1, keepdims=True)),
    }
    assert plain.keys() == ops.FORWARDS.keys()
    for name, expected in plain.items():
        y = ops.dense_forward(x, w, b, name)
        assert y.dtype == dtype
        # No activation has a slope above 2 in any argument, which log_softmax has, but exp.
        slope = expected if name == "exp" else 2
        slack = slope * bound.max(axis=1, keepdims=True) + 8 * eps * (1 + np.abs(expected))
        assert np.all(np.abs(y - expected) <= slack), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_matmul_transposes(transpose_a, transpose_b, dtype):
    rng = np.random.default_rng(8)
    # Small whole numbers, so that every product and sum is exact.
    left = rng.integers(-9, 10, size=(3, 4)).astype(dtype)
    right = rng.integers(-9, 10, size=(4, 5)).astype(dtype)
    a = left.T.copy() if transpose_a else left
    b = right.T.copy() if transpose_b else right
    out = np.full((3, 5), np.nan, dtype)
    result = ops.matmul(a, b, transpose_a, transpose_b, out=out)
    assert result is out
    np.testing.assert_array_equal(result, np.einsum("ij,jk->ik", left, right))
    assert_same_bits([ops.matmul(a, b, transpose_a, transpose_b)], [result])


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_logits_stay_finite(dtype):
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype)
    third = np.asarray(1 / 3, dtype)
    np.testing.assert_array_equal(ops.softmax(z), np.array([[1, 0, 0], [third] * 3], dtype))
    np.testing.assert_array_equal(ops.sigmoid(z), [[1, 0, 0.5], [0, 0, 0]])
    np.testing.assert_array_equal(ops.tanh(z), [[1, -1, 0], [-1, -1, -1]])
    log_probabilities = ops.log_softmax(z)
    np.testing.assert_array_equal(log_probabilities[0], [0, -2e4, -1e4])
    np.testing.assert_allclose(log_probabilities[1], -math.log(3), rtol=np.finfo(dtype).eps * 4)

    loss, dz = ops.softmax_cross_entropy(z, np.array([1, 0]))
    assert loss == pytest.approx((2e4 + math.log(3)) / 2, rel=1e-7)
    np.testing.assert_allclose(dz[0], [0.5, -0.5, 0], atol=0)
    loss, dz = ops.binary_cross_entropy_with_logits(z, np.array([[0, 1, 1], [0, 0, 1]], dtype))
    assert loss == pytest.approx((3e4 + math.log(2)) / 6, rel=1e-7)
    np.testing.assert_allclose(6 * dz, [[1, -1, -0.5], [0, 0, -1]], rtol=1e-6)


def test_small_sigmoids_keep_their_digits():
    z = np.array([-80.0, -20.0, -1.0], np.float32)
    np.testing.assert_allclose(ops.sigmoid(z), 1 / (1 + np.exp(-z.astype(np.float64))), rtol=1e-6)


def test_mean_squared_error_sums_in_float64():
    p = np.full((1000, 100), 0.1, np.float32)
    p[0, 0] = 4096.0
    loss, dp = ops.mean_squared_error(p, np.zeros_like(p))
    exact = (4096.0**2 + 99_999 * float(np.float32(0.1)) ** 2) / 100_000
    assert isinstance(loss, float)
    assert loss == pytest.approx(exact, rel=1e-12)
    np.testing.assert_allclose(dp, 2 * p / 100_000, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_update_is_in_place_for_any_shape(dtype):
    whole = np.arange(24, dtype=dtype).reshape(4, 6)
    params, grads = whole[::2, 1::2], np.ones((2, 3), dtype)
    expected = params - dtype_of(dtype)(0.5)
    assert ops.sgd_update(params, grads, 0.5) is params
    np.testing.assert_array_equal(params, expected)
    np.testing.assert_array_equal(whole[1::2], np.arange(24, dtype=dtype).reshape(4, 6)[1::2])


def dtype_of(name):
    return np.dtype(name).type


@pytest.mark.parametrize("name", [*POINTWISE, "softmax", "log_softmax"])
def test_forwards_may_work_in_place(name):
    z = np.random.default_rng(9).normal(size=(4, 3))
    forward = ops.FORWARDS[name]
    expected = forward(z)
    assert not np.shares_memory(expected, z)
    buffer = z.copy()
    assert forward(buffer, out=buffer) is buffer
    assert_same_bits([buffer], [expected])
    buffer = z.copy()
    forward(buffer, out=buffer[:])
    assert_same_bits([buffer], [expected])


@pytest.mark.parametrize("name", POINTWISE)
def test_backwards_may_work_in_place(name):
    rng = np.random.default_rng(10)
    dy, y = rng.normal(size=(4, 3)), rng.random((4, 3)) - 0.5
    _, backward = ops.ACTIVATIONS[name]
    expected = backward(dy, y)
    assert not np.shares_memory(expected, dy)
    for target in (0, 1):
        arrays = [dy.copy(), y.copy()]
        out = arrays[target]
        assert backward(*arrays, out=out) is out
        assert_same_bits([out], [expected])


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_ops_take_any_rank(name):
    forward, backward = ops.ACTIVATIONS[name]
    for shape in [(), (5,), (2, 3, 4)]:
        z = np.random.default_rng(11).normal(size=shape)
        y = forward(z)
        assert y.shape == shape
        assert backward(np.ones(shape), y).shape == shape


F32 = np.ones((2, 3), np.float32)
F64 = np.ones((2, 3), np.float64)
READ_ONLY = np.ones((2, 3), np.float32)
READ_ONLY.flags.writeable = False
STRIP = np.ones(64, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.matmul(F32[0], F32), ValueError, "a must have 2 dimensions"),
        (lambda: ops.matmul(F32, F32), ValueError, "b: "),
        (lambda: ops.matmul(F32, F64, False, True), TypeError, "b is float64 and a is float32"),
        (lambda: ops.matmul(np.ones((2, 3), int), F32), TypeError, "a must be float32 or"),
        (lambda: ops.matmul(F32.astype(">f4"), F32), TypeError, "a must be float32 or"),
        (lambda: ops.matmul([[1.0], [2.0, 3.0]], F64), TypeError, "a cannot be read"),
        (lambda: ops.matmul(F32[:0], F32), ValueError, "a is empty"),
        (lambda: ops.matmul(F32, F32.T.copy(), out=F32), ValueError, "out has shape"),
        (lambda: ops.matmul(F32.T, F32, out=np.ones((3, 3))), TypeError, "out must be float32"),
        (lambda: ops.matmul(F32, F32, True, out=[0]), TypeError, "out must be a NumPy array"),
        (
            lambda: ops.matmul(STRIP[:4].reshape(2, 2), F32, out=STRIP[3:9].reshape(2, 3)),
            ValueError,
            "out overlaps a",
        ),
        (
            lambda: ops.matmul(np.eye(3), F64.repeat(3, 1)[:, :3], True),
            ValueError,
            "b: ",
        ),
        (lambda: ops.dense_forward(F32, F32), ValueError, "x has shape"),
        (lambda: ops.dense_forward(F32, F32.T, F32[0]), ValueError, "b has shape"),
        (lambda: ops.dense_forward(F32, F32.T, F64[0, :2]), TypeError, "b is float64"),
        (lambda: ops.dense_forward(F32, F32.T, activation="swish"), ValueError, "activation is"),
        (lambda: ops.dense_forward(F32, F32.T, activation=None), TypeError, "activation must"),
        (lambda: ops.dense_forward(F32, F32.T, out=F32[:, :2]), ValueError, "out overlaps x"),
        (lambda: ops.dense_backward(F32, F32, F32.T), ValueError, "w has shape"),
        (lambda: ops.dense_backward(F32, F32[:1], np.ones((3, 3), "f")), ValueError, "x has"),
        (lambda: ops.dense_backward(F32, F64, F32), TypeError, "x is float64"),
        (lambda: ops.relu(F32, out=READ_ONLY), ValueError, "out is read-only"),
        (lambda: ops.relu(STRIP[:8], out=STRIP[1:9]), ValueError, "out overlaps z"),
        (lambda: ops.relu(STRIP[:8], out=STRIP[7::-1]), ValueError, "out overlaps z"),
        (lambda: ops.relu(np.ones(3, np.float16)), TypeError, "z must be float32 or"),
        (lambda: ops.tanh_backward(F32, F32.T), ValueError, "y has shape"),
        (lambda: ops.tanh_backward(F32, F64), TypeError, "y is float64"),
        (lambda: ops.softmax(F32[0]), ValueError, "z must have 2 dimensions"),
        (lambda: ops.log_softmax(F32[:, :0]), ValueError, "z is empty"),
        (lambda: ops.softmax_cross_entropy(F32, np.array([0, 3])), ValueError, "targets[1] is 3"),
        (lambda: ops.softmax_cross_entropy(F32, np.array([-1, 0])), ValueError, "targets[0] is"),
        (lambda: ops.softmax_cross_entropy(F32, np.array([0])), ValueError, "targets has shape"),
        (lambda: ops.softmax_cross_entropy(F32, F64), TypeError, "targets is float64"),
        (lambda: ops.softmax_cross_entropy(F32, F32[0]), ValueError, "targets must have 2"),
        (lambda: ops.softmax_cross_entropy(F32, F32[:, :2]), ValueError, "targets has shape"),
        (lambda: ops.softmax_cross_entropy(F32, F32 > 0), TypeError, "targets must be"),
        (
            lambda: ops.binary_cross_entropy_with_logits(F32, F32[0]),
            ValueError,
            "targets has shape",
        ),
        (lambda: ops.mean_squared_error(F32, F64), TypeError, "targets is float64"),
        (lambda: ops.mean_squared_error("a", F64), TypeError, "predictions must"),
        (lambda: ops.sgd_update([1.0], F32, 0.1), TypeError, "params must be a NumPy array"),
        (lambda: ops.sgd_update(READ_ONLY, F32, 0.1), ValueError, "params is read-only"),
        (lambda: ops.sgd_update(F32, F32, math.nan), ValueError, "lr must be finite"),
        (lambda: ops.sgd_update(F32, F32, "1"), TypeError, "lr must be a real number"),
    ],
)
def test_ops_refuse_bad_arguments(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()
    assert np.all(F32 == 1)
    assert np.all(STRIP == 1)


# Initial weights and the order of samples ---------------------------------------------------


@pytest.mark.parametrize(
    ("init", "deviation"),
    [
        ("he", math.sqrt(2 / 300)),
        ("GLOROT", math.sqrt(2 / 700)),
        ("lecun", math.sqrt(1 / 300)),
        (0.01, 0.01),
        (np.float32(2), 2.0),
    ],
)
def test_initial_deviation(init, deviation):
    (w,) = MLP([300, 400], init=init).weights
    # Five standard errors of the deviation and of the mean of 120,000 normal draws.
    assert w.std() == pytest.approx(deviation, rel=5 / math.sqrt(2 * w.size))
    assert abs(w.mean()) < 5 * deviation / math.sqrt(w.size)


def test_initial_weights_are_pinned():
    first, second = initial_weights([2, 2, 1], "he", "float64", 2**64 - 1)
    rng = np.random.Generator(np.random.Philox(key=np.array([2**64 - 1, 0], np.uint64)))
    np.testing.assert_array_equal(first, rng.standard_normal((2, 2)))
    np.testing.assert_array_equal(second, rng.standard_normal((2, 1)))
    np.testing.assert_array_equal(
        MLP([2, 2, 1], seed=2**64 - 1).weights[0], first.astype(np.float32)
    )
    assert not np.array_equal(first, initial_weights([2, 2, 1], "he", "float64", 0)[0])


def test_epoch_order_is_pinned():
    assert epoch_order(12, 7, 3).tolist() == [5, 7, 11, 3, 0, 10, 6, 9, 8, 2, 1, 4]
    assert epoch_order(1, 0, 0).tolist() == [0]


def test_epoch_order_is_a_new_permutation_each_epoch():
    orders = [epoch_order(1000, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert len({order.tobytes() for order in orders}) == 4


def test_epoch_order_is_uniform():
    counts = Counter(tuple(epoch_order(3, 0, epoch).tolist()) for epoch in range(1200))
    assert len(counts) == 6
    # Five standard deviations of a binomial count with p = 1/6.
    assert all(abs(count - 200) < 5 * math.sqrt(1200 * 5 / 36) for count in counts.values())


# Training -----------------------------------------------------------------------------------


def test_an_epoch_is_plain_sgd_over_the_batches():
    X, y = make_classes(n=10)
    net, twin = (MLP([8, 6, 4], dtype="float64", seed=5) for _ in range(2))
    history = net.fit(X, y, epochs=2, batch_size=4, lr=0.1)
    for epoch in range(2):
        order = epoch_order(10, 5, epoch)
        losses, right = 0.0, 0
        for rows in (order[:4], order[4:8], order[8:]):
            right += int((twin.predict(X[rows]) == y[rows]).sum())
            loss, dws, dbs = twin.loss_and_gradients(X[rows], y[rows])
            losses += loss * len(rows)
            for p, gradient in zip(parameters(twin), [*dws, *dbs], strict=True):
                p -= 0.1 * gradient
        assert history.loss[epoch] == pytest.approx(losses / 10, rel=1e-12)
        assert history.accuracy[epoch] == right / 10
    for p, q in zip(parameters(net), parameters(twin), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-14)


def test_learns_classes():
    X, y = make_classes()
    net = MLP([8, 16, 4])
    before = net.evaluate(X, y)
    history = net.fit(X[:200], y[:200], epochs=15, lr=0.05, validation_data=(X[200:], y[200:]))
    assert net.history is history
    assert len(history) == net.epochs_trained == 15
    assert history.loss[-1] < 0.1 < before["loss"]
    assert net.score(X[200:], y[200:]) > 0.97
    assert history.val_accuracy[-1] == net.score(X[200:], y[200:])
    assert history.val_loss[-1] == net.evaluate(X[200:], y[200:])["loss"]
    assert all(seconds > 0 for seconds in history.seconds)
    np.testing.assert_array_equal(net.predict(X), net.predict_proba(X).argmax(axis=1))


def test_learns_a_line():
    rng = np.random.default_rng(12)
    X = rng.normal(size=(200, 3))
    y = X @ [1.0, -2.0, 0.5] + 3
    net = MLP([3, 1], ["identity"], dtype="float64")
    history = net.fit(X, y, epochs=60, lr=0.05, batch_size=20, validation_data=(X, y))
    np.testing.assert_allclose(net.weights[0][:, 0], [1.0, -2.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(net.biases[0], [3.0], atol=1e-6)
    assert net.score(X, y) > 1 - 1e-9
    assert net.predict(X).shape == (200,)
    assert history.accuracy == history.val_accuracy == []
    assert len(history.val_loss) == 60


def test_learns_a_yes_or_no():
    X, y = make_classes(n_classes=2)
    net = MLP([8, 8, 1])
    assert net.activations == ("relu", "sigmoid")
    net.fit(X, y, epochs=10, lr=0.1)
    assert net.score(X, y) > 0.97
    assert net.predict(X).shape == (300,)
    assert net.predict(X).dtype == np.int64
    np.testing.assert_array_equal(net.predict(X), net.predict_proba(X)[:, 0] > 0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_seed_same_bits(dtype):
    X, y = make_classes()

    def train(seed, **options):
        net = MLP([8, 7, 4], dtype=dtype, seed=seed)
        net.fit(X, y, epochs=2, batch_size=7, **options)
        return net

    net = train(3)
    assert_same_bits(parameters(net), parameters(train(3)))
    assert not np.array_equal(net.weights[0], train(4).weights[0])
    assert not np.array_equal(net.weights[0], train(3, shuffle=False).weights[0])


def test_epochs_count_over_fits():
    X, y = make_classes()
    once, twice = MLP([8, 7, 4]), MLP([8, 7, 4])
    once.fit(X, y, epochs=3)
    twice.fit(X, y, epochs=1)
    twice.fit(X, y, epochs=2)
    assert once.epochs_trained == twice.epochs_trained == 3
    assert len(twice.history) == 2
    assert_same_bits(parameters(once), parameters(twice))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_are_scaled_by_255(dtype):
    rng = np.random.default_rng(13)
    X = rng.integers(256, size=(50, 6), dtype=np.uint8)
    y = rng.integers(3, size=50)
    scaled = X.astype(dtype) * np.dtype(dtype).type(1 / 255)
    nets = [MLP([6, 5, 3], dtype=dtype) for _ in range(2)]
    for net, data in zip(nets, (X, scaled), strict=True):
        net.fit(data, y, epochs=2)
    assert_same_bits(parameters(nets[0]), parameters(nets[1]))
    assert_same_bits([nets[0].predict_proba(X)], [nets[0].predict_proba(scaled)])


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda X: X.tolist(), id="list"),
        pytest.param(np.asfortranarray, id="fortran"),
        pytest.param(lambda X: np.repeat(X, 2, axis=1)[:, ::2], id="strided columns"),
        pytest.param(lambda X: np.repeat(X, 2, axis=0)[::2], id="strided rows"),
        pytest.param(lambda X: X[::-1].copy()[::-1], id="negative stride"),
        pytest.param(lambda X: X.astype(">f4"), id="byte order"),
        pytest.param(lambda X: X.astype(np.float64), id="float64"),
        pytest.param(lambda X: X.astype(np.int16), id="int16"),
        pytest.param(lambda X: X.astype(np.float16), id="float16"),
    ],
)
def test_layout_and_dtype_of_samples_change_nothing(convert):
    X, y = make_classes(n=40)
    X = np.round(X)
    nets = [MLP([8, 5, 4]) for _ in range(2)]
    for net, data in zip(nets, (X, convert(X)), strict=True):
        net.fit(data, y, epochs=2)
    assert_same_bits(parameters(nets[0]), parameters(nets[1]))


@pytest.mark.parametrize(
    ("nullable", "plain"),
    [
        ("Float64", "float64"),
        ("Float32", "float32"),
        ("Int64", "int64"),
        ("UInt8", "uint8"),
        ("boolean", "bool"),
        (["Float32", "float64", "bool"], "float64"),
        (["float32", "UInt8", "boolean"], "float32"),
    ],
    ids=str,
)
def test_nullable_columns_are_read_like_plain_ones(nullable, plain):
    pd = pytest.importorskip("pandas")
    values = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]], plain)
    types = [nullable] * 3 if isinstance(nullable, str) else nullable
    frame = pd.DataFrame({"abc"[i]: pd.array(values[:, i], types[i]) for i in range(3)})
    expected = check_features(values, 3, np.dtype("float32"))
    checked = check_features(frame, 3, np.dtype("float32"))
    assert checked.dtype == expected.dtype
    np.testing.assert_array_equal(checked, expected)
    classes = frame["a"].astype("Int64")
    nets = [MLP([3, 4, 2]) for _ in range(2)]
    nets[0].fit(values, values[:, 0], epochs=2)
    nets[1].fit(frame, classes, epochs=2)
    assert_same_bits(parameters(nets[0]), parameters(nets[1]))
    frame.iloc[2, 1] = None
    classes.iloc[1] = None
    for call in (nets[0].predict, lambda X: nets[0].fit(X, [0, 1, 1, 0])):
        with pytest.raises(ValueError, match=r"^X\[2, 1\] is (missing|nan)"):
            call(frame)
    with pytest.raises(ValueError, match=r"^y\[1\] is (missing|nan)"):
        nets[0].fit(values, classes)
    with pytest.raises(TypeError, match=r"^X must be a dense array of numbers, got DataFrame"):
        nets[0].predict(frame.assign(a=["x", "y", "x", "y"]))
    assert_same_bits(parameters(nets[0]), parameters(nets[1]))


@pytest.mark.parametrize("itemtype", ["f4", "f8", "u1", ">f4", "i2"])
@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda X: X[:, :4], id="padded rows"),
        pytest.param(lambda X: X[:, ::2], id="strided columns"),
        pytest.param(lambda X: X[:, 7:3:-1], id="reversed columns"),
        pytest.param(lambda X: X[::-1, :4], id="reversed rows"),
        pytest.param(lambda X: np.broadcast_to(X[0, :4], (5, 4)), id="broadcast rows"),
        pytest.param(lambda X: np.broadcast_to(X[0, :4], (1, 4)), id="one broadcast row"),
        pytest.param(lambda X: X[::-1, :4][:1], id="one reversed row"),
        pytest.param(lambda X: X.view(np.uint8)[:, 1 : 1 + 4 * X.itemsize].view(X.dtype), id="odd"),
    ],
)
def test_checked_samples_have_a_layout_that_c_can_read(view, itemtype):
    X = view(np.random.default_rng(14).integers(9, size=(6, 8)).astype(itemtype))
    checked = check_features(X, 4, np.dtype("float32"))
    np.testing.assert_array_equal(checked, X)
    assert checked.dtype.isnative
    assert checked.dtype in (np.float32, np.float64, np.uint8)
    assert checked.flags.aligned
    row_stride, item_stride = checked.strides
    assert item_stride == checked.itemsize
    assert row_stride >= 4 * item_stride
    assert row_stride % item_stride == 0


def test_checked_samples_are_not_copied_without_need():
    X = np.ones((6, 8), np.float32)
    for view in (X, X[::2], X[:, 2:6], X[1:2]):
        assert np.shares_memory(check_features(view, view.shape[1], X.dtype), X)


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda y: y.astype(np.uint64), id="uint64"),
        pytest.param(lambda y: y.astype(np.float32), id="whole floats"),
        pytest.param(lambda y: y.tolist(), id="list"),
        pytest.param(lambda y: np.repeat(y, 2)[::2], id="strided"),
    ],
)
def test_dtype_of_classes_changes_nothing(convert):
    X, y = make_classes(n=40)
    nets = [MLP([8, 5, 4]) for _ in range(2)]
    for net, targets in zip(nets, (y, convert(y)), strict=True):
        net.fit(X, targets, epochs=2)
    assert_same_bits(parameters(nets[0]), parameters(nets[1]))


def test_one_hot_rows_train_like_classes():
    X, y = make_classes(n=40)
    nets = [MLP([8, 5, 4], dtype="float64") for _ in range(2)]
    histories = [
        net.fit(X, targets, epochs=3)
        for net, targets in zip(nets, (y, np.eye(4, dtype=bool)[y]), strict=True)
    ]
    np.testing.assert_allclose(nets[0].weights[0], nets[1].weights[0], rtol=1e-10, atol=1e-12)
    assert histories[0].accuracy == histories[1].accuracy
    assert nets[0].score(X, y) == nets[1].score(X, np.eye(4)[y])


def test_fit_leaves_its_arguments_alone():
    X, y = make_classes(n=40)
    X_before, y_before = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    MLP([8, 5, 4]).fit(X, y, epochs=2, shuffle=False)
    assert_same_bits([X, y], [X_before, y_before])


# What is measured ---------------------------------------------------------------------------


def test_prediction_in_blocks_covers_every_row():
    X, _ = make_classes(n=2 * PREDICTION_ROWS + 5)
    net = MLP([8, 4])
    expected = ops.dense_forward(X, net.weights[0], net.biases[0], "softmax")
    np.testing.assert_allclose(net.predict_proba(X), expected, rtol=1e-5)


def test_accuracy_of_several_labels_needs_the_whole_row():
    net = MLP([2, 2], ["sigmoid"], dtype="float64")
    net.weights[0][...] = np.eye(2)
    X = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
    y = np.array([[1, 1], [1, 1], [0, 0], [1, 0]])
    assert net.score(X, y) == 0.5
    np.testing.assert_array_equal(net.predict(X), X > 0)


def test_r2_averages_the_columns():
    targets = np.array([[1.0, 5.0, 5.0], [3.0, 5.0, 5.0]])
    predictions = np.array([[1.0, 5.0, 5.0], [2.0, 5.0, 6.0]])
    score = R2()
    score.add(predictions, targets)
    assert score.result() == pytest.approx((0.5 + 1 + 0) / 3)
    net = MLP([1, 1], ["identity"])
    X, y = np.array([[0.0], [1.0]]), np.array([1.0, 3.0])
    net.weights[0][...], net.biases[0][...] = 1.0, 1.0
    assert net.evaluate(X, y) == {"loss": 0.5, "r2": 0.5}
    assert net.score(X, y) == 0.5


def test_summary_of_the_mnist_network():
    net = MLP(MNIST_LAYERS, [None, "ReLU", "ReLU", "ReLU", "Softmax"])
    assert net.activations == ("relu", "relu", "relu", "softmax") == MLP(MNIST_LAYERS).activations
    assert net.n_parameters == sum(p.size for p in parameters(net)) == 111_146
    assert (net.n_inputs, net.n_outputs, net.dtype) == (784, 10, np.float32)
    lines = net.summary().splitlines()
    assert [line.split() for line in lines if line.startswith("dense")] == [
        ["dense", "1", "784", "x", "128", "relu", "100,480"],
        ["dense", "2", "128", "x", "64", "relu", "8,256"],
        ["dense", "3", "64", "x", "32", "relu", "2,080"],
        ["dense", "4", "32", "x", "10", "softmax", "330"],
    ]
    assert lines[-1].split() == ["total", "111,146"]
    assert len({len(line) for line in lines}) == 1


def test_verbose_prints_every_kth_epoch(capsys):
    X, y = make_classes(n=40)
    MLP([8, 4]).fit(X, y, epochs=5, verbose=2, validation_data=(X, y))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 2/5", "epoch 4/5"]
    assert all("val_accuracy" in line for line in lines)
    MLP([8, 4]).fit(X, y, epochs=2)
    assert capsys.readouterr().out == ""


# Callbacks and ends -------------------------------------------------------------------------


class Recorder(Callback):
    """Notes what is called; stops or raises at the end of a given epoch."""

    def __init__(self, stop_after=None, raise_after=None, error=None):
        self.events = []
        self.progress = []
        self.stop_after = stop_after
        self.raise_after = raise_after
        self.error = error

    def on_fit_begin(self, net, epochs, n_samples):
        self.events.append(("begin", epochs, n_samples))

    def on_progress(self, net, progress):
        self.events.append(("progress", progress.epoch))
        self.progress.append(progress)

    def on_epoch_end(self, net, history):
        self.events.append(("epoch", len(history)))
        if len(history) == self.raise_after:
            raise self.error
        return len(history) == self.stop_after

    def on_fit_end(self, net, history):
        self.events.append(("end", len(history)))


def test_callbacks_run_in_order():
    X, y = make_classes(n=40)
    recorder = Recorder()
    history = MLP([8, 4]).fit(X, y, epochs=2, callbacks=[recorder])
    assert recorder.events == [
        ("begin", 2, 40),
        ("progress", 1),
        ("epoch", 1),
        ("progress", 2),
        ("epoch", 2),
        ("end", 2),
    ]
    last = recorder.progress[-1]
    assert (last.epochs, last.samples, last.n_samples) == (2, 40, 40)
    assert (last.loss, last.accuracy) == (history.loss[-1], history.accuracy[-1])
    assert last.seconds == history.seconds[-1]


def test_a_callback_stops_the_fit():
    X, y = make_classes(n=40)
    recorders = [Recorder(stop_after=2), Recorder()]
    net = MLP([8, 4])
    history = net.fit(X, y, epochs=9, callbacks=recorders)
    assert len(history) == net.epochs_trained == 2
    assert recorders[0].events == recorders[1].events


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_fit_keeps_what_was_learned(error):
    X, y = make_classes(n=40)
    recorder = Recorder(raise_after=2, error=error())
    net, twin = MLP([8, 4]), MLP([8, 4])
    with pytest.raises(error):
        net.fit(X, y, epochs=9, callbacks=[recorder])
    assert recorder.events[-1] == ("end", 2)
    assert len(net.history) == net.epochs_trained == 2
    twin.fit(X, y, epochs=2)
    assert_same_bits(parameters(net), parameters(twin))


def test_a_hook_that_fails_at_the_begin_ends_only_those_begun():
    class Broken(Recorder):
        def on_fit_begin(self, net, epochs, n_samples):
            raise OSError("no terminal")

    X, y = make_classes(n=40)
    begun, broken = Recorder(), Broken()
    with pytest.raises(OSError, match="no terminal"):
        MLP([8, 4]).fit(X, y, callbacks=[begun, broken])
    assert begun.events == [("begin", 20, 40), ("end", 0)]
    assert broken.events == []


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_divergence_restores_the_network(dtype, output):
    X, y = make_classes(n=40)
    y = np.eye(4)[y]
    net = MLP([8, 6, 4], ["relu", output], dtype=dtype)
    history = net.fit(X, y, epochs=2)
    before, views = snapshot(net), net.weights
    recorder = Recorder()
    lr = 1e30 if dtype == "float32" else 1e250
    with pytest.raises(DivergenceError, match=r"try an lr below 1e\+\d+, or scale X"):
        net.fit(X, y, epochs=9, lr=lr, callbacks=[recorder])
    assert_same_bits(parameters(net), before)
    assert net.weights[0] is views[0]
    assert net.epochs_trained == 2
    assert net.history is history
    assert recorder.events[-1][0] == "end"


def test_weights_that_overflow_in_the_last_batch_are_a_divergence():
    X, y = make_classes(n=40)
    net = MLP([8, 4])
    with pytest.raises(DivergenceError, match="a weight is not finite"):
        net.fit(X * np.float32(1e20), y, epochs=1, batch_size=40, lr=1e20)
    assert all(np.isfinite(p).all() for p in parameters(net))


# Bad arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": [784]}, ValueError, "layers must hold at least"),
        ({"layers": []}, ValueError, "layers must hold at least"),
        ({"layers": 784}, TypeError, "layers must be a sequence"),
        ({"layers": "784"}, TypeError, "layers must be a sequence"),
        ({"layers": [4, 0]}, ValueError, "layers[1] must be at least 1"),
        ({"layers": [-4, 2]}, ValueError, "layers[0] must be at least 1"),
        ({"layers": [4, 2.0]}, TypeError, "layers[1] must be an integer"),
        ({"layers": [4, True]}, TypeError, "layers[1] must be an integer"),
        ({"layers": [2**40, 2**40]}, ValueError, "layers asks for more"),
        ({"activations": ["relu"]}, ValueError, "activations must hold 2 names"),
        ({"activations": ["relu"] * 3}, ValueError, "activations must hold 2 names"),
        ({"activations": ["relu", "swish"]}, ValueError, "activations[1] is 'swish'"),
        ({"activations": [None, "relu", "swish"]}, ValueError, "activations[2] is 'swish'"),
        ({"activations": ["softmax", "relu"]}, ValueError, "activations[0] is softmax"),
        ({"activations": ["relu", None]}, TypeError, "activations[1] must be a name"),
        ({"activations": "relu"}, TypeError, "activations must be a sequence"),
        ({"activations": 3}, TypeError, "activations must be a sequence"),
        ({"init": "xavier"}, ValueError, "init is 'xavier'"),
        ({"init": 0}, ValueError, "init must be greater than 0"),
        ({"init": -0.1}, ValueError, "init must be greater than 0"),
        ({"init": math.nan}, ValueError, "init must be finite"),
        ({"init": math.inf}, ValueError, "init must be finite"),
        ({"init": None}, TypeError, "init must be a real number"),
        ({"init": True}, TypeError, "init must be a real number"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64"),
        ({"dtype": "nonsense"}, ValueError, "dtype must be float32 or float64"),
        ({"dtype": ">f4"}, ValueError, "dtype must be float32 or float64"),
        ({"dtype": None}, TypeError, "dtype must be float32 or float64"),
        ({"dtype": 3}, TypeError, "dtype must be float32 or float64"),
        ({"seed": -1}, ValueError, "seed must be in"),
        ({"seed": 2**64}, ValueError, "seed must be in"),
        ({"seed": 1.0}, TypeError, "seed must be an integer"),
        ({"seed": None}, TypeError, "seed must be an integer"),
    ],
)
def test_constructor_refuses(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        MLP(**{"layers": [4, 3, 2], **arguments})


def test_constructor_takes_numpy_numbers():
    net = MLP(np.array([4, 3]), init=np.float64(0.1), dtype=np.float64, seed=np.uint64(2**64 - 1))
    assert net.layers == (4, 3)
    assert all(type(width) is int for width in net.layers)
    assert net.dtype == np.dtype("float64")


def with_value(X, index, value):
    X = np.array(X)
    X[index] = value
    return X


X_GOOD, Y_GOOD = make_classes(n=6, n_classes=3)
ONE_HOT = np.eye(3)[Y_GOOD]


class Sparse:
    """Stands for a sparse matrix, which NumPy reads as one object."""


FIT_ARGUMENTS = [
    ({"X": X_GOOD[:, :5]}, ValueError, "X has 5 columns, the network takes 8"),
    ({"X": X_GOOD[0]}, ValueError, "X must have 2 dimensions"),
    ({"X": X_GOOD.reshape(6, 2, 4)}, ValueError, "X must have 2 dimensions"),
    ({"X": X_GOOD[:0], "y": Y_GOOD[:0]}, ValueError, "X is empty"),
    ({"X": with_value(X_GOOD, (3, 1), np.nan)}, ValueError, "X[3, 1] is nan"),
    ({"X": with_value(X_GOOD, (5, 7), -np.inf)}, ValueError, "X[5, 7] is -inf"),
    ({"X": X_GOOD * np.float64(1e300)}, ValueError, "X[0, 0] is"),
    ({"X": X_GOOD.astype(complex)}, TypeError, "X must hold real numbers"),
    ({"X": X_GOOD.astype(str)}, TypeError, "X must hold real numbers"),
    ({"X": X_GOOD.astype(object)}, TypeError, "X must be a dense array"),
    ({"X": Sparse()}, TypeError, "X must be a dense array of numbers, got Sparse"),
    ({"X": None}, TypeError, "X must be a dense array"),
    ({"X": [[1.0] * 8, [1.0] * 7]}, TypeError, "X cannot be read"),
    ({"X": np.ma.masked_less(X_GOOD, 0)}, TypeError, "X is a masked array"),
    ({"y": Y_GOOD[:5]}, ValueError, "y has 5 rows, the samples have 6"),
    ({"y": 1}, ValueError, "y must have one row for each sample"),
    ({"y": with_value(Y_GOOD, 3, 12)}, ValueError, "y[3] is 12: class indices must be in [0, 3)"),
    ({"y": with_value(Y_GOOD, 2, -1)}, ValueError, "y[2] is -1"),
    ({"y": with_value(Y_GOOD.astype(np.uint64), 2, 2**63 + 1)}, ValueError, "y[2] is 922"),
    ({"y": with_value(Y_GOOD.astype(float), 2, 0.5)}, ValueError, "y[2] is 0.5"),
    ({"y": with_value(Y_GOOD.astype(float), 2, np.nan)}, ValueError, "y[2] is nan"),
    ({"y": with_value(Y_GOOD.astype(float), 2, np.inf)}, ValueError, "y[2] is inf"),
    ({"y": Y_GOOD[:, None]}, ValueError, "y has shape (6, 1)"),
    ({"y": ONE_HOT[:, :2]}, ValueError, "y has shape (6, 2)"),
    ({"y": ONE_HOT[:, :, None]}, ValueError, "y has shape (6, 3, 1)"),
    ({"y": 0.9 * ONE_HOT}, ValueError, "y[0] sums to 0.9"),
    ({"y": 2 * ONE_HOT - 1 / 3}, ValueError, "y[0, "),
    ({"y": with_value(ONE_HOT, (4, 2), np.nan)}, ValueError, "y[4, 2] is nan"),
    ({"y": [f"{label}" for label in Y_GOOD]}, TypeError, "y must hold real numbers"),
    ({"y": None}, TypeError, "y must be a dense array"),
    ({"epochs": 0}, ValueError, "epochs must be at least 1"),
    ({"epochs": True}, TypeError, "epochs must be an integer"),
    ({"epochs": 2.0}, TypeError, "epochs must be an integer"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
    ({"batch_size": "32"}, TypeError, "batch_size must be an integer"),
    ({"lr": 0}, ValueError, "lr must be greater than 0"),
    ({"lr": -0.1}, ValueError, "lr must be greater than 0"),
    ({"lr": math.nan}, ValueError, "lr must be finite"),
    ({"lr": 10**400}, ValueError, "lr must be finite"),
    ({"lr": True}, TypeError, "lr must be a real number"),
    ({"lr": "0.1"}, TypeError, "lr must be a real number"),
    ({"shuffle": 1}, TypeError, "shuffle must be True or False"),
    ({"verbose": -1}, ValueError, "verbose must be at least 0"),
    ({"verbose": 0.5}, TypeError, "verbose must be an integer"),
    ({"validation_data": X_GOOD}, TypeError, "validation_data must be a pair"),
    ({"validation_data": (X_GOOD,)}, ValueError, "validation_data must be a pair"),
    ({"validation_data": (X_GOOD[:, 1:], Y_GOOD)}, ValueError, "validation_data[0] has 7"),
    ({"validation_data": (X_GOOD, Y_GOOD[1:])}, ValueError, "validation_data[1] has 5 rows"),
    ({"callbacks": Callback()}, TypeError, "callbacks must be a sequence"),
    ({"callbacks": [Callback]}, TypeError, "callbacks[0] must be a Callback"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), FIT_ARGUMENTS)
def test_fit_refuses_and_changes_nothing(arguments, error, message):
    net = MLP([8, 5, 3])
    history = net.fit(X_GOOD, Y_GOOD, epochs=1)
    before = snapshot(net)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        net.fit(**{"X": X_GOOD, "y": Y_GOOD, **arguments})
    assert_same_bits(parameters(net), before)
    assert net.epochs_trained == 1
    assert net.history is history


@pytest.mark.parametrize(
    ("output", "k", "y", "message"),
    [
        ("sigmoid", 1, np.full(6, 1.5), "y[0, 0] is 1.5"),
        ("sigmoid", 1, np.full(6, -1), "y[0, 0] is -1"),
        ("sigmoid", 2, np.ones(6), "y has shape (6,)"),
        ("sigmoid", 2, np.ones((6, 3)), "y has shape (6, 3)"),
        ("sigmoid", 1, np.full((6, 1), np.nan), "y[0, 0] is nan"),
        ("identity", 1, np.full(6, np.inf), "y[0, 0] is inf"),
        ("tanh", 2, np.full((6, 2), np.nan), "y[0, 0] is nan"),
        ("relu", 2, np.ones((6, 1)), "y has shape (6, 1)"),
        ("identity", 1, np.ones((6, 1, 1)), "y has shape (6, 1, 1)"),
    ],
)
def test_fit_refuses_targets_of_other_losses(output, k, y, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        MLP([8, k], [output]).fit(X_GOOD, y)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predictions_refuse_bad_samples(method):
    predict = getattr(MLP([8, 3]), method)
    with pytest.raises(ValueError, match=r"^X has 7 columns"):
        predict(X_GOOD[:, 1:])
    with pytest.raises(ValueError, match=r"^X\[0, 0\] is nan"):
        predict(with_value(X_GOOD, (0, 0), np.nan))


def test_predict_proba_refuses_regression():
    with pytest.raises(ValueError, match=r"^predict_proba needs a softmax or sigmoid output"):
        MLP([8, 3], ["identity"]).predict_proba(X_GOOD)


def test_a_nan_in_a_late_block_is_found():
    X = with_value(np.zeros((2**18 + 3, 8), np.float32), (2**18 + 1, 5), np.nan)
    with pytest.raises(ValueError, match=r"^X\[262145, 5\] is nan: all values must be finite"):
        MLP([8, 3]).predict(X)
