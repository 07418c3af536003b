"""The commands, their options and what each of them may be.

Heavy modules are imported inside the commands, so that `fastmlp --help` is quick.
"""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import Quiet, named, path, reported
from .study import app as study

app = typer.Typer(
    name="fastmlp",
    help="Train and use multi-layer perceptrons on the CPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(study)


class Activation(StrEnum):
    """What a hidden layer can have."""

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    SELU = "selu"
    GELU = "gelu"
    SILU = "silu"
    MISH = "mish"
    SOFTPLUS = "softplus"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    IDENTITY = "identity"


class Precision(StrEnum):
    """What a network can compute in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


class LossName(StrEnum):
    """What can be made small, with its parameters at their defaults."""

    CROSS_ENTROPY = "cross_entropy"
    FOCAL = "focal"
    DICE = "dice"
    MEAN_SQUARED_ERROR = "mean_squared_error"
    MEAN_ABSOLUTE_ERROR = "mean_absolute_error"
    HUBER = "huber"
    POISSON = "poisson"


class OptimizerName(StrEnum):
    """What makes the steps, with its parameters at their defaults."""

    SGD = "sgd"
    ADAM = "adam"
    ADAMW = "adamw"
    RMSPROP = "rmsprop"


def _parse_layers(text: str) -> tuple[int, ...]:
    if not text.strip():
        return ()
    try:
        widths = tuple(int(width) for width in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of widths such as 128,64,32", param_hint="'--layers'"
        ) from None
    if min(widths) < 1:
        raise typer.BadParameter(
            f"{min(widths)} is not a width of 1 or more", param_hint="'--layers'"
        )
    return widths


def _parse_init(text: str) -> str | float:
    try:
        deviation = float(text)
    except ValueError:
        name = text.lower()
        if name in ("he", "glorot", "lecun"):
            return name
    else:
        if math.isfinite(deviation) and deviation > 0:
            return deviation
    raise typer.BadParameter(
        f"{text!r} is neither he, glorot, lecun nor a positive number", param_hint="'--init'"
    )


def _positive(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is not a positive number")
    return value


def _not_negative(value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value} is not a number of at least 0")
    return value


def _chance(value: float) -> float:
    if not 0 <= value < 1:
        raise typer.BadParameter(f"{value} is not a number in [0, 1)")
    return value


def _seed(value: int) -> int:
    if not 0 <= value < 2**64:
        raise typer.BadParameter(f"{value} is not in [0, 2**64)")
    return value


def _print_version(wanted: bool) -> None:
    if wanted:
        import fastmlp

        typer.echo(f"fastmlp {fastmlp.__version__}")
        raise typer.Exit


@app.callback()
def _fastmlp(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


DATA_HELP = "digits, mnist, a .csv, .csv.gz or .npz file, or a folder of IDX files."


@app.command()
def train(
    data: Annotated[
        str, typer.Option(metavar="NAME|PATH", callback=named, help=DATA_HELP)
    ] = "digits",
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=path,
            help="File with the test rows of a --data file. "
            "Without it every fifth row of --data is held out.",
        ),
    ] = None,
    layers: Annotated[
        str, typer.Option(metavar="N,N,...", help='Widths of the hidden layers; "" for none.')
    ] = "128,64,32",
    activation: Annotated[
        Activation,
        typer.Option(
            case_sensitive=False,
            metavar="NAME",
            help=f"Of the hidden layers: {', '.join(Activation)}.",
        ),
    ] = Activation.RELU,
    init: Annotated[
        str,
        typer.Option(
            metavar="NAME|NUMBER",
            help="Initial weights: he, glorot, lecun, or a standard deviation.",
        ),
    ] = "he",
    dtype: Annotated[
        Precision,
        typer.Option(case_sensitive=False, metavar="NAME", help="Precision: float32 or float64."),
    ] = Precision.FLOAT32,
    loss: Annotated[
        LossName | None,
        typer.Option(
            case_sensitive=False,
            metavar="NAME",
            help="For classes cross_entropy, focal or dice; for numbers mean_squared_error, "
            "mean_absolute_error, huber or, for counts, poisson.",
            show_default="cross_entropy; mean_squared_error",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Passes over the data.",
            show_default="20; 100 below 10,000 training rows",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rows of a training step.")
    ] = 32,
    optimizer: Annotated[
        OptimizerName,
        typer.Option(
            case_sensitive=False,
            metavar="NAME",
            help=f"What makes the steps: {', '.join(OptimizerName)}.",
        ),
    ] = OptimizerName.SGD,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            metavar="NUMBER",
            callback=_positive,
            help="Learning rate.",
            show_default="0.01; 0.001 unless the optimizer is sgd",
        ),
    ] = None,
    l2: Annotated[
        float,
        typer.Option(
            "--l2",
            metavar="NUMBER",
            callback=_not_negative,
            help="Factor of the penalty on half the sum of the squares of the weights.",
        ),
    ] = 0.0,
    dropout: Annotated[
        float,
        typer.Option(
            "--dropout",
            metavar="NUMBER",
            callback=_chance,
            help="The chance of an output of the hidden layers to be left out in a step.",
        ),
    ] = 0.0,
    input_dropout: Annotated[
        float,
        typer.Option(
            "--input-dropout", metavar="NUMBER", callback=_chance, help="The same of a feature."
        ),
    ] = 0.0,
    seed: Annotated[
        int,
        typer.Option(metavar="N", callback=_seed, help="Of the initial weights and the shuffling."),
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Threads to use; the result does not depend on it.",
            show_default="all",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            parser=path,
            help="Where model.safetensors, history.json and curves.png go; "
            "those of an earlier run are replaced.",
        ),
    ] = Path("fastmlp-run"),
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=path,
            help="File to keep the state of the training in, renewed every minute and at its end.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the file of --checkpoint, if there is one."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a network; write it, its history and a picture of it to a folder.

    Whole labels are classes, numbered from 0; others are the targets of a regression.

    Ctrl-C, SIGTERM and SIGHUP stop the training and keep what was learned.
    """
    if resume and checkpoint is None:
        raise typer.BadParameter("there is no --checkpoint to go on from", param_hint="'--resume'")
    hidden = _parse_layers(layers)
    initializer = _parse_init(init)
    with reported():
        from .training import Settings, run

        settings = Settings(
            data=data,
            test=test,
            hidden=hidden,
            activation=activation.value,
            init=initializer,
            dtype=dtype.value,
            loss=None if loss is None else loss.value,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer.value,
            lr=lr,
            l2=l2,
            dropout=dropout,
            input_dropout=input_dropout,
            seed=seed,
            threads=threads,
            out=out,
            checkpoint=checkpoint,
            resume=resume,
            quiet=quiet,
        )
        stopped_by = run(settings)
        if stopped_by is not None:
            raise typer.Exit(128 + stopped_by)


@app.command()
def evaluate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", parser=path, help="A .safetensors file of train.")
    ],
    data: Annotated[
        str, typer.Option(metavar="NAME|PATH", callback=named, help=DATA_HELP)
    ] = "digits",
    confusion: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG",
            parser=path,
            help="Write the confusion matrix as a picture to this file.",
        ),
    ] = None,
) -> None:
    """Measure a network on the test part of a data set, or on all rows of a file.

    Prints loss and accuracy, then precision, recall and support of each class.
    """
    with reported():
        from .usage import evaluate_model

        evaluate_model(model, data, confusion)


@app.command()
def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", parser=path, help="A .safetensors file of train.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", parser=path, help="The rows, .csv or .npz.")
    ],
) -> None:
    """Print the predicted label of each row and its probability, as CSV.

    The columns are row,label,probability, with rows counted from 0; row,value for a regression.
    """
    with reported():
        from .usage import predict_rows

        predict_rows(model, file)


@app.command()
def info() -> None:
    """Show the version, the instruction set, the threads and the build."""
    with reported():
        from .usage import show_info

        show_info()
