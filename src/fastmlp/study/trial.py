"""One run of the study: a network trained with one loss, and how well it finds the digit."""

import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..callbacks import Callback
from ..errors import DivergenceError
from ..metrics import average_precision, f1, precision, precision_recall_curve, recall
from ..mlp import MLP
from .task import Task

RECALL_GRID = np.linspace(0, 1, 101)
"""Recalls at which a run's precision-recall curve is kept."""

Record = dict[str, Any]


def best_threshold(y: NDArray[Any], scores: NDArray[Any]) -> float:
    """Return the threshold with the best F1.

    It lies midway between the lowest score that counts as positive and the next one below; of
    equally good ones it is the lowest.
    """
    curve = precision_recall_curve(y, scores)
    # 2 PR / (P + R), which is 0 where nothing is found.
    both = curve.precision[:-1] + curve.recall[:-1]
    values = 2 * curve.precision[:-1] * curve.recall[:-1] / np.where(both > 0, both, 1)
    best = int(np.argmax(values))
    levels = np.asarray(curve.thresholds, dtype=np.float64)
    return float(levels[best] if best == 0 else (levels[best - 1] + levels[best]) / 2)


def curve_on_grid(
    y: NDArray[Any], scores: NDArray[Any], weights: NDArray[np.float64]
) -> list[float]:
    """Return the precision at each recall of `RECALL_GRID`.

    That at the highest threshold which finds at least this share of the positives, as the average
    precision counts it.
    """
    curve = precision_recall_curve(y, scores, sample_weight=weights)
    recalls, precisions = curve.recall[-2::-1], curve.precision[-2::-1]
    # Sums of weights round; a recall of a third must reach 1/3.
    places = np.searchsorted(recalls, RECALL_GRID - 1e-9)
    return [float(value) for value in precisions[np.minimum(places, len(recalls) - 1)]]


def at_threshold(task: Task, scores: NDArray[Any], threshold: float) -> dict[str, float]:
    """Return precision, recall and F1 on the test rows, with their weights."""
    # NumPy would round the threshold to the float32 of the scores, maybe to one that is below it.
    found = np.asarray(scores, dtype=np.float64) >= threshold
    return {
        name: metric(task.y_test, found, sample_weight=task.test_weight)
        for name, metric in (("precision", precision), ("recall", recall), ("f1", f1))
    }


def run_trial(
    task: Task,
    loss: Any,
    *,
    hidden: Iterable[int],
    lr: float,
    epochs: int,
    batch_size: int,
    seed: int,
    callbacks: Iterable[Callback] = (),
) -> Record:
    """Train a network with one sigmoid output and measure it.

    Returns
    -------
    dict
        ``diverged``, ``seconds`` of the training, ``epoch_loss`` (the last one),
        ``validation_average_precision``, ``threshold`` (the best on the validation rows),
        ``average_precision``, ``at_half`` and ``at_best`` (precision, recall and F1 at threshold
        0.5 and at the best one), ``curve`` (precision at `RECALL_GRID`), ``p_positive`` and
        ``p_negative`` (mean probability given to test rows of each class). All of the test part
        but for those of the validation. After a divergence only the first two.
    """
    net = MLP([task.X_train.shape[1], *hidden, 1], seed=seed, loss=loss)
    started = time.perf_counter()
    try:
        history = net.fit(
            task.X_train,
            task.y_train,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            callbacks=callbacks,
        )
    except DivergenceError:
        return {"diverged": True, "seconds": time.perf_counter() - started}
    seconds = time.perf_counter() - started
    validation = net.predict_proba(task.X_valid)[:, 0]
    scores = net.predict_proba(task.X_test)[:, 0]
    threshold = best_threshold(task.y_valid, validation)
    positive = task.y_test > 0
    return {
        "diverged": False,
        "seconds": seconds,
        "epoch_loss": history.loss[-1],
        "validation_average_precision": average_precision(task.y_valid, validation),
        "threshold": threshold,
        "average_precision": average_precision(task.y_test, scores, sample_weight=task.test_weight),
        "at_half": at_threshold(task, scores, 0.5),
        "at_best": at_threshold(task, scores, threshold),
        "p_positive": float(scores[positive].mean(dtype=np.float64)),
        "p_negative": float(scores[~positive].mean(dtype=np.float64)),
        "curve": curve_on_grid(task.y_test, scores, task.test_weight),
    }


def is_complete(record: Record) -> bool:
    """Tell whether a record that was read has all that a run is measured by."""
    if not (isinstance(record.get("diverged"), bool) and _is_number(record.get("seconds"))):
        return False
    if record["diverged"]:
        return True
    curve, parts = record.get("curve"), [record.get("at_half"), record.get("at_best")]
    names = (
        "validation_average_precision",
        "threshold",
        "average_precision",
        "p_positive",
        "p_negative",
    )
    return (
        all(_is_number(record.get(name)) for name in names)
        and all(
            isinstance(part, dict)
            and all(_is_number(part[name], True) for name in ("precision", "recall", "f1"))
            for part in parts
        )
        and isinstance(curve, list)
        and len(curve) == len(RECALL_GRID)
        and all(_is_number(value) for value in curve)
    )


def _is_number(value: object, or_none: bool = False) -> bool:
    if value is None:
        return or_none
    return isinstance(value, int | float) and not isinstance(value, bool)


def without_nan(value: Any) -> Any:
    """Replace NaN, for which JSON has no number, by None."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
