"""Rows of memory-mapped files, read without keeping the file's pages."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def mapping_of(array: object) -> mmap.mmap | None:
    """Return the mapped file that an array lies in, or None."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return array if isinstance(array, mmap.mmap) else None


def in_memory(array: Any) -> Any:
    """Return an array that lies in a mapped file as a copy in memory; anything else as it is."""
    return array if mapping_of(array) is None else np.array(array)


@contextmanager
def reading(rows: Any) -> Iterator[None]:
    """Make a context in which consecutive rows are read, for the last time in a while.

    Rows of a mapped file are asked for as a whole first, which is quicker than page by page.
    Afterwards their pages are let go, where the mapping is read-only and the rows lie together: the
    system may keep them in its cache, but they are not the process's memory any more.
    """
    mapping = mapping_of(rows)
    if mapping is None or not (rows.flags.c_contiguous and rows.size):
        yield
        return
    start = rows.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
    first = start - start % mmap.PAGESIZE
    length = start + rows.nbytes - first
    mapping.madvise(mmap.MADV_WILLNEED, first, length)
    yield
    # A private mapping that can be written would lose what was written to it.
    if memoryview(mapping).readonly:
        mapping.madvise(mmap.MADV_DONTNEED, first, length)
