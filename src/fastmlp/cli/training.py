"""`fastmlp train`: data, network, fit, and the three files it leaves."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import fastmlp as fm

from .console import line, output, percent
from .files import naming, prepare_folder, write_figure, write_text
from .progress import Reporter
from .stop import Stop

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL, HISTORY, CURVES = "model.safetensors", "history.json", "curves.png"

CHECKPOINT_SECONDS = 60.0
"""How often a checkpoint is written."""


@dataclass(frozen=True)
class Settings:
    """The options of `fastmlp train`; None where the data or the machine decide."""

    data: str
    test: Path | None
    hidden: tuple[int, ...]
    activation: str
    init: str | float
    dtype: str
    loss: str | None
    epochs: int | None
    batch_size: int
    optimizer: str
    lr: float | None
    l2: float
    dropout: float
    input_dropout: float
    seed: int
    threads: int | None
    out: Path
    checkpoint: Path | None
    resume: bool
    quiet: bool


def run(settings: Settings) -> int | None:
    """Train as the settings say, and write the results.

    Returns
    -------
    int or None
        The signal that asked for an end, Ctrl-C's for instance. What was learned is written all
        the same.

    Raises
    ------
    ValueError
        Data or settings that cannot be trained on; a picture that cannot be drawn, after the
        other results are written.
    OSError
        Data that cannot be read, or results that cannot be written; the latter is found out
        before the training starts.
    ModuleNotFoundError
        A library that writes the results is missing.
    DivergenceError
        The loss was not finite. Nothing is written then.
    """
    _require_libraries()
    if settings.threads is not None:
        fm.set_num_threads(settings.threads)
    if settings.test is not None and settings.data in fm.data.NAMES:
        raise ValueError(f"--test: the data set {settings.data} brings its own test part")
    dataset = fm.data.load(settings.data, test=settings.test)
    epochs = settings.epochs or (100 if len(dataset.X_train) < 10_000 else 20)
    lr = settings.lr or (0.01 if settings.optimizer == "sgd" else 0.001)
    settings = replace(settings, epochs=epochs, lr=lr)
    net = build(settings, dataset)
    prepare_folder(settings.out, (MODEL, HISTORY, CURVES))
    # A training must not be lost because nobody looks on any more.
    console = Console(quiet=True) if settings.quiet else output(endures=True)
    _introduce(console, settings, dataset, net)

    kept = None
    if settings.checkpoint is not None:
        kept = fm.Checkpoint(settings.checkpoint, seconds=CHECKPOINT_SECONDS)

    with Stop() as stop:
        started = time.perf_counter()
        try:
            with Reporter(console) as reporter:
                history = net.fit(
                    dataset.X_train,
                    dataset.y_train,
                    epochs=epochs,
                    batch_size=settings.batch_size,
                    lr=lr,
                    optimizer=settings.optimizer,
                    l2=settings.l2,
                    dropout=settings.dropout,
                    input_dropout=settings.input_dropout,
                    validation_data=(dataset.X_test, dataset.y_test),
                    callbacks=[reporter, stop],
                    checkpoint=kept,
                    resume=settings.resume,
                )
        except KeyboardInterrupt:
            assert net.history is not None
            history = net.history
        _keep(console, settings, dataset, net, history, time.perf_counter() - started)
    return stop.number


def _keep(
    console: Console,
    settings: Settings,
    dataset: "fm.data.Dataset",
    net: "fm.MLP",
    history: "fm.History",
    seconds: float,
) -> None:
    """Write what was learned, and tell of it."""
    with naming(settings.out / MODEL):
        net.save(settings.out / MODEL)
    final = {
        "train": net.evaluate(dataset.X_train, dataset.y_train),
        "test": net.evaluate(dataset.X_test, dataset.y_test),
    }
    interrupted = len(history) != settings.epochs
    record = _record(settings, dataset, net)
    record |= {
        "interrupted": interrupted,
        "seconds": seconds,
        "final": final,
        "history": history.to_dict(),
    }
    write_text(settings.out / HISTORY, json.dumps(_finite(record), indent=2) + "\n")
    written = [MODEL, HISTORY]
    failure = None
    if history.loss:
        try:
            write_figure(settings.out / CURVES, lambda: _picture(settings, net, history))
            written.append(CURVES)
        except (OSError, ValueError) as problem:
            failure = problem
    if CURVES not in written:
        # A picture of an earlier run would be taken for this one's.
        with suppress(FileNotFoundError):
            (settings.out / CURVES).unlink()

    if interrupted:
        done = f"{len(history)} of {settings.epochs} epochs"
        line(console, f"Interrupted after {done}; what was learned is kept.")
    else:
        line(console, f"Trained in {seconds:.1f} s.")
    _conclude(console, history, final)
    line(console, f"Wrote {', '.join(written)} to {settings.out}")
    if failure is not None:
        raise failure


def _require_libraries() -> None:
    """Find out before the training that its results can be written."""
    for library, product in (("safetensors", MODEL), ("matplotlib", CURVES)):
        if find_spec(library) is None:
            raise ModuleNotFoundError(
                f"{product} needs {library}: pip install 'fastmlp[cli]'", name=library
            )


def build(settings: Settings, dataset: "fm.data.Dataset") -> "fm.MLP":
    """Make the network whose input and output fit the data."""
    width, output_activation = _head(settings, dataset)
    if output_activation == "identity" and settings.loss == "poisson":
        output_activation = "exp"
    return fm.MLP(
        [dataset.X_train.shape[1], *settings.hidden, width],
        [settings.activation] * len(settings.hidden) + [output_activation],
        init=settings.init,
        dtype=settings.dtype,
        seed=settings.seed,
        loss=settings.loss,
    )


def _head(settings: Settings, dataset: "fm.data.Dataset") -> tuple[int, str]:
    """Width and activation of the output layer that the training labels ask for."""
    train, test = dataset.y_train, dataset.y_test
    test_source = settings.data if settings.test is None else str(settings.test)
    if train.ndim == 2:
        if not _are_shares(train):
            return train.shape[1], "identity"
        if not _are_shares(test):
            raise ValueError(
                f"{test_source}: the training labels are rows of probabilities, the test labels not"
            )
        n_classes = train.shape[1]
    elif train.dtype.kind == "f":
        return 1, "identity"
    else:
        for labels, source in ((train, settings.data), (test, test_source)):
            if labels.min() < 0:
                raise ValueError(
                    f"{source}: classes are numbered from 0, one label is {labels.min()}"
                )
        n_classes = int(train.max()) + 1
        if settings.test is None:
            # The rows held out may be the only ones of a class.
            n_classes = max(n_classes, int(test.max()) + 1)
        elif test.max() >= n_classes:
            raise ValueError(
                f"{test_source}: one label is {test.max()}, those of the training rows are "
                f"0 to {n_classes - 1}"
            )
        if n_classes > len(train):
            raise ValueError(
                f"{settings.data}: classes are numbered from 0 without gaps, yet one label is "
                f"{n_classes - 1} though there are only {len(train):,} training rows"
            )
    if (train == train[0]).all():
        raise ValueError(f"{settings.data}: the labels hold one class only")
    return n_classes, "softmax"


def _are_shares(labels: NDArray[Any]) -> bool:
    """Whether every row holds the probabilities of the classes, one-hot rows included."""
    return bool((labels >= 0).all() and np.allclose(labels.sum(axis=1), 1, atol=1e-3))


def _introduce(
    console: Console, settings: Settings, dataset: "fm.data.Dataset", net: "fm.MLP"
) -> None:
    rows = f"{len(dataset.X_train):,} training and {len(dataset.X_test):,} test rows"
    threads = fm.get_num_threads()
    line(console, f"Data     {settings.data}: {rows} of {net.n_inputs:,} features")
    line(
        console,
        f"Network  {_widths(net)}, {settings.activation} and {net.activations[-1]}, "
        f"{net.n_parameters:,} parameters",
    )
    if settings.loss is not None:
        line(console, f"Loss     {settings.loss}")
    line(
        console,
        f"Compute  {net.dtype.name}, {fm.get_isa()}, {threads} thread{'s'[: threads != 1]}",
    )


def _conclude(
    console: Console, history: "fm.History", final: Mapping[str, Mapping[str, float]]
) -> None:
    names = {"loss": "loss", "accuracy": "accuracy", "r2": "R2"}
    table = Table.grid(padding=(0, 3))
    table.add_column()
    measures = list(final["train"])
    for _ in measures:
        table.add_column(justify="right")
    table.add_row("", *(names[measure] for measure in measures), style="dim")
    for part, values in final.items():
        cells = [
            percent(value) if measure == "accuracy" else f"{value:.4g}"
            for measure, value in values.items()
        ]
        table.add_row(part, *cells)
    console.print(table)
    if history.val_accuracy:
        best = max(history.val_accuracy)
        epoch = history.val_accuracy.index(best) + 1
        line(console, f"Best test accuracy {percent(best)}, in epoch {epoch}.")


def _widths(net: "fm.MLP") -> str:
    return "-".join(str(width) for width in net.layers)


def _record(settings: Settings, dataset: "fm.data.Dataset", net: "fm.MLP") -> dict[str, Any]:
    """Return what history.json says of how the network was trained."""
    options = asdict(settings)
    for name in ("out", "checkpoint", "resume", "quiet"):
        del options[name]
    options["test"] = None if settings.test is None else str(settings.test)
    options["threads"] = fm.get_num_threads()
    return {
        "fastmlp": fm.__version__,
        "settings": options,
        "data": {
            "train_rows": len(dataset.X_train),
            "test_rows": len(dataset.X_test),
            "features": net.n_inputs,
        },
        "network": {
            "layers": list(net.layers),
            "activations": list(net.activations),
            "parameters": net.n_parameters,
        },
        "isa": fm.get_isa(),
    }


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for, a loss that is NaN or infinite, by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _picture(settings: Settings, net: "fm.MLP", history: "fm.History") -> "Figure":
    from fastmlp.plot import training_curves

    title = (
        f"{_widths(net)} on {Path(settings.data).name}  \N{MIDDLE DOT}  "
        f"batch {settings.batch_size}  \N{MIDDLE DOT}  learning rate {settings.lr:g}"
    )
    return training_curves(history, title=title)
