"""Replacing a file as a whole or not at all."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

SUFFIX = ".partial"
"""Of files that are being written."""

RANDOM = "?" * 8
"""What `tempfile` puts into their names, as a pattern."""


def check_replaceable(path: str | os.PathLike[str]) -> int:
    """Return the permissions that a file which is written has; raise OSError where none can be."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        # Of the path itself: realpath passes over links in a loop, which are an error here.
        old = os.stat(path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{path}: there is no folder {folder}") from None
        return 0o666 & ~_umask()
    if stat.S_ISDIR(old):
        raise IsADirectoryError(f"{path} is a folder")
    if not stat.S_ISREG(old):
        raise OSError(f"{path} is not a regular file, and would be replaced by one")
    return old & 0o777


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError where `replace_file` could not even begin."""
    check_replaceable(path)
    descriptor, name = _new_file(os.path.realpath(path))
    os.close(descriptor)
    os.unlink(name)


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, meets the old one or the new one.

    The content goes to a new file in the same folder, is flushed to the disk, and then takes the
    name over. A symbolic link stays one: what it points to is replaced.
    """
    mode = check_replaceable(path)
    target = os.path.realpath(path)
    descriptor, name = _new_file(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        # Ctrl-C may have come once the name was taken over.
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _flush_folder(os.path.dirname(target))


def remove_partial(path: str | os.PathLike[str]) -> None:
    """Remove what writers of a file that were killed have left beside it."""
    folder, base = os.path.split(os.path.realpath(path))
    escaped = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in f".{base}.")
    for left in Path(folder).glob(f"{escaped}{RANDOM}{SUFFIX}"):
        left.unlink(missing_ok=True)


def _new_file(target: str) -> tuple[int, str]:
    """Return a file that is open, and its name, beside one that it is to replace."""
    folder, base = os.path.split(target)
    return tempfile.mkstemp(prefix=f".{base}.", suffix=SUFFIX, dir=folder)


def _flush_folder(folder: str) -> None:
    """Have the disk know a folder's names, without which a new one may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems cannot, and then keep names in another way.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
