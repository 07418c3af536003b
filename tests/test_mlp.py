"""The network in C: against the network of the reference, and as users meet it."""

import copy
import itertools
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fastmlp as fm
from fastmlp import _core
from fastmlp.reference.mlp import epoch_order

FIRST = ("identity", "relu", "sigmoid", "tanh")
OTHERS = ("leaky_relu", "elu", "selu", "softplus", "gelu", "silu", "mish")
HIDDEN = FIRST + OTHERS
OUTPUTS = ("softmax", "probabilities", "sigmoid", "identity", "relu", "tanh")
"""Activations of the output; "probabilities" is softmax with rows of probabilities as targets."""
INPUTS = ("float32", "float64", "uint8")
PAIRS = (
    *itertools.product(FIRST, OUTPUTS),
    *itertools.product(OTHERS, ("softmax", "sigmoid", "identity")),
    *((name, name) for name in OTHERS),
)
"""Activations of the hidden layers and of the output."""
NUMBERS = ("identity", "relu", "tanh", *OTHERS)
"""Outputs of regression."""


def activation_of(output):
    return "softmax" if output == "probabilities" else output


def make_targets(rng, output, n, k):
    if output == "softmax":
        return rng.integers(k, size=n)
    if output == "probabilities":
        return rng.dirichlet(np.ones(k), size=n)
    if output == "sigmoid":
        return rng.random((n, k))
    return rng.uniform(-0.9, 0.9, size=(n, k))


def make_samples(rng, n, n_features, dtype):
    if dtype == "uint8":
        return rng.integers(256, size=(n, n_features), dtype=np.uint8)
    return rng.normal(size=(n, n_features)).astype(dtype)


def parameters(net):
    return [*net.weights, *net.biases]


def snapshot(net):
    """Return everything that a failed call must leave as it was."""
    values = [parameter.tobytes() for parameter in parameters(net)]
    return values, net.epochs_trained, net.trained_on, copy.deepcopy(net.history)


def padding_of(net):
    """Return the elements of the parameter buffer that are no weights and no biases."""
    visible = np.zeros(len(net._parameters), bool)
    start = net._parameters.ctypes.data
    for parameter in parameters(net):
        offsets = [
            (
                parameter.ctypes.data
                - start
                + sum(i * s for i, s in zip(index, strides, strict=True))
            )
            // net.dtype.itemsize
            for strides in [parameter.strides]
            for index in np.ndindex(parameter.shape)
        ]
        visible[offsets] = True
    assert visible.sum() == net.n_parameters
    return net._parameters[~visible]


def diverge(net, X, y, **options):
    """Train with steps so large that even networks of bounded activations overflow."""
    huge = float(np.finfo(net.dtype).max)
    net.fit(X.astype(net.dtype) * np.sqrt(huge), y, epochs=50, lr=huge, **options)


