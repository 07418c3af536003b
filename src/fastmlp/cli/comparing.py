"""`fastmlp study losses`: the study with its progress, and the files it leaves."""

import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

import fastmlp as fm
from fastmlp.progress import bar, clock
from fastmlp.study.results import RESULTS, RUNS_TABLE, SUMMARY_TABLE
from fastmlp.study.settings import SettingsError
from fastmlp.study.store import RUNS, SETTINGS

from .console import line, output
from .files import naming, prepare_folder, write_figure
from .last_line import LastLine
from .stop import Stop

_BAR_WIDTH = 40
_LINES = 10
"""As many lines tell of the progress where there is no terminal."""


class Reporter(LastLine):
    """Shows how far a study has come: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._started = time.perf_counter()
        self._at_start: int | None = None
        self._told = 0
        self.finished = 0

    def update(self, finished: int, total: int) -> None:
        """Show the number of finished runs."""
        elapsed = time.perf_counter() - self._started
        if self._at_start is None:
            self._at_start = finished
            if 0 < finished < total:
                line(self._console, f"Going on after {finished} of {total} runs.")
            self._told = finished * _LINES // total
        self.finished = finished
        done = finished - self._at_start
        left = f"{clock(elapsed / done * (total - finished))} left" if done else ""
        if self._live:
            width = min(_BAR_WIDTH, self._console.width // 2)
            drawn = bar(finished / total, width, self._console.encoding)
            self._live.show(f"{drawn}  {finished}/{total} runs  {left}"[: self._console.width - 1])
        elif finished * _LINES // total > self._told:
            self._told = finished * _LINES // total
            line(self._console, f"{finished:>{len(str(total))}}/{total} runs  {left}")


def run(settings: fm.study.Settings, out: Path, *, threads: int | None, quiet: bool) -> int | None:
    """Run a study, or what is left of it, and write its results.

    Returns
    -------
    int or None
        The signal that ended it, Ctrl-C's for instance; finished runs are kept.

    Raises
    ------
    ValueError
        Settings that do not fit the data or an earlier study in the folder, named as options.
    OSError
        Data that cannot be read, or results that cannot be written.
    ModuleNotFoundError
        A library is missing.
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError(
            "the figures need matplotlib: pip install 'fastmlp[cli,study]'", name="matplotlib"
        )
    # What is not at hand is downloaded here, where Ctrl-C still ends the program at once.
    fm.data.load(settings.data)
    prepare_folder(out, (SETTINGS, RUNS, RUNS_TABLE, SUMMARY_TABLE, RESULTS))
    console = Console(quiet=True) if quiet else output(endures=True)
    _introduce(console, settings)

    with Stop() as stop, Reporter(console) as reporter:

        def progress(finished: int, total: int) -> None:
            reporter.update(finished, total)
            if stop.number is not None and finished < total:
                raise KeyboardInterrupt

        started = time.perf_counter()
        try:
            results = fm.study.run(settings, out, threads=threads, progress=progress)
        except SettingsError as problem:
            option = problem.name.replace("_", "-")
            raise ValueError(f"--{option}: {problem.problem}") from None
        except KeyboardInterrupt:
            done = f"{reporter.finished} of {settings.n_jobs()} runs"
            line(console, f"Interrupted after {done}, which are kept in {out}.")
            line(console, "The same command goes on from there.")
            return stop.number
        seconds = time.perf_counter() - started
    _conclude(console, results, seconds)
    with naming(out):
        written = [place.name for place in results.write(out)]
    for name, draw in fm.study.figures(results).items():
        write_figure(out / name, draw)
        written.append(name)
    line(console, f"Wrote {', '.join(written)} to {out}")
    return None


def _introduce(console: Console, settings: fm.study.Settings) -> None:
    assert settings.shares is not None
    assert settings.hidden is not None
    shares = ", ".join(f"{100 * share:g} %" for share in settings.shares)
    widths = "-".join(str(width) for width in settings.hidden)
    line(
        console, f"Data     {settings.data}: {settings.digit} against the rest, thinned to {shares}"
    )
    line(
        console,
        f"Network  {widths}-1, {settings.epochs} epochs of batches of {settings.batch_size}",
    )
    line(
        console,
        f"Runs     {settings.n_jobs()}: {len(settings.contenders)} losses, {settings.seeds} seeds, "
        f"{len(settings.lrs)} learning rates to choose from",
    )


def _conclude(console: Console, results: fm.study.Results, seconds: float) -> None:
    line(console, f"Done in {clock(seconds)}.")
    assert results.settings.shares is not None
    for share in results.settings.shares:
        line(console, "")
        line(console, f"{100 * share:g} % positive; in percent, means over the seeds")
        console.print(_table(results, share))
    line(console, "")


def _table(results: fm.study.Results, share: float) -> Table:
    columns = {
        "AP": "average_precision",
        "P@.5": "precision_at_half",
        "R@.5": "recall_at_half",
        "F1@.5": "f1_at_half",
        "P@best": "precision_at_best",
        "R@best": "recall_at_best",
        "F1@best": "f1_at_best",
    }
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("loss", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for contender in results.settings.contenders:
        means = (results.mean_and_spread(share, contender.name, n)[0] for n in columns.values())
        table.add_row(contender.name, *("-" if m != m else f"{100 * m:.1f}" for m in means))
    return table
