"""Where the commands write: results to standard output, complaints to standard error.

Texts hold ASCII alone, so that they pass through any terminal or log.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TextIO, cast

from rich.console import Console
from rich.text import Text


class _Enduring:
    """A stream that writes into nothing once its reader has gone or its disk is full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> None:
        with self._turning_away():
            self._stream.write(text)

    def flush(self) -> None:
        with self._turning_away():
            self._stream.flush()

    @contextmanager
    def _turning_away(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # What the stream still holds, and would complain of when Python ends, goes there too.
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)


def _console(stream: TextIO | None, *, endures: bool) -> Console:
    if isinstance(stream, io.TextIOWrapper):
        # Names of files may hold bytes that are no text.
        stream.reconfigure(errors="backslashreplace")
    # Python has no stream where the shell has closed it: >&-
    file = cast(IO[str], _Enduring(stream)) if stream is not None and endures else stream
    return Console(
        file=file, stderr=stream is sys.stderr, highlight=False, markup=False, emoji=False
    )


def output(*, endures: bool = False) -> Console:
    """Return a console on the standard output of now.

    One that endures goes on in silence when the output can no longer be written.
    """
    return _console(sys.stdout, endures=endures)


def line(console: Console, text: str | Text) -> None:
    """Print one line that is never wrapped."""
    console.print(text, soft_wrap=True)


def error(message: str) -> None:
    """Print a complaint to standard error."""
    console = _console(sys.stderr, endures=True)
    line(console, Text.assemble(("error: ", "bold red"), message))


def percent(share: float) -> str:
    """Write a share of 1 in percent; a dash when it is undefined (NaN)."""
    return "-" if share != share else f"{100 * share:.2f} %"
