"""The estimators under scikit-learn's own callbacks, which it has from 1.9 on."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is what the estimators are for")
pytest.importorskip("sklearn.callback", reason="this scikit-learn has no callbacks")
from sklearn import callback
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp as fm
from fastmlp.sklearn import MLPClassifier, MLPRegressor

BOTH = pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
SOLVERS = pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])

N = 90
X = np.random.default_rng(0).normal(size=(N, 4))
Y = {
    MLPClassifier: np.array(["low", "mid", "top"])[np.digitize(X @ np.arange(4), [-2, 2])],
    MLPRegressor: X @ np.arange(4),
}


@pytest.fixture(autouse=True)
def no_convergence_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


class Log:
    """Keeps what it is told, and all estimators as they were after each task."""

    def __init__(self, stop_after=None):
        self.told = []
        self.fitted = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name, context.task_id))
        self.most = context.max_subtasks if context.parent is None else self.most

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.told.append(("end", context.task_name, context.task_id))
        self.given = X, y, metadata
        self.fitted.append(fitted_estimator)
        return context.task_id == self.stop_after and context.parent is not None


def small(cls, **options):
    return cls(**{"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, **options})


def weights_of(estimator):
    return [*estimator.coefs_, *estimator.intercepts_]


@BOTH
@SOLVERS
def test_each_step_is_told(cls, solver):
    log = Log()
    estimator = small(cls, solver=solver).set_callbacks(log).fit(X, Y[cls])
    name, extra = ("lbfgs-iter", 1) if solver == "lbfgs" else ("epoch", 0)
    steps = [(hook, name, step) for step in range(4 + extra) for hook in ("begin", "end")]
    assert log.told == [
        "setup", ("begin", "fit", 0), *steps, ("end", "fit", 0), "teardown"
    ]  # fmt: skip
    assert log.most == 4 + extra
    assert log.given[0] is X
    assert log.given[1] is Y[cls]
    assert log.given[2] is None
    for a, b in zip(weights_of(estimator), weights_of(small(cls, solver=solver).fit(X, Y[cls])),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


@BOTH
@SOLVERS
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early"])
def test_what_is_fitted_at_a_step_is_what_ends_there(cls, solver, early_stopping):
    if early_stopping and solver == "lbfgs":
        pytest.skip("lbfgs has no early stopping")
    options = {"solver": solver, "early_stopping": early_stopping, "learning_rate_init": 0.05}
    log = Log()
    small(cls, **options).set_callbacks(log).fit(X, Y[cls])
    for step in range(4):
        alone = small(cls, **options, max_iter=step + 1).fit(X, Y[cls])
        for a, b in zip(weights_of(log.fitted[step]), weights_of(alone), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(log.fitted[step].predict(X), alone.predict(X))
        if solver != "lbfgs":
            assert log.fitted[step].loss_curve_ == alone.loss_curve_
            assert log.fitted[step].validation_scores_ == alone.validation_scores_
            assert log.fitted[step].history_.loss == alone.history_.loss


@BOTH
@SOLVERS
def test_a_callback_ends_the_fit(cls, solver):
    log = Log(stop_after=1)
    estimator = small(cls, solver=solver, max_iter=50).set_callbacks(log).fit(X, Y[cls])
    alone = small(cls, solver=solver, max_iter=2).fit(X, Y[cls])
    assert estimator.n_iter_ == alone.n_iter_ == 2
    assert estimator.loss_ == pytest.approx(alone.loss_, rel=1e-12)
    assert log.told[-2:] == [("end", "fit", 0), "teardown"]
    for a, b in zip(weights_of(estimator), weights_of(alone), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_that_is_interrupted_is_told_to_have_ended():
    class Interrupt(fm.Callback):
        def on_epoch_begin(self, net, epoch):
            if epoch == 3:
                raise KeyboardInterrupt

    log = Log()
    estimator = small(MLPRegressor, callbacks=[Interrupt()]).set_callbacks(log)
    with pytest.warns(UserWarning, match="interrupted"):
        estimator.fit(X, Y[MLPRegressor])
    assert log.told[-3:] == [("end", "epoch", 2), ("end", "fit", 0), "teardown"]
    assert log.fitted[2] is None
    assert log.fitted[-1] is not None


@BOTH
def test_an_error_ends_the_callbacks_too(cls):
    class Fail(Log):
        def on_fit_task_end(self, estimator, context):
            raise OSError("the disk is full")

    log = Fail()
    estimator = small(cls).set_callbacks(log)
    with pytest.raises(OSError, match="the disk is full"):
        estimator.fit(X, Y[cls])
    assert log.told[-1] == "teardown"
    assert estimator.set_callbacks().fit(X, Y[cls]).n_iter_ == 4
    with pytest.raises(TypeError, match="callbacks must be instances"):
        estimator.set_callbacks("log")


@BOTH
def test_weights_names_and_partial_fits(cls):
    pandas = pytest.importorskip("pandas", reason="pandas names features")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    weights = np.arange(1.0, N + 1)
    metric = "accuracy" if cls is MLPClassifier else "r2"
    monitor = callback.ScoringMonitor(scoring=metric)
    log = Log()
    estimator = small(cls).set_callbacks(monitor, log).fit(frame, Y[cls], weights)
    assert log.given[0] is frame
    assert log.given[2] == {"sample_weight": weights}
    scores = [row[metric] for row in monitor.get_logs().data]
    assert scores[0] == scores[-1] == estimator.score(frame, Y[cls], weights)
    estimator.partial_fit(frame, Y[cls])
    assert log.told[-4:-2] == [("begin", "epoch", 0), ("end", "epoch", 0)]
    assert log.most == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scores_within_a_search(n_jobs):
    monitor = callback.ScoringMonitor(scoring="accuracy")
    pipe = make_pipeline(StandardScaler(), small(MLPClassifier).set_callbacks(monitor))
    search = GridSearchCV(pipe, {"mlpclassifier__alpha": [0, 1]}, cv=2, n_jobs=n_jobs)
    search.fit(X, Y[MLPClassifier])
    rows = monitor.get_logs().data
    names = [row["task_name"] for row in rows if row["estimator_name"] == "MLPClassifier"]
    fits = 2 * 2 + 1
    assert (names.count("epoch"), names.count("fit")) == (4 * fits, fits)
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_a_progress_bar_follows_a_search(capsys):
    pytest.importorskip("rich", reason="scikit-learn's progress bar is drawn by rich")
    pipe = make_pipeline(StandardScaler(), small(MLPClassifier))
    search = GridSearchCV(pipe, {"mlpclassifier__alpha": [0, 1]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=2)).fit(X, Y[MLPClassifier])
    assert capsys.readouterr().out.count("MLPClassifier - fit") == 2 * 2 + 1


def test_callbacks_are_copied_and_pickled_with_the_estimator():
    estimator = small(MLPClassifier).set_callbacks(Log())
    assert clone(estimator)._skl_callbacks[0] is estimator._skl_callbacks[0]
    again = pickle.loads(pickle.dumps(estimator.fit(X, Y[MLPClassifier])))
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


@BOTH
def test_without_callbacks_nothing_is_made_for_them(cls, monkeypatch):
    from fastmlp.sklearn import base

    def unwanted(*arguments):
        raise AssertionError("a task was made")

    monkeypatch.setattr(base, "Tasks", unwanted)
    small(cls).fit(X, Y[cls])
    with pytest.raises(AssertionError, match="a task was made"):
        small(cls).set_callbacks(Log()).fit(X, Y[cls])
