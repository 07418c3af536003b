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


def r2_score(predictions: Array, targets: Array, sample_weight: Array | None = None) -> float:
    """Return the coefficient of determination, averaged over the columns.

    1 - (residual sum of squares) / (sum of squares about the mean) for each column; a column
    whose targets are all equal counts 1 when predicted exactly and 0 otherwise.

    The first two arguments are (n, k); `sample_weight`, (n,), weights the sums and the mean.
    """
    expected = targets.astype(np.float64)
    weights = np.ones((len(expected), 1)) if sample_weight is None else sample_weight[:, np.newaxis]
    residual = (weights * np.square(predictions - expected)).sum(axis=0)
    mean = np.average(expected, axis=0, weights=sample_weight)
    total = (weights * np.square(expected - mean)).sum(axis=0)
    counted = expected if sample_weight is None else expected[sample_weight > 0]
    constant = (counted == counted[0]).all(axis=0)
    scores = 1 - residual / np.where(constant, 1, total)
    scores[constant] = residual[constant] == 0
    return float(scores.mean())
