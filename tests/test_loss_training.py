"""Networks with every loss, weights of samples, and losses written in Python."""

import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from loss_cases import one_hot, some_weights
from test_losses import EPS, STEP

import fastmlp as fm
from fastmlp import losses
from fastmlp.reference import ops as reference_ops

ENGINES = pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])
MODULES = {fm.MLP: fm.ops, fm.reference.MLP: reference_ops}

N, INPUTS, HIDDEN, OUTPUTS = 37, 6, 17, 4

LOSSES = {
    "softmax": [
        losses.CrossEntropy(),
        losses.CrossEntropy(0.1),
        losses.CrossEntropy(0.1, {1: 3, 2: 0}),
        losses.Focal(),
        losses.Focal(0.5, [0.5, 1, 2, 0]),
        losses.Focal(0),
        losses.Dice(),
        losses.Dice("batch", 0),
        losses.Dice("element", 0),
        losses.CrossEntropy(0.1, scale=0.7),
        losses.Dice(scale=3),
    ],
    "sigmoid": [
        losses.BinaryCrossEntropy(),
        losses.BinaryCrossEntropy(3),
        losses.BinaryCrossEntropy([1, 2, 0, 0.5]),
        losses.Focal(2, 0.25),
        losses.Focal(5, [0.1, 0.5, 0.9, 1]),
        losses.Focal(0),
        losses.Dice(),
        losses.Dice("element", 0.5),
        losses.BinaryCrossEntropy(scale=OUTPUTS),
    ],
    "identity": [
        losses.MeanSquaredError(),
        losses.MeanSquaredError(scale=OUTPUTS / 2),
        losses.MeanAbsoluteError(),
        losses.Huber(0.5),
    ],
    "tanh": [losses.MeanSquaredError(), losses.MeanAbsoluteError(), losses.Huber()],
    "relu": [losses.Huber(2)],
    "exp": [losses.Poisson(), losses.Poisson(deviance=True, scale=0.5)],
}

EVERY = [(output, loss) for output, all_losses in LOSSES.items() for loss in all_losses]
IDS = [f"{output}-{loss}" for output, loss in EVERY]
every_loss = pytest.mark.parametrize(("output", "loss"), EVERY, ids=IDS)


