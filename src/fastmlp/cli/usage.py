"""`fastmlp evaluate`, `predict` and `info`: what one does with a trained network."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import fastmlp as fm

from .console import line, output, percent
from .files import check_target, naming, write_figure

_STDOUT = "standard output"

_ROWS = 4096
"""Rows that are predicted and printed at a time."""


def evaluate_model(model: Path, data: str, confusion: Path | None) -> None:
    """Print how good a network is on a data set, and write its confusion matrix if asked for.

    Raises
    ------
    ValueError
        A broken model or data, or data that the network does not fit.
    OSError
        A file that cannot be read or written.
    """
    net = fm.load(model)
    n_classes = _count_classes(net)
    if confusion is not None:
        if n_classes is None:
            raise ValueError("--confusion: the network does not choose between classes")
        check_target(confusion, "--confusion")
    X, y, part = _measured_rows(data)
    X = _as_trained(net, X, data)
    try:
        measures = net.evaluate(X, y)
    except ValueError as problem:
        raise ValueError(f"{data} does not fit {model}: {problem}") from None

    console = output()
    with naming(_STDOUT):
        line(console, f"{model} on {part} of {data}: {len(X):,} rows")
        for name, text in (
            ("loss", f"{measures['loss']:.4g}"),
            ("accuracy", percent(measures.get("accuracy", np.nan))),
            ("r2", f"{measures.get('r2', np.nan):.4f}"),
        ):
            if name in measures:
                line(console, f"{'R2' if name == 'r2' else name:9} {text}")
    if n_classes is None:
        return
    true, predicted = _as_classes(y), net.predict(X)
    with naming(_STDOUT):
        console.print(_class_table(true, predicted, n_classes))
    if confusion is not None:
        from fastmlp.metrics import confusion_matrix
        from fastmlp.plot import confusion_figure

        matrix = confusion_matrix(true, predicted, n_classes)
        title = f"{percent(measures['accuracy'])} of {len(X):,} rows correct"
        write_figure(confusion, lambda: confusion_figure(matrix, title=title))
        with naming(_STDOUT):
            line(console, f"Wrote {confusion}")


def predict_rows(model: Path, file: Path) -> None:
    """Print a CSV line of the prediction for each row of a file.

    Raises
    ------
    ValueError
        A broken model or file, or rows of another width than the network takes.
    OSError
        A file that cannot be read, or output that cannot be written.
    """
    net = fm.load(model)
    X = _as_trained(net, fm.data.read_features(file, net.n_inputs), str(file))
    out: TextIO | None = sys.stdout
    if out is None:
        raise OSError("standard output is closed")
    for text in _predictions(net, X):
        with naming(_STDOUT):
            out.write(text)
    with naming(_STDOUT):
        out.flush()


def show_info() -> None:
    """Print the version, the machine's side and the build of fastmlp."""
    table = Table.grid(padding=(0, 3))
    for name, value in fm.config().items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        table.add_row(name.replace("_", " "), text)
    with naming(_STDOUT):
        output().print(table)


def _count_classes(net: "fm.MLP") -> int | None:
    """Return how many classes a network chooses between, None if it does something else."""
    if net.activations[-1] == "softmax":
        return net.n_outputs
    return 2 if net.activations[-1] == "sigmoid" and net.n_outputs == 1 else None


def _measured_rows(data: str) -> tuple[NDArray[Any], NDArray[Any], str]:
    """Return samples and labels to measure on, and a word for what they are."""
    if data not in fm.data.NAMES:
        try:
            return *fm.data.read(data), "all rows"
        except ValueError:
            # Either it brings a test part, or it is broken, which the following repeats.
            pass
    dataset = fm.data.load(data)
    return dataset.X_test, dataset.y_test, "the test part"


def _as_trained(net: "fm.MLP", X: NDArray[Any], source: str) -> NDArray[Any]:
    """Return samples on the scale of those the network was trained on.

    The loaders judge each file by itself: one of whole numbers 0 to 255 comes as uint8, which
    networks scale by 1/255, although the file trained on may have held other numbers as well.
    """
    if X.dtype == np.uint8 and net.trained_on in ("float32", "float64"):
        return X.astype(net.trained_on)
    if X.dtype != np.uint8 and net.trained_on == "uint8" and X.max() > 1:
        raise ValueError(
            f"{source}: the network was trained on whole numbers 0 to 255, which it takes as such "
            f"or divided by 255; here are other numbers, the largest is {X.max():g}"
        )
    return X


def _as_classes(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return class indices from class indices, rows of probabilities, or one probability."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return np.asarray(labels.argmax(axis=1))
    flat = labels.reshape(-1)
    return (flat if flat.dtype.kind in "iub" else flat > 0.5).astype(np.int64)


def _class_table(true: NDArray[Any], predicted: NDArray[Any], n_classes: int) -> Table:
    from fastmlp.metrics import precision_recall_support

    table = Table(box=None, padding=(0, 3, 0, 0))
    for name in ("class", "precision", "recall", "support"):
        table.add_column(name, justify="right")
    scores = zip(*precision_recall_support(true, predicted, n_classes), strict=True)
    for index, (precision, recall, support) in enumerate(scores):
        table.add_row(str(index), percent(precision), percent(recall), f"{support:,}")
    return table


def _predictions(net: "fm.MLP", X: NDArray[Any]) -> Iterator[str]:
    """Yield the text of the CSV, its head first, a block of lines at a time."""
    n_classes = _count_classes(net)
    probabilities = net.activations[-1] in ("softmax", "sigmoid")
    if n_classes is not None:
        yield "row,label,probability\n"
    else:
        name = "probability" if probabilities else "value"
        columns = [name] if net.n_outputs == 1 else [f"{name}_{i}" for i in range(net.n_outputs)]
        yield f"row,{','.join(columns)}\n"
    for start in range(0, len(X), _ROWS):
        block = X[start : start + _ROWS]
        values = (net.predict_proba if probabilities else net.predict)(block)
        values = values.reshape(len(block), -1)
        if n_classes is not None:
            if net.n_outputs == 1:
                values = np.hstack([1 - values, values])
            labels = values.argmax(axis=1)
            chosen = values[np.arange(len(block)), labels]
            rows = (
                f"{label},{probability:.6f}"
                for label, probability in zip(labels.tolist(), chosen.tolist(), strict=True)
            )
        else:
            shown = ".6f" if probabilities else ".9g"
            rows = (",".join(f"{value:{shown}}" for value in row) for row in values.tolist())
        yield "".join(f"{row},{text}\n" for row, text in enumerate(rows, start))
