"""A fit that was killed goes on from its checkpoint, and leaves the bits of one that was not."""

import contextlib
import errno
import os
import re
import shutil
import warnings

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.callbacks import Callback
from fastmlp.data import Batches, Blocks

pytest.importorskip("safetensors", reason="checkpoints are written with safetensors")

RNG = np.random.default_rng(0)
N, WIDTH = 173, 12
X = RNG.normal(size=(N, WIDTH)).astype(np.float32)
Y = RNG.integers(3, size=N)
WEIGHTS = RNG.random(N)
OFTEN = 1e-9
"""Seconds after which a checkpoint is due: with each step, as progress is reported then."""

CLASSES = [pytest.param(fm.MLP, id="engine"), pytest.param(fm.reference.MLP, id="twin")]


class KilledError(Exception):
    pass


class Watch(Callback):
    """Notes the progress that is reported, that of each step once."""

    def __init__(self):
        self.met = []

    def on_progress(self, net, progress):
        found = progress._replace(seconds=0.0)
        if found not in self.met:
            self.met.append(found)


class Kill(Watch):
    """Ends a fit when progress has been made so often."""

    def __init__(self, after):
        super().__init__()
        self._after = after

    def on_progress(self, net, progress):
        super().on_progress(net, progress)
        if len(self.met) > self._after:
            raise KilledError


