"""What every multi-layer perceptron of the package is, whatever computes it.

Construction, the checks of arguments and what is made of a network's output are here, the loop over
epochs is in fitting.py; a subclass stores the parameters and does the arithmetic.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import checks, losses, optimizers, regularization, schedules
from .callbacks import Callback
from .checkpoints import Checkpoint, check_checkpoint
from .checks import Features
from .early_stopping import EarlyStopping, early_stopping_of
from .errors import NotFiniteError
from .eval_metrics import Metric, check_eval_metric, eval_metric_of
from .feeding import BlockFeed, feed_of, validation_feed_of
from .fitting import Fit, Report, Totals, Training
from .history import History
from .initializers import check_init, initial_weights
from .progress import Printer
from .samples import Samples, check_targets, samples_of
from .scores import answers
from .sources import Batches, Blocks
from .sparse import SparseRows
from .summary import summary_table

Array = npt.NDArray[Any]
CLASSIFIERS = ("softmax", "sigmoid")
"""Output activations of networks that predict classes; the others do regression."""

LOGIT_OUTPUTS = (*CLASSIFIERS, "exp")
"""Output activations that belong to the loss, which is computed from what goes into them."""


# Named like its subclasses, for Python's own errors name a method by the class that defines it.
class MLP(ABC):
    """A multi-layer perceptron trained by mini-batches.

    Parameters
    ----------
    layers
        Widths, the input's first: at least two integers of at least 1.
    activations
        A name for each layer after the input (identity, relu, leaky_relu, elu, selu, gelu, silu,
        mish, softplus, sigmoid, tanh, and softmax or exp for the last), with or without a leading
        None for the input, in any letter case. `fastmlp.ops` has their formulas. None for relu in
        the hidden layers and softmax at the output, or sigmoid when the last width is 1. Softmax
        and sigmoid outputs predict classes, the others numbers: exp the rates of counts.
    init
        Standard deviation of the normal distribution the weights are drawn from: "he"
        (sqrt(2 / fan_in)), "glorot" (sqrt(2 / (fan_in + fan_out))), "lecun" (sqrt(1 / fan_in),
        which selu is made for) or a positive number, small enough for `dtype` to hold the weights.
        Biases start at zero.
    dtype
        float32 or float64, of the parameters and of the arithmetic.
    seed
        Integer in [0, 2**64) that decides the initial weights and the order of the samples.
    loss
        What training minimizes: a name of `fastmlp.losses.NAMES`, an object of `fastmlp.losses`, or
        a Python function f(predictions, targets) that returns the mean loss of a batch and its
        gradient, see there. None for the default of the output: cross-entropy for softmax, binary
        cross-entropy for sigmoid, Poisson for exp, and the mean squared error for the others.

    Attributes
    ----------
    layers, activations, init, dtype, seed, loss
        As given, in one form: tuples, lower-case names, a `numpy.dtype`, an object of
        `fastmlp.losses` or a function.
    epochs_trained
        Epochs finished over all fits.
    trained_on
        Dtype of the features of the last fit, "uint8", "float32" or "float64", or None: a network
        trained on uint8 takes values 0 to 255 as uint8 and values 0 to 1 as floats.
    history
        The `History` of the last fit, or None.
    optimizer
        The optimizer of the last fit, an object of `fastmlp.optimizers`, or None.
    """

    _counting: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """How losses and penalties are counted where it differs from `Training`'s way: what belongs to
    scikit-learn's estimators alone."""

    _known_finite: ClassVar[tuple[Any, ...]] = ()
    """Arrays that scikit-learn has looked at already: twice takes a twentieth of a short fit."""

    _weights: list[Array]
    _biases: list[Array]

    def __init__(
        self,
        layers: Iterable[int],
        activations: Iterable[str | None] | None = None,
        *,
        init: str | float = "he",
        dtype: npt.DTypeLike = "float32",
        seed: int = 0,
        loss: str | losses.AnyLoss | None = None,
    ) -> None:
        self.layers = checks.check_layers(layers)
        self.activations = checks.check_activations(activations, self.layers)
        self.init = check_init(init)
        self.dtype = checks.check_dtype(dtype)
        self.seed = checks.check_seed(seed)
        chosen = losses.get(loss, self.activations[-1])
        if isinstance(chosen, losses.Loss):
            chosen.check(self.activations[-1], self.n_outputs, self.dtype)
        # Behind a property, as a loss that has not been checked must not reach the engine.
        self.__dict__["loss"] = chosen
        self.epochs_trained = 0
        self.trained_on: str | None = None
        self.history: History | None = None
        self._optimizer_state: optimizers.State | None = None
        self._allocate()
        drawn = initial_weights(self.layers, self.init, self.dtype, self.seed)
        for weight, values in zip(self._weights, drawn, strict=True):
            weight[...] = values

    def __repr__(self) -> str:
        """Return the constructor's call."""
        loss = "" if self._has_default_loss else f", loss={losses.label(self.loss)}"
        return (
            f"{type(self).__name__}({list(self.layers)}, activations={list(self.activations)}, "
            f"init={self.init!r}, dtype={self.dtype.name!r}, seed={self.seed}{loss})"
        )

    @property
    def loss(self) -> losses.AnyLoss:
        """What training makes small: an object of `fastmlp.losses`, or a function."""
        chosen: losses.AnyLoss = self.__dict__["loss"]
        return chosen

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
    def optimizer(self) -> optimizers.Optimizer | None:
        """The optimizer of the last fit."""
        return None if self._optimizer_state is None else self._optimizer_state.optimizer

    @property
    def weights(self) -> list[Array]:
        """The weights of each layer, (fan_in, fan_out): the arrays themselves, not copies."""
        return list(self._weights)

    @property
    def biases(self) -> list[Array]:
        """The biases of each layer, (fan_out,): the arrays themselves, not copies."""
        return list(self._biases)

    def summary(self) -> str:
        """Return a table of the layers with their shapes, activations and parameters.

        A loss other than the output's default is named below.
        """
        table = summary_table(self.layers, self.activations)
        return table if self._has_default_loss else f"{table}\nloss: {losses.label(self.loss)}"

    # Training -------------------------------------------------------------------------------

    def fit(
        self,
        X: npt.ArrayLike | Blocks | Batches,
        y: npt.ArrayLike | None = None,
        epochs: int = 20,
        batch_size: int = 32,
        lr: schedules.LearningRate = 0.01,
        shuffle: bool = True,
        validation_data: tuple[npt.ArrayLike, ...] | Blocks | Batches | None = None,
        verbose: int = 0,
        callbacks: Iterable[Callback] = (),
        sample_weight: npt.ArrayLike | None = None,
        optimizer: str | optimizers.Optimizer = "sgd",
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        ema: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        eval_metric: str | Callable[..., Any] | Metric | None = None,
        early_stopping: EarlyStopping | int | None = None,
        checkpoint: Checkpoint | checks.FilePath | None = None,
        resume: bool = False,
    ) -> History:
        """Train on the samples, on top of what the network has learned already.

        Parameters
        ----------
        X
            (n, n_inputs) finite numbers. uint8 is scaled by 1/255 batch by batch; float32 and
            float64 are used as they are, other dtypes are cast to the network's. A sparse matrix of
            SciPy's is read as CSR and never made dense. Nullable columns of pandas may have
            nothing missing. Or `fastmlp.data.Blocks` or `fastmlp.data.Batches`, for more than fits
            into memory.
        y
            Softmax: (n,) class indices or (n, n_outputs) rows of probabilities. Sigmoid:
            (n, n_outputs) values in [0, 1]. Regression: (n, n_outputs) finite values, for exp of at
            least 0. The last two also take (n,) when there is one output. Class indices are copied;
            X and other targets are read where they lie if they can be, so a callback should not
            change them. None where X is Blocks or Batches, which have them.
        epochs
            Times to go through all samples.
        batch_size
            Samples to an update; the last batch of an epoch has what remains. Batches are as they
            come.
        lr
            Learning rate, see the formulas of the optimizer; plain SGD makes each parameter p
            p - lr dL/dp. Adam and RMSprop want about 0.001. A number greater than 0, a schedule of
            `fastmlp.schedules`, or a function f(step) that returns the rate of a step, a batch,
            counted from 0 over this fit. It is called for all steps of an epoch when that begins;
            rates must be finite and at least 0.
        shuffle
            Whether each epoch draws a new order, seeded by `seed` and `epochs_trained`. Blocks are
            shuffled as they say, Batches never.
        validation_data
            (X, y) or (X, y, sample_weight), Blocks or Batches to evaluate after each epoch.
        verbose
            Print a line each so many epochs, and in a terminal show how far the running one has
            come; 0 prints nothing.
        callbacks
            Objects of `fastmlp.Callback`; `fastmlp.callbacks` has some that are ready.
        sample_weight
            (n,) finite numbers of at least 0, not all 0: the loss of a batch is
            sum(w_i L_i) / sum(w_i), so that a weight of 2 is as good as a second copy in the batch.
        optimizer
            A name of `fastmlp.optimizers.NAMES` ("sgd", "adam", "adamw", "rmsprop") or an object of
            `fastmlp.optimizers`. What it remembers of the parameters stays with the network: a fit
            with an equal optimizer goes on from there, one with another starts anew.
        l1, l2
            At least 0. The loss of a batch is its mean plus l1 sum |w| + l2 / 2 sum w^2 over all
            weights, biases left out; in `history` too, but not in what is measured on validation
            data. The gradient gains l1 sign(w) + l2 w, with sign(0) = 0. l2 is what `torch.optim`
            calls weight decay, except in AdamW.
        clip_norm
            Greater than 0, or None. The gradient g of the batch's loss, penalty included, by all
            parameters becomes g min(1, clip_norm / |g|), |g| being its Euclidean norm (Pascanu,
            Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks",
            algorithm 1).
        max_norm
            Greater than 0, or None. After each step the weights w into each unit, a column of
            `weights`, become w min(1, max_norm / |w|) (Srivastava et al. 2014, "Dropout: a simple
            way to prevent neural networks from overfitting", section 5.1).
        ema
            In (0, 1), or None. The decay of an exponential moving average of all parameters, which
            starts at the parameters and after each step becomes ema a + (1 - ema) p (after Polyak &
            Juditsky 1992, "Acceleration of stochastic approximation by averaging"). The network
            holds the averages whenever an epoch is over: in validation, in `on_epoch_end` and after
            the fit. The steps, the training loss and `on_progress` have the parameters themselves,
            which stay with what the optimizer remembers: the next fit with an equal optimizer and
            ema goes on from them, any other starts from what the network holds.
        dropout
            In [0, 1), for all hidden layers, or one number for each: the chance of each output of a
            hidden layer to count as 0 for a sample in a step, drawn anew every time; the others are
            divided by 1 - dropout (Srivastava et al. 2014, as for `max_norm`). Chances are rounded
            to multiples of 2^-16. The training loss and accuracy are those of the thinned
            networks; all else takes the whole one.
        input_dropout
            The same for the features.
        eval_metric
            What to measure on the validation data after each epoch, kept in the history as "val_"
            and its name: "loss"; for classifiers "accuracy" or "f1", that of class 1 where there
            are two classes, else the mean over them, as scikit-learn's ``average="macro"``; for
            regression "r2"; or a function f(y_true, y_pred) that returns a number, the greater the
            better, or a `fastmlp.Metric`, which says exactly what it gets. Weights of the
            validation data count in all of them. The loss and, for classifiers, the accuracy are
            measured anyway.
        early_stopping
            `fastmlp.EarlyStopping`, or its patience: the fit ends when the eval metric, without one
            the validation loss, or without validation data the training loss, has made no progress
            for so many epochs, and the network becomes what it was after the best one. That is also
            done when the fit ends for another reason, Ctrl-C and an exception of a callback
            included. When it diverges after the first epoch, it ends there with a RuntimeWarning.
        checkpoint
            A `fastmlp.Checkpoint`, or the name of a file to write one to after each epoch. Needs
            the library `safetensors`.
        resume
            Whether to go on from the checkpoint if its file is there, to the same bits that a fit
            leaves which was never interrupted. It must be one of this fit: of a network that
            began alike, and of the same options and samples, as far as can be seen. Of functions
            only the names are compared, and of the samples a few; the number of threads may differ,
            and so may the machine, though on another instruction set results differ by rounding.
            Blocks that are done are not read again; of Batches those that are done are asked for
            and not used, so an iterator must bring the same ones again.

        In a step the penalty's gradient is added, the sum is clipped, the optimizer takes it, the
        norms of the weights are limited and the averages are brought up to date, in this order.

        Returns
        -------
        History
            Also kept as `history`.

        Raises
        ------
        TypeError, ValueError
            For a bad argument, naming it, and for a Python loss that returns something else than
            a finite loss and gradient, or a function for `lr` something else than a rate, or one
            for `eval_metric` something else than a number; for a checkpoint that is damaged, or of
            another network or fit, naming it; nothing has changed. Nor has it when one of these
            functions, or the reading of Blocks or Batches, raises an exception, which reaches the
            caller.
        DivergenceError
            When a batch's loss, a gradient's norm that is to be clipped or, after an epoch, a
            parameter is not finite; the network is as it was before the call. Not where early
            stopping has a best epoch to go back to.
        RuntimeError
            When the parameters are read-only, as within `on_progress` or the Python loss of the
            same network.
        OSError
            When a checkpoint cannot be written: before anything has changed where that is known
            then, else what has been learned stays, and an earlier checkpoint does.
        KeyboardInterrupt
            On Ctrl-C; what has been learned stays, with early stopping that of the best epoch, and
            `history` holds the finished epochs.
        """
        if not all(buffer.flags.writeable for buffer in self._buffers()):
            raise RuntimeError("the parameters are read-only, as within on_progress or a loss")
        feed = feed_of(self, X, y, sample_weight)
        epochs = checks.check_positive_int(epochs, "epochs")
        batch_size = checks.check_positive_int(batch_size, "batch_size")
        schedule = schedules.get(lr)
        shuffle = checks.check_flag(shuffle, "shuffle")
        validation = validation_feed_of(self, validation_data)
        metric = eval_metric_of(self, eval_metric)
        check_eval_metric(metric, validation)
        stopping = early_stopping_of(early_stopping)
        feed.check_epochs(epochs)
        if validation is not None:
            validation.check_epochs(epochs)
        verbose = checks.check_verbose(verbose)
        hooks = checks.check_callbacks(callbacks)
        if verbose:
            hooks = (Printer(verbose), *hooks)
        kind = optimizers.get(optimizer)
        kind.check(self.dtype)
        l1 = regularization.check_penalty(l1, "l1")
        l2 = regularization.check_penalty(l2, "l2")
        clip_norm = regularization.check_norm(clip_norm, "clip_norm", self.dtype)
        max_norm = regularization.check_norm(max_norm, "max_norm", self.dtype)
        ema = regularization.check_ema(ema)
        chances = regularization.check_dropout(dropout, input_dropout, len(self.layers) - 2)
        keeper = check_checkpoint(checkpoint, resume)
        steps = feed.steps(batch_size)
        rates = schedules.Rates(schedule, epochs * steps, steps)
        training = Training(
            batch_size,
            rates,
            shuffle,
            l1,
            l2,
            clip_norm=clip_norm,
            max_norm=max_norm,
            ema=ema,
            dropout=chances,
        )
        training = replace(training, **self._counting)
        fit = Fit(self, feed, validation, training, kind, epochs, hooks, metric, stopping, keeper)
        return fit.run()

    def loss_and_gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> tuple[float, list[Array], list[Array]]:
        """Return the loss of one batch and its gradients; nothing is updated.

        Arguments are as for `fit`.

        Returns
        -------
        loss : float
        weight_gradients, bias_gradients : list of ndarray
            Shaped as `weights` and `biases`.
        """
        return self._gradients(self._check_data(X, y, sample_weight))

    @contextmanager
    def _read_only(self) -> Iterator[None]:
        """Make NumPy refuse to change the parameters."""
        arrays = [*self._buffers(), *self._weights, *self._biases]
        changed = [array for array in arrays if array.flags.writeable]
        for array in changed:
            array.flags.writeable = False
        try:
            yield
        finally:
            for array in changed:
                array.flags.writeable = True

    def _arrays(self) -> list[Array]:
        """Return the arrays of the parameters and of the optimizer's state."""
        state = self._optimizer_state
        return [*self._buffers(), *(state.arrays() if state else [])]

    def _use_optimizer(
        self, optimizer: optimizers.Optimizer, ema: float | None = None
    ) -> optimizers.State:
        """Return the state to go on from with an optimizer and an average of the parameters."""
        state = self._optimizer_state
        if state is not None and state.stepping:  # in a copy made within an epoch
            state.swap(self._buffers())
        if state is None or state.optimizer != optimizer:
            count = optimizers.STATES[optimizer.rule().name]
            state = optimizers.State(optimizer, [self._zeros() for _ in range(count)])
        if state.ema != ema:
            other = [] if ema is None else self._zeros()
            state = replace(state, ema=ema, other=other)
            if ema is not None:
                for mine, parameters in zip(other, self._buffers(), strict=True):
                    mine[...] = parameters
        self._optimizer_state = state
        return state

    # Use ------------------------------------------------------------------------------------

    def predict_proba(self, X: npt.ArrayLike | Blocks) -> Array:
        """Return the outputs of a softmax or sigmoid network, (n, n_outputs).

        X is as for `fit`, or Blocks. ValueError when the network does regression.
        """
        if self._regression:
            raise ValueError(
                f"predict_proba needs a softmax or sigmoid output, "
                f"this network's is {self.activations[-1]}: use predict"
            )
        return self._answer(X)

    def predict(self, X: npt.ArrayLike | Blocks) -> Array:
        """Return the network's answer for each sample of X, which is as for `predict_proba`.

        Returns
        -------
        ndarray
            Softmax: (n,) int64, the most probable class. Sigmoid: int64, 1 where p > 0.5, shaped
            (n,) with one output, else (n, n_outputs). Regression: the outputs in the network's
            dtype, shaped likewise.
        """
        output = self.activations[-1]
        return answers(self._answer(X, logits=output == "softmax"), output)

    def evaluate(
        self,
        X: npt.ArrayLike | Blocks | Batches,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        eval_metric: str | Callable[..., Any] | Metric | None = None,
    ) -> dict[str, float]:
        """Return the loss and the accuracy, or for regression networks r2, over the samples.

        Arguments are as for `fit`; an eval metric besides these has its own name in the result. The
        accuracy is the fraction of rows that are right, with several sigmoid outputs those right in
        every column; r2 is the coefficient of determination. All are weighted as the loss is,
        though not by the loss's class weights. A loss that couples the samples of a batch takes all
        samples as one batch, as a function for `eval_metric` does: of Blocks and Batches the
        network's outputs and the targets are then kept in memory.
        """
        feed = feed_of(self, X, y, sample_weight)
        metric = eval_metric_of(self, eval_metric)
        check_eval_metric(metric, feed)
        return feed.measure(self, metric)

    def score(
        self,
        X: npt.ArrayLike | Blocks | Batches,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        """Return the accuracy, or for regression networks the coefficient of determination."""
        return self.evaluate(X, y, sample_weight)["r2" if self._regression else "accuracy"]

    @property
    def _has_default_loss(self) -> bool:
        return self.loss == losses.default(self.activations[-1])

    @property
    def _regression(self) -> bool:
        return self.activations[-1] not in CLASSIFIERS

    def _answer(self, X: npt.ArrayLike | Blocks, logits: bool = False) -> Array:
        """Return the output for samples as they are given."""
        if isinstance(X, Blocks):
            return BlockFeed(self, X).outputs(self, logits)
        if not self._looks_at_samples:
            return self._output(self._check_features(X, "X"), logits)
        features = checks.check_features(X, self.n_inputs, self.dtype, "X")
        try:
            return self._output(features, logits)
        except NotFiniteError:
            checks.check_finite(features, "X", self.dtype)
            raise

    def _check_features(self, X: npt.ArrayLike, name: str) -> Features:
        features = checks.check_features(X, self.n_inputs, self.dtype, name)
        values = features.values if isinstance(features, SparseRows) else features
        known = values.dtype == self.dtype and any(values is a for a in self._known_finite)
        if not known and not self._is_finite(values):
            checks.check_finite(features, name, self.dtype)
        return features

    def _check_data(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None,
        X_name: str = "X",
        y_name: str = "y",
        weight_name: str = "sample_weight",
    ) -> Samples:
        features = self._check_features(X, X_name)
        checked = check_targets(self, y, sample_weight, len(features), y_name, weight_name)
        samples = samples_of(self, features, *checked)
        if samples.weights is not None and not samples.weights.any():
            raise ValueError(f"{weight_name} times class_weight is 0 for every sample")
        return samples

    # Arithmetic -------------------------------------------------------------------------------

    _looks_at_samples = False
    """Whether `_output` finds samples that are not finite by itself."""

    @abstractmethod
    def _allocate(self) -> None:
        """Make `_weights` and `_biases`, all zero."""

    @abstractmethod
    def _buffers(self) -> list[Array]:
        """Return the arrays that hold all parameters and whatever lies between them."""

    @abstractmethod
    def _layer_views(self, arrays: list[Array]) -> tuple[list[Array], list[Array]]:
        """Return the weights and the biases of each layer in arrays like those of `_buffers`."""

    @abstractmethod
    def _zeros(self) -> list[Array]:
        """Return arrays like those of `_buffers`, all zero."""

    @abstractmethod
    def _order(self, n: int, part: int) -> npt.NDArray[np.int64]:
        """Return one of the orders of the epoch that is next, a permutation of range(n)."""

    @abstractmethod
    def _train_epoch(
        self, samples: Samples, training: Training, state: optimizers.State, report: Report
    ) -> Totals:
        """Train on every sample once; return the epoch's totals, those before included.

        `state` is what the optimizer has to start from, and keeps up to date, its steps too where
        the epoch does not end. `report` is called a few times a second, between updates. A loss
        that is not finite ends the epoch with NotFiniteError.
        """

    def _end_fit(self) -> None:  # noqa: B027  not every subclass has something to give back
        """Give back what the epochs of a fit have shared."""

    @abstractmethod
    def _gradients(self, samples: Samples) -> tuple[float, list[Array], list[Array]]:
        """Return the loss and its gradients for the weights and the biases."""

    @abstractmethod
    def _output(self, X: Features, logits: bool = False) -> Array:
        """Return the network's output, (n, n_outputs).

        With `logits`, one of `LOGIT_OUTPUTS` is left without its activation: what a loss sees.
        Where the class `_looks_at_samples`, one that is not finite raises NotFiniteError.
        """

    @abstractmethod
    def _activated(self, seen: Array) -> Array:
        """Return the network's output from what a loss sees of it, which may be overwritten."""

    @abstractmethod
    def _loss(self, seen: Array, samples: Samples) -> tuple[float, Array]:
        """Return the loss, one of `fastmlp.losses`, and its gradient for what it sees."""

    @abstractmethod
    def _measure(self, samples: Samples) -> tuple[float, int]:
        """Return the mean loss and the hits over samples of a loss that does not couple them."""

    @abstractmethod
    def _is_finite(self, array: Array) -> bool:
        """Return whether all elements are finite once cast to the network's dtype."""
