"""The figures of the study. Each function returns a matplotlib ``Figure`` made without pyplot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..figure_style import FONT, GRID, INK, MUTED, new_figure, show_as_they_stand, style_axes
from .results import THRESHOLDS, Results
from .settings import Settings
from .trial import RECALL_GRID

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colors that people who do not tell red from green tell apart (Okabe and Ito 2008).
_BLACK, _BLUE, _GREEN = "#000000", "#0072b2", "#009e73"
_VERMILION, _PURPLE = "#d55e00", "#cc79a7"
_THRESHOLD_TITLES = {"at_half": "threshold 0.5", "at_best": "best threshold"}


class _Look(NamedTuple):
    color: str
    line: str | tuple[int, tuple[int, ...]]


def _gamma_colors(count: int) -> list[str]:
    """Return colors from light to dark, for rising gamma."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = [0.7] if count == 1 else np.linspace(0.4, 0.95, count)
    return [to_hex(colormaps["Blues"](float(shade))) for shade in shades]


def _looks(settings: Settings) -> dict[str, _Look]:
    """Return color and line of each loss: a color for a family, shades of blue for gamma."""
    focal = iter(_gamma_colors(len(settings.gammas)))
    looks = {}
    for contender in settings.contenders:
        if contender.gamma:
            looks[contender.name] = _Look(next(focal), "-")
        elif contender.gamma == 0:
            looks[contender.name] = _Look(_BLACK, "-")
        elif contender.name.startswith("weighted"):
            looks[contender.name] = _Look(_BLACK, (0, (4, 2)))
        elif contender.name.startswith("dice"):
            line = "-" if contender.name == "dice-batch" else (0, (4, 2))
            looks[contender.name] = _Look(_VERMILION, line)
        else:
            looks[contender.name] = _Look(_GREEN, (0, (4, 2)))
    return looks


def _percent(share: float) -> str:
    return f"{100 * share:g} % positive"


def _finish(figure: Figure) -> Figure:
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.set(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.03)  # type: ignore[call-arg]
    show_as_they_stand(figure, [])
    return figure


def focal_figure(gammas: Sequence[float] = (0, 0.5, 1, 2, 5)) -> Figure:
    """Draw the focal loss -(1 - p)^gamma log p against the probability p of the true class.

    Raises
    ------
    ValueError
        No gamma, or one that is negative or not finite.
    ModuleNotFoundError
        No matplotlib.
    """
    values = [float(gamma) for gamma in gammas]
    if not values or not all(np.isfinite(g) and g >= 0 for g in values):
        raise ValueError(f"gammas must be one or more finite numbers of at least 0, got {gammas}")
    figure = new_figure(7.2, 4.6)
    axes = figure.subplots()
    style_axes(axes, "Focal loss", "probability of the true class", "loss")
    p = np.linspace(0.005, 1, 400)
    shades = iter(_gamma_colors(sum(gamma > 0 for gamma in values)))
    for gamma in values:
        color = next(shades) if gamma > 0 else _BLACK
        name = f"\N{GREEK SMALL LETTER GAMMA} = {gamma:g}"
        label = name if gamma else f"{name}, cross-entropy"
        axes.plot(p, -((1 - p) ** gamma) * np.log(p), color=color, linewidth=2.2, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 4)
    axes.axvspan(0.5, 1, color=GRID, alpha=0.45, linewidth=0, zorder=0)
    axes.text(0.75, 1.2, "classified well", color=MUTED, fontsize=9, ha="center", va="center")
    axes.legend(frameon=False, fontsize=FONT, labelcolor=INK, loc="upper right")
    return _finish(figure)


def scores_figure(results: Results) -> Figure:
    """Draw precision and recall of every loss: a column for each share, a row for each threshold.

    Dots are means over the seeds, bars one standard deviation to either side, within 0 to 100 %.
    """
    settings = results.settings
    assert settings.shares is not None
    names = [contender.name for contender in settings.contenders]
    places = np.arange(len(names))[::-1]
    height = 2 * (0.9 + 0.3 * len(names)) + 0.4
    figure = new_figure(2.6 + 3.2 * len(settings.shares), height)
    grid = figure.subplots(2, len(settings.shares), squeeze=False, sharey=True, sharex=True)
    for row, at in zip(grid, THRESHOLDS, strict=True):
        for axes, share in zip(row, settings.shares, strict=True):
            style_axes(axes, f"{_percent(share)}, {_THRESHOLD_TITLES[at]}", "", "")
            axes.title.set_fontsize(FONT)
            axes.grid(visible=True, axis="both", color=GRID, linewidth=0.8)
            for name, color, marker, shift in (
                ("precision", _BLUE, "o", 0.14),
                ("recall", _VERMILION, "s", -0.14),
            ):
                pairs = [results.mean_and_spread(share, loss, f"{name}_{at}") for loss in names]
                _dots(axes, places + shift, pairs, name, color, marker)
            axes.set_xlim(-4, 104)
            axes.set_yticks(places, [contender.label for contender in settings.contenders])
            axes.tick_params(axis="y", labelcolor=INK)
    for axes in grid[-1]:
        axes.set_xlabel("percent", fontsize=FONT, color=MUTED)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=FONT)
    return _finish(figure)


