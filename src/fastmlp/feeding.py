"""How samples reach training and measuring: all at once, by blocks, or batch by batch."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import checks
from .ahead import read_ahead
from .checks import Features
from .eval_metrics import EvalMetric
from .mapped import in_memory, mapping_of, reading
from .measuring import ALL_ZERO, Measures
from .samples import Samples, check_targets, samples_of
from .sources import Batches, Blocks
from .sparse import SparseRows

if TYPE_CHECKING:
    from .base import MLP
    from .fitting import Totals, Training
    from .optimizers import State
    from .reporting import Reporter

Array = npt.NDArray[Any]

BLOCK_BYTES = 2**26
"""Of a block's features, unless the caller says how many rows it has: as much as C libraries give
back to the system when it is freed."""

FIRST_ROWS = 64
"""Rows of a block that are looked at before a fit begins."""

COLLECTED_BYTES, COLLECTED_SECONDS = 2**22, 0.1
"""Up to which batches are collected for one call of the engine."""

REPORT_SECONDS = 0.1
"""How often progress is reported between calls of the engine."""

DTYPE_NAMES = {np.dtype(name): name for name in ("uint8", "float32", "float64")}
"""NumPy makes up the name of a dtype each time it is asked for."""

ORDER_OF_BLOCKS = 1
"""The epoch's order of its blocks; orders from the next one on are those within the blocks."""


class Part(NamedTuple):
    """Samples that are trained on in one call of the engine."""

    samples: Samples
    batch_size: int
    order: int | None
    """Which of the epoch's orders they are taken in; None: as they stand."""
    first: int = 0
    """Those that are done."""


