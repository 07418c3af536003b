"""Bad input: a clear exception that names the argument, and nothing changed."""

import copy
import os

import numpy as np
import pytest

import fastmlp as fm

NAN, INF = float("nan"), float("inf")
HUGE = 10**400


def snapshot(net):
    """Return everything that a failed call must leave as it was."""
    values = [parameter.tobytes() for parameter in (*net.weights, *net.biases)]
    return values, net.epochs_trained, net.trained_on, copy.deepcopy(net.history)


# Construction -------------------------------------------------------------------------------

BAD_NETWORKS = [
    # arguments, keywords, exception, how the message begins
    ((5,), {}, TypeError, "layers must"),
    (("5, 3",), {}, TypeError, "layers must"),
    ((b"53",), {}, TypeError, "layers must"),
    ((None,), {}, TypeError, "layers must"),
    (([],), {}, ValueError, "layers must"),
    (([5],), {}, ValueError, "layers must"),
    (([5, 0],), {}, ValueError, r"layers\[1\] must"),
    (([-5, 3],), {}, ValueError, r"layers\[0\] must"),
    (([5, 3.0],), {}, TypeError, r"layers\[1\] must"),
    (([5, "3"],), {}, TypeError, r"layers\[1\] must"),
    (([5, None],), {}, TypeError, r"layers\[1\] must"),
    (([True, 3],), {}, TypeError, r"layers\[0\] must"),
    (([5, [3]],), {}, TypeError, r"layers\[1\] must"),
    (([5, HUGE],), {}, ValueError, "layers"),
    (([2**29, 2],), {}, ValueError, "layers"),
    (([2, 2**63],), {}, ValueError, "layers"),
    (([10**9, 10**9],), {}, ValueError, "layers"),
    (([2**40, 2**40],), {}, ValueError, "layers"),
    (([1] * 70_000,), {}, ValueError, "layers"),
    (([5, 4, 3], "relu"), {}, TypeError, "activations must"),
    (([5, 4, 3], 1), {}, TypeError, "activations must"),
    (([5, 4, 3], ["relu"]), {}, ValueError, "activations must"),
    (([5, 4, 3], []), {}, ValueError, "activations must"),
    (([5, 4, 3], ["relu"] * 3), {}, ValueError, "activations must"),
    (([5, 4, 3], [None, "relu", "relu", "relu"]), {}, ValueError, "activations must"),
    (([5, 4, 3], ["swish", "softmax"]), {}, ValueError, r"activations\[0\] is 'swish'"),
    (([5, 4, 3], [None, "relu", "soft max"]), {}, ValueError, r"activations\[2\] is 'soft max'"),
    (([5, 4, 3], ["relu", None]), {}, TypeError, r"activations\[1\] must"),
    (([5, 4, 3], ["relu", 3]), {}, TypeError, r"activations\[1\] must"),
    (([5, 4, 3], ["softmax", "relu"]), {}, ValueError, r"activations\[0\] is softmax"),
    (([5, 4, 3], ["relu", "log_softmax"]), {}, ValueError, r"activations\[1\] is 'log_softmax'"),
    (([5, 3],), {"init": "xavier"}, ValueError, "init is 'xavier'"),
    (([5, 3],), {"init": 0}, ValueError, "init must"),
    (([5, 3],), {"init": -0.1}, ValueError, "init must"),
    (([5, 3],), {"init": NAN}, ValueError, "init must"),
    (([5, 3],), {"init": INF}, ValueError, "init must"),
    (([5, 3],), {"init": True}, TypeError, "init must"),
    (([5, 3],), {"init": None}, TypeError, "init must"),
    (([5, 3],), {"init": HUGE}, ValueError, "init must"),
    (([5, 3],), {"init": 1j}, TypeError, "init must"),
    (([5, 3],), {"init": 1e300}, ValueError, r"init is 1e\+300: .* float32"),
    (([5, 3],), {"init": np.float64(2.1e38), "seed": 1}, ValueError, r"init is .* float32"),
    (([50, 30],), {"init": 1e308, "dtype": "float64"}, ValueError, r"init is 1e\+308: .* float64"),
    *(
        (([5, 3],), {"dtype": dtype}, ValueError, "dtype must")
        for dtype in ("float16", "int32", "single!", "", ">f8", "f4,f4", "(,)f4", "(1,f4", "\ud800")
    ),
    *(
        (([5, 3],), {"dtype": dtype}, (TypeError, ValueError), "dtype must")
        for dtype in (np.int64, np.float16, np.longdouble, 5, [1, 2], {"names": ["a"]}, object())
    ),
    (([5, 3],), {"dtype": None}, TypeError, "dtype must"),
    (([5, 3],), {"seed": -1}, ValueError, "seed must"),
    (([5, 3],), {"seed": 2**64}, ValueError, "seed must"),
    (([5, 3],), {"seed": 1.0}, TypeError, "seed must"),
    (([5, 3],), {"seed": None}, TypeError, "seed must"),
    (([5, 3],), {"seed": True}, TypeError, "seed must"),
    (([5, 3],), {"seed": "0"}, TypeError, "seed must"),
]


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])
@pytest.mark.parametrize(
    ("arguments", "keywords", "kind", "words"), BAD_NETWORKS, ids=range(len(BAD_NETWORKS))
)
def test_construction(cls, arguments, keywords, kind, words):
    with pytest.raises(kind, match=rf"^{words}"):
        cls(*arguments, **keywords)


@pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])
def test_calls_that_python_refuses_name_the_class(cls):
    for arguments, keywords in (((), {}), (([5, 3],), {"momentum": 1}), (([5, 3], None, "he"), {})):
        with pytest.raises(TypeError, match=r"^MLP\.__init__\(\) "):
            cls(*arguments, **keywords)
    for method in (cls([5, 3]).fit, cls([5, 3]).predict, cls([5, 3]).evaluate):
        with pytest.raises(TypeError, match=rf"^MLP\.{method.__name__}\(\) "):
            method(momentum=1)


def test_a_network_too_large_for_the_memory_is_refused():
    with pytest.raises(MemoryError):
        fm.MLP([2**28, 2**28])


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (((5, np.int8(3)),), {}),
        ((range(1, 4),), {"activations": (name for name in ("RELU", "SoftMax"))}),
        ((np.array([5, 3]),), {"dtype": np.dtype("f8"), "init": np.float32(0.1)}),
        (([5, 3],), {"init": "HE", "seed": np.uint64(2**64 - 1), "dtype": float}),
    ],
    ids=range(4),
)
def test_unusual_but_good_arguments(arguments, keywords):
    net = fm.MLP(*arguments, **keywords)
    assert all(type(width) is int for width in net.layers)
    assert type(net.seed) is int


# Data ---------------------------------------------------------------------------------------

N, FEATURES, CLASSES = 6, 4, 3
X = np.linspace(-1, 1, N * FEATURES, dtype=np.float32).reshape(N, FEATURES)
Y = np.array([0, 1, 2, 0, 1, 2])
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[Y]


def changed(array, index, value, dtype=None):
    result = np.array(array, dtype=dtype or array.dtype)
    result[index] = value
    return result


BAD_X = [
    (X[0], ValueError, "{X} must have 2 dimensions"),
    (X[None], ValueError, "{X} must have 2 dimensions"),
    (np.float32(1), ValueError, "{X} must have 2 dimensions"),
    ([], ValueError, "{X} must have 2 dimensions"),
    (X[:, :3], ValueError, "{X} has 3 columns, the network takes 4"),
    (np.ones((N, 5)), ValueError, "{X} has 5 columns, the network takes 4"),
    (X.T, ValueError, "{X} has 6 columns, the network takes 4"),
    (np.ones((N, 0)), ValueError, "{X} has 0 columns"),
    (X[:0], ValueError, "{X} is empty"),
    (changed(X, (1, 2), NAN), ValueError, r"{X}\[1, 2\] is nan"),
    (changed(X, (5, 3), INF), ValueError, r"{X}\[5, 3\] is inf"),
    (changed(X, (0, 0), -INF, np.float64), ValueError, r"{X}\[0, 0\] is -inf"),
    (changed(X, (2, 1), 1e39, np.float64), ValueError, r"{X}\[2, 1\] is 1e\+39: too large"),
    (changed(X, (2, 1), NAN, np.float16), ValueError, r"{X}\[2, 1\] is nan"),
    (changed(X, (2, 1), 1e300, np.longdouble), ValueError, r"{X}\[2, 1\] is inf"),
    (X.astype(complex), TypeError, "{X} must hold real numbers"),
    (X.astype(str), TypeError, "{X} must hold real numbers"),
    (X.astype(object), TypeError, "{X} must be a dense array"),
    (X.astype("datetime64[s]"), TypeError, "{X} must hold real numbers"),
    (np.zeros((N, FEATURES), [("a", np.float32)]), TypeError, "{X} must hold real numbers"),
    (np.ma.masked_less(X, 0), TypeError, "{X} is a masked array"),
    ([[1, 2, 3, 4], [1, 2]], TypeError, "{X} cannot be read"),
    (None, TypeError, "{X} must be a dense array"),
    ("X", TypeError, "{X} must hold real numbers"),
    ({"a": 1}, TypeError, "{X} must be a dense array"),
]

