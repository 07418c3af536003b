"""What the classifier and the regressor share: parameters, the network, and what is fitted."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn import neural_network
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import losses
from ..errors import DivergenceError, NotFiniteError
from ..mlp import MLP
from . import lbfgs, stochastic
from .constraints import SHARED
from .data import Data
from .parameters import Parameters, draw, write
from .tasks import CallbackSupport, Tasks

Array = npt.NDArray[Any]

OWN_NAMES = {"logistic": "sigmoid"}
"""Names of activations in fastmlp by those of scikit-learn, where they differ."""
SKLEARN_NAMES = {own: name for name, own in OWN_NAMES.items()}


class Output(NamedTuple):
    """The end of a network."""

    activation: str
    width: int
    loss: losses.AnyLoss
    unit: float = 1.0
    """What the network's loss is multiplied by to be scikit-learn's: the gradients of both are the
    same, but for numbers its loss is a mean over the outputs, its gradient that of their sum."""


LEFT_BEHIND = (
    "_optimizer",
    "_best_coefs",
    "_best_intercepts",
    "_coef_indptr",
    "_intercept_indptr",
)
"""What scikit-learn's estimators keep of a fit for themselves."""

DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


def is_stochastic(estimator: "BaseMLP") -> bool:
    """Return whether an estimator learns from batches; AttributeError where it does not."""
    if estimator._solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


def keep(estimator: "BaseMLP", arguments: dict[str, Any]) -> None:
    """Set the constructor's arguments as attributes, untouched, as scikit-learn wants them."""
    for name, value in arguments.items():
        if name != "self":
            setattr(estimator, name, value)


