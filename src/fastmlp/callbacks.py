"""Hooks that `fit` calls while it trains."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .history import History
    from .mlp import MLP


class Progress(NamedTuple):
    """Where a fit stands within an epoch."""

    epoch: int
    """The epoch being trained, counted from 1 within this fit."""
    epochs: int
    """The epochs this fit was asked for."""
    samples: int
    """Samples of this epoch that have been trained on."""
    n_samples: int
    """Samples in an epoch; 0 in the first epoch of `fastmlp.data.Batches`, which do not tell."""
    loss: float
    """Mean training loss of the epoch so far; NaN as long as all weights of samples are 0."""
    accuracy: float
    """Training accuracy of the epoch so far; NaN for regression networks."""
    seconds: float
    """Wall time since the epoch began."""


class Callback:
    """Base class of callbacks: override what you need.

    An exception raised by a hook ends the fit and reaches the caller; the weights learned so far
    stay in the network.
    """

    def on_fit_begin(self, net: "MLP", epochs: int, n_samples: int) -> None:
        """Run once, after the arguments were checked and before the first epoch.

        `n_samples` is as in `Progress`.
        """

    def on_progress(self, net: "MLP", progress: Progress) -> None:
        """Run a few times a second, and once when an epoch's last batch is done.

        Weights and biases can be read, and are those after the update of some batch; they are
        read-only meanwhile, since the engine holds copies of parts of them for the length of an
        epoch. `on_epoch_end` may change them.
        """

    def on_epoch_end(self, net: "MLP", history: "History") -> bool | None:
        """Run after each epoch, validation included; returning True stops the fit."""
        return None

    def on_fit_end(self, net: "MLP", history: "History") -> None:
        """Run once at the end, also when the fit was interrupted."""