@pytest.fixture
def reported_by_step(monkeypatch):
    """Have progress reported with each step."""
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    for module in ("fastmlp.feeding", "fastmlp.reference.mlp"):
        monkeypatch.setattr(f"{module}.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("fastmlp.reporting.PROGRESS_SECONDS", 0.0)


def bits(net):
    """Return all that a fit leaves in a network but the time it took."""
    state = net._optimizer_state
    history = net.history.to_dict() | {"best_epoch": net.history.best_epoch}
    del history["seconds"]
    arrays = [array.tobytes() for array in net._arrays()]
    return arrays, state.steps, net.epochs_trained, net.trained_on, history


def odd_batches(X=X, Y=Y):
    """Bring batches of several sizes, not all of which go together."""
    for size, begin in ((20, 0), (20, 20), (7, 40), (31, 47), (9, 78), (20, 87), (20, 107)):
        yield X[begin : begin + size], Y[begin : begin + size]


def mean_of_squares(seen, targets):
    difference = seen - np.eye(12, dtype=seen.dtype)[targets]
    return float((difference**2).sum(axis=1).mean()), 2 * difference / len(seen)


def decaying(step):
    return 0.05 / (1 + step)


def sparse():
    return pytest.importorskip("scipy.sparse", reason="for sparse samples").csr_matrix(
        X * (np.abs(X) > 1)
    )


FITS = {
    "plain": {},
    "in order": {"shuffle": False},
    "momentum": {"optimizer": fm.optimizers.SGD(0.9)},
    "nesterov": {"optimizer": fm.optimizers.SGD(0.9, nesterov=True), "sample_weight": WEIGHTS},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": fm.optimizers.AdamW(weight_decay=0.1), "l1": 1e-3},
    "rmsprop": {"optimizer": fm.optimizers.RMSprop(momentum=0.5), "ema": 0.9},
    "average": {"ema": 0.8, "validation_data": (X[:50], Y[:50])},
    "early stopping": {
        "early_stopping": 1,
        "eval_metric": "f1",
        "validation_data": (X[:30], Y[:30]),
        "optimizer": "adam",
        "epochs": 6,
    },
    "no better epoch": {"early_stopping": 2, "lr": decaying, "optimizer": "adam", "ema": 0.5},
    "penalties": {"l1": 1e-3, "l2": 1e-2, "optimizer": "adam"},
    "norms": {"clip_norm": 0.5, "max_norm": 1.0, "ema": 0.95, "optimizer": "adam"},
    "dropout": {"dropout": 0.5, "input_dropout": 0.2, "optimizer": "adam"},
    "one cycle": {"lr": fm.schedules.OneCycle(0.1), "optimizer": fm.optimizers.SGD(0.9)},
    "warm-up": {"lr": fm.schedules.WarmUp(fm.schedules.Cosine(0.05), epochs=1.5)},
    "a function": {"lr": decaying, "optimizer": "adam"},
    "sparse": {"X": sparse, "optimizer": "adam"},
    "uint8": {"X": lambda: (np.abs(X) * 60).astype(np.uint8)},
    "one batch": {"batch_size": 1000},
    "blocks": {"X": lambda: Blocks(X, Y, rows=50), "optimizer": "adam", "dropout": 0.3},
    "blocks in order": {"X": lambda: Blocks(X, Y, WEIGHTS, 40, 0), "shuffle": False, "l2": 0.1},
    "batches": {"X": lambda: Batches(odd_batches, per_epoch=7), "l2": 0.1, "optimizer": "adam"},
}
LOSSES = {
    "a loss in Python": mean_of_squares,
    "dice": fm.losses.Dice(),
    "focal": fm.losses.Focal(gamma=1.5),
    "weights of classes": fm.losses.CrossEntropy(class_weight={2: 0.5, 10: 2.0, 0: 1.5}),
}


def fit(net, path=None, kill=None, resume=True, epochs=3, callbacks=(), **options):
    """Fit a network, with checkpoints in a file if there is one."""
    features = options.pop("X", lambda: X)()
    y = None if isinstance(features, Blocks | Batches) else Y
    options = {"batch_size": 20, "lr": 0.02, **options}
    if path is not None:
        how_often = options.pop("checkpoint", fm.Checkpoint(path, seconds=OFTEN))
        options.update(checkpoint=how_often, resume=resume)
    hooks = [*callbacks, *([] if kill is None else [Kill(kill)])]
    net.fit(features, y, epochs, callbacks=hooks, **options)


def resumed(make, path, kill, **options):
    """Fit networks of which all but the last are killed; return it, and how many were."""
    for kills in range(1000):
        net = make()
        fm.set_num_threads(1 + kills % 3)
        try:
            fit(net, path, kill, **options)
        except KilledError:
            continue
        return net, kills
    raise AssertionError("the fit never came to its end")


def assert_resumes(make, path, kill, **options):
    expected = make()
    fit(expected, **options)
    net, kills = resumed(make, path, kill, **options)
    assert kills > 1
    assert bits(net) == bits(expected)
    # The next fit goes on alike too.
    for each in (net, expected):
        fit(each, epochs=1, optimizer=options.get("optimizer", "sgd"), ema=options.get("ema"))
    assert bits(net) == bits(expected)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name", FITS)
def test_the_same_bits(name, cls, dtype, tmp_path, reported_by_step):
    def make():
        return cls([WIDTH, 9, 7, 3], dtype=dtype, seed=5)

    kill = 1 if name == "one batch" else 5 + len(name) % 4
    assert_resumes(make, tmp_path / "run", kill, **FITS[name])
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name", LOSSES)
def test_the_same_bits_by_loss(name, cls, tmp_path, reported_by_step):
    assert_resumes(lambda: cls([WIDTH, 9, 12], loss=LOSSES[name]), tmp_path / "run", 8)


def test_the_same_bits_where_threads_share_columns(tmp_path, reported_by_step):
    def make():
        return fm.MLP([WIDTH, 501, 390, 3], ["relu", "gelu", "softmax"])

    options = {"optimizer": "adam", "ema": 0.9, "l2": 1e-3, "dropout": 0.5, "batch_size": 64}
    assert_resumes(make, tmp_path / "run", 4, **options)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_resumed_regression(cls, tmp_path, reported_by_step):
    targets = X[:, :2] * 2
    nets = [cls([WIDTH, 9, 2], ["tanh", "identity"]) for _ in range(3)]
    options = {"epochs": 3, "validation_data": (X, targets)}
    nets[0].fit(X, targets, **options)
    options.update(checkpoint=fm.Checkpoint(tmp_path / "run", seconds=OFTEN), resume=True)
    with pytest.raises(KilledError):
        nets[1].fit(X, targets, callbacks=[Kill(8)], **options)
    nets[2].fit(X, targets, **options)
    assert bits(nets[2]) == bits(nets[0])


@pytest.mark.parametrize("seconds", [None, OFTEN])
def test_any_step_is_one_to_be_killed_after(seconds, tmp_path, reported_by_step):
    """Checkpoints after epochs only go back to the last one."""
    expected = fm.MLP([WIDTH, 9, 3])
    fit(expected, epochs=2, ema=0.5)
    for kill in range(2 * -(-N // 20)):
        path = tmp_path / f"{kill}"
        checkpoint = fm.Checkpoint(path, seconds=seconds)
        with pytest.raises(KilledError):
            fit(fm.MLP([WIDTH, 9, 3]), path, kill, epochs=2, ema=0.5, checkpoint=checkpoint)
        net = fm.MLP([WIDTH, 9, 3])
        fit(net, path, epochs=2, ema=0.5, checkpoint=checkpoint)
        assert bits(net) == bits(expected)


def test_blocks_that_are_done_are_not_read(tmp_path, reported_by_step):
    class Watched:
        shape = X.shape

        def __init__(self):
            self.read = []

        def __getitem__(self, rows):
            self.read.append((rows.start, rows.stop))
            return X[rows]

    options = {"shuffle": False, "epochs": 1}
    with pytest.raises(KilledError):
        fit(fm.MLP([WIDTH, 3]), tmp_path / "run", 6, X=lambda: Blocks(X, Y, rows=40), **options)
    # Six steps of 20 are done: three blocks.
    source = Watched()
    fit(fm.MLP([WIDTH, 3]), tmp_path / "run", X=lambda: Blocks(source, Y, rows=40), **options)
    looked_at = [(0, 64), (0, 64), (N - 64, N)]
    assert source.read == [*looked_at, (120, 160), (160, N)]


def test_an_iterator_that_brings_less_is_refused(tmp_path, reported_by_step):
    path = tmp_path / "run"
    with pytest.raises(KilledError):
        fit(fm.MLP([WIDTH, 3]), path, 5, X=lambda: Batches(odd_batches, per_epoch=7))
    net = fm.MLP([WIDTH, 3])
    before = [array.copy() for array in net._arrays()]
    short = Batches(lambda: [(X[:20], Y[:20])] * 2, per_epoch=7)
    with pytest.raises(ValueError, match=r"brought 2 batches, the epoch that is resumed had \d"):
        fit(net, path, X=lambda: short)
    assert all(map(np.array_equal, net._arrays(), before))


# When ---------------------------------------------------------------------------------------------


def written(monkeypatch, net, checkpoint, epochs, **options):
    """Return after which epochs, and how many samples of the next, checkpoints were written."""
    from fastmlp.checkpoints import Keeper

    found, write = [], Keeper.write

    def note(self, net, state, position):
        found.append((position.epochs, position.totals.samples))
        write(self, net, state, position)

    monkeypatch.setattr(Keeper, "write", note)
    fit(net, checkpoint.path, epochs=epochs, checkpoint=checkpoint, **options)
    return found


def test_after_epochs(tmp_path, monkeypatch):
    path = tmp_path / "run"
    for checkpoint, epochs in (
        (fm.Checkpoint(path), [1, 2, 3, 4, 5]),
        (fm.Checkpoint(path, epochs=2), [2, 4, 5]),
        (fm.Checkpoint(path, epochs=9), [5]),
        (fm.Checkpoint(path, seconds=1e6), [5]),
        (fm.Checkpoint(path, epochs=3, seconds=1e6), [3, 5]),
    ):
        found = written(monkeypatch, fm.MLP([WIDTH, 3]), checkpoint, 5, resume=False)
        assert found == [(epoch, 0) for epoch in epochs]
        monkeypatch.undo()


@pytest.mark.parametrize("cls", CLASSES)
def test_within_an_epoch(cls, tmp_path, monkeypatch, reported_by_step):
    checkpoint = fm.Checkpoint(tmp_path / "run", seconds=OFTEN)
    found = list(dict.fromkeys(written(monkeypatch, cls([WIDTH, 3]), checkpoint, 1)))
    assert found == [*((0, samples) for samples in range(20, N, 20)), (0, N), (1, 0)]


@pytest.mark.parametrize("stop", [False, True])
def test_a_finished_fit_returns_at_once(stop, tmp_path):
    class Stop(Callback):
        epochs = 0

        def on_epoch_end(self, net, history):
            self.epochs += 1
            return stop and len(history) == 3

    net, path, hook = fm.MLP([WIDTH, 9, 3]), tmp_path / "run", Stop()
    fit(net, path, callbacks=[hook], epochs=5)
    assert hook.epochs == (3 if stop else 5)
    content, again = path.read_bytes(), fm.MLP([WIDTH, 9, 3])
    hook.epochs = 0
    fit(again, path, callbacks=[hook], epochs=5)
    assert hook.epochs == 0
    assert bits(again) == bits(net)
    assert again.history.seconds == net.history.seconds
    assert path.read_bytes() == content
    fit(again, path, resume=False, epochs=1)
    assert again.epochs_trained == net.epochs_trained + 1


def test_the_name_of_a_file_is_enough(tmp_path):
    net, path = fm.MLP([WIDTH, 3]), tmp_path / "run"
    net.fit(X, Y, 2, checkpoint=str(path))
    again = fm.MLP([WIDTH, 3])
    again.fit(X, Y, 2, checkpoint=path, resume=True)
    assert bits(again) == bits(net)


def test_progress_counts_from_where_it_was(tmp_path, reported_by_step):
    whole, first, second = Watch(), Watch(), Watch()
    fit(fm.MLP([WIDTH, 3]), callbacks=[whole], l1=0.01)
    with pytest.raises(KilledError):
        fit(fm.MLP([WIDTH, 3]), tmp_path / "run", 12, callbacks=[first], l1=0.01)
    fit(fm.MLP([WIDTH, 3]), tmp_path / "run", callbacks=[second], l1=0.01)
    assert first.met == whole.met[:13]
    # The step that was killed had been reported, but was not written any more.
    assert second.met == whole.met[11:]


# What a file holds --------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_checkpoint_is_a_model(ema, dtype, tmp_path):
    net, path = fm.MLP([WIDTH, 9, 3], dtype=dtype), tmp_path / "run"
    fit(net, path, optimizer="adam", ema=ema)
    loaded = fm.load(path)
    assert bits(loaded) == bits(net)
    assert repr(loaded) == repr(net)
    assert loaded.history.seconds == net.history.seconds
    for each in (net, loaded):
        fit(each, optimizer="adam", ema=ema)
    assert bits(loaded) == bits(net)


def test_a_checkpoint_within_an_epoch_holds_the_averages(tmp_path, reported_by_step):
    net, path = fm.MLP([WIDTH, 9, 3]), tmp_path / "run"
    with pytest.raises(KilledError):
        fit(net, path, 5, ema=0.9)
    loaded = fm.load(path)
    # Killed before the checkpoint of that step: the file has those of one step less.
    assert not np.array_equal(loaded.weights[0], net.weights[0])
    assert np.abs(loaded.weights[0] - net.weights[0]).max() < 0.01
    start = fm.MLP([WIDTH, 9, 3]).weights[0]
    (stepped,) = loaded._optimizer_state.other
    moved = np.abs(loaded._views(stepped)[0][0] - start).sum()
    assert np.abs(loaded.weights[0] - start).sum() < moved


def test_no_pickle_is_in_a_checkpoint(tmp_path):
    from safetensors import safe_open

    fit(fm.MLP([WIDTH, 9, 3]), tmp_path / "run", ema=0.5, callbacks=[Remembering()])
    with safe_open(tmp_path / "run", framework="numpy") as file:
        kinds = {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118
        assert list(file.metadata()) == ["fastmlp"]
    assert kinds == {"0", "1", "stepped", "kept"}


class Remembering(Callback):
    def __init__(self):
        self.seen, self.best = [], np.zeros(3)

    def on_epoch_end(self, net, history):
        self.seen.append(net.weights[0][0].copy())
        self.best = self.best + history.loss[-1]
        return None

    def state(self):
        return {"seen": self.seen, "best": {"is": self.best, "none": None}, "count": np.int64(3)}

    def restore(self, state):
        assert state["count"] == 3
        self.seen, self.best = state["seen"], state["best"]["is"]


def test_callbacks_keep_their_state(tmp_path, reported_by_step):
    whole, path = Remembering(), tmp_path / "run"
    fit(fm.MLP([WIDTH, 3]), callbacks=[whole])
    for kill in (12, 6, 6, None):
        hook = Remembering()
        try:
            fit(fm.MLP([WIDTH, 3]), path, kill, callbacks=[hook])
        except KilledError:
            continue
    assert np.array_equal(hook.seen, whole.seen)
    assert np.array_equal(hook.best, whole.best)
    assert len(hook.seen) == 3


class Counting(Callback):
    """Counts its calls, but for those that a fit which is resumed makes again."""

    def __init__(self):
        self.counts = {}

    def count(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1

    def on_epoch_begin(self, net, epoch):
        self.count(f"epoch {epoch} begins")

    def on_batch_begin(self, net, progress):
        self.count(f"batch {progress.epoch}, {progress.batches} begins")

    def on_batch_end(self, net, progress):
        self.count(f"batch {progress.epoch}, {progress.batches} ends")

    def state(self):
        return self.counts

    def restore(self, state):
        self.counts = state


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name", ["plain", "blocks", "batches"])
def test_every_hook_is_called_once_for_what_is_kept(name, cls, tmp_path, reported_by_step):
    whole, path, kills = Counting(), tmp_path / "run", 0
    fit(cls([WIDTH, 3]), callbacks=[whole], **FITS[name])
    for kill in (4, 5, 6, 5, 4, None):
        hook = Counting()
        try:
            # Killed between the hooks of a step and its checkpoint, too.
            fit(cls([WIDTH, 3]), path, kill, callbacks=[hook], **FITS[name])
        except KilledError:
            kills += 1
    assert kills > 2
    assert hook.counts == whole.counts
    assert set(whole.counts.values()) == {1}


def test_a_stop_within_an_epoch_is_final(tmp_path, reported_by_step):
    class Stop(Counting):
        def on_batch_end(self, net, progress):
            super().on_batch_end(net, progress)
            return progress[:3] == (2, 3, 60)

    net, path = fm.MLP([WIDTH, 3]), tmp_path / "run"
    fit(net, path, callbacks=[Stop()])
    again, hook = fm.MLP([WIDTH, 3]), Stop()
    fit(again, path, callbacks=[hook])
    assert bits(again) == bits(net)
    assert len(again.history) == 1
    assert "batch 2, 3 ends" in hook.counts
    assert "batch 2, 4 ends" not in hook.counts


def test_a_fit_that_is_out_of_time_is_resumed(tmp_path, reported_by_step):
    class Limit(fm.callbacks.TimeLimit):
        """Whose time is counted in reports."""

        def on_fit_begin(self, net, epochs, n_samples):
            self.left = self.seconds

        @property
        def is_over(self):
            self.left -= 1
            return self.left < 0

    expected, path, parts = fm.MLP([WIDTH, 3]), tmp_path / "run", 0
    fit(expected)
    while parts < 50:
        net, parts = fm.MLP([WIDTH, 3]), parts + 1
        fit(net, path, checkpoint=fm.Checkpoint(path), callbacks=[Limit(30)])
        if len(net.history) == 3:
            break
    assert parts > 1
    assert bits(net) == bits(expected)


def test_a_stop_with_an_epochs_last_batch_is_not_forgotten(tmp_path, reported_by_step):
    class Stop(Callback):
        def on_batch_end(self, net, progress):
            return progress.epoch == 2 and progress.samples == N

    def metric(targets, predicted):
        left.pop()
        return 0.0

    path, measured = tmp_path / "run", {"validation_data": (X, Y), "eval_metric": metric}
    for left in ([0], [0] * 9):  # noqa: B007  the first fit is killed as it measures
        net = fm.MLP([WIDTH, 3])
        with contextlib.suppress(IndexError):
            fit(net, path, callbacks=[Stop()], **measured)
    assert len(net.history) == 2


def test_a_fit_that_is_finished_as_its_time_is_over_stays_finished(tmp_path):
    class Limit(fm.callbacks.TimeLimit):
        is_over = True

        def on_progress(self, net, progress):
            return None

    stopping = fm.EarlyStopping(1, min_delta=9.0, restore_best=False)
    for callbacks, epochs in (([Limit(1)], 1), ([Limit(1)], 2), ([], 2)):
        net = fm.MLP([WIDTH, 3])
        fit(net, tmp_path / "run", epochs=9, early_stopping=stopping, callbacks=callbacks)
        assert len(net.history) == epochs


def test_a_folder_that_is_changed_meanwhile(tmp_path, monkeypatch):
    class Leave(Callback):
        def on_epoch_end(self, net, history):
            os.chdir(tmp_path / "there")

    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fit(fm.MLP([WIDTH, 3]), "run", callbacks=[Leave()])
    assert os.listdir(tmp_path / "here") == ["run"]
    assert os.listdir(tmp_path / "there") == []


@pytest.mark.parametrize("logger", [fm.callbacks.CSVLogger, fm.callbacks.JSONLogger])
def test_a_log_has_every_epoch_once(logger, tmp_path, reported_by_step):
    (tmp_path / "log").write_text("of before\n")
    for kill in (5, 12, None):
        net = fm.MLP([WIDTH, 3])
        try:
            hooks = [logger(tmp_path / "log")]
            fit(net, tmp_path / "run", kill, callbacks=hooks, validation_data=(X, Y))
        except KilledError:
            continue
    again = logger(tmp_path / "again")
    again.on_fit_begin(net, 3, N)
    again.on_fit_end(net, net.history)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == (tmp_path / "again").read_text().splitlines()
    assert len(lines) == 3 + (logger is fm.callbacks.CSVLogger)
    assert lines[-1].startswith(("3,", '{"epoch": 3,'))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"a": {1, 2}}, "holds {1, 2}, which a checkpoint cannot keep"),
        ({"a": np.array([None])}, "cannot keep"),
        ({"a": {1: 2}}, "cannot keep"),
        ({"a": {"tensor": "x"}}, "the only key 'tensor'"),
    ],
)
def test_a_state_that_cannot_be_kept(state, words, tmp_path):
    class Odd(Callback):
        def state(self):
            return state

    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        fit(fm.MLP([WIDTH, 3]), tmp_path / "run", callbacks=[Odd()])
    assert os.listdir(tmp_path) == []


# What is refused ----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, reported_by_step):
    """Return a checkpoint of a fit that was killed."""
    with pytest.raises(KilledError):
        fit(fm.MLP([WIDTH, 9, 3]), tmp_path / "run", 12)
    return tmp_path / "run"


def assert_refused(path, words, net=None, **options):
    """Nothing has changed: not the file, not the network, and no callback was told of a fit."""
    net = net or fm.MLP([WIDTH, 9, 3])
    content = path.read_bytes()
    before = [array.copy() for array in net._arrays()], dict(vars(net))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is .*{words}"):
        fit(net, path, **options)
    assert path.read_bytes() == content
    assert all(map(np.array_equal, net._arrays(), before[0]))
    assert net.history is before[1]["history"]
    assert net._optimizer_state is before[1]["_optimizer_state"]
    assert net.epochs_trained == before[1]["epochs_trained"]


def trained():
    net = fm.MLP([WIDTH, 9, 3])
    fit(net, epochs=1)
    return net


def touched():
    net = fm.MLP([WIDTH, 9, 3])
    net.weights[0][0, 0] += 1
    return net


NETWORKS = {
    "layers": (
        lambda: fm.MLP([WIDTH, 8, 3]),
        r"another network: layers is \(12, 8, 3\) here and \(12, 9, 3\) there",
    ),
    "activations": (lambda: fm.MLP([WIDTH, 9, 3], ["tanh", "softmax"]), "activations is .*'tanh'"),
    "dtype": (lambda: fm.MLP([WIDTH, 9, 3], dtype="float64"), "dtype is 'float64' here and 'float"),
    "seed": (lambda: fm.MLP([WIDTH, 9, 3], seed=1), "network: seed is 1 here and 0 there"),
    "init": (lambda: fm.MLP([WIDTH, 9, 3], init=0.1), "init is 0.1 here and 'he' there"),
    "loss": (lambda: fm.MLP([WIDTH, 9, 3], loss="focal"), "loss is .*focal.* here and .*cross_en"),
    "class": (lambda: fm.reference.MLP([WIDTH, 9, 3]), "fit: class is 'fastmlp.reference.mlp.MLP'"),
    "trained": (trained, "epochs_trained is 1 here and 0 there"),
    "weights": (touched, "other weights .*: digest of the weights is"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_another_network(name, run):
    make, words = NETWORKS[name]
    assert_refused(run, words, make())


OPTIONS = {
    "epochs": ({"epochs": 5}, "epochs is 5 here and 3 there"),
    "batch_size": ({"batch_size": 21}, "batch_size is 21 here and 20 there"),
    "lr": ({"lr": 0.03}, r"lr is 'Constant\(lr=0.03\)' here and 'Constant\(lr=0.02\)' there"),
    "function": ({"lr": decaying}, r"lr is '_Function\(function=test_checkpoints.decaying\)'"),
    "optimizer": ({"optimizer": "adam"}, r"optimizer is 'Adam\(.*' here and 'SGD\("),
    "l1": ({"l1": 0.1}, "l1 is 0.1 here and 0.0 there"),
    "l2": ({"l2": 0.1}, "l2 is"),
    "clip_norm": ({"clip_norm": 1}, "clip_norm is 1.0 here and None there"),
    "max_norm": ({"max_norm": 1}, "max_norm is"),
    "ema": ({"ema": 0.5}, "ema is 0.5 here and None there"),
    "dropout": ({"dropout": 0.5}, r"dropout is \[0.0, 0.5\] here and \[\] there"),
    "shuffle": ({"shuffle": False}, "shuffle is False here and True there"),
    "several": ({"shuffle": False, "l1": 0.1}, "shuffle is .*; l1 is "),
    "samples": ({"X": lambda: X + 1}, "digest of some samples is"),
    "dtype": ({"X": lambda: X.astype(float)}, "X is '.*float64' here and '.*float32' there"),
    "blocks": ({"X": lambda: Blocks(X, Y)}, "X is 'Blocks of 173 x 12, float32' here"),
    "sparse": ({"X": sparse}, "X is '.*sparse' here"),
    "sample_weight": ({"sample_weight": WEIGHTS}, "digest of some samples is"),
    "early_stopping": ({"early_stopping": 3}, "early_stopping is 'EarlyStopping.*' here and None"),
    "eval_metric": (
        {"validation_data": (X, Y), "eval_metric": "f1"},
        r"eval_metric is \['f1', True\] here and None there",
    ),
    "validation": ({"validation_data": (X, Y)}, "validation_data's X is .* here and None there"),
    "callbacks": ({"callbacks": [Remembering()]}, r"callbacks with a state are \['test_"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_another_fit(name, run):
    options, words = OPTIONS[name]
    assert_refused(run, f"a checkpoint of another fit.* {words}", **options)


def test_a_state_that_a_callback_refuses(tmp_path, reported_by_step):
    class Refusing(Remembering):
        def restore(self, state):
            raise ValueError("tol is 1 here and 2 there")

    path = tmp_path / "run"
    with pytest.raises(KilledError):
        fit(fm.MLP([WIDTH, 9, 3]), path, 12, callbacks=[Refusing()])
    assert_refused(path, "another fit, says .*Refusing: tol is 1 ", callbacks=[Refusing()])


def test_a_model_is_not_a_checkpoint(tmp_path):
    fm.MLP([WIDTH, 9, 3]).save(tmp_path / "model")
    assert_refused(tmp_path / "model", "not a checkpoint: it holds a network, but not the state")


def test_what_is_damaged(run):
    content = run.read_bytes()
    for length in (0, 1, 7, 8, 100, len(content) // 2, len(content) - 1):
        run.write_bytes(content[:length])
        assert_refused(run, "not a usable checkpoint: ")
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(1)
    places = [*rng.integers(header, size=30), *rng.integers(header, len(content), size=30)]
    for place in map(int, places):
        changed = bytearray(content)
        changed[place] ^= 1
        run.write_bytes(changed)
        assert_refused(run, "not a (usable )?checkpoint: ")
    run.write_bytes(content)
    fit(fm.MLP([WIDTH, 9, 3]), run)


NO_EPOCHS = {
    "loss": [],
    "accuracy": [],
    "val_loss": [],
    "val_accuracy": [],
    "seconds": [],
    "metrics": {},
    "best_epoch": None,
}

HOSTILE = [
    ("format", 2),
    ("format", "1"),
    ("options", []),
    ("start", None),
    ("optimizer", {"name": "lbfgs"}),
    ("optimizer", {"name": "sgd", "momentum": 2}),
    ("optimizer", {"name": "sgd", "more": 1}),
    ("optimizer", {"name": "adam"}),
    ("optimizer", "sgd"),
    ("optimizer_steps", -1),
    ("optimizer_steps", 2**63),
    ("optimizer_steps", 1.5),
    ("ema", 2),
    ("ema", 0.5),
    ("position", {}),
    ("position", []),
    ("history", {}),
    ("history", {**NO_EPOCHS, "loss": [1.0]}),
    ("history", {**NO_EPOCHS, "loss": 1}),
    ("history", {**NO_EPOCHS, "metrics": []}),
    ("history", {**NO_EPOCHS, "best_epoch": 7}),
    ("early_stopping", {}),
    ("early_stopping", [[], {}]),
    ("early_stopping", [{}, [{"tensor": "kept.0"}]]),
    ("callbacks", {}),
    ("callbacks", [["a"]]),
    ("callbacks", [["a", 1]]),
    ("callbacks", [["a", {"x": {"tensor": "0.weight"}}]]),
    ("callbacks", [["a", {"x": {"tensor": "kept.0"}}]]),
    ("callbacks", [["a", {"x": {"tensor": []}}]]),
    ("more", 1),
]


@pytest.mark.parametrize("repaired", [False, True], ids=["as it is", "with its digest"])
@pytest.mark.parametrize(("entry", "value"), HOSTILE, ids=str)
def test_a_hostile_state_is_refused(entry, value, repaired, run):
    import json

    from safetensors import numpy as safetensors
    from safetensors import safe_open

    from fastmlp.io import model_file

    with safe_open(run, framework="numpy") as file:
        description = json.loads(file.metadata()["fastmlp"])
    tensors = safetensors.load_file(run)
    description["fit"][entry] = value
    if repaired:
        del description["digest"]
        description["digest"] = model_file._digest(description, tensors)
    safetensors.save_file(tensors, run, {"fastmlp": json.dumps(description)})
    assert_refused(run, "not a usable checkpoint: ")
    with pytest.raises(ValueError, match="not a usable fastmlp model"):
        fm.load(run)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"path": 5}, TypeError, "path must be"),
        ({"path": ""}, ValueError, "path must be"),
        ({"path": "a", "epochs": 0}, ValueError, "epochs must be"),
        ({"path": "a", "epochs": 1.5}, TypeError, "epochs must be"),
        ({"path": "a", "seconds": 0}, ValueError, "seconds must be greater than 0"),
        ({"path": "a", "seconds": float("nan")}, ValueError, "seconds must be"),
        ({"path": "a", "seconds": "1"}, TypeError, "seconds must be"),
    ],
    ids=str,
)
def test_bad_arguments_of_a_checkpoint(arguments, kind, words):
    with pytest.raises(kind, match=f"^{words}"):
        fm.Checkpoint(**arguments)


def test_bad_arguments_of_fit(tmp_path):
    net = fm.MLP([WIDTH, 3])
    for arguments, kind, words in (
        ({"resume": True}, ValueError, "resume needs a checkpoint"),
        ({"checkpoint": tmp_path / "run", "resume": 1}, TypeError, "resume must be"),
        ({"checkpoint": 5}, TypeError, "checkpoint must be a Checkpoint or the name of a file"),
        ({"checkpoint": fm.Checkpoint}, TypeError, "checkpoint must be a Checkpoint"),
        ({"checkpoint": tmp_path}, IsADirectoryError, "is a folder"),
        ({"checkpoint": tmp_path / "no" / "run"}, FileNotFoundError, "there is no folder"),
        ({"checkpoint": "/dev/null"}, OSError, "is not a regular file"),
    ):
        with pytest.raises(kind, match=words):
            net.fit(X, Y, **arguments)
        assert net.epochs_trained == 0
        assert net.history is None


# Writing that fails -------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["fsync", "replace", "fchmod"])
def test_a_full_disk_leaves_the_earlier_checkpoint(function, run, monkeypatch):
    content = run.read_bytes()

    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    net = fm.MLP([WIDTH, 9, 3])
    with monkeypatch.context() as changed:
        changed.setattr(f"fastmlp.io.atomic.os.{function}", fail)
        with pytest.raises(OSError, match="No space left"):
            fit(net, run)
    assert run.read_bytes() == content
    assert os.listdir(run.parent) == ["run"]
    assert all(buffer.flags.writeable for buffer in net._buffers())
    expected, net = fm.MLP([WIDTH, 9, 3]), fm.MLP([WIDTH, 9, 3])
    fit(expected)
    fit(net, run)
    assert bits(net) == bits(expected)


def test_what_a_killed_writer_left_is_removed(run):
    folder = run.parent
    left = folder / ".run.abcd_123.partial"
    others = [".run.partial", ".run.abcd_123", "run.abcd_123.partial", ".run2.abcd_123.partial"]
    for name in (left.name, *others):
        (folder / name).write_bytes(b"half")
    assert_refused(run, "epochs is 5", epochs=5)
    assert left.exists()
    fit(fm.MLP([WIDTH, 9, 3]), run)
    assert sorted(os.listdir(folder)) == sorted(["run", *others])


def test_a_folder_that_cannot_be_written_is_known_before_the_fit(tmp_path, monkeypatch):
    def refuse(**names):
        raise PermissionError(errno.EACCES, "denied")

    net = fm.MLP([WIDTH, 3])
    before = bits_of_parameters(net)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(PermissionError):
        fit(net, tmp_path / "run")
    assert net.history is None
    assert bits_of_parameters(net) == before


def test_ctrl_c_once_the_file_was_replaced(tmp_path, monkeypatch):
    def replace(source, target, rename=os.replace):
        rename(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        fit(fm.MLP([WIDTH, 3]), tmp_path / "run")
    assert os.listdir(tmp_path) == ["run"]


def test_names_with_wildcards_are_taken_literally(tmp_path):
    path, other = tmp_path / "a[b]*", tmp_path / ".ab.abcd_123.partial"
    other.write_bytes(b"half")
    left = tmp_path / ".a[b]*.abcd_123.partial"
    left.write_bytes(b"half")
    fit(fm.MLP([WIDTH, 9, 3]), path)
    assert other.exists()
    assert not left.exists()


def test_divergence_leaves_the_earlier_checkpoint(tmp_path, reported_by_step):
    path, net = tmp_path / "run", fm.MLP([WIDTH, 9, 3], ["relu", "identity"])
    targets = np.ones((N, 3), np.float32)
    targets[-20:] = 1e30  # only the last batch is too much
    before = bits_of_parameters(net)
    with pytest.raises(fm.DivergenceError):
        net.fit(X, targets, 3, 20, 1e-3, False, checkpoint=fm.Checkpoint(path, seconds=OFTEN))
    assert bits_of_parameters(net) == before
    loaded = fm.load(path)
    assert all(np.isfinite(weight).all() for weight in loaded.weights)


def bits_of_parameters(net):
    return [buffer.tobytes() for buffer in net._buffers()]


# Real kills ---------------------------------------------------------------------------------------

# The parent never trains, so its children may: each goes on where the one before was killed.
PROGRAM = """
import os, signal, sys, time
import numpy as np
import fastmlp as fm, fastmlp.mlp
fastmlp.mlp.POLL_SECONDS = 0.0
path, seed = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(seed)
X = rng.normal(size=(3000, 40)).astype(np.float32)
y = rng.integers(4, size=3000)

def train(path):
    net = fm.MLP([40, 64, 32, 4], seed=seed)
    checkpoint = path and fm.Checkpoint(path, seconds=1e-4)
    history = net.fit(
        fm.data.Blocks(X, y, rows=1100) if seed % 2 else X, None if seed % 2 else y, 3, 8,
        optimizer="adam", lr=fm.schedules.OneCycle(0.01), ema=0.99, dropout=0.2,
        checkpoint=checkpoint, resume=bool(path), validation_data=(X[:100], y[:100]))
    measured = history.to_dict()
    del measured["seconds"]
    import hashlib
    arrays = b"".join(array.tobytes() for array in net._arrays())
    return hashlib.sha256(arrays + repr(measured).encode()).digest()

def child(path):
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, train(path))
        os._exit(0)
    os.close(writing)
    return pid, reading

def result(pid, reading):
    found = os.read(reading, 100)
    os.close(reading)
    os.waitpid(pid, 0)
    return found

expected = result(*child(None))
assert len(expected) == 32
kills = 0
while True:
    pid, reading = child(path)
    if kills < int(sys.argv[3]):
        time.sleep(rng.uniform(0.02, 0.1))
        os.kill(pid, signal.SIGKILL)
        kills += 1
    found = result(pid, reading)
    if found:
        break
print(found == expected, kills)
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_kills(seed, tmp_path, run_python):
    printed = run_python(PROGRAM, tmp_path / "run", seed, 8, timeout=60).split()
    assert printed[0] == "True"
    assert int(printed[1]) > 0
    assert os.listdir(tmp_path) == ["run"]


# scikit-learn's interface -------------------------------------------------------------------------

ESTIMATORS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2, "dtype": "float64"},
    "schedule": {"learning_rate": fm.schedules.Cosine(0.01), "optimizer": "rmsprop"},
}


def fitted(estimator):
    """Return what a fit has left in an estimator, but for the time it took."""
    kept = {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and name not in ("network_", "history_")
    }
    best = [array.tobytes() for array in vars(estimator).get("_best_parameters", [])]
    return repr(kept), best, bits(estimator.network_)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_resumes(name, kind, tmp_path, reported_by_step):
    pytest.importorskip("sklearn", reason="for the estimators")
    import fastmlp.sklearn

    targets = Y if kind == "MLPClassifier" else X[:, 0] + Y

    def estimator(kill=None, **options):
        hooks = [] if kill is None else [Kill(kill)]
        options = {**ESTIMATORS[name], **options}
        return getattr(fastmlp.sklearn, kind)(
            hidden_layer_sizes=(9,),
            batch_size=20,
            max_iter=7,
            random_state=3,
            callbacks=hooks,
            **options,
        )

    path = tmp_path / "run"
    kept = {"checkpoint": fm.Checkpoint(path, seconds=OFTEN), "resume": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        expected = fitted(estimator().fit(X, targets))
        for kill in [13] * 40:
            try:
                found = fitted(estimator(kill, **kept).fit(X, targets))
            except KilledError:
                continue
            break
        again = fitted(estimator(**kept).fit(X, targets))
    assert found == expected
    assert again == expected
    with pytest.raises(ValueError, match=r"tol is 0\.5 here and "):
        estimator(**kept).set_params(tol=0.5).fit(X, targets)


def test_what_an_estimator_needs_for_a_checkpoint(tmp_path):
    pytest.importorskip("sklearn", reason="for the estimators")
    from fastmlp.sklearn import MLPClassifier

    path = tmp_path / "run"
    for state in (None, np.random.RandomState(0)):
        with pytest.raises(ValueError, match="checkpoint needs an integer as random_state"):
            MLPClassifier(random_state=state, checkpoint=path).fit(X, Y)
    with pytest.raises(ValueError, match="partial_fit does not support checkpoint"):
        MLPClassifier(random_state=0, checkpoint=path).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="checkpoint cannot be used with the solver lbfgs"):
        MLPClassifier(random_state=0, checkpoint=path, solver="lbfgs").fit(X, Y)
    with pytest.raises(ValueError, match="resume needs a checkpoint"):
        MLPClassifier(random_state=0, resume=True).fit(X, Y)
    assert not path.exists()


def test_a_copy_of_the_file_serves_as_well(run, tmp_path):
    shutil.copy(run, tmp_path / "copy")
    net, expected = fm.MLP([WIDTH, 9, 3]), fm.MLP([WIDTH, 9, 3])
    fit(net, tmp_path / "copy")
    fit(expected)
    assert bits(net) == bits(expected)