def digits(n=500, seed=0, features=20, classes=5):
    """Draw clusters that a network can learn."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=2, size=(classes, features))
    y = rng.integers(classes, size=n)
    return (centers[y] + rng.normal(size=(n, features))).astype(np.float32), y


# Against the reference ------------------------------------------------------------------------


@hypothesis.given(
    n=st.integers(1, 300) | st.just(4097),
    seed=st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63, 2**64 - 1]),
    epoch=st.integers(0, 2**64 - 1) | st.integers(0, 5),
    part=st.integers(0, 2**64 - 1) | st.integers(0, 5),
)
def test_both_draw_the_same_order(n, seed, epoch, part):
    order = np.empty(n, np.int64)
    fm._core.shuffle(seed, epoch, order, part)
    np.testing.assert_array_equal(order, epoch_order(n, seed, epoch, part))


def test_orders_are_permutations_that_differ():
    orders = set()
    for seed, epoch, part in itertools.product((0, 1, 2**64 - 1), range(4), range(3)):
        order = np.empty(1000, np.int64)
        fm._core.shuffle(seed, epoch, order, part)
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
        orders.add(order.tobytes())
    assert len(orders) == 36


@pytest.mark.parametrize("init", ["he", "glorot", "lecun", 0.01])
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_both_start_at_the_same_weights(init, seed, dtype):
    nets = [
        cls([5, 17, 3], init=init, seed=seed, dtype=dtype) for cls in (fm.MLP, fm.reference.MLP)
    ]
    for mine, other in zip(*map(parameters, nets), strict=True):
        assert mine.dtype == other.dtype == dtype
        assert mine.tobytes() == other.tobytes()


STEPS = 200
"""Updates of the runs below: 10 epochs of 20 batches, the last of them odd."""


def assert_weights_agree(mine, other, lr):
    """Compare the weights of two trainings that differ by rounding only.

    Every update rounds a weight to its dtype, which moves it by at most u = eps / 2 of its size,
    and adds lr times a gradient that is itself off by about sqrt(k) u of its size, k below 64
    terms to a sum. Over STEPS updates that is at most STEPS u (w + 8 lr g) where nothing is
    amplified. Two trainings err twice so much; features of unit size and a small lr keep the
    amplification of an error, (1 + lr curvature) ** STEPS, below e.
    """
    u = np.finfo(mine.dtype).eps / 2
    for a, b in zip(parameters(mine), parameters(other), strict=True):
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=2 * np.e * STEPS * u * (scale + 8 * lr))


@pytest.mark.parametrize("x_dtype", INPUTS)
@pytest.mark.parametrize(("hidden", "output"), PAIRS)
def test_training_agrees_with_the_reference(hidden, output, x_dtype, dtype):
    rng = np.random.default_rng(5)
    n, k, lr = 19 * 16 + 5, 4, 0.02
    X, y = make_samples(rng, n, 11, x_dtype), make_targets(rng, output, n, k)

    def train(cls):
        net = cls([11, 19, 9, k], [hidden, hidden, activation_of(output)], dtype=dtype, seed=3)
        before = [p.copy() for p in parameters(net)]
        net.fit(X, y, epochs=10, batch_size=16, lr=lr, validation_data=(X, y))
        assert all((p != q).any() for p, q in zip(parameters(net), before, strict=True))
        assert net.trained_on == x_dtype
        assert net.epochs_trained == 10
        return net

    reference = train(fm.reference.MLP)
    eps = float(np.finfo(dtype).eps)
    for isa in fm.available_isas():
        fm.set_isa(isa)
        net = train(fm.MLP)
        assert_weights_agree(net, reference, lr)
        mine, other = net.history, reference.history
        assert mine.loss == pytest.approx(other.loss, rel=STEPS * eps)
        assert mine.val_loss == pytest.approx(other.val_loss, rel=STEPS * eps)
        # A sample may change sides when its two largest outputs are equal but for rounding.
        assert mine.accuracy == pytest.approx(other.accuracy, abs=1 / n)
        assert mine.val_accuracy == pytest.approx(other.val_accuracy, abs=1 / n)
        assert (len(mine.accuracy) == 0) == (output in NUMBERS)


@pytest.mark.parametrize("x_dtype", INPUTS)
@pytest.mark.parametrize("output", [*OUTPUTS, *OTHERS])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("n", [1, 65, 200])
def test_use_agrees_with_the_reference(output, k, n, x_dtype, dtype):
    rng = np.random.default_rng(6)
    X, y = make_samples(rng, n, 11, x_dtype), make_targets(rng, output, n, k)
    layers, activations = [11, 19, k], ["tanh", activation_of(output)]
    mine = fm.MLP(layers, activations, dtype=dtype, seed=3)
    other = fm.reference.MLP(layers, activations, dtype=dtype, seed=3)
    # Sums of 20 and 12 terms, exponents up to about 8, all of unit size.
    tolerance = 64 * float(np.finfo(dtype).eps)
    for flat in [y, y[:, 0]] if output not in ("softmax", "probabilities") and k == 1 else [y]:
        measured, expected = mine.evaluate(X, flat), other.evaluate(X, flat)
        assert measured == pytest.approx(expected, rel=tolerance, abs=tolerance)
        second = "r2" if output in NUMBERS else "accuracy"
        assert measured.keys() == {"loss", second}
        assert mine.score(X, flat) == measured[second]
    predictions, expected = mine.predict(X), other.predict(X)
    assert predictions.shape == expected.shape
    assert predictions.dtype == expected.dtype
    np.testing.assert_allclose(predictions, expected, rtol=tolerance, atol=tolerance)
    if output in NUMBERS:
        with pytest.raises(ValueError, match="predict_proba"):
            mine.predict_proba(X)
    else:
        assert predictions.dtype == np.int64
        p = mine.predict_proba(X)
        assert p.shape == (n, k)
        assert p.dtype == dtype
        np.testing.assert_allclose(p, other.predict_proba(X), rtol=tolerance)
    gradients, expected = mine.loss_and_gradients(X, y), other.loss_and_gradients(X, y)
    assert gradients[0] == pytest.approx(expected[0], rel=tolerance)
    for a, b in zip(gradients[1] + gradients[2], expected[1] + expected[2], strict=True):
        assert a.shape == b.shape
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


def test_accuracy_is_what_predictions_show(dtype):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(500, 4))
    for k, output in itertools.product((1, 3), ("softmax", "sigmoid")):
        net = fm.MLP([4, 6, k], ["relu", output], dtype=dtype)
        y = rng.integers(max(2, k) if output == "softmax" and k > 1 else 1, size=500)
        if output == "sigmoid":
            y = rng.integers(2, size=(500, k))
        answers = net.predict(X).reshape(y.shape)
        right = (answers == y) if y.ndim == 1 else (answers == y).all(axis=1)
        assert net.score(X, y) == right.mean()


@pytest.mark.parametrize("logit", [1e-30, 1e-9, -1e-9, 0.0, 40.0, 800.0, -800.0])
def test_accuracy_and_predictions_agree_where_rounding_decides(logit, dtype):
    X = np.zeros((3, 2), np.float32)
    net, other = (cls([2, 1], ["sigmoid"], dtype=dtype) for cls in (fm.MLP, fm.reference.MLP))
    for each in (net, other):
        each.biases[0][...] = logit
        for y in (np.zeros(3), np.ones(3)):
            assert each.score(X, y) == (each.predict(X) == y).mean()


def test_accuracy_and_predictions_agree_where_probabilities_are_equal(dtype):
    X = np.zeros((3, 2), np.float32)
    eps = np.finfo(dtype).eps
    for logits in ([0, eps / 8], [0, eps], [1, 1 + eps], [200, 800], [1, 1], [-2e4, 2e4]):
        net = fm.MLP([2, 2], ["softmax"], dtype=dtype)
        net.biases[0][...] = logits
        for y in (np.zeros(3, int), np.ones(3, int)):
            assert net.score(X, y) == (net.predict(X) == y).mean(), logits


# Gradients ------------------------------------------------------------------------------------


def assert_gradient(loss_of, parameter, gradient):
    """Compare a gradient with central differences D(h), element by element.

    D is off by c h**2, nearly the same c at h and at 2 h, so |D(2h) - D(h)| is three times the
    error at h. What remains is the rounding of two losses, each a sum of fewer than 50 terms.
    """
    eps = float(np.finfo(np.float64).eps)
    h = eps ** (1 / 3)
    for index in np.ndindex(parameter.shape):
        center = parameter[index]
        losses = {}
        for step in (-2, -1, 1, 2):
            parameter[index] = center + step * h
            losses[step] = loss_of()
        parameter[index] = center
        narrow = (losses[1] - losses[-1]) / (2 * h)
        wide = (losses[2] - losses[-2]) / (4 * h)
        tolerance = abs(wide - narrow) + 50 * eps * max(1.0, abs(losses[1])) / h
        assert abs(gradient[index] - narrow) <= tolerance, index


def smooth_problem(hidden, output, k):
    """Return a network, samples and targets with no pre-activation near the kink of relu."""
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        net = fm.MLP([3, 5, 4, k], [hidden, hidden, activation_of(output)], dtype="float64")
        X, a, distance = rng.normal(size=(6, 3)), None, np.inf
        for w, b, name in zip(net.weights, net.biases, net.activations, strict=True):
            b[...] = rng.normal(size=b.shape)
            a = X if a is None else a
            distance = min(distance, np.abs(a @ w + b).min())
            a = fm.reference.ops.dense_forward(a, w.copy(), b.copy(), name)
        if distance > 1e-3:
            return net, X, make_targets(rng, output, 6, k)
    raise AssertionError("no smooth problem found")


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("hidden", "output"), PAIRS)
def test_gradients_match_finite_differences(hidden, output, k, isa):
    net, X, y = smooth_problem(hidden, output, k)
    loss, weight_gradients, bias_gradients = net.loss_and_gradients(X, y)
    assert loss == pytest.approx(net.evaluate(X, y)["loss"], rel=1e-14)
    gradients = [*weight_gradients, *bias_gradients]
    for parameter, gradient in zip(parameters(net), gradients, strict=True):
        assert_gradient(lambda: net.loss_and_gradients(X, y)[0], parameter, gradient)


def test_gradients_leave_the_network_alone(dtype):
    net = fm.MLP([20, 7, 5], dtype=dtype)
    X, y = digits()
    before = snapshot(net)
    _, dw, db = net.loss_and_gradients(X, y)
    assert snapshot(net) == before
    kept = [g.copy() for g in dw + db]
    net.loss_and_gradients(X[:10] * 2, y[:10])
    for gradient, copied in zip(dw + db, kept, strict=True):
        np.testing.assert_array_equal(gradient, copied)


def test_one_step_subtracts_the_gradient(dtype):
    X, y = digits(n=40)
    net = fm.MLP([20, 7, 5], dtype=dtype)
    before = [p.copy() for p in parameters(net)]
    _, dw, db = net.loss_and_gradients(X, y)
    net.fit(X, y, epochs=1, batch_size=40, lr=0.1, shuffle=False)
    u = np.finfo(dtype).eps / 2 + 2.0**-53  # of the result and of what is expected
    for p, old, gradient in zip(parameters(net), before, dw + db, strict=True):
        expected = old - 0.1 * gradient.astype(np.float64)
        bound = u * np.abs(expected) + 2 * u * np.abs(0.1 * gradient)
        assert (np.abs(p - expected) <= bound).all()


# What a network shows ----------------------------------------------------------------------------


def test_the_network_of_the_study():
    net = fm.MLP([784, 128, 64, 32, 10], [None, "ReLU", "ReLU", "ReLU", "Softmax"])
    assert net.n_parameters == 111_146
    assert sum(p.size for p in parameters(net)) == 111_146
    assert net.layers == (784, 128, 64, 32, 10)
    assert net.activations == ("relu", "relu", "relu", "softmax")
    assert (net.n_inputs, net.n_outputs, net.seed) == (784, 10, 0)
    assert net.dtype == np.float32
    assert (net.epochs_trained, net.history, net.trained_on) == (0, None, None)
    summary = net.summary()
    for text in ("784 x 128", "100,480", "8,256", "2,080", "330", "111,146", "relu", "softmax"):
        assert text in summary
    assert repr(net) == (
        "MLP([784, 128, 64, 32, 10], activations=['relu', 'relu', 'relu', 'softmax'], "
        "init='he', dtype='float32', seed=0)"
    )
    assert summary == fm.reference.MLP([784, 128, 64, 32, 10]).summary()


def test_weights_are_views_of_one_aligned_buffer(dtype):
    net = fm.MLP([5, 7, 3], dtype=dtype)
    assert [w.shape for w in net.weights] == [(5, 7), (7, 3)]
    assert [b.shape for b in net.biases] == [(7,), (3,)]
    for parameter in parameters(net):
        assert parameter.dtype == dtype
        assert np.shares_memory(parameter, net._parameters)
        assert parameter.ctypes.data % 64 == 0
        assert parameter.flags.writeable
    X = np.ones((2, 5))
    before = net.predict_proba(X)
    net.weights[0][...] *= 3
    changed = net.predict_proba(X)
    assert (changed != before).all()
    net.biases[1][1] = 100
    np.testing.assert_array_equal(net.predict(X), [1, 1])
    net.weights[0] = np.zeros((5, 7))  # a list of its own, not the network's
    np.testing.assert_array_equal(net.predict(X), [1, 1])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_padding_stays_zero(hidden, dtype, isa, threads):
    rng = np.random.default_rng(0)
    X = make_samples(rng, 200, 9, "float32")
    for output in ("softmax", "sigmoid", "identity", "tanh"):
        y = make_targets(rng, output, 200, 3)
        net = fm.MLP([9, 33, 7, 3], [hidden, hidden, output], dtype=dtype)
        net.fit(X, y, epochs=2, batch_size=64, lr=0.1)
        assert len(padding_of(net)) > 0
        assert not padding_of(net).any()
        if output == "tanh":
            continue  # it saturates, whatever the weights
        before = snapshot(net)
        with pytest.raises(fm.DivergenceError):
            diverge(net, X, y)
        assert snapshot(net) == before
        assert not padding_of(net).any()


def test_history_and_validation(dtype, capsys):
    X, y = digits()
    X_test, y_test = digits(seed=0, n=100)
    net = fm.MLP([20, 16, 5], dtype=dtype)
    history = net.fit(X, y, epochs=3, validation_data=(X_test, y_test), lr=0.1)
    assert capsys.readouterr().out == ""
    assert net.history is history
    assert isinstance(history, fm.History)
    values = history.to_dict()
    assert values.keys() == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    for name, column in values.items():
        assert len(column) == len(history) == 3, name
        assert all(type(value) is float for value in column)
    assert history.loss[2] < history.loss[0]
    assert all(second > 0 for second in history.seconds)
    measured = net.evaluate(X_test, y_test)
    assert history.val_loss[-1] == measured["loss"]
    assert history.val_accuracy[-1] == measured["accuracy"]
    again = net.fit(X, y, epochs=2)
    assert net.history is again
    assert (len(again), net.epochs_trained) == (2, 5)
    assert again.val_loss == []
    net.fit(X, y, epochs=4, verbose=2, validation_data=(X, y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 2/4  loss ")
    assert "val_accuracy" in lines[1]


def test_history_is_the_mean_over_the_batches_before_their_updates(dtype):
    X, y = digits(n=50)
    net = fm.MLP([20, 8, 5], dtype=dtype)
    twin = copy.deepcopy(net)
    order = np.empty(50, np.int64)
    fm._core.shuffle(net.seed, 0, order)
    losses, hits = [], []
    for start in range(0, 50, 16):
        rows = order[start : start + 16]
        measured = twin.evaluate(X[rows], y[rows])
        losses.append(measured["loss"] * len(rows))
        hits.append(measured["accuracy"] * len(rows))
        twin.fit(X[rows], y[rows], epochs=1, batch_size=16, lr=0.3, shuffle=False)
    history = net.fit(X, y, epochs=1, batch_size=16, lr=0.3)
    assert history.loss[0] == pytest.approx(sum(losses) / 50, rel=1e-14)
    assert history.accuracy[0] == pytest.approx(sum(hits) / 50, rel=1e-14)
    assert net._parameters.tobytes() == twin._parameters.tobytes()


def test_it_learns(dtype, isa):
    X, y = digits(n=2000)
    net = fm.MLP([20, 32, 5], dtype=dtype)
    history = net.fit(X[:1500], y[:1500], epochs=10, lr=0.1, validation_data=(X[1500:], y[1500:]))
    assert history.val_accuracy[-1] > 0.97
    assert history.loss[-1] < history.loss[0] / 3


def test_every_target_form_of_classes_trains_alike(dtype):
    X, y = digits(n=100)
    one_hot = np.zeros((100, 5))
    one_hot[np.arange(100), y] = 1
    results = []
    for target in (y, y.tolist(), y.astype(np.uint8), y.astype(np.float32), y.astype(">i4")):
        net = fm.MLP([20, 8, 5], dtype=dtype)
        net.fit(X, target, epochs=2)
        results.append(net._parameters.tobytes())
    assert len(set(results)) == 1
    other = fm.MLP([20, 8, 5], dtype=dtype)
    other.fit(X, one_hot, epochs=2)
    net.fit(X, y, epochs=1)
    other.fit(X, one_hot.astype(bool), epochs=1)
    assert_weights_agree(net, other, 0.01)


@pytest.mark.parametrize("kind", [np.int64, np.float16, bool, np.longdouble, ">f4", list])
def test_other_features_are_cast(kind, dtype):
    X, y = digits(n=60)
    X = np.round(X)
    given = X.tolist() if kind is list else X.astype(kind)
    cast = np.asarray(given).astype(dtype)
    nets = [fm.MLP([20, 8, 5], dtype=dtype) for _ in range(2)]
    nets[0].fit(given, y, epochs=2)
    nets[1].fit(cast, y, epochs=2)
    assert nets[0]._parameters.tobytes() == nets[1]._parameters.tobytes()
    np.testing.assert_array_equal(nets[0].predict_proba(given), nets[1].predict_proba(cast))


@pytest.mark.parametrize(
    ("layers", "n", "batch_size"),
    [([1, 1], 1, 1), ([1, 1, 1], 3, 2), ([1, 100, 1], 5, 1000), ([100, 1, 100], 2, 2**70)],
)
def test_smallest_networks_and_batches(layers, n, batch_size, dtype, isa, threads):
    rng = np.random.default_rng(0)
    for output in ("softmax", "sigmoid", "identity"):
        nets = [
            cls(layers, ["tanh"] * (len(layers) - 2) + [output], dtype=dtype)
            for cls in (fm.MLP, fm.reference.MLP)
        ]
        X, y = rng.normal(size=(n, layers[0])), make_targets(rng, output, n, layers[-1])
        for net in nets:
            net.fit(X, y, epochs=3, batch_size=batch_size)
        assert_weights_agree(*nets, 0.01)


def test_inputs_are_not_changed(dtype):
    X, y = digits(n=50)
    one_hot = np.eye(5, dtype=dtype)[y]
    for features in (X, X.astype(np.float64), np.abs(X).astype(np.uint8)):
        given = features.copy()
        for target in (y, one_hot):
            kept = target.copy()
            for array in (features, target):
                array.setflags(write=False)
            net = fm.MLP([20, 8, 5], dtype=dtype)
            net.fit(features, target, epochs=1, validation_data=(features, target))
            net.evaluate(features, target)
            net.loss_and_gradients(features, target)
            net.predict(features)
            np.testing.assert_array_equal(features, given)
            np.testing.assert_array_equal(target, kept)


# Copies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.deepcopy,
        copy.copy,
        *(lambda net, p=p: pickle.loads(pickle.dumps(net, p)) for p in range(2, 6)),
    ],
    ids=["deepcopy", "copy", *(f"pickle {p}" for p in range(2, 6))],
)
def test_copies_are_equal_and_apart(duplicate, dtype):
    X, y = digits()
    net = fm.MLP([20, 9, 5], ["tanh", "softmax"], init="glorot", dtype=dtype, seed=2**64 - 1)
    net.fit(X, y, epochs=2)
    other = duplicate(net)
    assert type(other) is fm.MLP
    assert snapshot(other) == snapshot(net)
    assert repr(other) == repr(net)
    assert not np.shares_memory(other._parameters, net._parameters)
    assert not padding_of(other).any()
    before = snapshot(net)
    other.fit(X, y, epochs=1)
    assert snapshot(net) == before
    net.fit(X, y, epochs=1)
    assert other._parameters.tobytes() == net._parameters.tobytes()


# Divergence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_divergence_restores_everything(hidden, output, cls, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 9)), make_targets(rng, output, 300, 3)
    net = cls([9, 12, 3], [hidden, output], dtype=dtype)
    net.fit(X, y, epochs=2, lr=0.001)
    before = snapshot(net)
    ended = []

    class End(fm.Callback):
        def on_fit_end(self, net, history):
            ended.append(len(history))

    with pytest.raises(fm.DivergenceError, match=r"after \d+ finished epochs.*try an lr below"):
        diverge(net, X, y, callbacks=[End()])
    assert snapshot(net) == before
    assert len(ended) == 1
    net.fit(X, y, epochs=1, lr=0.001)
    assert all(np.isfinite(p).all() for p in parameters(net))


def test_divergence_after_good_epochs(dtype):
    X, y = digits()
    net = fm.MLP([20, 8, 5], dtype=dtype)
    before = snapshot(net)

    class Spoil(fm.Callback):
        def on_epoch_end(self, net, history):
            if len(history) == 2:
                net.weights[0][0, 0] = np.inf

    with pytest.raises(fm.DivergenceError, match="after 2 finished epochs"):
        net.fit(X, y, epochs=5, callbacks=[Spoil()])
    assert snapshot(net) == before


DIVERGE_SLOWLY = """
import sys, time
import numpy as np
import fastmlp as fm
import fastmlp.mlp
fastmlp.mlp.POLL_SECONDS = 0.0
fm.set_num_threads(int(sys.argv[1]))

