"""Fits on blocks and batches that go wrong or are ended, and the memory they take."""

import itertools
import signal
import sys
import threading
import time

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.data import Batches, Blocks
from fastmlp.mapped import in_memory, mapping_of, reading

N, WIDTH, BATCH, ROWS = 331, 7, 16, 64
X = np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)
Y = np.random.default_rng(1).integers(3, size=N)


@pytest.fixture(params=[fm.MLP, fm.reference.MLP], ids=["engine", "twin"])
def cls(request):
    return request.param


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    # Ctrl-C while a thread starts does not wait for its end.
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def remembered(net):
    parameters = [p.tobytes() for p in (*net.weights, *net.biases)]
    moments = [s.tobytes() for s in net._optimizer_state.arrays()]
    steps = net._optimizer_state.steps
    return (
        parameters,
        moments,
        steps,
        net.epochs_trained,
        net.trained_on,
        net.history,
        net.optimizer,
    )


def fit_fails(cls, kind, message, *data, loss=None, **options):
    """Assert that a fit raises what it should, and leaves a trained network as it was."""
    net = cls([WIDTH, 9, 3], loss=loss)
    net.fit(X.astype(np.float64), Y, epochs=1, optimizer="adam")
    before = remembered(net)
    with pytest.raises(kind, match=message) as raised:
        net.fit(*data, **{"epochs": 2, "batch_size": BATCH, "optimizer": "adam", **options})
    assert remembered(net) == before
    return raised.value


# Blocks -----------------------------------------------------------------------------------------


BAD_BLOCKS = [
    ((None,), TypeError, "^X must be a dense array"),
    ((5.0,), ValueError, "^X must have one row for each sample"),
    ((np.empty((0, 3)), []), ValueError, "^X is empty"),
    ((X, Y[1:]), ValueError, "^y has 330 rows, X has 331"),
    ((X, 3), ValueError, "^y must have one row for each sample"),
    ((X, Y, np.ones(3)), ValueError, "^sample_weight has 3 rows, X has 331"),
    ((X, Y, None, 0), ValueError, "^rows must be at least 1"),
    ((X, Y, None, 2.5), TypeError, "^rows must be an integer"),
    ((X, Y, None, None, -1), ValueError, "^prefetch must be at least 0"),
    ((X, Y, None, None, "yes"), TypeError, "^prefetch must be an integer"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), BAD_BLOCKS)
def test_arguments_of_blocks(arguments, kind, message):
    with pytest.raises(kind, match=message):
        Blocks(*arguments)


BAD_VALUES = [
    (changed(X, (200, 3), np.nan), Y, None, r"^X\[192:256\]\[8, 3\] is nan"),
    (X.astype(np.float64), changed(Y, 330, 3), None, r"^y\[320:331\]\[10\] is 3: class indices"),
    (X, changed(Y.astype(float), 70, 0.5), None, r"^y\[64:128\]\[6\] is 0.5"),
    (X, Y, changed(np.ones(N), 99, -1.0), r"^sample_weight\[64:128\]\[35\] is -1.0"),
    (X, Y, np.zeros(N), "^sample_weight times class_weight is 0 for every sample"),
    (X[:, :5], Y, None, r"^X\[0:64\] has 5 columns, the network takes 7"),
    (X[:, 0], Y, None, r"^X\[0:64\] must have 2 dimensions"),
    (X, np.eye(4)[Y], None, r"^y\[0:64\] has shape \(64, 4\)"),
    (X, np.full((N, 3), 0.5), None, r"^y\[0:64\]\[0\] sums to 1.5"),
    (X.astype("U9"), Y, None, r"^X\[0:64\] must hold real numbers"),
]


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize(("X", "y", "weights", "message"), BAD_VALUES)
def test_values_of_a_block(cls, X, y, weights, message, prefetch):
    blocks = Blocks(X, y, weights, ROWS, prefetch)
    kind = TypeError if "real" in message else ValueError
    fit_fails(cls, kind, message, blocks, shuffle=False)
    good = globals()["X"], Y
    message = message.replace("^X", r"^validation_data\.X").replace("^y", r"^validation_data\.y")
    message = message.replace(r"^sample_weight\[", r"^validation_data\.sample_weight\[")
    fit_fails(cls, kind, message, *good, validation_data=blocks)


class Reader:
    """Rows as a function makes them of those that are asked for."""

    def __init__(self, array, change):
        self._array, self._change = array, change
        self.shape = array.shape

    def __getitem__(self, rows):
        return self._change(self._array[rows], rows.start)


