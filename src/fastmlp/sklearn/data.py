"""What an estimator is fitted on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Data:
    """Samples.

    Attributes
    ----------
    X
        (n, n_features), an array or a sparse matrix.
    y
        Targets as the network takes them: (n,) class indices or (n, n_outputs) values.
    weights
        (n,), or None.
    """

    X: Any
    y: Array
    weights: Array | None

    def __len__(self) -> int:
        return int(self.X.shape[0])

    def triple(self) -> tuple[Any, ...]:
        """Return the samples as `fit` takes them for validation."""
        return (self.X, self.y) if self.weights is None else (self.X, self.y, self.weights)

    def rows(self, index: npt.NDArray[np.int64]) -> "Data":
        """Return some of the samples."""
        weights = None if self.weights is None else self.weights[index]
        return Data(self.X[index], self.y[index], weights)
