"""What the estimators have beyond scikit-learn's."""

import copy
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is what the estimators are for")
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight

import fastmlp as fm
from fastmlp.sklearn import MLPClassifier, MLPRegressor

BOTH = pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])

N = 150
X = np.random.default_rng(0).normal(size=(N, 5))
SCORE = X @ np.arange(5)
LABELS = np.array(["low", "mid", "top"])[np.digitize(SCORE, [-2, 4])]
TWO = np.array(["no", "yes"])[(SCORE > 4).astype(int)]
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


# Networks ---------------------------------------------------------------------------------------


@BOTH
def test_an_activation_for_each_layer(cls):
    estimator = small(cls, activation=["tanh", "gelu"]).fit(X, Y[cls])
    assert estimator.network_.activations[:-1] == ("tanh", "gelu")
    named = small(cls, activation="logistic").fit(X, Y[cls])
    assert named.network_.activations[:-1] == ("sigmoid", "sigmoid")
    mixed = small(cls, activation=("logistic", "relu"), learning_rate_init=1e-300, max_iter=1)
    # A sigmoid layer starts within scikit-learn's smaller bound.
    bounds = [np.abs(w).max() / np.sqrt(6 / sum(w.shape)) for w in mixed.fit(X, Y[cls]).coefs_]
    assert bounds[0] < np.sqrt(1 / 3) < bounds[1]
    with pytest.raises(ValueError, match="activation holds 1 names, there are 2 hidden layers"):
        small(cls, activation=["tanh"]).fit(X, Y[cls])
    with pytest.raises(ValueError, match="known are identity, relu"):
        small(cls, activation=["tanh", "what"]).fit(X, Y[cls])


@BOTH
def test_dropout(cls):
    options = {"max_iter": 3, "shuffle": False, "alpha": 0.0, "batch_size": 32}
    estimator = small(cls, dropout=[0.2, 0.3], input_dropout=0.1, **options)
    start = small(cls, **{**options, "max_iter": 1, "learning_rate_init": 1e-300}).fit(X, Y[cls])
    net = copy.deepcopy(start.network_)
    estimator.fit(X, Y[cls])
    net.seed, net.epochs_trained, net._optimizer_state = estimator.network_.seed, 0, None
    net.fit(
        X,
        estimator._targets(estimator._known_outputs(Y[cls])),
        3,
        32,
        0.001,
        shuffle=False,
        optimizer=fm.optimizers.Adam(epsilon_hat=True),
        dropout=[0.2, 0.3],
        input_dropout=0.1,
    )
    for a, b in zip(estimator.coefs_, net.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="dropout cannot be used with the solver lbfgs"):
        small(cls, solver="lbfgs", dropout=0.1).fit(X, Y[cls])
    with pytest.raises(ValueError, match="'dropout' parameter"):
        small(cls, dropout=1.0).fit(X, Y[cls])
    with pytest.raises(ValueError, match="dropout holds 1 numbers"):
        small(cls, dropout=[0.1]).fit(X, Y[cls])


@BOTH
def test_float32_is_asked_for(cls):
    estimator = small(cls, dtype="float32").fit(X, Y[cls])
    assert estimator.network_.dtype == np.float32
    assert estimator.coefs_[0].dtype == np.float32
    double = small(cls).fit(X, Y[cls])
    # Some 8 steps of rounding; the weights are of about 1.
    np.testing.assert_allclose(estimator.coefs_[0], double.coefs_[0], rtol=0, atol=1e-4)
    assert estimator.predict(X).shape == double.predict(X).shape
    single = small(cls, dtype=np.float64).fit(X.astype(np.float32), Y[cls])
    assert single.coefs_[0].dtype == np.float64
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        small(cls, dtype=np.int32).fit(X, Y[cls])


