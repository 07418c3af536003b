"""Pictures of a training run and of its mistakes.

Each function returns a matplotlib ``Figure`` made without pyplot: no window, no global state, fit
for servers and threads. Needs matplotlib: ``pip install 'fastmlp[plot]'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .figure_style import FONT, INK, MUTED, new_figure, printable, show_as_they_stand, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .history import History

_TRAIN = "#3f6fb5"
_TEST = "#d9652b"
_HEIGHT = 4.3
_PANEL_SHARE = 0.68
"""Of the height of a figure of curves, in inches, this share is a panel's."""
_LABELED_CLASSES = 30
"""Cells of a confusion matrix with more classes than this are too small for figures."""


class _Curve(NamedTuple):
    name: str
    values: Sequence[float]
    color: str


def _apart(positions: Sequence[float], gap: float) -> list[float]:
    """Move one or two positions at least `gap` apart, both by the same amount."""
    if len(positions) < 2:
        return list(positions)
    first, second = positions
    shift = max(0.0, gap - abs(first - second)) / 2
    return [first + shift, second - shift] if first >= second else [first - shift, second + shift]


def _draw(axes: Axes, curves: Sequence[_Curve], unit: str) -> None:
    """Draw curves over epochs 1, 2, ... with their names and final values at the right end."""
    from matplotlib.ticker import MaxNLocator

    epochs = len(curves[0].values)
    x = np.arange(1, epochs + 1)
    for curve in curves:
        axes.plot(
            x,
            curve.values,
            color=curve.color,
            linewidth=2.0,
            solid_joinstyle="round",
            solid_capstyle="round",
            marker="o" if epochs <= 12 else None,
            markersize=5,
            label=curve.name,
            clip_on=False,
            zorder=3,
        )
    # A single epoch stands in the middle of its panel, with its label beside it.
    axes.set_xlim((0.5, 1.5) if epochs == 1 else (1, epochs))
    ticks = MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True).tick_values(0, epochs)
    axes.set_xticks([1, *(int(tick) for tick in ticks if 1 < tick <= epochs)])

    low, high = axes.get_ylim()
    gap = (high - low) * 1.45 * FONT / 72 / (_PANEL_SHARE * _HEIGHT)
    finals = [curve.values[-1] for curve in curves]
    for curve, y in zip(curves, _apart(finals, gap), strict=True):
        value = f"{curve.values[-1]:.2f} %" if unit == "%" else f"{curve.values[-1]:.3g}"
        axes.annotate(
            f"{curve.name}  {value}",
            xy=(x[-1], y),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            fontsize=FONT,
            fontweight="bold",
            color=curve.color,
            annotation_clip=False,
        )


def _mark_best(axes: Axes, curve: _Curve) -> None:
    values = np.asarray(curve.values)
    best = int(np.argmax(values))
    axes.plot(
        [best + 1],
        [values[best]],
        marker="o",
        markersize=9,
        markerfacecolor="white",
        markeredgecolor=curve.color,
        markeredgewidth=2,
        linestyle="none",
        label=f"best {curve.name}",
        clip_on=False,
        zorder=4,
    )
    share = best / (len(values) - 1)
    alignment, anchor = "center", 0.5
    if share < 0.15:
        alignment, anchor = "left", 0.0
    elif share > 0.85:
        alignment, anchor = "right", 1.0
    axes.annotate(
        f"best {curve.name} {values[best]:.2f} %\nepoch {best + 1}",
        xy=(best + 1, float(values[best])),
        xytext=(0, -34),
        textcoords="offset points",
        ha=alignment,
        va="top",
        fontsize=9,
        linespacing=1.35,
        color=INK,
        arrowprops={
            "arrowstyle": "-",
            "color": MUTED,
            "linewidth": 0.8,
            "shrinkA": 0,
            "shrinkB": 6,
            "relpos": (anchor, 1.0),
        },
        bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"},
        zorder=5,
    )


