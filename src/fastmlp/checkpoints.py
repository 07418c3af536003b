"""Checkpoints of a fit: when they are written, and how a fit goes on from one."""

import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import checks
from .callbacks import Callback
from .history import History
from .optimizers import State

if TYPE_CHECKING:
    from .base import MLP
    from .early_stopping import Watch
    from .feeding import Feed
    from .fitting import Position, Training
    from .io.fit_state import FitState
    from .optimizers import Optimizer

Array = npt.NDArray[Any]

OF_A_PART = ("each_batch", "first_step", "rates", "part", "first", "before")
"""Fields of `fitting.Training` that are no options of a fit."""


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `fit` writes a checkpoint, from which a fit that was killed goes on.

    `net.fit(X, y, checkpoint=fm.Checkpoint("run.safetensors", seconds=60), resume=True)` is a fit
    that may be killed at any moment, and be started again in the same way: it goes on from the file
    if there is one, and leaves the bits of one that was never killed.

    The file is replaced as a whole. It is one of `MLP.save` with more in it: `fastmlp.load` returns
    the network in it, with its history and what its optimizer remembers. When the fit is finished,
    or was stopped by a callback, the file says so, and a fit that is resumed returns at once.

    Parameters
    ----------
    path
        The file. A fit takes what an earlier one that was killed has left half-written beside it
        away, so each fit needs a name of its own.
    epochs
        Write after each so many epochs, at least 1.
    seconds
        Write when so much time has passed since the last one, greater than 0: within an epoch too,
        and no more often than a few times a second. Without either, a checkpoint is written after
        each epoch; after the fit's last epoch it always is.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """

    path: str
    epochs: int | None = None
    seconds: float | None = None

    def __init__(
        self, path: checks.FilePath, epochs: int | None = None, seconds: float | None = None
    ) -> None:
        if seconds is not None:
            seconds = checks.check_real(seconds, "seconds")
            if seconds <= 0:
                raise ValueError(f"seconds must be greater than 0, got {seconds!r}")
        elif epochs is None:
            epochs = 1
        if epochs is not None:
            epochs = checks.check_positive_int(epochs, "epochs")
        values = {"path": checks.check_path(path), "epochs": epochs, "seconds": seconds}
        for name, value in values.items():
            object.__setattr__(self, name, value)


def check_checkpoint(checkpoint: Any, resume: object) -> "Keeper | None":
    """Return what keeps the checkpoints of a fit, from its arguments."""
    resume = checks.check_flag(resume, "resume")
    if checkpoint is None:
        if resume:
            raise ValueError("resume needs a checkpoint to go on from")
        return None
    if not isinstance(checkpoint, Checkpoint):
        try:
            checkpoint = Checkpoint(checkpoint)
        except TypeError:
            raise TypeError(
                f"checkpoint must be a Checkpoint or the name of a file, got {checkpoint!r}"
            ) from None
    return Keeper(checkpoint, resume)


# What a fit is --------------------------------------------------------------------------------


def described(value: Any) -> Any:
    """Return an option as JSON has it: functions and objects become text that tells them apart."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [described(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        parts = (f"{f.name}={described(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def describe_fit(
    net: "MLP",
    feed: "Feed",
    validation: "Feed | None",
    training: "Training",
    optimizer: "Optimizer",
    epochs: int,
) -> dict[str, Any]:
    """Return what decides the bits that a fit makes of a network, by names."""
    found: dict[str, Any] = {
        "class": described(type(net)),
        "epochs": epochs,
        "optimizer": described(optimizer),
        **{
            field.name: described(getattr(training, field.name))
            for field in fields(training)
            if field.name not in (*OF_A_PART, "lr")
        },
        "lr": described(training.lr.schedule),
        "steps of an epoch": training.lr.steps_per_epoch,
        **feed.describe(net),
    }
    measured = {"X": None} if validation is None else validation.describe(net)
    found.update((f"validation_data's {name}", value) for name, value in measured.items())
    return found


def named(prefix: str, weights: Sequence[Array], biases: Sequence[Array]) -> dict[str, Array]:
    """Return arrays of layers by the names that files have for them."""
    found = {}
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        found[f"{prefix}{layer}.weight"] = weight
        found[f"{prefix}{layer}.bias"] = bias
    return found


def views(net: "MLP", state: State) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the parameters that a network has between epochs, and what its optimizer remembers.

    Arrays of layers, by the names that files have for them; they can be written to.
    """
    parameters, other = net._buffers(), state.other
    if state.stepping:
        parameters, other = other, parameters
    kept = {}
    for number, arrays in enumerate(state.buffers):
        kept.update(named(f"optimizer.{number}.", *net._layer_views(arrays)))
    if state.ema is not None:
        kept.update(named("stepped.", *net._layer_views(other)))
    return named("", *net._layer_views(parameters)), kept


def digest(arrays: Iterable[Array]) -> str:
    """Return a number that tells arrays from others, in text."""
    import hashlib

    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape} {array.dtype.str}".encode())
        found.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return found.hexdigest()


