"""scikit-learn: MLPClassifier with plain SGD, and as its users call it.

`partial_fit` goes through the samples once. The batches are the other contestants' because the
rows are put in order first, within the time, in place of its own shuffling.
"""

import numpy as np
from sklearn.neural_network import MLPClassifier

from ..tasks import Array, TrainingTask
from . import estimators


class EstimatorFit(estimators.Fit):
    """Its own estimator."""

    module = "sklearn.neural_network"


class EstimatorRow(estimators.Row):
    """Its own estimator."""

    module = "sklearn.neural_network"


class Trainer:
    """`partial_fit` on float32 rows, without momentum and without weight decay."""

    def __init__(self, task: TrainingTask) -> None:
        self.task, self.X = task, task.scaled()
        self.net = MLPClassifier(
            task.layers[1:-1],
            solver="sgd",
            learning_rate_init=task.lr,
            batch_size=task.batch_size,
            momentum=0,
            alpha=0,
            shuffle=False,
        )
        # A first call, on a batch of any labels, makes the parameters.
        classes = np.arange(task.layers[-1])
        labels = np.resize(classes, task.batch_size)
        rows = np.resize(np.arange(self.X.shape[0]), task.batch_size)
        self.net.partial_fit(self.X[rows], labels, classes=classes)

    def reset(self) -> None:
        weights, biases = list(self.task.weights), list(self.task.biases)
        if self.net.n_outputs_ == 1:
            # Of two classes it makes one logistic output: the difference of the two.
            weights[-1], biases[-1] = (np.diff(values) for values in (weights[-1], biases[-1]))
        for parameter, values in zip(
            (*self.net.coefs_, *self.net.intercepts_), (*weights, *biases), strict=True
        ):
            parameter[...] = values

    def epoch(self) -> None:
        self.net.partial_fit(self.X[self.task.order], self.task.y[self.task.order])

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return self.net.coefs_, self.net.intercepts_
