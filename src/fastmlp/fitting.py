"""The loop over epochs, the same whatever computes them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .callbacks import Callback, Progress
from .checkpoints import Keeper, describe_fit
from .early_stopping import EarlyStopping, Watch
from .errors import DivergenceError, NotFiniteError
from .eval_metrics import RECORDED, EvalMetric
from .feeding import Feed
from .history import History
from .optimizers import Optimizer, State
from .reporting import Listeners, Reporter, StopTraining
from .schedules import Rates

if TYPE_CHECKING:
    from .base import MLP

Array = npt.NDArray[Any]

Report = Callable[[float, float, int, int, int, float], None]
"""Takes the totals of an epoch so far, see `Totals`."""


class Totals(NamedTuple):
    """Sums over those steps of an epoch that have been taken."""

    loss: float = 0.0
    """Of the weighted losses."""
    weight: float = 0.0
    """Of the samples' weights."""
    hits: int = 0
    """Samples predicted right."""
    samples: int = 0
    steps: int = 0
    penalty: float = 0.0
    """Of the weighted penalties."""


@dataclass(frozen=True)
class Position:
    """How far a fit has come.

    Attributes
    ----------
    epochs, steps
        Finished epochs, and the steps they took.
    stopped
        Whether a callback then ended it.
    totals
        Of the steps of the epoch that is next.
    seconds
        That these took.
    """

    epochs: int = 0
    steps: int = 0
    stopped: bool = False
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0


@dataclass(frozen=True)
class Training:
    """How an epoch, or a part of it, trains: the options of `fit`, checked.

    Attributes
    ----------
    batch_size, shuffle
        As given.
    lr
        The learning rates of the fit.
    l1, l2
        Factors of the penalty.
    penalty_per_sample
        Whether they are divided by the sum of the batch's weights; a batch that weighs nothing then
        has no penalty.
    clip_norm, max_norm
        Greatest norms of the gradient and of each unit's weights, or None.
    ema
        Decay of the parameters' average, or None.
    each_batch
        Whether to report before each step.
    mean_of_batches
        Whether the epoch's loss counts a batch by the number of its samples, whatever their
        weights.
    loss_unit
        Factor of the losses, but not of the penalties, as the epoch reports them.
    dropout
        The chance of each layer's inputs to be dropped, or () for none.
    first_step
        Steps of the fit before the epoch.
    rates
        Those of the steps of the part at hand.
    part
        With the epoch, the name of the samples' order.
    first
        Samples of the part that are done.
    before
        Totals of the epoch so far.
    """

    batch_size: int
    lr: Rates
    shuffle: bool
    l1: float = 0.0
    l2: float = 0.0
    penalty_per_sample: bool = False
    clip_norm: float | None = None
    max_norm: float | None = None
    ema: float | None = None
    each_batch: bool = False
    mean_of_batches: bool = False
    loss_unit: float = 1.0
    dropout: tuple[float, ...] = ()
    first_step: int = 0
    rates: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    part: int = 0
    first: int = 0
    before: Totals = field(default_factory=Totals)

    def but(self, **changes: Any) -> "Training":
        """Return a copy in which some attributes are others.

        `dataclasses.replace` sets each one by a call, which takes as long as a batch of a small
        network does.
        """
        changed = object.__new__(Training)
        changed.__dict__.update(self.__dict__, **changes)
        return changed


class Snapshot:
    """Copies of all that a fit changes in a network.

    Parameters
    ----------
    net
        The network.
    """

    def __init__(self, net: "MLP") -> None:
        state = net._optimizer_state
        self._net = net
        self._arrays = [array.copy() for array in net._arrays()]
        self._progress = (state.steps, state.stepping) if state else (0, False)
        names = ("epochs_trained", "trained_on", "history", "_optimizer_state")
        self._attributes = {name: getattr(net, name) for name in names}

    def restore(self) -> None:
        """Make the network what it was, in place."""
        net = self._net
        net.__dict__.update(self._attributes)
        if net._optimizer_state is not None:
            net._optimizer_state.steps, net._optimizer_state.stepping = self._progress
        for array, saved in zip(net._arrays(), self._arrays, strict=True):
            array[...] = saved


