"""The estimators' eval metric, and what keeps their weights in bounds: as in `fm.MLP.fit`."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is what the estimators are for")
from sklearn import config_context, metrics
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

import fastmlp as fm
from fastmlp.sklearn import MLPClassifier, MLPRegressor

BOTH = pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])

N = 150
X = np.random.default_rng(0).normal(size=(N, 5))
SCORE = X @ np.arange(5)
LABELS = np.array(["low", "mid", "top"])[np.digitize(SCORE, [-2, 4])]
TWO = np.array(["no", "yes"])[(SCORE > 4).astype(int)]
SEVERAL = (X[:, :3] > 0).astype(int)
Y = {MLPClassifier: LABELS, MLPRegressor: SCORE + np.sin(3 * X[:, 0])}


@pytest.fixture(autouse=True)
def no_convergence_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def small(cls, **options):
    """Return an estimator that is fitted at once."""
    return cls(**{"hidden_layer_sizes": (9, 7), "max_iter": 8, "random_state": 0, **options})


def assert_same_weights(one, other):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("y", "average"), [(LABELS, "macro"), (TWO, "binary"), (SEVERAL, "macro")])
@pytest.mark.parametrize("weighted", [False, True])
def test_f1_decides(y, average, weighted):
    weights = np.random.default_rng(1).integers(1, 4, size=40).astype(float)
    held_out = (X[:40], y[:40], *[weights] * weighted)
    estimator = small(
        MLPClassifier, early_stopping=True, eval_metric="f1", max_iter=100, n_iter_no_change=3
    ).fit(X[40:], y[40:], validation_data=held_out)
    options = {"pos_label": "yes"} if average == "binary" else {"zero_division": 0}
    score = metrics.f1_score(
        y[:40],
        estimator.predict(X[:40]),
        average=average,
        sample_weight=weights if weighted else None,
        **options,
    )
    assert estimator.validation_scores_ == estimator.history_.val_f1
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert score == pytest.approx(estimator.best_validation_score_, rel=1e-15)


@BOTH
@pytest.mark.parametrize("metric", ["loss", "own"])
def test_a_metric_of_which_less_is_better(cls, metric):
    if metric == "own":
        metric = fm.Metric(lambda true, predicted: np.mean(true != predicted), "wrong", False)
        name = "val_wrong"
    else:
        name = "val_loss"
    estimator = small(cls, early_stopping=True, eval_metric=metric, max_iter=50).fit(X, Y[cls])
    values = estimator.history_.to_dict()[name]
    assert estimator.validation_scores_ == [-value for value in values]
    assert estimator.best_validation_score_ == -min(values)


@pytest.mark.parametrize("y", [LABELS, TWO, SEVERAL])
def test_functions_get_labels(y):
    seen = []

    def score(y_true, y_pred):
        seen.append((y_true, y_pred))
        return metrics.accuracy_score(y_true, y_pred)

    estimator = small(MLPClassifier, eval_metric=score)
    estimator.fit(X[40:], y[40:], validation_data=(X[:40], y[:40]))
    truth, predicted = seen[-1]
    np.testing.assert_array_equal(truth, y[:40])
    np.testing.assert_array_equal(predicted, estimator.predict(X[:40]))
    assert estimator.history_.val_score == estimator.history_.val_accuracy
    assert estimator.validation_scores_ is None


def test_functions_of_probabilities_get_labels_too():
    seen = []

    def area(y_true, y_score, sample_weight):
        seen.append(y_true)
        return metrics.roc_auc_score(y_true == "yes", y_score, sample_weight=sample_weight)

    weights = np.arange(1.0, 41)
    estimator = small(MLPClassifier, eval_metric=fm.Metric(area, probabilities=True))
    estimator.fit(X[40:], TWO[40:], validation_data=(X[:40], TWO[:40], weights))
    np.testing.assert_array_equal(seen[-1], TWO[:40])
    expected = metrics.roc_auc_score(
        TWO[:40], estimator.predict_proba(X[:40])[:, 1], sample_weight=weights
    )
    assert estimator.history_.val_area[-1] == expected
    with pytest.raises(TypeError, match=r"eval_metric mine takes no sample_weight"):
        small(MLPClassifier, eval_metric=fm.Metric(lambda t, p: 0.0, "mine")).fit(
            X, TWO, validation_data=(X[:40], TWO[:40], weights)
        )


@BOTH
def test_the_default_score_is_as_before(cls):
    options = {"early_stopping": True, "max_iter": 30}
    default = small(cls, **options).fit(X, Y[cls])
    named = small(cls, eval_metric="accuracy" if cls is MLPClassifier else "r2", **options)
    named.fit(X, Y[cls])
    assert named.validation_scores_ == default.validation_scores_
    assert_same_weights(named, default)


@BOTH
def test_a_metric_without_validation_data_has_no_effect(cls):
    calls = []
    estimator = small(cls, eval_metric=calls.append)
    assert_same_weights(estimator.fit(X, Y[cls]), small(cls).fit(X, Y[cls]))
    classes = {"classes": np.unique(LABELS)} if cls is MLPClassifier else {}
    small(cls, eval_metric=calls.append).partial_fit(X, Y[cls], **classes)
    assert calls == []


@BOTH
@pytest.mark.parametrize(
    "options", [{"l1": 0.1}, {"clip_norm": 0.05}, {"max_norm": 0.3}, {"ema": 0.95}], ids=str
)
def test_what_keeps_weights_in_bounds(cls, options):
    ((name, value),) = options.items()
    batch = 50
    plain = small(cls, batch_size=batch, shuffle=False).fit(X, Y[cls])
    estimator = small(cls, batch_size=batch, shuffle=False, **options)
    assert clone(estimator).get_params()[name] == value
    estimator.fit(X, Y[cls])
    assert not np.array_equal(estimator.coefs_[0], plain.coefs_[0])
    start = small(cls, batch_size=batch, learning_rate_init=1e-300, max_iter=1).fit(X, Y[cls])
    net = fm.MLP(
        start.network_.layers, start.network_.activations, dtype="float64", loss=start.network_.loss
    )
    for mine, theirs in zip(
        net.weights + net.biases, start.coefs_ + start.intercepts_, strict=True
    ):
        mine[...] = theirs
    net.fit(
        X,
        np.searchsorted(estimator.classes_, LABELS) if cls is MLPClassifier else Y[cls],
        epochs=8,
        batch_size=batch,
        shuffle=False,
        lr=0.001,
        optimizer=fm.optimizers.Adam(epsilon_hat=True),
        # All batches have as many samples, by which scikit-learn divides the penalty.
        l2=1e-4 / batch,
        **{name: value / batch if name == "l1" else value},
    )
    for ours, theirs in zip(net.weights, estimator.coefs_, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match=f"{name} cannot be used with the solver lbfgs"):
        small(cls, solver="lbfgs", **options).fit(X, Y[cls])
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copy.predict(X), estimator.predict(X))


@BOTH
def test_the_best_averages_are_kept(cls):
    seen = {}

    class Keep(fm.Callback):
        def on_epoch_end(self, net, history):
            seen[len(history)] = [weights.copy() for weights in net.weights]

    options = {"early_stopping": True, "ema": 0.9, "n_iter_no_change": 2, "max_iter": 100}
    estimator = small(cls, learning_rate_init=0.05, callbacks=[Keep()], **options).fit(X, Y[cls])
    best = int(np.argmax(estimator.validation_scores_)) + 1
    assert best < estimator.n_iter_
    for weights, kept in zip(estimator.coefs_, seen[best], strict=True):
        np.testing.assert_array_equal(weights, kept)
    # What goes on, goes on from there: the rate is so small that a step shows where it starts.
    y = np.searchsorted(estimator.classes_, LABELS) if cls is MLPClassifier else Y[cls]
    adam = fm.optimizers.Adam(epsilon_hat=True)
    estimator.network_.fit(X, y, epochs=1, lr=1e-12, optimizer=adam, ema=0.9)
    for weights, kept in zip(estimator.coefs_, seen[best], strict=True):
        np.testing.assert_allclose(weights, kept, rtol=0, atol=1e-10)


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"eval_metric": "f2"},
        {"eval_metric": 5},
        {"l1": -1.0},
        {"l1": None},
        {"clip_norm": 0.0},
        {"max_norm": -1.0},
        {"ema": 1.0},
        {"ema": 0.0},
        {"ema": "0.5"},
    ],
    ids=str,
)
def test_parameters_are_checked(cls, options):
    (name,) = options
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        small(cls, **options).fit(X, Y[cls])


def test_each_kind_has_its_metrics():
    with pytest.raises(InvalidParameterError):
        small(MLPClassifier, eval_metric="r2").fit(X, LABELS)
    with pytest.raises(InvalidParameterError):
        small(MLPRegressor, eval_metric="f1").fit(X, SCORE)


def test_label_smoothing():
    options = {"max_iter": 200, "learning_rate_init": 0.01}
    smoothed = small(MLPClassifier, loss=fm.losses.CrossEntropy(label_smoothing=0.3), **options)
    plain = small(MLPClassifier, **options)
    sure, unsure = (
        estimator.fit(X, LABELS).predict_proba(X).max(axis=1).mean()
        for estimator in (plain, smoothed)
    )
    # The label smoothed has 1 - 0.3 + 0.3 / 3.
    assert unsure < 0.85 < 0.9 < sure
    binary = small(MLPClassifier, loss=fm.losses.CrossEntropy(label_smoothing=0.3)).fit(X, TWO)
    assert binary.predict_proba(X).shape == (N, 2)


class Copies(fm.Callback):
    """Keeps a copy of the network after each epoch."""

    def __init__(self):
        self.copies = []

    def on_epoch_end(self, net, history):
        self.copies.append(pickle.dumps(net))


@BOTH
@pytest.mark.parametrize("early_stopping", [False, True])
def test_samples_are_looked_at_once_and_forgotten(cls, early_stopping, monkeypatch):
    looked_at = []
    is_finite = fm.MLP._is_finite
    monkeypatch.setattr(
        fm.MLP, "_is_finite", lambda net, a: looked_at.append(a.shape) or is_finite(net, a)
    )
    copies = Copies()
    estimator = small(cls, early_stopping=early_stopping, callbacks=[copies]).fit(X, Y[cls])
    assert not [shape for shape in looked_at if len(shape) == 2 and shape[1] == X.shape[1]]
    assert "_known_finite" not in vars(estimator.network_)
    for name in (b"_known_finite", b"_counting"):
        assert all(name not in copy for copy in copies.copies)
    # What nobody has looked at is.
    bad = X.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        small(cls).fit(bad, Y[cls])
    with config_context(assume_finite=True), pytest.raises(ValueError, match=r"X\[3, 2\]"):
        small(cls).fit(bad, Y[cls])
    # Nor is that finite as float32 which is so as float64.
    bad[3, 2] = 1e300
    with pytest.raises(ValueError, match="X"):
        small(cls, dtype="float32").fit(bad, Y[cls])
