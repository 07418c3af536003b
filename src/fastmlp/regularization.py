"""Checks of what keeps weights, gradients and steps small."""

from collections.abc import Sequence
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


def _check_chance(value: object, name: str) -> float:
    number = checks.check_real(value, name)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value!r}")
    return number


def check_dropout(
    dropout: float | Sequence[float], input_dropout: float, n_hidden: int
) -> tuple[float, ...]:
    """Return the chance of each layer's inputs to be dropped, or () where all are 0."""
    first = _check_chance(input_dropout, "input_dropout")
    if isinstance(dropout, str) or not np.iterable(dropout):
        chances = [_check_chance(dropout, "dropout")] * n_hidden
    else:
        chances = [_check_chance(p, f"dropout[{i}]") for i, p in enumerate(dropout)]
        if len(chances) != n_hidden:
            raise ValueError(
                f"dropout holds {len(chances)} numbers, there are {n_hidden} hidden layers"
            )
    found = (first, *chances)
    return found if any(found) else ()