def data(output, dtype=np.float64, n=N):
    """Return X and all kinds of targets that an output takes."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(n, INPUTS)).astype(dtype)
    if output == "softmax":
        labels = rng.integers(OUTPUTS, size=n)
        soft = rng.dirichlet(np.ones(OUTPUTS), n).astype(dtype)
        return X, [labels, one_hot(labels, OUTPUTS, dtype), soft]
    if output == "sigmoid":
        return X, [rng.integers(2, size=(n, OUTPUTS)), rng.random((n, OUTPUTS)).astype(dtype)]
    if output == "exp":
        return X, [rng.poisson(2, size=(n, OUTPUTS))]
    return X, [rng.normal(size=(n, OUTPUTS)).astype(dtype)]


def network(cls, output, loss=None, dtype="float64"):
    layers, activations = [INPUTS, HIDDEN, OUTPUTS], ["tanh", output]
    return cls(layers, activations, init=0.3, dtype=dtype, seed=3, loss=loss)


def state(net):
    parameters = [p.copy() for p in (*net.weights, *net.biases)]
    return parameters, net.epochs_trained, net.trained_on, net.history


def assert_same_state(net, before):
    parameters, *others = state(net)
    for now, then in zip(parameters, before[0], strict=True):
        np.testing.assert_array_equal(now, then)
    assert others == list(before[1:])


def assert_close(net, other, tolerance):
    pairs = zip((*net.weights, *net.biases), (*other.weights, *other.biases), strict=True)
    for parameter, expected in pairs:
        np.testing.assert_allclose(parameter, expected, rtol=0, atol=tolerance)


# Whole networks -----------------------------------------------------------------------------------


@ENGINES
@every_loss
def test_gradients_of_whole_networks(cls, output, loss):
    X, all_targets = data(output)
    weights = some_weights(np.random.default_rng(1), N)
    for y in all_targets:
        for w in (None, weights):
            net = network(cls, output, loss)
            value, dw, db = net.loss_and_gradients(X, y, w)
            measured = net.evaluate(X, y, w)
            assert measured["loss"] == pytest.approx(value, rel=64 * EPS)
            pairs = zip((*net.weights, *net.biases), (*dw, *db), strict=True)
            for parameter, gradient in pairs:
                for index in list(np.ndindex(parameter.shape))[::7]:
                    kept, values = parameter[index], []
                    for step in (STEP, -STEP):
                        parameter[index] = kept + step
                        values.append(net.loss_and_gradients(X, y, w)[0])
                    parameter[index] = kept
                    expected = (values[0] - values[1]) / (2 * STEP)
                    scale = 64 * STEP**2 * (1 + abs(value))
                    assert gradient[index] == pytest.approx(expected, abs=scale, rel=0)


@every_loss
def test_training_matches_the_reference(output, loss, dtype, isa, threads):
    X, all_targets = data(output, dtype)
    y = all_targets[-1] if isinstance(loss, losses.CrossEntropy) else all_targets[0]
    eps = float(np.finfo(dtype).eps)
    for w in (None, some_weights(np.random.default_rng(1), N)):
        held_out = (X, y) if w is None else (X, y, w)
        nets = [network(cls, output, loss, dtype) for cls in (fm.MLP, fm.reference.MLP)]
        for net in nets:
            net.fit(X, y, 3, 16, 0.05, sample_weight=w, validation_data=held_out)
        # 9 steps of sums of up to 37 terms, with parameters and steps of about 1.
        tolerance = 9 * 64 * eps
        assert_close(*nets, tolerance)
        engine, reference = (net.history for net in nets)
        for name in ("loss", "val_loss"):
            expected = getattr(reference, name)
            assert getattr(engine, name) == pytest.approx(expected, rel=tolerance, abs=tolerance)
        for name in ("accuracy", "val_accuracy"):
            assert getattr(engine, name) == pytest.approx(getattr(reference, name))


@every_loss
def test_threads_change_no_bit(output, loss, dtype):
    X, all_targets = data(output, dtype, n=301)
    weights = some_weights(np.random.default_rng(1), 301)
    results = []
    for threads in (1, 2, 3):
        fm.set_num_threads(threads)
        net = fm.MLP([INPUTS, 65, 33, OUTPUTS], ["relu", "tanh", output], dtype=dtype, loss=loss)
        history = net.fit(X, all_targets[0], 2, 100, 0.05, sample_weight=weights)
        loss_value, dw, db = net.loss_and_gradients(X, all_targets[0], weights)
        evaluated = net.evaluate(X, all_targets[0], weights)
        arrays = [*net.weights, *net.biases, *dw, *db]
        bits = [np.ascontiguousarray(array).tobytes() for array in arrays]
        results.append((bits, history.loss, loss_value, evaluated))
    assert results[0] == results[1] == results[2]


@every_loss
def test_samples_of_any_kind_train_alike(output, loss):
    sparse = pytest.importorskip("scipy.sparse", reason="needs SciPy's sparse matrices")
    rng = np.random.default_rng(5)
    levels = rng.integers(256, size=(N, INPUTS)).astype(np.uint8)
    levels[rng.random(levels.shape) < 0.7] = 0
    _, (y, *_) = data(output)
    weights = some_weights(rng, N)
    scaled = levels * np.float32(1 / 255)
    nets = [network(fm.MLP, output, loss, "float32") for _ in range(3)]
    for net, X in zip(nets, (scaled, levels, sparse.csr_matrix(levels)), strict=True):
        net.fit(X, y, 3, 8, 0.1, sample_weight=weights)
        assert_close(net, nets[0], 0)
        assert net.history.loss == nets[0].history.loss


# Weights of samples -------------------------------------------------------------------------------


@ENGINES
@every_loss
def test_a_weight_is_a_number_of_copies(cls, output, loss):
    X, all_targets = data(output)
    counts = np.random.default_rng(2).integers(0, 4, size=N)
    index = np.repeat(np.arange(N), counts)
    for y in all_targets:
        nets = [network(cls, output, loss) for _ in range(2)]
        # One batch, so that copies are in the batch of their sample.
        nets[0].fit(X, y, 3, 200, 0.1, sample_weight=counts)
        nets[1].fit(X[index], y[index], 3, 200, 0.1, shuffle=False)
        assert_close(*nets, 1e-13)
        assert nets[0].history.loss == pytest.approx(nets[1].history.loss, rel=1e-12)
        weighted, copied = nets[0].evaluate(X, y, counts), nets[0].evaluate(X[index], y[index])
        assert weighted == pytest.approx(copied, rel=1e-12)
        name = "r2" if "r2" in weighted else "accuracy"
        assert nets[0].score(X, y, counts) == weighted[name]


@ENGINES
def test_losses_of_an_epoch_are_weighted_means(cls):
    X, (y, *_) = data("softmax")
    weights = some_weights(np.random.default_rng(3), N)
    weights[16:32] = 0  # a whole batch
    net = network(cls, "softmax")
    losses_seen, weight_sum = 0.0, 0.0
    twin = network(fm.reference.MLP, "softmax")
    for start in (0, 32):
        batch = slice(start, start + 16)
        value, dw, db = twin.loss_and_gradients(X[batch], y[batch], weights[batch])
        losses_seen += value * weights[batch].sum()
        weight_sum += weights[batch].sum()
        for parameter, step in zip((*twin.weights, *twin.biases), (*dw, *db), strict=True):
            parameter -= 0.1 * step
    history = net.fit(X, y, 1, 16, 0.1, shuffle=False, sample_weight=weights)
    assert history.loss == [pytest.approx(losses_seen / weight_sum, rel=1e-12)]
    assert_close(net, twin, 1e-13)


@ENGINES
def test_class_weights_are_weights_of_samples(cls):
    X, (y, *_) = data("softmax")
    factors = np.array([1, 0.5, 4, 2])
    weighted = network(cls, "softmax", losses.CrossEntropy(class_weight=factors))
    plain = network(cls, "softmax")
    assert weighted.evaluate(X, y)["loss"] == pytest.approx(
        plain.evaluate(X, y, factors[y])["loss"], rel=1e-12
    )
    # Accuracy is that of the samples.
    assert weighted.evaluate(X, y)["accuracy"] == plain.evaluate(X, y)["accuracy"]
    weighted.fit(X, y, 3, 16)
    plain.fit(X, y, 3, 16, sample_weight=factors[y])
    assert_close(weighted, plain, 1e-14)
    assert weighted.history.loss == pytest.approx(plain.history.loss)


@ENGINES
@pytest.mark.parametrize(("output", "loss"), EVERY, ids=IDS)
def test_a_scale_is_a_factor_of_loss_and_gradient(cls, output, loss, dtype):
    X, targets = data(output, dtype)
    # A power of 2 rounds nothing, and leaves the fit the same where the step makes up for it.
    scaled = replace(loss, scale=4 * loss.scale)
    for y in targets:
        net, other = (network(cls, output, each, dtype) for each in (loss, scaled))
        mean, *gradients = net.loss_and_gradients(X, y)
        four_times, *larger = other.loss_and_gradients(X, y)
        assert four_times == 4 * mean
        for one, four in zip(gradients, larger, strict=True):
            for a, b in zip(one, four, strict=True):
                np.testing.assert_array_equal(4 * a, b)
        assert other.evaluate(X, y)["loss"] == 4 * net.evaluate(X, y)["loss"]
        net.fit(X, y, epochs=2, batch_size=5, lr=0.01)
        other.fit(X, y, epochs=2, batch_size=5, lr=0.01 / 4)
        assert_close(net, other, 64 * np.finfo(dtype).eps)
        assert other.history.loss == pytest.approx([4 * v for v in net.history.loss], rel=1e-4)


@ENGINES
def test_weighted_scores_are_those_of_scikit_learn(cls):
    metrics = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    for output in ("softmax", "sigmoid", "identity", "exp"):
        X, (y, *_) = data(output)
        weights = some_weights(np.random.default_rng(4), N)
        net = network(cls, output)
        score = metrics.accuracy_score if output in ("softmax", "sigmoid") else metrics.r2_score
        if output == "identity":  # constant, but for samples that do not count
            y[weights > 0, 1] = 2
            y[:, 2] = 3
        expected = score(y, net.predict(X), sample_weight=weights)
        assert net.score(X, y, weights) == pytest.approx(expected)


@ENGINES
def test_exp_predicts_rates(cls, dtype):
    X, (y,) = data("exp", dtype)
    net = network(cls, "exp", dtype=dtype)
    net.fit(X, y, 50, 8, 0.02)
    rates = net.predict(X)
    assert rates.dtype == dtype
    assert (rates > 0).all()
    # At the optimum the biases make the means of rates and counts equal.
    np.testing.assert_allclose(rates.mean(axis=0), y.mean(axis=0), rtol=0.2)
    with pytest.raises(ValueError, match="predict_proba"):
        net.predict_proba(X)
    with pytest.raises(ValueError, match=r"activations\[0\] is exp, which only the last"):
        cls([2, 3, 1], ["exp", "identity"])


# Losses written in Python -------------------------------------------------------------------------


def in_python(module, output, loss):
    """Return a function that computes one of the losses by those of `ops`."""
    name, parameters = loss.function(output)

    def python_loss(predictions, targets, sample_weight=None):
        if isinstance(loss, losses.CrossEntropy):
            parameters["class_weight"] = loss.class_weight
        mean, gradient = getattr(module, name)(predictions, targets, sample_weight, **parameters)
        return loss.scale * mean, loss.scale * gradient

    return python_loss


@ENGINES
@every_loss
def test_a_python_loss_trains_as_the_built_in_one(cls, output, loss, dtype):
    X, all_targets = data(output, dtype)
    eps = float(np.finfo(dtype).eps)
    weights = some_weights(np.random.default_rng(1), N)
    is_weighted = isinstance(loss, losses.CrossEntropy) and loss.class_weight
    for y in all_targets:
        for w in (None, weights):
            nets = [
                network(cls, output, given, dtype)
                for given in (loss, in_python(MODULES[cls], output, loss))
            ]
            held_out = (X, y) if w is None else (X, y, w)
            for net in nets:
                net.fit(X, y, 2, 16, 0.05, sample_weight=w, validation_data=held_out)
            tolerance = 6 * 64 * eps
            assert_close(*nets, tolerance)
            first, second = (net.history for net in nets)
            assert first.val_loss == pytest.approx(second.val_loss, rel=tolerance)
            if not is_weighted:  # the means of the batches count otherwise there
                assert first.loss == pytest.approx(second.loss, rel=tolerance)
            assert first.accuracy == second.accuracy
            built_in, custom = (net.loss_and_gradients(X, y, w) for net in nets)
            assert built_in[0] == pytest.approx(custom[0], rel=tolerance)
            for one, other in zip(built_in[1], custom[1], strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@ENGINES
def test_the_losses_of_ops_are_python_losses(cls, dtype, threads):
    X, (y, *_) = data("softmax", dtype)
    weights = some_weights(np.random.default_rng(1), N)
    weights[16:32] = 0  # a batch that counts nothing
    nets = [network(cls, "softmax", loss, dtype)
            for loss in (None, MODULES[cls].softmax_cross_entropy)]  # fmt: skip
    for net in nets:
        net.fit(X, y, 2, 16, shuffle=False, sample_weight=weights)
    assert_close(*nets, 6 * 64 * float(np.finfo(dtype).eps))


@ENGINES
def test_what_a_python_loss_is_given(cls, dtype):
    X, all_targets = data("softmax", dtype)
    calls = []

    def loss(predictions, targets, **keywords):
        calls.append((predictions.copy(), targets.copy(), copy.deepcopy(keywords)))
        result = reference_ops.softmax_cross_entropy(predictions, targets, **keywords)
        # Its own copies, for what it likes.
        predictions[...], targets[...] = np.nan, -1
        for weight in keywords.values():
            weight[...] = np.nan
        return result

    for y in all_targets:
        net = network(cls, "softmax", loss, dtype)
        net.fit(X, y, 1, 16, shuffle=False)
        assert [len(p) for p, _, _ in calls] == [16, 16, 5]
        for predictions, _, keywords in calls:
            assert predictions.dtype == dtype
            assert predictions.shape[1] == OUTPUTS
            assert keywords == {}
        np.testing.assert_array_equal(np.concatenate([t for _, t, _ in calls]), y)
        calls.clear()
        weights = some_weights(np.random.default_rng(1), N)
        net.loss_and_gradients(X, y, weights)
        np.testing.assert_array_equal(calls[0][2]["sample_weight"], weights)
        np.testing.assert_array_equal(weights, some_weights(np.random.default_rng(1), N))
        calls.clear()
    # What goes into the softmax, and what comes out of tanh.
    net = network(cls, "softmax", loss, dtype)
    net.evaluate(X, all_targets[0])
    np.testing.assert_array_equal(reference_ops.softmax(calls[0][0]).argmax(axis=1), net.predict(X))
    calls.clear()


def returning(result):
    def my_loss(predictions, targets):
        return result(predictions) if callable(result) else result

    return my_loss


def with_one(value):
    def gradient(predictions):
        array = np.zeros_like(predictions)
        array[2, 1] = value
        return 1.0, array

    return gradient


BAD_RETURNS = [
    (None, TypeError, "loss my_loss must return a pair"),
    (1.0, TypeError, "loss my_loss must return a pair"),
    ((1.0,), TypeError, "loss my_loss must return a pair"),
    ((1.0, 2.0, 3.0), TypeError, "loss my_loss must return a pair"),
    (lambda p: p, TypeError, "loss my_loss must return a pair"),
    (lambda p: (p, p), ValueError, "the value that loss my_loss returned must be one number"),
    (lambda p: ([[1], [1, 2]], p), TypeError, "the value that loss my_loss returned is no number"),
    (lambda p: ("1", p), TypeError, "the value that loss my_loss returned must be a real"),
    (lambda p: (1j, p), TypeError, "the value that loss my_loss returned must be a real"),
    (lambda p: (None, p), TypeError, "the value that loss my_loss returned must be a real"),
    (lambda p: (np.nan, p), ValueError, "the value that loss my_loss returned is nan"),
    (lambda p: (np.inf, p), ValueError, "the value that loss my_loss returned is inf"),
    (lambda p: (1.0, p[:-1]), ValueError, "the gradient that loss my_loss returned has shape"),
    (lambda p: (1.0, p.T), ValueError, "the gradient that loss my_loss returned has shape"),
    (lambda p: (1.0, 0.0), ValueError, "the gradient that loss my_loss returned has shape"),
    (lambda p: (1.0, None), TypeError, "the gradient that loss my_loss returned is of object"),
    (lambda p: (1.0, p * 1j), TypeError, "the gradient that loss my_loss returned is of complex"),
    (lambda p: (1.0, p.astype(str)), TypeError, "the gradient that loss my_loss returned is of"),
    (lambda p: (1.0, [[1], [1, 2]]), TypeError, "the gradient that loss my_loss returned is no"),
    (with_one(np.nan), ValueError,
     r"the gradient that loss my_loss returned is nan at \[2, 1\] of the batch"),
    (with_one(-np.inf), ValueError, "the gradient that loss my_loss returned is -inf"),
]  # fmt: skip


def fails_later(function, good_calls):
    """Return a loss that is right a few times, so that something has been learned by then."""
    count = 0

    def my_loss(predictions, targets):
        nonlocal count
        count += 1
        if count > good_calls:
            return function(predictions, targets)
        return reference_ops.softmax_cross_entropy(predictions, targets)

    return my_loss


@ENGINES
@pytest.mark.parametrize(("result", "kind", "words"), BAD_RETURNS, ids=range(len(BAD_RETURNS)))
def test_bad_results_of_a_python_loss(cls, result, kind, words, threads):
    X, (y, *_) = data("softmax")
    for good_calls in (0, 4):
        net = network(cls, "softmax", fails_later(returning(result), good_calls))
        before = state(net)
        with pytest.raises(kind, match=f"^{words}"):
            net.fit(X, y, 5, 16, 0.1)
        assert_same_state(net, before)
    for method in (net.loss_and_gradients, net.evaluate):
        with pytest.raises(kind, match=f"^{words}"):
            method(X, y)


@ENGINES
@pytest.mark.parametrize("error", [RuntimeError, TypeError, ZeroDivisionError, ArithmeticError])
def test_what_a_python_loss_raises_reaches_the_caller(cls, error, threads):
    X, (y, *_) = data("softmax")

    def raising(predictions, targets):
        raise error("mine")

    net = network(cls, "softmax", fails_later(raising, 4))
    net.fit(X, y, 1, 16)
    before = state(net)
    with pytest.raises(error, match=r"^mine$"):
        net.fit(X, y, 5, 16)
    assert_same_state(net, before)
    with pytest.raises(error, match=r"^mine$"):
        net.evaluate(X, y)


@ENGINES
def test_a_python_loss_that_fails_on_the_validation_data(cls):
    X, (y, *_) = data("softmax")

    def my_loss(predictions, targets):
        value, gradient = reference_ops.softmax_cross_entropy(predictions, targets)
        return (np.nan if len(targets) == N else value), gradient

    net = network(cls, "softmax", my_loss)
    before = state(net)
    with pytest.raises(ValueError, match="the value that loss my_loss returned is nan"):
        net.fit(X, y, 3, 16, validation_data=(X, y))
    assert_same_state(net, before)


@ENGINES
def test_a_python_loss_cannot_change_its_network(cls, threads):
    X, (y, *_) = data("softmax")

    def fits(predictions, targets):
        net.fit(X[:9], y[:9], 1, 2)

    def writes(predictions, targets):
        net.weights[0][...] = 0

    for function, kind, words in ((fits, RuntimeError, "read-only"), (writes, ValueError, "read")):
        net = network(cls, "softmax", fails_later(function, 4))
        before = state(net)
        with pytest.raises(kind, match=words):
            net.fit(X, y, 5, 16)
        assert_same_state(net, before)
        with pytest.raises(kind, match=words):
            net.evaluate(X, y)
        net.weights[0][...] = 0  # which others may again

    # It may use it.
    def predicts(predictions, targets):
        np.testing.assert_array_equal(net.predict(X).shape, y.shape)
        return reference_ops.softmax_cross_entropy(predictions, targets)

    net, twin = (network(cls, "softmax", loss)
                 for loss in (predicts, reference_ops.softmax_cross_entropy))  # fmt: skip
    net.fit(X, y, 2, 16)
    twin.fit(X, y, 2, 16)
    assert_close(net, twin, 0)


@ENGINES
def test_an_exception_of_a_callback_keeps_what_a_python_loss_has_taught(cls):
    class Stop(fm.Callback):
        def on_progress(self, net, progress):
            if progress.epoch == 2:
                raise ValueError("enough")

    X, (y, *_) = data("softmax")
    net = network(cls, "softmax", MODULES[cls].softmax_cross_entropy)
    with pytest.raises(ValueError, match="enough"):
        net.fit(X, y, 3, 16, callbacks=[Stop()])
    assert net.epochs_trained == 1


@ENGINES
def test_an_interrupt_within_a_python_loss_keeps_what_was_learned(cls, threads):
    X, (y, *_) = data("softmax")

    def interrupted(predictions, targets):
        raise KeyboardInterrupt

    net = network(cls, "softmax", fails_later(interrupted, 7))
    before = state(net)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, 5, 16, 0.1)
    assert len(net.history) == net.epochs_trained == 2
    assert any((now != then).any() for now, then in zip(net.weights, before[0], strict=False))
    # Seven whole steps, as of a loss that is not interrupted.
    twin = network(cls, "softmax", fails_later(returning(lambda p: (0.0, 0 * p)), 7))
    twin.fit(X, y, 3, 16, 0.1)
    assert_close(net, twin, 0)


def test_the_loss_of_a_network_stays():
    net = fm.MLP([3, 2])
    with pytest.raises(AttributeError, match="loss"):
        net.loss = "focal"
    assert net.loss == losses.CrossEntropy()


@ENGINES
def test_calls_that_a_python_loss_does_not_take(cls):
    X, (y, *_) = data("softmax")
    net = network(cls, "softmax", lambda predictions, targets: (1.0, 0 * predictions))
    before = state(net)
    with pytest.raises(TypeError, match=r"loss <lambda> cannot be called.*sample_weight"):
        net.fit(X, y, sample_weight=np.ones(N))
    assert_same_state(net, before)
    net = network(cls, "softmax", lambda predictions: (1.0, 0 * predictions))
    with pytest.raises(TypeError, match="loss <lambda> cannot be called"):
        net.fit(X, y)


@ENGINES
def test_a_python_loss_may_return_any_numbers(cls, dtype):
    X, (y,) = data("identity", dtype)

    def half(kind):
        return lambda p, t: (kind(1), (np.sign(p - t) * 8).astype(np.int8).tolist())

    nets = [network(cls, "identity", half(kind), dtype)
            for kind in (float, int, np.float32, np.array, np.bool_)]  # fmt: skip
    for net in nets:
        net.fit(X, y, 1, 8, 0.001)
        assert net.history.loss == [1.0]
        assert_close(net, nets[0], 0)


@ENGINES
def test_a_network_that_leaves_the_finite_numbers_under_a_python_loss(cls):
    X, (y,) = data("identity", np.float32)
    net = network(cls, "identity", lambda p, t: (1.0, np.full_like(p, 1e38)), "float32")
    before = state(net)
    with pytest.raises(fm.DivergenceError):
        net.fit(X, y, 5, 8, lr=100)
    assert_same_state(net, before)


# Choosing and keeping a loss ----------------------------------------------------------------------


@ENGINES
def test_defaults_and_names(cls):
    defaults = {
        "softmax": losses.CrossEntropy(), "sigmoid": losses.BinaryCrossEntropy(),
        "exp": losses.Poisson(), "identity": losses.MeanSquaredError(),
        "relu": losses.MeanSquaredError(), "tanh": losses.MeanSquaredError(),
    }  # fmt: skip
    for output, default in defaults.items():
        net = network(cls, output)
        assert net.loss == default
        assert "loss" not in repr(net)
        assert "loss" not in net.summary()
    net = network(cls, "softmax", "Focal")
    assert net.loss == losses.Focal()
    assert repr(net).endswith("loss=Focal(gamma=2.0, alpha=None))")
    assert net.summary().endswith("\nloss: Focal(gamma=2.0, alpha=None)")


BAD_LOSSES = [
    (
        "softmax",
        "hinge",
        ValueError,
        "loss is 'hinge': known are cross_entropy, binary_cross.*dice",
    ),
    ("softmax", 1, TypeError, "loss must be a name"),
    ("softmax", losses.Focal, TypeError, "loss is the class Focal"),
    ("softmax", losses.Loss(), TypeError, "loss is a Loss, which the engine does not know"),
    (
        "softmax",
        "poisson",
        ValueError,
        "loss poisson needs an output of exp, the network's is soft",
    ),
    ("sigmoid", losses.CrossEntropy(), ValueError, "loss cross_entropy needs an output of softmax"),
    ("identity", "focal", ValueError, "loss focal needs an output of softmax or sigmoid"),
    ("exp", "huber", ValueError, "loss huber needs an output of identity or relu or leaky_relu"),
    ("softmax", losses.Focal(2, 0.25), ValueError, "alpha must hold a factor for each class"),
    ("softmax", losses.Focal(2, [1, 1]), ValueError, "alpha holds 2 values, there are 4 outputs"),
    ("sigmoid", losses.Focal(2, 1.5), ValueError, r"alpha must be in \[0, 1\]"),
    ("sigmoid", losses.BinaryCrossEntropy([1] * 3), ValueError, "pos_weight holds 3"),
    ("softmax", losses.CrossEntropy(class_weight={4: 2}), ValueError, "class_weight names class 4"),
]


@ENGINES
@pytest.mark.parametrize(
    ("output", "loss", "kind", "words"), BAD_LOSSES, ids=range(len(BAD_LOSSES))
)
def test_losses_that_do_not_fit(cls, output, loss, kind, words):
    with pytest.raises(kind, match=f"^{words}"):
        network(cls, output, loss)


@ENGINES
def test_parameters_beyond_the_dtype(cls):
    for output, loss in (
        ("softmax", losses.Focal(1e300)),
        ("softmax", losses.Dice(smoothing=1e300)),
        ("identity", losses.Huber(1e300)),
        ("sigmoid", losses.BinaryCrossEntropy([1, 1, 1, 1e300])),
    ):
        with pytest.raises(ValueError, match="is too large for float32"):
            network(cls, output, loss, "float32")
        network(cls, output, loss, "float64")


BAD_WEIGHTS = [
    ([1.0] * 36, ValueError, "sample_weight has shape"),
    (np.ones((N, 1)), ValueError, "sample_weight has shape"),
    (np.zeros(N), ValueError, "sample_weight is 0 for every sample"),
    (np.array([-1.0, *[1] * 36]), ValueError, r"sample_weight\[0\] is -1"),
    (np.array([*[1] * 36, np.nan]), ValueError, r"sample_weight\[36\] is nan"),
    (["a"] * N, TypeError, "sample_weight"),
]


@ENGINES
@pytest.mark.parametrize(("weights", "kind", "words"), BAD_WEIGHTS, ids=range(len(BAD_WEIGHTS)))
def test_bad_weights_change_nothing(cls, weights, kind, words):
    X, (y, *_) = data("softmax")
    for loss in (None, losses.Dice(), fm.reference.ops.softmax_cross_entropy):
        net = network(cls, "softmax", loss)
        before = state(net)
        for method in (net.fit, net.evaluate, net.score, net.loss_and_gradients):
            with pytest.raises(kind, match=f"^{words}"):
                method(X, y, sample_weight=weights)
        with pytest.raises(kind, match=words.replace("sample_weight", r"validation_data\[2\]")):
            net.fit(X, y, validation_data=(X, y, weights))
        assert_same_state(net, before)


@ENGINES
def test_bad_targets(cls):
    X, _ = data("softmax")
    for output, y, words in (
        ("softmax", np.full((N, OUTPUTS), 0.5), r"y\[0\] sums to 2"),
        ("softmax", np.full((N, OUTPUTS), 1.5), r"y\[0, 0\] is 1.5"),
        ("sigmoid", np.full((N, OUTPUTS), -0.5), r"y\[0, 0\] is -0.5"),
        ("exp", np.full((N, OUTPUTS), -1), r"y\[0, 0\] is -1: targets of an exp output must be"),
        ("exp", np.full((N, OUTPUTS), np.nan), r"y\[0, 0\] is nan"),
    ):
        for loss in (None, "dice") if output in ("softmax", "sigmoid") else (None,):
            with pytest.raises(ValueError, match=f"^{words}"):
                network(cls, output, loss).fit(X, y)
    everything_zero = network(cls, "softmax", losses.CrossEntropy(class_weight={1: 0}))
    with pytest.raises(ValueError, match="sample_weight times class_weight is 0"):
        everything_zero.fit(X, np.ones(N, int))
    too_large = network(cls, "softmax", losses.CrossEntropy(class_weight=[1e308] * OUTPUTS))
    with pytest.raises(ValueError, match="class_weight makes weights with a sum beyond float64"):
        too_large.fit(X, np.ones(N, int))


@every_loss
def test_files_and_copies_keep_the_loss(output, loss, tmp_path):
    net = network(fm.MLP, output, loss)
    X, (y, *_) = data(output)
    net.fit(X, y, 1)
    net.save(tmp_path / "net.safetensors")
    loaded = fm.load(tmp_path / "net.safetensors")
    for other in (loaded, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.loss == loss
        assert other.evaluate(X, y) == net.evaluate(X, y)
    network(fm.MLP, output, loss).save(tmp_path / "again.safetensors")
    assert json.loads(json.dumps(losses.describe(loss))) is not None
    assert losses.from_description(json.loads(json.dumps(losses.describe(loss)))) == loss


def test_files_name_a_python_loss(tmp_path):
    X, (y, *_) = data("softmax")
    path = tmp_path / "net.safetensors"
    net = network(fm.MLP, "softmax", fm.ops.softmax_cross_entropy)
    net.fit(X, y, 1)
    net.save(path)
    assert pickle.loads(pickle.dumps(net)).loss is fm.ops.softmax_cross_entropy
    loaded = fm.load(path)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert "loss=softmax_cross_entropy" in repr(loaded)
    before = state(loaded)
    for method in (loaded.fit, loaded.evaluate, loaded.loss_and_gradients):
        with pytest.raises(ValueError, match="loss is the Python function softmax_cross_entropy"):
            method(X, y)
    assert_same_state(loaded, before)
    # The name survives another journey.
    loaded.save(path)
    assert fm.load(path).loss == loaded.loss
    given = fm.load(path, loss=fm.ops.softmax_cross_entropy)
    assert given.evaluate(X, y) == net.evaluate(X, y)
    assert fm.load(path, loss="focal").loss == losses.Focal()
    with pytest.raises(ValueError, match=r"^loss huber needs"):
        fm.load(path, loss="huber")
    with pytest.raises(ValueError, match=r"^alpha holds 2 values"):
        fm.load(path, loss=losses.Focal(2, [1, 1]))
