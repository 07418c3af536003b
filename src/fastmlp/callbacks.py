"""Hooks that `fit` calls while it trains, and callbacks that are ready for use."""

import math
import os
import time
from collections.abc import Mapping
from numbers import Real
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .history import History
    from .mlp import MLP


class Progress(NamedTuple):
    """Where a fit stands within an epoch."""

    epoch: int
    """The epoch being trained, counted from 1 within this fit."""
    epochs: int
    """The epochs this fit was asked for."""
    samples: int
    """Samples of this epoch that have been trained on."""
    n_samples: int
    """Samples in an epoch; 0 in the first epoch of `fastmlp.data.Batches`, which do not tell."""
    loss: float
    """Mean training loss of the epoch so far; NaN as long as all weights of samples are 0."""
    accuracy: float
    """Training accuracy of the epoch so far; NaN for regression networks."""
    seconds: float
    """Wall time since the epoch began."""
    batches: int
    """Batches of this epoch that have been trained on."""


class Callback:
    """Base class of callbacks: override what you need.

    The order is `on_fit_begin`, then for each epoch `on_epoch_begin`, for each of its batches
    `on_batch_begin` and `on_batch_end`, `on_epoch_end`, and at last `on_fit_end`. Several callbacks
    are called in the order they were given, `on_fit_end` in the reverse one.

    An exception raised by a hook ends the fit and reaches the caller; the weights learned so far
    stay in the network, or with early stopping those of the best epoch.
    """

    def on_fit_begin(self, net: "MLP", epochs: int, n_samples: int) -> None:
        """Run once, after the arguments were checked and before the first epoch.

        `n_samples` is as in `Progress`.
        """

    def on_epoch_begin(self, net: "MLP", epoch: int) -> None:
        """Run before each epoch, which is counted from 1 within this fit."""

    def on_batch_begin(self, net: "MLP", progress: Progress) -> bool | None:
        """Run before each batch: before its update, the engine may have begun to compute it.

        `progress` is that of the batches before. The parameters are read-only, as in `on_progress`.
        Returning True ends the fit in the middle of the epoch: the network keeps the updates made
        so far, and the history has the finished epochs. An override has the engine call Python
        before each batch, which takes about 20 us.
        """
        return None

    def on_batch_end(self, net: "MLP", progress: Progress) -> bool | None:
        """Run after each batch; returning True ends the fit, see `on_batch_begin`.

        After an epoch's last batch the epoch is finished first, validation included.
        """
        return None

    def on_progress(self, net: "MLP", progress: Progress) -> bool | None:
        """Run a few times a second, and once when an epoch's last batch is done.

        Returning True ends the fit as `on_batch_begin` does; after an epoch's last batch the epoch
        is finished first.

        Weights and biases can be read, and are those after the update of some batch; they are
        read-only meanwhile, since the engine holds copies of parts of them for the length of an
        epoch. `on_epoch_end` may change them.
        """
        return None

    def on_epoch_end(self, net: "MLP", history: "History") -> bool | None:
        """Run after each epoch, validation included; returning True stops the fit.

        It is finished then: resumed, it does not go on.
        """
        return None

    def on_fit_end(self, net: "MLP", history: "History") -> None:
        """Run once at the end, also when the fit was interrupted."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the callback, for `restore`.

        Values are numbers, strings, None, arrays, and lists and dictionaries of them; tuples come
        back as lists. A callback without a memory of its own has no need for this.
        """
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned, when a fit is resumed.

        It comes after `on_fit_begin`, and after `on_epoch_begin` of an epoch that goes on. A batch
        that is next then has been announced by `on_batch_begin` before the state was kept.
        ValueError refuses the checkpoint.
        """


class TimeLimit(Callback):
    """Ends a fit after some time, in the middle of an epoch if need be.

    The network keeps the updates made so far, or with early stopping becomes that of the best
    epoch. With a checkpoint, the fit can be resumed for as long again.

    Parameters
    ----------
    seconds
        Wall time of the fit, validation included, greater than 0. It is looked at a few times a
        second.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = _number(seconds, "seconds")
        if self.seconds <= 0:
            raise ValueError(f"seconds must be greater than 0, got {seconds!r}")
        self._began = 0.0

    def on_fit_begin(self, net: "MLP", epochs: int, n_samples: int) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_progress(self, net: "MLP", progress: Progress) -> bool:
        """End the fit within an epoch."""
        return self.is_over

    def on_epoch_end(self, net: "MLP", history: "History") -> bool:
        """End the fit after an epoch."""
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the time is."""
        return time.perf_counter() - self._began >= self.seconds


class StopAt(Callback):
    """Ends a fit once what its history records has reached a value.

    Parameters
    ----------
    name
        Of a list of the history: "loss", "val_accuracy", "val_f1" ...
    at_least, at_most
        The value; one of the two.
    """

    def __init__(
        self, name: str, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        if (at_least is None) == (at_most is None):
            raise ValueError("one of at_least and at_most must be given")
        self.name = name
        self.at_least = None if at_least is None else _number(at_least, "at_least")
        self.at_most = None if at_most is None else _number(at_most, "at_most")

    def on_epoch_end(self, net: "MLP", history: "History") -> bool:
        """Compare the epoch's value; ValueError when the history has none of this name."""
        values = history.to_dict().get(self.name)
        if not values:
            known = ", ".join(name for name, found in history.to_dict().items() if found)
            raise ValueError(f"the history has no {self.name!r}, only {known}")
        if self.at_least is not None:
            return values[-1] >= self.at_least
        assert self.at_most is not None
        return values[-1] <= self.at_most


