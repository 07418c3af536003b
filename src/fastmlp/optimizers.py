"""The optimizers that networks are trained by.

`fit` takes one by its name, or as an object with parameters:

>>> import fastmlp as fm
>>> adamw = fm.optimizers.AdamW(weight_decay=0.05)

In the formulas w is a parameter, g the gradient of the batch's loss by it, lr the learning rate of
`fit` and t = 1, 2, ... the step. What an optimizer remembers of a parameter starts at zero. It
stays with the network: the next `fit` with an equal optimizer goes on from there, one with another
starts anew. Copies and pickles of a network carry it, and so do checkpoints; other files do not.

The steps are those of `torch.optim` at the same learning rate, to rounding, and those of
scikit-learn's MLP where a class says so.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from . import checks

Array = npt.NDArray[Any]

STATES = {
    "sgd": 0,
    "momentum": 1,
    "nesterov": 1,
    "adam": 2,
    "adamw": 2,
    "rmsprop": 1,
    "rmsprop_momentum": 2,
}
"""How many numbers each rule remembers of a parameter."""


class Rule(NamedTuple):
    """Which of the engine's rules makes the steps, and with which parameters."""

    name: str
    beta1: float = 0.0
    beta2: float = 0.0
    epsilon: float = 0.0
    weight_decay: float = 0.0
    epsilon_hat: bool = False


class Optimizer:
    """Base class of the optimizers.

    Objects are immutable and compare by their parameters.
    """

    name: ClassVar[str]
    """What `fit` takes for the optimizer with its default parameters."""

    def rule(self) -> Rule:
        """Return how the engine makes its steps."""
        raise NotImplementedError

    def check(self, dtype: np.dtype[Any]) -> None:
        """Raise ValueError unless a network of this dtype can use it."""
        epsilon, limits = self.rule().epsilon, np.finfo(dtype)
        if epsilon and not float(limits.tiny) <= epsilon <= float(limits.max):
            raise ValueError(f"epsilon is out of the range of {dtype}: {epsilon}")


def check_fraction(value: object, name: str) -> float:
    """Return a real number in [0, 1) as a `float`."""
    number = checks.check_real(value, name)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value!r}")
    return number


def check_epsilon(value: object) -> float:
    """Return an epsilon, finite and greater than 0, as a `float`."""
    number = checks.check_real(value, "epsilon")
    if number <= 0:
        raise ValueError(f"epsilon must be greater than 0, got {value!r}")
    return number


def set_fields(optimizer: Optimizer, **values: object) -> None:
    """Set the fields of a frozen object."""
    for name, value in values.items():
        object.__setattr__(optimizer, name, value)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum where asked for.

    Without momentum w = w - lr g. With it, in the velocity form of Sutskever et al. 2013, "On the
    importance of initialization and momentum in deep learning":

        v = momentum v - lr g,  w = w + v,  or with nesterov  w = w + momentum v - lr g.

    This is scikit-learn's form. PyTorch keeps u = momentum u + g and takes w = w - lr u: the same
    as long as lr does not change (v = -lr u), but there a new lr rescales the velocity at once.
    Nesterov's gradient is taken at w itself, as both of them do (Bengio et al. 2012, "Advances in
    optimizing recurrent networks", section 3.5).

    Parameters
    ----------
    momentum
        In [0, 1).
    nesterov
        Whether to look ahead; needs a momentum greater than 0.
    """

    momentum: float = 0.0
    nesterov: bool = False

    name = "sgd"

    def __init__(self, momentum: float = 0.0, nesterov: bool = False) -> None:
        momentum = check_fraction(momentum, "momentum")
        nesterov = checks.check_flag(nesterov, "nesterov")
        if nesterov and not momentum:
            raise ValueError("nesterov needs a momentum greater than 0")
        set_fields(self, momentum=momentum, nesterov=nesterov)

    def rule(self) -> Rule:
        if not self.momentum:
            return Rule("sgd")
        return Rule("nesterov" if self.nesterov else "momentum", self.momentum)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1).

        m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
        w = w - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)

    Parameters
    ----------
    beta1, beta2
        In [0, 1).
    epsilon
        Greater than 0.
    epsilon_hat
        Whether epsilon is what the paper's section 2 calls epsilon hat, added before the
        correction: w = w - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon). This is
        scikit-learn's form; PyTorch's is the other.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False

    name = "adam"

    def __init__(
        self,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_hat: bool = False,
    ) -> None:
        set_fields(
            self,
            beta1=check_fraction(beta1, "beta1"),
            beta2=check_fraction(beta2, "beta2"),
            epsilon=check_epsilon(epsilon),
            epsilon_hat=checks.check_flag(epsilon_hat, "epsilon_hat"),
        )

    def rule(self) -> Rule:
        return Rule("adam", self.beta1, self.beta2, self.epsilon, 0.0, self.epsilon_hat)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, "Decoupled weight decay
    regularization", algorithm 2).

    Adam's step on (1 - lr weight_decay) w in place of w. As in `torch.optim.AdamW`, the decay is
    scaled by the learning rate, and biases decay too.

    Parameters
    ----------
    beta1, beta2, epsilon
        As for `Adam`.
    weight_decay
        At least 0.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    name = "adamw"

    def __init__(
        self,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        decay = checks.check_real(weight_decay, "weight_decay")
        if decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {weight_decay!r}")
        set_fields(
            self,
            beta1=check_fraction(beta1, "beta1"),
            beta2=check_fraction(beta2, "beta2"),
            epsilon=check_epsilon(epsilon),
            weight_decay=decay,
        )

    def rule(self) -> Rule:
        return Rule("adamw", self.beta1, self.beta2, self.epsilon, self.weight_decay)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012, lecture 6.5 of "Neural networks for machine learning").

        v = rho v + (1 - rho) g^2,  w = w - lr g / (sqrt(v) + epsilon)

    or with momentum u = momentum u - lr g / (sqrt(v) + epsilon), w = w + u. The lecture has a rho
    of 0.9 and no epsilon; `torch.optim.RMSprop` calls rho alpha.

    Parameters
    ----------
    rho, momentum
        In [0, 1).
    epsilon
        Greater than 0.
    """

    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0

    name = "rmsprop"

    def __init__(self, rho: float = 0.99, epsilon: float = 1e-8, momentum: float = 0.0) -> None:
        set_fields(
            self,
            rho=check_fraction(rho, "rho"),
            epsilon=check_epsilon(epsilon),
            momentum=check_fraction(momentum, "momentum"),
        )

    def rule(self) -> Rule:
        name = "rmsprop_momentum" if self.momentum else "rmsprop"
        return Rule(name, self.momentum, self.rho, self.epsilon)


