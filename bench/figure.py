"""Draw results: ``python -m bench.figure RESULTS.json PICTURE.png``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .compare import read
from .peers import FASTMLP, PEERS
from .report import threads_text, time_text

MARKERS = "osD^vP*Xh<>p"
DPI = 160


def drawable(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trainings and predictions that fastmlp took part in."""
    return [
        result
        for result in document["results"]
        if result["kind"] != "product" and FASTMLP in result["contestants"]
    ]


def draw(document: dict[str, Any], path: Path) -> None:
    """Write a picture of each contestant's time over fastmlp's, a line for each workload.

    ValueError when there is nothing to draw.
    """
    # The class is used without pyplot: nothing global changes, and no display is needed.
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    results = drawable(document)
    if not results:
        raise ValueError("there is no training or prediction of fastmlp to draw")
    figure = Figure(figsize=(10, 1.4 + 0.42 * len(results)), layout="constrained")
    axes = figure.subplots()
    for number, peer in enumerate(PEERS):
        points = [
            (result["contestants"][peer.name]["ratio"], line)
            for line, result in enumerate(results)
            if peer.name in result["contestants"]
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                linestyle="",
                marker=MARKERS[number],
                markersize=9 if peer.name == FASTMLP else 7,
                color=f"C{number}" if peer.name != FASTMLP else "black",
                label=peer.name,
                zorder=3,
            )
    labels = [
        f"{result['workload']}\n{threads_text(result['threads'])}, fastmlp "
        f"{time_text(result['contestants'][FASTMLP]['median'])}"
        for result in results
    ]
    axes.set_yticks(range(len(results)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.set_xlabel("time, fastmlp = 1 (less is better)")
    axes.set_title(document["machine"]["cpu"], fontsize=10)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(path, dpi=DPI)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a file of results."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.figure", description="Draw a file of results."
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    try:
        draw(read(options.results), options.picture)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