class Wait(fm.Callback):
    def on_progress(self, net, progress):
        time.sleep(0.002)

rng = np.random.default_rng(0)
X, y = 1e15 * rng.normal(size=(96, 64)).astype(np.float32), rng.integers(10, size=96)
net = fm.MLP([64, 64, 64, 10])
for _ in range(30):
    try:
        net.fit(X, y, epochs=3, batch_size=32, lr=1e20, callbacks=[Wait()])
    except fm.DivergenceError:
        print("diverged")
"""


@pytest.mark.parametrize("n", [2, 3])
def test_divergence_after_a_slow_callback_does_not_hang(n, run_python):
    """While one thread is in the callback the others go to sleep, and wake up late."""
    assert run_python(DIVERGE_SLOWLY, n, timeout=15).split() == ["diverged"] * 30


def test_divergence_of_the_last_update_is_noticed():
    X, y = np.full((1, 1), 1e30, np.float32), np.zeros((1, 1))
    net = fm.MLP([1, 1], ["identity"], init=1e-30)
    before = snapshot(net)
    with pytest.raises(fm.DivergenceError):
        net.fit(X, y + 1e10, epochs=1, lr=1.0)  # the loss is finite, what it leads to is not
    assert snapshot(net) == before


# Callbacks ----------------------------------------------------------------------------------------


class Log(fm.Callback):
    def __init__(self, stop_after=None):
        self.events = []
        self.stop_after = stop_after

    def on_fit_begin(self, net, epochs, n_samples):
        self.events.append(("begin", epochs, n_samples))

    def on_progress(self, net, progress):
        self.events.append(("progress", progress))

    def on_epoch_end(self, net, history):
        self.events.append(("epoch", len(history)))
        return len(history) == self.stop_after

    def on_fit_end(self, net, history):
        self.events.append(("end", len(history)))


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP])
def test_order_of_callbacks(cls):
    X, y = digits()
    net = cls([20, 8, 5])
    log, other = Log(), Log()
    net.fit(X, y, epochs=3, callbacks=(each for each in (log, other)))
    names = [name for name, *_ in log.events]
    assert names == ["begin", *["progress", "epoch"] * 3, "end"]
    assert log.events[0] == ("begin", 3, 500)
    assert [event[1] for event in log.events if event[0] in ("epoch", "end")] == [1, 2, 3, 3]
    for epoch, (_, progress) in enumerate(log.events[1:-1:2], start=1):
        assert isinstance(progress, fm.Progress)
        assert progress[:4] == (epoch, 3, 500, 500)
        assert progress.loss == net.history.loss[epoch - 1]
        assert progress.accuracy == net.history.accuracy[epoch - 1]
        assert progress.seconds == net.history.seconds[epoch - 1] > 0
    assert [event[0] for event in other.events] == names


def test_a_callback_can_stop_the_fit():
    X, y = digits()
    net = fm.MLP([20, 8, 5])
    logs = [Log(stop_after=2), Log()]
    history = net.fit(X, y, epochs=10, callbacks=logs)
    assert len(history) == net.epochs_trained == 2
    assert [log.events[-1] for log in logs] == [("end", 2)] * 2


def test_regression_has_no_accuracy_to_report():
    net, log = fm.MLP([3, 1], ["identity"]), Log()
    net.fit(np.ones((5, 3)), np.ones(5), epochs=1, callbacks=[log])
    assert np.isnan(log.events[1][1].accuracy)


@pytest.fixture(scope="module")
def long_epoch():
    """Return samples and a network of which an epoch takes some tenths of a second or more."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 300)).astype(np.float32)
    y = rng.integers(10, size=2000)
    # The same rows many times over: an epoch is long, its memory is small.
    rows = np.resize(np.arange(2000), 60_000)
    return X[rows], y[rows], [300, 1500, 10]


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP])
@pytest.mark.parametrize("error", [RuntimeError, ZeroDivisionError, FloatingPointError, SystemExit])
def test_exceptions_of_callbacks_reach_the_caller(error, cls):
    X, y = digits()
    for event in ("on_fit_begin", "on_progress", "on_epoch_end", "on_fit_end"):

        def fail(*arguments):
            raise error("mine")

        net, hook, witness = cls([20, 8, 5]), fm.Callback(), Log()
        before = snapshot(net)
        setattr(hook, event, fail)
        with pytest.raises(error, match="mine"):
            net.fit(X, y, epochs=3, callbacks=[witness, hook])
        assert witness.events[-1][0] == "end"
        trained = {"on_fit_begin": 0, "on_progress": 0, "on_epoch_end": 1, "on_fit_end": 3}[event]
        assert net.epochs_trained == len(net.history) == trained
        if event == "on_fit_begin":
            assert snapshot(net)[0] == before[0]
        else:
            assert snapshot(net)[0] != before[0]
        net.fit(X, y, epochs=1)


