"""The task: one digit against the rest, with the digit made rare."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from .settings import SettingsError

VALIDATION_SHARE = 0.2
"""Of the thinned training rows, of either class, those that choose learning rate and threshold."""

FEWEST_POSITIVES = 10
"""In the thinned training data; with fewer there is nothing to choose by."""


class Task(NamedTuple):
    """Rows and their targets, 1 for the digit and 0 for the rest, float32 of shape (n,)."""

    X_train: NDArray[Any]
    y_train: NDArray[np.float32]
    X_valid: NDArray[Any]
    y_valid: NDArray[np.float32]
    X_test: NDArray[Any]
    y_test: NDArray[np.float32]
    test_weight: NDArray[np.float64]
    """Weights of the test rows, shape (n,): see `test_weights`."""
    share: float
    """Positives among the training and validation rows together, as they are after rounding."""


def thinned_counts(positives: int, negatives: int, share: float) -> tuple[int, int]:
    """Return how many rows of each class to keep for a share of positives.

    All negatives stay and the positives are thinned; where there are too few positives for that,
    all of them stay and the negatives are thinned.
    """
    wanted = round(share / (1 - share) * negatives)
    if wanted <= positives:
        return wanted, negatives
    return positives, min(negatives, round((1 - share) / share * positives))


def test_weights(y: NDArray[Any], share: float) -> NDArray[np.float64]:
    """Return weights of rows under which the positives have a given share.

    Negatives weigh 1 and positives alike, so that recall is measured on all positives, and
    precision is what it would be where positives are as rare as in the training data.
    """
    positives = int(np.count_nonzero(y))
    weight = share / (1 - share) * (len(y) - positives) / positives
    return np.where(y > 0, weight, 1.0)


def make_task(dataset: Dataset, digit: int, share: float, seed: int) -> Task:
    """Thin one digit of a data set to a share of the training rows, and split off validation rows.

    The rows that stay are drawn by `seed`. Of two shares with the same seed the smaller one's
    positives are among the larger one's.

    Raises
    ------
    SettingsError
        For `digit` when the data do not hold it, for `shares` when fewer than `FEWEST_POSITIVES`
        positives would stay.
    """
    is_digit = dataset.y_train == digit
    if not (is_digit.any() and (dataset.y_test == digit).any()):
        raise SettingsError("digit", f"the data hold no {digit}")
    positives, negatives = np.flatnonzero(is_digit), np.flatnonzero(~is_digit)
    n_positives, n_negatives = thinned_counts(len(positives), len(negatives), share)
    if n_positives < FEWEST_POSITIVES:
        raise SettingsError(
            "shares",
            f"{share:g} leaves {n_positives} positives beside {n_negatives:,} others, at least "
            f"{FEWEST_POSITIVES} are needed",
        )
    rng = np.random.default_rng(seed)
    parts = [
        rng.permutation(rows)[:count]
        for rows, count in ((positives, n_positives), (negatives, n_negatives))
    ]
    held_out = [round(VALIDATION_SHARE * len(rows)) for rows in parts]
    valid = np.sort(np.concatenate([r[:n] for r, n in zip(parts, held_out, strict=True)]))
    train = np.sort(np.concatenate([r[n:] for r, n in zip(parts, held_out, strict=True)]))
    true_share = n_positives / (n_positives + n_negatives)
    y_test = (dataset.y_test == digit).astype(np.float32)
    return Task(
        X_train=dataset.X_train[train],
        y_train=is_digit[train].astype(np.float32),
        X_valid=dataset.X_train[valid],
        y_valid=is_digit[valid].astype(np.float32),
        X_test=dataset.X_test,
        y_test=y_test,
        test_weight=test_weights(y_test, true_share),
        share=true_share,
    )
