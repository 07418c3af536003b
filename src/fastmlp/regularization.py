"""Checks of what keeps weights, gradients and steps small."""

from . import checks


def check_penalty(value: object, name: str) -> float:
    """Return the factor of a penalty, finite and at least 0, as a `float`."""
    number = checks.check_real(value, name)
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    return number
