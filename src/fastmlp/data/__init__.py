"""Data sets: embedded digits, MNIST, and files in CSV, .npz and IDX; and data larger than memory.

>>> import fastmlp as fm
>>> X_train, y_train, X_test, y_test = fm.data.load("digits")
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from ..sources import Batches, Blocks
from .dataset import Dataset, DownloadError, as_features, as_labels, check_lengths, hold_out, join

__all__ = [
    "NAMES",
    "Batches",
    "Blocks",
    "Dataset",
    "DownloadError",
    "load",
    "read",
    "read_features",
]

NAMES = ("digits", "mnist")
"""Data sets that `load` knows by name."""

_Path: TypeAlias = str | os.PathLike[str]

_FILES = "a .csv or .npz file, an IDX file (CSV and IDX also as .gz), or a folder of IDX files"


def load(source: _Path, *, test: _Path | None = None) -> Dataset:
    """Load a data set by its name or path, as a training and a test part.

    ``"digits"``
        1,797 images of 8 x 8, embedded in the package; see `fastmlp.data.digits`.
    ``"mnist"``
        70,000 images of 28 x 28, from ``$FASTMLP_DATA_DIR/mnist``, the user's cache or the
        network (which needs ``fastmlp[data]``); see `fastmlp.data.mnist`.
    a .csv file, also .gz
        Rows of a label and its features, separated by commas; a line of names may come first.
    an .npz file
        Arrays ``x_train``, ``y_train``, ``x_test``, ``y_test`` as in Keras's ``mnist.npz``, or
        ``X`` and ``y``, in any letter case.
    a folder of IDX files, plain or .gz
        ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same with ``t10k`` for
        the test part: the names of MNIST and of its successors such as Fashion-MNIST.
    an IDX file of images
        The file of its labels lies beside it, with ``labels-idx1`` in its name in place of
        ``images-idx3``.

    Features of floating-point type in .npz and IDX files keep it, float32 or float64. Others come
    as uint8, which networks scale by 1/255, if they are whole numbers in 0..255 throughout, else
    as float32; ``X.astype(np.float32)`` undoes the scaling of small whole numbers that are no
    pixels. Both parts get the same dtype. Samples of higher rank are flattened to rows. Labels
    are int64 if they are whole, else float64; where those of the training part are whole, those
    of the test part must be.

    Parameters
    ----------
    source
        Name or path; a name wins over a file that is called so (``"./mnist"`` is a path).
    test
        Path to the file of the test part, in any of the formats that `read` takes. Without it,
        and where `source` brings no test part, every fifth row, index 4 modulo 5, is held out.

    Returns
    -------
    Dataset
        ``(X_train, y_train, X_test, y_test)``.

    Raises
    ------
    FileNotFoundError
        Neither a name nor a path that exists; a file that belongs to the set is missing.
    ValueError
        A file that is broken, naming the line or byte, or has no rows; parts that do not match;
        `test` together with a name.
    DownloadError
        MNIST is not on this machine and cannot be downloaded; a ConnectionError.
    """
    if source in NAMES:
        if test is not None:
            raise ValueError(f"test: the data set {source!r} brings its own test part")
        if source == "digits":
            from .digits import load_digits

            return load_digits()
        from .mnist import load_mnist

        return load_mnist()

    path = _existing(source)
    train, own_test = _read_parts(path)
    if test is not None:
        return join(train, read(test), f"{path} and {os.fspath(test)}", os.fspath(test))
    if own_test is not None:
        return join(train, own_test, str(path), f"{path}, test part")
    return hold_out(*train, str(path))


def read(path: _Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read all rows of one file as they stand: (X, y), by the rules of `load`.

    Takes a CSV file, an .npz file with ``X`` and ``y``, or an IDX file of images with its labels
    beside it.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `load`; also a file that brings a training and a test part.
    """
    place = _existing(path)
    rows, test = _read_parts(place)
    if test is not None or place.is_dir():
        raise ValueError(f"{place}: one set of rows is needed, not a training and a test part")
    return rows


