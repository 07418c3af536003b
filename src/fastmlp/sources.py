"""Where samples come from that do not fit into memory: blocks of rows, or batches."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

from . import checks
from .sparse import is_sparse


class Blocks:
    """Samples to train, measure or predict on that are read by blocks of rows.

    `net.fit(fm.data.Blocks(X, y), epochs=5)` takes memory for two blocks. An epoch reads blocks of
    consecutive rows, each while the block before is trained on, and visits every sample once. With
    `shuffle` the blocks come in a new order in every epoch, and within each of them the samples:
    rows that lie far apart in the file never meet in a batch. If neighbors in the file are alike,
    sorted by class for instance, shuffle the file once, or take larger blocks.

    The order follows from the network's seed, `epochs_trained` and the rows of a block, whatever
    `prefetch` and the number of threads. Without `shuffle` all is, to the bit, as if X and y were
    given to `fit`.

    A mapped array given to `fit` itself is not copied either, and is the quicker way as long as the
    file fits into the system's cache. Beyond that, shuffled samples are read from all over the
    disk, each at the cost of a page.

    Values are checked when they are read. What is wrong then, and what reading raises, ends the
    fit, and the network is as it was before.

    Parameters
    ----------
    X
        (n, n_inputs) numbers as for `fit`: anything with a shape whose slices of rows can be read
        as arrays. Arrays of `numpy.load(path, mmap_mode="r")` and `numpy.memmap`, which should be
        in C order and opened for reading only, datasets of h5py and zarr, sparse matrices of
        SciPy's, which are made CSR. Dtypes that `fit` casts are cast block by block.
    y
        (n,) or (n, n_outputs) targets as for `fit`, read likewise; None for data to predict on.
    sample_weight
        (n,) numbers of at least 0 as for `fit`, read likewise, or None.
    rows
        Of a block; None for what takes 64 MiB. Training takes whole batches: a block has the
        largest multiple of batch_size up to this, or one batch, and the block that comes last in an
        epoch has what remains.
    prefetch
        Blocks that a thread of its own reads ahead, which take as much memory again. 0 reads each
        when it is needed, in the thread that calls.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """

    def __init__(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        rows: int | None = None,
        prefetch: int = 1,
    ) -> None:
        self.X = _sliceable(X, "X")
        self.y = None if y is None else _sliceable(y, "y")
        self.sample_weight = (
            None if sample_weight is None else _sliceable(sample_weight, "sample_weight")
        )
        self.rows = None if rows is None else checks.check_positive_int(rows, "rows")
        self.prefetch = _check_prefetch(prefetch)
        if not len(self):
            raise ValueError("X is empty: at least one row is needed")
        for name in ("y", "sample_weight"):
            array = getattr(self, name)
            if array is not None and array.shape[0] != len(self):
                raise ValueError(f"{name} has {array.shape[0]} rows, X has {len(self)}")

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.X.shape[0])

    def __repr__(self) -> str:
        """Return what is read, by its shape."""
        return f"Blocks(X of shape {tuple(self.X.shape)}, rows={self.rows})"


class Batches:
    """Samples to train or measure on that come from an iterator, batch by batch.

    `net.fit(fm.data.Batches(make_iterator), epochs=5)` makes an update for each item, of its own
    size, in the order in which they come: `batch_size` and `shuffle` of `fit` are not used, and
    an epoch is what one iterator brings. Items are checked as the arguments of `fit` are; messages
    name the batch, counted from 0 in each epoch. What is wrong with one, and what the iterator
    raises, ends the fit, and the network is as it was before.

    Items are copied, so that an iterator may fill the same arrays again. Small batches are
    collected for up to a tenth of a second, as the engine is quicker where it has several at a
    time; the updates are the same.

    Parameters
    ----------
    make_iterator
        A function, such as a generator function, that returns a new iterator for every epoch, or
        something that can be iterated anew, such as a list or PyTorch's DataLoader. Each item is a
        pair (X, y) or (X, y, sample_weight), as for `fit`. A mere iterator will do for one epoch.
    prefetch
        Collections of batches to make ahead in a thread of their own, which runs the iterator from
        its beginning to its end. 0 asks for batches in the thread that calls.
    per_epoch
        Batches that an iterator brings, for learning rates that depend on it, such as those of
        Cosine and OneCycle, which stay at their end should there be more. None for the length of
        what is iterated, where it has one.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """

    def __init__(
        self,
        make_iterator: Callable[[], Iterable[Any]] | Iterable[Any],
        prefetch: int = 1,
        per_epoch: int | None = None,
    ) -> None:
        if not (callable(make_iterator) or isinstance(make_iterator, Iterable)):
            raise TypeError(
                "make_iterator must be a function that returns an iterator, or be iterable, "
                f"got {make_iterator!r}"
            )
        self.make_iterator = make_iterator
        self.prefetch = _check_prefetch(prefetch)
        if per_epoch is None:
            self.per_epoch = len(make_iterator) if isinstance(make_iterator, Sized) else 0
        else:
            self.per_epoch = checks.check_positive_int(per_epoch, "per_epoch")
        self._made: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Return the iterator of an epoch."""
        make = self.make_iterator
        found = make() if callable(make) else make
        if not isinstance(found, Iterable):
            raise TypeError(f"make_iterator returned {found!r}, which cannot be iterated")
        if found is self._made:
            raise ValueError("the iterator is that of an earlier epoch: a new one is needed")
        self._made = found if isinstance(found, Iterator) else None
        return iter(found)

    @property
    def only_once(self) -> bool:
        """Whether there is one iterator for good."""
        make = self.make_iterator
        return not callable(make) and isinstance(make, Iterator)


def _sliceable(value: Any, name: str) -> Any:
    """Return what has a shape and slices of rows."""
    array = value
    if is_sparse(value):
        # Some formats have no slices, and some are slow to cut.
        array = value.tocsr()
    elif not (hasattr(value, "shape") and hasattr(value, "__getitem__")):
        array = checks.check_numeric(value, name)
    if not array.shape:
        raise ValueError(f"{name} must have one row for each sample, got a single value")
    return array


def _check_prefetch(value: object) -> int:
    """Return how many items are made ahead."""
    number = checks.check_int(value, "prefetch")
    if number < 0:
        raise ValueError(f"prefetch must be at least 0, got {number}")
    return number
