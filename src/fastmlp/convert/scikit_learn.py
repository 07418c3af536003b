"""Networks that scikit-learn has fitted."""

from typing import Any

from ..mlp import MLP
from .common import library, network

ACTIVATIONS = {
    "identity": "identity",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
    "exp": "exp",
}
"""Names of fastmlp by those of scikit-learn."""


def from_sklearn(estimator: Any) -> MLP:
    """Return a fitted MLPClassifier or MLPRegressor of scikit-learn as a network.

    Its outputs are the estimator's, to rounding, in the dtype of `coefs_`, which is that of the X
    it was fitted on. What differs is how they are handed over:

    - Networks predict indices, estimators labels: ``estimator.classes_[net.predict(X)]``, for
      strings too. Multi-label predictions and those of regressors are the same as they are.
    - ``net.predict_proba(X)`` has one column for two classes, the second of the estimator's two.
    - Networks scale features of uint8 by 1/255, scikit-learn does not: pass them as floats.

    `fit` goes on from these weights with the default loss of the output; the estimator's penalty
    (`alpha`) and the state of its optimizer stay behind.

    Parameters
    ----------
    estimator
        The fitted estimator; of a pipeline its last step, with X as the steps before it return it.

    Raises
    ------
    TypeError
        When `estimator` is something else.
    sklearn.exceptions.NotFittedError
        When it has not been fitted.
    ValueError
        When a weight is not finite, or weights do not fit together.
    ModuleNotFoundError
        Without scikit-learn.
    """
    advice = "from_sklearn needs scikit-learn: pip install 'fastmlp[sklearn]'"
    estimators = library("sklearn.neural_network", advice)
    validation = library("sklearn.utils.validation", advice)
    if not isinstance(estimator, estimators.MLPClassifier | estimators.MLPRegressor):
        raise TypeError(
            f"estimator must be an MLPClassifier or MLPRegressor of scikit-learn, "
            f"got {type(estimator).__name__}"
        )
    validation.check_is_fitted(estimator, "coefs_")
    hidden = [ACTIVATIONS[estimator.activation]] * (len(estimator.coefs_) - 1)
    activations = [*hidden, ACTIVATIONS[estimator.out_activation_]]
    net = network(estimator.coefs_, estimator.intercepts_, activations, "estimator")
    net.trained_on = net.dtype.name
    return net
