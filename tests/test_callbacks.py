"""Hooks around epochs and batches, and the callbacks that are ready for use."""

import csv
import itertools
import json
import math
import time

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.callbacks import CSVLogger, JSONLogger, StopAt, TimeLimit
from fastmlp.errors import NotFiniteError

CLASSES = [fm.MLP, fm.reference.MLP]
IDS = ["engine", "reference"]


def samples(n=100, features=6, classes=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, features)), rng.integers(classes, size=n)


def sources(X, y):
    """Return the same samples as they can be given, and the sizes of their batches of 16."""

    def batches():
        for start in range(0, len(X), 16):
            yield X[start : start + 16], y[start : start + 16]

    whole = [16] * (len(X) // 16) + [len(X) % 16] * (len(X) % 16 > 0)
    return {
        "whole": ((X, y), whole),
        "blocks": ((fm.data.Blocks(X, y, rows=32),), whole),
        "batches": ((fm.data.Batches(batches),), whole),
    }


class Log(fm.Callback):
    """Notes every call; stops at the given event, told by its number."""

    def __init__(self, stop=None):
        self.events = []
        self.stop = stop

    def note(self, *event):
        self.events.append(event)
        return event[: len(self.stop)] == self.stop if self.stop else None

    def on_fit_begin(self, net, epochs, n_samples):
        self.note("fit begin", epochs)

    def on_epoch_begin(self, net, epoch):
        self.note("epoch begin", epoch)

    def on_batch_begin(self, net, progress):
        assert not net.weights[0].flags.writeable
        return self.note("batch begin", progress.epoch, progress.batches, progress.samples)

    def on_batch_end(self, net, progress):
        assert not net.weights[0].flags.writeable
        return self.note("batch end", progress.epoch, progress.batches, progress.samples)

    def on_epoch_end(self, net, history):
        return self.note("epoch end", len(history))

    def on_fit_end(self, net, history):
        self.note("fit end", len(history))


def expected_events(epochs, sizes):
    yield ("fit begin", epochs)
    for epoch in range(1, epochs + 1):
        yield ("epoch begin", epoch)
        done = 0
        for batch, size in enumerate(sizes):
            yield ("batch begin", epoch, batch, done)
            done += size
            yield ("batch end", epoch, batch + 1, done)
        yield ("epoch end", epoch)
    yield ("fit end", epochs)


# One layer, some, and one too large for a core's cache: threads share their steps differently.
@pytest.mark.parametrize("layers", [[6, 3], [6, 40, 20, 3], [6, 1500, 3]])
@pytest.mark.parametrize("source", ["whole", "blocks", "batches"])
@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
def test_every_batch_is_told_once(cls, source, layers, threads):
    data, sizes = sources(*samples(100))[source]
    log = Log()
    cls(layers).fit(*data, epochs=2, batch_size=16, callbacks=[fm.Callback(), log])
    assert log.events == list(expected_events(2, sizes))


class Late(fm.Callback):
    """Decides when a fit begins what it is told."""

    def on_fit_begin(self, net, epochs, n_samples):
        self.batches = []
        self.on_batch_end = lambda net, progress: self.batches.append(progress.batches)


@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
def test_hooks_that_a_fit_finds_when_it_begins(cls):
    late = Late()
    cls([6, 3]).fit(*samples(40), epochs=2, batch_size=16, callbacks=[late])
    assert late.batches == [1, 2, 3] * 2


@pytest.mark.parametrize("n", [1, 15, 16, 17, 500])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"max_norm": 1.0}, {"ema": 0.9}])
@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
def test_batch_hooks_change_nothing(cls, options, n, threads):
    X, y = samples(n)
    nets, logs = [cls([6, 20, 3]) for _ in range(2)], ([], [Log()])
    for net, hooks in zip(nets, logs, strict=True):
        net.fit(X, y, epochs=2, batch_size=16, optimizer="adam", callbacks=hooks, **options)
    assert nets[0].history.loss == nets[1].history.loss
    for one, other in zip(nets[0].weights, nets[1].weights, strict=True):
        assert one.tobytes() == other.tobytes()