# By the output's activation.
BAD_Y = {
    "softmax": [
        (Y[:5], ValueError, "{y} has 5 rows, the samples have 6"),
        (np.append(Y, 0), ValueError, "{y} has 7 rows"),
        (Y[:0], ValueError, "{y} has 0 rows"),
        (np.int64(1), ValueError, "{y} must have one row"),
        (changed(Y, 3, 12), ValueError, r"{y}\[3\] is 12: class indices must be in \[0, 3\)"),
        (changed(Y, 3, 3), ValueError, r"{y}\[3\] is 3"),
        (changed(Y, 5, -1), ValueError, r"{y}\[5\] is -1"),
        (changed(Y, 0, -(2**63)), ValueError, r"{y}\[0\] is -9223372036854775808"),
        (changed(Y, 0, 2**64 - 1, np.uint64), ValueError, r"{y}\[0\] is 18446744073709551615"),
        (changed(Y, 4, 1.5, float), ValueError, r"{y}\[4\] is 1.5: class indices must be whole"),
        (changed(Y, 4, NAN, float), ValueError, r"{y}\[4\] is nan"),
        (changed(Y, 4, INF, np.float32), ValueError, r"{y}\[4\] is inf"),
        (changed(Y, 4, 1e30, float), ValueError, r"{y}\[4\] is 1e\+30"),
        (Y[:, None], ValueError, r"{y} has shape \(6, 1\)"),
        (ONE_HOT[:, :2], ValueError, r"{y} has shape \(6, 2\)"),
        (ONE_HOT[None], ValueError, "{y} has 1 rows"),
        (ONE_HOT[:, None], ValueError, r"{y} has shape \(6, 1, 3\)"),
        (changed(ONE_HOT, (2, 0), 0.5), ValueError, r"{y}\[2\] sums to 1.5"),
        (ONE_HOT * 0, ValueError, r"{y}\[0\] sums to 0"),
        (changed(ONE_HOT, (2, 0), -0.1), ValueError, r"{y}\[2, 0\] is -0.1"),
        (changed(ONE_HOT, (2, 0), 1.1), ValueError, r"{y}\[2, 0\] is 1.1"),
        (changed(ONE_HOT, (2, 0), NAN), ValueError, r"{y}\[2, 0\] is nan"),
        (Y.astype(str), TypeError, "{y} must hold real numbers"),
        (Y.astype(complex), TypeError, "{y} must hold real numbers"),
        (Y.astype(object), TypeError, "{y} must be a dense array"),
        (np.ma.masked_less(Y, 1), TypeError, "{y} is a masked array"),
        (None, TypeError, "{y} must be a dense array"),
    ],
    "sigmoid": [
        (Y, ValueError, r"{y} has shape \(6,\)"),
        (ONE_HOT[:, :2], ValueError, r"{y} has shape \(6, 2\)"),
        (changed(ONE_HOT, (2, 0), 1.001), ValueError, r"{y}\[2, 0\] is 1.001"),
        (changed(ONE_HOT, (2, 0), -(2.0**-30)), ValueError, r"{y}\[2, 0\] is -9.31"),
        (changed(ONE_HOT, (2, 0), NAN), ValueError, r"{y}\[2, 0\] is nan"),
        (ONE_HOT[1:], ValueError, "{y} has 5 rows"),
    ],
    "identity": [
        (Y, ValueError, r"{y} has shape \(6,\)"),
        (ONE_HOT.T, ValueError, "{y} has 3 rows"),
        (changed(ONE_HOT, (2, 0), NAN), ValueError, r"{y}\[2, 0\] is nan"),
        (
            changed(ONE_HOT, (2, 0), 1e39, float),
            ValueError,
            r"{y}\[2, 0\] is 1e\+39: too large for float32",
        ),
        (
            changed(ONE_HOT, (5, 2), -1e300, float),
            ValueError,
            r"{y}\[5, 2\] is -1e\+300: too large for float32",
        ),
        (changed(ONE_HOT, (2, 0), -INF), ValueError, r"{y}\[2, 0\] is -inf"),
        (ONE_HOT.astype(complex), TypeError, "{y} must hold real numbers"),
    ],
}
GOOD_Y = {"softmax": Y, "sigmoid": ONE_HOT, "identity": ONE_HOT}


def trained(cls, output="softmax"):
    net = cls([FEATURES, 5, CLASSES], ["relu", output])
    net.fit(X, GOOD_Y[output], epochs=1)
    return net


