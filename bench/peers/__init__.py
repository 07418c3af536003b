"""The contestants: one short module each.

A module offers any of three classes, each made from a task (see `bench.tasks`) untimed:

`Trainer`
    `reset()` goes back to the initial parameters, untimed; `epoch()` trains on every sample once;
    `parameters()` returns weights, (fan_in, fan_out) each, and biases.
`Predictor`
    `predict()` returns the probabilities as a NumPy array.
`Product`
    `multiply()` returns the product.
`EstimatorFit`
    `fit()` fits the estimator, or searches; `result()` returns how well it then does.
`EstimatorRow`
    `predict()` returns the probabilities.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

T = TypeVar("T")

CLASSES = {
    "training": "Trainer",
    "prediction": "Predictor",
    "product": "Product",
    "estimatorfit": "EstimatorFit",
    "estimatorrow": "EstimatorRow",
}
"""The class that serves a kind of workload."""

ESTIMATORS = ("estimatorfit", "estimatorrow")


@dataclass(frozen=True)
class Peer:
    """A contestant that may or may not be installed.

    Attributes
    ----------
    kinds
        Kinds of workloads it takes part in.
    sparse
        Whether it trains on CSR rows; `sparse_only` when on nothing else.
    slow_start
        Whether it compiles for long, so that a quick suite leaves it out.
    """

    name: str
    module: str
    requires: str
    kinds: tuple[str, ...]
    sparse: bool = False
    sparse_only: bool = False
    slow_start: bool = False

    def is_installed(self) -> bool:
        """Return whether the library it needs can be imported."""
        return importlib.util.find_spec(IMPORT_NAMES.get(self.requires, self.requires)) is not None

    def version(self) -> str:
        """Return the version of the library."""
        return metadata.version(self.requires)


IMPORT_NAMES = {"scikit-learn": "sklearn"}

FASTMLP = "fastmlp"
"""The contestant to which all others are compared."""

PEERS = (
    Peer(
        FASTMLP,
        "fastmlp_",
        "fastmlp",
        ("training", "prediction", "product", *ESTIMATORS),
        sparse=True,
    ),
    Peer("fastmlp, float32", "fastmlp_float32", "scikit-learn", ("estimatorfit",)),
    Peer("fastmlp, made dense", "fastmlp_dense", "fastmlp", ("training",), True, True),
    Peer("NumPy", "numpy_", "numpy", ("training", "prediction", "product")),
    Peer("scikit-learn", "scikit_learn", "scikit-learn", ("training", *ESTIMATORS), sparse=True),
    Peer("PyTorch", "pytorch", "torch", ("training", "prediction", "product")),
    Peer("torch.compile", "torch_compile", "torch", ("training",), slow_start=True),
    Peer("JAX", "jax_", "jax", ("training", "prediction")),
    Peer("ONNX Runtime", "onnx_runtime", "onnxruntime", ("prediction",)),
    Peer("OpenVINO", "openvino_", "openvino", ("prediction",)),
)


def quickest(candidates: Sequence[T], call: Callable[[T], Any], seconds: float = 0.1) -> T:
    """Return the candidate whose call takes least, trying each for about `seconds`."""

    def cost(candidate: T) -> float:
        call(candidate)
        best = float("inf")
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            call(candidate)
            best = min(best, time.perf_counter() - began)
        return best

    return min(candidates, key=cost)
