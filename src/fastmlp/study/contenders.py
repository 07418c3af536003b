"""The losses that are compared, by the names they have in files, tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import losses

PAPER_GAMMA, PAPER_ALPHA = 2.0, 0.25
"""What Lin et al. (2017) recommend for their focal loss."""

BASELINE = "cross-entropy"
"""The name of the contender that the others are held against."""


@dataclass(frozen=True)
class Contender:
    """A loss in the comparison."""

    name: str
    """In files: words joined by hyphens."""
    label: str
    """In tables and figures."""
    make: Callable[[float], Any]
    """Takes the share of positives in the training data, returns what ``fm.MLP(loss=)`` takes."""
    gamma: float | None = None
    """Of the focal losses without alpha, 0 for cross-entropy; None for all others."""


def contenders(gammas: Sequence[float]) -> list[Contender]:
    """Return all losses of a study, focal with each gamma of `gammas`."""
    return [
        Contender(BASELINE, "cross-entropy", lambda share: losses.BinaryCrossEntropy(), gamma=0),
        Contender(
            "weighted-cross-entropy",
            "cross-entropy, positives weighted",
            lambda share: losses.BinaryCrossEntropy(pos_weight=(1 - share) / share),
        ),
        Contender("dice-batch", "dice over the batch", lambda share: losses.Dice()),
        Contender(
            "dice-element",
            "dice per element",
            lambda share: losses.Dice(per="element", smoothing=0.0),
        ),
        *(_focal(gamma) for gamma in gammas),
        Contender(
            f"focal-{PAPER_GAMMA:g}-alpha-{PAPER_ALPHA:g}",
            f"focal, gamma {PAPER_GAMMA:g}, alpha {PAPER_ALPHA:g}",
            lambda share: losses.Focal(gamma=PAPER_GAMMA, alpha=PAPER_ALPHA),
        ),
    ]


def _focal(gamma: float) -> Contender:
    return Contender(
        f"focal-{gamma:g}",
        f"focal, gamma {gamma:g}",
        lambda share: losses.Focal(gamma=gamma),
        gamma=gamma,
    )
