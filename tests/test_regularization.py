"""Penalties, limits and averages of the weights: against the reference, and PyTorch where it has
them."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from test_bits import NETWORKS, assert_threads_agree, bits, problem
from test_optimizers import (
    BATCH,
    ENGINES,
    LR,
    OPTIMIZERS,
    N,
    data,
    everything,
    gentle,
    network,
    parameters,
    tolerance,
)

import fastmlp as fm
from fastmlp import fitting
from fastmlp.optimizers import SGD, Adam, AdamW
from fastmlp.reference import steps

every = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)

OPTIONS = [
    {"l2": 0.1},
    {"l1": 0.01},
    {"l1": 0.02, "l2": 0.3},
    {"clip_norm": 0.3},
    {"max_norm": 0.9},
    {"ema": 0.7},
    {"ema": 0.7, "max_norm": 0.9},
    {"clip_norm": 0.3, "max_norm": 0.9, "l1": 0.02, "l2": 0.3, "ema": 0.9},
]
with_options = pytest.mark.parametrize("options", OPTIONS, ids=str)
with_some = pytest.mark.parametrize(
    "options", [OPTIONS[0], OPTIONS[3], OPTIONS[5], OPTIONS[-1]], ids=str
)


def moved(net):
    """Return the parameters that the optimizer moves, where the network has their averages."""
    kept = net._optimizer_state.other
    if not kept:
        return parameters(net)
    if isinstance(net, fm.reference.MLP):
        return kept
    weights, biases = net._views(kept[0])
    return [*weights, *biases]


def penalty(net, l1=0.0, l2=0.0):
    """Return the penalty of a network's weights, in float64."""
    wide = [w.astype(np.float64) for w in net.weights]
    return sum(l1 * np.abs(w).sum() + l2 / 2 * (w**2).sum() for w in wide)


# Agreement ----------------------------------------------------------------------------------------