@pytest.mark.parametrize("error", [RuntimeError, ZeroDivisionError])
def test_an_exception_within_an_epoch_reaches_the_caller(error, threads, long_epoch):
    X, y, layers = long_epoch
    net, log = fm.MLP(layers), Log()
    before = snapshot(net)

    class Fail(fm.Callback):
        def on_progress(self, net, progress):
            assert progress.samples < progress.n_samples
            raise error("mine")

    began = time.perf_counter()
    with pytest.raises(error, match="mine"):
        net.fit(X, y, batch_size=16, callbacks=[log, Fail()])
    assert time.perf_counter() - began < 1.5
    assert snapshot(net)[0] != before[0]
    assert (net.epochs_trained, len(net.history)) == (0, 0)
    assert all(np.isfinite(p).all() for p in parameters(net))
    assert log.events[-1] == ("end", 0)


def test_progress_within_a_long_epoch(threads, long_epoch):
    X, y, layers = long_epoch
    net, log = fm.MLP(layers), Log()

    class Enough(fm.Callback):
        def on_progress(self, net, progress):
            if len(log.events) >= 5:
                raise StopIteration

    with pytest.raises(StopIteration):
        net.fit(X, y, epochs=100, batch_size=16, callbacks=[log, Enough()])
    reports = [event[1] for event in log.events if event[0] == "progress"]
    for earlier, later in itertools.pairwise(reports):
        if later.epoch == earlier.epoch:
            assert later.samples >= earlier.samples
            assert 0.05 < later.seconds - earlier.seconds < 1 or later.samples == later.n_samples
    for report in reports:
        assert report.samples % 16 == 0
        assert 0 < report.samples <= report.n_samples == len(X)
        assert np.isfinite(report.loss)
        assert 0 <= report.accuracy <= 1