CALLS = {
    "fit": lambda net, x, y: net.fit(x, y),
    "evaluate": lambda net, x, y: net.evaluate(x, y),
    "score": lambda net, x, y: net.score(x, y),
    "loss_and_gradients": lambda net, x, y: net.loss_and_gradients(x, y),
}
VALIDATION = {"X": r"validation_data\[0\]", "y": r"validation_data\[1\]"}

engines = pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])


@engines
@pytest.mark.parametrize(("bad", "kind", "words"), BAD_X, ids=range(len(BAD_X)))
def test_features(cls, bad, kind, words):
    net = trained(cls)
    before = snapshot(net)
    words = f"^{words}".replace("{X}", "X")
    calls = {
        **CALLS,
        "predict": lambda net, x, y: net.predict(x),
        "predict_proba": lambda net, x, y: net.predict_proba(x),
    }
    for call in calls.values():
        with pytest.raises(kind, match=words):
            call(net, bad, Y)
    with pytest.raises(kind, match=words.replace("X", VALIDATION["X"], 1)):
        net.fit(X, Y, validation_data=(bad, Y))
    assert snapshot(net) == before


@engines
@pytest.mark.parametrize(
    ("output", "bad", "kind", "words"),
    [(output, *case) for output, cases in BAD_Y.items() for case in cases],
)
def test_targets(cls, output, bad, kind, words):
    net = trained(cls, output)
    before = snapshot(net)
    for call in CALLS.values():
        with pytest.raises(kind, match="^" + words.replace("{y}", "y")):
            call(net, X, bad)
    with pytest.raises(kind, match="^" + words.replace("{y}", VALIDATION["y"])):
        net.fit(X, GOOD_Y[output], validation_data=(X, bad))
    assert snapshot(net) == before


@engines
def test_values_that_only_float64_holds(cls):
    values = X * np.float64(1e300)
    net = cls([FEATURES, CLASSES], dtype="float64")
    assert np.isfinite(net.predict_proba(values)).all()
    with pytest.raises(ValueError, match=r"^X\[0, 0\] is -1e\+300: too large for float32"):
        cls([FEATURES, CLASSES]).predict_proba(values)


@engines
def test_the_largest_values_are_good(cls):
    largest = np.finfo(np.float32).max
    values = changed(X, 0, largest, np.float64)
    values[1] = -largest
    net = cls([FEATURES, CLASSES], init=1e-38)
    assert np.isfinite(net.predict_proba(values)).all()
    # Rounds to the largest float32, though it is larger.
    values[0] = largest * (1 + 2.0**-26)
    assert np.isfinite(net.predict_proba(values)).all()