class BaseMLP(CallbackSupport, BaseEstimator, ABC):
    """Base class of the estimators."""

    _parameter_constraints: ClassVar[dict[str, Any]] = SHARED
    _numeric_targets: ClassVar[bool]
    """Whether targets are numbers, not labels."""

    _parameter_names: ClassVar[tuple[str, ...]]

    @classmethod
    def _get_param_names(cls) -> list[str]:
        # Scikit-learn reads them from the signature, several times a fit, which takes 0.15 ms each.
        if "_parameter_names" not in vars(cls):
            cls._parameter_names = tuple(super()._get_param_names())
        return list(cls._parameter_names)

    # Training -------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: npt.ArrayLike | None = None,
    ) -> "BaseMLP":
        """Fit the network to samples.

        Parameters
        ----------
        X
            (n_samples, n_features) numbers; a sparse matrix is read as CSR and never made dense.
        y
            (n_samples,) or (n_samples, n_outputs): labels, an indicator matrix, or numbers.
        sample_weight
            (n_samples,) of at least 0, not all 0.
        validation_data
            (X, y) or (X, y, sample_weight) to measure on after each epoch, for `history_` and, with
            `early_stopping`, for the scores that decide: nothing is then set aside from X.
        X_val, y_val, sample_weight_val
            The same as three arguments, for metadata routing: a `Pipeline` with
            ``transform_input=["X_val"]`` takes X_val through its steps.

        Returns
        -------
        self
        """
        if validation_data is None and (X_val is not None or y_val is not None):
            if X_val is None or y_val is None:
                missing, given = ("X_val", "y_val") if X_val is None else ("y_val", "X_val")
                raise ValueError(f"{given} is provided, but {missing} was not provided.")
            validation_data = (X_val, y_val, sample_weight_val)
        elif validation_data is not None and X_val is not None:
            raise ValueError("validation_data and X_val are the same: give one of them")
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, ...] | None = None,
        *,
        incremental: bool,
    ) -> "BaseMLP":
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if np.iterable(sizes) else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        fresh = "network_" not in self.__dict__ or not (self.warm_start or incremental)
        given = X, y, sample_weight
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            y_numeric=self._numeric_targets,
            dtype=(np.float64, np.float32),
            reset=fresh,
        )
        y = self._learn_outputs(y, fresh, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        self._random_state = check_random_state(self.random_state)
        if fresh:
            self._start(X, self._output_of(y), sizes)
        elif list(self.network_.layers[1:-1]) != sizes:
            raise ValueError(
                f"hidden_layer_sizes is {sizes}, the network that is trained on has "
                f"{list(self.network_.layers[1:-1])}"
            )
        else:
            self._go_on(self._output_of(y), sizes)
        data = Data(X, self._targets(y), self._weights(y, sample_weight, incremental))
        held_out = self._held_out(validation)
        solver = lbfgs if self._solver == "lbfgs" else stochastic
        tasks = None
        if "_skl_callbacks" in self.__dict__:
            steps = 1 if incremental else int(self.max_iter)
            tasks = Tasks(self, *given, solver.STEP, steps + solver.EXTRA_STEPS)
        try:
            if self._solver == "lbfgs":
                lbfgs.fit(self, data, held_out, tasks)
            else:
                stochastic.fit(self, data, held_out, incremental, fresh, tasks)
        except (DivergenceError, NotFiniteError) as error:
            raise ValueError(f"{DIVERGED} {error}") from error
        if tasks is not None:
            tasks.end()
        return self

    def _held_out(self, validation: tuple[Any, ...] | None) -> Data | None:
        """Return checked validation data."""
        if validation is None:
            return None
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise ValueError("validation_data must be (X, y) or (X, y, sample_weight)")
        X, y, weights = (*validation, None)[:3]
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            y_numeric=self._numeric_targets,
            dtype=(np.float64, np.float32),
            reset=False,
        )
        if weights is not None:
            weights = _check_sample_weight(weights, X)
        return Data(X, self._targets(self._known_outputs(y)), weights)

    @property
    def _solver(self) -> str:
        """What trains: the optimizer that was asked for, else the solver."""
        return self.solver if self.optimizer is None else "optimizer"

    def _start(self, X: Any, output: Output, sizes: list[int]) -> None:
        """Make the network, and what a fit starts from."""
        hidden = self._hidden_activations(len(sizes))
        dtype = self.dtype
        if dtype is None:
            # Scikit-learn's L-BFGS works in float64 whatever X is.
            dtype = "float64" if self._solver == "lbfgs" else X.dtype
        net = self._adopt(X.shape[1], sizes, hidden, output, dtype)
        deciding = [*hidden, hidden[-1] if hidden else self._first_activation()]
        drawn = draw(net.layers, deciding, self._random_state)
        for layer, (weights, biases) in enumerate(drawn):
            net.weights[layer][...] = weights
            net.biases[layer][...] = biases
        self.n_iter_ = 0
        self.t_ = 0
        if self._solver != "lbfgs":
            stochastic.start(self)

    def _go_on(self, output: Output, sizes: list[int]) -> None:
        """Make the network what parameters say that have changed, keeping its weights."""
        net = self.network_
        hidden = self._hidden_activations(len(sizes))
        dtype = net.dtype if self.dtype is None else np.dtype(self.dtype)
        if output.width != net.n_outputs:
            raise ValueError(
                f"y with the loss needs {output.width} outputs, the network that is trained on has "
                f"{net.n_outputs}"
            )
        asked = (*hidden, output.activation), output.loss, dtype
        if asked == (net.activations, net.loss, net.dtype):
            return
        again = self._adopt(net.n_inputs, sizes, hidden, output, dtype)
        for array, values in zip(
            (*again.weights, *again.biases), (*net.weights, *net.biases), strict=True
        ):
            array[...] = values
        again.seed, again.epochs_trained = net.seed, net.epochs_trained
        if again.dtype == net.dtype:
            again._optimizer_state = net._optimizer_state

    def _adopt(
        self, n_features: int, sizes: list[int], hidden: list[str], output: Output, dtype: Any
    ) -> MLP:
        """Make the network of this estimator, and keep what describes it."""
        layers = [n_features, *sizes, output.width]
        self.network_ = MLP(layers, [*hidden, output.activation], dtype=dtype, loss=output.loss)
        self.n_layers_ = len(layers)
        self.n_outputs_ = output.width
        self.out_activation_ = SKLEARN_NAMES.get(output.activation, output.activation)
        self._loss_unit = output.unit
        return self.network_

    @classmethod
    def from_sklearn(cls, estimator: Any) -> "BaseMLP":
        """Return a fitted estimator of scikit-learn's as one of this class.

        It has the same parameters, weights and fitted attributes, and predicts the same, to
        rounding. `partial_fit`, and `fit` with `warm_start`, go on from there, with an optimizer
        that starts anew.

        Parameters
        ----------
        estimator
            A fitted `sklearn.neural_network.MLPClassifier` for an `MLPClassifier`, and a fitted
            MLPRegressor for an `MLPRegressor`.

        Raises
        ------
        TypeError
            For something else.
        sklearn.exceptions.NotFittedError
            When it has not been fitted.
        """
        kind = getattr(neural_network, cls.__name__)
        if not isinstance(estimator, kind):
            raise TypeError(
                f"estimator must be scikit-learn's {cls.__name__}, got {type(estimator).__name__}"
            )
        check_is_fitted(estimator)
        ours = cls(**estimator.get_params(deep=False))
        for name, value in vars(estimator).items():
            if name not in ("coefs_", "intercepts_", *LEFT_BEHIND):
                setattr(ours, name, copy.deepcopy(value))
        coefs = estimator.coefs_
        sizes = [weights.shape[1] for weights in coefs]
        output = ours._output_of(np.empty((1, sizes[-1])))
        hidden = ours._hidden_activations(len(sizes) - 1)
        dtype = np.result_type(*coefs)
        ours._adopt(coefs[0].shape[0], sizes[:-1], hidden, output, dtype)
        ours.coefs_, ours.intercepts_ = coefs, estimator.intercepts_
        if estimator.early_stopping and ours._solver != "lbfgs":
            ours._best_parameters = stochastic.copies(ours.network_)
        return ours

    def _first_activation(self) -> str:
        names = [self.activation] if isinstance(self.activation, str) else list(self.activation)
        return OWN_NAMES.get(names[0], names[0]) if names else "relu"

    def _hidden_activations(self, count: int) -> list[str]:
        """Return an activation for each hidden layer, by fastmlp's name."""
        if isinstance(self.activation, str):
            return [self._first_activation()] * count
        names = list(self.activation)
        if len(names) != count:
            raise ValueError(
                f"activation holds {len(names)} names, there are {count} hidden layers"
            )
        return [OWN_NAMES.get(name, name) for name in names]

    @abstractmethod
    def _learn_outputs(self, y: Any, fresh: bool, incremental: bool) -> Any:
        """Keep what predictions need to know of the targets, and return them checked."""

    @abstractmethod
    def _known_outputs(self, y: Any) -> Any:
        """Return targets checked to be of what has been learned."""

    def _weights(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        """Return what each sample counts, (n,), or None."""
        return sample_weight

    @abstractmethod
    def _output_of(self, y: Array) -> Output:
        """Return what the network has at its end."""

    @abstractmethod
    def _targets(self, y: Array) -> Array:
        """Return checked targets as the network takes them."""

    @abstractmethod
    def _labels(self, answers: Array) -> Array:
        """Return what the network predicts, or is to predict, as `predict` does."""

    # What is fitted ----------------------------------------------------------------------------

    def _network(self, name: str) -> MLP:
        """Return the network; AttributeError about an attribute where there is none."""
        try:
            net: MLP = self.__dict__["network_"]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            ) from None
        return net

    @property
    def coefs_(self) -> Parameters:
        """The weights of each layer, (fan_in, fan_out): the network's own, which can be changed."""
        return Parameters(self._network("coefs_").weights)

    @coefs_.setter
    def coefs_(self, values: Iterable[npt.ArrayLike]) -> None:
        self._set_parameters("coefs_", self.coefs_, values)

    @property
    def intercepts_(self) -> Parameters:
        """The biases of each layer, (fan_out,): the network's own, which can be changed."""
        return Parameters(self._network("intercepts_").biases)

    @intercepts_.setter
    def intercepts_(self, values: Iterable[npt.ArrayLike]) -> None:
        self._set_parameters("intercepts_", self.intercepts_, values)

    def _set_parameters(
        self, name: str, arrays: list[Array], values: Iterable[npt.ArrayLike]
    ) -> None:
        given = list(values)
        if len(given) != len(arrays):
            raise ValueError(f"{name} has {len(arrays)} layers, got {len(given)}")
        for layer, (array, new) in enumerate(zip(arrays, given, strict=True)):
            write(array, new, f"{name}[{layer}]")

    # Use ------------------------------------------------------------------------------------

    def _outputs(self, X: Any, logits: bool = False) -> Array:
        """Return the network's outputs, (n, outputs)."""
        fitted = self.__dict__
        net: MLP | None = fitted.get("network_")
        # What scikit-learn's checks would find nothing in: they take ten times as long as a row.
        if (
            net is not None
            and type(X) is np.ndarray
            and X.dtype is net.dtype
            and X.ndim == 2
            and X.shape[1] == net.layers[0]
            and len(X)
            and "feature_names_in_" not in fitted
        ):
            try:
                return net._answer(X, logits)
            except ValueError:
                pass  # not finite, about which the checks have their own words
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", reset=False)
        net = self.network_
        if X.dtype not in (np.float32, np.float64):
            X = X.astype(net.dtype)
        return net._answer(X, logits)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn may expect of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
