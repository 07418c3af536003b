"""What networks are scored by: rows classified rightly, F1, the coefficient of determination."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def correct_rows(scores: Array, targets: Array, output_activation: str) -> npt.NDArray[np.bool_]:
    """Return which rows are classified rightly, (n,).

    Parameters
    ----------
    scores
        (n, k) logits, or anything that grows with them, of a softmax output; probabilities of a
        sigmoid output, where a row is right when every p > 0.5 agrees with its t > 0.5.
    targets
        As returned by `checks.check_targets`.
    """
    if output_activation == "softmax":
        classes = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return np.asarray(scores.argmax(axis=1) == classes)
    return np.asarray(((scores > 0.5) == (targets > 0.5)).all(axis=1))


def answers(scores: Array, output_activation: str) -> Array:
    """Return what a network predicts.

    Parameters
    ----------
    scores
        (n, k) logits of a softmax output, since probabilities of different logits can round to one
        value; the network's output of any other.

    Returns
    -------
    ndarray
        Softmax: (n,) int64, the most probable class. Sigmoid: int64, 1 where p > 0.5, shaped (n,)
        with one output, else (n, k). Regression: the outputs, shaped likewise.
    """
    if output_activation == "softmax":
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)
    answer = (scores > 0.5).astype(np.int64) if output_activation == "sigmoid" else scores
    return answer.reshape(-1) if scores.shape[1] == 1 else answer


def truths(targets: Array, output_activation: str) -> Array:
    """Return targets, as `checks.check_targets` returns them, in the form of `answers`."""
    return targets if targets.ndim == 1 else answers(targets, output_activation)


class F1:
    """The harmonic mean of precision and recall, of predictions that come in parts.

    2 TP / (2 TP + FP + FN), 0 where nothing is to be found nor found: of class 1 where there are
    two classes, else the mean over the classes that occur among targets and predictions, or over
    the columns of several sigmoid outputs. As scikit-learn's ``f1_score``, with ``average="macro"``
    unless there are two classes.

    Parameters
    ----------
    n_outputs, output_activation
        Of the network.
    """

    def __init__(self, n_outputs: int, output_activation: str) -> None:
        several = output_activation == "sigmoid" and n_outputs > 1
        self._binary = not several and n_outputs <= 2
        size = 2 if self._binary else n_outputs
        self._hits = np.zeros(size)
        self._both = np.zeros(size)
        self._occurs = np.full(size, several)

    def add(self, truth: Array, answer: Array, output: Array, weights: Array | None) -> None:
        """Take samples: targets, predictions in their form, and weights (n,) or None."""
        if truth.ndim == 2:
            weights = np.ones(len(truth)) if weights is None else weights
            self._hits += weights @ (truth * answer)
            self._both += weights @ (truth + answer)
            return
        size, right = len(self._hits), truth == answer
        for classes in (truth, answer):
            self._both += np.bincount(classes, weights, size)
            self._occurs |= np.bincount(classes, minlength=size) > 0
        among = None if weights is None else weights[right]
        self._hits += np.bincount(truth[right], among, size)

    def result(self) -> float:
        """Return the score."""
        scores = np.divide(
            2 * self._hits, self._both, out=np.zeros_like(self._hits), where=self._both > 0
        )
        return float(scores[1] if self._binary else scores[self._occurs].mean())


class R2:
    """The coefficient of determination, of predictions that come in parts.

    1 - (residual sum of squares) / (sum of squares about the mean) for each column; a column
    whose targets are all equal counts 1 when predicted exactly and 0 otherwise. The mean and the
    sum of squares about it are updated part by part (Chan, Golub and LeVeque, 1983).
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._residual: Any = 0.0
        self._mean: Any = 0.0
        self._total: Any = 0.0
        self._first: Array | None = None
        self._constant: Any = True

    def add(self, predictions: Array, targets: Array, sample_weight: Array | None = None) -> None:
        """Add samples: two arrays (n, k) and weights (n,), of the sums and of the mean."""
        if sample_weight is not None and not sample_weight.any():
            return
        expected = targets.astype(np.float64)
        weights = (
            np.ones((len(expected), 1)) if sample_weight is None else sample_weight[:, np.newaxis]
        )
        self._residual += (weights * np.square(predictions - expected)).sum(axis=0)
        mean = np.average(expected, axis=0, weights=sample_weight)
        weight = float(weights.sum())
        before, self._weight = self._weight, self._weight + weight
        away = mean - self._mean
        self._mean = self._mean + away * (weight / self._weight)
        self._total += (weights * np.square(expected - mean)).sum(axis=0)
        # In this order the first part, before which there is nothing, adds 0, not infinity times 0.
        self._total += away * (before * (weight / self._weight)) * away
        counted = expected if sample_weight is None else expected[sample_weight > 0]
        if self._first is None:
            self._first = counted[0]
        self._constant = self._constant & (counted == self._first).all(axis=0)

    def result(self) -> float:
        """Return the mean over the columns."""
        scores = 1 - self._residual / np.where(self._constant, 1, self._total)
        scores[self._constant] = self._residual[self._constant] == 0
        return float(scores.mean())
