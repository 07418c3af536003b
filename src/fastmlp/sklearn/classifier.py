"""The classifier."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from .. import losses, optimizers
from ..callbacks import Callback
from ..checkpoints import Checkpoint
from ..checks import FilePath
from ..eval_metrics import Metric
from .base import BaseMLP, Output, is_stochastic, keep
from .constraints import CLASSIFIER_LOSSES, CLASSIFIER_METRICS
from .documentation import documented

Array = npt.NDArray[Any]


def _plain(y: Any) -> Array:
    """Return labels as a vector, or an indicator matrix as a dense one."""
    if hasattr(y, "toarray"):
        y = y.toarray()
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return np.asarray(y)


def _binarizer_of(y: Any) -> LabelBinarizer:
    """Return the binarizer of labels, fitted."""
    binarizer = LabelBinarizer()
    if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biu":
        # What scikit-learn finds, but by going through the labels once, not four times. Where there
        # are many it warns.
        classes = np.unique(y)
        if len(classes) <= max(2, len(y) // 2):
            binarizer.classes_ = classes
            binarizer.y_type_ = "multiclass" if len(classes) > 2 else "binary"
            binarizer.sparse_input_ = False
            return binarizer
    return binarizer.fit(y)


OWN = """
    loss
        "log_loss": cross-entropy of a softmax for several classes, of a sigmoid for two and for
        each column of an indicator matrix, there summed over the columns. Or a name or an object of
        `fastmlp.losses`, such as ``CrossEntropy(label_smoothing=0.1)``, or a function, see there;
        two classes get a softmax where the loss needs one.
    class_weight
        A dict of weights by label, 1 for the others; "balanced" for n_samples / (n_classes times
        the number of the class's samples); for an indicator matrix a list of one dict a column.
        Multiplies the weights of the samples."""


@documented(OWN, "the accuracy")
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron that predicts classes, in the place of scikit-learn's.

    Parameters up to `max_fun` are scikit-learn's, with its defaults. Given the same starting
    weights, and with the samples in the same order, it learns what scikit-learn's learns, to
    rounding.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_
        The labels, sorted; the columns of `predict_proba`.
    {attributes}

    Examples
    --------
    >>> from fastmlp.sklearn import MLPClassifier
    >>> X, y = [[0.0, 0.0], [1.0, 1.0]], ["no", "yes"]
    >>> MLPClassifier((5,), solver="lbfgs", random_state=1).fit(X, y).predict([[2.0, 2.0]])
    array(['yes'], dtype='<U3')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": CLASSIFIER_LOSSES,
        "eval_metric": CLASSIFIER_METRICS,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    _numeric_targets = False
    classes_: Array

    def __init__(
        self,
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
        loss: str | losses.AnyLoss = "log_loss",
        class_weight: Mapping[Any, float] | str | None = None,
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
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
    ) -> "MLPClassifier":
        """Go through the samples once, on top of what has been learned.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes
            All labels that will ever come; needed in the first call.
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Any:
        """Return the most probable labels, (n_samples,), or an indicator matrix of them.

        The matrix is sparse if that of the fit was.
        """
        binarizer = self.__dict__.get("_label_binarizer")
        several = binarizer is not None and binarizer.y_type_ == "multiclass"
        # Probabilities of different logits can round to one value.
        outputs = self._outputs(X, logits=several)
        if self.out_activation_ == "softmax":
            return np.asarray(self.classes_[outputs.argmax(axis=1)])
        if self.n_outputs_ == 1:
            outputs = outputs.ravel()
            if len(self.classes_) == 2:
                return np.asarray(self.classes_[(outputs > 0.5).view(np.int8)])
        return self._label_binarizer.inverse_transform(outputs)

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes, (n_samples, n_classes), as in `classes_`."""
        outputs = self._outputs(X)
        if outputs.shape[1] > 1:
            return outputs
        both = np.empty((len(outputs), 2), outputs.dtype)
        np.subtract(1, outputs[:, 0], out=both[:, 0])
        both[:, 1] = outputs[:, 0]
        return both

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def _learn_outputs(self, y: Any, fresh: bool, incremental: bool) -> Any:
        if hasattr(self, "classes_") and (self.warm_start or incremental):
            y = _plain(y)
            if self.warm_start and set(labels := unique_labels(y)) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {labels}"
                )
            return self._known_outputs(y)
        plain = _plain(y)
        # It remembers whether to make predictions sparse.
        self._label_binarizer = _binarizer_of(y if hasattr(y, "toarray") else plain)
        self.classes_ = self._label_binarizer.classes_
        return plain

    def _known_outputs(self, y: Any) -> Any:
        y = _plain(y)
        labels = unique_labels(y)
        if len(np.setdiff1d(labels, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {labels}."
            )
        return y

    def _weights(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use "
                "'balanced' weights, use compute_class_weight('balanced', classes=classes, y=y) "
                "of all samples, and pass the weights as a dict."
            )
        weights = np.asarray(compute_sample_weight(self.class_weight, y))
        return weights if sample_weight is None else weights * sample_weight

    def _output_of(self, y: Array) -> Output:
        kind, width = self._label_binarizer.y_type_, len(self.classes_)
        softmax = kind == "multiclass" or (kind == "binary" and self._needs_softmax())
        activation = "softmax" if softmax else "sigmoid"
        width = width if softmax or kind.startswith("multilabel") else 1
        if self.loss != "log_loss":
            return Output(activation, width, losses.get(self.loss, activation))
        if softmax:
            return Output(activation, width, losses.CrossEntropy())
        return Output(activation, width, losses.BinaryCrossEntropy(scale=width))

    def _needs_softmax(self) -> bool:
        """Return whether the loss is one that a sigmoid cannot have."""
        kind = losses.resolve.CLASSES.get(self.loss) if isinstance(self.loss, str) else self.loss
        outputs = getattr(kind, "outputs", ("sigmoid",))
        return "softmax" in outputs and "sigmoid" not in outputs

    def _targets(self, y: Array) -> Array:
        if self.out_activation_ == "softmax":
            return np.searchsorted(self.classes_, y)
        if y.ndim == 1:
            # The one output is for the second of two labels.
            second = y == self.classes_[1] if len(self.classes_) > 1 else np.zeros(len(y))
            return second.astype(self.network_.dtype)[:, np.newaxis]
        return np.asarray(self._label_binarizer.transform(y), self.network_.dtype)

    def _labels(self, answers: Array) -> Array:
        if answers.ndim == 2:
            return answers
        # The network's one output knows a second label where there is but one, `predict` does not.
        return np.asarray(self.classes_[np.minimum(answers, len(self.classes_) - 1)])

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn may expect of the estimator."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
