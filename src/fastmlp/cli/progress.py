"""What a training shows of itself: a bar per epoch in a terminal, a line per epoch elsewhere."""

import time
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from fastmlp.callbacks import Callback, Progress

from .console import clock, line, percent
from .last_line import LastLine

if TYPE_CHECKING:
    from fastmlp.history import History
    from fastmlp.mlp import MLP

_NARROWEST_BAR, _WIDEST_BAR = 5, 30
_MEASURE_WIDTH, _RATE_WIDTH, _CLOCK_WIDTH, _GAP = 9, 11, 7, 2


class Reporter(LastLine, Callback):
    """Shows a fit on a console; a context manager that must surround the fit.

    In a terminal the running epoch's bar moves below those of the finished epochs.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._classifies = True
        self._epochs = self._n_samples = 0
        self._started = 0.0

    def on_fit_begin(self, net: "MLP", epochs: int, n_samples: int) -> None:
        """Print the names of the columns."""
        self._classifies = net.activations[-1] in ("softmax", "sigmoid")
        self._epochs, self._n_samples = epochs, n_samples
        self._started = time.perf_counter()
        if self._live:
            names = ("loss", "train", "test") if self._classifies else ("loss", "test loss")
            self._console.print(self._row("epoch", "", names, "samples/s", "left"), style="dim")

    def on_progress(self, net: "MLP", progress: Progress) -> None:
        """Move the bar of the running epoch."""
        if self._live is None:
            return
        share = progress.samples / progress.n_samples
        train = (percent(progress.accuracy),) if self._classifies else ()
        row = self._row(
            f"{progress.epoch}/{self._epochs}",
            self._bar(share),
            (f"{progress.loss:.4f}", *train, ""),
            f"{progress.samples / max(progress.seconds, 1e-9):,.0f}",
            self._time_left(progress.epoch - 1 + share),
        )
        self._live.update(row, refresh=True)

    def on_epoch_end(self, net: "MLP", history: "History") -> None:
        """Leave the bar, or the line, of the finished epoch."""
        epoch = len(history)
        loss = f"{history.loss[-1]:.4f}"
        rate = f"{self._n_samples / max(history.seconds[-1], 1e-9):,.0f}"
        left = self._time_left(epoch)
        if self._classifies:
            train, test = percent(history.accuracy[-1]), percent(history.val_accuracy[-1])
        else:
            test = f"{history.val_loss[-1]:.4f}"
        if self._live:
            cells = (loss, train, test) if self._classifies else (loss, test)
            row = self._row(f"{epoch}/{self._epochs}", self._bar(1), cells, rate, left)
            self._live.update("")
            self._console.print(row)
            return
        measures = f"train {train}  test {test}" if self._classifies else f"test loss {test}"
        number = f"{epoch:>{len(str(self._epochs))}}/{self._epochs}"
        line(
            self._console,
            f"epoch {number}  loss {loss}  {measures}  {rate} samples/s  {left} left",
        )

    def _time_left(self, epochs_done: float) -> str:
        elapsed = time.perf_counter() - self._started
        return clock(elapsed / max(epochs_done, 1e-9) * (self._epochs - epochs_done))

    def _bar(self, share: float) -> ProgressBar:
        return ProgressBar(total=1, completed=share, width=self._bar_width())

    def _widths(self) -> list[int]:
        measures = [_MEASURE_WIDTH] * (3 if self._classifies else 2)
        return [max(5, 2 * len(str(self._epochs)) + 1), *measures, _RATE_WIDTH, _CLOCK_WIDTH]

    def _bar_width(self) -> int:
        taken = sum(width + _GAP for width in self._widths()) + _GAP
        return max(_NARROWEST_BAR, min(_WIDEST_BAR, self._console.width - taken))

    def _row(
        self, epoch: str, bar: RenderableType, measures: tuple[str, ...], rate: str, left: str
    ) -> Table:
        row = Table.grid(padding=(0, _GAP, 0, 0))
        number, *others = self._widths()
        row.add_column(width=number, justify="right", no_wrap=True)
        row.add_column(width=self._bar_width(), no_wrap=True)
        for width in others:
            row.add_column(width=width, justify="right", no_wrap=True)
        row.add_row(epoch, bar, *measures, rate, left)
        return row
