"""fastmlp's networks as scikit-learn's estimators.

`MLPClassifier` and `MLPRegressor` take the place of those of `sklearn.neural_network`: the same
parameters, methods and fitted attributes with the same meaning, and from the same starting weights
they learn the same. What scikit-learn's lack are keyword-only parameters after its own.

>>> from fastmlp.sklearn import MLPClassifier  # in place of sklearn.neural_network
>>> clf = MLPClassifier((100,), random_state=0, dropout=0.2)

Needs scikit-learn 1.6 or later.
"""

try:
    import sklearn.utils.validation as _validation
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "sklearn":
        raise
    raise ModuleNotFoundError(
        "fastmlp.sklearn needs scikit-learn: pip install 'fastmlp[sklearn]'", name="sklearn"
    ) from error
if not hasattr(_validation, "validate_data"):
    raise ImportError(
        "fastmlp.sklearn needs scikit-learn 1.6 or later: pip install -U scikit-learn"
    )

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
