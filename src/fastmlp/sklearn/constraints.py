"""Which values the estimators' parameters may have, as scikit-learn checks them."""

import os
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from .. import losses, optimizers, schedules
from ..checkpoints import Checkpoint
from ..checks import HIDDEN_ACTIVATIONS
from ..eval_metrics import FOR_CLASSES as CLASS_METRICS
from ..eval_metrics import FOR_NUMBERS as NUMBER_METRICS
from ..eval_metrics import Metric

NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
FRACTION = Interval(Real, 0, 1, closed="left")
COUNT = Interval(Integral, 1, None, closed="left")

ACTIVATIONS = {"logistic", *HIDDEN_ACTIVATIONS}

SHARED: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", COUNT],
    "activation": [StrOptions(ACTIVATIONS), "array-like"],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "alpha": [NOT_NEGATIVE],
    "batch_size": [StrOptions({"auto"}), COUNT],
    "learning_rate": [
        StrOptions({"constant", "invscaling", "adaptive"}),
        schedules.Schedule,
        callable,
    ],
    "learning_rate_init": [POSITIVE],
    "power_t": [NOT_NEGATIVE],
    "max_iter": [COUNT],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [NOT_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [FRACTION],
    "beta_1": [FRACTION],
    "beta_2": [FRACTION],
    "epsilon": [POSITIVE],
    "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
    "max_fun": [COUNT],
    "l1": [NOT_NEGATIVE],
    "clip_norm": [POSITIVE, None],
    "max_norm": [POSITIVE, None],
    "ema": [Interval(Real, 0, 1, closed="neither"), None],
    "optimizer": [StrOptions(set(optimizers.NAMES)), optimizers.Optimizer, None],
    "dropout": [FRACTION, "array-like"],
    "input_dropout": [FRACTION],
    "callbacks": ["array-like", None],
    "dtype": [StrOptions({"float32", "float64"}), type, np.dtype, None],
    "checkpoint": [Checkpoint, str, bytes, os.PathLike, None],
    "resume": ["boolean"],
}

FOR_CLASSES = {
    name
    for name, kind in losses.resolve.CLASSES.items()
    if {"sigmoid", "softmax"}.intersection(kind.outputs)
}
CLASSIFIER_LOSSES: list[Any] = [StrOptions({"log_loss", *FOR_CLASSES}), losses.Loss, callable]
REGRESSOR_LOSSES: list[Any] = [
    StrOptions({"squared_error", *(set(losses.NAMES) - FOR_CLASSES)}),
    losses.Loss,
    callable,
]

CLASSIFIER_METRICS: list[Any] = [StrOptions(set(CLASS_METRICS)), Metric, callable, None]
REGRESSOR_METRICS: list[Any] = [StrOptions(set(NUMBER_METRICS)), Metric, callable, None]
