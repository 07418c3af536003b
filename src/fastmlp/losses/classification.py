"""Losses for classes: behind a softmax or a sigmoid, and computed from what goes into it.

In the formulas z are the logits, y the probabilities softmax(z) or sigmoid(z), t the targets, K is
the number of outputs and s(z) = log(1 + exp(z)), so that -log sigmoid(z) = s(-z). Gradients are for
z and for one sample; a batch's loss is the mean over its samples, each with its weight.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks
from .base import (
    Array,
    Factors,
    Kernel,
    Loss,
    check_count,
    check_factors,
    check_not_negative,
    check_positive,
)


@dataclass(frozen=True, repr=False)
class CrossEntropy(Loss):
    """Cross-entropy of a softmax, the default behind one.

    L = -sum_c t'_c log y_c with t' = (1 - e) t + e / K, e the label smoothing (Szegedy et al. 2016,
    "Rethinking the Inception architecture for computer vision", section 7); dL/dz = y - t'.

    Parameters
    ----------
    label_smoothing
        e in [0, 1): how much of each target is spread over all classes.
    class_weight
        A factor of at least 0 for each class, or a dict of class to factor with 1 for the others.
        A sample's weight is multiplied by its class's, for soft targets by their mean
        sum_c t_c class_weight_c, and a batch's loss is the weighted mean: each sample of a class of
        weight 2 counts as if it were there twice.
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    label_smoothing: float = 0.0
    class_weight: tuple[float, ...] | dict[int, float] | None = field(default=None, hash=False)

    name = "cross_entropy"
    outputs = ("softmax",)

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: Iterable[float] | Mapping[int, float] | None = None,
        *,
        scale: float = 1.0,
    ) -> None:
        smoothing = checks.check_real(label_smoothing, "label_smoothing")
        if not 0 <= smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}")
        self._set(
            label_smoothing=smoothing,
            class_weight=_check_class_weight(class_weight),
            scale=check_positive(scale, "scale"),
        )

    def check(self, output: str, n_outputs: int, dtype: np.dtype[Any]) -> None:
        super().check(output, n_outputs, dtype)
        self._class_weights(n_outputs)

    def kernel(self, output: str) -> Kernel:
        return Kernel("softmax_cross_entropy", self.label_smoothing)

    def function(self, output: str) -> tuple[str, dict[str, Any]]:
        # The class weights are part of the samples' weights by then.
        return "softmax_cross_entropy", {"label_smoothing": self.label_smoothing}

    def sample_weights(
        self, targets: Array, sample_weight: Array | None, n_outputs: int
    ) -> Array | None:
        weights = self._class_weights(n_outputs)
        if weights is None:
            return sample_weight
        with np.errstate(over="ignore"):
            if targets.ndim == 1:
                own: Array = weights[targets]
            else:
                # Row by row in one order, which BLAS changes with the number of rows.
                own = np.multiply(targets, weights, order="C").sum(axis=1)
            own = own if sample_weight is None else own * sample_weight
            if own.sum() == np.inf:
                raise ValueError("class_weight makes weights with a sum beyond float64")
        return own

    def _class_weights(self, n_outputs: int) -> Array | None:
        """Return the weight of every class, (n_outputs,) float64."""
        if self.class_weight is None:
            return None
        if not isinstance(self.class_weight, dict):
            check_count(self.class_weight, n_outputs, "class_weight")
            return np.array(self.class_weight, np.float64)
        weights = np.ones(n_outputs)
        for label, weight in self.class_weight.items():
            if label >= n_outputs:
                raise ValueError(f"class_weight names class {label} of {n_outputs}")
            weights[label] = weight
        return weights


def _check_class_weight(
    value: Iterable[float] | Mapping[int, float] | None,
) -> tuple[float, ...] | dict[int, float] | None:
    """Return class weights as floats, those of a mapping in the order of the classes."""
    if isinstance(value, Mapping):
        weights = {}
        for key, weight in value.items():
            label = checks.check_int(key, "a class of class_weight")
            if label < 0:
                raise ValueError(f"class_weight names class {label}: classes count from 0")
            weights[label] = check_not_negative(weight, f"class_weight[{label}]")
        return dict(sorted(weights.items()))
    factors = check_factors(value, "class_weight")
    if isinstance(factors, float):
        raise TypeError(f"class_weight must be a sequence or a dict, got {value!r}")
    if factors is not None and not any(factors):
        raise ValueError("class_weight is 0 for every class")
    return factors


