"""MLPClassifier of any module that has one, as scikit-learn's users call it."""

import os
import warnings
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from ..tasks import Array, EstimatorTask


class Estimator:
    """An estimator and its samples.

    Attributes
    ----------
    module
        Where the class comes from.
    extra
        Parameters beyond those that scikit-learn has.
    """

    module: ClassVar[str]
    extra: ClassVar[dict[str, Any]] = {}

    def __init__(self, task: EstimatorTask) -> None:
        # No fit here ends before its last epoch, at which both warn.
        warnings.filterwarnings("ignore", message=".*Maximum iterations")
        self.task, self.X = task, task.scaled().astype(task.dtype)
        estimator = import_module(self.module).MLPClassifier(**task.options, **self.extra)
        self.estimator: Any = estimator


class Fit(Estimator):
    """`fit`, or a search by `GridSearchCV` on as many processes as there are threads."""

    def __init__(self, task: EstimatorTask) -> None:
        super().__init__(task)
        if task.grid:
            from sklearn.model_selection import GridSearchCV

            # joblib tells its processes how many threads to use, unless the environment does.
            for name in [name for name in os.environ if name.endswith("_NUM_THREADS")]:
                del os.environ[name]
            os.environ["PYTHONWARNINGS"] = "ignore"
            self.estimator = GridSearchCV(
                self.estimator, task.grid, cv=5, n_jobs=task.threads, error_score="raise"
            )

    def fit(self) -> None:
        self.estimator.fit(self.X, self.task.y)

    def result(self) -> Array:
        """Return how many of the samples are classified rightly."""
        return np.array([self.estimator.score(self.X, self.task.y)])


class Row(Estimator):
    """`predict_proba` of the first row."""

    def __init__(self, task: EstimatorTask) -> None:
        super().__init__(task)
        self.estimator.fit(self.X, task.y)
        self.row = self.X[:1].copy()

    def predict(self) -> Array:
        probabilities: Array = self.estimator.predict_proba(self.row)
        return probabilities
