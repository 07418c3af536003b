"""Where the commands write: results to standard output, complaints to standard error.

Texts hold ASCII alone, so that they pass through any terminal or log.
"""

from rich.console import Console
from rich.text import Text


def output() -> Console:
    """Return a console on the standard output of now."""
    return Console(highlight=False, markup=False, emoji=False)


def line(console: Console, text: str | Text) -> None:
    """Print one line that is never wrapped."""
    console.print(text, soft_wrap=True)


def error(message: str) -> None:
    """Print a complaint to standard error."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    line(console, Text.assemble(("error: ", "bold red"), message))


def percent(share: float) -> str:
    """Write a share of 1 in percent; a dash when it is undefined (NaN)."""
    return "-" if share != share else f"{100 * share:.2f} %"


def clock(seconds: float) -> str:
    """Write a duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
