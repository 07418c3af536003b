"""Samples that have been checked, as training and measuring take them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import checks, losses
from .checks import Features
from .sparse import SparseRows

if TYPE_CHECKING:
    from .base import MLP

Array = npt.NDArray[Any]

LOOKED_AT = 256
"""Rows of an array by which it is told from others."""


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

    def describe(self) -> dict[str, str]:
        """Return what tells these samples from others, looking at a few of them only."""
        import hashlib

        sparse = isinstance(self.X, SparseRows)
        found = hashlib.sha256()
        for array in (*self._of_features(), self.y, self.weights):
            if array is not None:
                rows = np.linspace(0, len(array) - 1, min(len(array), LOOKED_AT)).astype(np.intp)
                found.update(f"{array.dtype.str} {array.shape}".encode())
                found.update(np.ascontiguousarray(array[rows]).tobytes())
        return {
            "X": f"{self.X.shape} of {self.X.dtype}{', sparse' * sparse}",
            "digest of some samples": found.hexdigest(),
        }

    def _of_features(self) -> tuple[Array, ...]:
        X = self.X
        return (X.values, X.columns, X.starts) if isinstance(X, SparseRows) else (X,)


def check_targets(
    net: "MLP",
    y: Any,
    sample_weight: Any,
    n_samples: int,
    y_name: str = "y",
    weight_name: str = "sample_weight",
    all_zero: bool = False,
) -> tuple[Array, npt.NDArray[np.float64] | None]:
    """Return targets and weights of samples as a network takes them.

    With `all_zero`, the weights may all be 0.
    """
    output = net.activations[-1]
    targets = checks.check_targets(y, n_samples, net.n_outputs, output, net.dtype, y_name)
    # Class indices are addresses to the engine: a caller who changes y must not reach them.
    if targets.ndim == 1 and np.may_share_memory(targets, np.asarray(y)):
        targets = targets.copy()
    return targets, checks.check_sample_weight(sample_weight, n_samples, weight_name, all_zero)


def samples_of(
    net: "MLP", features: Features, targets: Array, given: npt.NDArray[np.float64] | None
) -> Samples:
    """Return samples from what has been checked for a network; `given` are their weights."""
    if not isinstance(net.loss, losses.Loss):
        python_loss = losses.PythonLoss(net.loss, targets, given, net._read_only)
        return Samples(features, targets, given, given, python_loss)
    weights = net.loss.sample_weights(targets, given, net.n_outputs)
    return Samples(features, targets, given, weights, None)
