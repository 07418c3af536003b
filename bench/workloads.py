"""What is measured: trainings, predictions and matrix products, and what each costs at least.

The workloads of the estimators are those of scikit-learn's users: its interface, its defaults.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Source = Literal["mnist", "dense", "table", "sparse", "digits"]
"""MNIST's uint8 rows; uniform float32 without a zero; normal float32; CSR rows of 1 % density; the
digits of 8 x 8 pixels."""

MNIST = (784, 128, 64, 32, 10)
MEDIUM = (784, 1000, 500, 10)
LARGE = (784, 2500, 2000, 1500, 1000, 500, 10)
TABULAR = (30, 256, 256, 256, 2)
SPARSE = (10_000, 256, 10)
SPARSE_DENSITY = 0.01

FLOAT_BYTES = 4


def multiplications(layers: tuple[int, ...]) -> int:
    """Return the multiplications of one sample's way through the network."""
    return sum(fan_in * fan_out for fan_in, fan_out in pairwise(layers))


@dataclass(frozen=True)
class Workload:
    """Something to be timed.

    Attributes
    ----------
    name
        What the tables call it; it holds no thread count.
    every
        Whether to run it on each number of threads asked for, or on the largest alone.
    """

    name: str
    every: bool

    @property
    def kind(self) -> str:
        """Which of a peer's abilities is asked for: "training", "prediction" or "product"."""
        return type(self).__name__.lower()

    @property
    def flops(self) -> float:
        """Floating-point operations, a multiplication and an addition being two."""
        raise NotImplementedError

    @property
    def bytes(self) -> float:
        """The bytes that must be read and written at least, in the form that fastmlp takes."""
        raise NotImplementedError


@dataclass(frozen=True)
class NetworkWorkload(Workload):
    """A network and the rows that it is given."""

    layers: tuple[int, ...]
    rows: int
    source: Source

    @property
    def bytes(self) -> float:
        width = self.layers[0]
        per_row = {
            "mnist": width,
            # A CSR element is a value and a 32-bit column.
            "sparse": width * SPARSE_DENSITY * 2 * FLOAT_BYTES,
        }.get(self.source, width * FLOAT_BYTES)
        return self.rows * per_row


@dataclass(frozen=True)
class Training(NetworkWorkload):
    """One epoch of plain mini-batch SGD in a shuffled order."""

    batch_size: int
    lr: float = 0.01

    @property
    def flops(self) -> float:
        """Forward, dW and dX of each layer; nothing needs the dX of the first.

        In the sparse case the first layer counts its non-zero elements alone.
        """
        first = self.layers[0] * self.layers[1]
        later = multiplications(self.layers) - first
        density = SPARSE_DENSITY if self.source == "sparse" else 1
        return 2.0 * self.rows * (2 * first * density + 3 * later)


@dataclass(frozen=True)
class Prediction(NetworkWorkload):
    """Probabilities of all rows, from a NumPy array to a NumPy array."""

    @property
    def flops(self) -> float:
        return 2.0 * self.rows * multiplications(self.layers)


@dataclass(frozen=True)
class Product(Workload):
    """op(a) op(b) in float32, where op(a) is (m, k) and op(b) is (k, n)."""

    m: int
    k: int
    n: int
    transpose_a: bool
    transpose_b: bool

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.k * self.n

    @property
    def bytes(self) -> float:
        return float(FLOAT_BYTES * (self.m * self.k + self.k * self.n + self.m * self.n))


@dataclass(frozen=True)
class EstimatorFit(NetworkWorkload):
    """Fits of an MLPClassifier with Adam, as scikit-learn's users call them.

    Attributes
    ----------
    epochs
        Of each fit; none ends early.
    settings
        How many settings a search in 5 folds compares; 0 for one fit on all rows.
    dtype
        Of the rows that the estimator is given.
    """

    batch_size: int
    epochs: int
    settings: int = 0
    dtype: str = "float64"

    @property
    def flops(self) -> float:
        """Those of the fits; a search makes five for each setting, of four fifths of the rows."""
        first = self.layers[0] * self.layers[1]
        each = 2.0 * self.rows * (3 * multiplications(self.layers) - first) * self.epochs
        # The best setting is fitted on all rows again.
        return each * (1 + 4 * self.settings)


@dataclass(frozen=True)
class EstimatorRow(Prediction):
    """`predict_proba` of one row by a fitted MLPClassifier, as scikit-learn's users call it."""


