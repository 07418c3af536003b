"""Signals that ask for an end, heard where a training can end without loss."""

import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

from fastmlp.callbacks import Callback, Progress

if TYPE_CHECKING:
    from fastmlp.history import History
    from fastmlp.mlp import MLP


class Stop(Callback):
    """Notes Ctrl-C, SIGTERM and SIGHUP; a context manager around a fit and what is saved of it.

    The fit then ends within a fraction of a second, and what follows it is left in peace.
    """

    number: int | None = None
    """The first of the signals that came."""

    def __enter__(self) -> Self:
        """Take the signals over, but for those that the caller ignores, as nohup does."""
        self._former = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def on_progress(self, net: "MLP", progress: Progress) -> None:
        """End the fit within an epoch, by KeyboardInterrupt."""
        # An epoch whose last batch is done shall still be measured and counted.
        if self.number is not None and progress.samples < progress.n_samples:
            raise KeyboardInterrupt

    def on_epoch_end(self, net: "MLP", history: "History") -> None:
        """End the fit after an epoch, by KeyboardInterrupt too: it can be resumed."""
        if self.number is not None:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
