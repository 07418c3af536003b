"""What every loss is, and the checks of its parameters."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import checks

Array = npt.NDArray[Any]
Factors = float | tuple[float, ...] | None
"""One factor for all outputs, one for each, or none."""


RESCALING = {"scale", "gamma", "alpha", "pos_weight", "smoothing", "delta"}
"""Parameters that the arithmetic takes in the network's dtype."""


class Kernel(NamedTuple):
    """Which of the engine's losses computes it, and with which parameters."""

    name: str
    parameter: float = 0.0
    factors: Factors = None


@dataclass(frozen=True, repr=False)
class Loss:
    """Base class of the losses that the engine knows.

    Objects are immutable and compare by their parameters.

    Parameters
    ----------
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    scale: float = field(default=1.0, kw_only=True)

    name: ClassVar[str]
    """What `fm.MLP` takes for the loss with its default parameters."""
    outputs: ClassVar[tuple[str, ...]]
    """Output activations of the networks it can train."""

    def __post_init__(self) -> None:
        self._set(scale=check_positive(self.scale, "scale"))

    def _set(self, **values: object) -> None:
        """Set fields of the frozen object."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Return the constructor's call."""
        given = [f.name for f in fields(self) if f.name != "scale"]
        given += ["scale"] if self.scale != 1 else []
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in given)
        return f"{type(self).__name__}({values})"

    @property
    def couples_samples(self) -> bool:
        """Whether a batch's loss is something else than the mean over its samples."""
        return False

    def check(self, output: str, n_outputs: int, dtype: np.dtype[Any]) -> None:
        """Raise ValueError unless the loss fits the output of a network of this dtype."""
        self.check_output(output)
        largest = np.finfo(dtype).max
        for name in RESCALING.intersection(vars(self)):
            value = getattr(self, name)
            if value is not None and np.max(value) > largest:
                raise ValueError(f"{name} is too large for {dtype}: {value}")

    def check_output(self, output: str) -> None:
        """Raise ValueError unless the loss fits an output activation."""
        if output not in self.outputs:
            raise ValueError(
                f"loss {self.name} needs an output of {' or '.join(self.outputs)}, "
                f"the network's is {output}"
            )

    def kernel(self, output: str) -> Kernel:
        """Return which of the engine's losses computes it behind an output activation."""
        return Kernel(self.name)

    def function(self, output: str) -> tuple[str, dict[str, Any]]:
        """Return the name of the function of `fm.ops` that computes it, and its keywords."""
        return self.name, {}

    def sample_weights(
        self, targets: Array, sample_weight: Array | None, n_outputs: int
    ) -> Array | None:
        """Return what each sample counts, float64, or None when all count 1.

        Parameters
        ----------
        targets
            As a network's checks return them: (n,) class indices or (n, n_outputs) values.
        sample_weight
            (n,) float64, or None.
        """
        return sample_weight


def check_factors(value: object, name: str) -> Factors:
    """Return a number or a sequence of numbers, all finite and at least 0, as floats."""
    if value is None:
        return None
    if isinstance(value, np.ndarray) and value.ndim != 1:
        value = value.item() if value.size == 1 and value.ndim == 0 else value.tolist()
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        return check_not_negative(value, name)
    factors = tuple(
        check_not_negative(factor, f"{name}[{index}]") for index, factor in enumerate(value)
    )
    if not factors:
        raise ValueError(f"{name} is empty")
    return factors


def check_not_negative(value: object, name: str) -> float:
    """Return a finite number of at least 0 as a `float`."""
    number = checks.check_real(value, name)
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    return number


def check_positive(value: object, name: str) -> float:
    """Return a finite number greater than 0 as a `float`."""
    number = checks.check_real(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value!r}")
    return number


def check_count(factors: Factors, n_outputs: int, name: str) -> None:
    """Raise ValueError unless there is a factor for each output, or one for all, or none."""
    if isinstance(factors, tuple) and len(factors) != n_outputs:
        raise ValueError(f"{name} holds {len(factors)} values, there are {n_outputs} outputs")


def factor_array(factors: Factors, n_outputs: int, dtype: np.dtype[Any]) -> Array | None:
    """Return one factor for each output, (n_outputs,), or None."""
    return None if factors is None else np.full(n_outputs, factors, dtype)
