"""What validation data are measured by besides the loss: a name, or a function of the caller's."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .scores import F1

if TYPE_CHECKING:
    from .base import MLP
    from .feeding import Feed

Array = npt.NDArray[Any]

FOR_CLASSES = ("loss", "accuracy", "f1")
FOR_NUMBERS = ("loss", "r2")

RECORDED = ("loss", "accuracy")
"""Names that a history has for something else."""


@dataclass(frozen=True)
class Metric:
    """A measure of predictions by a function, with what `fit` must know of it.

    Parameters
    ----------
    function
        f(y_true, y_pred), or f(y_true, y_pred, sample_weight=w) where the data have weights, that
        returns a number, as those of `sklearn.metrics` do. It is called once with all samples and
        gets copies. y_pred is what `predict` returns, and y_true has its form: (n,) class indices
        of a softmax output, with rows of probabilities turned into the likeliest class; 0 and 1 of
        sigmoid outputs, 1 for a target above 0.5, and numbers for regression, both (n,) with one
        output, else (n, n_outputs). w is (n,) float64.
    name
        What the history calls it, with "val_" before it. None for the function's own name.
    greater_is_better
        Of two values.
    probabilities
        Whether y_pred is what `predict_proba` returns, (n, n_outputs), or (n,) with one output,
        instead. Not for regression.
    """

    function: Callable[..., Any]
    name: str | None = None
    greater_is_better: bool = True
    probabilities: bool = False

    def __post_init__(self) -> None:
        """Check the parameters, and find a name."""
        if not callable(self.function):
            raise TypeError(f"function must be callable, got {self.function!r}")
        name = self.name
        if name is None:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            name = name if name.isidentifier() else "metric"
        elif not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"name must be an identifier, got {name!r}")
        if name in RECORDED:
            raise ValueError(f"a metric cannot be called {name!r}: give it another name")
        object.__setattr__(self, "name", name)

    @property
    def takes_weights(self) -> bool:
        """Whether the function takes weights of the samples; True where it does not tell."""
        try:
            signature = inspect.signature(self.function)
        except ValueError:
            return True
        kinds = [parameter.kind for parameter in signature.parameters.values()]
        return "sample_weight" in signature.parameters or inspect.Parameter.VAR_KEYWORD in kinds


class Gatherer(Protocol):
    """Takes samples part by part."""

    def add(self, truth: Array, answer: Array, output: Array, weights: Array | None) -> None:
        """Take some: targets and predictions in one form, the network's output, weights or None."""

    def result(self) -> float:
        """Return the measure over all of them."""


class EvalMetric(NamedTuple):
    """An eval metric, for a network."""

    name: str
    greater_is_better: bool
    gather: Callable[[], Gatherer] | None = None
    """Makes what gathers it, or None for what is measured anyway."""
    takes_weights: bool = True


def eval_metric_of(net: "MLP", given: object) -> EvalMetric | None:
    """Return the eval metric of `fit` or `evaluate` for a network."""
    if given is None:
        return None
    if isinstance(given, str):
        return _by_name(net, given)
    if not isinstance(given, Metric):
        if not callable(given):
            raise TypeError(
                f"eval_metric must be a name, a function or a fastmlp.Metric, got {given!r}"
            )
        given = Metric(given)
    if given.probabilities and net._regression:
        raise ValueError("eval_metric takes probabilities, which a regression network has none of")
    assert given.name is not None
    gather = partial(_Kept, given)
    return EvalMetric(given.name, given.greater_is_better, gather, given.takes_weights)


def check_eval_metric(metric: EvalMetric | None, data: "Feed | None") -> None:
    """Raise unless the metric can be taken on data."""
    if metric is None:
        return
    if data is None:
        raise ValueError("eval_metric is measured on validation_data, and there are none")
    if data.weighted and not metric.takes_weights:
        raise TypeError(
            f"eval_metric {metric.name} takes no sample_weight, and the data have weights"
        )


def _by_name(net: "MLP", name: str) -> EvalMetric:
    names = FOR_NUMBERS if net._regression else FOR_CLASSES
    if name not in names:
        raise ValueError(
            f"eval_metric must be one of {', '.join(names)} for a {net.activations[-1]} output, or "
            f"a function, got {name!r}"
        )
    gather = partial(F1, net.n_outputs, net.activations[-1]) if name == "f1" else None
    return EvalMetric(name, name != "loss", gather)


class _Kept:
    """Keeps all samples for a function."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._truths: list[Array] = []
        self._predictions: list[Array] = []
        self._weights: list[Array | None] = []

    def add(self, truth: Array, answer: Array, output: Array, weights: Array | None) -> None:
        taken = answer
        if self._metric.probabilities:
            taken = output.reshape(-1) if output.shape[1] == 1 else output
        # Not even a function that writes into what it gets shall reach the targets.
        self._truths.append(truth.copy())
        self._predictions.append(taken.copy())
        self._weights.append(None if weights is None else weights.copy())

    def result(self) -> float:
        truth, predictions = np.concatenate(self._truths), np.concatenate(self._predictions)
        options: dict[str, Array] = {}
        if any(weights is not None for weights in self._weights):
            options["sample_weight"] = np.concatenate(
                [
                    np.ones(len(part)) if weights is None else weights
                    for part, weights in zip(self._truths, self._weights, strict=True)
                ]
            )
        value = np.asarray(self._metric.function(truth, predictions, **options))
        if value.ndim or value.dtype.kind not in "biuf":
            raise TypeError(f"eval_metric {self._metric.name} must return a number, got {value!r}")
        return float(value)