def test_mapped_rows_are_read_where_they_lie(tmp_path):
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    seen = []

    class Look(fm.Callback):
        def on_fit_begin(self, net, epochs, n_samples):
            seen.append(n_samples)

    classifier = small(MLPClassifier, callbacks=[Look()], dtype="float64")
    original = fm.MLP.fit

    def fit(net, given, *arguments, **options):
        assert np.shares_memory(given, mapped)
        return original(net, given, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fm.MLP, "fit", fit)
        classifier.fit(mapped, LABELS)
    assert seen == [N]
    assert_same_weights(
        classifier, small(MLPClassifier, dtype="float64").fit(X.astype(np.float32), LABELS)
    )


# Losses, weights, optimizers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "loss", "output"),
    [
        (LABELS, "focal", "softmax"),
        (LABELS, fm.losses.CrossEntropy(label_smoothing=0.1), "softmax"),
        (LABELS, fm.losses.Dice(), "softmax"),
        (TWO, "focal", "logistic"),
        (TWO, fm.losses.BinaryCrossEntropy(3), "logistic"),
        (TWO, "cross_entropy", "softmax"),
        (TWO, fm.losses.CrossEntropy(label_smoothing=0.1), "softmax"),
        ((X[:, :3] > 0).astype(int), "dice", "logistic"),
    ],
    ids=["focal", "smooth", "dice", "two focal", "two weighted", "two softmax", "two smooth", "ml"],
)
def test_losses_for_classes(labels, loss, output):
    classifier = small(MLPClassifier, loss=loss, max_iter=60, learning_rate_init=0.02)
    classifier.fit(X, labels)
    assert classifier.out_activation_ == output
    assert classifier.network_.loss == fm.losses.get(loss, classifier.network_.activations[-1])
    assert classifier.predict_proba(X).shape == (
        N,
        len(np.unique(labels)) if labels.ndim == 1 else 3,
    )
    assert accuracy_score(labels, classifier.predict(X)) > 0.6
    assert classifier.loss_ < classifier.loss_curve_[0]


@pytest.mark.parametrize(
    "loss",
    ["huber", "mean_absolute_error", fm.losses.Huber(0.5), fm.ops.mean_squared_error],
    ids=str,
)
def test_losses_for_numbers(loss):
    regressor = small(MLPRegressor, loss=loss, max_iter=200, learning_rate_init=0.02)
    assert regressor.fit(X, Y[MLPRegressor]).score(X, Y[MLPRegressor]) > 0.9
    assert regressor.out_activation_ == "identity"


def test_a_poisson_loss_of_fastmlp_predicts_rates():
    counts = np.random.default_rng(1).poisson(np.exp(0.5 * X[:, 0]))
    own = small(MLPRegressor, loss=fm.losses.Poisson()).fit(X, counts)
    theirs = small(MLPRegressor, loss="poisson").fit(X, counts)
    assert own.out_activation_ == theirs.out_activation_ == "exp"
    assert_same_weights(own, theirs)
    assert own.loss_ != theirs.loss_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("class_weight", ["balanced", {"no": 0.5, "yes": 3}])
def test_weights_of_classes_are_weights_of_samples(solver, class_weight):
    weights = np.random.default_rng(2).random(N) + 0.1
    by_class = small(MLPClassifier, solver=solver, class_weight=class_weight).fit(X, TWO, weights)
    by_sample = small(MLPClassifier, solver=solver)
    by_sample.fit(X, TWO, weights * compute_sample_weight(class_weight, TWO))
    assert_same_weights(by_class, by_sample)
    alone = small(MLPClassifier, solver=solver, class_weight=class_weight).fit(X, TWO)
    assert alone.score(X, TWO) > 0.5


def test_balanced_weights_find_the_rare_class():
    plain, balanced = (
        small(MLPClassifier, class_weight=w, max_iter=30).fit(X, TWO) for w in (None, "balanced")
    )
    recalls = [(e.predict(X)[TWO == "yes"] == "yes").mean() for e in (plain, balanced)]
    assert recalls[1] > recalls[0]
    several = small(MLPClassifier, class_weight=[{0: 1, 1: 2}, {0: 3, 1: 1}])
    several.fit(X, (X[:, :2] > 0).astype(int))
    with pytest.raises(
        ValueError, match="class_weight 'balanced' is not supported for partial_fit"
    ):
        balanced.partial_fit(X, TWO)


