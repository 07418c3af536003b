"""What a fit prints of itself: lines about epochs, and in a terminal one that moves."""

import os
import shutil
import sys
import time
from typing import IO, TYPE_CHECKING

from .callbacks import Callback, Progress

if TYPE_CHECKING:
    from .history import History
    from .mlp import MLP

SHOW_SECONDS = 0.1
"""How often the moving line moves at most."""

NARROWEST_BAR, WIDEST_BAR = 5, 30


class MovingLine:
    """The last line of a terminal.

    Parameters
    ----------
    stream
        The terminal.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_shown = False

    def show(self, text: str) -> None:
        """Put a text, which must fit into the line, in the place of the one before."""
        self._is_shown = True
        self._stream.write(f"\r{text}\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        """Leave the line empty, for what is printed next."""
        if self._is_shown:
            self._is_shown = False
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a line of a stream can move. Python has no stream where the shell has closed it."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def bar(share: float, width: int, encoding: str | None = None) -> str:
    """Draw a share of 1, in ASCII where the encoding has no lines."""
    done, left = "━─"
    try:
        f"{done}{left}".encode(encoding or "utf-8")
    except UnicodeEncodeError:
        done, left = "=-"
    filled = int(share * width)
    return done * filled + left * (width - filled)


def clock(seconds: float) -> str:
    """Write a duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Pace:
    """How fast a fit, which begins, gets on.

    Parameters
    ----------
    epochs
        How many it will have at most.
    before
        How many it has already, where it is resumed.
    """

    def __init__(self, epochs: int, before: int = 0) -> None:
        self._epochs = epochs
        self._before = before
        self._began = time.perf_counter()

    def left(self, epochs_done: float) -> str:
        """Return how long it will go on."""
        elapsed = time.perf_counter() - self._began
        here = max(epochs_done - self._before, 1e-9)
        return clock(elapsed / here * (self._epochs - epochs_done))

    @staticmethod
    def rate(samples: int, seconds: float) -> str:
        """Return the samples of a second."""
        return f"{samples / max(seconds, 1e-9):,.0f}"


def epoch_line(history: "History", epochs: int) -> str:
    """Return a line of text about the last epoch of a history, out of `epochs`."""
    number = len(history)
    parts = [f"epoch {number:>{len(str(epochs))}}/{epochs}", f"loss {history.loss[-1]:.4f}"]
    if history.accuracy:
        parts.append(f"accuracy {history.accuracy[-1]:.4f}")
    if history.val_loss:
        parts.append(f"val_loss {history.val_loss[-1]:.4f}")
    if history.val_accuracy:
        parts.append(f"val_accuracy {history.val_accuracy[-1]:.4f}")
    parts += [f"{name} {values[-1]:.4f}" for name, values in history.metrics.items()]
    parts.append(f"{history.seconds[-1]:.2f} s")
    return "  ".join(parts)


class Printer(Callback):
    """Prints a line each so many epochs, and in a terminal shows the running one.

    Parameters
    ----------
    every
        How many.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._line: MovingLine | None = None

    def on_fit_begin(self, net: "MLP", epochs: int, n_samples: int) -> None:
        """Look where the fit prints to."""
        self._epochs = epochs
        self._pace = Pace(epochs, len(net.history or ()))
        self._line = MovingLine(sys.stdout) if is_terminal(sys.stdout) else None
        self._shown = 0.0

    def on_progress(self, net: "MLP", progress: Progress) -> None:
        """Move the line."""
        now = time.perf_counter()
        if self._line and now - self._shown >= SHOW_SECONDS:
            self._shown = now
            width = shutil.get_terminal_size().columns - 1
            self._line.show(self.text(progress, width, sys.stdout.encoding))

    def on_epoch_end(self, net: "MLP", history: "History") -> None:
        """Print the line of an epoch."""
        if len(history) % self._every == 0:
            if self._line:
                self._line.clear()
            print(epoch_line(history, self._epochs), flush=True)

    def on_fit_end(self, net: "MLP", history: "History") -> None:
        """Leave the terminal clean, and tell which epoch was the best."""
        if self._line:
            self._line.clear()
        if history.best_epoch is not None:
            print(f"best epoch {history.best_epoch}", flush=True)

    def text(self, progress: Progress, width: int, encoding: str | None = None) -> str:
        """Return the text of the moving line."""
        number = f"{progress.epoch:>{len(str(self._epochs))}}/{self._epochs}"
        parts = [f"loss {progress.loss:.4f}"]
        if progress.accuracy == progress.accuracy:
            parts.append(f"accuracy {progress.accuracy:.4f}")
        parts.append(f"{Pace.rate(progress.samples, progress.seconds)} samples/s")
        if progress.n_samples:
            # An epoch of Batches can bring more than the one before.
            share = min(1.0, progress.samples / progress.n_samples)
            parts.append(f"{self._pace.left(progress.epoch - 1 + share)} left")
            room = width - len("  ".join((f"epoch {number}", "", *parts)))
            fits = room >= NARROWEST_BAR
            drawn = bar(share, min(WIDEST_BAR, room), encoding) if fits else f"{share:4.0%}"
            parts.insert(0, drawn)
        return "  ".join((f"epoch {number}", *parts))[:width]