def test_batches_are_only_told_to_those_who_ask(monkeypatch):
    polls = []
    train_epoch = fm.MLP._train_epoch

    def watched(net, samples, training, *others):
        polls.append(training.each_batch)
        return train_epoch(net, samples, training, *others)

    monkeypatch.setattr(fm.MLP, "_train_epoch", watched)
    X, y = samples()

    class Epochs(fm.Callback):
        def on_epoch_end(self, net, history):
            pass

    class End(fm.Callback):
        def on_batch_end(self, net, progress):
            pass

    of_instance = fm.Callback()
    of_instance.on_batch_begin = lambda net, progress: None
    for hooks in ([], [Epochs()], [End()], [of_instance]):
        fm.MLP([6, 3]).fit(X, y, epochs=1, callbacks=hooks)
    assert polls == [False, False, True, True]


@pytest.mark.parametrize("loss", ["dice", lambda p, t: (float((p**2).mean()), 2 * p / p.size)])
@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
def test_every_batch_of_a_loss_over_the_batch(cls, loss, threads):
    X, y = samples(100)
    log = Log()
    net = cls([6, 8, 3], loss=loss)
    net.fit(X, np.eye(3)[y], epochs=1, batch_size=32, callbacks=[log])
    assert log.events == list(expected_events(1, [32, 32, 32, 4]))


@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
def test_what_batches_are_told(cls):
    X, y = samples(100)
    seen = []

    class Watch(fm.Callback):
        def on_batch_end(self, net, progress):
            seen.append(progress)

    net = cls([6, 3], dtype="float64")
    net.fit(X, y, epochs=2, batch_size=40, shuffle=False, callbacks=[Watch()])
    twin, losses = cls([6, 3], dtype="float64"), []
    for epoch in range(2):
        total = 0.0
        for start in (0, 40, 80):
            rows = slice(start, start + 40)
            total += twin.loss_and_gradients(X[rows], y[rows])[0] * len(X[rows])
            twin.fit(X[rows], y[rows], epochs=1, batch_size=40, shuffle=False)
            losses.append((epoch + 1, total / min(start + 40, 100)))
    assert [p.epoch for p in seen] == [epoch for epoch, _ in losses]
    # Sums of a hundred terms in another order.
    np.testing.assert_allclose([p.loss for p in seen], [v for _, v in losses], rtol=1e-13)
    assert [p.loss for p in seen[2::3]] == net.history.loss
    assert [p.accuracy for p in seen[2::3]] == net.history.accuracy
    assert all(p.n_samples == 100 for p in seen)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen[:3]))


STOPS = [
    # The event that says stop; finished epochs, and batches that have been trained on.
    (("batch begin", 1, 0), 0, 0),
    (("batch begin", 2, 3), 1, 10),
    (("batch end", 1, 1), 0, 1),
    (("batch end", 2, 2), 1, 9),
    (("batch end", 2, 7), 2, 14),
    (("epoch end", 2), 2, 14),
]


@pytest.mark.parametrize("source", ["whole", "blocks", "batches"])
@pytest.mark.parametrize(("stop", "epochs", "steps"), STOPS)
@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
def test_every_hook_can_stop(cls, stop, epochs, steps, source, threads):
    X, y = samples(100)
    data, _ = sources(X, y)[source]
    log, other = Log(stop), Log()
    net = cls([6, 8, 3])
    history = net.fit(*data, epochs=5, batch_size=16, shuffle=False, callbacks=[log, other])
    assert len(history) == net.epochs_trained == epochs
    assert net._optimizer_state.steps == steps
    assert log.events[-1] == other.events[-1] == ("fit end", epochs)
    assert log.events[-2][: len(stop)] == stop or log.events[-2] == ("epoch end", epochs)
    assert log.events == other.events
    expected = cls([6, 8, 3])
    starts = [16 * (step % 7) for step in range(steps)]
    for start in starts:
        rows = slice(start, start + 16)
        expected.fit(X[rows], y[rows], epochs=1, batch_size=16, shuffle=False)
    for one, theirs in zip(net.weights, expected.weights, strict=True):
        assert one.tobytes() == theirs.tobytes()
    net.fit(X, y, epochs=1)


