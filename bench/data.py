"""The rows of the workloads, and tasks made of them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import workloads
from .tasks import EstimatorTask, PredictionTask, ProductTask, Task, TrainingTask

Array = npt.NDArray[Any]

SEED = 1
MNIST_DENSITY = 0.191
"""Fraction of MNIST's pixels that are not zero."""

MNIST_IMAGES = 60_000
"""Training images of MNIST; workloads take their rows from them."""


class Data:
    """Makes the tasks of workloads; rows lie in files of a folder, one for each source.

    Attributes
    ----------
    notes
        What the reader of the results ought to know about the data.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._mnist: tuple[Array, Array] | None = None

    def task(self, workload: workloads.Workload, threads: int) -> Task:
        """Return the task of a workload. ImportError when a library for its data is missing."""
        if isinstance(workload, workloads.Product):
            return product_task(workload, threads)
        if not isinstance(workload, workloads.NetworkWorkload):
            raise TypeError(f"{workload.name} has no data")
        if isinstance(workload, workloads.EstimatorFit | workloads.EstimatorRow):
            return self._estimator_task(workload, threads)
        from fastmlp.initializers import initial_weights

        weights = initial_weights(workload.layers, "he", "float32", SEED)
        biases = [np.zeros(width, np.float32) for width in workload.layers[1:]]
        X, y = self._rows(workload)
        path = self._stored(X, workload)
        if not isinstance(workload, workloads.Training):
            return PredictionTask(threads, workload.layers, path, weights, biases)
        from fastmlp.reference.mlp import epoch_order

        return TrainingTask(
            threads,
            workload.layers,
            path,
            weights,
            biases,
            y,
            epoch_order(workload.rows, SEED, 0),
            workload.batch_size,
            workload.lr,
            SEED,
        )

    def _estimator_task(
        self, workload: workloads.EstimatorFit | workloads.EstimatorRow, threads: int
    ) -> EstimatorTask:
        """Return samples and an estimator's parameters; a row's network is fitted in no time."""
        X, y = self._rows(workload)
        is_fit = isinstance(workload, workloads.EstimatorFit)
        options: dict[str, Any] = {
            "hidden_layer_sizes": workload.layers[1:-1],
            "max_iter": workload.epochs if is_fit else 1,
            "n_iter_no_change": math.inf,
            "shuffle": is_fit,
            "random_state": SEED,
        }
        grid = {}
        if is_fit and workload.settings:
            rates = [0.0005, 0.001, 0.002, 0.005]
            alphas = [10.0**-power for power in range(1, 1 + workload.settings // len(rates))]
            grid = {"learning_rate_init": rates, "alpha": alphas}
        dtype = workload.dtype if is_fit else "float64"
        path = self._stored(X, workload)
        return EstimatorTask(threads, workload.layers, path, [], [], y, options, grid, dtype)

    def _rows(self, workload: workloads.NetworkWorkload) -> tuple[Any, Array]:
        """Return X and y."""
        rng = np.random.default_rng(SEED)
        shape = (workload.rows, workload.layers[0])
        if workload.source == "mnist":
            X, y = self.mnist()
            return X[: workload.rows], y[: workload.rows]
        if workload.source == "digits":
            import fastmlp as fm

            digits = fm.data.load("digits")
            rows = slice(max(workload.rows, 1000))
            return digits.X_train[rows], digits.y_train[rows]
        if workload.source == "dense":
            # 1 - [0, 1) holds no zero.
            return 1 - rng.random(shape, np.float32), rng.integers(0, 10, workload.rows)
        if workload.source == "table":
            X = rng.standard_normal(shape, np.float32)
            return X, (X[:, :3].prod(axis=1) + X[:, 3] > 0).astype(np.int64)
        from scipy import sparse

        density = workloads.SPARSE_DENSITY
        X = sparse.random(*shape, density, "csr", np.float32, random_state=SEED)
        return X, rng.integers(0, workload.layers[-1], workload.rows)

    def _stored(self, X: Any, workload: workloads.NetworkWorkload) -> str:
        """Write X to the folder, in place of earlier files, and return the path."""
        for old in self.folder.iterdir():
            old.unlink()
        if workload.source == "sparse":
            from scipy import sparse

            path = self.folder / "X.npz"
            sparse.save_npz(path, X, compressed=False)
        else:
            path = self.folder / "X.npy"
            np.save(path, X)
        return str(path)

    def mnist(self) -> tuple[Array, Array]:
        """Return the training part of MNIST, or noise of the same density where it is missing."""
        if self._mnist is None:
            import fastmlp as fm

            try:
                data = fm.data.load("mnist")
                self._mnist = data.X_train, data.y_train
            except (ImportError, OSError, ValueError) as error:
                self.notes.append(
                    f"MNIST was not found: random pixels of the same density stand in for it "
                    f"(they lie scattered, not in strokes). {type(error).__name__}: {error}"
                )
                self._mnist = mnist_substitute(MNIST_IMAGES)
        return self._mnist


def mnist_substitute(rows: int) -> tuple[Array, Array]:
    """Return random uint8 pixels, as often zero as MNIST's, and random labels."""
    rng = np.random.default_rng(SEED)
    pixels = rng.integers(1, 256, (rows, 784), np.uint8)
    pixels[rng.random(pixels.shape, np.float32) >= MNIST_DENSITY] = 0
    return pixels, rng.integers(0, 10, rows)


def product_task(workload: workloads.Product, threads: int) -> ProductTask:
    """Return the operands of a product, stored as the transpositions say."""
    rng = np.random.default_rng(SEED)
    a_shape, b_shape = (workload.m, workload.k), (workload.k, workload.n)
    return ProductTask(
        threads,
        rng.standard_normal(a_shape[::-1] if workload.transpose_a else a_shape, np.float32),
        rng.standard_normal(b_shape[::-1] if workload.transpose_b else b_shape, np.float32),
        workload.transpose_a,
        workload.transpose_b,
    )
