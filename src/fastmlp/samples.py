"""Samples that have been checked, as training and measuring take them."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from . import losses
from .checks import Features

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples to train or to measure on.

    Attributes
    ----------
    X
        The features.
    y
        Targets as `checks.check_targets` returns them.
    sample_weight
        (n,) float64 as they were given, or None.
    weights
        What each counts in the loss, (n,) float64, or None: the weights given times those of the
        classes.
    python_loss
        The loss over these samples if it is a Python function, else None.
    """

    X: Features
    y: Array
    sample_weight: Array | None
    weights: Array | None
    python_loss: losses.PythonLoss | None

    def __len__(self) -> int:
        return len(self.X)
