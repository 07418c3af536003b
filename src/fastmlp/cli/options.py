"""What the options of all commands share: paths, names, and how failures are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .console import error

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


@contextmanager
def reported() -> Iterator[None]:
    """Turn what a user can cause into one message and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        error("interrupted")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise  # typer ends quietly when the reader of the output has gone
    except MemoryError as problem:
        error(f"not enough memory. {problem}".strip())
        raise typer.Exit(1) from None
    except OSError as problem:
        if problem.strerror and problem.filename is not None:
            error(f"{problem.filename}: {problem.strerror}")
        else:
            error(str(problem))
        raise typer.Exit(1) from None
    except (ArithmeticError, ImportError, ValueError) as problem:
        error(str(problem))
        raise typer.Exit(1) from None


def path(text: str) -> Path:
    """Read a path; older typer shows this name in the help."""
    return Path(named(text))


def named(text: str) -> str:
    """Read a name that is not empty."""
    if not text:
        raise typer.BadParameter("the name is empty")
    return text
