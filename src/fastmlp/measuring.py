"""Loss, score and metric of a network over samples that come in parts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import losses
from .eval_metrics import EvalMetric
from .samples import Samples, samples_of
from .scores import R2, answers, correct_rows, truths

if TYPE_CHECKING:
    from .base import MLP

Array = npt.NDArray[Any]

ALL_ZERO = "sample_weight times class_weight is 0 for every sample"


class Measures:
    """What `evaluate` returns, gathered over parts of the samples.

    A loss that couples the samples of a batch takes all of them as one: the network's outputs and
    the targets are then kept until the end, the features are not.

    Parameters
    ----------
    net
        The network.
    metric
        What to measure besides, or None.
    """

    def __init__(self, net: "MLP", metric: EvalMetric | None = None) -> None:
        self._net = net
        self._metric = metric
        self._gatherer = metric.gather() if metric and metric.gather else None
        self._loss = self._weight = 0.0
        self._hits = self._counted = 0.0
        self._r2 = R2()
        self._kept: list[tuple[Array, Array, Array | None]] = []

    def add(self, samples: Samples) -> None:
        """Measure on some of the samples."""
        net, given = self._net, samples.sample_weight
        coupled = not isinstance(net.loss, losses.Loss) or net.loss.couples_samples
        weight = float(len(samples) if samples.weights is None else samples.weights.sum())
        in_one_pass = not (coupled or net._regression or self._gatherer)
        if in_one_pass and given is None and weight:
            loss, hits = net._measure(samples)
            self._loss += loss * weight
            self._weight += weight
            self._hits += hits
            self._counted += len(samples)
            return
        seen = net._output(samples.X, logits=True)
        if coupled:
            self._kept.append((seen.copy(), samples.y, given))
        elif weight:
            self._loss += net._loss(seen, samples)[0] * weight
            self._weight += weight
        activation = net.activations[-1]
        # Activated in place.
        answer = answers(seen, activation) if activation == "softmax" else None
        output = net._activated(seen)
        if self._gatherer:
            answer = answers(output, activation) if answer is None else answer
            self._gatherer.add(truths(samples.y, activation), answer, output, given)
        if net._regression:
            self._r2.add(output, samples.y, given)
            return
        right = correct_rows(output, samples.y, activation)
        self._hits += float(right.sum() if given is None else right @ given)
        self._counted += float(len(samples) if given is None else given.sum())

    def result(self) -> dict[str, float]:
        """Return the loss and the accuracy, or r2."""
        if self._kept:
            loss = self._coupled_loss()
        elif self._weight:
            loss = self._loss / self._weight
        else:
            raise ValueError(ALL_ZERO)
        if self._net._regression:
            measured = {"loss": loss, "r2": self._r2.result()}
        else:
            measured = {"loss": loss, "accuracy": self._hits / self._counted}
        if self._metric and self._gatherer:
            measured[self._metric.name] = self._gatherer.result()
        return measured

    def _coupled_loss(self) -> float:
        """Return the loss over all samples as one batch."""
        outputs, targets, given = zip(*self._kept, strict=True)
        seen = np.concatenate(outputs)
        samples = samples_of(self._net, seen, *_as_one(self._net, targets, given))
        if samples.weights is not None and not samples.weights.any():
            raise ValueError(ALL_ZERO)
        if samples.python_loss:
            return samples.python_loss(seen, slice(None), np.empty_like(seen))
        return self._net._loss(seen, samples)[0]


def _as_one(
    net: "MLP", targets: Sequence[Array], given: Sequence[Array | None]
) -> tuple[Array, Array | None]:
    """Return targets and weights of several parts, whose kinds may differ, in one kind."""
    if len({part.ndim for part in targets}) > 1:
        rows = np.eye(net.n_outputs, dtype=net.dtype)
        targets = [rows[part] if part.ndim == 1 else part for part in targets]
    if all(part is None for part in given):
        return np.concatenate(targets), None
    pairs = zip(targets, given, strict=True)
    weights = [np.ones(len(part)) if weight is None else weight for part, weight in pairs]
    return np.concatenate(targets), np.concatenate(weights)
