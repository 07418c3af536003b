"""SciPy's sparse matrices, as the rest of the code takes them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_COLUMNS = 2**31 - 1
"""Columns are kept as int32."""


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Compressed sparse rows (CSR), checked: row i is values[p] in columns[p] for p from starts[i]
    to starts[i + 1], columns ascending, none twice.

    Attributes
    ----------
    values
        (elements,) of float32, float64 or uint8.
    columns
        (elements,) int32.
    starts
        (rows + 1,) int64.
    shape
        Rows and columns.
    """

    values: Array
    columns: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.values.nbytes + self.columns.nbytes

    @classmethod
    def concatenated(cls, parts: "Sequence[SparseRows]") -> "SparseRows":
        """Return the rows of several, which have as many columns, one after the other, copied."""
        counts = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.columns for part in parts]),
            np.concatenate([[0], np.cumsum(counts)]),
            (len(counts), parts[0].shape[1]),
        )

    def dense(self, rows: Array | slice) -> Array:
        """Return some of the rows as a dense matrix."""
        chosen = np.arange(len(self))[rows]
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        which = np.repeat(np.arange(len(chosen)), lengths)
        within = np.arange(len(which)) - np.repeat(lengths.cumsum() - lengths, lengths)
        elements = np.repeat(self.starts[chosen], lengths) + within
        matrix = np.zeros((len(chosen), self.shape[1]), self.dtype)
        matrix[which, self.columns[elements]] = self.values[elements]
        return matrix

    def place_of(self, element: int) -> tuple[int, int]:
        """Return row and column of an element."""
        row = int(np.searchsorted(self.starts, element, side="right")) - 1
        return row, int(self.columns[element])


def is_sparse(value: object) -> bool:
    """Return whether a value is a sparse matrix or array of SciPy's."""
    # Looked up, as only a program that has imported scipy.sparse has any.
    module = sys.modules.get("scipy.sparse")
    # Another thread may be in the middle of that import.
    issparse = getattr(module, "issparse", None)
    return issparse is not None and bool(issparse(value))


def from_scipy(matrix: Any, name: str) -> SparseRows:
    """Return a sparse matrix of SciPy's as CSR, sharing memory where it can.

    ValueError, beginning with `name`, when its index arrays do not fit together.
    """
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, its shape is {matrix.shape}")
    n_rows, n_columns = matrix.shape
    if n_columns > MAX_COLUMNS:
        raise ValueError(f"{name} has {n_columns} columns, at most {MAX_COLUMNS} are possible")
    csr = matrix.tocsr()
    starts = np.require(csr.indptr, np.int64, ("C", "A"))
    # Other code may have made the arrays, and the engine goes where they point.
    if starts.shape != (n_rows + 1,) or starts[0] != 0 or (np.diff(starts) < 0).any():
        raise ValueError(f"{name}.indptr must be {n_rows + 1} ascending numbers from 0")
    n_elements = int(starts[-1])
    indices, values = csr.indices[:n_elements], csr.data[:n_elements]
    if len(indices) < n_elements or len(values) < n_elements:
        raise ValueError(f"{name}.indptr ends at {n_elements}, beyond indices or data")
    if n_elements and not (indices.min() >= 0 and indices.max() < n_columns):
        raise ValueError(f"{name}.indices must be in [0, {n_columns})")
    if not _is_ascending(indices, starts):
        csr = csr.copy()
        # SciPy believes a flag that may be out of date.
        csr.has_sorted_indices = csr.has_canonical_format = False
        csr.sum_duplicates()
        indices, values = csr.indices, csr.data
        starts = np.require(csr.indptr, np.int64, ("C", "A"))
    columns = np.require(indices, np.int32, ("C", "A"))
    return SparseRows(np.require(values, None, ("C", "A")), columns, starts, (n_rows, n_columns))


def _is_ascending(indices: Array, starts: npt.NDArray[np.int64]) -> bool:
    """Return whether the columns of every row ascend, none twice."""
    descends = indices[1:] <= indices[:-1]
    # From a row's last element to the next row's first anything goes.
    ends = starts[1:-1]
    descends[ends[(ends > 0) & (ends < len(indices))] - 1] = False
    return not descends.any()