class _Logger(Callback):
    """Writes a line about each epoch to a file, at once."""

    def __init__(self, path: "str | os.PathLike[str]", append: bool = False) -> None:
        self.path = os.fspath(path)
        self.append = append
        self._file: IO[str] | None = None

    def on_fit_begin(self, net: "MLP", epochs: int, n_samples: int) -> None:
        """Open the file, and write what a fit that is resumed had in it."""
        mode = "a+" if self.append else "w+"
        self._file = open(self.path, mode, encoding="utf-8", newline="")  # noqa: SIM115  for a fit
        if not self.append and net.history is not None:
            for index in range(len(net.history)):
                self._write_epoch(net, net.history, index)

    def on_epoch_end(self, net: "MLP", history: "History") -> None:
        """Write a line, and hand it to the system."""
        self._write_epoch(net, history, len(history) - 1)

    def _write_epoch(self, net: "MLP", history: "History", index: int) -> None:
        row: dict[str, float] = {"epoch": net.epochs_trained - len(history) + 1 + index}
        row |= {name: values[index] for name, values in history.to_dict().items() if values}
        assert self._file is not None
        self._write(self._file, row)
        self._file.flush()

    def on_fit_end(self, net: "MLP", history: "History") -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, file: IO[str], row: Mapping[str, float]) -> None:
        raise NotImplementedError


class JSONLogger(_Logger):
    """Writes an object of JSON about each epoch to a line of a file, at once.

    It has "epoch", counted over all fits of the network, and the values of the history by their
    names; null for one that is not finite. The file is opened when the fit begins, so that one that
    cannot be written ends the fit there, by OSError.

    Parameters
    ----------
    path
        The file.
    append
        Whether to keep what it holds already; otherwise each fit starts it anew, one that is
        resumed with the epochs that are finished.
    """

    def _write(self, file: IO[str], row: Mapping[str, float]) -> None:
        import json

        finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
        file.write(json.dumps(finite) + "\n")


class CSVLogger(_Logger):
    """Writes the values of each epoch to a line of a CSV file, at once.

    The first line names the columns. They, the file and the parameters are as those of
    `JSONLogger`; what is not finite is written as nan, inf or -inf. ValueError, after its first
    epoch, for a fit that would append other columns than there are.
    """

    def _write(self, file: IO[str], row: Mapping[str, float]) -> None:
        file.seek(0)
        found, columns = file.readline().rstrip("\r\n"), ",".join(row)
        file.seek(0, os.SEEK_END)
        if not found:
            file.write(columns + "\n")
        elif found != columns:
            raise ValueError(f"{self.path} has the columns {found}, not {columns}")
        file.write(",".join(map(repr, row.values())) + "\n")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)
