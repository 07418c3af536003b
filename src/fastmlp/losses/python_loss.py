"""Losses written in Python: a function of a batch that returns its mean loss and the gradient."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NotFiniteError

Array = npt.NDArray[Any]
LossFunction = Callable[..., tuple[float, npt.ArrayLike]]
"""f(predictions, targets) or, with weights, f(predictions, targets, sample_weight=weights)."""


def function_name(function: object) -> str:
    """Return what to call a loss function in messages and files."""
    return str(getattr(function, "__name__", type(function).__name__))


class PythonLoss:
    """A user's loss function over some samples, as the training of a batch calls it.

    Parameters
    ----------
    function
        What computes the loss.
    targets, weights
        Of all samples, as `fastmlp.samples.Samples` holds them.
    read_only
        Makes a context in which the network's parameters cannot be changed.

    Attributes
    ----------
    failure
        What the function, or the check of what it returned, has raised.
    """

    def __init__(
        self,
        function: LossFunction,
        targets: Array,
        weights: Array | None,
        read_only: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.failure: Exception | None = None
        self._function = function
        self._targets = targets
        self._weights = weights
        self._read_only = read_only

    def __call__(self, predictions: Array, rows: Array | slice, gradient: Array) -> float:
        """Fill in the gradient of a batch and return its mean loss.

        Parameters
        ----------
        predictions
            (n, n_outputs), what a loss sees of the network's output.
        rows
            Which of the samples the batch holds.
        gradient
            (n, n_outputs), of the predictions' dtype.
        """
        if not np.isfinite(predictions).all():
            raise NotFiniteError("the network's output is not finite")
        weights = None if self._weights is None else self._weights[rows]
        if weights is not None and not weights.any():
            gradient[...] = 0
            return 0.0
        try:
            # Copies, for the function may keep or change what it is given.
            arguments = np.array(predictions), np.array(self._targets[rows])
            keywords = {} if weights is None else {"sample_weight": np.array(weights)}
            try:
                with self._read_only():
                    result = self._function(*arguments, **keywords)
            except TypeError as error:
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise  # from within the function
                form = ", ".join(("predictions", "targets", *keywords))
                name = function_name(self._function)
                raise TypeError(f"loss {name} cannot be called with ({form}): {error}") from None
            return self._deliver(result, gradient)
        except Exception as error:
            self.failure = error
            raise

    def _deliver(self, result: object, gradient: Array) -> float:
        """Check what the function returned, and write its gradient where it belongs."""
        name = f"loss {function_name(self._function)}"
        if not isinstance(result, tuple | list) or len(result) != 2:
            kind = type(result).__name__
            raise TypeError(
                f"{name} must return a pair (mean loss, gradient), it returned a {kind}"
            )
        value = _number(result[0], f"the value that {name} returned")
        try:
            array = np.asarray(result[1])
        except (TypeError, ValueError) as error:
            raise TypeError(f"the gradient that {name} returned is no array: {error}") from error
        if array.dtype.kind not in "biuf":
            raise TypeError(f"the gradient that {name} returned is of {array.dtype}")
        if array.shape != gradient.shape:
            raise ValueError(
                f"the gradient that {name} returned has shape {array.shape}, "
                f"the predictions have {gradient.shape}"
            )
        if not math.isfinite(value):
            raise ValueError(f"the value that {name} returned is {value}")
        with np.errstate(over="ignore"):
            gradient[...] = array
        if not np.isfinite(gradient).all():
            row, column = np.argwhere(~np.isfinite(gradient))[0].tolist()
            raise ValueError(
                f"the gradient that {name} returned is {gradient[row, column]} "
                f"at [{row}, {column}] of the batch"
            )
        return value


def _number(value: object, what: str) -> float:
    """Return a real number, or a NumPy scalar or array of no dimensions, as a `float`."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} is no number: {error}") from error
    if array.ndim != 0:
        raise ValueError(f"{what} must be one number, its shape is {array.shape}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} must be a real number, got {value!r}")
    return float(array)
