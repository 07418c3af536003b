"""Losses for numbers.

In the formulas p are the predictions, t the targets and K is the number of outputs. A batch's loss
is the mean over its samples, each with its weight; gradients are for one sample.
"""

from dataclasses import dataclass
from typing import Any

from .. import checks
from .base import Kernel, Loss, check_positive

OUTPUTS = tuple(name for name in checks.HIDDEN_ACTIVATIONS if name != "sigmoid")
"""All that regression may end in; sigmoid is for classes, and exp has a loss of its own."""


@dataclass(frozen=True, repr=False)
class MeanSquaredError(Loss):
    """Mean squared error, the default of regression, but for exp.

    L = mean_c (p_c - t_c)^2; dL/dp_c = 2 (p_c - t_c) / K.

    Parameters
    ----------
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    name = "mean_squared_error"
    outputs = OUTPUTS


@dataclass(frozen=True, repr=False)
class MeanAbsoluteError(Loss):
    """Mean absolute error, which outliers disturb less than the squared one.

    L = mean_c |p_c - t_c|; dL/dp_c = sign(p_c - t_c) / K, 0 where they are equal.

    Parameters
    ----------
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    name = "mean_absolute_error"
    outputs = OUTPUTS


@dataclass(frozen=True, repr=False)
class Huber(Loss):
    """Huber loss: squares of small errors, absolute values of large ones (Huber 1964, "Robust
    estimation of a location parameter").

    With e = p - t and d the delta, L = mean_c of e_c^2 / 2 where |e_c| <= d and d (|e_c| - d / 2)
    elsewhere; dL/dp_c = max(-d, min(e_c, d)) / K.

    Parameters
    ----------
    delta
        d greater than 0, in the targets' unit.
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    delta: float = 1.0

    name = "huber"
    outputs = OUTPUTS

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(delta=check_positive(self.delta, "delta"))

    def kernel(self, output: str) -> Kernel:
        return Kernel("huber", self.delta)

    def function(self, output: str) -> tuple[str, dict[str, Any]]:
        return "huber", {"delta": self.delta}


@dataclass(frozen=True, repr=False)
class Poisson(Loss):
    """Poisson loss for counts, the default behind exp, computed from the logarithms of the rates.

    L = mean_c exp(z_c) - t_c z_c, the negative logarithm of the Poisson probability of t at the
    rate exp(z) without the term that depends on t alone; dL/dz_c = (exp(z_c) - t_c) / K. It
    overflows where the rate does.

    Parameters
    ----------
    deviance
        Whether to add t log(t) - t, which makes L half the mean deviance: 0 for rates that are the
        counts. The gradient is the same.
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    deviance: bool = False

    name = "poisson"
    outputs = ("exp",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(deviance=checks.check_flag(self.deviance, "deviance"))

    def kernel(self, output: str) -> Kernel:
        return Kernel("poisson", float(self.deviance))

    def function(self, output: str) -> tuple[str, dict[str, Any]]:
        return "poisson_with_log_rates", {"deviance": self.deviance}
