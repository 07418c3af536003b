"""The multi-layer perceptron in NumPy."""

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import base
from ..base import LOGIT_OUTPUTS
from ..checks import Features
from ..errors import NotFiniteError
from ..feeding import REPORT_SECONDS
from ..fitting import Report, Totals, Training
from ..losses import Loss
from ..optimizers import State
from ..samples import Samples
from ..scores import correct_rows
from ..sparse import SparseRows
from . import dropout, ops, steps

Array = npt.NDArray[Any]

PREDICTION_ROWS = 4096
"""Samples that are predicted, or looked at, at a time, which bounds the memory it takes."""


def epoch_order(n_samples: int, seed: int, epoch: int, part: int = 0) -> npt.NDArray[np.int64]:
    """Return the order in which an epoch visits the samples: a permutation of range(n_samples).

    A Fisher-Yates shuffle driven by the Philox stream of key (seed, 1) that starts at counter
    (0, epoch, part, 0), so it depends on the arguments alone. A 64-bit draw r becomes an index
    below m as the high half of the 128-bit product r m (Lemire 2019), biased by less than
    m / 2**64.

    Parameters
    ----------
    epoch
        Counted from 0 over all fits of a network.
    part
        Which of the epoch's orders, where it has several; each is drawn on its own.
    """
    key = np.array([seed, 1], dtype=np.uint64)
    counter = np.array([0, epoch, part, 0], dtype=np.uint64)
    draws = np.random.Philox(key=key, counter=counter).random_raw(n_samples - 1)
    order = list(range(n_samples))
    # tolist() makes Python integers, whose product is exact.
    for i, draw in zip(range(n_samples - 1, 0, -1), draws.tolist(), strict=True):
        j = (draw * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


def _dropped(x: Array, factors: Sequence[Array | None], layer: int) -> Array:
    """Return the inputs of a layer times dropout's factors, a new array if there are any."""
    found = factors[layer] if layer < len(factors) else None
    return x if found is None else x * found


class MLP(base.MLP):
    """A multi-layer perceptron trained by mini-batches, in NumPy.

    Parameters, methods and results are those of `fastmlp.MLP`: from the same seed and data it
    starts at the same weights and draws the same batches.
    """

    def _allocate(self) -> None:
        pairs = zip(self.layers[:-1], self.layers[1:], strict=True)
        self._weights = [np.zeros(shape, self.dtype) for shape in pairs]
        self._biases = [np.zeros(width, self.dtype) for width in self.layers[1:]]

    def _buffers(self) -> list[Array]:
        return [*self._weights, *self._biases]

    def _layer_views(self, arrays: list[Array]) -> tuple[list[Array], list[Array]]:
        n_layers = len(self._weights)
        return arrays[:n_layers], arrays[n_layers:]

    def _zeros(self) -> list[Array]:
        return [np.zeros_like(buffer) for buffer in self._buffers()]

    def _order(self, n: int, part: int) -> npt.NDArray[np.int64]:
        return epoch_order(n, self.seed, self.epochs_trained, part)

    def _train_epoch(
        self,
        samples: Samples,
        training: Training,
        state: State,
        report: Report,
    ) -> Totals:
        n_samples, batch_size = len(samples), training.batch_size
        order = self._order(n_samples, training.part) if training.shuffle else None
        totals, reported = training.before, perf_counter()
        # Overflow is met by the test of the loss, so NumPy need not warn of it.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(training.first, n_samples, batch_size):
                due = totals.samples and perf_counter() - reported >= REPORT_SECONDS
                if due or training.each_batch:
                    report(*totals)
                    reported = perf_counter()
                stop = min(start + batch_size, n_samples)
                rows = slice(start, stop) if order is None else order[start:stop]
                numbers = totals.samples + np.arange(stop - start)
                factors = self._factors(training, numbers)
                outputs, known = self._forward(self._gather(samples.X, rows), factors)
                loss, dy = self._loss(outputs[-1], samples, rows)
                given = samples.weights
                weight = float(stop - start if given is None else given[rows].sum())
                l1, l2 = self._penalty_factors(training, weight)
                loss, penalty = training.loss_unit * loss, steps.penalty(self._weights, l1, l2)
                if not math.isfinite(loss + penalty):
                    raise NotFiniteError(f"the loss is {loss + penalty}")
                by_count = training.mean_of_batches and weight > 0
                counted = float(stop - start) if by_count else weight
                rate = training.rates[totals.steps - training.before.steps]
                totals = Totals(
                    totals.loss + loss * counted,
                    totals.weight + counted,
                    totals.hits + self._hits(outputs[-1], samples.y[rows]),
                    totals.samples + stop - start,
                    totals.steps + 1,
                    totals.penalty + penalty * counted,
                )
                weight_gradients, bias_gradients = self._backward(outputs, known, dy, factors)
                steps.add_penalty_gradient(self._weights, weight_gradients, l1, l2)
                state.steps += 1
                gradients = [*weight_gradients, *bias_gradients]
                if training.clip_norm is not None:
                    steps.clip(gradients, training.clip_norm)
                for i, (p, g) in enumerate(zip(self._buffers(), gradients, strict=True)):
                    kept = [arrays[i] for arrays in state.buffers]
                    steps.take(state.optimizer, p, g, kept, rate, state.steps)
                if training.max_norm is not None:
                    steps.limit_norms(self._weights, training.max_norm)
                if training.ema is not None:
                    steps.average(self._buffers(), state.other, training.ema)
        return totals

    def _factors(self, training: Training, numbers: Array) -> Sequence[Array | None]:
        """Return dropout's factors of the inputs of each layer, for samples of an epoch."""
        return [
            dropout.factors(
                chance, self.seed, self.epochs_trained, layer, numbers, width, self.dtype
            )
            if chance
            else None
            for layer, (chance, width) in enumerate(
                zip(training.dropout, self.layers, strict=False)
            )
        ]

    @staticmethod
    def _penalty_factors(training: Training, weight: float) -> tuple[float, float]:
        """Return l1 and l2 for a batch of that weight."""
        if not training.penalty_per_sample:
            return training.l1, training.l2
        return (training.l1 / weight, training.l2 / weight) if weight else (0.0, 0.0)

    def _gradients(self, samples: Samples) -> tuple[float, list[Array], list[Array]]:
        outputs, known = self._forward(self._gather(samples.X, slice(None)))
        loss, dy = self._loss(outputs[-1], samples)
        return loss, *self._backward(outputs, known, dy)

    def _output(self, X: Features, logits: bool = False) -> Array:
        seen = self._seen(X)
        return seen if logits else self._activated(seen)

    def _activated(self, seen: Array) -> Array:
        name = self.activations[-1]
        return ops.FORWARDS[name](seen, out=seen) if name in LOGIT_OUTPUTS else seen

    def _measure(self, samples: Samples) -> tuple[float, int]:
        seen = self._seen(samples.X)
        loss, _ = self._loss(seen, samples)
        return loss, self._hits(seen, samples.y)

    def _is_finite(self, array: Array) -> bool:
        parts = (array[i : i + PREDICTION_ROWS] for i in range(0, len(array), PREDICTION_ROWS))
        with np.errstate(over="ignore"):
            return all(np.isfinite(part.astype(self.dtype, copy=False)).all() for part in parts)

    def _seen(self, X: Features) -> Array:
        """Return the last layer's output as the loss takes it, computed in blocks of samples."""
        output = np.empty((len(X), self.n_outputs), self.dtype)
        for start in range(0, len(X), PREDICTION_ROWS):
            rows = slice(start, start + PREDICTION_ROWS)
            outputs, _ = self._forward(self._gather(X, rows))
            output[rows] = outputs[-1]
        return output

    def _gather(self, X: Features, rows: Array | slice) -> Array:
        """Return rows of X as the first layer takes them."""
        batch: Array = X.dense(rows) if isinstance(X, SparseRows) else X[rows]
        if batch.dtype == np.uint8:
            batch = np.multiply(batch, self.dtype.type(1 / 255), dtype=self.dtype)
        return batch.astype(self.dtype, copy=False)

    def _forward(
        self, x: Array, factors: Sequence[Array | None] = ()
    ) -> tuple[list[Array], list[Array]]:
        """Return the input of every layer and the last's output, as the loss takes it; and, of
        every layer, what the backward of its activation takes: the output or the pre-activation.

        The inputs are multiplied by dropout's factors, if there are any.
        """
        outputs, known = [_dropped(x, factors, 0)], []
        for layer, (w, b, name) in enumerate(
            zip(self._weights, self._biases, self._pointwise(), strict=True), start=1
        ):
            z = ops.dense_forward(outputs[-1], w, b)
            y = ops.FORWARDS[name](z, out=None if name in ops.TAKING_Z else z)
            outputs.append(_dropped(y, factors, layer))
            known.append(z)
        return outputs, known

    def _pointwise(self) -> list[str]:
        """Return the activations of the layers, of the last what the loss leaves of it."""
        *hidden, last = self.activations
        return [*hidden, "identity" if last in LOGIT_OUTPUTS else last]

    def _loss(
        self, seen: Array, samples: Samples, rows: Array | slice = slice(None)
    ) -> tuple[float, Array]:
        """Return the loss of some of the samples and its gradient for what it sees."""
        if not isinstance(self.loss, Loss):
            assert samples.python_loss is not None
            gradient = np.empty_like(seen)
            return samples.python_loss(seen, rows, gradient), gradient
        weights = None if samples.weights is None else samples.weights[rows]
        if weights is not None and not weights.any():
            return 0.0, np.zeros_like(seen)
        name, parameters = self.loss.function(self.activations[-1])
        function: Callable[..., tuple[float, Array]] = getattr(ops, name)
        loss, gradient = function(seen, samples.y[rows], weights, **parameters)
        return self.loss.scale * loss, np.multiply(gradient, self.loss.scale, out=gradient)

    def _backward(
        self,
        outputs: list[Array],
        known: list[Array],
        dy: Array,
        factors: Sequence[Array | None] = (),
    ) -> tuple[list[Array], list[Array]]:
        """Return the gradients of all weights and biases, from what `_forward` returned.

        `dy` is the loss's gradient with respect to the last output, and overwritten.
        """
        weight_gradients = []
        bias_gradients = []
        names = self._pointwise()
        for layer in range(len(self._weights) - 1, -1, -1):
            _, activation_backward = ops.ACTIVATIONS[names[layer]]
            dy = _dropped(dy, factors, layer + 1)
            dz = activation_backward(dy, known[layer], out=dy)
            x = outputs[layer]
            if layer:
                dy, dw, db = ops.dense_backward(dz, x, self._weights[layer])
            else:
                # Nothing learns from the gradient of the input, so it is not computed.
                dw, db = ops.matmul(x, dz, transpose_a=True), dz.sum(axis=0)
            weight_gradients.append(dw)
            bias_gradients.append(db)
        return weight_gradients[::-1], bias_gradients[::-1]

    def _hits(self, output: Array, targets: Array) -> int:
        """Return how many rows are classified rightly; 0 in regression."""
        name = self.activations[-1]
        if name not in base.CLASSIFIERS:
            return 0
        scores = ops.sigmoid(output) if name == "sigmoid" else output
        return int(np.count_nonzero(correct_rows(scores, targets, name)))
