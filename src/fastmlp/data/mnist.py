"""MNIST: 70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes and Burges)."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import idx
from .dataset import Dataset, DownloadError

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of the unpacked bytes: mirrors pack them with gzip in different ways."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

_TIMEOUT = 30
"""Seconds without an answer after which a mirror is given up."""


def load_mnist() -> Dataset:
    """Load MNIST from `$FASTMLP_DATA_DIR/mnist`, the user's cache, or the network.

    Returns
    -------
    Dataset
        X uint8 (60000, 784) and (10000, 784), y int64 (60000,) and (10000,).

    Raises
    ------
    FileNotFoundError
        `$FASTMLP_DATA_DIR/mnist` lacks a file.
    ValueError
        A file in `$FASTMLP_DATA_DIR/mnist` is not MNIST's.
    DownloadError
        There is neither a copy of the files nor a mirror in reach, or the cache cannot be used;
        the message says what to do.
    ImportError
        There is no copy of the files and the library pooch, which would fetch them, is missing.
    """
    folder = _configured_folder()
    if folder is None:
        cache = cache_folder()
        try:
            arrays = _from_cache_or_network(cache)
        except DownloadError:
            raise
        except OSError as error:
            raise DownloadError(
                f"{cache}: MNIST cannot be kept in this cache ({error.strerror or error}); let the "
                "environment variable XDG_CACHE_HOME name a folder that can be written, or "
                "FASTMLP_DATA_DIR one with MNIST's files in its folder mnist"
            ) from error
    else:
        arrays = [_read_configured(folder, name) for name in MD5]
    X_train, y_train, X_test, y_test = arrays
    return Dataset(
        X_train.reshape(len(X_train), -1),
        y_train.astype(np.int64),
        X_test.reshape(len(X_test), -1),
        y_test.astype(np.int64),
    )


def cache_folder() -> Path:
    """Folder in which downloaded files are kept; XDG_CACHE_HOME is honored everywhere."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        root = Path(base)
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path.home() / ".cache"
    return root / "fastmlp" / "mnist"


def _configured_folder() -> Path | None:
    base = os.environ.get("FASTMLP_DATA_DIR")
    folder = Path(base).expanduser() / "mnist" if base else None
    return folder if folder is not None and folder.is_dir() else None


def _read_configured(folder: Path, name: str) -> NDArray[Any]:
    path = idx.find(folder, name)
    if path is None:
        raise FileNotFoundError(f"{folder}: {name} (or {name}.gz) of MNIST is missing")
    try:
        return idx.read_array(path, md5=MD5[name])
    except ValueError as error:
        raise ValueError(
            f"{error}; this is not MNIST's file (a data set in the same format is loaded by the "
            "path of its folder)"
        ) from error


def _from_cache_or_network(folder: Path) -> list[NDArray[Any]]:
    override = os.environ.get("FASTMLP_MNIST_URL")
    mirrors = [override.rstrip("/") + "/"] if override else list(MIRRORS)
    arrays = []
    for name in MD5:
        values = _read_cached(folder, name)
        arrays.append(_download(folder, name, mirrors) if values is None else values)
    return arrays


def _read_cached(folder: Path, name: str) -> NDArray[Any] | None:
    while path := idx.find(folder, name):
        try:
            return idx.read_array(path, md5=MD5[name])
        except ValueError:
            path.unlink(missing_ok=True)
    return None


def _download(folder: Path, name: str, mirrors: list[str]) -> NDArray[Any]:
    """Fetch a file into `folder` from the first mirror that has it, which is moved to the front."""
    fetch = _downloader()
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for place, mirror in enumerate(mirrors):
        url = f"{mirror}{name}.gz"
        # Only what has been checked enters the cache, whole, by a rename.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            path = Path(scratch, f"{name}.gz")
            try:
                fetch(url, str(path), None)
                values = idx.read_array(path, md5=MD5[name])
            # The exceptions of requests, with which pooch fetches, are OSErrors.
            except (OSError, ValueError) as error:
                failures.append(f"  {url}: {str(error).removeprefix(f'{path}: ')}")
                continue
            path.replace(folder / path.name)
        mirrors.insert(0, mirrors.pop(place))
        return values
    raise DownloadError(
        "MNIST is not on this machine and could not be downloaded:\n"
        + "\n".join(failures)
        + f"\nEither put {', '.join(f'{name}.gz' for name in MD5)} (or the unpacked files, "
        f"without .gz) into {folder}, or into the folder mnist below one that the environment "
        "variable FASTMLP_DATA_DIR names; or name a mirror with FASTMLP_MNIST_URL; or use the "
        "data set digits, which needs no network."
    )


def _downloader() -> Callable[[str, str, None], object]:
    try:
        pooch = import_module("pooch")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "downloading MNIST needs the library pooch: pip install 'fastmlp[data]'; or put its "
            f"files into {cache_folder()}, or use the data set digits",
            name=error.name,
        ) from error
    downloader: Callable[[str, str, None], object] = pooch.HTTPDownloader(
        progressbar=find_spec("tqdm") is not None, chunk_size=1 << 16, timeout=_TIMEOUT
    )
    return downloader
