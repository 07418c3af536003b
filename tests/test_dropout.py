"""Dropout: the random stream, the factors in training, and what does not depend on the split."""

import numpy as np
import pytest
from test_bits import NETWORKS, assert_threads_agree, bits, trained
from test_optimizers import (
    BATCH,
    ENGINES,
    LR,
    N,
    data,
    everything,
    gentle,
    network,
    parameters,
    tolerance,
)

import fastmlp as fm
from fastmlp.optimizers import SGD, Adam
from fastmlp.reference.dropout import factors, philox

SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 128, 129, 300, 700]

OPTIONS = [
    {"dropout": 0.5},
    {"input_dropout": 0.3},
    {"dropout": [0.2, 0.0], "input_dropout": 0.1},
    {"dropout": [0.0, 0.4], "clip_norm": 0.3, "max_norm": 0.9, "l2": 0.3, "ema": 0.9},
]
with_options = pytest.mark.parametrize("options", OPTIONS, ids=str)


def counts(*seeds):
    return tuple(np.array([seed], np.uint64) for seed in seeds)


# The stream ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_stream_is_philox(counter, key, expected):
    """Against the published values of Philox 4x32 with 10 rounds."""
    assert [int(word[0]) for word in philox(counts(*counter), key, rounds=10)] == list(expected)


def drawn_by(cls, chance, width, dtype, *, where, seed=11, epoch=3, number=0):
    """Return the factors of one sample's units, as a training has them.

    Everything is 0 but the units, which are 1, and the target, so that the step moves the weights
    behind the units by their factors.
    """
    hidden = where == "hidden"
    net = cls([1, width, 1] if hidden else [width, 1], ["identity"] * (1 + hidden), dtype=dtype)
    net.seed, net.epochs_trained = seed, epoch
    for p in parameters(net):
        p[...] = 0
    if hidden:
        net.biases[0][...] = 1
    n = number + 2
    net.fit(
        np.ones((n, net.n_inputs)),
        np.full(n, -0.5),
        epochs=1,
        batch_size=n,
        lr=1.0,
        shuffle=False,
        sample_weight=np.arange(n) == number,
        **{"dropout" if hidden else "input_dropout": chance},
    )
    return -net.weights[-1][:, 0]


@ENGINES
@pytest.mark.parametrize("where", ["input", "hidden"])
@pytest.mark.parametrize("width", SIZES)
def test_factors_are_those_of_the_reference(width, where, cls, dtype, isa):
    for number, seed in ((0, 2**64 - 1), (5, 2**33 + 7)):
        mine = drawn_by(cls, 0.3, width, dtype, where=where, seed=seed, number=number)
        samples = np.array([number])
        expected = factors(0.3, seed, 3, int(where == "hidden"), samples, width, dtype)
        assert bits(mine + 0) == bits(expected[0] + 0)


def test_draws_do_not_repeat():
    """Other seeds, epochs, layers and samples have other draws, also far beyond 32 bits."""
    base = {"seed": 1, "epoch": 1, "layer": 1, "samples": np.array([1])}
    others = [
        {},
        {"seed": 2},
        {"seed": 1 + 2**32},
        {"epoch": 2},
        {"layer": 2},
        {"samples": np.array([2])},
        {"samples": np.array([1 + 2**32])},
    ]
    drawn = [factors(0.5, width=400, dtype="float32", **{**base, **other}) for other in others]
    assert len({bits(d) for d in drawn}) == len(others)


def test_chances_and_independence():
    n, width = 2000, 257
    for chance in (0.1, 0.5, 0.9):
        f = factors(chance, 5, 0, 1, np.arange(n), width, "float64")
        dropped = f == 0
        # Six standard deviations of a mean of n * width draws.
        spread = np.sqrt(chance * (1 - chance))
        assert abs(dropped.mean() - chance) < 6 * spread / np.sqrt(n * width) + 2**-17
        assert set(np.unique(f)) == {0.0, f.max()}
        assert f.max() == pytest.approx(1 / (1 - chance), rel=2**-16 / (1 - chance))
        # Of each unit, each sample, and neighbors of both kinds.
        signs = (dropped - chance) / spread
        assert np.abs(signs.mean(axis=0)).max() < 6 / np.sqrt(n)
        assert np.abs(signs.mean(axis=1)).max() < 6 / np.sqrt(width)
        for a, b in ((signs[1:], signs[:-1]), (signs[:, 16:], signs[:, :-16])):
            assert abs((a * b).mean()) < 6 / np.sqrt(a.size)
        for lag in (1, 16, 128):
            assert abs((signs[:, lag:] * signs[:, :-lag]).mean()) < 6 / np.sqrt(n * (width - lag))


def test_chances_that_round_to_the_ends():
    """To multiples of 2^-16, and never to all."""
    few = factors(2.0**-18, 0, 0, 0, np.arange(50), 1000, "float64")
    assert (few == 1).all()
    most = factors(1 - 2.0**-30, 0, 0, 0, np.arange(50), 1000, "float64")
    assert set(np.unique(most)) <= {0.0, 65536.0}
    assert np.isfinite(network().fit(*data(), epochs=1, dropout=1 - 2.0**-30).loss[0])


