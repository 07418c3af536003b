"""The weights of a network as scikit-learn keeps them, and as it draws them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Parameters(list[Array]):
    """A list of a network's own arrays: what is assigned to an item goes into the network.

    An array of another shape raises ValueError.
    """

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write values into an array, or into those of a slice."""
        if not isinstance(index, slice):
            write(self[index], value, f"[{index}]")
            return
        arrays, values = self[index], list(value)
        if len(values) != len(arrays):
            raise ValueError(f"{len(values)} arrays cannot take the place of {len(arrays)}")
        for number, (array, new) in enumerate(zip(arrays, values, strict=True)):
            write(array, new, f"[{number}]")

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a plain list, whose arrays are nobody's."""
        return list, (list(map(np.array, self)),)


def write(array: Array, values: npt.ArrayLike, name: str) -> None:
    """Fill an array with values of its shape."""
    given = np.asarray(values)
    if given.shape != array.shape:
        raise ValueError(f"{name} has shape {given.shape}, the network's is {array.shape}")
    array[...] = given


def draw(
    layers: Sequence[int], activation: Sequence[str], random_state: np.random.RandomState
) -> Iterable[tuple[Array, Array]]:
    """Yield initial weights and biases of each layer, drawn as scikit-learn draws them.

    Uniform within the bound of Glorot and Bengio (2010), sqrt(6 / (fan_in + fan_out)), or with a 2
    in place of the 6 for a sigmoid. Scikit-learn goes by the activation of the hidden layers at the
    output too: `activation` holds a name for each layer.
    """
    for (fan_in, fan_out), name in zip(pairwise(layers), activation, strict=True):
        bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / (fan_in + fan_out))
        weights = random_state.uniform(-bound, bound, (fan_in, fan_out))
        yield weights, random_state.uniform(-bound, bound, fan_out)
