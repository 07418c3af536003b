"""Files that the commands write, each replacing an older one as a whole or not at all."""

import io
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastmlp.io.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def naming(name: Path | str) -> Iterator[None]:
    """Put a name to errors of the system, such as a full disk, which come without."""
    try:
        yield
    except OSError as problem:
        if problem.strerror is None:
            raise
        raise OSError(problem.errno, problem.strerror, str(name)) from problem


def check_target(path: Path, option: str) -> None:
    """Find out before any work whether a file can take its place; `option` begins the OSError."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        folder = path.resolve().parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{option}: there is no folder {folder}") from None
    except OSError as problem:
        raise OSError(f"{option}: cannot write to {path}: {problem.strerror}") from None
    else:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{option}: {path} is a folder, a file is needed")
        if not stat.S_ISREG(mode):
            raise OSError(f"{option}: {path} is a device or a pipe, a file is needed")


def prepare_folder(folder: Path, names: Iterable[str]) -> None:
    """Create the folder of --out, and make sure that files of these names can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError:
        kind = "file, not a folder" if folder.exists() else "symbolic link that leads nowhere"
        raise FileExistsError(f"--out: {folder} is a {kind}") from None
    except OSError as problem:
        raise OSError(f"--out: cannot write to {folder}: {problem.strerror}") from None
    for name in names:
        check_target(folder / name, "--out")


def write_text(path: Path, text: str) -> None:
    """Write a text file, encoded in UTF-8."""
    with naming(path):
        replace_file(path, text.encode())


def write_figure(path: Path, draw: Callable[[], "Figure"]) -> None:
    """Write the figure that a function draws as a PNG file, whatever the path's suffix.

    Raises
    ------
    ValueError
        It cannot be drawn.
    """
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            # Letters that the font lacks are boxes in the picture, and no more than that.
            warnings.filterwarnings("ignore", message="Glyph")
            draw().savefig(buffer, format="png")
    # matplotlib fails in as many ways as its settings can be wrong, some of them in many lines.
    except Exception as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise ValueError(f"{path}: the picture cannot be drawn: {reason}") from problem
    with naming(path):
        replace_file(path, buffer.getvalue())