# A bad value at any place is found, whatever the vector it falls into.
@pytest.mark.parametrize("x_dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_bad_value_at_any_place_is_found(bad, x_dtype, dtype, isa, threads):
    rng = np.random.default_rng(0)
    net = fm.MLP([37, 3], dtype=dtype)
    samples = rng.normal(size=(9001, 37)).astype(x_dtype)
    for row, column in [(0, 0), (0, 36), (4500, 15), (4500, 16), (9000, 31), (9000, 36)]:
        good = samples[row, column]
        samples[row, column] = bad
        with pytest.raises(ValueError, match=rf"^X\[{row}, {column}\] is"):
            net.predict(samples)
        samples[row, column] = good
    net.predict(samples)


# Options of fit -------------------------------------------------------------------------------

BAD_OPTIONS = [
    ({"epochs": 0}, ValueError, "epochs must"),
    ({"epochs": -3}, ValueError, "epochs must"),
    ({"epochs": 1.0}, TypeError, "epochs must"),
    ({"epochs": True}, TypeError, "epochs must"),
    ({"epochs": None}, TypeError, "epochs must"),
    ({"epochs": "2"}, TypeError, "epochs must"),
    ({"batch_size": 0}, ValueError, "batch_size must"),
    ({"batch_size": -1}, ValueError, "batch_size must"),
    ({"batch_size": 32.0}, TypeError, "batch_size must"),
    ({"batch_size": None}, TypeError, "batch_size must"),
    ({"lr": 0}, ValueError, "lr must"),
    ({"lr": -0.1}, ValueError, "lr must"),
    ({"lr": NAN}, ValueError, "lr must"),
    ({"lr": INF}, ValueError, "lr must"),
    ({"lr": HUGE}, ValueError, "lr must"),
    ({"lr": "fast"}, TypeError, "lr must"),
    ({"lr": None}, TypeError, "lr must"),
    ({"lr": True}, TypeError, "lr must"),
    ({"lr": np.array([0.1])}, TypeError, "lr must"),
    ({"shuffle": 1}, TypeError, "shuffle must"),
    ({"shuffle": "yes"}, TypeError, "shuffle must"),
    ({"shuffle": None}, TypeError, "shuffle must"),
    ({"verbose": -1}, ValueError, "verbose must"),
    ({"verbose": 1.5}, TypeError, "verbose must"),
    ({"verbose": "yes"}, TypeError, "verbose must"),
    ({"validation_data": X}, TypeError, "validation_data must"),
    ({"validation_data": (X,)}, ValueError, "validation_data must"),
    ({"validation_data": (X, Y, Y, Y)}, ValueError, "validation_data must"),
    ({"validation_data": (X, Y, -Y)}, ValueError, r"validation_data\[2\]\[1\] is -1"),
    ({"validation_data": 0.2}, TypeError, "validation_data must"),
    ({"callbacks": fm.Callback()}, TypeError, "callbacks must"),
    ({"callbacks": [fm.Callback]}, TypeError, r"callbacks\[0\] must"),
    ({"callbacks": [fm.Callback(), print]}, TypeError, r"callbacks\[1\] must"),
    ({"callbacks": None}, TypeError, "callbacks must"),
]


@engines
@pytest.mark.parametrize(("options", "kind", "words"), BAD_OPTIONS, ids=range(len(BAD_OPTIONS)))
def test_options_of_fit(cls, options, kind, words):
    net = trained(cls)
    before = snapshot(net)
    begun = []

    class Begin(fm.Callback):
        def on_fit_begin(self, net, epochs, n_samples):
            begun.append(net)

    with pytest.raises(kind, match=rf"^{words}"):
        net.fit(X, Y, **{"callbacks": [Begin()], **options})
    assert snapshot(net) == before
    assert not begun


@engines
def test_regression_networks_have_no_probabilities(cls):
    with pytest.raises(ValueError, match=r"^predict_proba needs"):
        cls([4, 3], ["identity"]).predict_proba(X)


# Models, machine ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [None, 1.5, ["model"]])
def test_paths_of_models(path):
    pytest.importorskip("safetensors")
    net = trained(fm.MLP)
    before = snapshot(net)
    for call in (net.save, fm.load):
        with pytest.raises(TypeError, match=r"^path must be a str, bytes or os\.PathLike"):
            call(path)
    assert snapshot(net) == before


@pytest.mark.parametrize("path", ["", b"", "a\0b", b"a\0b"])
def test_names_that_no_file_can_have(path):
    pytest.importorskip("safetensors")
    for call in (trained(fm.MLP).save, fm.load):
        with pytest.raises(ValueError, match=r"^path must be the name of a file, got"):
            call(path)


def test_a_file_descriptor_is_no_path(tmp_path):
    pytest.importorskip("safetensors")
    net = trained(fm.MLP)
    net.save(tmp_path / "model")
    descriptor = os.open(tmp_path / "model", os.O_RDONLY)
    with pytest.raises(TypeError):
        fm.load(descriptor)
    with pytest.raises(TypeError):
        net.save(descriptor)
    os.close(descriptor)  # which fails if it was closed on the way


def test_instruction_sets():
    before = fm.get_isa()
    for name in ("", "avx1024", "AVX2 ", "gener", "generic\0", "é"):
        with pytest.raises(ValueError, match=r"^name is .* this machine can run .*generic"):
            fm.set_isa(name)
    for name in (None, 5, b"generic", ["generic"]):
        with pytest.raises(TypeError, match=r"^name must be a string"):
            fm.set_isa(name)
    assert fm.get_isa() == before


def test_numbers_of_threads():
    fm.set_num_threads(3)
    for n in (0, -1, -(2**40)):
        with pytest.raises(ValueError, match=r"^n must be at least 1"):
            fm.set_num_threads(n)
    for n in (1.0, "2", True, [1], NAN):
        with pytest.raises(TypeError, match=r"^n must be an integer"):
            fm.set_num_threads(n)
    assert fm.get_num_threads() == 3


def test_failed_calls_leave_no_memory_behind():
    """A hundred failures hold no more memory than ten: at most a few blocks differ."""
    import gc
    import tracemalloc

    net = trained(fm.MLP)
    bad = np.full((2000, FEATURES), NAN)

    def fail(times):
        for _ in range(times):
            for call in (lambda: net.fit(bad, np.zeros(2000)), lambda: net.predict(bad)):
                with pytest.raises(ValueError, match="X"):
                    call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first, second = fail(10), fail(100)
    finally:
        tracemalloc.stop()
    assert second - first < 20_000