def test_progress_is_reported_between_updates(threads, long_epoch, monkeypatch):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.002)
    X, y, layers = long_epoch
    torn = []

    class Watch(fm.Callback):
        def on_progress(self, net, progress):
            before = net._parameters.copy()
            time.sleep(0.005)  # long enough for a thread that is still writing
            torn.append(int((before != net._parameters).sum()))
            if len(torn) == 12:
                raise StopIteration

    net = fm.MLP(layers)
    with pytest.raises(StopIteration):
        net.fit(X, y, batch_size=64, callbacks=[Watch()])
    assert not any(torn)


def test_callbacks_see_the_same_network_for_any_number_of_threads(dtype, monkeypatch):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    X, y = digits(n=500)

    class Watch(fm.Callback):
        def __init__(self):
            self.seen = {}

        def on_progress(self, net, progress):
            self.seen[progress.epoch, progress.samples] = net._parameters.tobytes()

    seen = []
    for n in (1, 2, 3):
        fm.set_num_threads(n)
        watch = Watch()
        fm.MLP([20, 128, 64, 5], dtype=dtype).fit(X, y, epochs=2, callbacks=[watch])
        assert len(watch.seen) == 2 * -(-500 // 32)
        assert len(set(watch.seen.values())) == len(watch.seen)
        seen.append(watch.seen)
    for other in seen[1:]:
        assert other == seen[0]


# One layer; and one too large for a core's cache.
@pytest.mark.parametrize("layers", [[20, 30], [1000, 300]])
def test_progress_of_a_network_of_one_layer(layers, threads, monkeypatch):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(320, layers[0])), rng.integers(layers[1], size=320)
    log = Log()
    fm.MLP(layers).fit(X, y, epochs=1, callbacks=[log])
    assert {event[1].samples for event in log.events if event[0] == "progress"} == {
        *range(32, 321, 32)
    }


