"""`fastmlp study`: its commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Quiet, named, path, reported

app = typer.Typer(
    name="study",
    help="Compare ways of training by experiment.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _study() -> None:
    # A single command would otherwise stand in the place of `study` itself.
    pass


def _parse_numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of numbers such as 0.5,0.25", param_hint=f"'--{option}'"
        ) from None


@app.command()
def losses(
    data: Annotated[
        str, typer.Option(metavar="NAME", callback=named, help="digits or mnist.")
    ] = "digits",
    digit: Annotated[int, typer.Option(metavar="N", help="The digit to tell from all others.")] = 8,
    shares: Annotated[
        str | None,
        typer.Option(
            metavar="X,X,...",
            help="Shares of the training rows that the digit is thinned to.",
            show_default="0.1,0.01; also 0.001 for mnist",
        ),
    ] = None,
    gammas: Annotated[
        str, typer.Option(metavar="X,X,...", help="Exponents of the focal losses.")
    ] = "0.5,1,2,5",
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs of each loss and share.")] = 5,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Passes over the training data.",
            show_default="200; 20 for mnist",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            parser=path,
            help="Where runs, tables and figures go; a study that is there is gone on with.",
        ),
    ] = Path("fastmlp-study"),
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Networks to train at a time; the result does not depend on it.",
            show_default="all",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compare losses where one class is rare: a digit, thinned, against the rest.

    Networks are trained with cross-entropy, dice and focal losses, and measured by precision,
    recall, F1 and average precision. Writes runs.csv, summary.csv, results.json and four figures.

    Ctrl-C, SIGTERM and SIGHUP keep the finished runs; the same command goes on with the others.
    """
    chosen_shares = _parse_numbers(shares, "shares")
    chosen_gammas = _parse_numbers(gammas, "gammas")
    with reported():
        from ..study import Settings, SettingsError
        from .comparing import run

        try:
            settings = Settings(
                data=data,
                digit=digit,
                shares=chosen_shares,
                gammas=chosen_gammas or (),
                seeds=seeds,
                epochs=epochs,
            )
        except SettingsError as error:
            raise typer.BadParameter(error.problem, param_hint=f"'--{error.name}'") from None
        stopped_by = run(settings, out, threads=threads, quiet=quiet)
        if stopped_by is not None:
            raise typer.Exit(128 + stopped_by)
