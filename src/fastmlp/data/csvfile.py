"""CSV files of numbers: a label first, then the features; separated by commas."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .unpack import unpacked

_ROWS_AT_A_TIME = 4096

_Line: TypeAlias = tuple[int, str]


def read_table(
    path: Path, n_features: int | None = None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read a CSV file, plain or gzip, as features and labels.

    A first line of names is skipped, and blank lines are; spaces around values, a byte order mark
    and any kind of line end are accepted. The first line holds names if its first field is not a
    number, unless all its other fields are numbers other than 0, 1, 2, ... or 1, 2, 3, ...

    Parameters
    ----------
    path
        The file.
    n_features
        None: each row is a label and its features. A number: rows have that many columns, or one
        more, the label, in front.

    Returns
    -------
    features : uint8 (n, features) if all are whole numbers in 0..255, else float32
    labels : float64 (n, 1), or (n, 0) if the rows have none

    Raises
    ------
    ValueError
        With the line, counted from 1 and the header included: a value that is not a finite
        number, a row of another width. Also a file without rows or without features.
    """
    features: list[NDArray[Any]] = []
    labels: list[NDArray[np.float64]] = []
    with unpacked(path) as stream:
        # Bytes that are no UTF-8 are replaced: they are no number either, and their line is named.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")
        lines: Iterator[_Line] = (line for line in enumerate(text, 1) if not line[1].isspace())
        first = next(lines, None)
        if first is None:
            raise ValueError(f"{path}: the file is empty")
        width = len(first[1].split(","))
        skip = _label_columns(width, n_features, f"{path}, line {first[0]}")
        if not _holds_names(first[1]):
            lines = chain([first], lines)
        for rows, table in _tables(path, lines, first[0], width):
            part = _features(table[:, skip:])
            finite = np.isfinite(np.hstack([table[:, :skip], part]))
            if not finite.all():
                row, column = np.argwhere(~finite)[0]
                number, line = rows[row]
                raise ValueError(
                    f"{path}, line {number}, column {column + 1}: "
                    f"{_quote(line.split(',')[column])} is not a finite number"
                )
            features.append(part)
            labels.append(table[:, :skip].astype(np.float64))
    if not features:
        raise ValueError(f"{path}: there is no row after the names in line {first[0]}")
    return np.concatenate(features), np.concatenate(labels)


def _label_columns(width: int, n_features: int | None, where: str) -> int:
    if n_features is None:
        if width == 1:
            raise ValueError(
                f"{where}: there is one column; a label and features are needed, "
                "separated by commas"
            )
        return 1
    if width - n_features not in (0, 1):
        raise ValueError(
            f"{where}: there are {width} columns; {n_features} features are needed, "
            "with or without a label in front of them, separated by commas"
        )
    return width - n_features


def _holds_names(line: str) -> bool:
    first, *others = (_as_number(field) for field in line.split(","))
    if first is not None:
        return False
    return None in others or others in ([*range(len(others))], [*range(1, len(others) + 1)])


def _as_number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _tables(
    path: Path, lines: Iterator[_Line], first_line: int, width: int
) -> Iterator[tuple[list[_Line], NDArray[Any]]]:
    """Parse lines some thousand at a time: uint8 while that suffices, then float64."""
    dtype: DTypeLike = np.uint8
    while rows := list(islice(lines, _ROWS_AT_A_TIME)):
        texts = [text for _, text in rows]
        table = _parse(texts, dtype)
        if table is None and dtype is np.uint8:
            dtype = np.float64
            table = _parse(texts, dtype)
        if table is None or table.shape[1] != width:
            raise ValueError(f"{path}, {next(_faults(rows, first_line, width))}")
        yield rows, table


def _parse(texts: list[str], dtype: DTypeLike) -> NDArray[Any] | None:
    with warnings.catch_warnings():
        # Older NumPy reads "1.5" and "300" as uint8 with no more than this warning.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.loadtxt(
                texts, dtype=dtype, delimiter=",", comments=None, ndmin=2, encoding=None
            )
        except (ValueError, DeprecationWarning):
            return None


def _features(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype == np.uint8:
        return values
    if np.all((values >= 0) & (values <= 255) & (values == np.floor(values))):
        return values.astype(np.uint8)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _faults(rows: list[_Line], first_line: int, width: int) -> Iterator[str]:
    for number, text in rows:
        fields = text.split(",")
        if len(fields) != width:
            columns = f"{len(fields)} column{'s' * (len(fields) != 1)}"
            yield f"line {number}: the row has {columns}, line {first_line} has {width}"
        elif _parse([text], np.float64) is None:
            for column, field in enumerate(fields, 1):
                if not field.strip() or _parse([field], np.float64) is None:
                    yield f"line {number}, column {column}: {_quote(field)} is not a number"


def _quote(field: str) -> str:
    field = field.strip()
    return repr(field if len(field) <= 40 else field[:40] + "...")
