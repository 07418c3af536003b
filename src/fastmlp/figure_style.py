"""How the figures of the package look, and how they are made without pyplot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

INK = "#22272e"
MUTED = "#69727d"
GRID = "#e6e9ed"
DPI = 160
FONT = 10.0
"""Points of the text in a figure."""


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches; ModuleNotFoundError when there is no matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        raise ModuleNotFoundError(
            "figures need matplotlib: pip install 'fastmlp[plot]'", name="matplotlib"
        ) from error
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")


def printable(text: str) -> str:
    """Escape what no font can show: bytes of a file's name that are no text."""
    return text.encode(errors="backslashreplace").decode()


def show_as_they_stand(figure: Figure, given: Iterable[Text]) -> None:
    """Take no text for TeX, whatever matplotlibrc says, and those given by the user not for math.

    An own setting for each text, as matplotlib's settings are those of all threads. Ticks that are
    added when the figure is drawn copy those of the ticks that are there.
    """
    from matplotlib.text import Text

    for artist in figure.findobj():
        if isinstance(artist, Text):
            artist.set_usetex(False)
    for text in given:
        text.set_parse_math(False)


def style_axes(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Give a panel its title, the names of its axes, and the look of the package."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel(xlabel, fontsize=FONT, color=MUTED)
    axes.set_ylabel(ylabel, fontsize=FONT, color=MUTED)
    axes.set_facecolor("white")
    axes.grid(visible=True, axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED, pad=5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#b9c0c8")
