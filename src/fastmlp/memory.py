"""Arrays as the core takes them, with contiguous rows or elements: copied where they are not."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def rows(array: Array) -> Array:
    """Return a matrix whose rows are contiguous: the array itself if it can be read so."""
    usable = array.flags.aligned and (array.shape[1] == 1 or array.strides[1] == array.itemsize)
    return array if usable else np.array(array, order="C")


def out_rows(out: Array) -> Array:
    """Return `out` if the core can write into it, else an array to be copied into it."""
    usable = (
        out.flags.aligned
        and (out.shape[1] == 1 or out.strides[1] == out.itemsize)
        and (out.shape[0] == 1 or out.strides[0] >= out.shape[1] * out.itemsize)
    )
    return out if usable else np.empty(out.shape, out.dtype)


def oriented(array: Array, transpose: bool) -> tuple[Array, bool]:
    """Return a matrix with contiguous rows, and whether to transpose it: a transposed view needs
    no copy."""
    if array.shape[1] > 1 and array.strides[0] == array.itemsize and array.flags.aligned:
        return rows(array.T), not transpose
    return rows(array), transpose


def flat(array: Array) -> Array:
    """Return the elements in order as one contiguous row: a view where that is possible."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array.reshape(-1)
    return np.array(array, order="C").reshape(-1)


def deliver(result: Array, out: Array) -> Array:
    """Copy a result into `out`, unless it was written there."""
    if result is not out:
        out[...] = result.reshape(out.shape)
    return out
