"""The loop over epochs, the same whatever computes them."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .callbacks import Callback, Progress
from .errors import DivergenceError, NotFiniteError
from .history import History
from .optimizers import Optimizer
from .samples import Samples
from .schedules import Rates

if TYPE_CHECKING:
    from .base import MLP

Array = npt.NDArray[Any]

Report = Callable[[float, float, int, int], Progress]
"""Takes the weighted sum of the losses, the sum of the weights, the hits and the number of the
samples an epoch has trained on."""


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


@dataclass(frozen=True)
class Training:
    """How an epoch, or a part of it, trains: the options of `fit`, checked.

    Attributes
    ----------
    batch_size, shuffle
        As given.
    lr
        The learning rates of the fit.
    rates
        Those of the steps of the epoch at hand.
    part
        With the epoch, the name of the samples' order.
    before
        Totals of the epoch's earlier parts.
    """

    batch_size: int
    lr: Rates
    shuffle: bool
    rates: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    part: int = 0
    before: Totals = field(default_factory=Totals)


def epoch_line(history: History, epochs: int) -> str:
    """Return a line of text about the last epoch of a history, out of `epochs`."""
    number = len(history)
    parts = [f"epoch {number:>{len(str(epochs))}}/{epochs}", f"loss {history.loss[-1]:.4f}"]
    if history.accuracy:
        parts.append(f"accuracy {history.accuracy[-1]:.4f}")
    if history.val_loss:
        parts.append(f"val_loss {history.val_loss[-1]:.4f}")
    if history.val_accuracy:
        parts.append(f"val_accuracy {history.val_accuracy[-1]:.4f}")
    parts.append(f"{history.seconds[-1]:.2f} s")
    return "  ".join(parts)


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
        self._steps = state.steps if state else 0
        names = ("epochs_trained", "trained_on", "history", "_optimizer_state")
        self._attributes = {name: getattr(net, name) for name in names}

    def restore(self) -> None:
        """Make the network what it was, in place."""
        net = self._net
        net.__dict__.update(self._attributes)
        if net._optimizer_state is not None:
            net._optimizer_state.steps = self._steps
        for array, saved in zip(net._arrays(), self._arrays, strict=True):
            array[...] = saved


class Fit:
    """One call of `fit`, its arguments checked.

    Parameters
    ----------
    net
        The network to train.
    samples, validation
        What to train and to measure on; the latter may be None.
    training
        How an epoch trains.
    optimizer
        What makes the steps.
    epochs
        How many.
    verbose
        Print a line each so many epochs; 0 prints nothing.
    hooks
        The callbacks.
    """

    def __init__(
        self,
        net: "MLP",
        samples: Samples,
        validation: Samples | None,
        training: Training,
        optimizer: Optimizer,
        epochs: int,
        verbose: int,
        hooks: Sequence[Callback],
    ) -> None:
        self._net: Any = net
        self._samples = samples
        self._validation = validation
        self._training = training
        self._optimizer = optimizer
        self._epochs = epochs
        self._verbose = verbose
        self._hooks = hooks

    def run(self) -> History:
        """Train; see `fastmlp.MLP.fit` for what is raised."""
        net = self._net
        before = Snapshot(net)
        state = net._use_optimizer(self._optimizer)
        history = net.history = History()
        net.trained_on = self._samples.X.dtype.name
        with ExitStack() as at_end:
            at_end.callback(net._end_fit)
            for hook in self._hooks:
                hook.on_fit_begin(net, self._epochs, len(self._samples))
                at_end.callback(hook.on_fit_end, net, history)
            for epoch in range(1, self._epochs + 1):
                report = self._reporter(epoch)
                training = self._training_of(epoch, before)
                totals: Totals
                try:
                    totals = net._train_epoch(self._samples, training, state, report)
                    if not all(net._is_finite(p) for p in net._buffers()):
                        raise NotFiniteError("a weight is not finite")
                    if not all(net._is_finite(s) for s in state.arrays()):
                        raise NotFiniteError("a moment of the optimizer is not finite")
                    progress = report(*totals[:4])
                    measured = self._measured()
                except NotFiniteError as error:
                    failure = self._divergence(error, training)
                    before.restore()
                    raise failure from None
                except Exception as error:
                    if self._is_of_python_loss(error):
                        before.restore()
                    raise
                net.epochs_trained += 1
                self._record(history, progress, measured)
                if self._verbose and epoch % self._verbose == 0:
                    print(epoch_line(history, self._epochs), flush=True)
                stop = False
                for hook in self._hooks:
                    stop |= bool(hook.on_epoch_end(net, history))
                if stop:
                    break
        return history

    def _training_of(self, epoch: int, before: Snapshot) -> Training:
        """Return how an epoch, counted from 1, trains."""
        lr = self._training.lr
        try:
            rates = lr.of_steps((epoch - 1) * lr.steps_per_epoch, lr.steps_per_epoch)
        except Exception:
            before.restore()
            raise
        return replace(self._training, rates=rates)

    def _reporter(self, epoch: int) -> Report:
        """Return a function that tells the callbacks how far an epoch, which begins, has come."""
        net, began, n_samples = self._net, time.perf_counter(), len(self._samples)

        def report(loss_sum: float, weight_sum: float, hits: int, samples: int) -> Progress:
            # There is no mean of samples whose weights are all 0.
            loss = loss_sum / weight_sum if weight_sum else math.nan
            accuracy = math.nan if net._regression else hits / samples
            seconds = time.perf_counter() - began
            progress = Progress(epoch, self._epochs, samples, n_samples, loss, accuracy, seconds)
            if self._hooks:
                with net._read_only():
                    for hook in self._hooks:
                        hook.on_progress(net, progress)
            return progress

        return report

    def _measured(self) -> dict[str, float] | None:
        """Return what is measured on the validation data."""
        if self._validation is None:
            return None
        measured: dict[str, float] = self._net._evaluate(self._validation)
        return measured

    def _record(
        self, history: History, progress: Progress, measured: dict[str, float] | None
    ) -> None:
        """Add an epoch to the history."""
        history.loss.append(progress.loss)
        history.seconds.append(progress.seconds)
        if not self._net._regression:
            history.accuracy.append(progress.accuracy)
        if measured is not None:
            history.val_loss.append(measured["loss"])
            if not self._net._regression:
                history.val_accuracy.append(measured["accuracy"])

    def _divergence(self, error: NotFiniteError, training: Training) -> DivergenceError:
        """Return the error for a training that left the finite numbers."""
        lr, finished = training.rates.max(), self._net.epochs_trained
        return DivergenceError(
            f"training diverged, {error}, after {finished} finished epochs: "
            f"try an lr below {lr:g}, or scale X to about unit variance (or to [0, 1])"
        )

    def _is_of_python_loss(self, error: Exception) -> bool:
        """Whether an exception was raised by the loss, a Python function."""
        given = (self._samples, self._validation)
        return any(d.python_loss.failure is error for d in given if d and d.python_loss)
