"""The multi-layer perceptron in NumPy."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks
from ..callbacks import Callback, Progress
from ..errors import DivergenceError
from ..history import History
from . import ops
from .initializers import check_init, initial_weights

Array = npt.NDArray[Any]

PREDICTION_ROWS = 4096
"""Samples that are predicted at a time, which bounds the memory of the layers' outputs."""

LOGIT_LOSSES: dict[str, Callable[[Array, Array], tuple[float, Array]]] = {
    "softmax": ops.softmax_cross_entropy,
    "sigmoid": ops.binary_cross_entropy_with_logits,
}
"""Losses that contain the output's activation, by its name; the others train on the mean squared
error of the activation's output."""


def epoch_order(n_samples: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order in which an epoch visits the samples: a permutation of range(n_samples).

    A Fisher-Yates shuffle driven by the Philox stream of key (seed, 1) that starts at counter
    (0, epoch, 0, 0), so it depends on the arguments alone. A 64-bit draw r becomes an index below
    m as the high half of the 128-bit product r m (Lemire 2019), biased by less than m / 2**64.

    Parameters
    ----------
    epoch
        Counted from 0 over all fits of a network.
    """
    key = np.array([seed, 1], dtype=np.uint64)
    counter = np.array([0, epoch, 0, 0], dtype=np.uint64)
    draws = np.random.Philox(key=key, counter=counter).random_raw(n_samples - 1)
    order = list(range(n_samples))
    # tolist() makes Python integers, whose product is exact.
    for i, draw in zip(range(n_samples - 1, 0, -1), draws.tolist(), strict=True):
        j = (draw * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


def r2_score(predictions: Array, targets: Array) -> float:
    """Return the coefficient of determination, averaged over the columns.

    1 - (residual sum of squares) / (sum of squares about the mean) for each column; a column
    whose targets are all equal counts 1 when predicted exactly and 0 otherwise.

    Both arguments are (n, k).
    """
    expected = targets.astype(np.float64)
    residual = np.square(predictions - expected).sum(axis=0)
    total = np.square(expected - expected.mean(axis=0)).sum(axis=0)
    constant = total == 0
    scores = 1 - residual / np.where(constant, 1, total)
    scores[constant] = residual[constant] == 0
    return float(scores.mean())


def count_correct(scores: Array, targets: Array, output_activation: str) -> int:
    """Return how many rows are classified rightly.

    Parameters
    ----------
    scores
        (n, k) logits, or anything that grows with them, of a softmax output; probabilities of a
        sigmoid output, where a row is right when every p > 0.5 agrees with its t > 0.5.
    targets
        As returned by `checks.check_targets`.
    """
    if output_activation == "softmax":
        classes = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return int(np.count_nonzero(scores.argmax(axis=1) == classes))
    return int(np.count_nonzero(((scores > 0.5) == (targets > 0.5)).all(axis=1)))


def summary_table(layers: Sequence[int], activations: Sequence[str]) -> str:
    """Return a table of the layers with their shapes, activations and parameters."""
    rows = [("layer", "shape", "activation", "parameters")]
    rows += [
        (f"dense {number}", f"{fan_in} x {fan_out}", name, f"{(fan_in + 1) * fan_out:,}")
        for number, (fan_in, fan_out, name) in enumerate(
            zip(layers[:-1], layers[1:], activations, strict=True), start=1
        )
    ]
    rows.append(("total", "", "", f"{checks.count_parameters(layers):,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, "<><>", widths, strict=True)
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def epoch_line(history: History, epochs: int) -> str:
    """Return a line of text about the last epoch of a history, out of `epochs`."""
    number = len(history)
    parts = [f"epoch {number:>{len(str(epochs))}}/{epochs}", f"loss {history.loss[-1]:.4f}"]
    if history.accuracy:
        parts.append(f"accuracy {history.accuracy[-1]:.4f}")
    if history.val_loss:
        parts.append(f"val_loss {history.val_loss[-1]:.4f}")
    if history.val_accuracy:
        parts.append(f"val_accuracy {history.val_accuracy[-1]:.4f}")
    parts.append(f"{history.seconds[-1]:.2f} s")
    return "  ".join(parts)


class MLP:
    """A multi-layer perceptron trained by mini-batch stochastic gradient descent.

    The output's activation decides the loss: softmax the cross-entropy, sigmoid the logistic
    loss, identity, relu and tanh the mean squared error. The cross-entropy is a mean over
    samples, the others over all elements.

    Parameters
    ----------
    layers
        Widths, the input's first: at least two integers of at least 1.
    activations
        A name for each layer after the input (identity, relu, sigmoid, tanh, and softmax for the
        last), with or without a leading None for the input, in any letter case. None for relu in
        the hidden layers and softmax at the output, or sigmoid when the last width is 1.
    init
        Standard deviation of the normal distribution the weights are drawn from: "he"
        (sqrt(2 / fan_in)), "glorot" (sqrt(2 / (fan_in + fan_out))), "lecun" (sqrt(1 / fan_in)) or
        a positive number. Biases start at zero.
    dtype
        float32 or float64, of the parameters and of the arithmetic.
    seed
        Integer in [0, 2**64) that decides the initial weights and the order of the samples.
    """

    def __init__(
        self,
        layers: Iterable[int],
        activations: Iterable[str | None] | None = None,
        *,
        init: str | float = "he",
        dtype: npt.DTypeLike = "float32",
        seed: int = 0,
    ) -> None:
        self.layers = checks.check_layers(layers)
        self.activations = checks.check_activations(activations, self.layers)
        self.init = check_init(init)
        self.dtype = checks.check_dtype(dtype)
        self.seed = checks.check_seed(seed)
        self.epochs_trained = 0
        self.history: History | None = None
        self._weights = initial_weights(self.layers, self.init, self.dtype, self.seed)
        self._biases = [np.zeros(width, self.dtype) for width in self.layers[1:]]

    def __repr__(self) -> str:
        """Return the constructor's call."""
        return (
            f"MLP({list(self.layers)}, activations={list(self.activations)}, "
            f"init={self.init!r}, dtype={self.dtype.name!r}, seed={self.seed})"
        )

    @property
    def n_inputs(self) -> int:
        """Features of a sample."""
        return self.layers[0]

    @property
    def n_outputs(self) -> int:
        """Width of the output."""
        return self.layers[-1]

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return checks.count_parameters(self.layers)

    @property
    def weights(self) -> list[Array]:
        """The weights of each layer, (fan_in, fan_out): the arrays themselves, not copies."""
        return list(self._weights)

    @property
    def biases(self) -> list[Array]:
        """The biases of each layer, (fan_out,): the arrays themselves, not copies."""
        return list(self._biases)

    def summary(self) -> str:
        """Return a table of the layers with their shapes, activations and parameters."""
        return summary_table(self.layers, self.activations)

    # Training -------------------------------------------------------------------------------

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int = 20,
        batch_size: int = 32,
        lr: float = 0.01,
        shuffle: bool = True,
        validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        verbose: int = 0,
        callbacks: Iterable[Callback] = (),
    ) -> History:
        """Train on the samples, on top of what the network has learned already.

        Parameters
        ----------
        X
            (n, n_inputs) finite numbers. uint8 is scaled by 1/255 batch by batch; float32 and
            float64 are used as they are, other dtypes are cast to the network's.
        y
            Softmax: (n,) class indices or (n, n_outputs) rows of probabilities. Sigmoid:
            (n, n_outputs) values in [0, 1]. Regression: (n, n_outputs) finite values. The last two
            also take (n,) when there is one output.
        epochs
            Times to go through all samples.
        batch_size
            Samples to an update; the last batch of an epoch has what remains.
        lr
            Learning rate: each parameter p becomes p - lr dL/dp.
        shuffle
            Whether each epoch draws a new order, by `epoch_order`.
        validation_data
            A pair (X, y) to evaluate after each epoch.
        verbose
            Print a line each so many epochs; 0 prints nothing.
        callbacks
            Objects of `fastmlp.Callback`.

        Returns
        -------
        History
            Also kept as `history`.

        Raises
        ------
        TypeError, ValueError
            For a bad argument, naming it; nothing has changed.
        DivergenceError
            When a batch's loss or, after an epoch, a parameter is not finite; the network is as it
            was before the call.
        KeyboardInterrupt
            On Ctrl-C; what has been learned stays, and `history` holds the finished epochs.
        """
        X, y = self._check_data(X, y, "X", "y")
        epochs = checks.check_positive_int(epochs, "epochs")
        batch_size = checks.check_positive_int(batch_size, "batch_size")
        lr = checks.check_learning_rate(lr)
        shuffle = checks.check_flag(shuffle, "shuffle")
        validation = checks.check_validation_data(validation_data)
        if validation is not None:
            validation = self._check_data(*validation, "validation_data[0]", "validation_data[1]")
        verbose = checks.check_verbose(verbose)
        hooks = checks.check_callbacks(callbacks)

        net: Any = self
        n_samples = len(X)
        before = self._state()
        history = self.history = History()
        with ExitStack() as at_end:
            for hook in hooks:
                hook.on_fit_begin(net, epochs, n_samples)
                at_end.callback(hook.on_fit_end, net, history)
            for epoch in range(1, epochs + 1):
                began = time.perf_counter()
                try:
                    loss, accuracy = self._train_epoch(X, y, batch_size, lr, shuffle)
                except DivergenceError:
                    self._restore(before)
                    raise
                seconds = time.perf_counter() - began
                progress = Progress(epoch, epochs, n_samples, n_samples, loss, accuracy, seconds)
                for hook in hooks:
                    hook.on_progress(net, progress)
                measured = None if validation is None else self._evaluate(*validation)
                history.loss.append(loss)
                history.seconds.append(seconds)
                if not self._regression:
                    history.accuracy.append(accuracy)
                if measured is not None:
                    history.val_loss.append(measured["loss"])
                    if not self._regression:
                        history.val_accuracy.append(measured["accuracy"])
                if verbose and epoch % verbose == 0:
                    print(epoch_line(history, epochs), flush=True)
                stop = False
                for hook in hooks:
                    stop |= bool(hook.on_epoch_end(net, history))
                if stop:
                    break
        return history

    def loss_and_gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike
    ) -> tuple[float, list[Array], list[Array]]:
        """Return the loss of one batch and its gradients; nothing is updated.

        X and y are as for `fit`.

        Returns
        -------
        loss : float
        weight_gradients, bias_gradients : list of ndarray
            Shaped as `weights` and `biases`.
        """
        X, y = self._check_data(X, y, "X", "y")
        outputs = self._forward(self._gather(X, slice(None)))
        loss, dz = self._loss(outputs[-1], y)
        weight_gradients, bias_gradients = self._backward(outputs, dz)
        return loss, weight_gradients, bias_gradients

    def _train_epoch(
        self, X: Array, y: Array, batch_size: int, lr: float, shuffle: bool
    ) -> tuple[float, float]:
        """Train on every sample once; return the running means of loss and accuracy."""
        n_samples = len(X)
        order = epoch_order(n_samples, self.seed, self.epochs_trained) if shuffle else None
        total_loss = 0.0
        total_correct = 0
        # Overflow is met by the test of the loss, so NumPy need not warn of it.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, n_samples, batch_size):
                stop = min(start + batch_size, n_samples)
                rows = slice(start, stop) if order is None else order[start:stop]
                targets = y[rows]
                outputs = self._forward(self._gather(X, rows))
                loss, dz = self._loss(outputs[-1], targets)
                if not math.isfinite(loss):
                    raise self._divergence(f"the loss is {loss}", lr)
                total_loss += loss * (stop - start)
                if not self._regression:
                    total_correct += self._count_correct(outputs[-1], targets)
                weight_gradients, bias_gradients = self._backward(outputs, dz)
                for w, dw in zip(self._weights, weight_gradients, strict=True):
                    ops.sgd_update(w, dw, lr)
                for b, db in zip(self._biases, bias_gradients, strict=True):
                    ops.sgd_update(b, db, lr)
        if not all(np.isfinite(p).all() for p in (*self._weights, *self._biases)):
            raise self._divergence("a weight is not finite", lr)
        self.epochs_trained += 1
        accuracy = math.nan if self._regression else total_correct / n_samples
        return total_loss / n_samples, accuracy

    def _gather(self, X: Array, rows: Array | slice) -> Array:
        """Return rows of X as the first layer takes them."""
        batch: Array = X[rows]
        if batch.dtype == np.uint8:
            batch = np.multiply(batch, self.dtype.type(1 / 255), dtype=self.dtype)
        return batch.astype(self.dtype, copy=False)

    def _forward(self, x: Array) -> list[Array]:
        """Return x and the output of every layer, the last as the loss takes it."""
        outputs = [x]
        *hidden, last = self.activations
        names = [*hidden, "identity" if last in LOGIT_LOSSES else last]
        for w, b, name in zip(self._weights, self._biases, names, strict=True):
            outputs.append(ops.dense_forward(outputs[-1], w, b, name))
        return outputs

    def _loss(self, output: Array, targets: Array) -> tuple[float, Array]:
        """Return the loss and its gradient with respect to the last layer's pre-activation."""
        name = self.activations[-1]
        if name in LOGIT_LOSSES:
            return LOGIT_LOSSES[name](output, targets)
        loss, dz = ops.mean_squared_error(output, targets)
        _, activation_backward = ops.ACTIVATIONS[name]
        activation_backward(dz, output, out=dz)
        return loss, dz

    def _backward(self, outputs: list[Array], dz: Array) -> tuple[list[Array], list[Array]]:
        """Return the gradients of all weights and biases, from what `_forward` returned.

        `dz` is the loss's gradient with respect to the last layer's pre-activation.
        """
        weight_gradients = []
        bias_gradients = []
        for layer in range(len(self._weights) - 1, 0, -1):
            x = outputs[layer]
            dx, dw, db = ops.dense_backward(dz, x, self._weights[layer])
            weight_gradients.append(dw)
            bias_gradients.append(db)
            _, activation_backward = ops.ACTIVATIONS[self.activations[layer - 1]]
            dz = activation_backward(dx, x, out=dx)
        # Nothing learns from the gradient of the first layer's input, so it is not computed.
        weight_gradients.append(ops.matmul(outputs[0], dz, transpose_a=True))
        bias_gradients.append(dz.sum(axis=0))
        return weight_gradients[::-1], bias_gradients[::-1]

    def _divergence(self, what: str, lr: float) -> DivergenceError:
        """Return the error for a training that left the finite numbers."""
        return DivergenceError(
            f"training diverged, {what}, after {self.epochs_trained} finished epochs: "
            f"try an lr below {lr:g}, or scale X to about unit variance (or to [0, 1])"
        )

    def _state(self) -> tuple[list[Array], int, History | None]:
        """Return copies of all that `fit` changes."""
        parameters = [p.copy() for p in (*self._weights, *self._biases)]
        return parameters, self.epochs_trained, self.history

    def _restore(self, state: tuple[list[Array], int, History | None]) -> None:
        """Go back to what `_state` returned, in place."""
        parameters, self.epochs_trained, self.history = state
        for parameter, saved in zip((*self._weights, *self._biases), parameters, strict=True):
            parameter[...] = saved

    # Use ------------------------------------------------------------------------------------

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """Return the outputs of a softmax or sigmoid network, (n, n_outputs).

        ValueError when the network does regression.
        """
        if self._regression:
            raise ValueError(
                f"predict_proba needs a softmax or sigmoid output, "
                f"this network's is {self.activations[-1]}: use predict"
            )
        output = self._output(self._check_features(X, "X"))
        return ops.FORWARDS[self.activations[-1]](output, out=output)

    def predict(self, X: npt.ArrayLike) -> Array:
        """Return the network's answer for each sample.

        Returns
        -------
        ndarray
            Softmax: (n,) int64, the most probable class. Sigmoid: int64, 1 where p > 0.5, shaped
            (n,) with one output, else (n, n_outputs). Regression: the outputs in the network's
            dtype, shaped likewise.
        """
        output = self._output(self._check_features(X, "X"))
        if self.activations[-1] == "softmax":
            return np.asarray(output.argmax(axis=1), dtype=np.int64)
        answer = output if self._regression else (ops.sigmoid(output) > 0.5).astype(np.int64)
        return answer.reshape(-1) if self.n_outputs == 1 else answer

    def evaluate(self, X: npt.ArrayLike, y: npt.ArrayLike) -> dict[str, float]:
        """Return the loss and the accuracy, or for regression networks r2, over the samples.

        X and y are as for `fit`. The accuracy is the fraction of rows that are right, with several
        sigmoid outputs those right in every column; r2 is the coefficient of determination.
        """
        return self._evaluate(*self._check_data(X, y, "X", "y"))

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Return the accuracy, or for regression networks the coefficient of determination."""
        return self.evaluate(X, y)["r2" if self._regression else "accuracy"]

    def _evaluate(self, X: Array, y: Array) -> dict[str, float]:
        output = self._output(X)
        loss, _ = self._loss(output, y)
        if self._regression:
            return {"loss": loss, "r2": r2_score(output, y)}
        return {"loss": loss, "accuracy": self._count_correct(output, y) / len(X)}

    def _output(self, X: Array) -> Array:
        """Return the last layer's output as the loss takes it, computed in blocks of samples."""
        output = np.empty((len(X), self.n_outputs), self.dtype)
        for start in range(0, len(X), PREDICTION_ROWS):
            rows = slice(start, start + PREDICTION_ROWS)
            output[rows] = self._forward(self._gather(X, rows))[-1]
        return output

    @property
    def _regression(self) -> bool:
        return self.activations[-1] not in LOGIT_LOSSES

    def _count_correct(self, output: Array, targets: Array) -> int:
        name = self.activations[-1]
        return count_correct(ops.sigmoid(output) if name == "sigmoid" else output, targets, name)

    def _check_features(self, X: npt.ArrayLike, name: str) -> Array:
        features = checks.check_features(X, self.n_inputs, self.dtype, name)
        checks.check_finite(features, name, self.dtype)
        return features

    def _check_data(
        self, X: npt.ArrayLike, y: npt.ArrayLike, X_name: str, y_name: str
    ) -> tuple[Array, Array]:
        features = self._check_features(X, X_name)
        targets = checks.check_targets(
            y, len(features), self.n_outputs, self.activations[-1], self.dtype, y_name
        )
        return features, targets
