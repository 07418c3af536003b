"""The regressor."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from .. import losses, optimizers
from ..callbacks import Callback
from ..checkpoints import Checkpoint
from ..checks import FilePath
from ..eval_metrics import Metric
from .base import BaseMLP, Output, is_stochastic, keep
from .constraints import REGRESSOR_LOSSES, REGRESSOR_METRICS
from .documentation import documented

Array = npt.NDArray[Any]


@documented("", "the coefficient of determination")
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron that predicts numbers, in the place of scikit-learn's.

    Parameters up to `max_fun` are scikit-learn's, with its defaults. Given the same starting
    weights, and with the samples in the same order, it learns what scikit-learn's learns, to
    rounding.

    Parameters
    ----------
    loss
        "squared_error", half the mean over samples and outputs; "poisson", half the deviance, of
        rates exp(z), for counts; or a name or an object of `fastmlp.losses`, or a function, see
        there. `fastmlp.losses.Poisson` has the output exp, all others identity.
    {parameters}

    Attributes
    ----------
    {attributes}

    Notes
    -----
    As in scikit-learn, gradients are those of the squared errors' sum over the outputs, and the
    loss that is reported and compared is their mean.

    Examples
    --------
    >>> from fastmlp.sklearn import MLPRegressor
    >>> X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
    >>> model = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0).fit(X, y)
    >>> model.predict([[1.5]]).round(2)
    array([3.])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": REGRESSOR_LOSSES,
        "eval_metric": REGRESSOR_METRICS,
    }
    _numeric_targets = True

    def __init__(
        self,
        loss: str | losses.AnyLoss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        optimizer: str | optimizers.Optimizer | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        callbacks: Sequence[Callback] | None = None,
        dtype: npt.DTypeLike | None = None,
        eval_metric: str | Callable[..., Any] | Metric | None = None,
        l1: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        ema: float | None = None,
        checkpoint: Checkpoint | FilePath | None = None,
        resume: bool = False,
    ) -> None:
        keep(self, locals())

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None
    ) -> "MLPRegressor":
        """Go through the samples once, on top of what has been learned.

        Arguments are those of `fit`.
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the predictions, (n_samples,) or (n_samples, n_outputs)."""
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _learn_outputs(self, y: Any, fresh: bool, incremental: bool) -> Any:
        return self._known_outputs(y)

    def _known_outputs(self, y: Any) -> Any:
        if y.ndim == 2 and y.shape[1] == 1:
            return column_or_1d(y, warn=True)
        return y

    def _output_of(self, y: Array) -> Output:
        width = 1 if y.ndim == 1 else y.shape[1]
        if self.loss == "squared_error":
            loss = losses.MeanSquaredError(scale=width / 2)
            return Output("identity", width, loss, 1 / width)
        if self.loss == "poisson":
            return Output("exp", width, losses.Poisson(deviance=True, scale=width))
        if isinstance(self.loss, losses.Poisson):
            return Output("exp", width, self.loss)
        return Output("identity", width, losses.get(self.loss, "identity"))

    def _targets(self, y: Array) -> Array:
        return np.asarray(y.reshape(len(y), -1))

    def _labels(self, answers: Array) -> Array:
        return answers