@dataclass(frozen=True, repr=False)
class BinaryCrossEntropy(Loss):
    """Logistic loss of each output of its own, the default behind a sigmoid.

    L = mean_c p_c t_c s(-z_c) + (1 - t_c) s(z_c), p the positive weight;
    dL/dz_c = ((1 - t_c) y_c - p_c t_c (1 - y_c)) / K, which is (y_c - t_c) / K for p = 1.

    Parameters
    ----------
    pos_weight
        Factor of at least 0 of the positive targets, or one for each output: above 1 recall rises
        and precision falls.
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    pos_weight: Factors = None

    name = "binary_cross_entropy"
    outputs = ("sigmoid",)

    def __init__(self, pos_weight: npt.ArrayLike | None = None, *, scale: float = 1.0) -> None:
        self._set(
            pos_weight=check_factors(pos_weight, "pos_weight"),
            scale=check_positive(scale, "scale"),
        )

    def check(self, output: str, n_outputs: int, dtype: np.dtype[Any]) -> None:
        super().check(output, n_outputs, dtype)
        check_count(self.pos_weight, n_outputs, "pos_weight")

    def kernel(self, output: str) -> Kernel:
        return Kernel("binary_cross_entropy", 0.0, self.pos_weight)

    def function(self, output: str) -> tuple[str, dict[str, Any]]:
        return "binary_cross_entropy_with_logits", {"pos_weight": self.pos_weight}


@dataclass(frozen=True, repr=False)
class Focal(Loss):
    """Focal loss (Lin et al. 2017, "Focal loss for dense object detection").

    Cross-entropy whose well classified samples count less, the less the larger gamma is.

    Softmax: L = -sum_c a_c t_c (1 - y_c)^g log y_c; with
    q_c = a_c t_c (g y_c (1 - y_c)^(g - 1) log y_c - (1 - y_c)^g), dL/dz_j = q_j - y_j sum_c q_c.

    Sigmoid: L = mean_c a_c t_c (1 - y_c)^g s(-z_c) + (1 - a_c) (1 - t_c) y_c^g s(z_c);
    dL/dz_c = (-a_c t_c (1 - y_c)^g (g y_c s(-z_c) + 1 - y_c)
    + (1 - a_c) (1 - t_c) y_c^g (g (1 - y_c) s(z_c) + y_c)) / K.

    Parameters
    ----------
    gamma
        g of at least 0. 0 is cross-entropy, to the bit without `alpha`.
    alpha
        Softmax: a factor a_c of at least 0 for each class, or None for 1. Sigmoid: a in [0, 1], or
        one for each output, or None for factors 1 in the place of both a and 1 - a.
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    gamma: float = 2.0
    alpha: Factors = None

    name = "focal"
    outputs = ("softmax", "sigmoid")

    def __init__(
        self, gamma: float = 2.0, alpha: npt.ArrayLike | None = None, *, scale: float = 1.0
    ) -> None:
        self._set(
            gamma=check_not_negative(gamma, "gamma"),
            alpha=check_factors(alpha, "alpha"),
            scale=check_positive(scale, "scale"),
        )

    def check(self, output: str, n_outputs: int, dtype: np.dtype[Any]) -> None:
        super().check(output, n_outputs, dtype)
        if output == "softmax" and isinstance(self.alpha, float):
            raise ValueError(f"alpha must hold a factor for each class, got {self.alpha}")
        check_count(self.alpha, n_outputs, "alpha")
        if output == "sigmoid" and self.alpha is not None and np.max(self.alpha) > 1:
            raise ValueError(f"alpha must be in [0, 1] at a sigmoid output, got {self.alpha}")

    def kernel(self, output: str) -> Kernel:
        if self.gamma == 0 and self.alpha is None:
            plain = "softmax_cross_entropy" if output == "softmax" else "binary_cross_entropy"
            return Kernel(plain)
        name = "softmax_focal" if output == "softmax" else "binary_focal"
        return Kernel(name, self.gamma, self.alpha)

    def function(self, output: str) -> tuple[str, dict[str, Any]]:
        name = "softmax_focal" if output == "softmax" else "binary_focal_with_logits"
        return name, {"gamma": self.gamma, "alpha": self.alpha}


@dataclass(frozen=True, repr=False)
class Dice(Loss):
    """Soft Dice loss: 1 minus the Dice coefficient of probabilities and targets.

    Over the batch (after Milletari et al. 2016, "V-Net", with the smoothing term of practice):
    L = mean_c 1 - D_c, D_c = (2 I_c + e) / (U_c + e), I_c = sum_i w_i y_ic t_ic and
    U_c = sum_i w_i (y_ic + t_ic) over the samples i of the batch with weights w (1 without), e the
    smoothing; dL/dy_ic = w_i (D_c - 2 t_ic) / (K (U_c + e)). Samples are coupled: the loss of a
    batch is not a mean over them.

    Per element: L = mean_c 1 - (2 y_c t_c + e) / (y_c + t_c + e);
    dL/dy_c = (e - 2 t_c (t_c + e)) / (K (y_c + t_c + e)^2). Without smoothing a target of 0 teaches
    nothing: its loss is 1 whatever y is.

    Where a denominator is 0 the loss is 1 and the gradient 0. The activation's derivative takes
    dL/dy to dL/dz: y (1 - y) dL/dy for sigmoid, y_j (dL/dy_j - sum_c y_c dL/dy_c) for softmax.

    Parameters
    ----------
    per
        "batch" or "element".
    smoothing
        e of at least 0.
    scale
        Factor greater than 0 of the loss and its gradient.
    """

    per: str = "batch"
    smoothing: float = 1.0

    name = "dice"
    outputs = ("softmax", "sigmoid")

    def __init__(self, per: str = "batch", smoothing: float = 1.0, *, scale: float = 1.0) -> None:
        if not isinstance(per, str):
            raise TypeError(f"per must be 'batch' or 'element', got {per!r}")
        if per not in ("batch", "element"):
            raise ValueError(f"per must be 'batch' or 'element', got {per!r}")
        self._set(
            per=per,
            smoothing=check_not_negative(smoothing, "smoothing"),
            scale=check_positive(scale, "scale"),
        )

    @property
    def couples_samples(self) -> bool:
        return self.per == "batch"

    def kernel(self, output: str) -> Kernel:
        prefix = "softmax" if output == "softmax" else "binary"
        return Kernel(
            f"{prefix}_{'dice' if self.couples_samples else 'element_dice'}", self.smoothing
        )

    def function(self, output: str) -> tuple[str, dict[str, Any]]:
        name = "softmax_dice" if output == "softmax" else "binary_dice_with_logits"
        return name, {"per": self.per, "smoothing": self.smoothing}
