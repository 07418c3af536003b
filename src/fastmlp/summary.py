"""What a network looks like."""

from collections.abc import Sequence

from . import checks
from .tables import text_table


def summary_table(layers: Sequence[int], activations: Sequence[str]) -> str:
    """Return a table of the layers with their shapes, activations and parameters."""
    rows = [("layer", "shape", "activation", "parameters")]
    rows += [
        (f"dense {number}", f"{fan_in} x {fan_out}", name, f"{(fan_in + 1) * fan_out:,}")
        for number, (fan_in, fan_out, name) in enumerate(
            zip(layers[:-1], layers[1:], activations, strict=True), start=1
        )
    ]
    rows.append(("total", "", "", f"{checks.count_parameters(layers):,}"))
    return text_table(rows, "<><>", rules=(1, len(rows) - 1))