def test_rows_that_are_missing_or_too_many(cls):
    def shorter(rows, start):
        return rows[:-1] if start >= 64 else rows

    blocks = Blocks(Reader(X, shorter), Reader(Y, shorter), rows=64)
    message = r"^X\[64:128\] has 63 rows, not 64"
    fit_fails(cls, ValueError, message, blocks, shuffle=False)
    net = cls([WIDTH, 9, 3])
    with pytest.raises(ValueError, match=message):
        net.predict(blocks)
    with pytest.raises(ValueError, match=message):
        net.evaluate(blocks)
    twice = Blocks(Reader(X, lambda rows, start: np.concatenate([rows, rows])), Y)
    with pytest.raises(ValueError, match=r"^X\[0:64\] has 128 rows, not 64"):
        net.evaluate(twice)
    missing = Blocks(X, Reader(Y, shorter), rows=64)
    with pytest.raises(ValueError, match=r"^y\[64:128\] has 63 rows, the samples have 64"):
        net.evaluate(missing)


@pytest.mark.parametrize("first", ["uint8", "float32"])
def test_blocks_of_which_some_are_uint8(cls, first):
    second = "float32" if first == "uint8" else "uint8"
    counts = np.abs(X * 50)

    def changing(rows, start):
        return rows.astype(second if start >= 64 else first)

    blocks = Blocks(Reader(counts, changing), Y, rows=64)
    message = rf"^X\[64:128\] is {second}, the first rows are {first}: uint8 is scaled by 1/255"
    fit_fails(cls, TypeError, message, blocks, shuffle=False)
    with pytest.raises(TypeError, match=message):
        cls([WIDTH, 9, 3]).predict(blocks)


def test_mapped_blocks_of_several_dtypes(cls, tmp_path):
    maps = []
    for dtype in ("float32", "float64"):
        np.save(tmp_path / f"{dtype}.npy", (X.astype(np.float64) / 3).astype(dtype))
        maps.append(np.load(tmp_path / f"{dtype}.npy", mmap_mode="r"))
    parted = Reader(X, lambda rows, start: maps[start >= 64][start : start + len(rows)])
    net = cls([WIDTH, 9, 3], dtype="float64")
    whole = np.concatenate([maps[0][:64], maps[1][64:]])
    expected = net.predict_proba(whole)
    assert not np.array_equal(expected, net.predict_proba(maps[0]))
    assert np.array_equal(net.predict_proba(Blocks(parted, rows=64)), expected)


def test_what_goes_with_blocks_and_batches(cls):
    blocks, batches = Blocks(X, Y), Batches([(X, Y)])
    fit_fails(cls, ValueError, "^y must be None where X is Blocks", blocks, Y)
    fit_fails(cls, ValueError, "^y must be None where X is Batches", batches, Y)
    weights = np.ones(N)
    message = "^sample_weight must be None where X is Blocks"
    fit_fails(cls, ValueError, message, blocks, sample_weight=weights)
    fit_fails(cls, ValueError, "^y is missing: Blocks", Blocks(X))
    message = r"^validation_data\.y is missing"
    fit_fails(cls, ValueError, message, X, Y, validation_data=Blocks(X))
    net = cls([WIDTH, 3])
    for call in (net.evaluate, net.score):
        with pytest.raises(ValueError, match=r"^y must be None where X is Blocks"):
            call(blocks, Y)
        with pytest.raises(ValueError, match=r"^y is missing"):
            call(Blocks(X))
    for call in (net.predict, net.predict_proba):
        with pytest.raises(TypeError, match=r"^X must be a dense array of numbers, got Batches"):
            call(batches)
        with pytest.raises(ValueError, match=r"^X\[0:64\] has 5 columns"):
            call(Blocks(X[:, :5]))
        with pytest.raises(ValueError, match=r"^X\[192:256\]\[8, 3\] is nan"):
            call(Blocks(BAD_VALUES[0][0], rows=ROWS))
    with pytest.raises(TypeError, match=r"^X must be a dense array of numbers, got Blocks"):
        net.loss_and_gradients(blocks, Y)


class Unreadable:
    """Rows that cannot be read from some row on."""

    shape = X.shape

    def __init__(self, error, row):
        self._error, self._row = error, row

    def __getitem__(self, rows):
        if rows.stop > self._row:
            raise self._error
        return X[rows]


@pytest.mark.parametrize("prefetch", [0, 1, 2])
def test_an_exception_of_the_reader_reaches_the_caller(cls, prefetch):
    for error in (OSError("disk"), MemoryError("none"), StopIteration("odd")):
        blocks = Blocks(Unreadable(error, 200), Y, rows=ROWS, prefetch=prefetch)
        if isinstance(error, StopIteration):
            fit_fails(cls, RuntimeError, "StopIteration", blocks)
            continue
        assert fit_fails(cls, type(error), str(error), blocks) is error
        assert fit_fails(cls, type(error), str(error), X, Y, validation_data=blocks) is error


