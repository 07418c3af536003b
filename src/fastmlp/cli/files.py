"""Files that the commands write, each replacing an older one as a whole or not at all."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastmlp.io.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_text(path: Path, text: str) -> None:
    """Write a text file, encoded in UTF-8."""
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
    replace_file(path, buffer.getvalue())