def test_a_stop_within_an_epoch_keeps_the_averages():
    X, y = samples(100)
    net = fm.MLP([6, 3])
    before = net.weights[0].copy()
    hooks = [Log(("batch end", 1, 3))]
    net.fit(X, y, epochs=5, batch_size=16, ema=0.5, callbacks=hooks)
    state = net._optimizer_state
    assert not state.stepping
    assert not np.array_equal(net.weights[0], before)
    assert not np.array_equal(net._parameters, state.other[0])


@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_batch_begin", "on_batch_end"])
def test_exceptions_of_hooks_reach_the_caller(hook, cls, threads):
    X, y = samples(100)
    net, bad, log = cls([6, 3]), fm.Callback(), Log()

    def fail(*arguments):
        raise ZeroDivisionError("mine")

    setattr(bad, hook, fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        net.fit(X, y, epochs=3, batch_size=16, callbacks=[log, bad])
    assert log.events[-1] == ("fit end", 0)
    net.weights[0][...] *= 1  # can be written again
    net.fit(X, y, epochs=1)


def test_divergence_ends_batches(threads):
    X, y = samples(100)
    log = Log()
    with pytest.raises(fm.DivergenceError):
        fm.MLP([6, 8, 1], ["relu", "identity"]).fit(X, 1e3 * y, lr=1e30, callbacks=[log])
    assert log.events[-1][0] == "fit end"


def test_on_progress_can_stop(monkeypatch, threads):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    X, y = samples(100)
    net, calls = fm.MLP([6, 3]), []

    class Stop(fm.Callback):
        def on_progress(self, net, progress):
            calls.append(progress.samples)
            return progress.samples == 48

    net.fit(X, y, epochs=5, batch_size=16, callbacks=[Stop()])
    assert calls[-1] == 48
    assert net._optimizer_state.steps == 3
    assert net.epochs_trained == 0


# Ready for use ------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES, ids=IDS)
def test_time_limit(cls, monkeypatch):
    X, y = samples(100)
    clock = itertools.count()
    monkeypatch.setattr("fastmlp.callbacks.time.perf_counter", lambda: next(clock))
    net = cls([6, 3])
    net.fit(X, y, epochs=1000, callbacks=[TimeLimit(30)])
    assert 5 < net.epochs_trained < 30


def test_time_limit_within_an_epoch():
    X, y = np.ones((40_000, 300), np.float32), np.zeros(40_000, np.int64)
    net = fm.MLP([300, 1000, 10])
    began = time.perf_counter()
    history = net.fit(X, y, epochs=1000, batch_size=16, lr=1e-6, callbacks=[TimeLimit(0.05)])
    assert (len(history), net.epochs_trained) == (0, 0)
    assert time.perf_counter() - began < 5
    assert net._optimizer_state.steps > 0


@pytest.mark.parametrize("seconds", [0, -1, math.nan, "1", True, None])
def test_bad_time_limits(seconds):
    with pytest.raises((ValueError, TypeError), match="seconds"):
        TimeLimit(seconds)


def test_stop_at_a_value():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6))
    y = (X[:, 0] > 0).astype(int)
    net = fm.MLP([6, 2])
    options = {"epochs": 500, "lr": 0.1, "validation_data": (X, y)}
    history = net.fit(X, y, callbacks=[StopAt("val_accuracy", at_least=0.9)], **options)
    assert history.val_accuracy[-1] >= 0.9 > max(history.val_accuracy[:-1], default=0)
    history = net.fit(X, y, callbacks=[StopAt("loss", at_most=0.1)], **options)
    assert history.loss[-1] <= 0.1 < min(history.loss[:-1])
    with pytest.raises(ValueError, match="the history has no 'val_f1', only loss, accuracy, sec"):
        net.fit(X, y, callbacks=[StopAt("val_f1", at_least=1)])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"at_least": 1, "at_most": 1}, ValueError),
        ({"at_least": "1"}, TypeError),
        ({"at_most": math.nan}, TypeError),
    ],
)
def test_bad_values_to_stop_at(arguments, error):
    with pytest.raises(error, match="at_"):
        StopAt("loss", **arguments)


