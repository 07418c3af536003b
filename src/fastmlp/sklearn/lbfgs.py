"""The solver "lbfgs": SciPy drives the network's loss and gradient over all samples."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from ..errors import NotFiniteError
from .data import Data
from .tasks import Tasks

if TYPE_CHECKING:
    from .base import BaseMLP

Array = npt.NDArray[Any]

STEP, EXTRA_STEPS = "lbfgs-iter", 1
"""What scikit-learn's callbacks are told of the steps, named as in its `LogisticRegression`. SciPy
does not tell when an iteration begins: it is taken to when the one before has ended, and that after
the last comes to nothing."""


def pack(weights: list[Array], biases: list[Array]) -> Array:
    """Return all parameters in one vector of float64."""
    return np.concatenate([array.ravel() for array in (*weights, *biases)], dtype=np.float64)


def unpack(vector: Array, weights: list[Array], biases: list[Array]) -> None:
    """Write a vector into the parameters."""
    begin = 0
    for array in (*weights, *biases):
        array[...] = vector[begin : begin + array.size].reshape(array.shape)
        begin += array.size


class StoppedError(Exception):
    """A callback wants no further iteration."""


class Objective:
    """The penalized loss over all samples, as SciPy calls it.

    Parameters
    ----------
    estimator
        Whose network it is.
    data
        The samples.
    tasks
        What tells scikit-learn's callbacks of the iterations, or None.
    """

    def __init__(self, estimator: "BaseMLP", data: Data, tasks: Tasks | None) -> None:
        net: Any = estimator.network_
        self._net = net
        self._samples = net._check_data(data.X, data.y, data.weights)
        self._weights, self._biases = net.weights, net.biases
        self._unit = estimator._loss_unit
        self._strength = estimator.alpha / (
            len(data) if data.weights is None else data.weights.sum()
        )
        self.value = np.inf
        self._verbose = bool(estimator.verbose)
        self._tasks = tasks
        self.n_iterations = 0

    def vector(self) -> Array:
        """Return the network's parameters."""
        return pack(self._weights, self._biases)

    def take(self, vector: Array) -> None:
        """Make a vector the network's parameters."""
        unpack(vector, self._weights, self._biases)

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Return the loss and its gradient at a vector."""
        self.take(vector)
        loss, weight_gradients, bias_gradients = self._net._gradients(self._samples)
        squares = 0.0
        for weight, gradient in zip(self._weights, weight_gradients, strict=True):
            squares += float(np.vdot(weight, weight))
            gradient += self._strength * weight
        self.value = self._unit * loss + self._strength / 2 * squares
        return self.value, pack(weight_gradients, bias_gradients)

    def end_iteration(self, vector: Array) -> None:
        """Tell of an iteration, whose vector was evaluated last, and whose number is kept."""
        self.n_iterations += 1
        if self._verbose:
            print(f"Iteration {self.n_iterations}, loss = {self.value:.8f}")
        if self._tasks is not None:
            self.take(vector)
            if self._tasks.end_step():
                raise StoppedError
            self._tasks.begin_step()


def check(estimator: "BaseMLP", validation: Data | None) -> None:
    """Refuse what the solver cannot do."""
    refused = {
        "callbacks": bool(estimator.callbacks),
        "checkpoint": estimator.checkpoint is not None,
        "a schedule as learning_rate": not isinstance(estimator.learning_rate, str),
        "dropout": bool(np.any(estimator.dropout) or estimator.input_dropout),
        "validation data": validation is not None,
        "l1": estimator.l1 > 0,
        "clip_norm": estimator.clip_norm is not None,
        "max_norm": estimator.max_norm is not None,
        "ema": estimator.ema is not None,
    }
    for what, given in refused.items():
        if given:
            raise ValueError(f"{what} cannot be used with the solver lbfgs, which has no batches")


def fit(estimator: "BaseMLP", data: Data, validation: Data | None, tasks: Tasks | None) -> None:
    """Minimize the penalized loss over all samples."""
    check(estimator, validation)
    objective = Objective(estimator, data, tasks)
    if tasks is not None:
        tasks.begin_step()
    try:
        result = scipy.optimize.minimize(
            objective,
            objective.vector(),
            method="L-BFGS-B",
            jac=True,
            options={
                "maxfun": estimator.max_fun,
                "maxiter": estimator.max_iter,
                "gtol": estimator.tol,
            },
            callback=objective.end_iteration if estimator.verbose or tasks is not None else None,
        )
    except StoppedError:
        estimator.n_iter_ = objective.n_iterations
        estimator.loss_ = objective.value
        return
    if not np.isfinite(result.x).all():
        raise NotFiniteError("a weight is not finite")
    objective.take(result.x)
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    estimator.loss_ = float(result.fun)
