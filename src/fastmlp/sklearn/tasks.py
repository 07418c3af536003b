"""Scikit-learn's own callbacks, which it has from 1.9 on: a fit as the tasks they follow."""

import copy
from typing import TYPE_CHECKING, Any

from ..callbacks import Callback

try:
    from sklearn import callback
except ImportError:
    CallbackSupport: Any = type("CallbackSupport", (), {})
else:
    CallbackSupport = callback.CallbackSupportMixin
"""Base class of what takes them."""

if TYPE_CHECKING:
    from ..history import History
    from ..mlp import MLP
    from .base import BaseMLP


class Tasks:
    """A fit and its steps, one after the other, as scikit-learn's callbacks are told of them.

    Parameters
    ----------
    estimator
        Which is being fitted.
    X, y, sample_weight
        As `fit` was given them: callbacks can take scores on them.
    step
        What a step is called.
    max_steps
        How many there can be.
    """

    def __init__(
        self, estimator: "BaseMLP", X: Any, y: Any, sample_weight: Any, step: str, max_steps: int
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._estimator = estimator
        self._name = step
        self._fit = estimator._init_callback_context(max_subtasks=max_steps)
        self._fit.call_on_fit_task_begin(**self._told)
        self._step: Any = None

    def begin_step(self) -> None:
        """Tell that a step begins."""
        self._step = self._fit.subcontext(task_name=self._name)
        self._step.call_on_fit_task_begin(**self._told, reconstruction_attributes=self._so_far)

    def end_step(self) -> bool:
        """Tell that it has ended; return whether a callback wants the fit to end."""
        step, self._step = self._step, None
        stop = step.call_on_fit_task_end(**self._told, reconstruction_attributes=self._so_far)
        return bool(stop)

    def end(self) -> None:
        """Tell that the fit has ended."""
        if self._step is not None:
            # One that came to nothing, as when Ctrl-C was pressed.
            self._step.call_on_fit_task_end(estimator=self._estimator)
        self._fit.call_on_fit_task_end(**self._told, reconstruction_attributes={})

    def _so_far(self) -> dict[str, Any]:
        """Return what makes a copy of the estimator one whose fit had ended here."""
        estimator = self._estimator
        net = copy.copy(estimator.network_)
        net.history = copy.deepcopy(net.history)
        fitted: dict[str, Any] = {"network_": net}
        if estimator._solver != "lbfgs":
            names = ("loss_curve_", "validation_scores_")
            fitted |= {name: copy.copy(getattr(estimator, name)) for name in names}
            fitted["history_"] = net.history
            if estimator.early_stopping:
                for array, best in zip(net._buffers(), estimator._best_parameters, strict=True):
                    array[...] = best
        return fitted


class Epochs(Callback):
    """Tells of each epoch as a step.

    Parameters
    ----------
    tasks
        Of the fit.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def on_epoch_begin(self, net: "MLP", epoch: int) -> None:
        """Begin a step."""
        self._tasks.begin_step()

    def on_epoch_end(self, net: "MLP", history: "History") -> bool:
        """End it; return whether to stop."""
        return self._tasks.end_step()
