"""The estimators as scikit-learn's tools use them: its own checks, pipelines, searches, copies."""

import copy
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is what the estimators are for")
import sklearn
from sklearn import neural_network
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp as fm
from fastmlp.sklearn import MLPClassifier, MLPRegressor

BOTH = pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])

N = 120
X = np.random.default_rng(0).normal(size=(N, 5))
Y = {
    MLPClassifier: np.array(["low", "mid", "top"])[np.digitize(X @ np.arange(5), [-2, 2])],
    MLPRegressor: X @ np.arange(5),
}


@pytest.fixture(autouse=True)
def no_convergence_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def small(cls, **options):
    """Return an estimator that is fitted at once."""
    return cls(**{"hidden_layer_sizes": (9,), "max_iter": 8, "random_state": 0, **options})


@parametrize_with_checks(
    [
        MLPClassifier(),
        MLPRegressor(),
        # The settings with which scikit-learn checks its own.
        MLPClassifier(max_iter=100),
        MLPRegressor(max_iter=100),
        MLPRegressor(solver="lbfgs"),
        # Others with which those pass them.
        MLPClassifier(solver="lbfgs", max_iter=30),
        MLPClassifier(solver="sgd", learning_rate_init=0.1),
        MLPRegressor(solver="sgd"),
        MLPClassifier(optimizer="adamw", activation="gelu"),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# The interface --------------------------------------------------------------------------------


@BOTH
def test_scikit_learns_parameters_come_first_with_its_defaults(cls):
    import inspect

    theirs = inspect.signature(getattr(neural_network, cls.__name__)).parameters
    if cls is MLPRegressor and "loss" not in theirs:
        pytest.skip("this scikit-learn has no losses for regressors")
    ours = inspect.signature(cls).parameters
    shared = {name: ours[name] for name in theirs if name in ours}
    for name, parameter in shared.items():
        assert parameter.default == theirs[name].default, name
        assert parameter.kind == theirs[name].kind, name
    assert list(ours)[: len(theirs)] == list(theirs)
    later = list(ours.values())[len(theirs) :]
    assert all(parameter.kind == inspect.Parameter.KEYWORD_ONLY for parameter in later)


@BOTH
def test_everything_that_scikit_learns_has_is_there(cls):
    theirs = getattr(neural_network, cls.__name__)(max_iter=2).fit(X, Y[cls])
    ours = cls(max_iter=2).fit(X, Y[cls])
    for name in dir(theirs):
        if not name.startswith("_"):
            assert hasattr(ours, name), name
    assert is_classifier(ours) == is_classifier(theirs)
    assert is_regressor(ours) == is_regressor(theirs)


@BOTH
def test_parameters_of_every_kind_are_checked(cls):
    for bad in (
        {"activation": "softplus?"},
        {"solver": "newton"},
        {"alpha": -1.0},
        {"optimizer": "momentum"},
        {"dtype": "float16"},
        {"loss": "hinge"},
    ):
        with pytest.raises(ValueError, match=f"The '{next(iter(bad))}' parameter"):
            small(cls, **bad).fit(X, Y[cls])
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be > 0, got \[3, 0\]"):
        small(cls, hidden_layer_sizes=(3, 0)).fit(X, Y[cls])


@BOTH
def test_an_estimator_must_be_fitted(cls):
    estimator = small(cls)
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    for name in ("coefs_", "intercepts_", "network_"):
        assert not hasattr(estimator, name)
    with pytest.raises(AttributeError, match="has no attribute 'coefs_'"):
        estimator.coefs_ = []


@BOTH
def test_only_batches_can_be_fitted_in_parts(cls):
    assert hasattr(small(cls), "partial_fit")
    lbfgs = small(cls, solver="lbfgs")
    assert not hasattr(lbfgs, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit"):
        lbfgs.partial_fit(X, Y[cls])
    classes = {"classes": np.unique(Y[cls])} if cls is MLPClassifier else {}
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        small(cls, early_stopping=True).partial_fit(X, Y[cls], **classes)


def test_labels_that_were_not_announced():
    classifier = small(MLPClassifier).partial_fit(
        X, Y[MLPClassifier], classes=["low", "mid", "top"]
    )
    with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`"):
        classifier.partial_fit(X[:2], ["low", "other"])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        small(MLPClassifier).partial_fit(X, Y[MLPClassifier])
    warm = small(MLPClassifier, warm_start=True).fit(X, Y[MLPClassifier])
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
        warm.fit(X[:3], ["low", "mid", "low"])


@BOTH
def test_a_warm_start_keeps_its_layers(cls):
    estimator = small(cls, warm_start=True).fit(X, Y[cls])
    before = [w.copy() for w in estimator.coefs_]
    with pytest.raises(ValueError, match=r"hidden_layer_sizes is \[4\], the network .* has \[9\]"):
        estimator.set_params(hidden_layer_sizes=4).fit(X, Y[cls])
    for old, new in zip(before, estimator.coefs_, strict=True):
        np.testing.assert_array_equal(old, new)


@BOTH
def test_the_end_of_the_iterations_is_told(cls):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        small(cls, max_iter=3).fit(X, Y[cls])
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
        small(cls, max_iter=3, solver="lbfgs").fit(X, Y[cls])
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
        small(cls, batch_size=N + 1).fit(X, Y[cls])


def test_a_validation_set_of_one_is_too_small():
    with pytest.raises(ValueError, match="The validation set is too small"):
        small(MLPRegressor, early_stopping=True, validation_fraction=1e-3).fit(X, Y[MLPRegressor])


def test_a_fit_that_diverges_says_so():
    regressor = small(MLPRegressor, solver="sgd", learning_rate_init=1e9, max_iter=50)
    words = "Solver produced non-finite parameter weights.* try an lr below 1e\\+09"
    with pytest.raises(ValueError, match=words):
        regressor.fit(X, Y[MLPRegressor])


@BOTH
def test_ctrl_c_keeps_what_was_learned(cls, monkeypatch):
    class Interrupt(fm.Callback):
        def on_epoch_end(self, net, history):
            if len(history) == 3:
                raise KeyboardInterrupt

    estimator = small(cls, callbacks=[Interrupt()])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator.fit(X, Y[cls])
    assert len(estimator.history_) == 3
    assert np.isfinite(estimator.score(X, Y[cls]))


# Data of all kinds ----------------------------------------------------------------------------


def test_labels_of_all_kinds():
    rank = np.argsort(np.argsort(X @ np.arange(5)))
    for labels in (
        rank % 2 == 0,
        np.array([-5, 7])[rank * 2 // N],
        np.array([1.0, 2.0])[rank * 2 // N],
        np.array(["a", "b", "c"], object)[rank * 3 // N],
        np.zeros(N, int),
        (X[:, :3] > 0).astype(int),
        np.ones((N, 1), int),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sklearn.exceptions.DataConversionWarning)
            theirs = neural_network.MLPClassifier((9,), max_iter=30, random_state=0).fit(X, labels)
            ours = small(MLPClassifier, max_iter=30).fit(X, labels)
        np.testing.assert_array_equal(theirs.classes_, ours.classes_)
        assert theirs.predict_proba(X).shape == ours.predict_proba(X).shape
        expected, found = theirs.predict(X), ours.predict(X)
        assert (expected.shape, expected.dtype) == (found.shape, found.dtype)
        assert np.isin(found, np.unique(labels)).all()


def test_features_of_all_kinds():
    classifier = small(MLPClassifier).fit(X, Y[MLPClassifier])
    expected = classifier.predict_proba(X)
    for other in (
        np.asfortranarray(X), X[::-1][::-1], X.tolist(), X.astype(object), X.astype(">f8"),
        np.hstack([X, X])[:, :5],
    ):  # fmt: skip
        np.testing.assert_allclose(classifier.predict_proba(other), expected, rtol=0, atol=1e-14)
    whole = np.round(10 * X).astype(int)
    counts = np.abs(whole).astype(np.uint8)
    for numbers in (whole, counts):
        np.testing.assert_array_equal(
            classifier.predict_proba(numbers), classifier.predict_proba(numbers.astype(float))
        )
        fitted = small(MLPClassifier).fit(numbers, Y[MLPClassifier])
        again = small(MLPClassifier).fit(numbers.astype(float), Y[MLPClassifier])
        np.testing.assert_array_equal(fitted.coefs_[0], again.coefs_[0])


@BOTH
def test_bad_features_are_told_in_scikit_learns_words(cls):
    estimator = small(cls).fit(X, Y[cls])
    for bad, words in (
        (np.full((2, 5), np.nan), "Input X contains NaN"),
        (np.full((1, 5), np.inf), "Input X contains infinity"),
        (X[:, :4], r"X has 4 features, but \w+ is expecting 5 features as input"),
        (X[0], "Expected 2D array, got 1D array instead"),
        (X[:0], "Found array with 0 sample"),
    ):
        with pytest.raises(ValueError, match=words):
            estimator.predict(bad)
        if "features" not in words:
            with pytest.raises(ValueError, match=words):
                small(cls).fit(bad, Y[cls][: len(bad)] if len(bad) else Y[cls])


@BOTH
def test_names_of_features(cls):
    pandas = pytest.importorskip("pandas", reason="pandas names features")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    y = pandas.Series(Y[cls])
    estimator = small(cls).fit(frame, y)
    assert estimator.feature_names_in_.tolist() == list("abcde")
    np.testing.assert_array_equal(estimator.coefs_[0], small(cls).fit(X, Y[cls]).coefs_[0])
    expected = estimator.predict(frame)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(estimator.predict(X), expected)
    with pytest.raises(ValueError, match="The feature names should match"):
        estimator.predict(frame[["b", "a", "c", "d", "e"]])
    named = small(cls).fit(X, Y[cls])
    with pytest.warns(UserWarning, match="X has feature names, but"):
        named.predict(frame)


def test_frames_of_polars():
    polars = pytest.importorskip("polars", reason="polars makes the frame")
    frame = polars.DataFrame(X, schema=list("abcde"))
    y = polars.Series(Y[MLPClassifier])
    classifier = small(MLPClassifier).fit(frame, y)
    if hasattr(StandardScaler().fit(frame), "feature_names_in_"):
        assert classifier.feature_names_in_.tolist() == list("abcde")
    np.testing.assert_array_equal(
        classifier.predict(frame), small(MLPClassifier).fit(X, Y[MLPClassifier]).predict(X)
    )


@BOTH
def test_plain_arrays_need_no_general_checks(cls, monkeypatch):
    """They take scikit-learn a hundred microseconds, thirty times as long as a row takes."""
    from fastmlp.sklearn import base

    def unwanted(*arguments, **options):
        raise AssertionError("the general checks ran")

    for dtype in (np.float32, np.float64):
        features = X.astype(dtype)
        estimator = small(cls).fit(features, Y[cls])
        expected = estimator.predict(features)
        with monkeypatch.context() as patch:
            patch.setattr(base, "validate_data", unwanted)
            patch.setattr(base, "check_is_fitted", unwanted)
            np.testing.assert_array_equal(estimator.predict(features[:1]), expected[:1])
            if cls is MLPClassifier:
                estimator.predict_proba(features[:1])
            with pytest.raises(AssertionError, match="general checks"):
                estimator.predict(features[:1].tolist())


# Within scikit-learn's tools -------------------------------------------------------------------


@BOTH
def test_names_of_parameters(cls):
    names = cls._get_param_names()
    assert names == sorted(names)
    assert {"alpha", "dropout", "hidden_layer_sizes"} <= set(names)
    names.append("another")
    assert "another" not in cls._get_param_names()

    class Narrow(cls):
        def __init__(self, alpha=0.5):
            super().__init__(alpha=alpha)

    assert Narrow().get_params() == {"alpha": 0.5}


@BOTH
def test_pipelines_searches_and_clones(cls):
    pipe = make_pipeline(StandardScaler(), small(cls)).set_output(transform="pandas")
    pytest.importorskip("pandas", reason="the scaler hands on a frame")
    assert np.isfinite(cross_val_score(pipe, X, Y[cls], cv=3)).all()
    name = cls.__name__.lower()
    search = GridSearchCV(pipe, {f"{name}__alpha": [1e-4, 1.0]}, cv=2).fit(X, Y[cls])
    assert search.best_estimator_[-1].feature_names_in_.shape == (5,)
    estimator = small(cls, callbacks=[fm.Callback()], activation=["tanh"], dtype="float32")
    copied = clone(estimator)
    assert copied.get_params().keys() == estimator.get_params().keys()
    assert (copied.activation, copied.dtype) == (["tanh"], "float32")
    assert not hasattr(clone(estimator.fit(X, Y[cls])), "network_")
    options = {"hidden_layer_sizes": (9,), "max_iter": 8, "random_state": 0, "alpha": 0.5}
    assert repr(small(cls, alpha=0.5)) == repr(getattr(neural_network, cls.__name__)(**options))


def threads_in_use(_estimator, _X, _y):
    return fm.get_num_threads()


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_models_of_a_search_in_processes_share_the_cores(backend):
    joblib = pytest.importorskip("joblib", reason="scikit-learn runs its processes by joblib")
    n_jobs = 2
    with joblib.parallel_backend(backend, n_jobs=n_jobs):
        threads = cross_val_score(small(MLPRegressor), X, Y[MLPRegressor], cv=2,
                                  scoring=threads_in_use)  # fmt: skip
    each = 1 if backend == "multiprocessing" else max(1, joblib.cpu_count() // n_jobs)
    assert threads.tolist() == [each] * 2


@pytest.mark.parametrize(
    ("backend", "n_jobs"), [("loky", None), ("loky", 2), ("threading", 2), ("threading", 3)]
)
def test_a_search_finds_the_same_in_any_number_of_workers(backend, n_jobs):
    joblib = pytest.importorskip("joblib", reason="scikit-learn runs its workers by joblib")
    search = GridSearchCV(
        small(MLPClassifier), {"alpha": [1e-3, 0.1], "solver": ["adam", "sgd"]}, cv=2, n_jobs=n_jobs
    )
    with joblib.parallel_config(backend):
        search.fit(X, Y[MLPClassifier])
    alone = small(MLPClassifier, **search.best_params_).fit(X, Y[MLPClassifier])
    for a, b in zip(search.best_estimator_.coefs_, alone.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_columns_of_labels():
    columns = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
    several = MultiOutputClassifier(small(MLPClassifier)).fit(X, columns)
    assert several.predict(X).shape == (N, 2)


@BOTH
def test_copies_and_pickles_predict_the_same(cls):
    estimator = small(cls).fit(X, Y[cls])
    for other in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        np.testing.assert_array_equal(other.predict(X), estimator.predict(X))
        other.coefs_[0][:] = 0
        assert estimator.coefs_[0].any()
        classes = {}
        other.partial_fit(X, Y[cls], **classes)
        assert other.t_ == estimator.t_ + N


@BOTH
def test_metadata_is_routed(cls):
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = small(cls, early_stopping=True).set_fit_request(
            sample_weight=True, X_val=True, y_val=True
        )
        pipe = Pipeline(
            [("scale", StandardScaler().set_fit_request(sample_weight=False)), ("net", estimator)],
            transform_input=["X_val"],
        )
        weights = np.arange(1.0, N + 1)
        pipe.fit(10 * X, Y[cls], sample_weight=weights, X_val=10 * X[:30], y_val=Y[cls][:30])
        scaled = StandardScaler().fit_transform(10 * X)
        alone = small(cls, early_stopping=True)
        alone.fit(scaled, Y[cls], weights, validation_data=(scaled[:30], Y[cls][:30]))
        for a, b in zip(alone.coefs_, pipe[-1].coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
        assert alone.validation_scores_ == pipe[-1].validation_scores_


# The parameters -------------------------------------------------------------------------------


@BOTH
def test_parameters_can_be_changed_in_place(cls):
    estimator = small(cls).fit(X, Y[cls])
    net = estimator.network_
    assert isinstance(estimator.coefs_, list)
    assert [w.shape for w in estimator.coefs_] == [(5, 9), (9, net.n_outputs)]
    for change in (
        lambda: estimator.coefs_[1].__setitem__(slice(None), 0),
        lambda: estimator.coefs_.__setitem__(1, np.zeros((9, net.n_outputs))),
        lambda: estimator.coefs_.__setitem__(slice(1, 2), [np.zeros((9, net.n_outputs))]),
        lambda: setattr(estimator, "coefs_", [net.weights[0], np.zeros((9, net.n_outputs))]),
    ):
        net.weights[1][...] = 1
        change()
        assert not net.weights[1].any()
        assert net.weights[0].any()
    estimator.intercepts_ = [np.zeros(9), np.arange(1.0, net.n_outputs + 1)]
    np.testing.assert_array_equal(net.biases[1], np.arange(1, net.n_outputs + 1))
    if cls is MLPRegressor:
        np.testing.assert_array_equal(estimator.predict(X), np.ones(N))
    for bad, words in (
        (lambda: estimator.coefs_.__setitem__(0, np.zeros((4, 9))), r"\[0\] has shape \(4, 9\)"),
        (lambda: setattr(estimator, "coefs_", [0]), "coefs_ has 2 layers, got 1"),
        (lambda: setattr(estimator, "intercepts_", [[0], [0]]), r"intercepts_\[0\] has shape"),
        (lambda: estimator.coefs_.__setitem__(slice(None), [0]), "1 arrays cannot"),
    ):
        with pytest.raises(ValueError, match=words):
            bad()
    copied = copy.deepcopy(estimator.coefs_)
    assert type(copied) is list
    copied[0][:] = 7
    assert not (net.weights[0] == 7).any()


def test_the_network_is_at_hand(tmp_path):
    classifier = small(MLPClassifier).fit(X, Y[MLPClassifier])
    pytest.importorskip("safetensors", reason="the file's format")
    classifier.network_.save(tmp_path / "net.safetensors")
    net = fm.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(net.predict_proba(X), classifier.predict_proba(X))
    assert net.history is None
    assert classifier.history_ is classifier.network_.history


MISSING = """
import sys
import fastmlp
assert "sklearn" not in sys.modules
for name in [n for n in sys.modules if n.startswith("sklearn")]:
    del sys.modules[name]
sys.modules["sklearn"] = None
try:
    from fastmlp.sklearn import MLPClassifier
except ModuleNotFoundError as error:
    print(error)
"""


def test_without_scikit_learn_it_is_asked_for(run_python):
    assert run_python(MISSING) == (
        "fastmlp.sklearn needs scikit-learn: pip install 'fastmlp[sklearn]'\n"
    )
