"""The multi-layer perceptron, computed by the C engine."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, base, checks, loss_ops, ops
from .checks import Features
from .errors import NotFiniteError
from .fitting import Report, Totals, Training
from .losses import Loss
from .optimizers import State
from .samples import Samples

Array = npt.NDArray[Any]

POLL_SECONDS = 0.1
"""How often, within an epoch, Ctrl-C is looked for and progress reported."""


def aligned_empty(size: int, dtype: npt.DTypeLike) -> Array:
    """Return an uninitialized vector that starts on a boundary of the core's alignment."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.empty(size * itemsize + _core.ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _core.ALIGNMENT
    return memory[start : start + size * itemsize].view(dtype)


class MLP(base.MLP):
    __doc__ = base.MLP.__doc__

    _looks_at_samples = True

    def _allocate(self) -> None:
        fan_ins, fan_outs = self.layers[:-1], self.layers[1:]
        codes = [ops.ACTIVATION_CODES[name] for name in self.activations]
        self._double = self.dtype == np.float64
        self._plan = _core.Network(self._double, list(zip(fan_ins, fan_outs, codes, strict=True)))
        (self._parameters,) = self._zeros()
        self._workspace: Array | None = None
        self._weights, self._biases = self._views(self._parameters)

    def _views(self, buffer: Array) -> tuple[list[Array], list[Array]]:
        """Return each layer's weights and biases in a buffer laid out as the parameters."""
        weights, biases = [], []
        for layer, (fan_in, fan_out) in enumerate(
            zip(self.layers[:-1], self.layers[1:], strict=True)
        ):
            weight, stride, bias = self._plan.layout(layer)
            rows = buffer[weight : weight + fan_in * stride].reshape(fan_in, stride)
            weights.append(rows[:, :fan_out])
            biases.append(buffer[bias : bias + fan_out])
        return weights, biases

    def _buffers(self) -> list[Array]:
        return [self._parameters]

    def _layer_views(self, arrays: list[Array]) -> tuple[list[Array], list[Array]]:
        return self._views(*arrays)

    def _zeros(self) -> list[Array]:
        buffer = aligned_empty(self._plan.n_parameters, self.dtype)
        buffer[:] = 0
        return [buffer]

    def _order(self, n: int, part: int) -> npt.NDArray[np.int64]:
        order = np.empty(n, np.int64)
        _core.shuffle(self.seed, self.epochs_trained, order, part)
        return order

    def _core_loss(self, samples: Samples) -> loss_ops.CoreLoss:
        if isinstance(self.loss, Loss):
            output = self.activations[-1]
            return loss_ops.core_loss(self.loss, output, self.n_outputs, self.dtype)
        return loss_ops.LOSS_CODES["custom"], samples.python_loss, None, 1.0

    def _train_epoch(
        self,
        samples: Samples,
        training: Training,
        state: State,
        report: Report,
    ) -> Totals:
        batch_size = min(training.batch_size, len(samples))
        threads = _core.get_free_threads()
        loss = self._core_loss(samples)
        rule = state.optimizer.rule()
        optimizer = (
            (_core.OPTIMIZERS.index(rule.name), *rule[1:]),
            (
                training.l1,
                training.l2,
                training.penalty_per_sample,
                training.clip_norm or 0.0,
                training.max_norm or 0.0,
                training.ema or 0.0,
            ),
        )
        dropout = np.array(training.dropout) if training.dropout else None
        size = self._plan.training_workspace(
            samples.X, loss, optimizer, dropout, batch_size, threads
        )
        # The system would clear the pages of a new workspace in every epoch. It is nobody else's
        # while it is used: another fit of this network, in another thread, would write into it.
        workspace, self._workspace = self._workspace, None
        if workspace is None or len(workspace) < size:
            workspace = aligned_empty(size, np.uint8)
        totals, finite = self._plan.train_epoch(
            self._parameters,
            samples.X,
            samples.y,
            samples.weights,
            loss,
            optimizer,
            state,
            batch_size,
            threads,
            training.rates,
            (training.mean_of_batches, training.loss_unit),
            training.shuffle,
            self.seed,
            self.epochs_trained,
            training.part,
            dropout,
            training.first,
            training.before,
            workspace,
            report,
            0.0 if training.each_batch else POLL_SECONDS,
        )
        self._workspace = workspace
        if not finite:
            measured = "the loss" if training.clip_norm is None else "the loss or the gradient"
            raise NotFiniteError(f"{measured} is not finite")
        return Totals(*totals)

    def _end_fit(self) -> None:
        self._workspace = None

    def _gradients(self, samples: Samples) -> tuple[float, list[Array], list[Array]]:
        threads = _core.get_free_threads()
        loss = self._core_loss(samples)
        size = self._plan.training_workspace(samples.X, loss, None, None, len(samples), threads)
        gradient = np.empty_like(self._parameters)
        loss_sum, weight_sum, _ = self._plan.gradient(
            self._parameters,
            samples.X,
            samples.y,
            samples.weights,
            loss,
            threads,
            gradient,
            aligned_empty(size, np.uint8),
        )
        return loss_sum / weight_sum, *self._views(gradient)

    def _output(self, X: Features, logits: bool = False) -> Array:
        output = np.empty((len(X), self.n_outputs), self.dtype)
        if not self._plan.predict(self._parameters, X, logits, output):
            raise NotFiniteError("a sample is not finite")
        return output

    def _activated(self, seen: Array) -> Array:
        name = self.activations[-1]
        if name not in base.LOGIT_OUTPUTS:
            return seen
        activation: Callable[..., Array] = getattr(ops, name)
        return activation(seen, out=seen)

    def _loss(self, seen: Array, samples: Samples) -> tuple[float, Array]:
        gradient = np.empty_like(seen)
        loss = self._core_loss(samples)
        return _core.loss_gradient(loss, seen, samples.y, samples.weights, gradient), gradient

    def _measure(self, samples: Samples) -> tuple[float, int]:
        measured = self._plan.evaluate(
            self._parameters, samples.X, samples.y, samples.weights, self._core_loss(samples)
        )
        if measured is None:
            raise NotFiniteError("a sample is not finite")
        loss_sum, weight_sum, hits = measured
        return loss_sum / weight_sum, hits

    def _is_finite(self, array: Array) -> bool:
        return array.dtype == np.uint8 or _core.all_finite(array, self._double)

    def c_model(self) -> object:
        """Return a capsule that other extensions predict with, in C and without the GIL.

        It holds an `fm_model` of `fastmlp.h`: the layers and the address of the parameters, which
        are not copied. The capsule keeps them valid, also when the network itself is gone. What
        changes the parameters, such as `fit`, must not run while C predicts with them; afterwards
        C predicts with the new ones. docs/c-api.md tells how it is used.
        """
        return self._plan.model(self._parameters)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copy and pickle keep: no plan, no raw buffers, nothing of a running fit."""
        state = self.__dict__.copy()
        for name in ("_plan", "_parameters", "_weights", "_biases", "_workspace"):
            del state[name]
        for name in ("_counting", "_known_finite"):
            state.pop(name, None)
        weights = [np.ascontiguousarray(w) for w in self._weights]
        return {"attributes": state, "weights": weights, "biases": [b.copy() for b in self._biases]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the network from what `__getstate__` returned."""
        self._optimizer_state = None  # files and earlier pickles have none
        self.__dict__.update(state["attributes"])
        self._allocate()
        saved = (*state["weights"], *state["biases"])
        for parameter, values in zip((*self._weights, *self._biases), saved, strict=True):
            parameter[...] = values
        kept = self._optimizer_state
        if kept is not None:
            # Arrays that are this network's own, and aligned.
            buffers = [self._zeros() for _ in kept.buffers]
            other = self._zeros() if kept.other else []
            self._optimizer_state = replace(kept, buffers=buffers, other=other)
            for array, values in zip(self._optimizer_state.arrays(), kept.arrays(), strict=True):
                array[...] = values

    def save(self, path: checks.FilePath) -> None:
        """Write the network to a safetensors file that `fastmlp.load` reads.

        The file is replaced as a whole: after a crash in the middle the earlier one is still
        there. The same network makes the same bytes. Needs the library `safetensors`.

        Raises ValueError when a weight or a bias is not finite, OSError when there can be no file
        of this name; an earlier file is then untouched.
        """
        from .io import save_model

        save_model(self, path)

    def to_onnx(self, path: checks.FilePath | None = None) -> Any:
        """Return the network as an ONNX model, or write it to a file.

        The model takes "input", (batch, n_inputs), and returns "output", (batch, n_outputs), for
        any number of rows, both in the network's dtype: what `predict_proba` returns, or `predict`
        for regression. Values are taken as they are. A network trained on uint8 is given its values
        divided by 255, and the model's description of "input" says so.

        It holds matrix products (Gemm) and activations of opset 13, which ONNX Runtime and others
        have long read. Needs the library `onnx`.

        Parameters
        ----------
        path
            File to write, replaced as a whole; None to return the model.

        Returns
        -------
        onnx.ModelProto or None

        Raises
        ------
        ValueError
            When a weight or a bias is not finite, or all together take more than the 2 GiB that
            ONNX allows; for gelu in float64, whose Erf ONNX Runtime has in float32 only. An
            earlier file is then untouched.
        OSError
            When there can be no file of this name.
        ModuleNotFoundError
            Without onnx.
        """
        from .convert.onnx_model import onnx_model, write_onnx

        if path is None:
            return onnx_model(self)
        write_onnx(self, path)
        return None

    def to_torch(self, logits: bool = False) -> Any:
        """Return the network as layers of PyTorch.

        The module holds copies of the parameters in the network's dtype, on the CPU, ready to be
        trained. It maps (n, n_inputs) to (n, n_outputs). Values are taken as they are: one of a
        network trained on uint8 is given its values divided by 255.

        Parameters
        ----------
        logits
            Whether to leave out a softmax, sigmoid or exp at the end, as CrossEntropyLoss,
            BCEWithLogitsLoss and PoissonNLLLoss expect.

        Returns
        -------
        torch.nn.Sequential
            Of Linear and of PyTorch's own layers for the activations.

        Raises
        ------
        ValueError
            For an exp output that is not left out: PyTorch has no such layer.
        ModuleNotFoundError
            Without PyTorch.
        """
        from .convert.pytorch import to_torch

        return to_torch(self, logits)