CLASSES: dict[str, type[Optimizer]] = {kind.name: kind for kind in (SGD, Adam, AdamW, RMSprop)}

NAMES = tuple(CLASSES)
"""Names of the optimizers."""


def get(optimizer: str | Optimizer) -> Optimizer:
    """Return an optimizer as an object, from a name of `NAMES` in any letter case or from one.

    TypeError or ValueError for something else and for an unknown name.
    """
    if isinstance(optimizer, str):
        kind = CLASSES.get(optimizer.lower())
        if kind is None:
            raise ValueError(f"optimizer is {optimizer!r}: known are {', '.join(NAMES)}")
        return kind()
    if isinstance(optimizer, type):
        raise TypeError(f"optimizer is the class {optimizer.__name__}: pass an object of it")
    if type(optimizer) not in CLASSES.values():
        raise TypeError(
            f"optimizer must be a name or an object of fm.optimizers, got {optimizer!r}"
        )
    return optimizer


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer as a dictionary for JSON."""
    return {"name": optimizer.name, **asdict(optimizer)}  # type: ignore[call-overload]


def from_description(description: object) -> Optimizer:
    """Return the optimizer that `describe` described.

    TypeError or ValueError when it has another form or describes none.
    """
    if not isinstance(description, dict) or not isinstance(description.get("name"), str):
        raise ValueError(f"optimizer is {description!r}, not the description of an optimizer")
    parameters = dict(description)
    kind = type(get(parameters.pop("name")))
    return kind(**parameters)


@dataclass(eq=False)
class State:
    """What an optimizer remembers of a network's parameters.

    Attributes
    ----------
    optimizer
        Whose it is.
    buffers
        For each number it remembers of a parameter, arrays like those that hold the parameters.
    steps
        Steps taken.
    ema
        The decay of the parameters' average, or None where there is none.
    other
        With an average, arrays like those that hold the parameters: the network has the averages,
        and these are the parameters that the optimizer moves. During an epoch's steps it is the
        other way round.
    stepping
        Whether it is.
    """

    optimizer: Optimizer
    buffers: list[list[Array]]
    steps: int = 0
    ema: float | None = None
    other: list[Array] = field(default_factory=list)
    stepping: bool = False

    def arrays(self) -> list[Array]:
        """Return all arrays."""
        return [array for arrays in self.buffers for array in arrays] + self.other

    def swap(self, parameters: Iterable[Array]) -> None:
        """Exchange a network's parameters and `other`, before an epoch's steps and after them."""
        for mine, theirs in zip(self.other, parameters, strict=True):
            kept = mine.copy()
            mine[...] = theirs
            theirs[...] = kept
        self.stepping = not self.stepping