# Training -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [SGD(), SGD(0.9), Adam()], ids=repr)
@with_options
def test_training_agrees_with_the_reference(optimizer, options, dtype, isa, threads):
    optimizer = gentle(optimizer)
    mine, other = network(fm.MLP, dtype), network(fm.reference.MLP, "float64")
    for p, q in zip(parameters(other), parameters(mine), strict=True):
        p[...] = q
    X, y = data(dtype)
    for net in (mine, other):
        net.fit(X, y, 3, BATCH, LR, optimizer=optimizer, **options)
    # What stays is up to twice as large, in two layers.
    bound = 4 * tolerance(optimizer, dtype)
    for a, b in zip(parameters(mine), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)
    np.testing.assert_allclose(mine.history.loss, other.history.loss, rtol=0, atol=416 * bound)


ACTIVATIONS = sorted(fm.ops.ACTIVATION_CODES.keys() - {"softmax", "log_softmax", "exp"})


@ENGINES
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_step_is_along_the_gradient_of_the_thinned_network(activation, cls):
    """Central differences of the loss with the factors of the reference."""
    X, y = data()
    net = cls(
        [11, 19, 9, 4], [activation, activation, "softmax"], init=0.5, seed=3, dtype="float64"
    )
    chances = (0.2, 0.5, 0.3)
    masks = [
        factors(p, net.seed, 0, layer, np.arange(N), width, "float64")
        for layer, (p, width) in enumerate(zip(chances, net.layers, strict=False))
    ]
    ops = fm.reference.ops

    def loss():
        x = X
        for layer, name in enumerate(net.activations):
            z = ops.dense_forward(x * masks[layer], net.weights[layer], net.biases[layer])
            x = z if name == "softmax" else ops.FORWARDS[name](z)
        return ops.softmax_cross_entropy(x, y)[0]

    start = [p.copy() for p in parameters(net)]
    expected = loss()
    history = net.fit(
        X, y, 1, N, lr=1.0, shuffle=False, dropout=chances[1:], input_dropout=chances[0]
    )
    assert history.loss[0] == pytest.approx(expected, rel=64 * np.finfo(float).eps)
    slopes = [old - new for old, new in zip(start, parameters(net), strict=True)]
    for p, old in zip(parameters(net), start, strict=True):
        p[...] = old
    h = np.finfo(float).eps ** (1 / 3)
    for p, slope in zip(parameters(net), slopes, strict=True):
        for index in list(np.ndindex(p.shape))[::17]:
            old = p[index]
            p[index] = old + h
            above = loss()
            p[index] = old - h
            below = loss()
            p[index] = old
            # Third derivatives are of order 1; a kink within h of a sample's unit is not met here.
            assert slope[index] == pytest.approx((above - below) / (2 * h), abs=300 * h * h)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("source", ["float32", "images"])
def test_bits_do_not_depend_on_threads(kind, source, dtype):
    assert_threads_agree(lambda: trained(kind, dtype, source, dropout=0.3, input_dropout=0.2))


@pytest.mark.parametrize("loss", ["dice", "python"])
def test_losses_over_the_batch(loss, dtype, isa, threads):
    """All rows go forward before any goes back."""

    def squares(predictions, targets):
        difference = predictions - targets
        return float((difference**2).mean()), 2 * difference / difference.size

    X, y = data(dtype)
    chosen = "dice" if loss == "dice" else squares
    targets = y if loss == "dice" else np.eye(4)[y].astype(dtype)
    output = "softmax" if loss == "dice" else "identity"
    nets = [
        cls([11, 19, 9, 4], ["tanh", "gelu", output], dtype=dt, seed=3, loss=chosen)
        for cls, dt in ((fm.MLP, dtype), (fm.reference.MLP, "float64"))
    ]
    for p, q in zip(parameters(nets[1]), parameters(nets[0]), strict=True):
        p[...] = q
    for net in nets:
        net.fit(X, targets, 3, BATCH, LR, dropout=0.3, input_dropout=0.2)
    for a, b in zip(*map(parameters, nets), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=8 * tolerance(SGD(), dtype))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_sparse_rows_have_the_bits_of_dense_ones(optimizer, dtype, isa, threads):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    rng = np.random.default_rng(8)
    dense = (rng.normal(size=(90, 310)) * (rng.random((90, 310)) < 0.07)).astype("float32")
    y = rng.integers(4, size=90)
    nets = [fm.MLP([310, 33, 4], ["tanh", "softmax"], dtype=dtype, seed=3) for _ in range(2)]
    for net, X in zip(nets, (dense, sparse.csr_matrix(dense)), strict=True):
        net.fit(X, y, 2, 16, 0.1, dropout=0.4, input_dropout=0.3, optimizer=optimizer)
    assert bits(parameters(nets[0])) == bits(parameters(nets[1]))