def _bars(pairs: Sequence[tuple[float, float]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return means in percent, and how far bars of one spread reach below and above: 0 to 100."""
    means, spreads = 100 * np.array(pairs, dtype=np.float64).T
    spreads = np.nan_to_num(spreads)
    return means, np.stack([np.minimum(spreads, means), np.minimum(spreads, 100 - means)])


def _dots(
    axes: Axes,
    places: NDArray[Any],
    pairs: Sequence[tuple[float, float]],
    label: str,
    color: str,
    marker: str,
) -> None:
    means, spreads = _bars(pairs)
    axes.errorbar(
        means,
        places,
        xerr=spreads,
        fmt=marker,
        color=color,
        markersize=5,
        elinewidth=1.4,
        capsize=2.5,
        label=label,
        clip_on=False,
        zorder=3,
    )


def curves_figure(results: Results) -> Figure:
    """Draw the precision-recall curves: means over the seeds, a panel for each share."""
    settings = results.settings
    assert settings.shares is not None
    looks = _looks(settings)
    figure = new_figure(3.6 * len(settings.shares) + 2.6, 4.2)
    row = figure.subplots(1, len(settings.shares), squeeze=False, sharey=True)[0]
    for axes, share in zip(row, settings.shares, strict=True):
        style_axes(axes, _percent(share), "recall (%)", "")
        for contender in settings.contenders:
            runs = results.runs(share, contender.name)
            look = looks[contender.name]
            axes.plot(
                100 * RECALL_GRID,
                100 * np.mean([run["curve"] for run in runs], axis=0),
                color=look.color,
                linestyle=look.line,
                linewidth=1.8,
                label=contender.label,
            )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 101)
    row[0].set_ylabel("precision (%)", fontsize=FONT, color=MUTED)
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    return _finish(figure)


def gamma_figure(results: Results) -> Figure:
    """Draw the scores of the focal losses without alpha against gamma, cross-entropy at 0.

    A column for each share, a row for each threshold; bars are one standard deviation.
    """
    settings = results.settings
    assert settings.shares is not None
    family = [contender for contender in settings.contenders if contender.gamma is not None]
    family.sort(key=lambda contender: contender.gamma or 0.0)
    places = np.arange(len(family))
    figure = new_figure(3.4 * len(settings.shares) + 1.2, 6.4)
    grid = figure.subplots(2, len(settings.shares), squeeze=False, sharex=True, sharey="col")
    for row, at in zip(grid, THRESHOLDS, strict=True):
        for axes, share in zip(row, settings.shares, strict=True):
            style_axes(axes, f"{_percent(share)}, {_THRESHOLD_TITLES[at]}", "", "")
            axes.title.set_fontsize(FONT)
            for number, (name, label, color, marker) in enumerate(
                (
                    (f"precision_{at}", "precision", _BLUE, "o"),
                    (f"recall_{at}", "recall", _VERMILION, "s"),
                    (f"f1_{at}", "F1", _GREEN, "^"),
                    ("average_precision", "average precision", _PURPLE, "D"),
                )
            ):
                means, spreads = _bars(
                    [results.mean_and_spread(share, c.name, name) for c in family]
                )
                axes.errorbar(
                    places + 0.07 * (number - 1.5),
                    means,
                    yerr=spreads,
                    color=color,
                    marker=marker,
                    markersize=5,
                    linewidth=1.6,
                    elinewidth=1.1,
                    capsize=2.5,
                    label=label,
                )
            axes.set_xticks(places, [f"{contender.gamma:g}" for contender in family])
        row[0].set_ylabel("percent", fontsize=FONT, color=MUTED)
    for axes in grid[-1]:
        axes.set_xlabel("\N{GREEK SMALL LETTER GAMMA}", fontsize=FONT, color=MUTED)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=FONT)
    return _finish(figure)


def figures(results: Results) -> dict[str, Callable[[], Figure]]:
    """Return the functions that draw the study's figures, by the names of their files."""
    return {
        "losses-focal.png": focal_figure,
        "losses-scores.png": lambda: scores_figure(results),
        "losses-curves.png": lambda: curves_figure(results),
        "losses-gamma.png": lambda: gamma_figure(results),
    }