def beginning(net: "MLP", state: State) -> dict[str, Any]:
    """Return what tells a network, as a fit begins, from one that has learned something else."""
    parameters, kept = views(net, state)
    return {
        "epochs_trained": net.epochs_trained,
        "steps of the optimizer": state.steps,
        "digest of the weights": digest([*parameters.values(), *kept.values()]),
    }


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return which entries of two descriptions differ, and how; nothing if none does."""
    import json

    def text(value: Any) -> str:
        # Tuples are lists there, and NaN equals itself.
        return json.dumps(value, sort_keys=True)

    return "; ".join(
        f"{name} is {mine.get(name)!r} here and {theirs.get(name)!r} there"
        for name in {**mine, **theirs}
        if text(mine.get(name)) != text(theirs.get(name))
    )


# The course of a fit --------------------------------------------------------------------------


class Keeper:
    """Writes the checkpoints of a fit, and finds where it goes on.

    Parameters
    ----------
    checkpoint
        Where and how often.
    resume
        Whether to go on from an earlier one.
    """

    def __init__(self, checkpoint: Checkpoint, resume: bool) -> None:
        self._checkpoint = checkpoint
        # A callback may change the folder that a relative path starts from.
        self._target = os.path.abspath(checkpoint.path)
        self._resume = resume
        self._stateful: list[Callback] = []
        self._watch: Watch | None = None
        self._found: FitState | None = None
        self._written = math.inf

    def begin(
        self,
        net: "MLP",
        state: State,
        options: dict[str, Any],
        hooks: Sequence[Callback],
        watch: "Watch | None",
        history: History,
    ) -> "Position | None":
        """Return where a fit goes on, and have the network be as it was there; None at its start.

        ValueError, naming the file, where that is no checkpoint of this fit.
        """
        from .io.atomic import check_writable, remove_partial
        from .io.model_file import read_checkpoint, require_safetensors

        path = self._checkpoint.path
        require_safetensors()
        check_writable(path)
        self._options, self._start, self._watch = options, beginning(net, state), watch
        self._stateful = [hook for hook in hooks if type(hook).state is not Callback.state]
        if self._resume and os.path.exists(path):
            network, found = read_checkpoint(path)
            self._check(net, network.attributes, found)
            self._found = found
            parameters, kept = views(net, state)
            for name, array in (parameters | kept).items():
                array[...] = network.tensors[name]
            state.steps = found.optimizer_steps
            net.epochs_trained = network.attributes["epochs_trained"]
            net.trained_on = network.attributes["trained_on"]
            if watch is not None:
                watch.set_state(*found.early_stopping)
            history.__dict__.update(found.history.__dict__)
        remove_partial(path)
        self._written = time.monotonic()
        return self._found.position if self._found else None

    def restore_hooks(self) -> None:
        """Give the callbacks back what they knew, once they have been told that a fit begins."""
        if self._found is not None:
            for hook, (name, state) in zip(self._stateful, self._found.callbacks, strict=True):
                try:
                    hook.restore(state)
                except ValueError as error:
                    raise ValueError(
                        f"{self._checkpoint.path} is a checkpoint of another fit, says {name}: "
                        f"{error}"
                    ) from error

    def is_due(self) -> bool:
        """Whether so much time has passed that a checkpoint is to be written."""
        seconds = self._checkpoint.seconds
        return seconds is not None and time.monotonic() - self._written >= seconds

    def end_epoch(self, net: "MLP", state: State, position: "Position", last: bool) -> None:
        """Write a checkpoint after an epoch if one is due, and after the last one."""
        every = self._checkpoint.epochs
        if last or self.is_due() or (every and position.epochs % every == 0):
            self.write(net, state, position)

    def write(self, net: "MLP", state: State, position: "Position") -> None:
        """Write a checkpoint."""
        from .io.fit_state import FitState
        from .io.model_file import save_checkpoint

        parameters, kept = views(net, state)
        assert net.history is not None
        fit = FitState(
            options=self._options,
            start=self._start,
            optimizer=state.optimizer,
            optimizer_steps=state.steps,
            ema=state.ema,
            position=position,
            history=net.history,
            early_stopping=self._watch.state() if self._watch else ({}, []),
            callbacks=[(described(type(hook)), hook.state()) for hook in self._stateful],
        )
        save_checkpoint(net, parameters | kept, fit, self._target)
        self._written = time.monotonic()

    def _check(self, net: "MLP", attributes: dict[str, Any], found: "FitState") -> None:
        """Refuse a checkpoint of another network or fit."""
        path = self._checkpoint.path
        names = ("layers", "activations", "dtype", "seed", "init")
        mine = {name: _plain(getattr(net, name)) for name in names}
        theirs = {name: _plain(attributes[name]) for name in names}
        mine["loss"], theirs["loss"] = _loss_of(net.loss), _loss_of(attributes["loss"])
        if differing := differences(mine, theirs):
            raise ValueError(f"{path} is a checkpoint of another network: {differing}")
        if differing := differences(self._options, found.options):
            raise ValueError(f"{path} is a checkpoint of another fit: {differing}")
        if differing := differences(self._start, found.start):
            raise ValueError(
                f"{path} is a checkpoint of another fit, of a network that began with other "
                f"weights or had learned something else: {differing}"
            )
        here = [described(type(hook)) for hook in self._stateful]
        there = [name for name, _ in found.callbacks]
        if here != there:
            raise ValueError(
                f"{path} is a checkpoint of another fit: callbacks with a state are "
                f"{here} here and {there} there"
            )


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, np.dtype) else value


def _loss_of(loss: Any) -> Any:
    from .losses import describe

    return describe(loss)