@BOTH
@pytest.mark.parametrize(
    "optimizer", ["rmsprop", fm.optimizers.AdamW(weight_decay=0.1), fm.optimizers.SGD(0.9)], ids=str
)
def test_optimizers(cls, optimizer):
    estimator = small(cls, optimizer=optimizer, solver="lbfgs", alpha=0.0).fit(X, Y[cls])
    assert estimator.network_.optimizer == fm.optimizers.get(optimizer)
    assert len(estimator.loss_curve_) == estimator.n_iter_ == 8
    assert hasattr(estimator, "partial_fit")
    if isinstance(optimizer, fm.optimizers.SGD):
        theirs = small(cls, solver="sgd", nesterovs_momentum=False, alpha=0.0).fit(X, Y[cls])
        assert_same_weights(estimator, theirs)


@BOTH
def test_schedules(cls):
    steps = []

    def rate(step):
        steps.append(step)
        return 0.01 / (step + 1)

    by_function = small(cls, learning_rate=rate, batch_size=50).fit(X, Y[cls])
    assert steps == list(range(8 * 3))
    schedule = fm.schedules.InverseScaling(0.01, power=1.0)
    assert_same_weights(
        by_function, small(cls, learning_rate=schedule, batch_size=50).fit(X, Y[cls])
    )
    with pytest.raises(ValueError, match="a schedule as learning_rate cannot be used with the sol"):
        small(cls, learning_rate=schedule, solver="lbfgs").fit(X, Y[cls])


@BOTH
def test_a_warm_start_takes_what_has_been_changed(cls):
    estimator = small(cls, warm_start=True).fit(X, Y[cls])
    before = [w.copy() for w in estimator.coefs_]
    rate = {"learning_rate_init": 1e-300}
    estimator.set_params(dtype="float32", activation=["elu", "tanh"], **rate).fit(X, Y[cls])
    assert estimator.network_.dtype == np.float32
    assert estimator.network_.activations[:2] == ("elu", "tanh")
    for a, b in zip(before, estimator.coefs_, strict=True):
        np.testing.assert_array_equal(a.astype(np.float32), b)
    loss = "focal" if cls is MLPClassifier else "huber"
    estimator.set_params(loss=loss).fit(X, Y[cls])
    assert estimator.network_.loss == fm.losses.get(loss, estimator.network_.activations[-1])
    for a, b in zip(before, estimator.coefs_, strict=True):
        np.testing.assert_array_equal(a.astype(np.float32), b)


def test_another_loss_may_need_another_output():
    classifier = small(MLPClassifier, warm_start=True).fit(X, TWO)
    with pytest.raises(ValueError, match="y with the loss needs 2 outputs, the network"):
        classifier.set_params(loss="cross_entropy").fit(X, TWO)


# Validation -----------------------------------------------------------------------------------


@BOTH
def test_validation_data_of_ones_own(cls):
    held_out = X[:40], Y[cls][:40]
    plain = small(cls).fit(X[40:], Y[cls][40:])
    measured = small(cls).fit(X[40:], Y[cls][40:], validation_data=held_out)
    assert_same_weights(plain, measured)
    assert measured.validation_scores_ is None
    assert len(measured.history_.val_loss) == 8
    stopping = small(cls, early_stopping=True, max_iter=200, n_iter_no_change=3, tol=0.01)
    stopping.fit(X[40:], Y[cls][40:], validation_data=held_out)
    assert stopping.n_iter_ < 200
    assert stopping.t_ == stopping.n_iter_ * (N - 40)
    best = max(stopping.validation_scores_)
    assert stopping.best_validation_score_ == best
    assert stopping.score(*held_out) == pytest.approx(best, rel=1e-12)
    separately = small(cls, early_stopping=True, max_iter=200, n_iter_no_change=3, tol=0.01)
    separately.fit(X[40:], Y[cls][40:], X_val=held_out[0], y_val=held_out[1])
    assert_same_weights(stopping, separately)


