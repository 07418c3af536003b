"""How scikit-learn's estimators count losses and penalties, in networks."""

import numpy as np
import pytest

import fastmlp as fm

ENGINES = pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])

N, BATCH, LR, L1, L2, UNIT = 33, 7, 0.05, 0.02, 0.3, 0.25
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 5)), RNG.normal(size=(N, 3))
WEIGHTS = RNG.random(N) + 0.1
COUNTING = {"penalty_per_sample": True, "mean_of_batches": True, "loss_unit": UNIT}


def network(cls, dtype="float64"):
    return cls([5, 17, 3], ["tanh", "identity"], dtype=dtype, seed=1)


def by_steps(weights):
    """Return the parameters and the loss of an epoch, counted step by step."""
    net, total = network(fm.reference.MLP), 0.0
    for begin in range(0, N, BATCH):
        rows = slice(begin, begin + BATCH)
        w = None if weights is None else weights[rows]
        count = len(X[rows])
        weight = count if w is None else w.sum()
        loss, gradients, bias_gradients = net.loss_and_gradients(X[rows], Y[rows], w)
        penalty = sum(L1 * np.abs(p).sum() + L2 / 2 * (p**2).sum() for p in net.weights) / weight
        total += count * (UNIT * loss + penalty)
        for p, g in zip(net.weights, gradients, strict=True):
            p -= LR * (g + (L1 * np.sign(p) + L2 * p) / weight)
        for p, g in zip(net.biases, bias_gradients, strict=True):
            p -= LR * g
    return net, total / N


@ENGINES
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_batches_count_by_their_samples(cls, weights, threads):
    expected, loss = by_steps(weights)
    net = network(cls)
    net._counting = COUNTING
    reported = []

    class Listen(fm.Callback):
        def on_progress(self, net, progress):
            reported.append(progress.loss)

    history = net.fit(
        X, Y, epochs=1, batch_size=BATCH, lr=LR, shuffle=False, sample_weight=weights,
        l1=L1, l2=L2, validation_data=(X, Y), callbacks=[Listen()],
    )  # fmt: skip
    # A handful of steps, each rounding sums of at most N terms of about 1.
    tolerance = 8 * N * np.finfo(float).eps
    assert history.loss == [pytest.approx(loss, rel=tolerance)]
    assert reported[-1] == history.loss[-1]
    assert history.val_loss == [pytest.approx(UNIT * net.evaluate(X, Y)["loss"], rel=tolerance)]
    for a, b in zip(net.weights + net.biases, expected.weights + expected.biases, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@ENGINES
def test_a_batch_without_weight_counts_nothing(cls):
    weights = WEIGHTS.copy()
    weights[:BATCH] = 0
    net, other = network(cls), network(cls)
    net._counting = other._counting = COUNTING
    options = {"epochs": 1, "batch_size": BATCH, "shuffle": False, "l2": L2}
    whole = net.fit(X, Y, sample_weight=weights, **options)
    rest = other.fit(X[BATCH:], Y[BATCH:], sample_weight=weights[BATCH:], **options)
    assert whole.loss == pytest.approx(rest.loss, rel=64 * np.finfo(float).eps)
