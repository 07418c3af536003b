"""What is compared with what, how often and for how long."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from ..data import NAMES
from .contenders import Contender, contenders

SEARCH_SEEDS = 2
"""With so many seeds every learning rate is tried; the others use the best."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)
"""Networks are float32, and so is their gamma."""

_LEARNING_RATES = (0.0025, 0.01, 0.04, 0.16, 0.64, 2.56, 10.24)


class _Defaults(NamedTuple):
    shares: tuple[float, ...]
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int


_DEFAULTS = {
    # Batches are large since dice over the batch stands still without positives in most of them.
    "digits": _Defaults((0.1, 0.01), (32, 16), 200, 128),
    "mnist": _Defaults((0.1, 0.01, 0.001), (128, 64, 32), 20, 512),
}


class SettingsError(ValueError):
    """A setting that cannot be used; its name comes first in the message."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name, self.problem = name, problem


class Job(NamedTuple):
    """One run of the study."""

    share: float
    loss: str
    seed: int
    lr: float


@dataclass(frozen=True)
class Settings:
    """The settings of a study; None is replaced by what suits the data.

    Raises `SettingsError`, a ValueError, for one that cannot be used.
    """

    data: str = "digits"
    """digits or mnist."""
    digit: int = 8
    """The digit that the networks look for."""
    shares: Sequence[float] | None = None
    """Of the digit in the training data, each in (0, 0.5]; sorted, the largest first."""
    gammas: Sequence[float] = (0.5, 1.0, 2.0, 5.0)
    """Of the focal losses, positive; sorted."""
    seeds: int = 5
    """Runs of each loss and share; a seed decides the rows, the weights and their order."""
    epochs: int | None = None
    batch_size: int | None = None
    hidden: Sequence[int] | None = None
    """Widths of the hidden layers."""
    lrs: Sequence[float] = _LEARNING_RATES
    """Learning rates to choose from, for each loss and share; sorted."""

    def __post_init__(self) -> None:
        """Check the settings and fill in those that depend on the data."""
        if self.data not in NAMES:
            raise SettingsError("data", f"{self.data!r} is none of {', '.join(NAMES)}")
        defaults = _DEFAULTS[self.data]._asdict()
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if not (_is_whole(self.digit) and 0 <= self.digit <= 9):
            raise SettingsError("digit", f"{self.digit} is not a digit 0 to 9")
        for name in ("seeds", "epochs", "batch_size"):
            if not (_is_whole(getattr(self, name)) and getattr(self, name) >= 1):
                raise SettingsError(name, f"{getattr(self, name)} is not a number of 1 or more")
        for name in ("digit", "seeds", "epochs", "batch_size"):
            object.__setattr__(self, name, int(getattr(self, name)))
        for name, most in (("shares", 0.5), ("gammas", _FLOAT32_MAX), ("lrs", math.inf)):
            try:
                values = tuple(float(value) for value in getattr(self, name))
            except (OverflowError, TypeError, ValueError):
                raise SettingsError(name, "a sequence of numbers is needed") from None
            for value in values:
                if not (math.isfinite(value) and 0 < value <= most):
                    limit = "" if most == math.inf else f" of at most {most:g}"
                    raise SettingsError(name, f"{value:g} is not a positive number{limit}")
            if not values or len({f"{value:g}" for value in values}) < len(values):
                raise SettingsError(name, "one or more different numbers are needed")
            object.__setattr__(self, name, tuple(sorted(values, reverse=name == "shares")))
        assert self.hidden is not None
        try:
            widths = tuple(self.hidden)
        except TypeError:
            raise SettingsError("hidden", "a sequence of widths is needed") from None
        if not all(_is_whole(width) and width >= 1 for width in widths):
            raise SettingsError("hidden", "widths of 1 or more are needed")
        object.__setattr__(self, "hidden", tuple(int(width) for width in widths))

    @property
    def contenders(self) -> list[Contender]:
        """The losses that are compared."""
        return contenders(self.gammas)

    def cells(self) -> list[tuple[float, str]]:
        """Return each share with each loss's name."""
        assert self.shares is not None
        return [(share, contender.name) for share in self.shares for contender in self.contenders]

    def search_jobs(self) -> list[Job]:
        """Return the runs among which learning rates are chosen."""
        # Seeds go round first, so that what is left over at an interruption is spread evenly.
        return [
            Job(share, loss, seed, lr)
            for seed in range(min(SEARCH_SEEDS, self.seeds))
            for share, loss in self.cells()
            for lr in self.lrs
        ]

    def n_jobs(self) -> int:
        """Return the number of all runs."""
        searched = min(SEARCH_SEEDS, self.seeds)
        return len(self.cells()) * (searched * len(self.lrs) + self.seeds - searched)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
