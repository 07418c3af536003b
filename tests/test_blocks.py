"""Training and measuring on blocks of rows and on batches from an iterator, engine and twin."""

import itertools
import threading

import numpy as np
import pytest
import scipy.sparse

import fastmlp as fm
from fastmlp import losses
from fastmlp.data import Batches, Blocks
from fastmlp.scores import R2

N, WIDTH, BATCH = 331, 17, 16
EPS = float(np.finfo(np.float64).eps)
ROWS = 70  # blocks of 64, the last of 11 rows


@pytest.fixture(params=[fm.MLP, fm.reference.MLP], ids=["engine", "twin"])
def cls(request):
    return request.param


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Slicer:
    """Rows that are read by slices alone, as those of h5py's and zarr's data sets."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape
        self.reads = []

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        assert rows.step is None
        self.reads.append((rows.start, rows.stop))
        return self._array[rows].copy()


def mapped(array, path, fortran=False):
    np.save(path, np.asfortranarray(array) if fortran else array)
    return np.load(path, mmap_mode="r")


def samples(kind="float32", output="softmax", n=N, k=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, WIDTH))
    X = rng.integers(256, size=X.shape) if kind in ("uint8", "int16") else X
    y = {
        "softmax": rng.integers(k, size=n),
        "probabilities": rng.dirichlet(np.ones(k), n),
        "sigmoid": rng.integers(2, size=(n, k)),
        "identity": np.tanh(rng.normal(size=(n, k))),
    }[output]
    return X.astype(kind), y


def network(cls, output="softmax", k=3, **options):
    last = "softmax" if output == "probabilities" else output
    return cls([WIDTH, 13, k], ["tanh", last], **options)


def bits(net, history):
    measured = history.to_dict()
    del measured["seconds"]
    parameters = b"".join(p.tobytes() for p in (*net.weights, *net.biases))
    return parameters + b"".join(np.array(measured[key]).tobytes() for key in sorted(measured))


def fitted(net, *data, **options):
    options = {"epochs": 3, "batch_size": BATCH, "lr": 0.01, "optimizer": "adam", **options}
    return bits(net, net.fit(*data, **options))


# Blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["memory", "map", "fortran", "slicer", "csr"])
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "int16"])
def test_without_shuffling_blocks_are_the_whole(cls, kind, source, dtype, tmp_path):
    X, y = samples(kind)
    given = {
        "memory": lambda: X,
        "map": lambda: mapped(X, tmp_path / "X.npy"),
        "fortran": lambda: mapped(X, tmp_path / "X.npy", True),
        "slicer": lambda: Slicer(X),
        "csr": lambda: scipy.sparse.csr_array(X),
    }[source]()
    whole = scipy.sparse.csr_array(X) if source == "csr" else X
    expected = fitted(network(cls, dtype=dtype), whole, y, shuffle=False)
    for prefetch in (0, 1, 3):
        net = network(cls, dtype=dtype)
        blocks = Blocks(given, y, rows=ROWS, prefetch=prefetch)
        assert fitted(net, blocks, shuffle=False) == expected
        assert net.trained_on == (kind if kind != "int16" else dtype)


@pytest.mark.parametrize("output", ["softmax", "probabilities", "sigmoid", "identity"])
@pytest.mark.parametrize("weighted", [False, True])
def test_targets_and_weights_of_all_kinds(cls, output, weighted, tmp_path):
    X, y = samples(output=output)
    w = np.random.default_rng(1).integers(3, size=N) if weighted else None
    expected = fitted(network(cls, output), X, y, shuffle=False, sample_weight=w)
    targets = mapped(y, tmp_path / "y.npy")
    weights = mapped(w, tmp_path / "w.npy") if weighted else None
    for given in ((X, y, w), (X, targets, weights), (X, y.tolist(), w)):
        assert fitted(network(cls, output), Blocks(*given, rows=ROWS), shuffle=False) == expected


def test_class_weights_and_losses_that_couple_a_batch(cls):
    X, y = samples()

    def squared(predictions, targets):
        difference = predictions - targets
        return float(np.square(difference).mean()), 2 * difference / difference.size

    for loss in (losses.CrossEntropy(class_weight=[1, 2, 0]), losses.Dice()):
        expected = fitted(network(cls, loss=loss), X, y, shuffle=False)
        assert fitted(network(cls, loss=loss), Blocks(X, y, rows=ROWS), shuffle=False) == expected
    X, y = samples(output="identity")
    expected = fitted(network(cls, "identity", loss=squared), X, y, shuffle=False)
    net = network(cls, "identity", loss=squared)
    assert fitted(net, Blocks(X, y, rows=ROWS), shuffle=False) == expected


@pytest.mark.parametrize("form", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_sparse_matrices_of_all_formats(form, kind):
    X, y = samples(n=BATCH * 3)
    X[np.abs(X) < 1] = 0
    csr = scipy.sparse.csr_array(X)
    sparse = getattr(scipy.sparse, f"{form}_{kind}")(csr)
    expected = fitted(network(fm.MLP), csr, y, shuffle=False)
    assert fitted(network(fm.MLP), Blocks(sparse, y, rows=BATCH), shuffle=False) == expected


@pytest.mark.parametrize("order", ["C", "F"])
def test_class_weights_of_soft_targets(cls, order):
    rng = np.random.default_rng(5)
    X, y = samples("float64", "probabilities", k=17)
    y = np.asarray(y, np.float64, order=order)
    for batch in (7, 16):
        loss = losses.CrossEntropy(class_weight=rng.random(17) + 0.1)
        first, second = (
            cls([WIDTH, 9, 17], ["tanh", "softmax"], dtype="float64", loss=loss) for _ in range(2)
        )
        expected = fitted(first, X, y, batch_size=batch, shuffle=False)
        found = fitted(second, Blocks(X, y, rows=1), batch_size=batch, shuffle=False)
        assert found == expected


def test_a_block_whose_weights_are_all_zero(cls):
    X, y = samples()
    w = np.ones(N)
    w[60:200] = 0
    expected = fitted(network(cls), X, y, shuffle=False, sample_weight=w)
    net = network(cls)
    assert fitted(net, Blocks(X, y, w, rows=ROWS), shuffle=False) == expected
    measured = net.evaluate(Blocks(X, y, w, rows=ROWS))
    assert measured == pytest.approx(net.evaluate(X, y, w), rel=N * EPS)


def test_shuffled_bits_depend_on_neither_threads_nor_prefetching(dtype, isa):
    X = np.random.default_rng(0).normal(size=(3001, 65)).astype(dtype)
    y = np.random.default_rng(1).integers(10, size=3001)
    found = set()
    for threads, prefetch in itertools.product((1, 2, 3), (0, 1, 2)):
        fm.set_num_threads(threads)
        net = fm.MLP([65, 129, 10], dtype=dtype)
        found.add(fitted(net, Blocks(X, y, rows=700, prefetch=prefetch), batch_size=63))
    assert len(found) == 1


def visits(cls, seed=0, epochs=2, fits=1, rows=ROWS, n=N, shuffle=True):
    """Return, for each epoch, the batches as the numbers of their samples."""
    numbers = np.arange(n, dtype=np.float64).reshape(-1, 1)
    seen = []

    def loss(predictions, targets):
        seen.append(targets.ravel().astype(int).tolist())
        return 0.0, np.zeros_like(predictions)

    net = cls([1, 1], ["identity"], loss=loss, seed=seed, dtype="float64")
    for _ in range(fits):
        net.fit(Blocks(numbers, numbers, rows=rows), None, epochs, BATCH, shuffle=shuffle)
    steps = -(-n // BATCH)
    return [seen[i : i + steps] for i in range(0, len(seen), steps)]


@pytest.mark.parametrize(("n", "rows"), [(331, 70), (331, 5), (331, 10**9), (320, 64), (15, 64)])
def test_an_epoch_visits_every_sample_once_in_full_batches(cls, n, rows):
    epochs = visits(cls, n=n, rows=rows, epochs=4)
    for epoch in epochs:
        *full, last = map(len, epoch)
        assert full == [BATCH] * (-(-n // BATCH) - 1)
        assert last == (n - 1) % BATCH + 1
        assert sorted(itertools.chain(*epoch)) == list(range(n))
    assert len({str(epoch) for epoch in epochs}) == 4
    assert visits(cls, n=n, rows=rows, epochs=1, shuffle=False) == [
        [list(range(i, min(i + BATCH, n))) for i in range(0, n, BATCH)]
    ]


def test_orders_follow_from_the_seed_and_the_epoch():
    assert visits(fm.MLP, epochs=4) == visits(fm.reference.MLP, epochs=4)
    assert visits(fm.MLP, epochs=1, fits=4) == visits(fm.MLP, epochs=4)
    assert visits(fm.MLP, seed=1) != visits(fm.MLP)


def test_blocks_are_read_front_to_back_in_any_order_of_blocks(cls):
    X, y = samples()
    rows, targets = Slicer(X), Slicer(y)
    net = network(cls)
    net.fit(Blocks(rows, targets, rows=ROWS), None, 40, BATCH)
    _, *reads = rows.reads
    assert reads == targets.reads
    epochs = [reads[i : i + 6] for i in range(0, len(reads), 6)]
    for epoch in epochs:
        assert [stop - start for start, stop in epoch] == [64] * 5 + [11]
        ends = sorted(epoch)
        assert [start for start, _ in ends] == [0, *(stop for _, stop in ends[:-1])]
    # Each of the six is somewhere the last of 40 epochs, and the first.
    assert len({sorted(epoch).index(epoch[-1]) for epoch in epochs}) == 6
    assert len({sorted(epoch).index(epoch[0]) for epoch in epochs}) == 6


def test_samples_are_shuffled_within_their_block(cls):
    batches = visits(cls, epochs=1)[0]
    for i in range(0, 20, 4):
        block = list(itertools.chain(*batches[i : i + 4]))
        assert max(block) - min(block) == 63
        assert block != sorted(block)


def test_a_default_block_takes_some_megabytes():
    net = fm.MLP([256, 2])
    X = Slicer(np.zeros((80_000, 256), np.float32))
    net.fit(Blocks(X, np.zeros(80_000, int)), epochs=1, batch_size=100, shuffle=False)
    assert X.reads == [(0, 64), (0, 65_500), (65_500, 80_000)]


# Batches --------------------------------------------------------------------------------------


def batches_of(X, y, w=None, size=BATCH):
    for start in range(0, len(y), size):
        rows = slice(start, start + size)
        yield (X[rows], y[rows]) if w is None else (X[rows], y[rows], w[rows])


@pytest.mark.parametrize("output", ["softmax", "probabilities", "sigmoid", "identity"])
@pytest.mark.parametrize("kind", ["float32", "uint8", "int16", "csr"])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_are_the_fit_that_makes_the_same(cls, kind, output, weighted):
    X, y = samples("float32" if kind == "csr" else kind, output)
    X = scipy.sparse.csr_array(X) if kind == "csr" else X
    w = np.random.default_rng(1).random(N) if weighted else None
    expected = fitted(network(cls, output), X, y, shuffle=False, sample_weight=w)
    for prefetch in (0, 1, 3):
        source = Batches(lambda: batches_of(X, y, w), prefetch)
        assert fitted(network(cls, output), source, batch_size=1) == expected


def test_how_batches_are_collected_does_not_matter(cls, monkeypatch):
    X, y = samples()
    cuts = [0, 5, 15, 25, 26, 90, 91, 92, 120, N]

    def make():
        return [(X[a:b], y[a:b]) for a, b in itertools.pairwise(cuts)]

    expected = fitted(network(cls), Batches(make))
    for name, value in (("COLLECTED_BYTES", 1), ("COLLECTED_SECONDS", 0.0)):
        with monkeypatch.context() as changed:
            changed.setattr(f"fastmlp.feeding.{name}", value)
            assert fitted(network(cls), Batches(make)) == expected
    # A list is iterated anew too.
    assert fitted(network(cls), Batches(make())) == expected
    by_hand, net = network(cls), network(cls)
    net.fit(Batches(make), epochs=3, lr=0.01, optimizer="adam")
    for X_batch, y_batch in 3 * make():
        by_hand.fit(X_batch, y_batch, 1, 1000, 0.01, False, optimizer="adam")
    for given in zip(by_hand.weights, net.weights, strict=True):
        np.testing.assert_array_equal(*given)


def test_kinds_of_batches_may_change(cls):
    """With weights or without, indices or probabilities, sparse or not."""
    X, y = samples()
    one_hot = np.eye(3)[y]

    def make():
        yield X[:16], y[:16]
        yield X[16:32], one_hot[16:32]
        yield X[32:48], y[32:48], np.ones(16)
        yield scipy.sparse.csr_array(X[48:64]), y[48:64]
        yield X[64:80].astype(np.float64), y[64:80]

    net = network(cls)
    history = net.fit(Batches(make), epochs=2)
    assert len(history) == 2
    assert net._optimizer_state.steps == 10


def test_an_iterator_may_fill_its_arrays_again(cls):
    X, y = samples()

    def make():
        row, target, weight = np.empty((BATCH, WIDTH), "f4"), np.empty(BATCH, int), np.empty(BATCH)
        for X_batch, y_batch in batches_of(X[:320], y[:320]):
            row[:], target[:], weight[:] = X_batch, y_batch, 1
            yield row, target, weight

    weights = np.ones(320)
    expected = fitted(network(cls), X[:320], y[:320], shuffle=False, sample_weight=weights)
    assert fitted(network(cls), Batches(make)) == expected


def test_a_loader_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch's DataLoader is tried")
    from torch.utils.data import DataLoader, TensorDataset

    X, y = samples()
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size=BATCH)
    expected = fitted(network(fm.MLP), X, y, shuffle=False)
    assert fitted(network(fm.MLP), Batches(loader)) == expected


def test_an_iterator_will_do_for_one_epoch(cls):
    X, y = samples()
    expected = fitted(network(cls), X, y, shuffle=False, epochs=1)
    once = Batches(batches_of(X, y))
    net = network(cls)
    with pytest.raises(ValueError, match="which can be gone through once, for 3 epochs"):
        fitted(net, once)
    assert fitted(net, once, epochs=1) == expected
    with pytest.raises(ValueError, match=r"^the iterator is that of an earlier epoch"):
        fitted(net, once, epochs=1)
    with pytest.raises(ValueError, match=r"^validation_data: Batches was given an iterator"):
        fitted(net, X, y, validation_data=Batches(batches_of(X, y)))


def test_the_iterator_is_closed_however_the_fit_ends(cls):
    X, y = samples()
    closed = []

    def make():
        try:
            yield from batches_of(X, y)
            if len(closed) == 1:
                yield X, y + 7
        finally:
            closed.append(threading.current_thread())

    with pytest.raises(ValueError, match=r"^batch 21's y\[0\] is "):
        network(cls).fit(Batches(make), epochs=3)
    assert len(closed) == 2

    class Stop(fm.Callback):
        def on_epoch_end(self, net, history):
            return True

    network(cls).fit(Batches(make, prefetch=0), callbacks=[Stop()])
    assert closed[2] == threading.main_thread()


# Measuring ------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["softmax", "probabilities", "sigmoid", "identity"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("coupled", [False, True])
def test_measures_are_those_of_the_whole(cls, output, weighted, coupled, dtype):
    X, y = samples(output=output)
    w = np.random.default_rng(1).random(N) if weighted else None
    loss = None
    if coupled:
        loss = half_square if output == "identity" else losses.Dice()
    net = network(cls, output, loss=loss, dtype=dtype)
    expected = net.evaluate(X, y, w)
    # The mean of each block, whose terms are summed up in float64, is rounded a few times more.
    bound = (N + 10) * EPS
    for source in (Blocks(X, y, w, rows=ROWS), Batches(lambda: batches_of(X, y, w))):
        measured = net.evaluate(source)
        assert measured == pytest.approx(expected, rel=bound, abs=bound)
        assert net.score(source) == measured["r2" if output == "identity" else "accuracy"]
        history = net.fit(X, y, 1, lr=1e-30, sample_weight=w, validation_data=source)
        assert history.val_loss[0] == measured["loss"]


@pytest.mark.parametrize("coupled", [False, True])
def test_measures_of_batches_of_several_kinds(cls, coupled, dtype):
    X, y = samples()
    soft, w = np.eye(3)[y], np.random.default_rng(1).random(N)
    w[:200] = 1
    net = network(cls, loss=losses.Dice() if coupled else None, dtype=dtype)
    expected = net.evaluate(X, soft, w)
    plain, weighted = slice(0, 200), slice(200, N)
    parts = (X[plain], y[plain]), (X[weighted], soft[weighted], w[weighted])
    for batches in (parts, parts[::-1]):
        assert net.evaluate(Batches(batches)) == pytest.approx(expected, rel=(N + 10) * EPS)


def half_square(predictions, targets, sample_weight=None):
    weights = np.ones(len(targets)) if sample_weight is None else sample_weight
    share = (weights / weights.sum() / targets.shape[1])[:, np.newaxis]
    difference = predictions.astype(np.float64) - targets
    return float((share * difference**2).sum() / 2), share * difference


def test_r2_of_columns_that_are_constant_within_a_block_or_throughout():
    y = np.zeros((N, 3))
    y[:64, 1] = 1
    y[:, 2] = 5
    X, _ = samples()
    net = network(fm.MLP, "identity", dtype="float64")
    for targets in (y, y + 1e6):
        measured = net.evaluate(Blocks(X, targets, rows=64))
        # The mean's rounding, up to N eps, is squared and amplified by nothing but a division.
        assert measured["r2"] == pytest.approx(net.evaluate(X, targets)["r2"], rel=1e-9)


def test_r2_of_numbers_whose_squares_overflow():
    spread = np.random.default_rng(0).normal(size=(50, 1))
    targets = 1e160 * (1 + 1e-8 * spread)
    predictions = 1e160 * (1 + 1.1e-8 * spread)
    expected = 1 - 0.01 * np.square(spread).sum() / np.square(spread - spread.mean()).sum()
    whole, parts = R2(), R2()
    whole.add(predictions, targets)
    assert whole.result() == pytest.approx(expected, rel=1e-6)
    for rows in (slice(0, 20), slice(20, 50)):
        parts.add(predictions[rows], targets[rows])
    assert parts.result() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_predictions_are_those_of_the_whole(cls, output, tmp_path):
    for kind in ("float32", "uint8", "int16"):
        X, _ = samples(kind, output)
        net = network(cls, output)
        blocks = Blocks(mapped(X, tmp_path / f"{kind}.npy"), rows=ROWS)
        np.testing.assert_array_equal(net.predict(blocks), net.predict(X))
        if output != "identity":
            np.testing.assert_array_equal(net.predict_proba(blocks), net.predict_proba(X))


# While it runs ----------------------------------------------------------------------------------


class Watch(fm.Callback):
    def __init__(self):
        self.progress, self.begun, self.steps = [], None, []

    def on_fit_begin(self, net, epochs, n_samples):
        self.begun = n_samples

    def on_progress(self, net, progress):
        self.progress.append(progress)
        self.steps.append(net._optimizer_state.steps)
        assert not net.weights[0].flags.writeable


@pytest.mark.parametrize("source", ["blocks", "batches"])
def test_progress_counts_over_the_epoch(cls, source, monkeypatch):
    monkeypatch.setattr("fastmlp.feeding.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("fastmlp.feeding.COLLECTED_SECONDS", 0.0)
    X, y = samples()
    watch = Watch()
    given = Blocks(X, y, rows=ROWS) if source == "blocks" else Batches(lambda: batches_of(X, y))
    history = network(cls).fit(given, None, 2, BATCH, callbacks=[watch])
    assert watch.begun == (N if source == "blocks" else 0)
    ends = [*range(64, 321, 64), N] if source == "blocks" else [*range(16, N, 16), N]
    assert [p.samples for p in watch.progress] == 2 * ends
    steps = [-(-end // BATCH) for end in ends]
    assert watch.steps == steps + [steps[-1] + step for step in steps]
    sizes = [p.n_samples for p in watch.progress]
    first = [N if source == "blocks" else 0] * (len(ends) - 1)
    assert sizes == first + [N] * (1 + len(ends))
    assert [p.loss for p in watch.progress][len(ends) - 1 :: len(ends)] == history.loss


def test_learning_rates_go_by_the_steps_of_the_epoch(cls):
    X, y = samples()
    lr = fm.schedules.OneCycle(0.05)
    expected = fitted(network(cls), X, y, shuffle=False, lr=lr)
    assert fitted(network(cls), Blocks(X, y, rows=ROWS), shuffle=False, lr=lr) == expected
    steps = -(-N // BATCH)
    for source in (
        Batches(list(batches_of(X, y))),
        Batches(lambda: batches_of(X, y), per_epoch=steps),
    ):
        assert fitted(network(cls), source, lr=lr) == expected
    with pytest.raises(ValueError, match=r"^lr is OneCycle.* give Batches per_epoch"):
        fitted(network(cls), Batches(lambda: batches_of(X, y)), lr=lr)


def test_the_engine_reports_within_a_block(monkeypatch):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    X, y = samples()
    watch = Watch()
    network(fm.MLP).fit(Blocks(X, y, rows=ROWS), None, 1, BATCH, callbacks=[watch])
    counts = [p.samples for p in watch.progress]
    assert counts == sorted(counts)
    assert set(counts) >= set(range(16, 321, 16))
    assert watch.steps == [-(-count // BATCH) for count in counts]
