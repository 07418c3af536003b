"""What a study has found: runs and their means, as objects, CSV, JSON and a table."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.atomic import replace_file
from .contenders import BASELINE
from .settings import SEARCH_SEEDS, Job, Settings, SettingsError
from .store import RUNS, SETTINGS, parse_runs, read_settings
from .trial import RECALL_GRID, Record, without_nan

RUNS_TABLE, SUMMARY_TABLE, RESULTS = "runs.csv", "summary.csv", "results.json"

THRESHOLDS = ("at_half", "at_best")
MEASURES = {
    "average_precision": ("average_precision",),
    **{
        f"{name}_{at}": (at, name)
        for at in THRESHOLDS
        for name in ("precision", "recall", "f1")
    },
    "threshold": ("threshold",),
    "p_positive": ("p_positive",),
    "p_negative": ("p_negative",),
}  # fmt: skip
"""Names of the measures in tables, and where a run's record has them."""


def measure(record: Record, name: str) -> float:
    """Return a measure of one run, NaN where it is undefined."""
    value: Any = record
    for key in MEASURES[name]:
        value = value[key]
    return float("nan") if value is None else float(value)


def choose_lrs(settings: Settings, records: Mapping[Job, Record]) -> dict[tuple[float, str], float]:
    """Return the best learning rate of each share and loss.

    The one with the best mean average precision on validation rows over the first seeds; one with
    which any of them diverged is out, and of equally good ones the smallest is taken.

    Raises SettingsError for `lrs` when a loss diverged with all of them.
    """
    seeds = range(min(SEARCH_SEEDS, settings.seeds))
    chosen = {}
    for share, loss in settings.cells():
        means = {}
        for lr in settings.lrs:
            runs = [records[Job(share, loss, seed, lr)] for seed in seeds]
            if not any(run["diverged"] for run in runs):
                means[lr] = np.mean([run["validation_average_precision"] for run in runs])
        if not means:
            raise SettingsError("lrs", f"{loss} diverged with all of them, give smaller ones")
        chosen[share, loss] = max(means, key=lambda lr: means[lr])
    return chosen


