"""SciPy's sparse matrices: the same bits as dense rows give, and nothing made dense on the way."""

import itertools
import re
import sys
import types

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import ops
from fastmlp.sparse import from_scipy

sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")

NETWORKS = {
    "narrow": ([57, 33, 17, 5], 203),
    "single layer": ([130, 21], 203),
    "one row": ([40, 16, 3], 1),
    "wide": ([310, 130, 64, 10], 203),
    "large": ([900, 300, 30, 4], 70),
}


def samples(kind, value_dtype, seed=0):
    layers, n = NETWORKS[kind]
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 256, (n, layers[0])) * (rng.random((n, layers[0])) < 0.07)
    dense[n // 2] = 0
    if value_dtype != "uint8":
        dense = dense / 100 - (dense > 0)
    dense = dense.astype(value_dtype)
    return dense, sparse.csr_matrix(dense), rng.integers(layers[-1], size=n)


def network(kind, dtype, cls=fm.MLP):
    layers, _ = NETWORKS[kind]
    return cls(layers, ["tanh"] * (len(layers) - 2) + ["softmax"], dtype=dtype, seed=3)


def parameters(net):
    return [p.tobytes() for p in (*net.weights, *net.biases)]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("value_dtype", ["float32", "float64", "uint8"])
def test_training_has_the_bits_of_dense_rows(kind, value_dtype, dtype, isa, threads):
    dense, csr, y = samples(kind, value_dtype)
    for batch_size in (1, 32, 300):
        one, other = network(kind, dtype), network(kind, dtype)
        options = {"epochs": 2, "batch_size": batch_size, "lr": 0.1}
        a = one.fit(csr, y, validation_data=(csr, y), **options)
        b = other.fit(dense, y, validation_data=(dense, y), **options)
        assert parameters(one) == parameters(other)
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert getattr(a, name) == getattr(b, name)


@pytest.mark.parametrize("kind", NETWORKS)
def test_use_has_the_bits_of_dense_rows(kind, dtype, isa, threads):
    dense, csr, y = samples(kind, "float32")
    net = network(kind, dtype)
    assert net.predict_proba(csr).tobytes() == net.predict_proba(dense).tobytes()
    assert net.predict(csr).tobytes() == net.predict(dense).tobytes()
    assert net.evaluate(csr, y) == net.evaluate(dense, y)
    one, other = net.loss_and_gradients(csr, y), net.loss_and_gradients(dense, y)
    assert one[0] == other[0]
    for a, b in zip(one[1] + one[2], other[1] + other[2], strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("n_out", [1, 2, 15, 16, 17, 33, 130])
@pytest.mark.parametrize("activation", ops.ACTIVATION_CODES)
def test_dense_forward(n_out, activation, dtype, isa, threads):
    rng = np.random.default_rng(1)
    dense = (rng.normal(size=(65, 70)) * (rng.random((65, 70)) < 0.1)).astype(dtype)
    w, b = (rng.normal(size=s).astype(dtype) for s in ((70, n_out), n_out))
    for bias in (b, None):
        result = ops.dense_forward(sparse.csr_matrix(dense), w, bias, activation)
        assert (result == ops.dense_forward(dense, w, bias, activation)).all()
        expected = fm.reference.ops.dense_forward(
            sparse.csr_matrix(dense.astype(np.float64)),
            w.astype(np.float64),
            None if bias is None else bias.astype(np.float64),
            activation,
        )
        # The chain of a column and the activation round a few times each.
        assert np.abs(result - expected).max() <= 200 * np.finfo(dtype).eps * max(
            1, np.abs(expected).max()
        )


def test_the_twin_learns_the_same(dtype):
    _, csr, y = samples("narrow", "float32")
    one, other = network("narrow", dtype), network("narrow", dtype, fm.reference.MLP)
    for net in (one, other):
        net.fit(csr, y, epochs=3, lr=0.05)
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=300 * np.finfo(dtype).eps)


@pytest.mark.parametrize("make", ["csc_matrix", "coo_array", "csr_array", "lil_matrix"])
def test_any_format_of_scipy(make):
    dense, csr, _ = samples("narrow", "float64")
    net = network("narrow", "float32")
    given = getattr(sparse, make)(dense)
    assert net.predict_proba(given).tobytes() == net.predict_proba(csr).tobytes()


def test_duplicates_and_unsorted_columns_and_integers():
    indptr, indices = np.array([0, 4, 5]), np.array([3, 1, 3, 0, 2])
    for index_dtype, dtype in itertools.product((np.int32, np.int64), (np.int64, float, bool)):
        data = np.array([1, 2, 4, 1, 1]).astype(dtype)
        X = sparse.csr_matrix((data, indices.astype(index_dtype), indptr.astype(index_dtype)))
        net = fm.MLP([4, 3, 2])
        before = X.copy()
        expected = net.predict_proba(X.toarray())
        assert (net.predict_proba(X) == expected).all()
        assert (X.indices == before.indices).all()
        assert (X.data == before.data).all()


def test_nothing_is_made_dense():
    # 10**12 elements if it were.
    X = sparse.csr_matrix(([1.0, 2.0], ([0, 10**6 - 1], [5, 10**6 - 1])), shape=(10**6, 10**6))
    net = fm.MLP([10**6, 1])
    before = net.weights[0].copy()
    assert net.predict(X).shape == (10**6,)
    net.fit(X, np.arange(10**6) % 2, epochs=1, batch_size=50_000, lr=1.0)
    changed = np.flatnonzero(net.weights[0] != before)
    assert changed.tolist() == [5, 10**6 - 1]


def test_an_empty_matrix_and_empty_rows():
    X = sparse.csr_matrix((5, 8), dtype=np.float32)
    net = fm.MLP([8, 4, 2])
    assert (net.predict_proba(X) == net.predict_proba(np.zeros((5, 8), np.float32))).all()
    net.fit(X, [0, 1, 0, 1, 0], epochs=1)
    with pytest.raises(ValueError, match=r"^X is empty"):
        net.predict(X[:0])
    with pytest.raises(ValueError, match=r"^x is empty"):
        ops.dense_forward(X[:0], np.ones((8, 2), np.float32))


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP])
def test_bad_values_are_named(cls):
    net = cls([4, 3, 2])
    for value, message in ((np.nan, "all values must be finite"), (1e300, "too large for float32")):
        X = sparse.csr_matrix(([1.0, value], ([0, 2], [1, 3])), shape=(3, 4))
        with pytest.raises(ValueError, match=rf"^X\[2, 3\] is {re.escape(str(value))}: {message}"):
            net.predict(X)
    with pytest.raises(ValueError, match=r"^X has 5 columns, the network takes 4"):
        net.predict(sparse.csr_matrix((2, 5)))
    with pytest.raises(TypeError, match=r"^X must hold real numbers"):
        net.predict(sparse.csr_matrix(np.ones((2, 4), complex)))
    with pytest.raises(TypeError, match=r"^x must be float32 or float64"):
        ops.dense_forward(sparse.csr_matrix(np.ones((2, 4), int)), np.ones((4, 2)))
    with pytest.raises(TypeError, match=r"^w is float64 and x is float32"):
        ops.dense_forward(sparse.csr_matrix(np.ones((2, 4), "f")), np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"^x has shape \(2, 4\)"):
        ops.dense_forward(sparse.csr_matrix(np.ones((2, 4))), np.ones((5, 2)))


def broken(**arrays):
    X = sparse.csr_matrix(np.eye(3))
    for name, values in arrays.items():
        setattr(X, name, np.array(values))
    return X


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (broken(indices=[0, 1, 3]), r"X.indices must be in \[0, 3\)"),
        (broken(indices=[0, -1, 2]), r"X.indices must be in \[0, 3\)"),
        (broken(indptr=[0, 2, 1, 3]), "X.indptr must be 4 ascending numbers from 0"),
        (broken(indptr=[1, 1, 2, 3]), "X.indptr must be 4 ascending numbers from 0"),
        (broken(indptr=[0, 1, 3]), "X.indptr must be 4 ascending numbers from 0"),
        (broken(indptr=[0, 1, 2, 9]), "X.indptr ends at 9"),
        (broken(data=[1.0]), "X.indptr ends at 3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(matrix, message):
    # The engine would go where they point.
    with pytest.raises(ValueError, match=f"^{message}"):
        from_scipy(matrix, "X")


def test_another_thread_that_imports_scipy_is_no_obstacle(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", types.ModuleType("scipy.sparse"))
    assert np.isfinite(fm.MLP([3, 2]).predict_proba(np.ones((4, 3)))).all()
