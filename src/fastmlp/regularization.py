"""Checks of what keeps weights, gradients and steps small."""

from typing import Any

import numpy as np

from . import checks


def check_penalty(value: object, name: str) -> float:
    """Return the factor of a penalty, finite and at least 0, as a `float`."""
    number = checks.check_real(value, name)
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    return number


def check_norm(value: object, name: str, dtype: np.dtype[Any]) -> float | None:
    """Return a greatest norm, greater than 0 and within the dtype, as a `float`, or None."""
    if value is None:
        return None
    number = checks.check_real(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value!r}")
    limits = np.finfo(dtype)
    # Gradients and weights are measured in units of it.
    if not float(limits.tiny) <= number <= 1 / float(limits.tiny):
        raise ValueError(f"{name} is out of the range of {dtype}: {value!r}")
    return number


def check_ema(value: object) -> float | None:
    """Return the decay of an average, in (0, 1), as a `float`, or None."""
    if value is None:
        return None
    number = checks.check_real(value, "ema")
    if not 0 < number < 1:
        raise ValueError(f"ema must be in (0, 1), got {value!r}")
    return number