def shape_text(layers: tuple[int, ...]) -> str:
    """Return the widths as they are written in a workload's name."""
    return "-".join(map(str, layers))


def trainings(quick: bool) -> Iterator[Training]:
    """Yield the trainings; a quick suite takes a tenth of the rows."""

    def training(
        title: str,
        layers: tuple[int, ...],
        rows: int,
        source: Source,
        batch: int,
        every: bool = False,
    ) -> Training:
        rows = rows // 10 if quick else rows
        name = f"train {title}{shape_text(layers)}, batch {batch}, {rows:,} rows"
        return Training(name, every, layers, rows, source, batch)

    yield training("MNIST ", MNIST, 60_000, "mnist", 32, every=True)
    yield training("dense ", MNIST, 60_000, "dense", 32)
    # Small batches take the frameworks long: fewer rows, the same work a row.
    yield training("MNIST ", MNIST, 6_000, "mnist", 1)
    yield training("MNIST ", MNIST, 24_000, "mnist", 8)
    yield training("MNIST ", MNIST, 60_000, "mnist", 128)
    yield training("MNIST ", MNIST, 60_000, "mnist", 1024)
    yield training("MNIST ", MEDIUM, 20_000, "mnist", 128)
    yield training("MNIST ", LARGE, 5_000, "mnist", 128)
    yield training("table ", TABULAR, 100_000, "table", 256)
    yield training("sparse ", SPARSE, 5_000, "sparse", 128)


def predictions() -> Iterator[Prediction]:
    """Yield the predictions."""
    yield Prediction("predict 1 MNIST row", True, MNIST, 1, "mnist")
    yield Prediction("predict 10,000 MNIST rows", True, MNIST, 10_000, "mnist")
    yield Prediction("predict 10,000 dense rows", True, MNIST, 10_000, "dense")


def estimators(quick: bool) -> Iterator[Workload]:
    """Yield the workloads of the estimators."""

    def fit(
        title: str,
        layers: tuple[int, ...],
        rows: int,
        source: Source,
        epochs: int,
        settings: int = 0,
        dtype: str = "float64",
    ) -> EstimatorFit:
        rows = rows // 10 if quick and rows > 10_000 else rows
        name = f"estimator: {title}, {rows:,} rows"
        return EstimatorFit(name, False, layers, rows, source, 200, epochs, settings, dtype)

    digits = (64, 100, 10)
    yield fit("fit table 30-100-2, 5 epochs", (30, 100, 2), 100_000, "table", 5)
    yield fit("fit digits 64-100-10, 50 epochs", digits, 1_437, "digits", 50)
    yield fit("fit MNIST 784-100-10, 2 epochs", (784, 100, 10), 60_000, "mnist", 2, dtype="float32")
    settings = 4 if quick else 20
    yield fit(f"search {settings} settings, digits 64-30-10, 20 epochs", (64, 30, 10), 1_437,
              "digits", 20, settings)  # fmt: skip
    yield EstimatorRow("estimator: predict_proba of 1 digit", False, digits, 1, "digits")


def products(quick: bool) -> Iterator[Product]:
    """Yield the squares, and the shapes that the layers of the trainings multiply."""
    squares = (64, 256, 1024) if quick else (64, 128, 256, 512, 1024, 2048)
    networks = ((MNIST, 32), (MEDIUM, 128), (LARGE, 128), (TABULAR, 256))
    shapes = [("square", size, size, size) for size in squares]
    for layers, batch in networks[:1] if quick else networks:
        shapes += [("layer", batch, fan_in, fan_out) for fan_in, fan_out in pairwise(layers)]
    for group, m, k, n in dict.fromkeys(shapes):
        for transpose_a in (False, True):
            for transpose_b in (False, True):
                # A layer's forward step is (m, k) (k, n), its dX (m, n) (k, n)', its dW
                # (m, k)' (m, n). The fourth case has the shape of the forward step.
                if group == "layer" and transpose_a != transpose_b:
                    rows, inner, columns = (m, n, k) if transpose_b else (k, m, n)
                else:
                    rows, inner, columns = m, k, n
                left = "At" if transpose_a else "A"
                right = "Bt" if transpose_b else "B"
                name = f"{group} {left} {right} {rows}x{inner}x{columns}"
                yield Product(name, True, rows, inner, columns, transpose_a, transpose_b)


def suite(quick: bool) -> list[Workload]:
    """Return all workloads, in the order of the table."""
    return [*trainings(quick), *predictions(), *products(quick), *estimators(quick)]
