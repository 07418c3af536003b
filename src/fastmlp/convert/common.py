"""What all conversions share."""

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks
from ..mlp import MLP

Array = npt.NDArray[Any]


def library(module: str, advice: str) -> Any:
    """Import a module of a library that fastmlp does not depend on.

    Where the library is missing, ModuleNotFoundError with the advice.
    """
    name = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name:
            raise
        raise ModuleNotFoundError(advice, name=name) from error


def network(
    weights: Sequence[Array], biases: Sequence[Array], activations: Sequence[str], name: str
) -> MLP:
    """Return a network with copies of parameters, in their dtype and with its output's own loss.

    Parameters
    ----------
    weights, biases
        (fan_in, fan_out) and (fan_out,) for each layer, all of one dtype.
    activations
        As for `MLP`.
    name
        The argument that they come from, for messages.

    Raises
    ------
    ValueError
        When a shape does not fit, or a value is not finite.
    """
    layers = (weights[0].shape[0], *(len(bias) for bias in biases))
    for layer, (weight, shape) in enumerate(zip(weights, pairwise(layers), strict=True)):
        if weight.shape != shape:
            raise ValueError(
                f"{name} has layers that do not fit: weights[{layer}] is {weight.shape}, "
                f"its neighbors need {shape}"
            )
    try:
        checks.check_parameters(weights, biases)
    except ValueError as error:
        raise ValueError(f"{name} cannot be converted: {error}") from None
    net = MLP(layers, activations, dtype=np.result_type(*weights))
    given = (*weights, *biases)
    for parameter, values in zip((*net.weights, *net.biases), given, strict=True):
        parameter[...] = values
    return net
