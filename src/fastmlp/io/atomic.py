"""Replacing a file as a whole or not at all."""

import os
import stat
import tempfile


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, meets the old one or the new one.

    The content goes to a new file in the same folder, is flushed to the disk, and then takes the
    name over. A symbolic link stays one: what it points to is replaced.
    """
    target = os.path.realpath(path)
    folder, base = os.path.split(target)
    try:
        # Of the path itself: realpath passes over links in a loop, which are an error here.
        old = os.stat(path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{path}: there is no folder {folder}") from None
        mode = 0o666 & ~_umask()
    else:
        if stat.S_ISDIR(old):
            raise IsADirectoryError(f"{path} is a folder")
        if not stat.S_ISREG(old):
            raise OSError(f"{path} is not a regular file, and would be replaced by one")
        mode = old & 0o777
    descriptor, name = tempfile.mkstemp(prefix=f".{base}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
