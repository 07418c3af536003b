"""What a contestant is told: a workload together with its data."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Task:
    """The number of threads that a contestant may use."""

    threads: int

    def loaded(self) -> "Task":
        """Return the task with its arrays in memory."""
        return self


@dataclass(frozen=True)
class NetworkTask(Task):
    """A network of relu layers with a softmax output, and rows for it.

    Attributes
    ----------
    X
        (n, layers[0]) uint8, which stands for x / 255, or float32, or a SciPy CSR matrix of
        float32; until the task is loaded the path of an .npy or .npz file.
    weights, biases
        (fan_in, fan_out) and (fan_out,) float32, for each layer.
    """

    layers: tuple[int, ...]
    X: Any
    weights: list[Array]
    biases: list[Array]

    def loaded(self) -> "NetworkTask":
        if not isinstance(self.X, str):
            return self
        if self.X.endswith(".npz"):
            from scipy import sparse

            return replace(self, X=sparse.csr_matrix(sparse.load_npz(self.X)))
        return replace(self, X=np.load(self.X))

    def scaled(self) -> Any:
        """Return X as float32."""
        if self.X.dtype == np.uint8:
            return np.multiply(self.X, np.float32(1 / 255), dtype=np.float32)
        return self.X


@dataclass(frozen=True)
class TrainingTask(NetworkTask):
    """One epoch of p -= lr dL/dp, L being the mean cross-entropy of a batch.

    Attributes
    ----------
    y
        (n,) int64 class indices.
    order
        (n,) int64, the order of the samples: each `batch_size` of them are a batch, and what
        remains is the last.
    seed
        The seed from which fastmlp draws that very order in its first epoch.
    """

    y: Array
    order: Array
    batch_size: int
    lr: float
    seed: int


@dataclass(frozen=True)
class EstimatorTask(NetworkTask):
    """An MLPClassifier with parameters of scikit-learn's, and samples for it.

    Attributes
    ----------
    y
        (n,) labels.
    options
        The estimator's parameters.
    grid
        Parameters to search over in 5 folds, or none.
    dtype
        Of the rows as the estimator is given them.
    """

    y: Array
    options: dict[str, Any]
    grid: dict[str, list[Any]]
    dtype: str


@dataclass(frozen=True)
class PredictionTask(NetworkTask):
    """Probabilities of all rows of X."""


@dataclass(frozen=True)
class ProductTask(Task):
    """op(a) op(b): the operands as they lie in memory, float32 and C-contiguous."""

    a: Array
    b: Array
    transpose_a: bool
    transpose_b: bool