class Feed(ABC):
    """What a fit trains on, or what is measured on, part by part."""

    n_samples: int
    """In an epoch; 0 as long as that is not known."""

    largest_rate = 0.0
    """Of the learning rates of the last epoch, or of its parts so far."""

    weighted = False
    """Whether it is known to have weights of samples."""

    ahead = 0
    """Parts that are made while others are used."""

    def __init__(self) -> None:
        self._failure: Exception | None = None

    @abstractmethod
    def parts(
        self, net: "MLP", batch_size: int, shuffle: bool, samples: int, steps: int
    ) -> Generator[Part]:
        """Make the parts of an epoch of which so many samples, and steps, are done."""

    @abstractmethod
    def describe(self, net: "MLP") -> dict[str, Any]:
        """Return what tells the samples, and how they are fed, from others, ready for JSON."""

    def steps(self, batch_size: int) -> int:
        """Return the steps of an epoch; 0 where that is not known."""
        return -(-self.n_samples // batch_size)

    def check_epochs(self, epochs: int) -> None:  # noqa: B027  most can be gone through again
        """Refuse more epochs than there can be."""

    def is_to_blame(self, error: Exception) -> bool:
        """Whether an exception was raised by the data, or by a loss that is a Python function."""
        return self._failure is error

    def _opened(
        self, net: "MLP", batch_size: int, shuffle: bool, samples: int = 0, steps: int = 0
    ) -> AbstractContextManager[Iterator[Part]]:
        """Make a context with the parts of an epoch."""

        def watched() -> Generator[Part]:
            try:
                yield from self.parts(net, batch_size, shuffle, samples, steps)
            except Exception as error:
                self._failure = error
                raise

        return read_ahead(watched(), self.ahead)

    def train(
        self, net: "MLP", training: "Training", state: "State", report: "Reporter"
    ) -> "Totals":
        """Train on every sample once, but for those done before, and return the epoch's totals.

        StopTraining where a callback asks for the end in between.
        """
        totals = training.before
        self.largest_rate = 0.0
        done = totals.samples, totals.steps
        with self._opened(net, training.batch_size, training.shuffle, *done) as parts:
            for samples, batch_size, order, first in parts:
                if totals.samples and perf_counter() - report.told >= REPORT_SECONDS:
                    report(*totals)
                report.begin_part(totals)
                net.trained_on = DTYPE_NAMES[samples.X.dtype]
                n_steps = -(-(len(samples) - first) // batch_size)
                options = training.but(
                    rates=self._rates(training, totals.steps, n_steps),
                    batch_size=batch_size,
                    shuffle=order is not None,
                    part=order or 0,
                    first=first,
                    before=totals,
                )
                try:
                    totals = net._train_epoch(samples, options, state, report)
                except Exception as error:
                    if samples.python_loss and samples.python_loss.failure is error:
                        self._failure = error
                    raise
                report.end_part(totals)
                del samples
        if not totals.weight:
            self._failure = ValueError(ALL_ZERO)
            raise self._failure
        self.n_samples = totals.samples
        return totals

    def _rates(self, training: "Training", done: int, count: int) -> Array:
        """Return the learning rates of steps after those of the epoch that are done."""
        try:
            rates = training.lr.of_steps(training.first_step + done, count)
        except Exception as error:
            self._failure = error
            raise
        self.largest_rate = max(self.largest_rate, training.lr.largest)
        return rates

    def measure(self, net: "MLP", metric: EvalMetric | None = None) -> dict[str, float]:
        """Return what `evaluate` does."""
        measures = Measures(net, metric)
        try:
            with self._opened(net, 1, False) as parts:
                for part in parts:
                    measures.add(part.samples)
                    del part
            return measures.result()
        except Exception as error:
            self._failure = error
            raise


class Whole(Feed):
    """Samples that are in memory, or that the engine reads where they lie.

    Parameters
    ----------
    samples
        The samples.
    """

    def __init__(self, samples: Samples) -> None:
        super().__init__()
        self.samples = samples
        self.n_samples = len(samples)
        self.weighted = samples.sample_weight is not None

    def parts(
        self, net: "MLP", batch_size: int, shuffle: bool, samples: int, steps: int
    ) -> Generator[Part]:
        if samples < self.n_samples:
            yield Part(self.samples, batch_size, 0 if shuffle else None, samples)

    def _opened(
        self, net: "MLP", batch_size: int, shuffle: bool, samples: int = 0, steps: int = 0
    ) -> AbstractContextManager[Iterator[Part]]:
        # There is nothing to read that could fail.
        return nullcontext(self.parts(net, batch_size, shuffle, samples, steps))

    def describe(self, net: "MLP") -> dict[str, Any]:
        return self.samples.describe()


class BlockFeed(Feed):
    """`Blocks`, for a network.

    Parameters
    ----------
    net
        The network.
    blocks
        What to read.
    prefix
        Of the names of X, y and sample_weight in messages.
    """

    def __init__(self, net: "MLP", blocks: Blocks, prefix: str = "") -> None:
        super().__init__()
        self._blocks = blocks
        self._prefix = prefix
        self.n_samples = len(blocks)
        self.weighted = blocks.sample_weight is not None
        self.ahead = blocks.prefetch
        self._buffers: deque[Array] = deque()
        self._dtype: np.dtype[Any] | None = None
        first = self._features(net, 0, min(FIRST_ROWS, self.n_samples))
        self._rows = blocks.rows or max(1, BLOCK_BYTES * len(first) // max(1, first.nbytes))

    def parts(
        self, net: "MLP", batch_size: int, shuffle: bool, samples: int, steps: int
    ) -> Generator[Part]:
        n_samples = self.n_samples
        rows = max(1, self._rows // batch_size) * batch_size
        n_blocks = -(-n_samples // rows)
        blocks = list(range(n_blocks))
        if shuffle:
            blocks = net._order(n_blocks, ORDER_OF_BLOCKS).tolist()
        # The epoch's last block has what remains, wherever in the file it lies, so that no other
        # has a batch that is not full.
        last, rest = blocks[-1], n_samples - (n_blocks - 1) * rows
        for block in blocks:
            start = block * rows if block <= last else (block - 1) * rows + rest
            stop = start + (rest if block == last else rows)
            order = ORDER_OF_BLOCKS + 1 + block if shuffle else None
            if samples < stop - start:
                yield Part(self._read(net, start, stop), batch_size, order, samples)
            samples = max(0, samples - (stop - start))

    def describe(self, net: "MLP") -> dict[str, Any]:
        n_samples = self.n_samples
        ends = [(0, min(FIRST_ROWS, n_samples)), (max(0, n_samples - FIRST_ROWS), n_samples)]
        found = [self._read(net, *rows).describe()["digest of some samples"] for rows in ends]
        return {
            "X": f"Blocks of {n_samples} x {net.n_inputs}, {self._dtype}",
            "rows of a block": self._rows,
            "digests of the first and the last samples": found,
        }

    def outputs(self, net: "MLP", logits: bool) -> Array:
        """Return the network's output for all samples, as `_output` does."""
        output = np.empty((self.n_samples, net.n_outputs), net.dtype)

        def blocks() -> Generator[tuple[int, Features]]:
            for start in range(0, self.n_samples, self._rows):
                stop = min(start + self._rows, self.n_samples)
                yield start, self._features(net, start, stop)

        with read_ahead(blocks(), self.ahead) as found:
            for start, features in found:
                output[start : start + len(features)] = net._output(features, logits)
                del features
        return output

    def _name(self, name: str, start: int, stop: int) -> str:
        """Return what to call rows in messages: an expression that is them."""
        return f"{self._prefix}{name}[{start}:{stop}]"

    def _features(self, net: "MLP", start: int, stop: int) -> Features:
        rows, name = self._blocks.X[start:stop], self._name("X", start, stop)
        with reading(rows):
            features = _check_features(net, rows, name)
            if len(features) != stop - start:
                raise ValueError(f"{name} has {len(features)} rows, not {stop - start}")
            self._dtype = self._dtype or features.dtype
            _check_scaling(name, features.dtype, "the first rows are", self._dtype)
            if isinstance(features, SparseRows) or mapping_of(features) is None:
                return features
            # Memory that has been used costs half of the time that new memory does.
            buffer = self._buffers.popleft() if len(self._buffers) > self.ahead else features[:0]
            if len(buffer) < len(features) or buffer.dtype != features.dtype:
                buffer = np.empty_like(features, subok=False)
            self._buffers.append(buffer)
            copy = buffer[: len(features)]
            copy[...] = features
            return copy

    def _read(self, net: "MLP", start: int, stop: int) -> Samples:
        features = self._features(net, start, stop)
        y, weights = (
            None if array is None else array[start:stop]
            for array in (self._blocks.y, self._blocks.sample_weight)
        )
        y_name, weight_name = (self._name(name, start, stop) for name in ("y", "sample_weight"))
        with reading(y), reading(weights):
            checked = check_targets(
                net, y, weights, len(features), y_name, weight_name, all_zero=True
            )
            return samples_of(net, features, *map(in_memory, checked))


def _check_features(net: "MLP", X: Any, name: str) -> Features:
    """Return samples as the networks take them.

    This runs beside the engine, which takes a call of its own in another thread for one that needs
    a core: so NumPy looks for what is not finite.
    """
    features = checks.check_features(X, net.n_inputs, net.dtype, name)
    checks.check_finite(features, name, net.dtype)
    return features


def _check_scaling(name: str, dtype: np.dtype[Any], what_was: str, first: np.dtype[Any]) -> None:
    """Refuse samples that are scaled in another way than the first."""
    if (dtype == np.uint8) != (first == np.uint8):
        raise TypeError(
            f"{name} is {dtype}, {what_was} {first}: uint8 is scaled by 1/255 and others are not"
        )


class Piece(NamedTuple):
    """A batch as an iterator brought it, checked and copied."""

    X: Features
    y: Array
    sample_weight: Array | None

    def goes_with(self, others: "list[Piece]") -> bool:
        """Whether a batch can follow others in one call of the engine."""
        first = others[0]
        return (
            len(self.X) <= len(first.X)
            and self.X.dtype == first.X.dtype
            and isinstance(self.X, SparseRows) == isinstance(first.X, SparseRows)
            and self.y.ndim == first.y.ndim
            and (self.sample_weight is None) == (first.sample_weight is None)
        )


def _joined(pieces: list[Piece]) -> Piece:
    """Return batches one after the other, copied."""
    X, y, weights = zip(*pieces, strict=True)
    return Piece(
        SparseRows.concatenated(X) if isinstance(X[0], SparseRows) else np.concatenate(X),
        np.concatenate(y),
        None if weights[0] is None else np.concatenate(weights),
    )


class BatchFeed(Feed):
    """`Batches`, for a network.

    Parameters
    ----------
    net
        The network.
    batches
        Where they come from.
    prefix
        Of names in messages.
    """

    def __init__(self, batches: Batches, prefix: str = "") -> None:
        super().__init__()
        self._batches = batches
        self._prefix = prefix
        self._dtype: np.dtype[Any] | None = None
        self.n_samples = 0
        self.ahead = batches.prefetch

    def steps(self, batch_size: int) -> int:
        return self._batches.per_epoch

    def describe(self, net: "MLP") -> dict[str, Any]:
        return {"X": "Batches"}

    def check_epochs(self, epochs: int) -> None:
        if self._batches.only_once and epochs > 1:
            raise ValueError(
                f"{self._prefix}Batches was given an iterator, which can be gone through once, "
                f"for {epochs} epochs: give it a function that returns a new one"
            )

    def parts(
        self, net: "MLP", batch_size: int, shuffle: bool, samples: int, steps: int
    ) -> Generator[Part]:
        batches = iter(self._batches)
        try:
            yield from self._parts_of(net, batches, steps)
        finally:
            if isinstance(batches, Generator):
                batches.close()

    def _parts_of(self, net: "MLP", batches: Iterator[Any], steps: int) -> Generator[Part]:
        number = sum(1 for _ in islice(batches, steps)) - 1
        if number + 1 < steps:
            raise ValueError(
                f"{self._prefix}Batches: the iterator brought {number + 1} batches, "
                f"the epoch that is resumed had {steps} already"
            )
        pieces: list[Piece] = []
        for number, item in enumerate(batches, steps):
            piece = self._check(net, item, f"{self._prefix}batch {number}")
            if pieces and not piece.goes_with(pieces):
                yield self._collected(net, pieces)
                pieces = []
            if not pieces:
                size, began = 0, perf_counter()
            pieces.append(piece)
            size += piece.X.nbytes
            if (
                len(piece.X) < len(pieces[0].X)
                or size >= COLLECTED_BYTES
                or perf_counter() - began >= COLLECTED_SECONDS
            ):
                yield self._collected(net, pieces)
                pieces = []
        if pieces:
            yield self._collected(net, pieces)
        if number < 0:
            raise ValueError(f"{self._prefix}Batches: the iterator brought no batch")

    def _check(self, net: "MLP", item: Any, name: str) -> Piece:
        """Return a batch, checked and copied."""
        form = f"{name} must be a pair (X, y) or (X, y, sample_weight)"
        if not isinstance(item, tuple | list):
            raise TypeError(f"{form}, got {type(item).__name__}")
        if len(item) not in (2, 3):
            raise ValueError(f"{form}, got {len(item)} items")
        X, y, weights = (*item, None)[:3]
        features = _check_features(net, X, f"{name}'s X")
        self._dtype = self._dtype or features.dtype
        _check_scaling(f"{name}'s X", features.dtype, "that of the first batch was", self._dtype)
        targets, given = check_targets(
            net, y, weights, len(features), f"{name}'s y", f"{name}'s sample_weight", all_zero=True
        )
        return _joined([Piece(features, targets, given)])

    def _collected(self, net: "MLP", pieces: list[Piece]) -> Part:
        """Return batches of one size, of which the last may have fewer samples, as one part."""
        joined = pieces[0] if len(pieces) == 1 else _joined(pieces)
        return Part(samples_of(net, *joined), len(pieces[0].X), None)


def feed_of(net: "MLP", X: Any, y: Any, sample_weight: Any) -> Feed:
    """Return what a network trains or is measured on, from the arguments of `fit`."""
    if not isinstance(X, Blocks | Batches):
        return Whole(net._check_data(X, y, sample_weight))
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"{name} must be None where X is {type(X).__name__}, which has it")
    return _feed_of_source(net, X)


def validation_feed_of(net: "MLP", validation_data: Any) -> Feed | None:
    """Return what a network is measured on after each epoch."""
    if isinstance(validation_data, Blocks | Batches):
        return _feed_of_source(net, validation_data, "validation_data")
    given = checks.check_validation_data(validation_data)
    if given is None:
        return None
    return Whole(net._check_data(*given, *(f"validation_data[{i}]" for i in range(3))))


def _feed_of_source(net: "MLP", source: Blocks | Batches, name: str = "") -> Feed:
    """Return how samples of a source are fed; `name` is the argument's if it is not X."""
    if isinstance(source, Batches):
        return BatchFeed(source, name and f"{name}: ")
    prefix = name and f"{name}."
    if source.y is None:
        raise ValueError(f"{prefix}y is missing: Blocks(X, y) has the targets too")
    return BlockFeed(net, source, prefix)
