"""Eval metrics on validation data, and early stopping by them."""

import copy
import json
import math
import os
import pickle
import signal
import warnings

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.early_stopping import Watch
from fastmlp.scores import F1, answers

CLASSES = [fm.MLP, fm.reference.MLP]
IDS = ["engine", "reference"]
twins = pytest.mark.parametrize("cls", CLASSES, ids=IDS)


def samples(n=200, features=6, outputs=3, output="softmax", seed=0):
    """Return samples of which something can be learned, and weights."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features))
    z = X @ rng.normal(size=(features, outputs)) + rng.normal(size=(n, outputs))
    weights = rng.integers(0, 4, size=n).astype(float)
    if output == "softmax":
        return X, z.argmax(axis=1), weights
    return X, (z > 0.5).astype(float) if output == "sigmoid" else z, weights


def parts(X, y, weights=None):
    """Return validation data as they can be given."""
    arrays = (X, y) if weights is None else (X, y, weights)

    def batches():
        for start in range(0, len(X), 37):
            yield tuple(array[start : start + 37] for array in arrays)

    return {
        "whole": arrays,
        "blocks": fm.data.Blocks(*arrays, rows=60),
        "batches": fm.data.Batches(batches),
    }


def parameters(net):
    return [array.copy() for array in (*net.weights, *net.biases)]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert one.tobytes() == other.tobytes()


# F1 -------------------------------------------------------------------------------------------

SHAPES = [("softmax", 2), ("softmax", 3), ("softmax", 7), ("sigmoid", 1), ("sigmoid", 4)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("output", "k"), SHAPES)
@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_f1_is_that_of_scikit_learn(n, output, k, weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        # Few of many classes occur; some neither in the targets nor in the predictions.
        classes = rng.integers(1, k + 1) if output == "softmax" else 2
        shape = n if output == "softmax" or k == 1 else (n, k)
        truth, answer = rng.integers(classes, size=(2, *np.atleast_1d(shape)))
        weights = rng.integers(0, 3, size=n).astype(float) if weighted else None
        if weighted and not weights.any():
            continue
        score = F1(k, output)
        for rows in (slice(0, n // 2), slice(n // 2, n)):
            if rows.stop > rows.start:
                given = None if weights is None else weights[rows]
                score.add(truth[rows], answer[rows], answer[rows], given)
        several = k > 2 or (output == "sigmoid" and k > 1)
        average = "macro" if several else "binary"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = metrics.f1_score(
                truth, answer, average=average, sample_weight=weights, zero_division=0
            )
        # Sums of small integers are exact; a quotient and a mean of k of them are not.
        assert score.result() == pytest.approx(expected, rel=(k + 2) * 2e-16)


# Metrics ----------------------------------------------------------------------------------------


def expected_answer(net, X):
    return answers(net._output(X.astype(net.dtype), logits=True), "softmax")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["whole", "blocks", "batches"])
@pytest.mark.parametrize("loss", [None, "dice"])
@twins
def test_f1_of_validation_data(cls, loss, kind, weighted, threads, capsys):
    metrics = pytest.importorskip("sklearn.metrics")
    X, y, weights = samples()
    net = cls([6, 8, 3], loss=loss)
    data = parts(X, y, weights if weighted else None)[kind]
    history = net.fit(X, y, epochs=2, lr=0.1, validation_data=data, eval_metric="f1", verbose=1)
    score = metrics.f1_score(
        y, net.predict(X), average="macro", sample_weight=weights if weighted else None
    )
    # The weights are integers, so that sums of them are exact.
    assert history.val_f1[-1] == pytest.approx(score, rel=1e-15)
    assert history.metrics == {"val_f1": history.val_f1}
    assert list(history.to_dict())[-1] == "val_f1"
    assert [len(values) for values in history.to_dict().values()] == [2] * 6
    printed = capsys.readouterr().out.splitlines()
    assert f"val_f1 {history.val_f1[-1]:.4f}  {history.seconds[-1]:.2f} s" in printed[-1]
    measured = (
        net.evaluate(*data, eval_metric="f1")
        if kind == "whole"
        else (net.evaluate(data, eval_metric="f1"))
    )
    assert measured["f1"] == history.val_f1[-1]
    assert measured["loss"] == history.val_loss[-1]
    assert measured["accuracy"] == history.val_accuracy[-1]


@pytest.mark.parametrize(
    ("output", "name", "known"),
    [
        ("softmax", "loss", "val_loss"),
        ("softmax", "accuracy", "val_accuracy"),
        ("identity", "loss", "val_loss"),
    ],
)
def test_what_is_measured_anyway_is_recorded_once(output, name, known):
    X, y, _ = samples(output=output)
    net = fm.MLP([6, 3], [output])
    history = net.fit(X, y, epochs=2, lr=0.1, validation_data=(X, y), eval_metric=name)
    assert history.metrics == {}
    assert history.to_dict()[known][-1] == net.evaluate(X, y)[name]


@twins
def test_r2(cls):
    X, y, weights = samples(output="identity")
    net = cls([6, 3], ["identity"])
    data = (X, y, weights)
    history = net.fit(X, y, epochs=3, lr=0.1, validation_data=data, eval_metric="r2")
    assert history.val_r2[-1] == net.score(*data)
    assert len(history.val_r2) == 3


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["whole", "blocks", "batches"])
@pytest.mark.parametrize(
    ("output", "k", "rows_of_probabilities"),
    [
        ("softmax", 3, False),
        ("softmax", 3, True),
        ("sigmoid", 1, True),
        ("sigmoid", 4, False),
        ("identity", 1, False),
        ("exp", 2, False),
    ],
)
@twins
def test_what_a_function_gets(cls, output, k, rows_of_probabilities, kind, weighted):
    X, y, weights = samples(outputs=k, output=output)
    y = np.abs(y) if output == "exp" else y
    expected = y[:, 0] if y.ndim == 2 and k == 1 else y
    if rows_of_probabilities and output == "softmax":
        y = np.eye(3)[y] * 0.8 + 0.1 * (1 - np.eye(3)[y])
    elif rows_of_probabilities and output == "sigmoid":
        y = 0.2 + 0.6 * y
    calls = []

    def measure(y_true, y_pred, **options):
        calls.append((y_true.copy(), y_pred.copy(), options))
        y_true[...] = y_pred[...] = 0
        return -1.5

    net = cls([6, 5, k], ["tanh", output], dtype="float64")
    for metric in (measure, fm.Metric(measure, "likely", probabilities=True)):
        if output in ("identity", "exp") and metric is not measure:
            continue
        data = parts(X, y, weights if weighted else None)[kind]
        history = net.fit(X, y, epochs=2, validation_data=data, eval_metric=metric)
        truth, predicted, options = calls[-1]
        assert history.metrics == {f"val_{getattr(metric, 'name', 'measure')}": [-1.5] * 2}
        np.testing.assert_array_equal(truth, expected)
        if output in ("softmax", "sigmoid"):
            assert truth.dtype == np.int64
        if metric is measure:
            np.testing.assert_allclose(predicted, net.predict(X), rtol=1e-13)
        else:
            probabilities = net.predict_proba(X)
            probabilities = probabilities[:, 0] if k == 1 else probabilities
            np.testing.assert_allclose(predicted, probabilities, rtol=1e-13)
        assert list(options) == ["sample_weight"] * weighted
        if weighted:
            np.testing.assert_array_equal(options["sample_weight"], weights)
    assert len(calls) == 2 * (2 if output in ("softmax", "sigmoid") else 1)


def test_functions_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    X, y, weights = samples(outputs=1, output="sigmoid")
    net = fm.MLP([6, 1])
    area = fm.Metric(metrics.roc_auc_score, probabilities=True)
    history = net.fit(X, y, epochs=3, validation_data=(X, y, weights), eval_metric=area)
    expected = metrics.roc_auc_score(y, net.predict_proba(X), sample_weight=weights)
    assert history.val_roc_auc_score[-1] == expected


@pytest.mark.parametrize("bad", ["1", None, [0.5], np.ones(2), 1j])
@pytest.mark.parametrize("kind", ["whole", "blocks", "batches"])
def test_functions_that_return_no_number(kind, bad):
    X, y, _ = samples()
    net = fm.MLP([6, 3])
    before = parameters(net)
    with pytest.raises(TypeError, match=r"^eval_metric bad must return a number"):
        net.fit(
            X,
            y,
            validation_data=parts(X, y)[kind],
            eval_metric=fm.Metric(lambda t, p: bad, "bad"),
            early_stopping=3,
        )
    assert_same(parameters(net), before)
    assert (net.epochs_trained, net.history) == (0, None)


def test_a_function_that_raises_changes_nothing():
    X, y, _ = samples()
    net, calls = fm.MLP([6, 3]), []

    def fail(y_true, y_pred):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("mine")
        return len(calls)

    before = parameters(net)
    with pytest.raises(OSError, match="mine"):
        net.fit(X, y, validation_data=(X, y), eval_metric=fail, early_stopping=5)
    assert_same(parameters(net), before)
    assert net.history is None


def takes_two(y_true, y_pred):
    return 0.0


@pytest.mark.parametrize(
    ("output", "metric", "error", "words"),
    [
        ("softmax", "f2", ValueError, "eval_metric must be one of loss, accuracy, f1 for a soft"),
        ("softmax", "r2", ValueError, "eval_metric must be one of"),
        ("identity", "accuracy", ValueError, "eval_metric must be one of loss, r2 for an? ident"),
        ("softmax", 5, TypeError, "eval_metric must be a name, a function or a fastmlp.Metric"),
        ("softmax", ["f1"], TypeError, "eval_metric must be"),
        ("identity", fm.Metric(takes_two, probabilities=True), ValueError, "eval_metric takes pro"),
        ("softmax", takes_two, TypeError, "eval_metric takes_two takes no sample_weight"),
    ],
)
@pytest.mark.parametrize("kind", ["whole", "blocks"])
def test_bad_metrics(kind, output, metric, error, words):
    X, y, weights = samples(output=output)
    net = fm.MLP([6, 3], [output])
    data = parts(X, y, weights)[kind]
    with pytest.raises(error, match=f"^{words}"):
        net.fit(X, y, validation_data=data, eval_metric=metric)
    with pytest.raises(error, match=f"^{words}"):
        net.evaluate(X, y, weights, eval_metric=metric)
    assert net.history is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"function": "f1"}, TypeError),
        ({"function": takes_two, "name": "two words"}, ValueError),
        ({"function": takes_two, "name": 5}, ValueError),
        ({"function": takes_two, "name": "loss"}, ValueError),
        ({"function": takes_two, "name": "accuracy"}, ValueError),
    ],
)
def test_bad_metric_objects(arguments, error):
    with pytest.raises(error):
        fm.Metric(**arguments)


def test_metrics_need_validation_data():
    X, y, _ = samples()
    with pytest.raises(ValueError, match=r"^eval_metric is measured on validation_data"):
        fm.MLP([6, 3]).fit(X, y, eval_metric="accuracy")


# Early stopping ---------------------------------------------------------------------------------


class Curve:
    """A metric that takes given values, and what the network was at each."""

    def __init__(self, values, greater=True):
        self.values = list(values)
        self.metric = fm.Metric(self.next, "curve", greater_is_better=greater)
        self.kept = []

    def next(self, y_true, y_pred):
        return self.values[len(self.kept)]

    def hook(self):
        curve = self

        class Keep(fm.Callback):
            def on_epoch_end(self, net, history):
                curve.kept.append([array.copy() for array in net._arrays()])

        return Keep()


def follow(cls, values, greater=True, stopping=3, epochs=None, **options):
    X, y, _ = samples()
    curve = Curve(values, greater)
    net = cls([6, 5, 3])
    net.fit(
        X,
        y,
        epochs=len(values) if epochs is None else epochs,
        lr=0.05,
        validation_data=(X, y),
        eval_metric=curve.metric,
        early_stopping=stopping,
        callbacks=[curve.hook()],
        **options,
    )
    return net, curve


NAN, INF = math.nan, math.inf
CURVES = [
    # Values, patience, min_delta; epochs made, the best of them.
    ([1, 2, 3, 4, 5], 2, 0, 5, 5),
    ([1, 3, 2, 2, 2, 2], 3, 0, 5, 2),
    ([1, 3, 2, 2, 4, 2], 3, 0, 6, 5),
    ([3, 3, 3, 3, 3], 1, 0, 2, 1),
    ([3, 3, 3, 3, 3], 3, 0, 4, 1),
    # Progress by less than min_delta counts once it has summed up; the best is the best anyway.
    ([1, 1.4, 1.8, 2.2, 2.4, 2.5, 2.3], 3, 1, 7, 6),
    ([1, 1.4, 1.8, 1.9, 2.4], 3, 1, 4, 4),
    ([NAN, 1, NAN, NAN, 2], 2, 0, 4, 2),
    ([NAN, NAN, NAN, NAN], 2, 0, 2, None),
    ([INF, INF, 1], 2, 0, 3, 1),
    ([-INF, 2, 1], 2, 0, 3, 2),
]


@pytest.mark.parametrize(
    ("greater", "options"),
    [(True, {}), (False, {"optimizer": "adam"}), (True, {"ema": 0.9, "optimizer": "adam"})],
)
@pytest.mark.parametrize(("values", "patience", "delta", "epochs", "best"), CURVES)
@twins
def test_the_best_epoch_is_restored(cls, values, patience, delta, epochs, best, greater, options):
    values = values if greater else [-value for value in values]
    stopping = fm.EarlyStopping(patience, delta)
    net, curve = follow(cls, values, greater, stopping, **options)
    assert len(net.history) == net.epochs_trained == epochs
    assert net.history.best_epoch == best
    kept = curve.kept[(best or epochs) - 1]
    assert_same(net._arrays(), kept)
    steps = -(-200 // 32)
    assert net._optimizer_state.steps == steps * (best or epochs)
    np.testing.assert_array_equal(net.history.val_curve, values[:epochs])


@twins
def test_the_last_epoch_is_kept_where_asked(cls):
    stopping = fm.EarlyStopping(2, restore_best=False)
    net, curve = follow(cls, [3, 2, 1, 0], stopping=stopping)
    assert net.history.best_epoch == 1
    assert len(net.history) == 3
    assert_same(net._arrays(), curve.kept[2])


@twins
def test_training_goes_on_from_the_best_epoch(cls):
    """With what the optimizer remembered then, and new orders."""
    X, y, _ = samples()
    options = {"lr": 0.01, "optimizer": "adam"}
    net, _ = follow(cls, [1, 2, 0, 0], stopping=2, optimizer="adam")
    twin = cls([6, 5, 3])
    twin.fit(X, y, epochs=2, lr=0.05, optimizer="adam")
    assert_same(net._arrays(), twin._arrays())
    twin.epochs_trained = 4
    for each in (net, twin):
        each.fit(X, y, epochs=2, **options)
    assert_same(net._arrays(), twin._arrays())


@pytest.mark.parametrize("kind", ["whole", "blocks", "batches"])
@pytest.mark.parametrize("metric", [None, "loss", "f1", "accuracy"])
@twins
def test_what_decides(cls, metric, kind, threads):
    X, y, _ = samples(60)
    Xv, yv, _ = samples(200, seed=1)
    net = cls([6, 60, 3])
    history = net.fit(
        X,
        y,
        epochs=60,
        lr=0.5,
        validation_data=parts(Xv, yv)[kind],
        eval_metric=metric,
        early_stopping=4,
    )
    values = history.to_dict()[f"val_{metric or 'loss'}"]
    signed = np.array(values) * (1 if metric in ("f1", "accuracy") else -1)
    best = int(np.argmax(signed))
    assert history.best_epoch == best + 1
    assert len(history) == min(60, best + 5) < 60
    measured = net.evaluate(Xv, yv, eval_metric=metric)[metric or "loss"]
    assert measured == pytest.approx(values[best], rel=1e-5)


def test_the_training_loss_decides_without_validation_data():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 4)), rng.integers(2, size=64)
    net = fm.MLP([4, 2])
    history = net.fit(X, y, epochs=300, lr=3.0, batch_size=8, early_stopping=3)
    assert len(history) == np.argmin(history.loss) + 4 < 300
    assert history.best_epoch == np.argmin(history.loss) + 1
    fit = fm.MLP([4, 2]).fit(X, y, epochs=2, lr=1e-9)
    assert fit.best_epoch is None


def test_hooks_know_the_best_epoch():
    seen = []

    class Look(fm.Callback):
        def on_epoch_end(self, net, history):
            seen.append(history.best_epoch)

        def on_fit_end(self, net, history):
            seen.append([array.copy() for array in net._arrays()])

    X, y, _ = samples()
    curve = Curve([1, 2, 0, 3, 1, 1])
    net = fm.MLP([6, 3])
    net.fit(
        X,
        y,
        validation_data=(X, y),
        eval_metric=curve.metric,
        early_stopping=2,
        callbacks=[curve.hook(), Look()],
    )
    assert seen[:-1] == [1, 2, 2, 4, 4, 4]
    assert_same(seen[-1], curve.kept[3])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("ema", [None, 0.9])
@twins
def test_an_end_by_force_restores_the_best(cls, ema, error):
    X, y, _ = samples()
    curve = Curve([1, 2, 0, 0, 0])
    net = cls([6, 3])

    class Interrupt(fm.Callback):
        def on_batch_end(self, net, progress):
            if progress.epoch == 4 and progress.batches == 3:
                if error is KeyboardInterrupt:
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    raise error

    with pytest.raises(error):
        net.fit(
            X,
            y,
            ema=ema,
            validation_data=(X, y),
            eval_metric=curve.metric,
            early_stopping=5,
            callbacks=[curve.hook(), Interrupt()],
        )
    assert_same(net._arrays(), curve.kept[1])
    assert len(net.history) == net.epochs_trained == 3
    assert net.history.best_epoch == 2
    assert not net._optimizer_state.stepping


def test_a_stop_by_a_callback_restores_the_best():
    X, y, _ = samples()
    curve = Curve([2, 1, 0])
    net = fm.MLP([6, 3])
    limit = fm.callbacks.StopAt("val_curve", at_most=1)
    net.fit(
        X,
        y,
        validation_data=(X, y),
        eval_metric=curve.metric,
        early_stopping=5,
        callbacks=[curve.hook(), limit],
    )
    assert len(net.history) == 2
    assert_same(net._arrays(), curve.kept[0])


def explode(epoch, **options):
    """Fit with a learning rate that goes beyond all bounds in an epoch counted from 0."""
    X, y, _ = samples(output="identity")
    net = fm.MLP([6, 3], ["identity"])
    kept = []

    class Keep(fm.Callback):
        def on_epoch_end(self, net, history):
            kept.append([array.copy() for array in net._arrays()])

    def rate(step):
        return 1e-3 if step < 7 * epoch else 1e30

    history = net.fit(
        X, y, epochs=9, lr=rate, optimizer=fm.optimizers.SGD(0.9), callbacks=[Keep()], **options
    )
    return net, history, kept


@pytest.mark.parametrize("ema", [None, 0.5])
def test_divergence_keeps_the_best_epoch(ema, threads):
    with pytest.warns(RuntimeWarning, match=r"diverged.*below 1e\+30.*it was after epoch 3") as log:
        net, history, kept = explode(3, early_stopping=5, ema=ema)
    assert log[0].filename == __file__
    assert len(history) == net.epochs_trained == 3
    assert net.history is history
    assert_same(net._arrays(), kept[2])
    assert np.isfinite(net._parameters).all()


@pytest.mark.parametrize("stopping", [None, fm.EarlyStopping(restore_best=False)])
def test_divergence_is_an_error_where_nothing_is_kept(stopping):
    with pytest.raises(fm.DivergenceError, match="after 3 finished epochs"):
        explode(3, early_stopping=stopping)


def test_divergence_in_the_first_epoch_is_an_error():
    with pytest.raises(fm.DivergenceError):
        explode(0, early_stopping=5)


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "10", fm.EarlyStopping])
def test_bad_early_stopping(value):
    X, y, _ = samples()
    net = fm.MLP([6, 3])
    with pytest.raises((TypeError, ValueError), match=r"^early_stopping must be"):
        net.fit(X, y, early_stopping=value)
    assert net.history is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"patience": 0}, ValueError),
        ({"patience": 1.5}, TypeError),
        ({"min_delta": -1}, ValueError),
        ({"min_delta": NAN}, ValueError),
        ({"min_delta": "1"}, TypeError),
        ({"restore_best": 1}, TypeError),
    ],
)
def test_bad_early_stopping_objects(arguments, error):
    (name,) = arguments
    with pytest.raises(error, match=f"^{name} must"):
        fm.EarlyStopping(**arguments)


@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_the_state_of_early_stopping_can_be_kept(cut):
    X, y, _ = samples()
    values = [1, 3, 2, 3.5, 3.6, 2, 2]
    rule = fm.EarlyStopping(3, 1.0)
    nets, results = [fm.MLP([6, 3]) for _ in range(2)], []
    for net, interrupted in zip(nets, (False, True), strict=True):
        watch, stops = Watch(rule, True), []
        for epoch, value in enumerate(values, start=1):
            if interrupted and epoch == cut + 1:
                numbers, arrays = watch.state()
                saved = json.loads(json.dumps(numbers)), [array.copy() for array in arrays]
                watch = Watch(rule, True)
                watch.set_state(*saved)
            net.fit(X, y, epochs=1, optimizer="adam")
            stops.append(watch.see(value, epoch, net))
        watch.restore(net)
        results.append((stops, watch.best, watch.best_epoch, watch.waited))
    assert results[0] == results[1]
    assert_same(nets[0]._arrays(), nets[1]._arrays())
    assert nets[0]._optimizer_state.steps == nets[1]._optimizer_state.steps


def test_copies_of_a_history():
    X, y, _ = samples()
    net = fm.MLP([6, 3])
    history = net.fit(X, y, epochs=2, validation_data=(X, y), eval_metric="f1", early_stopping=5)
    for duplicate in (
        copy.deepcopy(history),
        pickle.loads(pickle.dumps(history)),
        copy.copy(net).history,
    ):
        assert duplicate == history
        assert duplicate.val_f1 == history.val_f1
    with pytest.raises(AttributeError, match="'History' object has no attribute 'val_f2'"):
        assert history.val_f2
    assert not hasattr(fm.History(), "val_f1")


def test_numbers_of_numpy_are_the_same_settings():
    given = fm.EarlyStopping(np.int64(3), np.float32(0.5))
    assert repr(given) == repr(fm.EarlyStopping(3, 0.5))