class Fit:
    """One call of `fit`, its arguments checked.

    Parameters
    ----------
    net
        The network to train.
    feed, validation
        What to train and to measure on; the latter may be None.
    training
        How an epoch trains.
    optimizer
        What makes the steps.
    epochs
        How many.
    hooks
        The callbacks.
    metric
        What to measure on the validation data besides, or None.
    stopping
        When to end early, or None.
    keeper
        Of the checkpoints, or None.
    """

    def __init__(
        self,
        net: "MLP",
        feed: Feed,
        validation: Feed | None,
        training: Training,
        optimizer: Optimizer,
        epochs: int,
        hooks: Sequence[Callback],
        metric: EvalMetric | None = None,
        stopping: EarlyStopping | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._net: Any = net
        self._feed = feed
        self._validation = validation
        self._training = training
        self._optimizer = optimizer
        self._epochs = epochs
        self._hooks = hooks
        self._metric = metric
        self._stopping = stopping
        self._keeper = keeper
        # A loss decides where no metric does.
        greater = metric is not None and metric.greater_is_better
        self._watch = Watch(stopping, greater) if stopping else None

    def run(self) -> History:
        """Train; see `fastmlp.MLP.fit` for what is raised."""
        net = self._net
        before = Snapshot(net)
        state = net._use_optimizer(self._optimizer, self._training.ema)
        history = net.history = History()
        with self._all_or_nothing(before):
            at = self._resumed(state, history)
        with ExitStack() as at_end:
            at_end.callback(net._end_fit)
            for hook in self._hooks:
                hook.on_fit_begin(net, self._epochs, self._feed.n_samples)
                at_end.callback(hook.on_fit_end, net, history)
            if self._watch:
                at_end.callback(self._watch.restore, net)
            with self._all_or_nothing(before):
                self._begin(at)
            listeners = Listeners.of(self._hooks)
            for epoch in range(at.epochs + 1, 0 if at.stopped else self._epochs + 1):
                if not at.totals.steps:
                    self._begin_epoch(epoch)
                report = Reporter(
                    net, listeners, self._feed, epoch, self._epochs, at, self._keep(state, at)
                )
                try:
                    with self._stepping(state):
                        totals = self._train(state, at, report)
                        if totals is None:
                            break
                        progress = report.end(totals)
                    measured = self._measured()
                except NotFiniteError as error:
                    if error is report.raised:
                        raise
                    failure = self._divergence(error)
                    if self._watch and self._watch.can_restore:
                        self._warn(failure)
                        break
                    before.restore()
                    raise failure from None
                except Exception as error:
                    if any(f.is_to_blame(error) for f in (self._feed, self._validation) if f):
                        self._put_back(before)
                    raise
                net.epochs_trained += 1
                self._record(history, progress, measured)
                report.heed(self._has_waited(history, measured))
                for hook in self._hooks:
                    report.heed(hook.on_epoch_end(net, history), hook)
                at = Position(epoch, at.steps + totals.steps, report.final)
                if self._keeper:
                    self._keeper.end_epoch(net, state, at, report.stopped or epoch == self._epochs)
                if report.stopped:
                    break
        return history

    def _resumed(self, state: State, history: History) -> Position:
        """Return where the fit goes on, the network and its history being as they were there."""
        keeper = self._keeper
        if keeper is None:
            return Position()
        options = describe_fit(
            self._net, self._feed, self._validation, self._training, self._optimizer, self._epochs
        )
        options["eval_metric"] = self._metric and list(self._metric[:2])
        options["early_stopping"] = self._stopping and repr(self._stopping)
        found = keeper.begin(self._net, state, options, self._hooks, self._watch, history)
        return found or Position()

    def _begin(self, at: Position) -> None:
        """Tell the callbacks of an epoch that goes on, and give them back what they knew."""
        if at.totals.steps:
            self._begin_epoch(at.epochs + 1)
        if self._keeper:
            self._keeper.restore_hooks()

    def _begin_epoch(self, epoch: int) -> None:
        for hook in self._hooks:
            hook.on_epoch_begin(self._net, epoch)

    def _keep(self, state: State, at: Position) -> Callable[[Sequence[Any], float], None]:
        """Return what writes a checkpoint where one is due within an epoch."""

        def keep(sums: Sequence[Any], seconds: float) -> None:
            if self._keeper and self._keeper.is_due():
                self._check_finite(state)
                position = replace(at, totals=Totals(*sums), seconds=seconds)
                self._keeper.write(self._net, state, position)

        return keep

    @contextmanager
    def _all_or_nothing(self, before: Snapshot) -> Iterator[None]:
        """Make a context in which a failure leaves the network as it was before the fit."""
        try:
            yield
        except BaseException:
            self._put_back(before)
            raise

    def _train(self, state: State, at: Position, report: Reporter) -> Totals | None:
        """Train an epoch, or what is left of it; return None where a callback ended it."""
        net = self._net
        training = self._training.but(
            first_step=at.steps,
            each_batch=report.each_batch,
            before=at.totals,
        )
        totals = None
        try:
            totals = self._feed.train(net, training, state, report)
        except StopTraining:
            self._check_finite(state)
            if self._keeper:
                position = replace(
                    at,
                    stopped=report.final,
                    totals=Totals(*report.sums),
                    seconds=report.seconds,
                )
                self._keeper.write(net, state, position)
        self._check_finite(state)
        return totals

    def _check_finite(self, state: State) -> None:
        """Raise NotFiniteError where training has left the finite numbers."""
        if not all(self._net._is_finite(p) for p in self._net._buffers()):
            raise NotFiniteError("a weight is not finite")
        if not all(self._net._is_finite(s) for s in state.arrays()):
            raise NotFiniteError("a moment of the optimizer is not finite")

    def _stepping(self, state: State) -> AbstractContextManager[None]:
        """Have the network hold the parameters that the optimizer moves, not their averages."""
        return nullcontext() if state.ema is None else self._swapped(state)

    @contextmanager
    def _swapped(self, state: State) -> Iterator[None]:
        state.swap(self._net._buffers())
        try:
            yield
        finally:
            state.swap(self._net._buffers())

    def _measured(self) -> dict[str, float] | None:
        """Return what is measured on the validation data."""
        return self._validation.measure(self._net, self._metric) if self._validation else None

    def _has_waited(self, history: History, measured: dict[str, float] | None) -> bool:
        """Look at an epoch that is over; return whether to wait no longer for a better one."""
        if self._watch is None:
            return False
        value = history.loss[-1]
        if measured is not None:
            value = measured[self._metric.name if self._metric else "loss"]
        waited = self._watch.see(value, len(history), self._net)
        history.best_epoch = self._watch.best_epoch
        return waited

    def _put_back(self, before: Snapshot) -> None:
        """Make the network what it was before the fit."""
        if self._watch:
            self._watch.forget()
        before.restore()

    def _warn(self, failure: DivergenceError) -> None:
        """Warn that the fit diverged and ends with the best epoch's network."""
        assert self._watch is not None
        warnings.warn(
            f"{failure}; the network is what it was after epoch {self._watch.best_epoch}",
            RuntimeWarning,
            stacklevel=4,
        )

    def _record(
        self, history: History, progress: Progress, measured: dict[str, float] | None
    ) -> None:
        """Add an epoch to the history."""
        history.loss.append(progress.loss)
        history.seconds.append(progress.seconds)
        if not self._net._regression:
            history.accuracy.append(progress.accuracy)
        if measured is not None:
            history.val_loss.append(self._training.loss_unit * measured["loss"])
            if not self._net._regression:
                history.val_accuracy.append(measured["accuracy"])
            if self._metric and self._metric.name not in RECORDED:
                values = history.metrics.setdefault(f"val_{self._metric.name}", [])
                values.append(measured[self._metric.name])

    def _divergence(self, error: NotFiniteError) -> DivergenceError:
        """Return the error for a training that left the finite numbers."""
        lr, finished = self._feed.largest_rate, self._net.epochs_trained
        return DivergenceError(
            f"training diverged, {error}, after {finished} finished epochs: "
            f"try an lr below {lr:g}, or scale X to about unit variance (or to [0, 1])"
        )