class Results:
    """The finished runs of a study.

    Attributes
    ----------
    settings
        What was compared.
    records
        A dictionary for each run, as `run_trial` returns it, with its share, loss, seed and
        learning rate, in an order that does not depend on when it was run.
    rates
        The learning rate chosen for each (share, loss).
    """

    def __init__(self, settings: Settings, records: Iterable[Record]) -> None:
        self.settings = settings
        order = {cell: place for place, cell in enumerate(settings.cells())}

        def key(record: Record) -> tuple[int, float, int]:
            return order[record["share"], record["loss"]], record["lr"], record["seed"]

        self.records = sorted(records, key=key)
        by_job = {Job(r["share"], r["loss"], r["seed"], r["lr"]): r for r in self.records}
        self.rates = choose_lrs(settings, by_job)

    @property
    def seconds(self) -> float:
        """Time that all trainings took together, on one thread each."""
        return float(sum(record["seconds"] for record in self.records))

    def runs(self, share: float, loss: str) -> list[Record]:
        """Return the runs with the chosen learning rate, one for each seed that did not diverge."""
        rate = self.rates[share, loss]
        return [
            record
            for record in self.records
            if (record["share"], record["loss"], record["lr"]) == (share, loss, rate)
            and not record["diverged"]
        ]

    def values(self, share: float, loss: str, name: str) -> list[float]:
        """Return one of `MEASURES` for each of `runs`."""
        return [measure(record, name) for record in self.runs(share, loss)]

    def mean_and_spread(self, share: float, loss: str, name: str) -> tuple[float, float]:
        """Return mean and standard deviation (n - 1) of a measure over the seeds.

        Runs in which it is undefined, as the precision of a network that found nothing, are left
        out; NaN where too few remain.
        """
        values = np.array(self.values(share, loss, name))
        return _mean_and_spread(values[~np.isnan(values)])

    def gain(self, share: float, loss: str, name: str) -> tuple[float, float, int]:
        """Return what a loss gains over cross-entropy in a measure, seed by seed.

        Mean and standard deviation of the differences, and how many of them are above 0. Seeds in
        which the measure is undefined for one of the two are left out.
        """
        values, base = (
            {record["seed"]: measure(record, name) for record in self.runs(share, of)}
            for of in (loss, BASELINE)
        )
        differences = np.array([values[seed] - base[seed] for seed in values if seed in base])
        differences = differences[~np.isnan(differences)]
        return *_mean_and_spread(differences), int((differences > 0).sum())

    def summary(self) -> list[dict[str, Any]]:
        """Return a row for each share and loss: means and spreads over the seeds.

        ``empty_at_half`` and ``empty_at_best`` count the runs that found nothing at all at that
        threshold, whose precision is undefined.
        """
        rows = []
        for share, loss in self.settings.cells():
            row: dict[str, Any] = {
                "share": share,
                "loss": loss,
                "lr": self.rates[share, loss],
                "runs": len(self.runs(share, loss)),
            }
            for at in THRESHOLDS:
                precisions = np.array(self.values(share, loss, f"precision_{at}"))
                row[f"empty_{at}"] = int(np.isnan(precisions).sum())
            for name in MEASURES:
                mean, spread = self.mean_and_spread(share, loss, name)
                row[f"{name}_mean"], row[f"{name}_std"] = mean, spread
            rows.append(row)
        return rows

    def table(self, share: float) -> str:
        """Return the measures of one share as a table in Markdown, in percent: mean ± spread."""
        lines = [
            "| loss | precision at 0.5 | recall at 0.5 | F1 at 0.5 | precision at best | "
            "recall at best | F1 at best | average precision | lr |",
            "|---" * 9 + "|",
        ]
        names = [name for name in MEASURES if name.endswith(THRESHOLDS)] + ["average_precision"]
        for contender in self.settings.contenders:
            pairs = (self.mean_and_spread(share, contender.name, name) for name in names)
            cells = [f"{100 * mean:.1f} ± {100 * spread:.1f}" for mean, spread in pairs]
            cells = [cell.replace("nan", "-") for cell in cells]
            rate = f"{self.rates[share, contender.name]:g}"
            lines.append(f"| {' | '.join([contender.label, *cells, rate])} |")
        return "\n".join(lines)

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ``runs.csv``, ``summary.csv`` and ``results.json``; return their paths.

        All runs without their curves; the summary; and both with settings and curves.
        """
        summary = self.summary()
        flat = [
            {
                **{name: record[name] for name in ("share", "loss", "lr", "seed")},
                "chosen": int(self.rates[record["share"], record["loss"]] == record["lr"]),
                "diverged": int(record["diverged"]),
                "seconds": record["seconds"],
                "validation_average_precision": record.get("validation_average_precision"),
                **{n: None if record["diverged"] else measure(record, n) for n in MEASURES},
            }
            for record in self.records
        ]
        complete = {
            "settings": self.settings.to_dict(),
            "training_seconds": self.seconds,
            "curve_recalls": RECALL_GRID.tolist(),
            "summary": without_nan(summary),
            "runs": self.records,
        }
        contents = {
            RUNS_TABLE: _csv(flat),
            SUMMARY_TABLE: _csv(summary),
            RESULTS: json.dumps(complete, allow_nan=False, indent=1) + "\n",
        }
        paths = []
        for name, text in contents.items():
            paths.append(Path(folder) / name)
            replace_file(paths[-1], text.encode())
        return paths


def read(folder: str | os.PathLike[str]) -> Results:
    """Read the results of a finished study from its folder.

    Raises FileNotFoundError when there is none, and ValueError when it is not finished or damaged.
    """
    place = Path(folder)
    try:
        settings = Settings(**read_settings(place / SETTINGS))
    except TypeError:
        raise ValueError(f"{place / SETTINGS}: there are no settings of a study in it") from None
    content = (place / RUNS).read_bytes()
    records = parse_runs(content[: content.rfind(b"\n") + 1], place / RUNS, settings)
    searched = all(job in records for job in settings.search_jobs())
    if not searched or len(records) < settings.n_jobs():
        raise ValueError(
            f"{place}: the study is not finished, {len(records)} of {settings.n_jobs()} runs are"
        )
    return Results(settings, records.values())


def _mean_and_spread(values: NDArray[np.float64]) -> tuple[float, float]:
    mean = float(values.mean()) if len(values) else float("nan")
    return mean, float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _csv(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV, with nothing where a value is undefined."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(without_nan(rows))
    return buffer.getvalue()