@BOTH
def test_weights_of_what_is_set_aside(cls):
    weights = np.zeros(N)
    weights[:3] = 1
    with pytest.raises(ValueError, match="at least one non-zero number, among the samples that ea"):
        small(cls, early_stopping=True, validation_fraction=0.02).fit(X, Y[cls], weights)


@BOTH
def test_bad_validation_data(cls):
    estimator = small(cls)
    for options, words in (
        ({"X_val": X}, "X_val is provided, but y_val was not provided"),
        ({"y_val": X}, "y_val is provided, but X_val was not provided"),
        ({"X_val": X, "y_val": Y[cls], "validation_data": (X, Y[cls])}, "give one of them"),
        ({"validation_data": X}, r"validation_data must be \(X, y\) or \(X, y, sample_weight\)"),
        ({"validation_data": (X[:, :2], Y[cls])}, "X has 2 features"),
        ({"validation_data": (X, Y[cls][:3])}, "inconsistent numbers of samples"),
    ):
        with pytest.raises(ValueError, match=words):
            estimator.fit(X, Y[cls], **options)
    if cls is MLPClassifier:
        with pytest.raises(ValueError, match="`y` has classes not in"):
            estimator.fit(X, LABELS, validation_data=(X[:2], ["low", "other"]))
    with pytest.raises(ValueError, match="validation data cannot be used with the solver lbfgs"):
        small(cls, solver="lbfgs").fit(X, Y[cls], validation_data=(X, Y[cls]))


# Callbacks ------------------------------------------------------------------------------------


@BOTH
def test_callbacks_of_fastmlp(cls):
    class Stop(fm.Callback):
        def on_epoch_end(self, net, history):
            return len(history) == 3

    estimator = small(cls, callbacks=[Stop()]).fit(X, Y[cls])
    assert estimator.n_iter_ == len(estimator.history_) == len(estimator.loss_curve_) == 3
    assert_same_weights(estimator, small(cls, max_iter=3).fit(X, Y[cls]))
    with pytest.raises(ValueError, match="callbacks cannot be used with the solver lbfgs"):
        small(cls, callbacks=[Stop()], solver="lbfgs").fit(X, Y[cls])
    with pytest.raises(TypeError, match="callbacks"):
        small(cls, callbacks=["stop"]).fit(X, Y[cls])


# Conversions ------------------------------------------------------------------------------------

KINDS = {
    "two": (MLPClassifier, TWO, {}),
    "several": (MLPClassifier, LABELS, {}),
    "indicators": (MLPClassifier, (X[:, :3] > 0).astype(int), {}),
    "numbers": (MLPRegressor, SCORE / 10, {}),
    "rates": (MLPRegressor, (X[:, 0] > 0).astype(int), {"loss": "poisson"}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_what_an_estimator_has_learned_is_carried_elsewhere(kind, dtype, to):
    """`network_` is converted; what it answers is the last column, or the columns, of ours."""
    cls, y, options = KINDS[kind]
    estimator = small(cls, dtype=dtype, activation=["logistic", "tanh"], **options).fit(X, y)
    rows = X.astype(dtype)
    expected = estimator.predict_proba(rows) if cls is MLPClassifier else estimator.predict(rows)
    if to == "onnx":
        pytest.importorskip("onnx", reason="onnx makes the model")
        ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime computes the model")
        model = estimator.network_.to_onnx().SerializeToString()
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"input": rows})
    else:
        torch = pytest.importorskip("torch", reason="PyTorch has the module")
        module = estimator.network_.to_torch(logits=kind == "rates")
        found = module(torch.from_numpy(rows)).detach().numpy()
        found = np.exp(found) if kind == "rates" else found
        again = fm.from_torch(module)
        assert again.layers == estimator.network_.layers
        for a, b in zip(again.weights, estimator.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
    assert found.dtype == dtype
    if kind == "two":
        expected = expected[:, 1:]
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-6)
    if kind == "several":
        np.testing.assert_array_equal(estimator.classes_[found.argmax(1)], estimator.predict(rows))
