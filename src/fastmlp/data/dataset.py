"""What every loader hands over: `Dataset`, and the rules for its arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HOLD_OUT = 5
"""Where no test part is given, each row whose index is 4 modulo 5 goes to the test part."""

_EXACT_IN_FLOAT64 = 2.0**53


class Dataset(NamedTuple):
    """Training and test samples, rows being samples.

    Features are uint8 (n, features), which networks scale by 1/255, or float32 or float64
    (n, features), used as they stand. Labels are int64 (n,), or float64 where they are not whole;
    an .npz file may also bring them as (n, k).
    """

    X_train: NDArray[Any]
    y_train: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]


class DownloadError(ConnectionError):
    """A data set could be had neither from a folder of this machine nor from the network."""


def as_features(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Bring an array (n, ...) to features (n, features) by the rules of `load`.

    uint8, float32 and float64 stay; other integers become uint8 if all lie in 0..255, else
    float32. `where` begins the message of a ValueError: rank below 2, NaN or infinity.
    """
    if values.ndim < 2:
        raise ValueError(f"{where}: samples need rows and columns, the shape is {values.shape}")
    flat = values.reshape(len(values), -1)
    if flat.dtype.kind == "f":
        flat = flat.astype(np.float64 if flat.dtype.itemsize >= 8 else np.float32, copy=False)
        _check_finite(flat, where)
        return flat
    if flat.dtype == np.bool_:
        return flat.astype(np.float32)
    if flat.min() >= 0 and flat.max() <= 255:
        return flat.astype(np.uint8, copy=False)
    return flat.astype(np.float32)


def as_labels(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Bring labels to int64 (n,), to float64 (n,) where they are not whole, or keep them (n, k).

    `where` begins the message of a ValueError: another rank, NaN or infinity.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2):
        raise ValueError(f"{where}: labels must be (n,) or (n, k), the shape is {values.shape}")
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    reals = values.astype(np.float64)
    _check_finite(reals, where)
    return reals.astype(np.int64) if reals.ndim == 1 and _are_whole(reals).all() else reals


def check_lengths(X: NDArray[Any], y: NDArray[Any], where: str) -> None:
    """Raise ValueError unless there is one label for each sample."""
    if len(X) != len(y):
        raise ValueError(f"{where}: there are {len(X):,} samples but {len(y):,} labels")


def hold_out(X: NDArray[Any], y: NDArray[Any], where: str) -> Dataset:
    """Split samples: those whose index is 4 modulo 5 are the test part, in their order."""
    if len(X) < HOLD_OUT:
        raise ValueError(
            f"{where}: every fifth row would be held out, but there are only {len(X)} rows; "
            "the test part can also be a file of its own"
        )
    test = np.arange(len(X)) % HOLD_OUT == HOLD_OUT - 1
    return Dataset(X[~test], y[~test], X[test], y[test])


def join(
    train: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]],
    where: str,
    where_test: str,
) -> Dataset:
    """Put a training and a test part together, with one dtype for the features of both.

    Should only one part be uint8, it is converted, so that not just one of them is scaled. The
    training part alone decides whether labels are classes: a single label of the test part that
    is not whole must not make another task of them.

    `where` begins the messages about both parts, `where_test` that about the test part.
    """
    (X_train, y_train), (X_test, y_test) = train, test
    if X_train.shape[1] != X_test.shape[1]:
        raise ValueError(
            f"{where}: the training part has {X_train.shape[1]} features, "
            f"the test part {X_test.shape[1]}"
        )
    if y_train.shape[1:] != y_test.shape[1:]:
        raise ValueError(
            f"{where}: the labels of the training part have the shape {y_train.shape}, "
            f"those of the test part {y_test.shape}"
        )
    if y_train.ndim == 1 and y_train.dtype.kind == "i" and y_test.dtype.kind == "f":
        row = int(np.argmin(_are_whole(y_test)))
        raise ValueError(
            f"{where_test}: the label of row {row} is {y_test[row]}; all labels of the training "
            "part are whole, so those of the test part must be"
        )
    X_dtype = np.result_type(X_train, X_test)
    y_dtype = np.result_type(y_train, y_test)
    return Dataset(
        X_train.astype(X_dtype, copy=False),
        y_train.astype(y_dtype, copy=False),
        X_test.astype(X_dtype, copy=False),
        y_test.astype(y_dtype, copy=False),
    )


def _are_whole(reals: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((reals == np.floor(reals)) & (abs(reals) < _EXACT_IN_FLOAT64))


def _check_finite(values: NDArray[Any], where: str) -> None:
    rows = values.reshape(len(values), -1)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        row = int(bad[0])
        column = int(np.flatnonzero(~np.isfinite(rows[row]))[0])
        raise ValueError(f"{where}: row {row}, column {column} is {rows[row, column]}")