@pytest.mark.parametrize("drawn", [1.0, 0.1])
def test_uint8_is_dropped_as_floats_are(drawn, dtype, isa):
    rng = np.random.default_rng(1)
    X = rng.integers(256, size=(70, 11), dtype=np.uint8) * (rng.random((70, 11)) < drawn)
    nets = [network(dtype=dtype) for _ in range(2)]
    scale = np.dtype(dtype).type(1 / 255)
    for net, features in zip(nets, (X, X * scale), strict=True):
        net.fit(features, np.arange(70) % 4, 2, dropout=0.3, input_dropout=0.2)
    assert bits(parameters(nets[0])) == bits(parameters(nets[1]))


@ENGINES
def test_parts_of_an_epoch_have_the_bits_of_the_whole(cls, dtype):
    """Samples are numbered through the epoch, whichever call of the engine trains on them."""
    X, y = data(dtype)
    options = {"epochs": 2, "batch_size": BATCH, "dropout": 0.3, "input_dropout": 0.2}
    whole, blocks, batches = (network(cls, dtype) for _ in range(3))
    whole.fit(X, y, shuffle=False, **options)
    blocks.fit(fm.data.Blocks(X, y, rows=2 * BATCH), shuffle=False, **options)

    def pieces():
        return ((X[i : i + BATCH], y[i : i + BATCH]) for i in range(0, N, BATCH))

    batches.fit(fm.data.Batches(pieces), **options)
    assert bits(parameters(blocks)) == bits(parameters(whole))
    assert bits(parameters(batches)) == bits(parameters(whole))


@ENGINES
def test_every_epoch_draws_anew_and_a_fit_can_be_repeated(cls, dtype):
    X, y = data(dtype)
    one, two, three = (network(cls, dtype) for _ in range(3))
    one.fit(X, y, epochs=4, dropout=0.3)
    two.fit(X, y, epochs=2, dropout=0.3)
    two.fit(X, y, epochs=2, dropout=0.3)
    three.fit(X, y, epochs=4, dropout=0.3)
    assert everything(one)[0] == everything(two)[0] == everything(three)[0]
    # A rate of almost nothing: the weights stay, the losses are those of other thinned networks.
    losses = network(cls, dtype).fit(X, y, 4, N, lr=1e-12, dropout=0.3, shuffle=False).loss
    assert len({round(loss, 6) for loss in losses}) == 4


@ENGINES
def test_predictions_take_the_whole_network(cls, dtype):
    X, y = data(dtype)
    net = network(cls, dtype)
    before = net.predict_proba(X), net.evaluate(X, y), bits(net.loss_and_gradients(X, y)[1])
    net.fit(X, y, 1, N, lr=1e-30, dropout=0.5, input_dropout=0.5, validation_data=(X, y))
    assert bits(net.predict_proba(X)) == bits(before[0])
    assert net.evaluate(X, y) == before[1]
    assert bits(net.loss_and_gradients(X, y)[1]) == before[2]
    assert net.history.val_loss[0] == before[1]["loss"] != net.history.loss[0]


def test_no_dropout_changes_nothing(dtype, threads):
    X, y = data(dtype)
    nets = [network(dtype=dtype) for _ in range(3)]
    nets[0].fit(X, y, epochs=2)
    nets[1].fit(X, y, epochs=2, dropout=0, input_dropout=0.0)
    nets[2].fit(X, y, epochs=2, dropout=[0.0, 0])
    assert everything(nets[0])[0] == everything(nets[1])[0] == everything(nets[2])[0]


@ENGINES
def test_a_network_without_hidden_layers(cls):
    X, y = data()
    nets = [cls([11, 4], seed=3, dtype="float64") for _ in range(2)]
    nets[0].fit(X, y, epochs=1)
    nets[1].fit(X, y, epochs=1, dropout=0.5)
    assert bits(parameters(nets[0])) == bits(parameters(nets[1]))
    nets[1].fit(X, y, epochs=1, dropout=[], input_dropout=0.5)


@ENGINES
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dropout": 1.0}, ValueError, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, ValueError, "dropout must be in"),
        ({"dropout": float("nan")}, ValueError, "dropout must be"),
        ({"dropout": "0.5"}, TypeError, "dropout must be"),
        ({"dropout": None}, TypeError, "dropout must be"),
        ({"dropout": [0.1]}, ValueError, "dropout holds 1 numbers, there are 2 hidden layers"),
        ({"dropout": [0.1, 2]}, ValueError, r"dropout\[1\] must be in"),
        ({"dropout": [0.1, "x"]}, TypeError, r"dropout\[1\] must be"),
        ({"input_dropout": 1}, ValueError, "input_dropout must be in"),
        ({"input_dropout": [0.1]}, TypeError, "input_dropout must be"),
    ],
    ids=str,
)
def test_bad_chances_are_refused_by_name(options, error, message, cls):
    net = network(cls)
    before = everything(net)
    with pytest.raises(error, match=message):
        net.fit(*data(), epochs=1, **options)
    assert everything(net) == before
