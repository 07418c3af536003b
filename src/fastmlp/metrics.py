"""How well predictions match the truth.

The confusion matrix, and precision and recall of each class, need NumPy alone; the others are those
of scikit-learn (``pip install 'fastmlp[sklearn]'``), and all of these take weights of the rows.
"""

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class ClassScores(NamedTuple):
    """Precision, recall and support, one value per class in each array."""

    precision: NDArray[np.float64]
    """Correct share of the rows predicted as the class; NaN where there are none."""
    recall: NDArray[np.float64]
    """Share of the rows of the class that were found; NaN where there are none."""
    support: NDArray[np.int64]
    """Rows of the class."""


def _class_indices(name: str, values: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    if array.dtype.kind not in "iub":
        raise TypeError(f"{name} must hold integers, got {array.dtype}")
    wrong = np.flatnonzero((array < 0) | (array >= n_classes))
    if wrong.size:
        first = wrong[0]
        raise ValueError(
            f"{name}[{first}] is {array[first]}: class indices must be in [0, {n_classes})"
        )
    return array.astype(np.int64)


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count how often each true class was predicted as each class.

    Parameters
    ----------
    y_true, y_pred
        Class indices in [0, n_classes), shape (n,), any integer dtype.
    n_classes
        The number of classes, at least 1.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_classes, n_classes): row is the true class, column the predicted one.

    Raises
    ------
    ValueError
        Wrong rank, empty, unequal lengths, or an index out of range.
    TypeError
        Values that are not integers.
    """
    if n_classes < 1:
        raise ValueError(f"n_classes must be at least 1, got {n_classes}")
    true = _class_indices("y_true", y_true, n_classes)
    predicted = _class_indices("y_pred", y_pred, n_classes)
    if len(true) != len(predicted):
        raise ValueError(f"y_pred has {len(predicted)} rows, y_true has {len(true)}")
    counts = np.bincount(true * n_classes + predicted, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64, copy=False)


def precision_recall_support(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> ClassScores:
    """Precision, recall and support of each class.

    A ratio without rows to count (a class never predicted, or absent from `y_true`) is undefined
    and given as NaN.

    Parameters
    ----------
    y_true, y_pred
        Class indices in [0, n_classes), shape (n,), any integer dtype.
    n_classes
        The number of classes, at least 1.

    Returns
    -------
    ClassScores
        Three arrays of shape (n_classes,): float64, float64, int64.

    Raises
    ------
    ValueError, TypeError
        As `confusion_matrix`.
    """
    matrix = confusion_matrix(y_true, y_pred, n_classes)
    hits = np.diag(matrix)
    predicted = matrix.sum(axis=0)
    support = matrix.sum(axis=1)
    undefined = np.full(n_classes, np.nan)
    return ClassScores(
        precision=np.divide(hits, predicted, out=undefined.copy(), where=predicted > 0),
        recall=np.divide(hits, support, out=undefined.copy(), where=support > 0),
        support=support,
    )


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall over all thresholds, from the lowest to the highest."""

    precision: NDArray[np.float64]
    """(k + 1,): one for each threshold, then 1."""
    recall: NDArray[np.float64]
    """(k + 1,), falling: one for each threshold, then 0."""
    thresholds: NDArray[Any]
    """(k,), rising: a row counts as positive when its score is at least the threshold."""


def accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Share of the rows that are right, scikit-learn's ``accuracy_score``.

    Parameters
    ----------
    y_true, y_pred
        Classes, shape (n,), or several labels a row, shape (n, k) of 0 and 1: such a row is right
        when all of its labels are.
    sample_weight
        Weights of the rows, shape (n,); 1 each by default.

    Raises
    ------
    ValueError
        What scikit-learn refuses: unequal lengths, empty or unfit arrays.
    ModuleNotFoundError
        No scikit-learn.
    """
    return float(scikit_learn().accuracy_score(y_true, y_pred, sample_weight=sample_weight))


def precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str = "binary",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Correct share of the rows predicted as positive, scikit-learn's ``precision_score``.

    Parameters
    ----------
    y_true, y_pred
        Classes, shape (n,): with "binary" 0 and 1, else any; or several labels a row, shape
        (n, k) of 0 and 1.
    average
        "binary" for that of class 1; "macro", "weighted" or "micro" for a mean over classes,
        "samples" for one over rows of labels.
    sample_weight
        Weights of the rows, shape (n,); 1 each by default.

    Returns
    -------
    float
        NaN where it is undefined, as nothing was predicted as positive; a mean over classes leaves
        undefined ones out.

    Raises
    ------
    ValueError
        What scikit-learn refuses: unequal lengths, unfit arrays, or more than two classes with
        "binary".
    ModuleNotFoundError
        No scikit-learn.
    """
    return _score("precision_score", y_true, y_pred, average, sample_weight)


def recall(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str = "binary",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of the positive rows that were found, scikit-learn's ``recall_score``.

    Arguments and errors are those of `precision`; NaN where no row is positive.
    """
    return _score("recall_score", y_true, y_pred, average, sample_weight)


def f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str = "binary",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Harmonic mean of precision and recall, scikit-learn's ``f1_score``.

    That is 2 TP / (2 TP + FP + FN), which is 0 when only one of the two is undefined. Arguments
    and errors are those of `precision`; NaN where no row is positive or predicted so.
    """
    return _score("f1_score", y_true, y_pred, average, sample_weight)


def precision_recall_curve(
    y_true: ArrayLike, scores: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> PrecisionRecallCurve:
    """Precision and recall at every threshold, scikit-learn's ``precision_recall_curve``.

    Parameters
    ----------
    y_true
        0 and 1, shape (n,).
    scores
        Higher for rows more likely positive, such as probabilities, shape (n,).
    sample_weight
        Weights of the rows, shape (n,); 1 each by default.

    Returns
    -------
    PrecisionRecallCurve
        Every distinct score is a threshold.

    Raises
    ------
    ValueError
        What scikit-learn refuses: unequal lengths, NaN, or targets that are not binary.
    ModuleNotFoundError
        No scikit-learn.
    """
    values = scikit_learn().precision_recall_curve(y_true, scores, sample_weight=sample_weight)
    return PrecisionRecallCurve(*values)


def average_precision(
    y_true: ArrayLike,
    scores: ArrayLike,
    *,
    average: str = "macro",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean precision over the gains of recall, scikit-learn's ``average_precision_score``.

    That is sum_k (R_k - R_{k-1}) P_k over the thresholds from the highest to the lowest: the area
    under the precision-recall curve in steps. It needs no threshold; the expected value of random
    scores is the share of positives.

    Parameters
    ----------
    y_true
        0 and 1, shape (n,), or (n, k) for several labels a row.
    scores
        Higher for rows more likely positive, shaped as `y_true`.
    average
        How to average over several labels: "macro", "weighted", "micro" or "samples".
    sample_weight
        Weights of the rows, shape (n,); 1 each by default.

    Returns
    -------
    float
        0, with a UserWarning, where no row is positive.

    Raises
    ------
    ValueError
        What scikit-learn refuses: unequal lengths, NaN, or unfit targets.
    ModuleNotFoundError
        No scikit-learn.
    """
    return float(
        scikit_learn().average_precision_score(
            y_true, scores, average=average, sample_weight=sample_weight
        )
    )


def _score(
    name: str,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    average: str,
    sample_weight: ArrayLike | None,
) -> float:
    if not isinstance(average, str):
        raise TypeError(f"average must be a string, got {average!r}")
    function = getattr(scikit_learn(), name)
    return float(
        function(y_true, y_pred, average=average, sample_weight=sample_weight, zero_division=np.nan)
    )


def scikit_learn() -> Any:
    """Return scikit-learn's metrics; ModuleNotFoundError, with advice, when there are none."""
    try:
        return import_module("sklearn.metrics")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "sklearn":
            raise
        raise ModuleNotFoundError(
            "this metric needs scikit-learn: pip install 'fastmlp[sklearn]'", name="sklearn"
        ) from error
