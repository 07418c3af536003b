"""Tables of text."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], sides: str, rules: Sequence[int] = (1,)) -> str:
    """Return rows of cells, the first with the names of the columns, as lines of text.

    Parameters
    ----------
    rows
        Cells without line breaks.
    sides
        "<" or ">" for each column: where its cells stand.
    rules
        Numbers of the rows that have a rule above them.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        )
        for row in rows
    ]
    for number in sorted(rules, reverse=True):
        lines.insert(number, "-" * len(lines[0]))
    return "\n".join(lines)