def test_a_loss_that_raises(cls):
    calls = []

    def loss(predictions, targets):
        calls.append(None)
        if len(calls) > 30:
            raise LookupError("of the loss")
        return 0.5, predictions * 0.1

    fit_fails(cls, LookupError, "^of the loss", Blocks(X, Y, rows=ROWS), loss=loss)
    calls.clear()
    batches = Batches(lambda: [(X[:9], Y[:9])] * 60)
    fit_fails(cls, LookupError, "^of the loss", batches, loss=loss)
    del calls[20:]
    blocks = Blocks(X, Y, rows=ROWS)
    calls[:] = [None] * 7
    options = {"batch_size": 100, "validation_data": blocks, "epochs": 9}
    fit_fails(cls, LookupError, "^of the loss", X, Y, loss=loss, **options)


def test_divergence(cls):
    big = changed(X, slice(200, 210), 1e30)
    error = fit_fails(cls, fm.DivergenceError, "^training diverged", Blocks(big, Y, rows=ROWS),
                      shuffle=False, lr=1e3, optimizer="sgd", epochs=5)  # fmt: skip
    assert "after 1 finished epochs" in str(error)


class Raise(fm.Callback):
    def __init__(self, error, samples):
        self._error, self._samples = error, samples

    def on_progress(self, net, progress):
        if progress.samples >= self._samples:
            raise self._error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("of the callback")])
def test_ctrl_c_and_callbacks_keep_what_was_learned(cls, error, monkeypatch):
    monkeypatch.setattr("fastmlp.feeding.REPORT_SECONDS", 0.0)
    net, twin = cls([WIDTH, 9, 3]), cls([WIDTH, 9, 3])
    with pytest.raises(type(error)):
        net.fit(Blocks(X, Y, rows=ROWS), None, 3, BATCH, shuffle=False,
                callbacks=[Raise(error, 192)])  # fmt: skip
    twin.fit(X[:192], Y[:192], 1, BATCH, shuffle=False)
    assert all(np.array_equal(*pair) for pair in zip(net.weights, twin.weights, strict=True))
    assert net.epochs_trained == 0
    assert len(net.history) == 0
    assert net.weights[0].flags.writeable


def test_ctrl_c_while_the_next_batch_is_waited_for(cls):
    def make():
        yield from [(X[:9], Y[:9])] * 3
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.05)
        yield X[:9], Y[:9]

    net = cls([WIDTH, 9, 3])
    with pytest.raises(KeyboardInterrupt):
        net.fit(Batches(make), epochs=100)
    assert net.weights[0].flags.writeable


# Batches ----------------------------------------------------------------------------------------


def good_then(*bad, count=5):
    def make():
        yield from [(X[:9], Y[:9])] * count
        yield from bad

    return Batches(make)


BAD_ITEMS = [
    (X[:9], TypeError, r"^batch 5 must be a pair \(X, y\) or \(X, y, sample_weight\), got ndarray"),
    ((X[:9],), ValueError, r"^batch 5 must be a pair .* got 1 items"),
    ((X[:9], Y[:8]), ValueError, "^batch 5's y has 8 rows, the samples have 9"),
    ((X[:9, :2], Y[:9]), ValueError, "^batch 5's X has 2 columns, the network takes 7"),
    ((X[:0], Y[:0]), ValueError, "^batch 5's X is empty"),
    ((changed(X[:9], (2, 1), np.inf), Y[:9]), ValueError, r"^batch 5's X\[2, 1\] is inf"),
    ((X[:9], Y[:9] + 5), ValueError, r"^batch 5's y\[0\] is \d: class indices"),
    ((X[:9], Y[:9], -np.ones(9)), ValueError, r"^batch 5's sample_weight\[0\] is -1.0"),
    ((X[:9].astype(np.uint8), Y[:9]), TypeError, "^batch 5's X is uint8, that of the first batch"),
]


@pytest.mark.parametrize(("item", "kind", "message"), BAD_ITEMS)
@pytest.mark.parametrize("prefetch", [0, 1])
def test_items_of_an_iterator(cls, item, kind, message, prefetch):
    batches = good_then(item)
    batches.prefetch = prefetch
    fit_fails(cls, kind, message, batches)
    message = message.replace("^", "^validation_data: ")
    fit_fails(cls, kind, message, X, Y, validation_data=good_then(item))


