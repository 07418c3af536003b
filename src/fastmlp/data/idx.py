"""IDX files, as MNIST's: two zero bytes, type, rank, sizes (uint32), values; all big-endian."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import as_features, as_labels, check_lengths
from .unpack import read_at_most, unpacked

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

PARTS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Names of the files in a folder, images and labels; with or without .gz."""


def read_array(path: Path, *, md5: str | None = None) -> NDArray[Any]:
    """Read an IDX file, plain or gzip, as an array of the shape and dtype it declares.

    Parameters
    ----------
    path
        The file.
    md5
        Hexadecimal MD5 that the unpacked bytes must have.

    Raises
    ------
    ValueError
        A header that is none, a size other than the declared one, or another checksum.
    """
    with unpacked(path) as stream:
        head = read_at_most(stream, 4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
            raise ValueError(
                f"{path}: not an IDX file: bytes 0 to 3 are {bytes(head).hex(' ') or 'missing'}, "
                "two zeros, a type (08 to 0e) and a rank are expected"
            )
        dtype, rank = np.dtype(TYPES[head[2]]), head[3]
        if not 1 <= rank <= 32:
            raise ValueError(f"{path}: byte 3 of the IDX header gives rank {rank}, not 1 to 32")
        sizes = read_at_most(stream, 4 * rank)
        if len(sizes) < 4 * rank:
            raise ValueError(
                f"{path}: the IDX header of rank {rank} takes {4 + 4 * rank} bytes, "
                f"the file ends at byte {4 + len(sizes)}"
            )
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        declared = math.prod(shape) * dtype.itemsize
        # One byte more tells a file that goes on from one that ends where it should.
        data = read_at_most(stream, declared + 1)
        start = 4 + 4 * rank
        if len(data) < declared:
            raise ValueError(
                f"{path}: the IDX header declares {_times(shape)} values, {start + declared:,} "
                f"bytes with the header, but the file ends at byte {start + len(data):,}"
            )
        if len(data) > declared:
            raise ValueError(
                f"{path}: the IDX header declares {_times(shape)} values, which end at byte "
                f"{start + declared:,}, but the file goes on"
            )
    if md5 is not None:
        digest = hashlib.md5(head + sizes, usedforsecurity=False)
        digest.update(data)
        if digest.hexdigest() != md5:
            raise ValueError(
                f"{path}: the MD5 of the unpacked bytes is {digest.hexdigest()}, expected {md5}"
            )
    if 0 in shape:
        raise ValueError(f"{path}: the IDX header declares {_times(shape)} values, none at all")
    values = np.frombuffer(data, dtype).reshape(shape)
    # A copy, as NumPy's own memory comes in huge pages where the system has them: training reads
    # rows at random, and would otherwise wait for the addresses of their pages.
    return values.astype(dtype.newbyteorder("="))


def find(folder: Path, name: str) -> Path | None:
    """Find a file of an IDX folder, plain or .gz, named with `-idx` or, as some copies, `.idx`."""
    for stem in (name, name.replace("-idx", ".idx")):
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    return None


def read_part(folder: Path, part: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Read a folder's "train" or "test" part as (X, y); None if neither of its files is there."""
    paths = [find(folder, name) for name in PARTS[part]]
    if all(path is None for path in paths):
        return None
    images, labels = paths
    if images is None or labels is None:
        missing = PARTS[part][0 if images is None else 1]
        raise FileNotFoundError(f"{folder}: {missing} (or {missing}.gz) is missing")
    return _read_pair(images, labels)


def read_pair(images: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read a file of images and the labels' file beside it, named alike: (X, y)."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    labels = find(images.parent, name.removesuffix(".gz"))
    if labels is None or labels.name == images.name:
        raise FileNotFoundError(
            f"{images}: the file of its labels is looked for beside it under the name that has "
            "labels-idx1 in place of images-idx3, and is not there"
        )
    return _read_pair(images, labels)


def _read_pair(images: Path, labels: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    X = as_features(read_array(images), str(images))
    y = as_labels(read_array(labels), str(labels))
    check_lengths(X, y, f"{images} and {labels.name}")
    return X, y


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
