"""What a training run measured, epoch by epoch."""

from dataclasses import asdict, dataclass, field


@dataclass
class History:
    """One value per finished epoch in every list.

    ``loss`` and ``accuracy`` are means over the epoch's training samples, each taken in its batch
    before that batch's update; the loss's is weighted where samples have weights, and contains the
    penalty of ``l1`` and ``l2``. ``val_loss`` and ``val_accuracy`` are measured after the epoch,
    without a penalty, and stay empty without validation data; both accuracies stay empty for
    regression networks. ``seconds`` is the wall time of the epoch's training, validation excluded.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of finished epochs."""
        return len(self.loss)

    def to_dict(self) -> dict[str, list[float]]:
        """Return the lists as a plain dictionary, ready for JSON."""
        return asdict(self)
