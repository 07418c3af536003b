"""The estimators learn what scikit-learn's do, from the same start and without shuffling."""

import io
import re
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is what is compared with")
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from fastmlp import sklearn as estimators

if "loss" not in neural_network.MLPRegressor().get_params():
    pytest.skip("scikit-learn weighs samples from 1.7 on", allow_module_level=True)

N, INPUTS = 230, 7
EPS = float(np.finfo(np.float64).eps)
X = np.random.default_rng(0).normal(size=(N, INPUTS))
RANK = np.argsort(np.argsort(X @ np.arange(INPUTS)))
WEIGHTS = np.random.default_rng(1).random(N) + 0.1
LABELS = {
    "binary": np.array(["no", "yes"])[RANK * 2 // N],
    "multiclass": np.array([30, 10, 20, 7])[RANK * 4 // N],
    "multilabel": (X[:, :3] > 0).astype(int),
}
NUMBERS = {
    "one number": 2 * X[:, 0] - np.sin(X[:, 1]),
    "numbers": np.stack([X[:, 0], X[:, 1] ** 2, X[:, 2] - 3], axis=1),
    "counts": RANK % 5,
    "rows of counts": np.stack([RANK % 5, RANK % 3], axis=1),
}
TARGETS = LABELS | NUMBERS


def pair(kind, **options):
    """Return scikit-learn's estimator and fastmlp's with the same parameters."""
    name = "MLPClassifier" if kind in LABELS else "MLPRegressor"
    if "counts" in kind:
        options["loss"] = "poisson"
    settings = {
        "hidden_layer_sizes": (20, 9),
        "random_state": 3,
        "max_iter": 25,
        "shuffle": False,
        "batch_size": 32,
        "learning_rate_init": 0.01,
        "alpha": 0.3,
        **options,
    }
    return [getattr(module, name)(**settings) for module in (neural_network, estimators)]


def fit(estimator, kind, weights=None, features=X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(features, TARGETS[kind], weights)


def assert_same(theirs, ours, steps, rtol=0.0):
    """Compare all that was fitted.

    Both round each of a step's sums, of N terms with magnitudes near 1 at most. What a step starts
    from is off by what those before it have added, which steps of these rates enlarge but little.
    """
    tolerance = max(rtol, N * steps * EPS)
    assert len(theirs.coefs_) == len(ours.coefs_)
    pairs = [*zip(theirs.coefs_, ours.coefs_, strict=True)]
    pairs += zip(theirs.intercepts_, ours.intercepts_, strict=True)
    for expected, found in pairs:
        assert expected.dtype == found.dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    for name in (
        "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"
    ):  # fmt: skip
        assert hasattr(theirs, name) == hasattr(ours, name), name
        expected, found = getattr(theirs, name, None), getattr(ours, name, None)
        if expected is None:
            assert found is None, name
        else:
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def compare(kind, weights=None, rtol=0.0, **options):
    theirs, ours = (fit(e, kind, weights) for e in pair(kind, **options))
    assert_same(theirs, ours, theirs.n_iter_ * (N // 32 + 1), rtol)
    return theirs, ours


every_kind = pytest.mark.parametrize("kind", TARGETS)
with_and_without_weights = pytest.mark.parametrize(
    "weights", [None, WEIGHTS], ids=["plain", "weighted"]
)


@every_kind
@with_and_without_weights
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early"])
def test_batches_teach_the_same(kind, weights, solver, early_stopping):
    compare(kind, weights, solver=solver, early_stopping=early_stopping)


@every_kind
@with_and_without_weights
def test_lbfgs_finds_the_same(kind, weights):
    # A line search that a rounding decides otherwise ends somewhere else: few iterations.
    _, ours = compare(kind, weights, rtol=1e-7, solver="lbfgs", max_iter=10)
    assert ours.n_iter_ == 10


def test_lbfgs_converges_to_the_same_minimum():
    # A convex problem: what is left differs by the root of the tolerance of the gradient.
    theirs, ours = (
        fit(e, "multiclass") for e in pair("multiclass", solver="lbfgs", hidden_layer_sizes=(),
                                           max_iter=1000, tol=1e-10)
    )  # fmt: skip
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=0, atol=1e-6)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-12)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sizes", [(), 5, (6, 5, 4)], ids=str)
def test_activations_and_sizes(activation, sizes):
    compare("multiclass", activation=activation, hidden_layer_sizes=sizes, max_iter=6)


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.5},
        {"momentum": 0.0},
        {"momentum": 1, "max_iter": 3},
        {"max_iter": True},
        {"momentum": 0.8, "nesterovs_momentum": False},
        {"learning_rate": "invscaling", "power_t": 0.3},
        {"learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2, "max_iter": 60},
        {
            "learning_rate": "adaptive",
            "tol": 0.05,
            "n_iter_no_change": 2,
            "max_iter": 60,
            "early_stopping": True,
        },
        {"alpha": 0.0},
        {"batch_size": "auto"},
        {"batch_size": 1, "max_iter": 3},
        {"tol": 0.02, "n_iter_no_change": 3, "max_iter": 80},
        {"tol": 0.02, "n_iter_no_change": 3, "max_iter": 80, "early_stopping": True},
        {"n_iter_no_change": np.inf},
        {"early_stopping": True, "validation_fraction": 0.4},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["binary", "numbers"])
def test_the_options_of_sgd(kind, options):
    compare(kind, solver="sgd", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 1.0},
        {"learning_rate": "adaptive"},
        {"learning_rate": "invscaling"},
        {"tol": 0.02, "n_iter_no_change": 3, "max_iter": 80},
        {"batch_size": N, "alpha": 10.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["multilabel", "one number"])
def test_the_options_of_adam(kind, options):
    compare(kind, solver="adam", **options)


@every_kind
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_the_same_random_state_starts_with_the_same_weights(kind, solver):
    theirs, ours = pair(kind, solver=solver, learning_rate_init=1e-300, max_iter=1, alpha=0.0)
    ours.set_params(tol=1e300)
    theirs.set_params(tol=1e300)
    for random_state in (0, np.random.RandomState(5)):
        for estimator in (theirs, ours):
            estimator.set_params(random_state=random_state)
        state = random_state.get_state() if random_state else None
        expected = fit(theirs, kind).coefs_
        if random_state:
            random_state.set_state(state)
        for a, b in zip(expected, fit(ours, kind).coefs_, strict=True):
            if solver == "lbfgs":
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
            else:
                np.testing.assert_array_equal(a, b)


@every_kind
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fits(kind, solver):
    theirs, ours = pair(kind, solver=solver)
    for estimator in (theirs, ours):
        for begin in (0, 100, 150, 20):
            rows = slice(begin, begin + 80)
            classes = {"classes": np.unique(TARGETS[kind])} if kind in LABELS else {}
            if kind == "multilabel":
                classes = {"classes": [0, 1, 2]}
            first = {} if hasattr(estimator, "coefs_") else classes
            estimator.partial_fit(X[rows], TARGETS[kind][rows], WEIGHTS[rows], **first)
    assert_same(theirs, ours, 16)
    assert len(ours.loss_curve_) == 4


@pytest.mark.parametrize("rule", ["invscaling", "adaptive"])
def test_the_rate_goes_on_from_one_partial_fit_to_the_next(rule):
    theirs, ours = pair(
        "one number", solver="sgd", learning_rate=rule, tol=0.5, n_iter_no_change=1, max_iter=4
    )
    for estimator in (theirs, ours):
        for _ in range(2):
            for _ in range(8):
                estimator.partial_fit(X, NUMBERS["one number"])
            fit(estimator, "one number")
    assert_same(theirs, ours, 170)
    ours.partial_fit(X, NUMBERS["one number"])
    before = [w.copy() for w in ours.coefs_]
    ours.set_params(learning_rate_init=1e-300, momentum=0.0).partial_fit(X, NUMBERS["one number"])
    for a, b in zip(before, ours.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early"])
def test_one_random_state_for_several_fits(solver, early_stopping):
    theirs, ours = pair("binary", solver=solver, max_iter=2, early_stopping=early_stopping)
    for estimator in (theirs, ours):
        estimator.set_params(random_state=np.random.RandomState(4))
        for _ in range(3):
            fit(estimator, "binary")
    assert_same(theirs, ours, 20, rtol=1e-9)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("kind", ["multiclass", "one number"])
def test_an_activation_that_is_changed_between_warm_starts(solver, kind):
    theirs, ours = pair(kind, solver=solver, warm_start=True, max_iter=4)
    for activation in ("relu", "tanh", "logistic"):
        for estimator in (theirs, ours):
            fit(estimator.set_params(activation=activation), kind)
            if solver != "lbfgs":
                estimator.partial_fit(X, TARGETS[kind])
        assert_same(theirs, ours, 150, rtol=1e-6 if solver == "lbfgs" else 0)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_labels_that_are_all_the_same(solver):
    for labels in (np.zeros(N, int), np.full(N, "a")):
        theirs, ours = pair("binary", solver=solver, max_iter=3, early_stopping=True)
        for estimator in (theirs, ours):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                estimator.fit(X, labels)
        assert_same(theirs, ours, 30, rtol=1e-9)
        np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_a_sparse_indicator_matrix(solver):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy makes the matrix")
    theirs, ours = pair("multilabel", solver=solver, max_iter=3)
    for estimator in (theirs, ours):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(X, sparse.csr_matrix(LABELS["multilabel"]))
    assert_same(theirs, ours, 30, rtol=1e-9)
    expected, found = theirs.predict(X), ours.predict(X)
    assert type(expected) is type(found)
    np.testing.assert_array_equal(expected.toarray(), found.toarray())


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("kind", ["binary", "one number"])
def test_warm_starts(solver, kind):
    theirs, ours = pair(kind, solver=solver, warm_start=True, max_iter=6)
    for _ in range(3):
        fit(theirs, kind)
        fit(ours, kind)
        assert_same(theirs, ours, 200, rtol=1e-6 if solver == "lbfgs" else 0)


@pytest.mark.parametrize("kind", ["binary", "one number"])
def test_a_warm_start_never_loses_the_best_weights(kind):
    """In scikit-learn's estimators they are overwritten by the next fit, which starts from them."""
    theirs, ours = pair(kind, warm_start=True, max_iter=3, early_stopping=True)
    fit(theirs, kind)
    assert_same(theirs, fit(ours, kind), 30)
    for _ in range(6):
        before, best = [w.copy() for w in ours.coefs_], ours.best_validation_score_
        fit(ours, kind)
        assert ours.best_validation_score_ == max(best, *ours.validation_scores_)
        changed = any((a != b).any() for a, b in zip(before, ours.coefs_, strict=True))
        assert changed == (ours.best_validation_score_ > best)


def test_a_fit_after_partial_fits():
    theirs, ours = pair("binary")
    for estimator in (theirs, ours):
        estimator.partial_fit(X, LABELS["binary"], classes=["no", "yes"])
        fit(estimator, "binary").partial_fit(X[:50], LABELS["binary"][:50])
    assert_same(theirs, ours, 300)


@every_kind
def test_predictions(kind):
    theirs, ours = compare(kind, max_iter=10)
    expected, found = theirs.predict(X), ours.predict(X)
    assert (expected.shape, expected.dtype) == (found.shape, found.dtype)
    if kind in LABELS:
        np.testing.assert_array_equal(found, expected)
        for name in ("predict_proba", "predict_log_proba"):
            a, b = getattr(theirs, name)(X), getattr(ours, name)(X)
            assert a.dtype == b.dtype
            np.testing.assert_allclose(b, a, rtol=0, atol=1e-10)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert ours.score(X, TARGETS[kind], WEIGHTS) == pytest.approx(
        theirs.score(X, TARGETS[kind], WEIGHTS), rel=1e-10
    )


@every_kind
@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_fitted_estimators_of_scikit_learn_can_be_brought(kind, options):
    theirs, fresh = pair(kind, max_iter=5, warm_start=True, **options)
    cls = type(fresh)
    fit(theirs, kind)
    ours = cls.from_sklearn(theirs)
    assert type(ours) is cls
    assert ours.get_params().items() >= theirs.get_params().items()
    assert_same(theirs, ours, 1)
    if kind in LABELS:
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=0, atol=1e-12)
    before = ours.loss_
    fit(ours, kind)
    assert ours.loss_ < before


def test_only_fitted_estimators_of_the_kind_can_be_brought():
    from sklearn.exceptions import NotFittedError

    theirs, ours = pair("binary")
    with pytest.raises(NotFittedError, match="MLPClassifier"):
        type(ours).from_sklearn(theirs)
    with pytest.raises(TypeError, match="estimator must be scikit-learn's MLPRegressor, got MLPCl"):
        estimators.MLPRegressor.from_sklearn(fit(theirs, "binary"))


@pytest.mark.parametrize("kind", ["multiclass", "numbers"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_float32_stays_float32_where_scikit_learns_does(kind, solver):
    theirs, ours = (
        fit(e, kind, features=X.astype(np.float32)) for e in pair(kind, solver=solver, max_iter=5)
    )
    for a, b in zip(theirs.coefs_, ours.coefs_, strict=True):
        assert a.dtype == b.dtype == (np.float64 if solver == "lbfgs" else np.float32)
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-4)


def test_sparse_rows_teach_what_dense_ones_do():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy makes the matrix")
    thin = np.where(X > 0.5, X, 0)
    for solver in ("sgd", "adam", "lbfgs"):
        for early in (False, True):
            theirs, ours = pair("multiclass", solver=solver, early_stopping=early, max_iter=5)
            for form in (sparse.csr_matrix, sparse.csc_matrix):
                fit(theirs, "multiclass", features=form(thin))
                fit(ours, "multiclass", features=form(thin))
                assert_same(theirs, ours, 40, rtol=1e-9)
                np.testing.assert_array_equal(theirs.predict(form(thin)), ours.predict(form(thin)))


@pytest.mark.parametrize(
    "options",
    [
        {"tol": 0.02, "n_iter_no_change": 2},
        {"tol": 0.02, "n_iter_no_change": 2, "early_stopping": True},
        {"tol": 0.1, "n_iter_no_change": 1, "learning_rate": "adaptive"},
    ],
    ids=str,
)
def test_what_verbose_prints(options):
    texts = []
    for estimator in pair("binary", solver="sgd", verbose=True, max_iter=40, **options):
        printed = io.StringIO()
        with redirect_stdout(printed):
            fit(estimator, "binary")
        # The last digits may round to either side.
        texts.append(re.sub(r"\d(?=\n)", "", printed.getvalue()))
    assert texts[0] == texts[1]
    assert "Iteration 1, loss = " in texts[1]


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(N) % 2 == 0,
        np.arange(N) % 5 - 2,
        (np.arange(N) % 3).astype(np.uint8),
        np.arange(N).astype(str),
        np.arange(N) // 2,
        np.arange(N) // 3,
        np.arange(N) % 4 / 1.0,
        np.array(["b", "a"], object)[np.arange(N) % 2],
        np.zeros(N, int),
        np.array([1, 0])[np.arange(2)],
    ],
    ids=["bool", "int", "uint8", "all others", "half", "third", "float", "object", "one", "two"],
)
def test_what_is_learned_of_labels(labels):
    found = []
    for estimator in pair("binary", max_iter=1, batch_size="auto"):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            estimator.fit(X[: len(labels)], labels)
        binarizer = vars(estimator._label_binarizer)
        found.append((binarizer, [str(w.message) for w in told], estimator.loss_))
    theirs, ours = found
    assert theirs[0].keys() == ours[0].keys()
    classes = [binarizer.pop("classes_") for binarizer, *_ in found]
    assert classes[0].dtype == classes[1].dtype
    np.testing.assert_array_equal(*classes)
    assert theirs[:2] == ours[:2]
    assert theirs[2] == pytest.approx(ours[2], rel=1e-12)