class LinesSoFar(fm.Callback):
    """Reads a file after each epoch: what is logged must be there at once."""

    def __init__(self, path):
        self.path = path
        self.counts = []

    def on_epoch_end(self, net, history):
        self.counts.append(len(self.path.read_text().splitlines()))


def test_csv_logger(tmp_path):
    X, y = samples()
    path = tmp_path / "log.csv"
    net, reader = fm.MLP([6, 3]), LinesSoFar(path)
    history = net.fit(X, y, epochs=3, validation_data=(X, y), callbacks=[CSVLogger(path), reader])
    assert reader.counts == [2, 3, 4]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row.pop("epoch")) for row in rows] == [1, 2, 3]
    for name, values in history.to_dict().items():
        assert [float(row[name]) for row in rows] == values
    net.fit(X, y, epochs=2, validation_data=(X, y), callbacks=[CSVLogger(path, append=True)])
    epochs = [line.partition(",")[0] for line in path.read_text().splitlines()]
    assert epochs == ["epoch", "1", "2", "3", "4", "5"]
    with pytest.raises(ValueError, match=r"log\.csv has the columns epoch,loss,"):
        net.fit(X, y, epochs=2, callbacks=[CSVLogger(path, append=True)])
    logger = CSVLogger(path)
    for _ in range(2):
        net.fit(X, y, epochs=1, callbacks=[logger])
        assert len(path.read_text().splitlines()) == 2


def test_json_logger(tmp_path):
    X, y = samples()
    path = tmp_path / "log.jsonl"
    net, reader = fm.MLP([6, 3]), LinesSoFar(path)
    history = net.fit(X, y, epochs=3, callbacks=[JSONLogger(str(path)), reader])
    assert reader.counts == [1, 2, 3]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["loss"] for row in rows] == history.loss
    assert set(rows[0]) == {"epoch", "loss", "accuracy", "seconds"}

    def infinite(y_true, y_pred):
        return math.inf

    options = {"epochs": 1, "validation_data": (X, y), "eval_metric": infinite}
    net.fit(X, y, callbacks=[JSONLogger(path, append=True)], **options)
    last = path.read_text().splitlines()[-1]
    assert len(path.read_text().splitlines()) == 4
    assert json.loads(last, parse_constant=pytest.fail)["val_infinite"] is None


@pytest.mark.parametrize("kind", [CSVLogger, JSONLogger])
def test_a_log_that_cannot_be_written_ends_the_fit_at_once(kind, tmp_path):
    X, y = samples()
    net = fm.MLP([6, 3])
    with pytest.raises(FileNotFoundError):
        net.fit(X, y, callbacks=[kind(tmp_path / "none" / "log")])
    assert net.epochs_trained == 0
    with pytest.raises(TypeError):
        kind(5)


@pytest.mark.parametrize("hook", ["on_batch_begin", "on_batch_end", "on_progress"])
@pytest.mark.parametrize("kind", CLASSES, ids=IDS)
def test_what_a_hook_finds_not_finite_is_no_divergence(kind, hook):
    def fail(net, progress):
        raise NotFiniteError("found by a hook")

    callback = type("Fails", (fm.Callback,), {hook: staticmethod(fail)})()
    with pytest.raises(NotFiniteError, match="found by a hook"):
        kind([6, 5, 3]).fit(*samples(), callbacks=[callback])
