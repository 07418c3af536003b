"""fastmlp itself, through its public interface, checks of the arguments included."""

import numpy as np

import fastmlp as fm

from ..tasks import Array, NetworkTask, PredictionTask, ProductTask, TrainingTask
from . import estimators


def network(task: NetworkTask, seed: int = 0) -> fm.MLP:
    """Return a network with the task's parameters."""
    fm.set_num_threads(task.threads)
    net = fm.MLP(task.layers, ["relu"] * (len(task.layers) - 2) + ["softmax"], seed=seed)
    assign(net, task)
    return net


def assign(net: fm.MLP, task: NetworkTask) -> None:
    """Copy the task's parameters into a network."""
    for parameter, values in zip(
        (*net.weights, *net.biases), (*task.weights, *task.biases), strict=True
    ):
        parameter[...] = values


class Trainer:
    """`fit` for one epoch: the only contestant that also draws the order within the time."""

    def __init__(self, task: TrainingTask) -> None:
        self.task = task
        self.net = network(task, task.seed)

    def reset(self) -> None:
        assign(self.net, self.task)
        self.net.epochs_trained = 0

    def epoch(self) -> None:
        task = self.task
        self.net.fit(task.X, task.y, epochs=1, batch_size=task.batch_size, lr=task.lr)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return self.net.weights, self.net.biases


class Predictor:
    """`predict_proba`."""

    def __init__(self, task: PredictionTask) -> None:
        self.net, self.X = network(task), task.X

    def predict(self) -> Array:
        return self.net.predict_proba(self.X)


class EstimatorFit(estimators.Fit):
    """`fastmlp.sklearn`, in the dtype of the rows."""

    module = "fastmlp.sklearn"


class EstimatorRow(estimators.Row):
    """`fastmlp.sklearn`."""

    module = "fastmlp.sklearn"


class Product:
    """`fastmlp.ops.matmul` into an array that is there."""

    def __init__(self, task: ProductTask) -> None:
        fm.set_num_threads(task.threads)
        self.task = task
        rows = task.a.shape[1 if task.transpose_a else 0]
        columns = task.b.shape[0 if task.transpose_b else 1]
        self.out = np.empty((rows, columns), np.float32)

    def multiply(self) -> Array:
        task = self.task
        return fm.ops.matmul(task.a, task.b, task.transpose_a, task.transpose_b, out=self.out)
