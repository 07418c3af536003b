"""What a training shows of itself: a bar per epoch in a terminal, a line per epoch elsewhere."""

from typing import TYPE_CHECKING

from rich.console import Console

from fastmlp.callbacks import Callback, Progress
from fastmlp.progress import NARROWEST_BAR, WIDEST_BAR, Pace, bar

from .console import line, percent
from .last_line import LastLine

if TYPE_CHECKING:
    from fastmlp.history import History
    from fastmlp.mlp import MLP

_MEASURE_WIDTH, _RATE_WIDTH, _CLOCK_WIDTH, _GAP = 9, 11, 7, "  "


class Reporter(LastLine, Callback):
    """Shows a fit on a console; a context manager that must surround the fit.

    In a terminal the running epoch's bar moves below those of the finished epochs.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._classifies = True
        self._epochs = self._n_samples = 0

    def on_fit_begin(self, net: "MLP", epochs: int, n_samples: int) -> None:
        """Print the names of the columns."""
        self._classifies = net.activations[-1] in ("softmax", "sigmoid")
        self._epochs, self._n_samples = epochs, n_samples
        self._pace = Pace(epochs, len(net.history or ()))
        if self._live:
            names = ("loss", "train", "test") if self._classifies else ("loss", "test loss")
            head = self._row("epoch", " " * self._bar_width(), names, "samples/s", "left")
            self._console.print(head, style="dim", soft_wrap=True)

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
            Pace.rate(progress.samples, progress.seconds),
            self._pace.left(progress.epoch - 1 + share),
        )
        self._live.show(row)

    def on_epoch_end(self, net: "MLP", history: "History") -> None:
        """Leave the bar, or the line, of the finished epoch."""
        epoch = len(history)
        loss = f"{history.loss[-1]:.4f}"
        rate = Pace.rate(self._n_samples, history.seconds[-1])
        left = self._pace.left(epoch)
        if self._classifies:
            train, test = percent(history.accuracy[-1]), percent(history.val_accuracy[-1])
        else:
            test = f"{history.val_loss[-1]:.4f}"
        if self._live:
            cells = (loss, train, test) if self._classifies else (loss, test)
            self._live.clear()
            row = self._row(f"{epoch}/{self._epochs}", self._bar(1), cells, rate, left)
            line(self._console, row)
            return
        measures = f"train {train}  test {test}" if self._classifies else f"test loss {test}"
        number = f"{epoch:>{len(str(self._epochs))}}/{self._epochs}"
        line(
            self._console,
            f"epoch {number}  loss {loss}  {measures}  {rate} samples/s  {left} left",
        )

    def _bar(self, share: float) -> str:
        return bar(share, self._bar_width(), self._console.encoding)

    def _widths(self) -> list[int]:
        measures = [_MEASURE_WIDTH] * (3 if self._classifies else 2)
        return [max(5, 2 * len(str(self._epochs)) + 1), *measures, _RATE_WIDTH, _CLOCK_WIDTH]

    def _bar_width(self) -> int:
        taken = sum(width + len(_GAP) for width in self._widths()) + 1
        return max(NARROWEST_BAR, min(WIDEST_BAR, self._console.width - taken))

    def _row(self, epoch: str, drawn: str, measures: tuple[str, ...], rate: str, left: str) -> str:
        number, *others = self._widths()
        cells = zip((*measures, rate, left), others, strict=True)
        columns = (f"{epoch:>{number}}", drawn, *(f"{cell:>{width}}" for cell, width in cells))
        return _GAP.join(columns)[: self._console.width - 1]
