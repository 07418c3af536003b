"""The weights a network starts from."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from . import checks

STANDARD_DEVIATIONS: dict[str, Callable[[int, int], float]] = {
    # He et al. 2015, "Delving deep into rectifiers": keeps the variance of relu layers.
    "he": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    # Glorot and Bengio 2010: a compromise between the forward and the backward pass.
    "glorot": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    # LeCun et al. 1998, "Efficient backprop": keeps the variance of linear layers.
    "lecun": lambda fan_in, fan_out: math.sqrt(1 / fan_in),
}
"""Standard deviation of the weights from a layer's (fan_in, fan_out), by the rule's name."""


def check_init(init: str | float) -> str | float:
    """Return the name of a rule in lower case, or a positive standard deviation as a `float`."""
    if isinstance(init, str):
        name = init.lower()
        if name not in STANDARD_DEVIATIONS:
            known = ", ".join(STANDARD_DEVIATIONS)
            raise ValueError(f"init is {init!r}: known are {known}, or a standard deviation")
        return name
    deviation = checks.check_real(init, "init")
    if deviation <= 0:
        raise ValueError(f"init must be greater than 0 as a standard deviation, got {init!r}")
    return deviation


def standard_deviation(init: str | float, fan_in: int, fan_out: int) -> float:
    """Return the standard deviation of the weights of a layer with these widths."""
    rule = check_init(init)
    return STANDARD_DEVIATIONS[rule](fan_in, fan_out) if isinstance(rule, str) else rule


def initial_weights(
    layers: Sequence[int], init: str | float, dtype: npt.DTypeLike, seed: int
) -> list[npt.NDArray[Any]]:
    """Draw the weights of every layer from normal distributions of mean 0.

    The values depend on the arguments alone: the stream is Philox (Salmon et al. 2011) keyed by
    (seed, 0), read layer by layer in float64 and rounded to `dtype` last.

    Parameters
    ----------
    layers
        Widths, the input's first.
    init
        "he", "glorot", "lecun", or the standard deviation itself.
    dtype
        float32 or float64.
    seed
        Integer in [0, 2**64).

    Returns
    -------
    list of ndarray
        One (fan_in, fan_out) array for each layer after the input.

    Raises
    ------
    ValueError
        When a weight is too large for `dtype`.
    """
    widths = checks.check_layers(layers)
    float_type = checks.check_dtype(dtype)
    key = np.array([checks.check_seed(seed), 0], dtype=np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key))
    weights = []
    for fan_in, fan_out in pairwise(widths):
        drawn = rng.standard_normal((fan_in, fan_out))
        with np.errstate(over="ignore"):
            drawn *= standard_deviation(init, fan_in, fan_out)
            weights.append(drawn.astype(float_type, copy=False))
        if not np.isfinite(weights[-1]).all():
            raise ValueError(f"init is {init!r}: it makes weights too large for {float_type}")
    return weights
