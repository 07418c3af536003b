"""JAX: one jitted scan over the whole epoch, with donated parameters."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..tasks import Array, PredictionTask, TrainingTask

Parameters = list[tuple[Any, Any]]


def logits(parameters: Parameters, x: jax.Array) -> jax.Array:
    """Return the output before the softmax."""
    *hidden, (w, b) = parameters
    for weight, bias in hidden:
        x = jax.nn.relu(x @ weight + bias)
    z: jax.Array = x @ w + b
    return z


def loss(parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean cross-entropy."""
    log_p = jax.nn.log_softmax(logits(parameters, x))
    return -jnp.take_along_axis(log_p, y[:, None], axis=1, mode="promise_in_bounds").mean()


@partial(jax.jit, static_argnames="batch_size", donate_argnums=0)
def epoch(
    parameters: Parameters, X: jax.Array, y: jax.Array, order: jax.Array, lr: float, batch_size: int
) -> Parameters:
    """Return the parameters after one epoch."""

    def step(parameters: Parameters, rows: jax.Array) -> tuple[Parameters, None]:
        x, targets = (values.at[rows].get(mode="promise_in_bounds") for values in (X, y))
        gradients = jax.grad(loss)(parameters, x, targets)
        return jax.tree.map(lambda p, g: p - lr * g, parameters, gradients), None

    whole = len(order) // batch_size * batch_size
    parameters, _ = lax.scan(step, parameters, order[:whole].reshape(-1, batch_size))
    return step(parameters, order[whole:])[0] if whole < len(order) else parameters


class Trainer:
    """The jitted epoch."""

    def __init__(self, task: TrainingTask) -> None:
        self.task, self.X = task, jnp.asarray(task.scaled())
        self.y, self.order = jnp.asarray(task.y, jnp.int32), jnp.asarray(task.order, jnp.int32)
        self.reset()

    def reset(self) -> None:
        pairs = zip(self.task.weights, self.task.biases, strict=True)
        self.values = jax.block_until_ready([(jnp.array(w), jnp.array(b)) for w, b in pairs])

    def epoch(self) -> None:
        values = epoch(self.values, self.X, self.y, self.order, self.task.lr, self.task.batch_size)
        self.values = jax.block_until_ready(values)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return [np.asarray(w) for w, _ in self.values], [np.asarray(b) for _, b in self.values]


class Predictor:
    """The jitted forward step."""

    def __init__(self, task: PredictionTask) -> None:
        self.X = task.scaled()
        self.values = [
            (jnp.array(w), jnp.array(b)) for w, b in zip(task.weights, task.biases, strict=True)
        ]
        self.forward = jax.jit(lambda parameters, x: jax.nn.softmax(logits(parameters, x)))

    def predict(self) -> Array:
        return np.asarray(self.forward(self.values, self.X))
