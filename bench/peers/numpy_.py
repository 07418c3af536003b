"""NumPy: the loop that one would write by hand, without needless temporaries."""

import numpy as np

from ..tasks import Array, NetworkTask, PredictionTask, ProductTask, TrainingTask


def softmax(z: Array) -> Array:
    """Return the softmax of each row, in place."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


class Network:
    """Parameters and the forward step."""

    def __init__(self, task: NetworkTask) -> None:
        self.task, self.X = task, task.scaled()
        self.reset()

    def reset(self) -> None:
        self.weights = [w.copy() for w in self.task.weights]
        self.biases = [b.copy() for b in self.task.biases]

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return self.weights, self.biases

    def forward(self, x: Array) -> list[Array]:
        """Return x and the outputs of all layers."""
        outputs = [x]
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            z = outputs[-1] @ w
            z += b
            outputs.append(softmax(z) if layer == len(self.weights) else np.maximum(z, 0, out=z))
        return outputs


class Trainer(Network):
    """Forward, backward and update, batch by batch."""

    def __init__(self, task: TrainingTask) -> None:
        super().__init__(task)
        self.y, self.order = task.y, task.order
        self.batch_size, self.lr = task.batch_size, np.float32(task.lr)

    def epoch(self) -> None:
        for start in range(0, len(self.order), self.batch_size):
            rows = self.order[start : start + self.batch_size]
            outputs = self.forward(self.X.take(rows, axis=0))
            delta = outputs[-1]
            delta[np.arange(len(rows)), self.y[rows]] -= 1
            # The learning rate and the mean over the batch scale the small array, not dW.
            delta *= self.lr / len(rows)
            for layer in reversed(range(len(self.weights))):
                step = outputs[layer].T @ delta
                bias_step = delta.sum(axis=0)
                if layer:
                    delta = delta @ self.weights[layer].T
                    delta *= outputs[layer] > 0
                self.weights[layer] -= step
                self.biases[layer] -= bias_step


class Predictor(Network):
    """The forward step."""

    def __init__(self, task: PredictionTask) -> None:
        super().__init__(task)

    def predict(self) -> Array:
        return self.forward(self.X)[-1]


class Product:
    """`numpy.matmul` into an array that is there; transposed views are not copied."""

    def __init__(self, task: ProductTask) -> None:
        self.a = task.a.T if task.transpose_a else task.a
        self.b = task.b.T if task.transpose_b else task.b
        self.out = np.empty((len(self.a), self.b.shape[1]), np.float32)

    def multiply(self) -> Array:
        np.matmul(self.a, self.b, out=self.out)
        return self.out
