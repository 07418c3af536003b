"""Learning rates that change from step to step.

`fit` takes one in place of a number:

>>> import fastmlp as fm
>>> schedule = fm.schedules.WarmUp(fm.schedules.Cosine(0.003), epochs=2)

or a function f(step) that returns the rate, with the steps, which are batches, counted from 0 over
the fit. It is called for all steps of an epoch when the epoch begins.

In the formulas s = 0, 1, ... is the step, S the number of steps of the whole fit, e = 0, 1, ... the
epoch. The rates are those of `torch.optim.lr_scheduler` where a class says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import checks

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class Schedule:
    """Base class of the schedules.

    Objects are immutable and compare by their parameters.
    """

    @property
    def needs_length(self) -> bool:
        """Whether rates depend on how many steps an epoch or the fit has."""
        return True

    @property
    def constant(self) -> float | None:
        """The rate of all steps until the epoch is over, if it is known to be one."""
        return None

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        """Return the learning rate of each of some steps.

        Parameters
        ----------
        steps
            Their numbers, counted from 0 over the fit.
        total_steps, steps_per_epoch
            Of the fit; 0 where they are not known and there is no need to.
        """
        raise NotImplementedError


LearningRate = float | Schedule | Callable[[int], float]
"""What `fit` takes for its learning rate."""


def _set(schedule: Schedule, **values: object) -> None:
    """Set the fields of a frozen object."""
    for name, value in values.items():
        object.__setattr__(schedule, name, value)


def _check_positive(value: object, name: str) -> float:
    number = checks.check_real(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value!r}")
    return number


def _check_end(value: object) -> float:
    number = checks.check_real(value, "end")
    if number < 0:
        raise ValueError(f"end must be at least 0, got {value!r}")
    return number


def _cosine(start: float, end: float, part: Floats) -> Floats:
    """Return what lies between two rates on half a period of the cosine; part is in [0, 1]."""
    return end + (start - end) / 2 * (1 + np.cos(np.pi * part))


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate in every step; what a number stands for.

    Parameters
    ----------
    lr
        Greater than 0.
    """

    lr: float

    needs_length = False

    def __init__(self, lr: float) -> None:
        _set(self, lr=checks.check_learning_rate(lr))

    @property
    def constant(self) -> float | None:
        # A class that is derived may have rates of its own.
        return self.lr if type(self).rates is Constant.rates else None

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        return np.full(len(steps), self.lr)


