"""What a training run measured, epoch by epoch."""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from .tables import text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTS = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")

SHOWN_ROWS = 20
"""Epochs that `str` shows at most: the first ones and the last."""


@dataclass
class History:
    """One value per finished epoch in every list.

    ``loss`` and ``accuracy`` are means over the epoch's training samples, each taken in its batch
    before that batch's update; the loss's is weighted where samples have weights, and contains the
    penalty of ``l1`` and ``l2``. ``val_loss`` and ``val_accuracy`` are measured after the epoch,
    without a penalty, and stay empty without validation data; both accuracies stay empty for
    regression networks. ``seconds`` is the wall time of the epoch's training, validation excluded.

    ``metrics`` has the list of the eval metric by its name after "val_", where it is none of the
    above. Such a list is an attribute too: ``history.val_f1`` is ``history.metrics["val_f1"]``.
    ``best_epoch`` is the epoch that early stopping took for the best, counted from 1, or None: the
    one whose weights the network has after the fit, unless told not to restore them.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int | None = None

    def __len__(self) -> int:
        """Return the number of finished epochs."""
        return len(self.loss)

    def __getattr__(self, name: str) -> list[float]:
        """Return the list of a metric."""
        # A copy that is being made has no attributes yet.
        metrics: dict[str, list[float]] = self.__dict__.get("metrics", {})
        if name in metrics:
            return metrics[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def to_dict(self) -> dict[str, list[float]]:
        """Return copies of the lists, those of the metrics last, as a plain dictionary for JSON."""
        lists = {name: list(getattr(self, name)) for name in LISTS}
        return lists | {name: list(values) for name, values in self.metrics.items()}

    def table(self, max_rows: int | None = None) -> str:
        """Return a table of the epochs: losses, metrics, seconds and their sum so far.

        The best epoch, if there is one, is marked by a star.

        Parameters
        ----------
        max_rows
            How many epochs to show at most, half of them the first ones; None for all.
        """
        columns = {name: values for name, values in self.to_dict().items() if values}
        times = {"seconds": columns.pop("seconds", [])}
        times["total"] = list(accumulate(times["seconds"]))
        rows = [["epoch", *columns, *times]]
        for index in range(len(self)):
            star = "*" if self.best_epoch == index + 1 else ""
            cells = [f"{values[index]:.4f}" for values in columns.values()]
            cells += [f"{values[index]:.3f}" for values in times.values()]
            rows.append([f"{star}{index + 1}", *cells])
        if max_rows is not None and len(self) > max_rows:
            first = 1 + (max_rows + 1) // 2
            rows[first : len(rows) - max_rows // 2] = [["..."] * len(rows[0])]
        return text_table(rows, ">" * len(rows[0]))

    def __str__(self) -> str:
        """Return a table of the first and the last epochs."""
        return self.table(SHOWN_ROWS)

    def plot(self, title: str | None = None) -> "Figure":
        """Draw the curves, see `fastmlp.plot.training_curves`."""
        from .plot import training_curves

        return training_curves(self, title=title)