def read_features(path: _Path, n_features: int) -> NDArray[Any]:
    """Read the samples of one file to predict on, with or without labels: X (n, n_features).

    Takes a CSV file whose rows have `n_features` columns, or one more, a label in front, which
    is dropped; an .npz file with ``X``; or an IDX file of images. The dtype follows the rules of
    `load` and looks at this file alone: for a network trained on features that were not scaled
    convert uint8 with ``X.astype(np.float32)``.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `load`; also samples of another width.
    """
    place = _existing(path)
    kind = _kind(place)
    if kind == "csv":
        from .csvfile import read_table

        return read_table(place, n_features)[0]
    if kind == "npz":
        from .npz import read_arrays

        arrays = read_arrays(place)
        if "x" not in arrays:
            raise ValueError(f"{place}: an array named X is needed, there is {_listed(arrays)}")
        X = as_features(arrays["x"], f"{place}: X")
    elif kind == "idx":
        from .idx import read_array

        X = as_features(read_array(place), str(place))
    else:
        raise ValueError(f"{place}: a folder; one file is needed")
    if X.shape[1] != n_features:
        raise ValueError(f"{place}: samples have {X.shape[1]} features, {n_features} are needed")
    return X


_Rows: TypeAlias = tuple[NDArray[Any], NDArray[Any]]


def _existing(path: _Path) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"a name or a path is needed, not {type(path).__name__}")
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(
            f"there is no file or folder {str(place)!r}; the names are "
            f"{' and '.join(repr(name) for name in NAMES)}, a path leads to {_FILES}"
        )
    if not (place.is_file() or place.is_dir()):
        # Files are read more than once, and a pipe can keep its reader waiting for ever.
        raise ValueError(
            f"{place}: a device or a pipe, which cannot be read here; write the rows to a file"
        )
    return place


def _kind(path: Path) -> str:
    """Tell the format of a file by its first bytes, and only then by its name."""
    if path.is_dir():
        return "folder"
    from .unpack import read_at_most, unpacked

    with unpacked(path) as stream:
        head = bytes(read_at_most(stream, 4))
    name = path.name.lower().removesuffix(".gz")
    if head == b"PK\x03\x04" or name.endswith(".npz"):
        return "npz"
    if head[:2] == b"\0\0" or name.endswith("-ubyte"):
        return "idx"
    if name.endswith((".csv", ".txt")):
        return "csv"
    raise ValueError(f"{path}: the format is not known; what can be read is {_FILES}")


def _read_parts(path: Path) -> tuple[_Rows, _Rows | None]:
    """Read a path as its training part, or only one, and its test part if it has one."""
    kind = _kind(path)
    if kind == "csv":
        from .csvfile import read_table

        X, labels = read_table(path)
        return (X, as_labels(labels, str(path))), None
    if kind == "npz":
        return _read_npz(path)
    from . import idx

    if kind == "idx":
        return idx.read_pair(path), None
    train = idx.read_part(path, "train")
    if train is None:
        names = ", ".join(f"{name}[.gz]" for name in idx.PARTS["train"])
        raise FileNotFoundError(f"{path}: a folder of IDX files has {names}; they are missing")
    return train, idx.read_part(path, "test")


def _read_npz(path: Path) -> tuple[_Rows, _Rows | None]:
    from .npz import read_arrays

    arrays = read_arrays(path)

    def rows(suffix: str) -> _Rows:
        X = as_features(arrays[f"x{suffix}"], f"{path}: x{suffix}")
        y = as_labels(arrays[f"y{suffix}"], f"{path}: y{suffix}")
        check_lengths(X, y, f"{path}: x{suffix} and y{suffix}")
        return X, y

    if arrays.keys() == {"x_train", "y_train", "x_test", "y_test"}:
        return rows("_train"), rows("_test")
    if arrays.keys() == {"x", "y"}:
        return rows(""), None
    raise ValueError(
        f"{path}: arrays named x_train, y_train, x_test and y_test, or X and y, are needed; "
        f"there is {_listed(arrays)}"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none of them"
