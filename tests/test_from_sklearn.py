"""Networks that scikit-learn fitted: what they predict, and what is refused."""

import warnings

import numpy as np
import pytest

import fastmlp as fm

pytest.importorskip("sklearn", reason="scikit-learn is what is converted from")
from rounding import assert_same_output
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

N, INPUTS = 120, 7
X = np.random.default_rng(0).normal(size=(N, INPUTS))
RANK = np.argsort(np.argsort(X @ np.arange(INPUTS)))
TARGETS = {
    "binary": np.array(["no", "yes"])[RANK * 2 // N],
    "multiclass": np.array(["few", "many", "none", "some"])[RANK * 4 // N],
    "integers": np.array([30, 10, 20])[RANK * 3 // N],
    "multilabel": (X[:, :3] > 0).astype(int),
    "one number": X[:, 0] - X[:, 1],
    "numbers": np.sin(X[:, :2]),
    "counts": RANK % 5,
}


def fitted(kind, dtype="float64", **options):
    """Return an estimator of one of `TARGETS` after some iterations, and its X."""
    if kind == "counts":
        options["loss"] = "poisson"
    regression = kind in ("one number", "numbers", "counts")
    estimator = (MLPRegressor if regression else MLPClassifier)(
        **{
            "hidden_layer_sizes": (20, 9),
            "max_iter": 15,
            "random_state": 1,
            "learning_rate_init": 0.01,
            **options,
        }
    )
    features = X.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(features, TARGETS[kind]), features


def has_poisson():
    return "loss" in MLPRegressor().get_params()


def outputs(estimator, features):
    """Return what the last layer of an estimator puts out, (n, n_outputs)."""
    if isinstance(estimator, MLPRegressor):
        return estimator.predict(features).reshape(len(features), -1)
    probabilities = estimator.predict_proba(features)
    return probabilities[:, 1:] if estimator.n_outputs_ == 1 else probabilities


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_the_network_predicts_what_the_estimator_does(kind, activation, dtype):
    if kind == "counts" and not has_poisson():
        pytest.skip("this scikit-learn has no Poisson loss")
    estimator, features = fitted(kind, dtype, activation=activation)
    net = fm.from_sklearn(estimator)
    assert type(net) is fm.MLP
    assert net.dtype == estimator.coefs_[0].dtype == dtype
    assert_same_output(net, features, net._output(features), outputs(estimator, features))

    expected, found = estimator.predict(features), net.predict(features)
    if kind in ("binary", "multiclass", "integers"):
        assert np.unique(expected).size > 1
        np.testing.assert_array_equal(estimator.classes_[found], expected)
    elif kind == "multilabel":
        np.testing.assert_array_equal(found, expected)
    else:
        assert found.shape == expected.shape


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"hidden_layer_sizes": ()}, (7, 4)),
        ({"hidden_layer_sizes": 5}, (7, 5, 4)),
        ({"solver": "lbfgs", "max_iter": 4}, (7, 20, 9, 4)),
        ({"solver": "sgd"}, (7, 20, 9, 4)),
        ({"early_stopping": True}, (7, 20, 9, 4)),
    ],
)
def test_however_the_estimator_was_fitted(options, layers):
    estimator, features = fitted("multiclass", **options)
    net = fm.from_sklearn(estimator)
    assert net.layers == layers
    assert_same_output(net, features, net.predict_proba(features), outputs(estimator, features))


@pytest.mark.parametrize(
    ("kind", "output", "loss"),
    [
        ("binary", "sigmoid", fm.losses.BinaryCrossEntropy()),
        ("multiclass", "softmax", fm.losses.CrossEntropy()),
        ("numbers", "identity", fm.losses.MeanSquaredError()),
    ],
)
def test_training_goes_on_in_the_network_alone(kind, output, loss, tmp_path):
    estimator, features = fitted(kind)
    before = [w.copy() for w in estimator.coefs_]
    net = fm.from_sklearn(estimator)
    assert (net.activations, net.loss) == (("relu", "relu", output), loss)
    assert (net.trained_on, net.epochs_trained, net.history) == ("float64", 0, None)
    y = TARGETS[kind]
    y = y if kind == "numbers" else np.searchsorted(estimator.classes_, y)
    history = net.fit(features, y, epochs=30, lr=0.05)
    assert history.loss[-1] < history.loss[0]
    for old, now, new in zip(before, estimator.coefs_, net.weights, strict=True):
        np.testing.assert_array_equal(old, now)
        assert (new != now).any()


def test_sparse_features_are_taken_as_before():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy makes the matrix")
    estimator, features = fitted("multiclass")
    net = fm.from_sklearn(estimator)
    thin = np.where(features > 1, features, 0)
    found = net.predict_proba(sparse.csr_matrix(thin))
    assert_same_output(net, thin, found, estimator.predict_proba(sparse.csr_matrix(thin)))


# Refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_an_estimator_must_be_fitted(kind):
    with pytest.raises(NotFittedError, match=kind.__name__):
        fm.from_sklearn(kind())


@pytest.mark.parametrize(
    "other",
    [None, "model", MLPClassifier, LogisticRegression(), make_pipeline(MLPClassifier())],
    ids=lambda other: type(other).__name__,
)
def test_other_estimators_are_refused(other):
    words = "estimator must be an MLPClassifier or MLPRegressor of scikit-learn, got "
    with pytest.raises(TypeError, match=words + type(other).__name__):
        fm.from_sklearn(other)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    for name, words in (("coefs_", "weights"), ("intercepts_", "biases")):
        estimator, _ = fitted("numbers")
        getattr(estimator, name)[1].flat[-1] = value
        with pytest.raises(ValueError, match=rf"estimator cannot be converted: {words}\[1\]"):
            fm.from_sklearn(estimator)


def test_weights_that_were_exchanged_must_fit():
    estimator, _ = fitted("numbers")
    estimator.coefs_[1] = estimator.coefs_[1][:1]
    with pytest.raises(ValueError, match=r"weights\[1\] is \(1, 9\), its neighbors need \(20, 9\)"):
        fm.from_sklearn(estimator)


MISSING = """
import sys
sys.modules["sklearn"] = None
import fastmlp as fm
try:
    fm.from_sklearn(None)
except ModuleNotFoundError as error:
    print(error)
"""


def test_without_scikit_learn_it_is_asked_for(run_python):
    assert run_python(MISSING) == (
        "from_sklearn needs scikit-learn: pip install 'fastmlp[sklearn]'\n"
    )
