"""What networks are scored by: rows classified rightly, and the coefficient of determination."""

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


def r2_score(predictions: Array, targets: Array, sample_weight: Array | None = None) -> float:
    """Return the coefficient of determination of `R2` over samples."""
    score = R2()
    score.add(predictions, targets, sample_weight)
    return score.result()
