"""The solvers "sgd" and "adam": epochs of mini-batches, and scikit-learn's rules for their end."""

import warnings
from dataclasses import replace
from functools import wraps
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

from .. import optimizers
from ..callbacks import Callback
from ..checkpoints import described, differences
from ..eval_metrics import EvalMetric, Metric, eval_metric_of
from ..schedules import Schedule
from .data import Data
from .tasks import Epochs, Tasks

if TYPE_CHECKING:
    from ..history import History
    from ..mlp import MLP
    from .base import BaseMLP

Array = npt.NDArray[Any]

STEP, EXTRA_STEPS = "epoch", 0
"""What scikit-learn's callbacks are told of the steps."""

SMALLEST_RATE = 1e-6
"""An adaptive learning rate that is not above this is not made smaller."""
ADAPTIVE_DIVISOR = 5.0
BELOW_ONE = float(np.nextafter(1.0, 0.0))
"""What is taken for a momentum of 1, which scikit-learn allows and `SGD` does not."""

KEPT = (
    "n_iter_",
    "t_",
    "loss_",
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
    "_best_parameters",
)
"""Attributes of an estimator that its fit changes from epoch to epoch."""

DECIDING = (
    "learning_rate",
    "learning_rate_init",
    "power_t",
    "tol",
    "early_stopping",
    "validation_fraction",
    "n_iter_no_change",
    "random_state",
)
"""Parameters that decide the course of a fit, besides those that the network's `fit` is given."""


def start(estimator: "BaseMLP") -> None:
    """Set the attributes that a first fit starts from."""
    estimator.loss_curve_ = []
    estimator._no_improvement_count = 0
    early = estimator.early_stopping
    estimator.validation_scores_ = [] if early else None
    estimator.best_validation_score_ = -np.inf if early else None
    estimator.best_loss_ = None if early else np.inf
    if early:
        estimator._best_parameters = copies(estimator.network_)


def copies(net: "MLP") -> list[Array]:
    """Return copies of the arrays that hold the parameters."""
    return [array.copy() for array in net._buffers()]


def optimizer_of(estimator: "BaseMLP") -> optimizers.Optimizer:
    """Return what makes the steps."""
    if estimator.optimizer is not None:
        return optimizers.get(estimator.optimizer)
    if estimator.solver == "adam":
        # Scikit-learn adds epsilon before the correction of the moments.
        return optimizers.Adam(
            estimator.beta_1, estimator.beta_2, estimator.epsilon, epsilon_hat=True
        )
    momentum = min(estimator.momentum, BELOW_ONE)
    return optimizers.SGD(momentum, bool(estimator.nesterovs_momentum) and momentum > 0)


class Rate(Schedule):
    """The learning rate by scikit-learn's rules, which may change between epochs."""

    def __init__(self, estimator: "BaseMLP") -> None:
        self._initial = float(estimator.learning_rate_init)
        self._rule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self._power = estimator.power_t
        self.value = self._initial

    @classmethod
    def of(cls, estimator: "BaseMLP", incremental: bool) -> "Rate":
        """Return the rate that a fit starts with: where it goes on, that of the fit before.

        It is kept with the estimator, and starts anew where a parameter of it has changed.
        """
        rate = cls(estimator)
        kept: Rate | None = estimator.__dict__.get("_rate")
        if incremental and kept is not None and kept._rules() == rate._rules():
            rate = kept
        estimator._rate = rate
        return rate

    def _rules(self) -> tuple[Any, ...]:
        return self._initial, self._rule, self._power

    @property
    def constant(self) -> float:
        """The rate of an epoch's steps."""
        return self.value

    def rates(self, steps: Array, total_steps: int, steps_per_epoch: int) -> Array:
        """Return the rate of each of some steps."""
        return np.full(len(steps), self.value)

    def end_epoch(self, n_seen: int) -> None:
        """Note that so many samples have been seen."""
        if self._rule == "invscaling":
            self.value = self._initial / (n_seen + 1) ** self._power

    def lower(self, why: str, verbose: bool) -> bool:
        """Make the rate smaller; return False where the fit should rather end."""
        if self._rule != "adaptive":
            text = "Stopping."
        elif self.value <= SMALLEST_RATE:
            text = "Learning rate too small. Stopping."
        else:
            self.value /= ADAPTIVE_DIVISOR
            text = f"Setting learning rate to {self.value:f}"
        if verbose:
            print(why, text)
        return text.startswith("Setting")


