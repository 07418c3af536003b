"""Tells callbacks how far an epoch has come."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .callbacks import Callback, Progress

if TYPE_CHECKING:
    from .base import MLP
    from .feeding import Feed

PROGRESS_SECONDS = 0.1
"""How often `on_progress` is called where every step is reported."""


class StopTraining(Exception):  # noqa: N818  nothing is wrong
    """A callback ends the fit within an epoch."""


def overriding(hooks: Sequence[Callback], name: str) -> list[Callable[..., Any]]:
    """Return the hooks of a name that are not those of `Callback`, which do nothing."""
    methods = [getattr(hook, name) for hook in hooks]
    ours = getattr(Callback, name)
    return [method for method in methods if getattr(method, "__func__", method) is not ours]


class Reporter:
    """What is told to the callbacks during an epoch, which begins.

    It is called between steps, now and then, or before each where `each_batch` asks for it. A batch
    is known by the number of samples before it, so that it does not matter how often.

    Parameters
    ----------
    net
        The network.
    hooks
        The callbacks.
    feed
        What is trained on.
    epoch, epochs
        Which epoch of this fit, counted from 1, and of how many.

    Attributes
    ----------
    each_batch
        Whether some callback looks at every batch.
    stopped
        Whether one has asked for the end of the fit.
    told
        When `on_progress` was last called.
    """

    def __init__(
        self, net: "MLP", hooks: Sequence[Callback], feed: "Feed", epoch: int, epochs: int
    ) -> None:
        self._net: Any = net
        self._feed = feed
        self._epoch, self._epochs = epoch, epochs
        self._hooks = hooks
        self._at_begin = overriding(hooks, "on_batch_begin")
        self._at_end = overriding(hooks, "on_batch_end")
        self.each_batch = bool(self._at_begin or self._at_end)
        self._begun, self._ended = -1, 0
        self.stopped = False
        self._began = self.told = time.perf_counter()

    def __call__(self, *sums: Any) -> None:
        """Report between steps; `sums` are those of `fitting.Totals`.

        StopTraining where a callback asks for it.
        """
        progress = self._progress(*sums)
        if self.each_batch:
            self._end_batch(progress)
            self._begin_batch(progress)
            if time.perf_counter() - self.told < PROGRESS_SECONDS:
                return
        self._tell(progress)
        if self.stopped:
            raise StopTraining

    def begin_part(self, sums: Sequence[Any]) -> None:
        """Report before the first step of a part; StopTraining where a callback asked for it."""
        if self.each_batch:
            self._begin_batch(self._progress(*sums))

    def end_part(self, sums: Sequence[Any]) -> None:
        """Report after the last step of a part, which may be the epoch's."""
        if self.each_batch:
            self._end_batch(self._progress(*sums))

    def end(self, sums: Sequence[Any]) -> Progress:
        """Report after the epoch's last step, and return what the epoch came to."""
        progress = self._progress(*sums)
        self._tell(progress)
        return progress

    def _progress(
        self,
        loss_sum: float,
        weight_sum: float,
        hits: int,
        samples: int,
        steps: int,
        penalty_sum: float,
    ) -> Progress:
        # There is no mean of samples whose weights are all 0, nor of none.
        loss = (loss_sum + penalty_sum) / weight_sum if weight_sum else math.nan
        accuracy = math.nan if self._net._regression or not samples else hits / samples
        seconds = time.perf_counter() - self._began
        return Progress(
            self._epoch,
            self._epochs,
            samples,
            self._feed.n_samples,
            loss,
            accuracy,
            seconds,
            steps,
        )

    def _tell(self, progress: Progress) -> None:
        if self._hooks:
            with self._net._read_only():
                for hook in self._hooks:
                    self.stopped |= bool(hook.on_progress(self._net, progress))
        self.told = time.perf_counter()

    def _begin_batch(self, progress: Progress) -> None:
        if progress.samples > self._begun and not self.stopped:
            self._begun = progress.samples
            self._call(self._at_begin, progress)
        if self.stopped:
            raise StopTraining

    def _end_batch(self, progress: Progress) -> None:
        if progress.samples > self._ended:
            self._ended = progress.samples
            self._call(self._at_end, progress)

    def _call(self, methods: Sequence[Callable[..., Any]], progress: Progress) -> None:
        """Call hooks, all of them, and note whether one says to stop."""
        if not methods:
            return
        with self._net._read_only():
            for method in methods:
                self.stopped |= bool(method(self._net, progress))