@dataclass(frozen=True)
class Step(Schedule):
    """A rate that is multiplied by a factor every few epochs: lr factor^floor(e / every).

    PyTorch's StepLR, stepped once an epoch.

    Parameters
    ----------
    lr
        The first rate, greater than 0.
    every
        Epochs with the same rate, at least 1.
    factor
        Greater than 0.
    """

    lr: float
    every: int
    factor: float = 0.1

    def __init__(self, lr: float, every: int, factor: float = 0.1) -> None:
        _set(
            self,
            lr=checks.check_learning_rate(lr),
            every=checks.check_positive_int(every, "every"),
            factor=_check_positive(factor, "factor"),
        )

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        return np.asarray(self.lr * self.factor ** (steps // steps_per_epoch // self.every))


@dataclass(frozen=True)
class Exponential(Schedule):
    """A rate that is multiplied by a factor every epoch: lr factor^e.

    PyTorch's ExponentialLR, stepped once an epoch.

    Parameters
    ----------
    lr
        The first rate, greater than 0.
    factor
        Greater than 0.
    """

    lr: float
    factor: float

    def __init__(self, lr: float, factor: float) -> None:
        _set(self, lr=checks.check_learning_rate(lr), factor=_check_positive(factor, "factor"))

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        return np.asarray(self.lr * self.factor ** (steps // steps_per_epoch))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """A rate that falls as a power of the step: lr / (s + 1)^power.

    With a power in (1/2, 1] plain gradient descent converges on convex losses (Robbins & Monro
    1951, "A stochastic approximation method").

    Parameters
    ----------
    lr
        The first rate, greater than 0.
    power
        Greater than 0.
    """

    lr: float
    power: float = 0.5

    needs_length = False

    def __init__(self, lr: float, power: float = 0.5) -> None:
        _set(self, lr=checks.check_learning_rate(lr), power=_check_positive(power, "power"))

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        return np.asarray(self.lr / (steps + 1) ** self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a period of the cosine, from the rate down to its end, without restarts.

        end + (lr - end) / 2 (1 + cos(pi s / S))

    (Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5);
    PyTorch's CosineAnnealingLR with T_max = S, stepped once a batch.

    Parameters
    ----------
    lr
        The first rate, greater than 0.
    end
        At least 0.
    """

    lr: float
    end: float = 0.0

    def __init__(self, lr: float, end: float = 0.0) -> None:
        _set(self, lr=checks.check_learning_rate(lr), end=_check_end(end))

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        # Batches may bring more than they said.
        return _cosine(self.lr, self.end, np.minimum(steps / total_steps, 1))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """A rate that rises to lr and falls far below where it began, along two half cosines.

    From lr / start_divisor it reaches lr at step rise S - 1, and lr / start_divisor / end_divisor
    at the last step (Smith & Topin 2018, "Super-convergence: very fast training of neural networks
    using large learning rates"); PyTorch's OneCycleLR, stepped once a batch, with its defaults. The
    momentum stays what it is.

    Parameters
    ----------
    lr
        The highest rate, greater than 0.
    rise
        Share of the steps in which it rises, in [0, 1].
    start_divisor, end_divisor
        Greater than 0.
    """

    lr: float
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __init__(
        self,
        lr: float,
        rise: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
    ) -> None:
        share = checks.check_real(rise, "rise")
        if not 0 <= share <= 1:
            raise ValueError(f"rise must be in [0, 1], got {rise!r}")
        _set(
            self,
            lr=checks.check_learning_rate(lr),
            rise=share,
            start_divisor=_check_positive(start_divisor, "start_divisor"),
            end_divisor=_check_positive(end_divisor, "end_divisor"),
        )

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        top, last = self.rise * total_steps - 1, total_steps - 1
        start = self.lr / self.start_divisor
        # Either half may hold no step, or one that is its end.
        up = np.clip(steps / top, 0, 1) if top > 0 else np.ones(len(steps))
        down = np.clip((steps - top) / (last - top), 0, 1) if last > top else np.ones(len(steps))
        rising = _cosine(start, self.lr, up)
        falling = _cosine(self.lr, start / self.end_divisor, down)
        return np.where(steps <= top, rising, falling)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A rate that rises linearly to the first of another schedule, which then begins.

    In W steps from start lr to lr, lr being the other's first rate: lr (start + (1 - start) s / W)
    for s < W (Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2); PyTorch's LinearLR
    followed by the other in a SequentialLR. To the other, step W is step 0 and the fit has S - W
    steps.

    Parameters
    ----------
    then
        The other schedule, a number, or a function of the step.
    epochs, steps
        How long it takes, one of the two: epochs, greater than 0 and not always whole, or steps, at
        least 1.
    start
        In [0, 1].
    """

    then: LearningRate
    epochs: float | None = None
    steps: int | None = None
    start: float = 0.1

    def __init__(
        self,
        then: LearningRate,
        epochs: float | None = None,
        steps: int | None = None,
        start: float = 0.1,
    ) -> None:
        if (epochs is None) == (steps is None):
            raise ValueError("epochs or steps must be given, and not both")
        first = checks.check_real(start, "start")
        if not 0 <= first <= 1:
            raise ValueError(f"start must be in [0, 1], got {start!r}")
        get(then, "then")
        _set(
            self,
            then=then,
            epochs=None if epochs is None else _check_positive(epochs, "epochs"),
            steps=None if steps is None else checks.check_positive_int(steps, "steps"),
            start=first,
        )

    @property
    def needs_length(self) -> bool:
        return self.epochs is not None or get(self.then).needs_length

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        if self.steps is not None:
            length = self.steps
        else:
            assert self.epochs is not None
            length = max(1, round(self.epochs * steps_per_epoch))
        then = get(self.then)
        rest = max(1, total_steps - length)
        first = then.rates(np.zeros(1), rest, steps_per_epoch)
        rising = first * (self.start + (1 - self.start) * np.minimum(steps / length, 1))
        later = steps >= length
        rising[later] = then.rates(steps[later] - length, rest, steps_per_epoch)
        return rising


@dataclass(frozen=True)
class _Function(Schedule):
    """A function of the step."""

    function: Callable[[int], float]

    needs_length = False

    def rates(self, steps: Floats, total_steps: int, steps_per_epoch: int) -> Floats:
        found = np.empty(len(steps))
        for i, step in enumerate(steps):
            number = int(step)
            rate = checks.check_real(self.function(number), f"lr({number})")
            if rate < 0:
                raise ValueError(f"lr({number}) must be at least 0, got {rate!r}")
            found[i] = rate
        return found


def get(lr: LearningRate, name: str = "lr") -> Schedule:
    """Return a learning rate as a schedule, from a number, a schedule or a function of the step.

    TypeError or ValueError, naming it, for something else.
    """
    if isinstance(lr, Schedule):
        return lr
    if isinstance(lr, type):
        raise TypeError(f"{name} is the class {lr.__name__}: pass an object of it")
    if callable(lr):
        return _Function(lr)
    return Constant(_check_positive(lr, name))


class Rates:
    """The learning rates of a fit.

    Parameters
    ----------
    schedule
        Where they come from.
    total_steps, steps_per_epoch
        Of the fit; 0 where that is not known.

    Attributes
    ----------
    largest
        Of the rates that were returned last.
    """

    def __init__(self, schedule: Schedule, total_steps: int, steps_per_epoch: int) -> None:
        if not steps_per_epoch and schedule.needs_length:
            raise ValueError(
                f"lr is {schedule!r}, which needs to know how many batches an epoch has: "
                f"give Batches per_epoch"
            )
        self.schedule = schedule
        self.total_steps = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.largest = 0.0
        self._last: tuple[float | None, Floats] = None, np.empty(0)

    def of_steps(self, first: int, count: int) -> Floats:
        """Return the rates of `count` steps from the one of number `first` on, (count,).

        ValueError, naming lr, when one is not finite or less than 0.
        """
        constant = self.schedule.constant
        before, last = self._last
        # In an epoch of a small network, arithmetic of NumPy's is a tenth of the time.
        if constant is not None and constant == before and len(last) == count:
            return last
        steps = np.arange(first, first + count, dtype=np.float64)
        # A factor can take a rate beyond what a float holds.
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.schedule.rates(steps, self.total_steps, self.steps_per_epoch)
        rates = np.ascontiguousarray(found, np.float64)
        if rates.shape != steps.shape:
            raise ValueError(f"lr gives rates of shape {rates.shape} for {count} steps")
        usable = np.isfinite(rates) & (rates >= 0)
        if np.count_nonzero(usable) < count:
            worst = int(np.argmin(usable))
            raise ValueError(
                f"lr of step {first + worst} is {rates[worst]}: rates must be finite and at least 0"
            )
        self._last, self.largest = (constant, rates), float(rates.max(initial=0.0))
        return rates
