"""Same seed, same bits: whatever the number of threads, the batch around a row, or the split.

Sizes are chosen so that three threads do take part: a call uses one thread for each half million
operations with the widest vectors.
"""

import ctypes
import itertools
import mmap

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _core, ops, schedules
from fastmlp.fitting import Totals, Training

THREADS = (1, 2, 3)


def bits(value):
    """Return everything a result holds as bytes, in which -0.0 and 0.0 differ and NaN is equal."""
    if isinstance(value, list | tuple):
        return b"".join(bits(item) for item in value)
    if isinstance(value, dict):
        return bits([value[key] for key in sorted(value)])
    return np.asarray(value).tobytes()


def with_threads(n, function):
    fm.set_num_threads(n)
    assert fm.get_num_threads() == n
    return function()


def assert_threads_agree(function):
    one, *others = (bits(with_threads(n, function)) for n in THREADS)
    for other in others:
        assert other == one


def normal(seed, dtype, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# Operations ---------------------------------------------------------------------------------


PRODUCTS = [
    (130, 301, 70),
    (70, 301, 801),
    (801, 33, 65),
    (1, 1300, 640),
    (640, 1300, 1),
    (130, 10, 801),
]


@pytest.mark.parametrize("shape", PRODUCTS, ids=str)
def test_products(shape, dtype, isa):
    m, k, n = shape
    a, b, bias = normal(0, dtype, m, k), normal(1, dtype, k, n), normal(2, dtype, n)
    dy = normal(3, dtype, m, n)
    at, bt = a.T.copy(), b.T.copy()
    assert_threads_agree(lambda: ops.matmul(a, b))
    assert_threads_agree(lambda: ops.matmul(a, bt, transpose_b=True))
    assert_threads_agree(lambda: ops.matmul(at, b, transpose_a=True))
    assert_threads_agree(lambda: ops.matmul(at, bt, True, True))
    for activation in ops.ACTIVATION_CODES:
        assert_threads_agree(lambda name=activation: ops.dense_forward(a, b, bias, name))
    assert_threads_agree(lambda: ops.dense_backward(dy, a, b))


@pytest.mark.parametrize("name", sorted(ops.ACTIVATION_CODES.keys() - {"softmax", "log_softmax"}))
def test_functions(name, dtype, isa):
    for shape in ((300_007,), (700, 433)):
        z, dy = normal(0, dtype, *shape), normal(1, dtype, *shape)
        assert_threads_agree(lambda z=z: getattr(ops, name)(z))
        assert_threads_agree(lambda z=z, dy=dy: getattr(ops, f"{name}_backward")(dy, z))


def test_rows_losses_and_update(dtype, isa):
    n, k = 2603, 37
    z, t = normal(0, dtype, n, k), np.abs(normal(1, dtype, n, k))
    labels = np.random.default_rng(2).integers(k, size=n)
    assert_threads_agree(lambda: ops.softmax(z))
    assert_threads_agree(lambda: ops.log_softmax(z))
    assert_threads_agree(lambda: ops.softmax_cross_entropy(z, labels))
    assert_threads_agree(lambda: ops.softmax_cross_entropy(z, t))
    assert_threads_agree(lambda: ops.binary_cross_entropy_with_logits(z, t))
    assert_threads_agree(lambda: ops.binary_cross_entropy_with_logits(z.ravel(), t.ravel()))
    assert_threads_agree(lambda: ops.mean_squared_error(z, t))
    params, grads = normal(3, dtype, 160_003), normal(4, dtype, 160_003)
    assert_threads_agree(lambda: ops.sgd_update(params.copy(), grads, 0.1))


@pytest.mark.parametrize("shape", [(9, 40, 21), (130, 301, 70), (70, 301, 801)], ids=str)
def test_a_product_is_one_chain_however_it_is_cut(shape, dtype, isa):
    m, k, n = shape
    a, b = normal(0, dtype, m, k), normal(1, dtype, k, n)
    whole = ops.matmul(a, b)
    at, bt = a.T.copy(), b.T.copy()
    assert bits(ops.matmul(a, bt, transpose_b=True)) == bits(whole)
    assert bits(ops.matmul(at, b, transpose_a=True)) == bits(whole)
    assert bits(ops.matmul(at, bt, True, True)) == bits(whole)
    for row in (0, m // 2, m - 1):
        assert bits(ops.matmul(a[row : row + 1], b)) == bits(whole[row])
    for column in (0, n // 2, n - 1):
        assert bits(ops.matmul(a, b[:, column : column + 1])) == bits(whole[:, column])
    first = n // 3
    assert bits(ops.matmul(a, b[:, first:])) == bits(whole[:, first:])
    assert bits(ops.dense_forward(a, b)) == bits(whole)
    _, dw, _ = ops.dense_backward(normal(2, dtype, m, n), a, b)
    assert bits(ops.matmul(at, normal(2, dtype, m, n))) == bits(dw)


def test_a_row_does_not_depend_on_the_rows_around_it(dtype, isa):
    z = normal(0, dtype, 1203, 37)
    for name in ops.ACTIVATION_CODES:
        whole = getattr(ops, name)(z)
        for row in (0, 600, 1202):
            assert bits(getattr(ops, name)(z[row : row + 1])) == bits(whole[row])


# Networks -----------------------------------------------------------------------------------

# layers, activations, samples, batch size: the last batch of an epoch is odd in most.
NETWORKS = {
    "digits": ([64, 128, 64, 10], ["relu", "relu", "softmax"], 333, 32),
    "narrow": ([3, 7, 5, 1], ["tanh", "sigmoid", "sigmoid"], 5000, 2001),
    "single layer": ([37, 1001], ["softmax"], 100, 33),
    "wide": ([100, 777, 390, 10], ["relu", "tanh", "softmax"], 100, 64),
    "wide, large batch": ([61, 701, 530, 10], ["relu", "tanh", "softmax"], 560, 300),
    "wide, single samples": ([100, 777, 390, 10], ["relu", "tanh", "softmax"], 5, 1),
    "narrow, then wide": ([50, 17, 900, 400, 3], ["tanh", "relu", "tanh", "softmax"], 250, 120),
    "one large batch": ([50, 65, 33, 9], ["sigmoid", "identity", "sigmoid"], 701, 1000),
    "large batches": ([50, 65, 9], ["sigmoid", "softmax"], 4801, 2100),
    "regression": ([33, 257, 129, 3], ["relu", "tanh", "identity"], 301, 100),
    "slopes": ([64, 128, 64, 10], ["gelu", "mish", "softmax"], 333, 32),
    "slopes, wide": ([100, 777, 390, 10], ["silu", "gelu", "mish"], 100, 64),
    "slopes from outputs": (
        [33, 257, 129, 65, 3],
        ["selu", "elu", "leaky_relu", "softplus"],
        301,
        100,
    ),
    "regression on tanh": ([33, 257, 2], ["relu", "tanh"], 301, 7),
}
INPUTS = ("float32", "float64", "uint8", "images", "one-hot")
"""Images are uint8 of which a sixth is not zero, as in drawings; zeros may be skipped."""


def make_samples(rng, n, n_features, kind):
    if kind == "one-hot":
        X = np.zeros((n, n_features), np.float32)
        X[np.arange(n), rng.integers(n_features, size=n)] = rng.normal(size=n)
        return X
    if kind in ("uint8", "images"):
        X = rng.integers(1, 256, size=(n, n_features), dtype=np.uint8)
        return X * (rng.random(X.shape) < 1 / 6) if kind == "images" else X
    return rng.normal(size=(n, n_features)).astype(kind)


def problem(kind, dtype, x_kind, seed=0):
    layers, activations, n, batch_size = NETWORKS[kind]
    rng = np.random.default_rng(seed)
    X = make_samples(rng, n, layers[0], x_kind)
    if activations[-1] == "softmax":
        y = rng.integers(layers[-1], size=n)
    elif activations[-1] == "sigmoid":
        y = rng.integers(2, size=(n, layers[-1]))
    else:
        y = np.tanh(rng.normal(size=(n, layers[-1])))
    net = fm.MLP(layers, activations, dtype=dtype, seed=11)
    return net, X, y, batch_size


def trained(kind, dtype, x_kind, epochs=2, **options):
    net, X, y, batch_size = problem(kind, dtype, x_kind)
    options = {"batch_size": batch_size, "lr": 0.05, **options}
    history = net.fit(X, y, epochs=epochs, validation_data=(X, y), **options)
    measured = history.to_dict()
    del measured["seconds"]
    return net._parameters.copy(), measured


CASES = [
    (kind, x_kind)
    for kind in NETWORKS
    for x_kind in INPUTS
    if kind in ("digits", "one large batch", "regression") or x_kind in ("float32", "images")
]


@pytest.mark.parametrize(("kind", "x_kind"), CASES)
def test_training(kind, x_kind, dtype, isa):
    assert_threads_agree(lambda: trained(kind, dtype, x_kind))


MEASURED = -1


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam", "l2": 0.1}], ids=["sgd", "adam"])
@pytest.mark.parametrize("kind", ["digits", "wide", "wide, large batch", "one large batch"])
def test_training_whatever_an_exchange_costs(kind, options, dtype):
    fm.set_num_threads(1)
    expected = bits(trained(kind, dtype, "images", **options))
    for exchange in (MEASURED, *range(8)):
        _core.set_exchange(exchange)
        for n in (2, 3):
            fm.set_num_threads(n)
            assert bits(trained(kind, dtype, "images", **options)) == expected


TRIED = {
    "classes": ((64, 100, 10), {"optimizer": "adam", "l2": 1e-3, "batch_size": 50}),
    "few columns": ((30, 40, 2), {"optimizer": "sgd", "ema": 0.9, "batch_size": 20}),
    "many layers": ((50, 128, 64, 32, 10), {"lr": 0.01, "batch_size": 8}),
    "dropped": ((40, 130, 70, 4), {"dropout": 0.3, "lr": 0.01, "batch_size": 33}),
}
"""Networks, and how they are trained, of which threads try ways to share a step."""


@pytest.mark.parametrize("kind", TRIED)
def test_training_while_ways_to_share_it_are_tried(kind, dtype):
    layers, options = TRIED[kind]
    X = normal(0, dtype, 3_001, layers[0])
    y = np.random.default_rng(1).integers(0, layers[-1], len(X))

    def train():
        net = fm.MLP(layers, dtype=dtype, seed=2)
        history = net.fit(X, y, epochs=3, **options)
        return bits([net.weights, net.biases, history.loss, history.accuracy])

    fm.set_num_threads(1)
    expected = train()
    _core.set_exchange(MEASURED)
    # A way that is tried is known afterwards, for some time.
    for n in (2, 3, 2):
        fm.set_num_threads(n)
        assert train() == expected


@pytest.mark.parametrize(("kind", "x_kind"), CASES)
def test_using_a_network(kind, x_kind, dtype, isa):
    net, X, y, _ = problem(kind, dtype, x_kind)
    assert_threads_agree(lambda: net._output(X))
    assert_threads_agree(lambda: net.predict(X))
    assert_threads_agree(lambda: net.evaluate(X, y))
    assert_threads_agree(lambda: net.loss_and_gradients(X, y))


@pytest.mark.parametrize("n", [4, 7, 16])
@pytest.mark.parametrize(
    "kind", ["digits", "wide", "wide, large batch", "narrow, then wide", "one large batch"]
)
def test_training_with_more_threads_than_cores(kind, n, dtype):
    fm.set_num_threads(1)
    expected = bits(trained(kind, dtype, "images"))
    fm.set_num_threads(n)
    assert bits(trained(kind, dtype, "images")) == expected


# Zeros ----------------------------------------------------------------------------------------


def gradients_by_operations(net, X, y):
    """Return the loss and the gradients of a network, put together from operations."""
    *hidden, last = net.activations
    outputs = [X]
    for w, b, name in zip(net.weights, net.biases, [*hidden, "identity"], strict=True):
        outputs.append(ops.dense_forward(outputs[-1], w, b, name))
    if last == "softmax":
        loss, dz = ops.softmax_cross_entropy(outputs[-1], y)
    else:
        loss, dz = ops.binary_cross_entropy_with_logits(outputs[-1], y)
    dws, dbs = [], []
    for layer in range(len(net.weights) - 1, -1, -1):
        dx, dw, db = ops.dense_backward(dz, outputs[layer], net.weights[layer])
        dws.append(dw)
        dbs.append(db)
        if layer:
            dz = getattr(ops, f"{hidden[layer - 1]}_backward")(dx, outputs[layer])
    return loss, dws[::-1], dbs[::-1]


DENSITIES = (0.0, 0.1, 0.45, 0.6, 1.0)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize(
    ("layers", "n"),
    [
        ([33, 5], 1),
        ([1, 130, 3], 17),
        ([3, 16, 4], 40),
        ([17, 130, 3], 70),
        ([130, 33, 3], 65),
        ([130, 65, 33, 10], 333),
        ([50, 521, 3], 31),
        ([785, 130, 10], 96),
        ([131, 33, 7], 1100),
    ],
    ids=str,
)
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_network_is_its_operations_whatever_is_zero(output, layers, n, density, dtype, isa):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, layers[0])).astype(dtype)
    X *= rng.random(X.shape) < density
    k = layers[-1]
    y = rng.integers(k, size=n) if output == "softmax" else rng.random((n, k)).astype(dtype)
    net = fm.MLP(layers, [*["relu", "tanh"][: len(layers) - 2], output], dtype=dtype)
    for b in net.biases:
        b[...] = rng.normal(size=b.shape)
    expected = gradients_by_operations(net, X, y)
    for threads in THREADS:
        loss, dws, dbs = with_threads(threads, lambda: net.loss_and_gradients(X, y))
        assert loss == pytest.approx(expected[0], rel=1e-14)
        for mine, other in zip(dws + dbs, expected[1] + expected[2], strict=True):
            np.testing.assert_array_equal(mine, other)
    # An epoch of one batch reports the loss before its update.
    before = net.evaluate(X, y)
    history = net.fit(X, y, epochs=1, batch_size=n, shuffle=False, lr=0.5)
    assert history.loss[0] == before["loss"]
    assert history.accuracy[0] == before["accuracy"]


@pytest.mark.parametrize("dense_first", [True, False])
def test_samples_unlike_those_that_were_looked_at(dense_first, dtype, isa):
    """Whether to skip zeros is decided by a few samples; it must not matter to the others."""
    rng = np.random.default_rng(2)
    n = 64 * 10
    X = rng.normal(size=(n, 40)).astype(dtype)
    y = rng.integers(3, size=n)
    looked_at = np.arange(n) % 10 == 0
    X[looked_at != dense_first] *= rng.random((int((looked_at != dense_first).sum()), 40)) < 0.1
    net = fm.MLP([40, 33, 3], dtype=dtype)
    assert_threads_agree(lambda: net.loss_and_gradients(X, y))
    _, dws, dbs = net.loss_and_gradients(X, y)
    _, other_dws, other_dbs = gradients_by_operations(net, X, y)
    for mine, other in zip(dws + dbs, other_dws + other_dbs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_negative_zero_is_a_zero(dtype, isa):
    rng = np.random.default_rng(3)
    X = np.where(rng.random((70, 33)) < 0.2, rng.normal(size=(70, 33)), 0.0).astype(dtype)
    y = rng.integers(3, size=70)
    net = fm.MLP([33, 20, 3], dtype=dtype)
    expected = net.loss_and_gradients(X, y)
    assert bits(net.loss_and_gradients(np.where(X == 0, -X, X), y)) == bits(expected)


# Rows and batches -----------------------------------------------------------------------------


@pytest.mark.parametrize("x_kind", ["float32", "images", "half images"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_prediction_does_not_depend_on_the_rows_around_it(kind, x_kind, dtype, isa):
    net, X, _, _ = problem(kind, dtype, x_kind.removeprefix("half "))
    n = len(X)
    if x_kind == "half images":
        X[n // 2 :] = np.maximum(X[n // 2 :], 1)
    whole = net._output(X)
    for threads in THREADS:
        fm.set_num_threads(threads)
        for row in {0, 1, n // 2, n - 2, n - 1}:
            assert bits(net._output(X[row : row + 1])) == bits(whole[row])
        for start in (1, n // 2, n - 3):
            assert bits(net._output(X[start:])) == bits(whole[start:])
        assert bits(net._output(X[::-1])) == bits(whole[::-1])


@pytest.mark.parametrize("kind", ["digits", "narrow", "regression"])
def test_a_loss_is_the_mean_of_the_losses_of_its_rows(kind, dtype):
    net, X, y, _ = problem(kind, dtype, "float32")
    n = min(len(X), 100)
    loss = net.evaluate(X[:n], y[:n])["loss"]
    rows = [net.evaluate(X[i : i + 1], y[i : i + 1])["loss"] for i in range(n)]
    if net.activations[-1] == "identity":
        # A sum over all elements at once, in another order.
        assert loss == pytest.approx(np.mean(rows), rel=1e-14)
    else:
        # Not the sum of Python 3.12, which makes up for rounding.
        assert loss == np.add.accumulate(rows)[-1] / n


@pytest.mark.parametrize("kind", ["digits", "narrow", "regression", "one large batch"])
def test_same_seed_same_bits(kind, dtype, isa, threads):
    first, second = (trained(kind, dtype, "float32") for _ in range(2))
    assert bits(first[0]) == bits(second[0])
    assert bits(first[1]) == bits(second[1])


def test_other_seeds_give_other_weights_and_orders():
    X, y = normal(0, "float32", 50, 4), np.arange(50) % 3
    nets = [fm.MLP([4, 5, 3], seed=seed) for seed in (0, 1, 2**64 - 1)]
    assert len({bits(net.weights) for net in nets}) == 3
    for net in nets[1:]:
        net._parameters[:] = nets[0]._parameters
    for net in nets:
        net.fit(X, y, epochs=1, batch_size=7)
    assert len({bits(net.weights) for net in nets}) == 3


def test_one_fit_of_many_epochs_is_many_fits_of_one(dtype, threads):
    at_once, _, _, _ = problem("digits", dtype, "float32")
    by_one, X, y, batch_size = problem("digits", dtype, "float32")
    at_once.fit(X, y, epochs=3, batch_size=batch_size)
    for _ in range(3):
        by_one.fit(X, y, epochs=1, batch_size=batch_size)
    assert bits(by_one._parameters) == bits(at_once._parameters)


def test_the_layout_of_the_samples_does_not_matter(dtype, threads):
    results = []
    for place in (np.ascontiguousarray, np.asfortranarray, lambda X: np.repeat(X, 2, axis=0)[::2]):
        net, X, y, batch_size = problem("digits", dtype, "uint8")
        net.fit(place(X), place(y), epochs=1, batch_size=batch_size)
        results.append(bits(net._parameters))
    assert len(set(results)) == 1


def test_without_shuffling_a_permuted_sample_order_is_the_shuffle(dtype, threads):
    net, X, y, batch_size = problem("digits", dtype, "float32")
    order = np.empty(len(X), np.int64)
    fm._core.shuffle(net.seed, 0, order)
    net.fit(X, y, epochs=1, batch_size=batch_size)
    plain, *_ = problem("digits", dtype, "float32")
    plain.fit(X[order], y[order], epochs=1, batch_size=batch_size, shuffle=False)
    assert bits(plain._parameters) == bits(net._parameters)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("x_kind", ["float32", "images"])
def test_an_epoch_goes_on_from_any_step(kind, x_kind, dtype, monkeypatch):
    """Whatever the split, what is reported between steps is all that the rest depends on."""
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    options = {"l1": 1e-3, "ema": 0.9, "penalty_per_sample": True}
    options["dropout"] = (0.1, *[0.5] * (len(NETWORKS[kind][0]) - 2))
    optimizer = fm.optimizers.Adam()

    def train(before, after=None, n_threads=2):
        """Train from totals and arrays on; return those met after so many steps, or at the end."""
        fm.set_num_threads(n_threads)
        net, X, y, batch_size = problem(kind, dtype, x_kind)
        state = net._use_optimizer(optimizer, options["ema"])
        totals, arrays = before
        for mine, saved in zip(net._arrays(), arrays, strict=bool(arrays)):
            mine[...] = saved
        state.steps = totals.steps
        lr = schedules.Rates(schedules.OneCycle(0.1), -(-len(X) // batch_size), 1)
        training = Training(
            batch_size,
            lr,
            True,
            rates=lr.of_steps(totals.steps, lr.total_steps - totals.steps),
            first=totals.samples,
            before=totals,
            **options,
        )
        met = []

        def report(*sums):
            totals = Totals(*sums)
            if totals.steps == after:
                met.append((totals, [array.copy() for array in net._arrays()]))

        totals = net._train_epoch(net._check_data(X, y, None), training, state, report)
        return met[0] if met else (totals, [array.copy() for array in net._arrays()])

    totals, arrays = train((Totals(), []))
    for step in {1, totals.steps // 2, totals.steps - 1} - {0}:
        met = train((Totals(), []), step, 1 + step % 3)
        assert met[0].steps == step
        again = train(met, None, 1 + (step + 1) % 3)
        assert bits([again[0], *again[1]]) == bits([totals, *arrays])


@pytest.mark.parametrize("name", ["digits", "regression"])
def test_an_epoch_in_parts_is_the_epoch(name, dtype, threads, monkeypatch):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    whole, X, y, batch_size = problem(name, dtype, "float32")
    net, *_ = problem(name, dtype, "float32")
    state = net._use_optimizer(fm.optimizers.Adam())
    totals, met = Totals(), []
    ends = [0, 2 * batch_size, 3 * batch_size, len(X)]
    for start, stop in itertools.pairwise(ends):
        samples = net._check_data(X[start:stop], y[start:stop], None)
        steps = -(-len(samples) // batch_size)
        lr = schedules.Rates(schedules.get(0.1), steps, steps)
        rates = lr.of_steps(0, steps)
        training = Training(batch_size, lr, False, rates=rates, before=totals)
        totals = net._train_epoch(samples, training, state, lambda *sums: met.append(sums))
    history = whole.fit(X, y, 1, batch_size, 0.1, False, optimizer="adam")
    assert bits(net._parameters) == bits(whole._parameters)
    assert totals.loss / totals.weight == history.loss[0]
    reported = [sums[3] for sums in met]
    assert reported == sorted(reported)
    assert totals.samples == len(X) > reported[-1] > ends[1]
    assert totals.steps == state.steps == -(-len(X) // batch_size)


def test_uint8_samples_are_their_scaled_values(dtype, isa):
    net, X, y, batch_size = problem("digits", dtype, "uint8")
    scaled, *_ = problem("digits", dtype, "uint8")
    net.fit(X, y, epochs=1, batch_size=batch_size)
    values = X.astype(dtype) * dtype.type(1 / 255)
    scaled.fit(values, y, epochs=1, batch_size=batch_size)
    assert bits(scaled._parameters) == bits(net._parameters)
    assert bits(net.predict_proba(X)) == bits(net.predict_proba(values))


def test_polling_for_progress_does_not_change_the_result(dtype, threads, monkeypatch):
    expected = trained("digits", dtype, "float32")
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    calls = []

    class Count(fm.Callback):
        def on_progress(self, net, progress):
            calls.append(progress.samples)

    polled = trained("digits", dtype, "float32", callbacks=[Count()])
    assert len(calls) > 20
    assert bits(polled) == bits(expected)


@pytest.mark.parametrize("inputs", [1, 5, 33, 130])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_rows_read_where_they_lie_are_those_that_are_copied(inputs, optimizer, isa):
    rng = np.random.default_rng(4)
    wide = np.full((150, inputs + 7), np.nan, np.float32)
    wide[:, 3 : 3 + inputs] = rng.normal(size=(150, inputs)) * (rng.random((150, inputs)) < 0.2)
    X, y = wide[:, 3 : 3 + inputs], rng.integers(3, size=150)
    wide.flags.writeable = X.flags.writeable = False

    def fitted(samples):
        net = fm.MLP([inputs, 40, 3], seed=1)
        net.fit(samples, y, epochs=2, batch_size=32, optimizer=optimizer, lr=0.01)
        return bits((*net.weights, *net.biases))

    assert_threads_agree(lambda: fitted(X))
    assert fitted(X) == fitted(X.astype(np.float64))


def rows_before_a_forbidden_page(rows, columns, gap):
    """Return rows of bytes, 255 as is the gap after each, the last of which ends at that page."""
    page, stride = mmap.PAGESIZE, columns + gap
    pages = -(-rows * stride // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(ctypes.c_void_p(address + pages * page), ctypes.c_size_t(page), 0) == 0
    allowed = np.frombuffer(memory, np.uint8)[: pages * page]
    allowed[:] = 255
    first = len(allowed) - (rows - 1) * stride - columns
    return np.lib.stride_tricks.as_strided(allowed[first:], (rows, columns), (stride, 1))


@pytest.mark.parametrize("inputs", [1, 3, 4, 15, 16, 17, 63, 64, 65, 131])
@pytest.mark.parametrize(("rows", "batch_size"), [(1, 32), (2, 32), (7, 1), (150, 32)])
def test_bytes_read_where_they_lie_are_their_scaled_values(inputs, rows, batch_size, dtype, isa):
    rng = np.random.default_rng(inputs)
    X, y = rows_before_a_forbidden_page(rows, inputs, 7), rng.integers(3, size=rows)
    X[...] = rng.integers(1, 256, size=X.shape) * (rng.random(X.shape) < 0.2)
    X.flags.writeable = False
    scaled = X.astype(dtype) * dtype.type(1 / 255)

    def fitted(samples):
        results = []
        for outputs in (33, 32):
            net = fm.MLP([inputs, outputs, 3], dtype=dtype, seed=1)
            net.fit(samples, y, epochs=2, batch_size=batch_size, lr=0.1)
            results += [*net.weights, *net.biases, net.predict_proba(samples)]
        return bits(results)

    assert_threads_agree(lambda: fitted(X))
    assert fitted(X) == fitted(scaled)
