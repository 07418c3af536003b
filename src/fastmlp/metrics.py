"""How well predicted classes match the true ones."""

from typing import NamedTuple

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