def test_a_callback_may_use_the_network(threads, long_epoch):
    X, y, layers = long_epoch
    net, scores = fm.MLP(layers), []

    class Use(fm.Callback):
        def on_progress(self, net, progress):
            scores.append(net.evaluate(X[:5000], y[:5000])["loss"])
            pickle.dumps(net)
            fm.ops.matmul(X[:300], net.weights[0])
            fm.set_num_threads(1 + len(scores) % 3)
            if len(scores) == 4:
                raise StopIteration

    with pytest.raises(StopIteration):
        net.fit(X, y, batch_size=64, callbacks=[Use()])
    assert np.isfinite(scores).all()


def test_threads_that_fit_one_network_share_no_memory():
    """What becomes of the parameters is anybody's guess, but the process must live."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 6)), rng.integers(4, size=20_000)
    net = fm.MLP([6, 17, 4])

    def fit(n):
        for _ in range(30):
            net.fit(X[:n], y[:n], 2, max(1, n // 100), lr=1e-3)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(fit, (20_000, 50, 7_000)))
    assert all(np.isfinite(w).all() for w in net.weights)


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])
def test_parameters_are_read_only_during_progress(cls, threads, monkeypatch):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 50)), rng.integers(10, size=200)
    nets = [cls([50, 64, 10]) for _ in range(2)]
    calls = []

    class Write(fm.Callback):
        def on_progress(self, net, progress):
            calls.append(progress)
            for parameter in (*net.weights, *net.biases):
                with pytest.raises(ValueError, match="read-only"):
                    parameter *= 2
            before = net.epochs_trained, net.history
            with pytest.raises(RuntimeError, match=r"^the parameters are read-only"):
                net.fit(X, y)
            assert (net.epochs_trained, net.history) == before
            duplicate = copy.deepcopy(net)
            duplicate.weights[0] *= 2
            duplicate.fit(X, y, epochs=1)

        def on_epoch_end(self, net, history):
            net.weights[0] *= 0.5

    class Halve(fm.Callback):
        def on_epoch_end(self, net, history):
            net.weights[0] *= 0.5

    nets[0].fit(X, y, epochs=2, batch_size=8, callbacks=[Write()])
    nets[1].fit(X, y, epochs=2, batch_size=8, callbacks=[Halve()])
    assert len(calls) > 2 or cls is not fm.MLP
    for a, b in zip(parameters(nets[0]), parameters(nets[1]), strict=True):
        assert a.tobytes() == b.tobytes()
        assert a.flags.writeable


def test_what_a_user_made_read_only_stays_so():
    net = fm.MLP([3, 2])
    net.biases[0].flags.writeable = False
    net.fit(np.eye(3), [0, 1, 0], epochs=1, callbacks=[fm.Callback()])
    assert not net.biases[0].flags.writeable
    assert net.weights[0].flags.writeable


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])
def test_parameters_can_be_changed_after_a_callback_failed(cls):
    class Fail(fm.Callback):
        def on_progress(self, net, progress):
            raise OSError("full disk")

    net = cls([3, 2])
    with pytest.raises(OSError, match="full disk"):
        net.fit(np.eye(3), [0, 1, 0], callbacks=[Fail()])
    net.weights[0][0, 0] = 1
    net.fit(np.eye(3), [0, 1, 0], epochs=1)


# Class indices are addresses to the engine, which must never meet one beyond the outputs.
@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])
@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32, np.float64])
def test_classes_that_change_during_a_fit_change_nothing(cls, kind, threads, monkeypatch):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0)
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(64, 5)), rng.integers(3, size=64)

    class Spoil(fm.Callback):
        def __init__(self, *arrays):
            self.arrays = arrays

        def spoil(self):
            for array in self.arrays:
                array[...] = 2**30

        def on_fit_begin(self, net, epochs, n_samples):
            self.spoil()

        def on_progress(self, net, progress):
            self.spoil()

    results = []
    for spoilt in (False, True):
        memory = np.array([labels, labels], kind)
        y, y_validation = memory
        net = cls([5, 8, 3])
        callbacks = [Spoil(memory)] if spoilt else []
        history = net.fit(
            X, y, epochs=2, batch_size=4, validation_data=(X, y_validation), callbacks=callbacks
        )
        assert (memory[0] == (2**30 if spoilt else labels)).all()
        results.append((history.loss, history.val_loss, *(p.tobytes() for p in parameters(net))))
    assert results[0] == results[1]


# Ctrl-C -------------------------------------------------------------------------------------------


def interrupt_after(seconds):
    """Send the process the signal of Ctrl-C from another thread; return when it was sent."""
    sent = []

    def send():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, send)
    timer.start()
    return timer, sent


def fit_until_interrupted(net, X, y, **options):
    """Return how long the fit went on after the signal."""
    timer, sent = interrupt_after(0.25)
    try:
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y, epochs=10**9, **options)
        return time.perf_counter() - sent[0]
    finally:
        timer.join()


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP])
@pytest.mark.parametrize("batch_size", [1, 16, 2000])
def test_ctrl_c_stops_within_an_epoch(batch_size, cls, long_epoch):
    X, y, layers = long_epoch
    net, log = cls(layers), Log()
    before = snapshot(net)
    seconds = fit_until_interrupted(net, X, y, batch_size=batch_size, callbacks=[log])
    assert seconds < (1 if cls is fm.MLP else 5)
    # On a slow machine the twin may not have made its first step yet.
    assert cls is not fm.MLP or snapshot(net)[0] != before[0]
    assert all(np.isfinite(p).all() for p in parameters(net))
    assert net.epochs_trained == len(net.history)
    assert log.events[-1] == ("end", len(net.history))
    assert net.predict(X[:10]).shape == (10,)
    log.events.clear()
    net.fit(X[:100], y[:100], epochs=1)


def test_ctrl_c_between_short_epochs():
    X, y = digits()
    net = fm.MLP([20, 8, 5])
    assert fit_until_interrupted(net, X, y) < 1
    assert net.epochs_trained == len(net.history) > 5
    assert len(net.history.seconds) == len(net.history.accuracy) == len(net.history)


def test_ctrl_c_stops_a_step_that_is_long_itself():
    X = np.ones((30_000, 784), np.float32)
    y = np.arange(30_000) % 10
    net = fm.MLP([784, 2000, 10])
    assert fit_until_interrupted(net, X, y, batch_size=len(X)) < 1
    assert all(np.isfinite(p).all() for p in parameters(net))


# Threads of Python -------------------------------------------------------------------------------


def run_together(functions):
    """Run functions in threads; return their results, raise what they raised."""
    results = [None] * len(functions)

    def run(index, function):
        try:
            results[index] = function()
        except BaseException as error:
            results[index] = error

    workers = [
        threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(functions)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
        assert not worker.is_alive()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def test_one_network_predicts_in_several_threads(dtype):
    rng = np.random.default_rng(0)
    net = fm.MLP([50, 64, 10], dtype=dtype)
    sets = [rng.normal(size=(n, 50)).astype(dtype) for n in (1, 7, 500, 3000)]
    y = rng.integers(10, size=3000)
    expected = [(net.predict_proba(X), net.evaluate(X, y[: len(X)])) for X in sets]

    def use(index):
        for _ in range(20):
            X, (p, measured) = sets[index], expected[index]
            np.testing.assert_array_equal(net.predict_proba(X), p)
            assert net.evaluate(X, y[: len(X)]) == measured

    run_together([lambda i=i: use(i) for i in (0, 1, 2, 3, 2, 3)])


def test_two_networks_train_in_two_threads():
    X, y = digits(n=3000)

    def train():
        net = fm.MLP([20, 128, 64, 5])
        net.fit(X, y, epochs=5)
        return net._parameters.tobytes()

    expected = train()
    assert run_together([train] * 3) == [expected] * 3


def test_a_call_takes_the_threads_that_others_have_left(long_epoch):
    X, y, layers = long_epoch
    free = []

    class Look(fm.Callback):
        def on_progress(self, network, progress):
            free.append(_core.get_free_threads())
            if progress.samples < len(X):
                raise KeyboardInterrupt

    fm.set_num_threads(3)
    with pytest.raises(KeyboardInterrupt):
        fm.MLP(layers).fit(X, y, epochs=3, callbacks=[Look()])
    assert min(free) == 1
    assert _core.get_free_threads() == 3


def test_operations_in_several_threads(dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(dtype) for shape in ((200, 300), (300, 250)))
    expected = fm.ops.matmul(a, b)

    def work():
        for _ in range(20):
            np.testing.assert_array_equal(fm.ops.matmul(a, b), expected)

    run_together([work] * 4)


def longest_pause(work):
    """Return how long a waiting thread was kept from running while the work was done."""
    pauses, done = [], threading.Event()

    def watch():
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return max(pauses), seconds


def test_other_threads_run_during_a_fit(long_epoch):
    X, y, layers = long_epoch
    net = fm.MLP(layers)
    fm.set_num_threads(1)
    pause, seconds = longest_pause(lambda: net.fit(X, y, epochs=1))
    assert seconds > 0.2
    assert pause < seconds / 2


def test_other_threads_run_during_other_calls(long_epoch):
    X, y, layers = long_epoch
    net = fm.MLP(layers)
    fm.set_num_threads(1)
    a = np.ones((1500, 1500), np.float32)
    for work in (
        lambda: net.evaluate(X, y),
        lambda: net.predict(X),
        lambda: net.loss_and_gradients(X[:20_000], y[:20_000]),
        lambda: fm.ops.matmul(a, a),
    ):
        pause, seconds = longest_pause(work)
        assert pause < max(0.05, seconds / 2)
