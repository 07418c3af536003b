"""Ends a fit that no longer gets better, and keeps the best epoch's network."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from .checks import check_flag, check_positive_int, check_real

if TYPE_CHECKING:
    from .base import MLP

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class EarlyStopping:
    """When `fit` ends before its last epoch, and what it keeps.

    An epoch's value is the eval metric on the validation data, their loss if there is no
    `eval_metric`, and the training loss if there are no validation data.

    Parameters
    ----------
    patience
        At least 1: the fit ends after so many epochs in a row without progress.
    min_delta
        At least 0. An epoch makes progress when its value is better by more than this than the
        last one that did; the first epoch does.
    restore_best
        Whether, however the fit ends, the network becomes what it was after the epoch with the best
        value, the first of equal ones: the parameters, with `ema` the averages too, and what the
        optimizer remembers, so that the next fit goes on from there. `epochs_trained` still counts
        all epochs, so that it draws new orders.
    """

    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        # Plain numbers: a checkpoint tells settings apart by how they are written.
        object.__setattr__(self, "patience", check_positive_int(self.patience, "patience"))
        object.__setattr__(self, "min_delta", check_real(self.min_delta, "min_delta"))
        if self.min_delta < 0:
            raise ValueError(f"min_delta must be at least 0, got {self.min_delta!r}")
        check_flag(self.restore_best, "restore_best")


def early_stopping_of(value: "EarlyStopping | int | None") -> EarlyStopping | None:
    """Return the early stopping that `fit` was asked for; a number is the patience."""
    if value is None or isinstance(value, EarlyStopping):
        return value
    return EarlyStopping(check_positive_int(value, "early_stopping"))


class Watch:
    """The best epoch of a fit so far, and how long ago there was progress.

    Parameters
    ----------
    rule
        What was asked for.
    greater_is_better
        Of two values.

    Attributes
    ----------
    best, best_epoch
        The best value and its epoch, counted from 1; None before there is one. NaN is none.
    waited
        Epochs since there was progress.
    """

    def __init__(self, rule: EarlyStopping, greater_is_better: bool) -> None:
        self.rule = rule
        self._sign = 1 if greater_is_better else -1
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self._reference: float | None = None
        self._kept: tuple[int, list[Array]] = (0, [])

    def see(self, value: float, epoch: int, net: "MLP") -> bool:
        """Take the value of an epoch that is over; return whether to end the fit."""
        if self._is_better(value, self.best):
            if self.rule.restore_best:
                # In one go: Ctrl-C may come at any moment.
                steps = net._optimizer_state.steps if net._optimizer_state else 0
                self._kept = steps, [array.copy() for array in net._arrays()]
            self.best, self.best_epoch = value, epoch
        if self._is_better(value, self._reference, self.rule.min_delta):
            self._reference, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= self.rule.patience

    @property
    def can_restore(self) -> bool:
        """Whether there is a network to go back to."""
        return bool(self._kept[1])

    def restore(self, net: "MLP") -> None:
        """Make the network what it was after the best epoch, if it has been kept."""
        if not self.can_restore:
            return
        steps, arrays = self._kept
        for array, kept in zip(net._arrays(), arrays, strict=True):
            array[...] = kept
        if net._optimizer_state is not None:
            net._optimizer_state.steps = steps

    def forget(self) -> None:
        """Have nothing to restore."""
        self._kept = 0, []

    def state(self) -> tuple[dict[str, float | None], list[Array]]:
        """Return all that changes from epoch to epoch: numbers, and the arrays themselves."""
        numbers: dict[str, float | None] = {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "reference": self._reference,
            "steps": self._kept[0],
        }
        return numbers, self._kept[1]

    def set_state(self, numbers: dict[str, Any], arrays: list[Array]) -> None:
        """Go on from what `state` returned; the arrays are copied."""
        self.best, self.best_epoch = numbers["best"], numbers["best_epoch"]
        self.waited, self._reference = numbers["waited"], numbers["reference"]
        self._kept = numbers["steps"], [array.copy() for array in arrays]

    def _is_better(self, value: float, than: float | None, by: float = 0.0) -> bool:
        if math.isnan(value):
            return False
        return than is None or self._sign * (value - than) > by
