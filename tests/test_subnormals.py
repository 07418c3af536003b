"""Training flushes subnormal numbers to zero, and nobody else's are touched."""

import numpy as np
import pytest

import fastmlp as fm

TINY = np.float32(1e-40)


def are_kept():
    """Return whether NumPy, in this thread, still computes with subnormal numbers."""
    values = np.full(64, TINY)
    return bool((values * np.float32(2) > 0).all() and (values + values == 2 * values).all())


class Watch(fm.Callback):
    def __init__(self):
        self.kept = []

    def on_progress(self, net, progress):
        self.kept.append(are_kept())

    def on_epoch_end(self, net, history):
        self.kept.append(are_kept())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_callbacks_losses_and_callers_keep_theirs(monkeypatch, threads):
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    fm.set_num_threads(threads)
    seen = []

    def loss(predictions, targets):
        seen.append(are_kept())
        return fm.ops.mean_squared_error(predictions, targets)

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 40)).astype(np.float32), rng.normal(size=(600, 3))
    watch = Watch()
    net = fm.MLP([40, 300, 3], ["relu", "identity"], loss=loss)
    net.fit(X, y, epochs=2, batch_size=100, callbacks=[watch])
    assert len(seen) == 12
    assert len(watch.kept) > 2
    assert all(seen)
    assert all(watch.kept)
    assert are_kept()


def test_gradients_too_small_for_float32_move_nothing(isa, threads):
    """Outputs so saturated that dL/dz is subnormal: no weight moves, on any number of threads."""
    fm.set_num_threads(threads)
    net = fm.MLP([17, 33, 1], ["relu", "sigmoid"])
    net.biases[-1][:] = -95
    before = [p.copy() for p in (*net.weights, *net.biases)]
    X = np.random.default_rng(1).uniform(size=(64, 17)).astype(np.float32)
    net.fit(X, np.zeros((64, 1)), epochs=1, batch_size=32, lr=1e38)
    for parameter, old in zip((*net.weights, *net.biases), before, strict=True):
        np.testing.assert_array_equal(parameter, old)