class Watch(Callback):
    """Keeps the estimator's attributes after each epoch, and says when to stop.

    Parameters
    ----------
    estimator
        Whose fit it is.
    n_samples
        Samples in an epoch.
    metric
        What decides by its value on the validation data, or None for the training loss.
    rate
        The learning rate.
    incremental
        Whether there is one epoch only.
    """

    def __init__(
        self,
        estimator: "BaseMLP",
        n_samples: int,
        metric: EvalMetric | None,
        rate: Rate,
        incremental: bool,
    ) -> None:
        self._estimator = estimator
        self._n_samples = n_samples
        self._metric = metric
        self._rate = rate
        self._incremental = incremental

    def on_epoch_end(self, net: "MLP", history: "History") -> bool:
        """Account for an epoch; return whether to stop."""
        fitted = self._estimator
        fitted.n_iter_ += 1
        fitted.t_ += self._n_samples
        fitted.loss_ = history.loss[-1]
        fitted.loss_curve_.append(fitted.loss_)
        if fitted.verbose:
            print(f"Iteration {fitted.n_iter_}, loss = {fitted.loss_:.8f}")
        self._compare(net, history)
        self._rate.end_epoch(fitted.t_)
        if fitted._no_improvement_count > fitted.n_iter_no_change:
            kind = "Training loss" if self._metric is None else "Validation score"
            why = (
                f"{kind} did not improve more than tol={fitted.tol:f} for "
                f"{fitted.n_iter_no_change} consecutive epochs."
            )
            if not self._rate.lower(why, fitted.verbose):
                return True
            fitted._no_improvement_count = 0
        if not self._incremental and fitted.n_iter_ == fitted.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({fitted.max_iter:d}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return False

    def state(self) -> dict[str, Any]:
        """Return what the rest of the fit depends on, and what tells this fit from others."""
        fitted = vars(self._estimator)
        kept = {name: fitted[name] for name in KEPT if name in fitted}
        return {"rate": self._rate.value, "fitted": kept, "parameters": self._parameters()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with a fit; ValueError where its parameters were others."""
        if differing := differences(self._parameters(), state["parameters"]):
            raise ValueError(differing)
        self._rate.value = state["rate"]
        for name, value in state["fitted"].items():
            setattr(self._estimator, name, value)

    def _parameters(self) -> dict[str, Any]:
        return {name: described(getattr(self._estimator, name)) for name in DECIDING}

    def _compare(self, net: "MLP", history: "History") -> None:
        """Count the epochs without improvement, and keep the best parameters."""
        fitted = self._estimator
        if self._metric is None:
            loss = fitted.loss_
            worse = loss > fitted.best_loss_ - fitted.tol
            fitted.best_loss_ = min(fitted.best_loss_, loss)
        else:
            value = getattr(history, f"val_{self._metric.name}")[-1]
            score = value if self._metric.greater_is_better else -value
            fitted.validation_scores_.append(score)
            if fitted.verbose:
                print(f"Validation score: {score:f}")
            # NaN is no improvement either.
            worse = not score >= fitted.best_validation_score_ + fitted.tol
            if score > fitted.best_validation_score_:
                fitted.best_validation_score_ = score
                fitted._best_parameters = copies(net)
        fitted._no_improvement_count = fitted._no_improvement_count + 1 if worse else 0


def metric_of(estimator: "BaseMLP") -> str | Metric | None:
    """Return the eval metric as the network takes it: one of labels is given classes."""
    given = estimator.eval_metric
    if given is None and estimator.early_stopping:
        if not is_classifier(estimator):
            return "r2"
        if len(estimator.classes_) > 1:
            return "accuracy"
        given = accuracy_score
    if given is None or isinstance(given, str):
        return given
    metric = given if isinstance(given, Metric) else Metric(given)
    labels = estimator._labels

    @wraps(metric.function)
    def of_labels(y_true: Array, y_pred: Array, **weights: Array) -> Any:
        predicted = y_pred if metric.probabilities else labels(y_pred)
        return metric.function(labels(y_true), predicted, **weights)

    return replace(metric, function=of_labels)


def split(estimator: "BaseMLP", data: Data) -> tuple[Data, Data]:
    """Return the samples to train on, and those that scikit-learn would hold out."""
    binary = is_classifier(estimator) and estimator.n_outputs_ == 1
    train, held_out = train_test_split(
        np.arange(len(data)),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=data.y[:, 0] if binary else None,
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    if data.weights is not None and not data.weights[held_out].any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, among the samples that "
            "early_stopping sets aside too."
        )
    return data.rows(train), data.rows(held_out)


def batch_size_of(estimator: "BaseMLP", n_samples: int) -> int:
    """Return the samples of a step."""
    if estimator.batch_size == "auto":
        return min(200, n_samples)
    if estimator.batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=2,
        )
    return min(int(estimator.batch_size), n_samples)


def fit(
    estimator: "BaseMLP",
    data: Data,
    validation: Data | None,
    incremental: bool,
    fresh: bool,
    tasks: Tasks | None,
) -> None:
    """Train for up to max_iter epochs, or one."""
    net: Any = estimator.network_
    if estimator.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    if estimator.checkpoint is not None:
        if incremental:
            raise ValueError("partial_fit does not support checkpoint")
        if not isinstance(estimator.random_state, Integral):
            raise ValueError(
                "checkpoint needs an integer as random_state, or a fit that is resumed would begin "
                f"with other weights, got {estimator.random_state!r}"
            )
    if not incremental:
        # Each fit starts the optimizer anew.
        net._optimizer_state = None
    if estimator.early_stopping and validation is None:
        data, validation = split(estimator, data)
    if fresh:
        # After all that scikit-learn draws from the same source; without shuffling it draws no
        # more, so that the next fit by the same `RandomState` finds what it does there.
        source = estimator._random_state
        state = source.get_state()
        net.seed = int(source.randint(2**31))
        if not estimator.shuffle:
            source.set_state(state)
    rate = Rate.of(estimator, incremental)
    estimator.n_iter_ = 0
    metric = None if validation is None else metric_of(estimator)
    deciding = eval_metric_of(net, metric) if estimator.early_stopping else None
    hooks: list[Callback] = [Watch(estimator, len(data), deciding, rate, incremental)]
    if tasks is not None:
        hooks.append(Epochs(tasks))
    net._counting = {
        "penalty_per_sample": True,
        "mean_of_batches": True,
        "loss_unit": estimator._loss_unit,
    }
    checked = () if get_config()["assume_finite"] else (data, validation)
    net._known_finite = tuple(part.X for part in checked if part is not None)
    try:
        net.fit(
            data.X,
            data.y,
            epochs=1 if incremental else int(estimator.max_iter),
            batch_size=batch_size_of(estimator, len(data)),
            lr=rate if isinstance(estimator.learning_rate, str) else estimator.learning_rate,
            shuffle=bool(estimator.shuffle),
            callbacks=[*hooks, *(estimator.callbacks or ())],
            validation_data=None if validation is None else validation.triple(),
            sample_weight=data.weights,
            optimizer=optimizer_of(estimator),
            l1=estimator.l1,
            l2=estimator.alpha,
            checkpoint=estimator.checkpoint,
            resume=estimator.resume,
            dropout=estimator.dropout,
            input_dropout=estimator.input_dropout,
            clip_norm=estimator.clip_norm,
            max_norm=estimator.max_norm,
            ema=estimator.ema,
            eval_metric=metric,
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    finally:
        del net._counting, net._known_finite
    estimator.history_ = net.history
    if estimator.early_stopping:
        for array, best in zip(net._buffers(), estimator._best_parameters, strict=True):
            array[...] = best
        if estimator.ema is not None:
            # What it has besides the averages belongs to the last epoch.
            net._optimizer_state = None
