"""Loss and score of a network over samples that come in parts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import losses
from .samples import Samples, samples_of
from .scores import R2, correct_rows

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
    """

    def __init__(self, net: "MLP") -> None:
        self._net = net
        self._loss = self._weight = 0.0
        self._hits = self._counted = 0.0
        self._r2 = R2()
        self._kept: list[tuple[Array, Array, Array | None]] = []

    def add(self, samples: Samples) -> None:
        """Measure on some of the samples."""
        net, given = self._net, samples.sample_weight
        coupled = not isinstance(net.loss, losses.Loss) or net.loss.couples_samples
        weight = float(len(samples) if samples.weights is None else samples.weights.sum())
        if not (coupled or net._regression) and given is None and weight:
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
        output = net._activated(seen)
        if net._regression:
            self._r2.add(output, samples.y, given)
            return
        right = correct_rows(output, samples.y, net.activations[-1])
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
            return {"loss": loss, "r2": self._r2.result()}
        return {"loss": loss, "accuracy": self._hits / self._counted}

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
