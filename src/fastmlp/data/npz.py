"""NumPy archives (.npz), read without pickle and without trusting the sizes they declare."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .unpack import read_at_most

NAMES = frozenset({"x", "y", "x_train", "y_train", "x_test", "y_test"})

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,  # from a seek to where the archive says that something lies
    OverflowError,
    RuntimeError,  # an encrypted member, or a way of packing that this Python has not
    UnicodeDecodeError,
)
"""What zipfile raises for bytes that make no archive."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read those arrays of an archive whose lower-case names are in `NAMES`.

    Raises
    ------
    ValueError
        Not an archive, damaged, an array that is not of numbers (pickled objects are never
        read), or one whose bytes are not as many as its header declares.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with path.open("rb") as raw:
        try:
            archive = zipfile.ZipFile(raw)
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy").lower()
                if name not in NAMES:
                    continue
                if name in arrays:
                    raise ValueError(f"{path}: there are two arrays named {name}")
                with archive.open(member) as stream:
                    arrays[name] = _read_array(stream, f"{path}: {member.filename}")
        except _DAMAGE as error:
            raise ValueError(f"{path}: not an .npz archive, or damaged ({error})") from error
    return arrays


def _read_array(stream: IO[bytes], where: str) -> NDArray[Any]:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"format version {version}")
    # NumPy evaluates the header as a literal, which fails in as many ways as there are literals.
    except Exception as error:
        raise ValueError(f"{where}: the array's header is damaged ({error})") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"{where}: the array's dtype is {dtype}, numbers are needed")
    if any(size < 0 for size in shape):
        raise ValueError(f"{where}: the array's header declares the shape {shape}")
    declared = math.prod(shape) * dtype.itemsize
    data = read_at_most(stream, declared + 1)
    if len(data) != declared:
        raise ValueError(
            f"{where}: the array's header declares the shape {shape} of {dtype}, "
            f"{declared:,} bytes, but there are {'more' if len(data) > declared else len(data)}"
        )
    if declared == 0:
        raise ValueError(f"{where}: there are no values, the shape is {shape}")
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(values, dtype.newbyteorder("="))
