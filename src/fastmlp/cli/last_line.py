"""The line in which a command shows how far it has come."""

from types import TracebackType
from typing import Self

from rich.console import Console

from fastmlp.progress import MovingLine


class LastLine:
    """A console whose last line moves where it is a terminal, while the context lasts.

    `_live` is that line, and None elsewhere.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: MovingLine | None = None
        if console.is_terminal and not console.is_dumb_terminal and not console.quiet:
            self._live = MovingLine(console.file)

    def __enter__(self) -> Self:
        """Take over the terminal's last line."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the terminal back, without what the line showed last."""
        if self._live:
            self._live.clear()
