"""Tells callbacks how far an epoch has come."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .callbacks import Callback, Progress, TimeLimit
from .errors import NotFiniteError

if TYPE_CHECKING:
    from .base import MLP
    from .feeding import Feed
    from .fitting import Position

PROGRESS_SECONDS = 0.1
"""How often `on_progress` is called where every step is reported."""


class StopTraining(Exception):  # noqa: N818  nothing is wrong
    """A callback ends the fit within an epoch."""


def overriding(hooks: Sequence[Callback], name: str) -> list[Callable[..., Any]]:
    """Return the hooks of a name that are not those of `Callback`, which do nothing."""
    methods = [getattr(hook, name) for hook in hooks]
    ours = getattr(Callback, name)
    return [method for method in methods if getattr(method, "__func__", method) is not ours]


class Listeners(NamedTuple):
    """What callbacks override of the methods that are called within an epoch."""

    in_between: list[Callable[..., Any]]
    at_begin: list[Callable[..., Any]]
    at_end: list[Callable[..., Any]]

    @classmethod
    def of(cls, hooks: Sequence[Callback]) -> "Listeners":
        """Return those of some callbacks."""
        names = "on_progress", "on_batch_begin", "on_batch_end"
        return cls(*(overriding(hooks, name) for name in names))


class Reporter:
    """What is told to the callbacks during an epoch, which begins or goes on.

    It is called between steps, now and then, or before each where `each_batch` asks for it. A batch
    is known by the number of samples before it, so that it does not matter how often.

    Parameters
    ----------
    net
        The network.
    listeners
        The callbacks' methods.
    feed
        What is trained on.
    epoch, epochs
        Which epoch of this fit, counted from 1, and of how many.
    at
        Where the epoch begins.
    keep
        Called after the callbacks, with the sums and the seconds of the epoch so far.

    Attributes
    ----------
    each_batch
        Whether some callback looks at every batch.
    stopped
        Whether something has asked for the end of the fit.
    final
        Whether the fit is finished then, and not just out of time.
    told
        When `on_progress` was last called.
    sums, seconds
        Of the last report.
    raised
        What a callback has met that is not finite: no divergence of the training.
    """

    def __init__(
        self,
        net: "MLP",
        listeners: Listeners,
        feed: "Feed",
        epoch: int,
        epochs: int,
        at: "Position",
        keep: Callable[[Sequence[Any], float], None],
    ) -> None:
        self._net: Any = net
        self._feed = feed
        self._epoch, self._epochs = epoch, epochs
        self._in_between, self._at_begin, self._at_end = listeners
        self.each_batch = bool(self._at_begin or self._at_end)
        # Of an epoch that goes on, the next batch has been announced before it was kept.
        self._begun, self._ended = at.totals.samples or -1, at.totals.samples
        self.stopped = self.final = False
        self.raised: NotFiniteError | None = None
        self.told = time.perf_counter()
        self._began = self.told - at.seconds
        self._keep = keep
        self.sums: Sequence[Any] = at.totals
        self.seconds = at.seconds

    def __call__(self, *sums: Any) -> None:
        """Report between steps; `sums` are those of `fitting.Totals`.

        StopTraining where a callback asks for it.
        """
        progress = self._progress(*sums)
        if self.each_batch:
            self._end_batch(progress)
            self._begin_batch(progress)
        if not self.each_batch or time.perf_counter() - self.told >= PROGRESS_SECONDS:
            self._tell(progress)
            if self.stopped:
                raise StopTraining
        self._keep(sums, progress.seconds)

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
        # A fit that went on from here would not know that it has been asked to stop.
        if not self.stopped:
            self._keep(sums, progress.seconds)
        return progress

    def heed(self, asked: object, by: object = None) -> None:
        """Note whether a callback, or something else, asks for the end of the fit."""
        if asked:
            self.stopped = True
            self.final |= not isinstance(by, TimeLimit)

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
        self.sums = loss_sum, weight_sum, hits, samples, steps, penalty_sum
        self.seconds = time.perf_counter() - self._began
        return Progress(
            self._epoch,
            self._epochs,
            samples,
            self._feed.n_samples,
            loss,
            accuracy,
            self.seconds,
            steps,
        )

    def _tell(self, progress: Progress) -> None:
        self._call(self._in_between, progress)
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
                try:
                    asked = method(self._net, progress)
                except NotFiniteError as error:
                    self.raised = error
                    raise
                self.heed(asked, getattr(method, "__self__", None))
