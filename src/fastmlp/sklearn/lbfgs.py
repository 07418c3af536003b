"""The solver "lbfgs": SciPy drives the network's loss and gradient over all samples."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from ..errors import NotFiniteError
from .data import Data

if TYPE_CHECKING:
    from .base import BaseMLP

Array = npt.NDArray[Any]


def pack(weights: list[Array], biases: list[Array]) -> Array:
    """Return all parameters in one vector of float64."""
    return np.concatenate([array.ravel() for array in (*weights, *biases)], dtype=np.float64)


def unpack(vector: Array, weights: list[Array], biases: list[Array]) -> None:
    """Write a vector into the parameters."""
    begin = 0
    for array in (*weights, *biases):
        array[...] = vector[begin : begin + array.size].reshape(array.shape)
        begin += array.size


class Objective:
    """The penalized loss over all samples, as SciPy calls it.

    Parameters
    ----------
    estimator
        Whose network it is.
    data
        The samples.
    """

    def __init__(self, estimator: "BaseMLP", data: Data) -> None:
        net: Any = estimator.network_
        self._net = net
        self._samples = net._check_data(data.X, data.y, data.weights)
        self._weights, self._biases = net.weights, net.biases
        self._unit = estimator._loss_unit
        self._strength = estimator.alpha / (
            len(data) if data.weights is None else data.weights.sum()
        )
        self._value = np.inf
        self._n_iterations = 0

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
        self._value = self._unit * loss + self._strength / 2 * squares
        return self._value, pack(weight_gradients, bias_gradients)

    def report(self, vector: Array) -> None:
        """Print the loss after an iteration, whose vector was evaluated last."""
        self._n_iterations += 1
        print(f"Iteration {self._n_iterations}, loss = {self._value:.8f}")


def check(estimator: "BaseMLP", validation: Data | None) -> None:
    """Refuse what the solver cannot do."""
    refused = {
        "callbacks": bool(estimator.callbacks),
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


def fit(estimator: "BaseMLP", data: Data, validation: Data | None) -> None:
    """Minimize the penalized loss over all samples."""
    check(estimator, validation)
    objective = Objective(estimator, data)
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
        callback=objective.report if estimator.verbose else None,
    )
    if not np.isfinite(result.x).all():
        raise NotFiniteError("a weight is not finite")
    objective.take(result.x)
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    estimator.loss_ = float(result.fun)
