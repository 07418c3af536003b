"""Files that the commands write, each replacing an older one as a whole or not at all."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from fastmlp.io.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_text(path: Path, text: str) -> None:
    """Write a text file, encoded in UTF-8."""
    replace_file(path, text.encode())


def write_figure(path: Path, figure: "Figure") -> None:
    """Write a figure as a PNG file, whatever the path's suffix."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    replace_file(path, buffer.getvalue())