def training_curves(history: History, *, title: str | None = None) -> Figure:
    """Loss over epochs, for classifiers train and test accuracy, and the eval metric.

    A dotted line shows the epoch whose weights early stopping kept.

    Parameters
    ----------
    history
        What `fit` returned, at least one epoch. Its ``val_`` lists are shown as "test".
    title
        A line above the panels.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for the loss, one for the accuracy in percent, and one for each metric. Lines are
        named by their labels.

    Raises
    ------
    ValueError
        A history without epochs.
    ModuleNotFoundError
        No matplotlib.
    """
    if not history.loss:
        raise ValueError("history holds no finished epoch")
    losses = [_Curve("train", history.loss, _TRAIN)]
    if history.val_loss:
        losses.append(_Curve("test", history.val_loss, _TEST))
    accuracies = []
    if history.accuracy:
        accuracies.append(_Curve("train", [100 * a for a in history.accuracy], _TRAIN))
    if history.val_accuracy:
        accuracies.append(_Curve("test", [100 * a for a in history.val_accuracy], _TEST))

    count = 1 + bool(accuracies) + len(history.metrics)
    figure = new_figure(1.0 + 5.0 * count, _HEIGHT)
    panels = figure.subplots(1, count, squeeze=False)[0]
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.set(w_pad=0.12, h_pad=0.1, wspace=0.04)  # type: ignore[call-arg]
    given = []
    if title:
        given.append(
            figure.suptitle(printable(title), x=0.012, ha="left", fontsize=FONT, color=MUTED)
        )

    style_axes(panels[0], "Loss", "epoch", "loss (mean over samples)")
    panels[0].set_ylim(0, 1.05 * max(max(curve.values) for curve in losses) or 1)
    _draw(panels[0], losses, "")
    if accuracies:
        style_axes(panels[1], "Accuracy", "epoch", "accuracy (%)")
        lowest = min(min(curve.values) for curve in accuracies)
        panels[1].set_ylim(max(0.0, lowest - 0.06 * (100 - lowest) - 0.5), 100)
        _draw(panels[1], accuracies, "%")
        if len(history) > 2:
            _mark_best(panels[1], accuracies[-1])
    for panel, (name, values) in zip(
        panels[count - len(history.metrics) :], history.metrics.items(), strict=True
    ):
        metric = name.removeprefix("val_")
        style_axes(panel, metric, "epoch", metric)
        # Axes cannot reach to infinity.
        finite = [value if np.isfinite(value) else np.nan for value in values]
        _draw(panel, [_Curve("test", finite, _TEST)], "")
    if history.best_epoch is not None:
        for panel in panels:
            panel.axvline(
                history.best_epoch,
                color=MUTED,
                linestyle=":",
                linewidth=1.2,
                label="best epoch",
                zorder=1,
            )
    show_as_they_stand(figure, given)
    return figure


def confusion_figure(
    matrix: ArrayLike, *, labels: Sequence[str] | None = None, title: str | None = None
) -> Figure:
    """Confusion matrix as a picture: hits in blue, mistakes in orange.

    Hits are shaded by their share of the true class, mistakes by the most frequent mistake, so
    that the few errors of a good network can be seen.

    Parameters
    ----------
    matrix
        Counts, shape (k, k): row is the true class, column the predicted one
        (see `fastmlp.metrics.confusion_matrix`).
    labels
        Names of the k classes; their indices by default.
    title
        A line above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        A matrix that is not square or is empty, or labels of another length.
    ModuleNotFoundError
        No matplotlib.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ValueError(f"matrix must be square and not empty, got shape {counts.shape}")
    k = len(counts)
    names = [str(i) for i in range(k)] if labels is None else [printable(name) for name in labels]
    if len(names) != k:
        raise ValueError(f"labels has {len(names)} names, matrix has {k} classes")

    side = min(9.0, 2.6 + 0.44 * k)
    figure = new_figure(side, side)
    from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

    axes = figure.subplots()
    axes.set_aspect("equal")
    colors = _confusion_colors(counts)
    axes.imshow(colors, interpolation="nearest")

    axes.set_xlabel("predicted", fontsize=FONT, color=MUTED, labelpad=8)
    axes.set_ylabel("true", fontsize=FONT, color=MUTED, labelpad=8)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if k <= _LABELED_CLASSES:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator(range(k)))
            axis.set_major_formatter(FixedFormatter(names))
            axis.set_minor_locator(FixedLocator([i - 0.5 for i in range(1, k)]))
        axes.grid(visible=True, which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = colors[row, column].mean() < 0.55
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                fontsize=9 if k <= 12 else 6,
                color="white" if dark else INK,
            )
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
    given = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    if title:
        given.append(
            axes.set_title(
                printable(title), loc="left", fontsize=11, fontweight="bold", color=INK, pad=12
            )
        )
    show_as_they_stand(figure, given)
    return figure


def _confusion_colors(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """RGB of each cell, shape (k, k, 3)."""
    from matplotlib.colors import to_rgb

    hits = np.diag(np.diag(counts))
    mistakes = counts - hits
    support = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    paper = np.array(to_rgb("#f3f5f7"))

    def blend(strength: NDArray[np.float64], color: str) -> NDArray[np.float64]:
        ink = np.array(to_rgb(color)) - paper
        return np.asarray(paper + strength[:, :, np.newaxis] * ink)

    # The offset lifts rare mistakes out of the background.
    colors = blend((mistakes > 0) * (0.1 + 0.8 * mistakes / mistakes.max(initial=1)), _TEST)
    diagonal = np.arange(len(counts))
    colors[diagonal, diagonal] = blend(hits / support, _TRAIN)[diagonal, diagonal]
    return colors