@with_options
@every
def test_training_agrees_with_the_reference(optimizer, options, dtype, isa, threads):
    optimizer = gentle(optimizer)
    mine, other = network(fm.MLP, dtype), network(fm.reference.MLP, "float64")
    for p, q in zip(parameters(other), parameters(mine), strict=True):
        p[...] = q
    X, y = data(dtype)
    weights = np.random.default_rng(6).integers(3, size=N) / 2
    for net in (mine, other):
        net.fit(X, y, 3, BATCH, LR, optimizer=optimizer, sample_weight=weights, **options)
    bound = tolerance(optimizer, dtype)
    for a, b in zip(parameters(mine), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)
    for a, b in zip(moved(mine), moved(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)
    # A loss is a sum of terms of about unit size, as is the penalty, of weights that are as far off
    # as those above, of which there are 416.
    np.testing.assert_allclose(mine.history.loss, other.history.loss, rtol=0, atol=416 * bound)


# l1 and l2 ----------------------------------------------------------------------------------------

PENALTIES = [{"l2": 0.1}, {"l1": 0.01}, {"l1": 0.02, "l2": 0.3}]
penalties = pytest.mark.parametrize("factors", PENALTIES, ids=str)

SIZES = [1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 257]


@ENGINES
@penalties
@pytest.mark.parametrize("width", SIZES)
def test_the_loss_has_the_penalty_of_the_weights_before_the_step(width, factors, cls, dtype, isa):
    X = np.random.default_rng(1).normal(size=(10, width)).astype(dtype)
    y = np.arange(10) % 3
    net = cls([width, 2 * width + 1, 3], dtype=dtype, seed=2)
    expected = net.evaluate(X, y)["loss"] + penalty(net, **factors)
    history = net.fit(X, y, epochs=1, batch_size=10, **factors)
    # Chains of 16 and of at most 16 lanes, then in double.
    assert history.loss[0] == pytest.approx(expected, rel=32 * float(np.finfo(dtype).eps))


@ENGINES
@penalties
def test_the_step_is_along_the_gradient_of_loss_and_penalty(factors, cls):
    """Central differences; of |w| they are exact away from 0, of w^2 everywhere."""
    X, y = data()
    net = network(cls)
    net.weights[1][3, :4] = 0.0
    start = [p.copy() for p in parameters(net)]

    def total():
        return net.evaluate(X, y)["loss"] + penalty(net, **factors)

    net.fit(X, y, epochs=1, batch_size=N, lr=1.0, **factors)
    slopes = [old - new for old, new in zip(start, parameters(net), strict=True)]
    for p, old in zip(parameters(net), start, strict=True):
        p[...] = old
    h = np.finfo(float).eps ** (1 / 3)
    for p, slope in zip(parameters(net), slopes, strict=True):
        for index in [*list(np.ndindex(p.shape))[::17], np.unravel_index(p.size // 2, p.shape)]:
            old = p[index]
            p[index] = old + h
            above = total()
            p[index] = old - h
            below = total()
            p[index] = old
            # The loss is of order 1 with third derivatives of that order too: h^2 of truncation.
            assert slope[index] == pytest.approx((above - below) / (2 * h), abs=100 * h * h)


@ENGINES
@penalties
def test_the_penalty_moves_weights_alone_and_no_zeros_by_l1(factors, cls, dtype, threads):
    """Targets that are met leave the loss without a gradient, but for rounding."""
    X = data(dtype)[0]
    net = cls([11, 17, 3], ["tanh", "identity"], dtype=dtype)
    net.weights[0][2] = net.weights[1][:, 1] = 0
    for b in net.biases:
        b[...] = 0.5
    before = [w.copy() for w in net.weights]
    net.fit(X, net.predict(X), epochs=1, batch_size=N, lr=0.5, **factors)
    bound = 4 * np.finfo(dtype).eps
    assert all((np.abs(b - 0.5) <= bound).all() for b in net.biases)
    l1, l2 = factors.get("l1", 0), factors.get("l2", 0)
    for new, w in zip(net.weights, before, strict=True):
        expected = w - 0.5 * (l1 * np.sign(w) + l2 * w)
        np.testing.assert_allclose(new, expected, rtol=0, atol=bound)


@ENGINES
@penalties
def test_the_penalty_per_sample(factors, cls, dtype, monkeypatch):
    """Divided by the weight of each batch, as scikit-learn's alpha is."""
    X, y = data(dtype)
    weights = np.random.default_rng(6).integers(1, 4, size=N) / 2.0
    weights[:BATCH] = 0  # a batch that weighs nothing
    nets = [network(cls, dtype) for _ in range(2)]
    options = {"batch_size": BATCH, "lr": LR, "shuffle": False, "sample_weight": weights}
    made = fitting.Fit.__init__

    def per_sample(self, net, samples, validation, training, *rest):
        made(
            self,
            net,
            samples,
            validation,
            dataclasses.replace(training, penalty_per_sample=True),
            *rest,
        )

    with monkeypatch.context() as patched:
        patched.setattr(fitting.Fit, "__init__", per_sample)
        history = nets[0].fit(X, y, epochs=1, **factors, **options)
    total = 0.0
    for first in range(0, N, BATCH):
        batch = slice(first, first + BATCH)
        weight = weights[batch].sum()
        if weight:
            own = {name: value / weight for name, value in factors.items()}
            options["sample_weight"] = weights[batch]
            part = nets[1].fit(X[batch], y[batch], epochs=1, **own, **options)
            total += part.loss[0] * weight
    bound = tolerance(SGD(), dtype)
    assert history.loss[0] == pytest.approx(
        total / weights.sum(), rel=64 * float(np.finfo(dtype).eps)
    )
    for a, b in zip(*map(parameters, nets), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)


@ENGINES
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l2_is_the_weight_decay_of_pytorch(momentum, cls, dtype):
    torch = pytest.importorskip("torch")
    X, y = data(dtype)
    net, other = network(cls, dtype), network(fm.reference.MLP, dtype)
    tensors = [torch.from_numpy(p.copy()) for p in parameters(other)]
    layers = len(other.weights)
    theirs = torch.optim.SGD(
        [{"params": tensors[:layers], "weight_decay": 0.1}, {"params": tensors[layers:]}],
        lr=LR,
        momentum=momentum,
    )
    for _ in range(30):
        _, dw, db = other.loss_and_gradients(X, y)
        for tensor, gradient in zip(tensors, [*dw, *db], strict=True):
            tensor.grad = torch.from_numpy(np.ascontiguousarray(gradient))
        theirs.step()
        for p, tensor in zip(parameters(other), tensors, strict=True):
            p[...] = tensor.numpy()
    optimizer = SGD(momentum)
    net.fit(X, y, 30, N, LR, shuffle=False, optimizer=optimizer, l2=0.1)
    for a, b in zip(parameters(net), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(optimizer, dtype, 30))


@ENGINES
def test_weight_decay_and_l2_are_two_things(cls):
    X, y = data()
    nets = [network(cls) for _ in range(3)]
    nets[0].fit(X, y, 1, optimizer=AdamW(weight_decay=0.1))
    nets[1].fit(X, y, 1, optimizer=AdamW(weight_decay=0.0), l2=0.1)
    nets[2].fit(X, y, 1, optimizer=AdamW(weight_decay=0.1), l2=0.1)
    assert len({bits(parameters(net)) for net in nets}) == 3


def test_no_penalty_changes_nothing(dtype, threads):
    X, y = data(dtype)
    nets = [network(dtype=dtype) for _ in range(2)]
    nets[0].fit(X, y, epochs=2)
    nets[1].fit(X, y, epochs=2, l1=0, l2=0)
    assert everything(nets[0])[0] == everything(nets[1])[0]


@ENGINES
def test_a_penalty_that_overflows_is_a_divergence(cls, dtype):
    net = network(cls, dtype)
    before = everything(net)
    with pytest.raises(fm.DivergenceError, match="training diverged"):
        net.fit(*data(np.float32), epochs=1, batch_size=N, l1=1e308, lr=1e-300)
    assert everything(net) == before


# Clipping -----------------------------------------------------------------------------------------


@ENGINES
@every
def test_clipping_is_that_of_pytorch(optimizer, cls, dtype):
    torch = pytest.importorskip("torch")
    optimizer = gentle(optimizer)
    X, y = data(dtype)
    net, other = network(cls, dtype), network(fm.reference.MLP, dtype)
    clipped = 0
    for _ in range(30):
        _, dw, db = other.loss_and_gradients(X, y)
        tensors = [torch.from_numpy(p) for p in parameters(other)]
        for tensor, gradient in zip(tensors, [*dw, *db], strict=True):
            tensor.grad = torch.from_numpy(np.ascontiguousarray(gradient))
        clipped += torch.nn.utils.clip_grad_norm_(tensors, 0.2).item() > 0.2
        state = other._use_optimizer(optimizer)
        state.steps += 1
        for i, (p, tensor) in enumerate(zip(parameters(other), tensors, strict=True)):
            kept = [arrays[i] for arrays in state.buffers]
            steps.take(optimizer, p, tensor.grad.numpy(), kept, LR, state.steps)
    assert clipped >= 10
    net.fit(X, y, 30, N, LR, shuffle=False, optimizer=optimizer, clip_norm=0.2)
    # PyTorch adds 1e-6 to the norm.
    bound = tolerance(optimizer, dtype, 30) + 30 * LR * 1e-6 / 0.2 * 10
    for a, b in zip(parameters(net), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)


@ENGINES
@pytest.mark.parametrize("factors", [{}, *PENALTIES], ids=str)
@pytest.mark.parametrize("width", SIZES)
def test_a_clipped_step_has_the_norm(width, factors, cls, dtype, isa):
    X = np.random.default_rng(1).normal(size=(10, width)).astype(dtype)
    net = cls([width, 2 * width + 1, 3], dtype=dtype, seed=2)
    before = [p.copy() for p in parameters(net)]
    net.fit(X, np.arange(10) % 3, epochs=1, batch_size=10, lr=1.0, clip_norm=1e-2, **factors)
    change = [a.astype(float) - b for a, b in zip(parameters(net), before, strict=True)]
    # Parameters of about unit size round what they move by, of which there are n.
    n, eps = net.n_parameters, float(np.finfo(dtype).eps)
    bound = 32 * eps + 2 * np.sqrt(n) * eps / 1e-2
    norm = np.sqrt(sum((c**2).sum() for c in change))
    assert norm == pytest.approx(1e-2, rel=bound)


@ENGINES
def test_a_norm_below_the_limit_is_left_alone(cls, dtype, threads):
    X, y = data(dtype)
    nets = [network(cls, dtype) for _ in range(2)]
    nets[0].fit(X, y, epochs=2)
    nets[1].fit(X, y, epochs=2, clip_norm=1e6, max_norm=1e6)
    assert everything(nets[0])[0] == everything(nets[1])[0]


@ENGINES
def test_a_norm_that_is_not_finite_is_a_divergence(cls):
    X = 1000 * np.abs(data(np.float32)[0])
    net = cls([11, 3], ["identity"], dtype="float32")
    before = everything(net)
    # The loss is within double, gradients of the order of 1e41 are beyond float32.
    with pytest.raises(fm.DivergenceError, match=r"not finite|is inf"):
        net.fit(X, np.full((N, 3), 3e38), epochs=1, batch_size=N, clip_norm=1.0)
    assert everything(net) == before


# Norms of weights ---------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("width", SIZES)
def test_columns_are_scaled_to_the_norm(width, cls, dtype, isa):
    X = np.random.default_rng(1).normal(size=(10, width)).astype(dtype)
    net, free = (cls([width, 2 * width + 1, 3], dtype=dtype, seed=2) for _ in range(2))
    options = {"epochs": 1, "batch_size": 10, "lr": 0.1}
    free.fit(X, np.arange(10) % 3, **options)
    net.fit(X, np.arange(10) % 3, max_norm=0.8, **options)
    eps = float(np.finfo(dtype).eps)
    for w, whole in zip(net.weights, free.weights, strict=True):
        norms = np.linalg.norm(whole.astype(float), axis=0)
        expected = whole * np.minimum(1, 0.8 / norms)
        # A chain of as many squares as there are inputs, a root and a quotient.
        np.testing.assert_allclose(w, expected, rtol=(len(w) + 8) * eps, atol=0)
        np.testing.assert_array_equal(w[:, norms < 0.799], whole[:, norms < 0.799])
    for b, whole in zip(net.biases, free.biases, strict=True):
        np.testing.assert_array_equal(b, whole)


# Averages -----------------------------------------------------------------------------------------


class Watch(fm.Callback):
    """Keeps what the callbacks see."""

    def __init__(self):
        self.stepping, self.rested = [], []

    def on_progress(self, net, progress):
        self.stepping.append(copy.deepcopy(parameters(net)))

    def on_epoch_end(self, net, history):
        self.rested.append(copy.deepcopy(parameters(net)))


@ENGINES
@every
def test_the_network_holds_averages_between_epochs(optimizer, cls, dtype, threads):
    """Whole batches, so that each epoch is a step."""
    X, y = data(dtype)
    net, raw = network(cls, dtype), network(cls, dtype)
    watch = Watch()
    averages = [p.astype(float) for p in parameters(net)]
    options = {"batch_size": N, "lr": LR, "shuffle": False, "optimizer": optimizer}
    history = net.fit(X, y, 5, ema=0.7, callbacks=[watch], validation_data=(X, y), **options)
    for epoch in range(5):
        raw.fit(X, y, epochs=1, **options)
        for average, p in zip(averages, parameters(raw), strict=True):
            average += 0.3 * (p - average)
        for a, b, c, d in zip(
            watch.stepping[epoch], parameters(raw), watch.rested[epoch], averages, strict=True
        ):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(c, d, rtol=0, atol=16 * np.finfo(dtype).eps)
    assert bits(watch.rested[-1]) == bits(parameters(net))
    assert history.val_loss[-1] == net.evaluate(X, y)["loss"]
    for a, b in zip(moved(net), parameters(raw), strict=True):
        np.testing.assert_array_equal(a, b)


@ENGINES
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_fit_with_the_same_average_goes_on(optimizer, cls, threads):
    X, y = data()
    at_once, by_one = network(cls), network(cls)
    options = {"optimizer": optimizer, "ema": 0.9}
    at_once.fit(X, y, epochs=3, **options)
    for _ in range(3):
        by_one.fit(X, y, epochs=1, **options)
    assert everything(by_one)[0] == everything(at_once)[0]
    assert everything(by_one)[3] == everything(at_once)[3]


@ENGINES
@pytest.mark.parametrize("later", [{}, {"ema": 0.5}, {"ema": 0.9, "optimizer": SGD(0.8)}], ids=str)
def test_another_fit_starts_from_the_averages(later, cls):
    X, y = data()
    net, other = network(cls), network(cls)
    net.fit(X, y, epochs=2, optimizer=SGD(0.9), ema=0.9)
    for p, q in zip(parameters(other), parameters(net), strict=True):
        p[...] = q
    other.epochs_trained = net.epochs_trained
    options = {"optimizer": SGD(0.9), **later}
    if options["optimizer"] == SGD(0.9):
        # What the optimizer remembers of the parameters stays.
        state, kept = other._use_optimizer(SGD(0.9)), net._optimizer_state
        state.steps = kept.steps
        for theirs, own in zip(state.buffers, kept.buffers, strict=True):
            for array, values in zip(theirs, own, strict=True):
                array[...] = values
    for each in (net, other):
        each.fit(X, y, epochs=2, **options)
    assert everything(net)[0] == everything(other)[0]
    assert bool(net._optimizer_state.other) == ("ema" in later)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "pickle"],
)
@ENGINES
def test_copies_carry_the_parameters(duplicate, cls, dtype):
    X, y = data(dtype)
    net = network(cls, dtype)
    net.fit(X, y, epochs=2, optimizer="adam", ema=0.9)
    other = duplicate(net)
    assert everything(other) == everything(net)
    before = everything(net)
    other.fit(X, y, epochs=1, optimizer="adam", ema=0.9)
    assert everything(net) == before
    net.fit(X, y, epochs=1, optimizer="adam", ema=0.9)
    assert everything(net)[0] == everything(other)[0]
    assert everything(net)[3] == everything(other)[3]


@ENGINES
def test_a_copy_made_within_an_epoch_goes_on_from_there(cls, threads):
    X, y = data()
    net, copies = network(cls), []

    class Duplicate(fm.Callback):
        def on_progress(self, net, progress):
            copies.append(copy.deepcopy(net))

    options = {"batch_size": N, "shuffle": False, "optimizer": "adam", "ema": 0.9}
    net.fit(X, y, epochs=1, callbacks=[Duplicate()], **options)
    other = copies[-1]
    assert bits(parameters(other)) == bits(moved(net))
    for each in (net, other):
        each.fit(X, y, epochs=1, **options)
    assert everything(net)[0] == everything(other)[0]
    assert everything(net)[3] == everything(other)[3]


@ENGINES
@pytest.mark.parametrize("first", [{}, {"ema": 0.9}, {"ema": 0.5}], ids=str)
def test_divergence_restores_the_parameters(first, cls, dtype):
    X, y = data(dtype)
    net = network(cls, dtype)
    net.fit(X, y, epochs=1, optimizer="adam", **first)
    before = everything(net)

    class Spoil(fm.Callback):
        def on_epoch_end(self, net, history):
            net._optimizer_state.other[0][...] = np.nan

    with pytest.raises(fm.DivergenceError):
        net.fit(X, y, epochs=5, optimizer="adam", ema=0.9, callbacks=[Spoil()])
    assert everything(net) == before
    net.fit(X, y, epochs=1, optimizer="adam", **first)


@ENGINES
def test_an_interrupted_fit_leaves_the_averages(cls):
    X, y = data()
    net, raw = network(cls), []

    class Stop(fm.Callback):
        def on_progress(self, net, progress):
            raw.append(copy.deepcopy(parameters(net)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=3, batch_size=N, lr=1.0, ema=0.9, callbacks=[Stop()])
    assert bits(moved(net)) == bits(raw[0])
    assert bits(parameters(net)) != bits(raw[0])
    assert not net._optimizer_state.stepping


# Bits ---------------------------------------------------------------------------------------------

KINDS = ["digits", "narrow", "wide", "wide, large batch", "wide, single samples", "regression"]


def trained(kind, dtype, x_kind, options, convert=lambda X: X):
    net, X, y, batch_size = problem(kind, dtype, x_kind)
    history = net.fit(convert(X), y, epochs=2, batch_size=batch_size, lr=0.003, **options)
    padding = np.ones(net._plan.n_parameters, bool)
    weights, biases = net._views(padding)
    for used in (*weights, *biases):
        used[...] = False
    assert not any(array[padding].any() for array in net._arrays())
    state = [array.copy() for array in net._optimizer_state.arrays()]
    return net._parameters.copy(), state, history.loss


@with_some
@pytest.mark.parametrize("x_kind", ["float32", "images"])
@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_threads(kind, x_kind, options, dtype, isa):
    for optimizer in (SGD(), Adam()):
        each = {"optimizer": optimizer, **options}
        assert_threads_agree(lambda each=each: trained(kind, dtype, x_kind, each))


@every
@with_some
def test_bits_of_every_optimizer(optimizer, options, dtype):
    each = {"optimizer": optimizer, **options}
    assert_threads_agree(lambda: trained("digits", dtype, "images", each))
    fm.set_num_threads(1)
    expected = bits(trained("digits", dtype, "images", each))
    fm.set_num_threads(7)
    assert bits(trained("digits", dtype, "images", each)) == expected


@with_some
@pytest.mark.parametrize("kind", ["digits", "one large batch", "wide", "wide, single samples"])
def test_sparse_samples_have_the_bits_of_dense_ones(kind, options, dtype, threads):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    assert kind in NETWORKS

    def dense(X):
        return X.astype(np.float32) / np.float32(255)

    def compressed(X):
        return scipy_sparse.csr_matrix(dense(X))

    for optimizer in (SGD(), Adam()):
        each = {"optimizer": optimizer, **options}
        expected = trained(kind, dtype, "images", each, dense)
        assert bits(trained(kind, dtype, "images", each, compressed)) == bits(expected)


@with_some
@pytest.mark.parametrize("kind", ["digits", "narrow", "wide", "wide, single samples"])
def test_progress_within_an_epoch_is_that_of_a_shorter_one(kind, options, threads, monkeypatch):
    """The penalty of a step is added up in the next, and what threads keep is given back."""
    monkeypatch.setattr(fm.mlp, "POLL_SECONDS", 0.0)
    seen = {}

    class Keep(fm.Callback):
        def on_progress(self, net, progress):
            seen[progress.samples] = progress.loss, bits(parameters(net))

    net, X, y, size = problem(kind, "float32", "images")
    each = {"batch_size": size, "lr": 0.003, "optimizer": "adam", "shuffle": False, **options}
    net.fit(X, y, epochs=1, callbacks=[Keep()], **each)
    whole = [samples for samples in seen if samples % size == 0][:3]
    assert whole
    for samples in whole:
        other = problem(kind, "float32", "images")[0]
        loss = other.fit(X[:samples], y[:samples], epochs=1, **each).loss[0]
        assert seen[samples] == (loss, bits(moved(other)))


@ENGINES
@with_some
def test_parts_of_an_epoch_make_the_same_steps(options, cls, dtype):
    """Whole batches by blocks, or one by one: sums of losses alone are added up otherwise."""
    X, y = data(dtype)
    each = {"epochs": 2, "batch_size": BATCH, "optimizer": "adam", "lr": LR, **options}
    batches = [(X[i : i + BATCH], y[i : i + BATCH]) for i in range(0, N, BATCH)]
    nets = [network(cls, dtype) for _ in range(3)]
    histories = [
        nets[0].fit(X, y, shuffle=False, **each),
        nets[1].fit(fm.data.Blocks(X, y, rows=2 * BATCH), shuffle=False, **each),
        nets[2].fit(fm.data.Batches(batches), **each),
    ]
    for net, history in zip(nets[1:], histories[1:], strict=True):
        assert everything(net)[0] == everything(nets[0])[0]
        assert everything(net)[3] == everything(nets[0])[3]
        np.testing.assert_allclose(history.loss, histories[0].loss, rtol=N * np.finfo(float).eps)


# Arguments ----------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"l1": -1}, ValueError, "l1 must be at least 0"),
        ({"l1": float("nan")}, ValueError, "l1 must be finite"),
        ({"l2": float("inf")}, ValueError, "l2 must be finite"),
        ({"l2": "0.1"}, TypeError, "l2 must be a real number"),
        ({"l2": True}, TypeError, "l2 must be a real number"),
        ({"clip_norm": 0}, ValueError, "clip_norm must be greater than 0"),
        ({"clip_norm": -1.0}, ValueError, "clip_norm must be greater than 0"),
        ({"clip_norm": 1e-40}, ValueError, "clip_norm is out of the range of float32"),
        ({"clip_norm": "1"}, TypeError, "clip_norm must be a real number"),
        ({"ema": 1}, ValueError, r"ema must be in \(0, 1\)"),
        ({"ema": 0.0}, ValueError, r"ema must be in \(0, 1\)"),
        ({"ema": True}, TypeError, "ema must be a real number"),
        ({"max_norm": 0}, ValueError, "max_norm must be greater than 0"),
        ({"max_norm": float("nan")}, ValueError, "max_norm must be finite"),
        ({"max_norm": 1e39}, ValueError, "max_norm is out of the range of float32"),
    ],
)
def test_bad_options(cls, options, kind, words):
    net = network(cls, "float32")
    X, y = data()
    net.fit(X, y, epochs=1, optimizer="adam")
    before = everything(net)
    with pytest.raises(kind, match=rf"^{words}"):
        net.fit(X, y, **options)
    assert everything(net) == before