def test_iterators_that_are_none(cls):
    for bad in (5, None):
        with pytest.raises(TypeError, match=r"^make_iterator must be a function"):
            Batches(bad)
    with pytest.raises(ValueError, match=r"^prefetch must"):
        Batches([], prefetch=-1)
    fit_fails(cls, TypeError, "^make_iterator returned 5, which cannot", Batches(lambda: 5))
    fit_fails(cls, ValueError, "^Batches: the iterator brought no batch", Batches(lambda: []))
    once = iter([(X, Y)])
    message = "^the iterator is that of an earlier epoch"
    fit_fails(cls, ValueError, message, Batches(lambda: once))
    zero = [(X, Y, np.zeros(N))]
    fit_fails(cls, ValueError, "^sample_weight times class_weight is 0", Batches(zero))

    def failing():
        yield X, Y
        raise LookupError("of the iterator")

    fit_fails(cls, LookupError, "^of the iterator", Batches(failing))


def test_a_batch_may_weigh_nothing(cls):
    weights = np.repeat([1.0, 0.0, 1.0], [100, 100, 131])
    cuts = list(itertools.pairwise([0, 100, 200, N]))
    batches = Batches(lambda: [(X[a:b], Y[a:b], weights[a:b]) for a, b in cuts])
    nets = cls([WIDTH, 9, 3]), cls([WIDTH, 9, 3])
    history = nets[0].fit(batches, epochs=2)
    nets[1].fit(X, Y, 2, 100, shuffle=False, sample_weight=weights)
    assert np.isfinite(history.loss).all()


# Memory -----------------------------------------------------------------------------------------


def test_mapped_rows_are_copied_and_their_pages_let_go(tmp_path):
    array = np.arange(300_000, dtype=np.int64).reshape(-1, 3)
    np.save(tmp_path / "a.npy", array)
    mapping = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert in_memory(array) is array
    for rows in (slice(0, 1), slice(17, 60_001), slice(99_999, 100_000), slice(5, 5)):
        for _ in range(2):
            with reading(mapping[rows]):
                copy = in_memory(mapping[rows])
            np.testing.assert_array_equal(copy, array[rows])
        assert mapping_of(copy) is None
        assert mapping_of(np.asarray(mapping[rows])) is not None
    with reading(mapping[:, 1]), reading(array), reading(None):
        np.testing.assert_array_equal(in_memory(mapping[:, 1]), array[:, 1])
    # What was written to a private mapping is in no file.
    private = np.load(tmp_path / "a.npy", mmap_mode="c")
    private[:50_000] = -1
    for _ in range(2):
        with reading(private[:50_000]):
            assert (in_memory(private[:50_000]) == -1).all()


MEMORY = """
import resource, sys
import numpy as np
import fastmlp as fm

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name + ":")) * 1024

path, way, dtype = sys.argv[1:]
X = np.lib.format.open_memmap(path, "w+", dtype, (400_000, 1024 // np.dtype(dtype).itemsize))
X = np.load(path, mmap_mode="r")
y = np.zeros(len(X), np.uint8)
net = fm.MLP([X.shape[1], 2])
data = fm.data.Blocks(X, y, rows=16_000) if way == "blocks" else None
given = (data,) if data else (X, y)
held_out = data or (X[:200_000], y[:200_000])
# What libraries and threads take is there now; from here on half the size of the data has to do.
net.fit(X[:1000], y[:1000], epochs=1)
limit, before = status("VmData") + X.nbytes // 2, status("RssFile")
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
net.fit(*given, epochs=2, batch_size=1000, validation_data=held_out)
print(net.evaluate(*given)["accuracy"])
print(len(net.predict(data or X)), len(net.predict_proba(data or X)))
print(status("RssFile") - before)
try:
    np.ones(X.nbytes // 2, np.uint8)
except MemoryError:
    print("the limit holds")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's")
@pytest.mark.parametrize(("way", "dtype"), [("blocks", "f4"), ("blocks", "f2"), ("plain", "f4")])
def test_data_larger_than_memory(way, dtype, run_python, tmp_path):
    """400 MB in half of that, which a copy would exceed.

    The file has no contents and takes no space on disk. A mapping of it does not count, since the
    system can take its pages back; with blocks they are given back in time.
    """
    printed = run_python(MEMORY, tmp_path / "X.npy", way, dtype, timeout=120).splitlines()
    assert float(printed[0]) == 1
    assert printed[1] == "400000 400000"
    assert printed[3] == "the limit holds"
    if way == "blocks":
        assert int(printed[2]) < 100e6
