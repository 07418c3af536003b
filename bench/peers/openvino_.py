"""OpenVINO held to float32, in its latency mode or its throughput mode, whichever is quicker."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from ..tasks import Array, NetworkTask, PredictionTask
from . import quickest


def model(task: NetworkTask, rows: int) -> ov.Model:
    """Return the network for a fixed number of rows."""
    x = ops.parameter([rows, task.layers[0]], np.float32)
    node = x
    for layer, (w, b) in enumerate(zip(task.weights, task.biases, strict=True), start=1):
        node = ops.add(ops.matmul(node, ops.constant(w), False, False), ops.constant(b))
        node = ops.softmax(node, 1) if layer == len(task.weights) else ops.relu(node)
    return ov.Model([node], [x])


def compiled(task: NetworkTask, rows: int, hint: str, **settings: Any) -> ov.CompiledModel:
    """Return the network compiled for the task's threads."""
    properties = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": task.threads,
        "PERFORMANCE_HINT": hint,
        **settings,
    }
    return ov.Core().compile_model(model(task, rows), "CPU", properties)


def in_one_request(task: NetworkTask, X: Array) -> Callable[[], Array]:
    """Return a function that gives all rows to one request, whose threads share them."""
    request = compiled(task, len(X), "LATENCY").create_infer_request()
    return lambda: request.infer({0: X}, share_inputs=True, share_outputs=True)[0]


def in_streams(task: NetworkTask, X: Array) -> Callable[[], Array]:
    """Return a function that gives each thread a request with its share of the rows."""
    share = len(X) // task.threads
    network = compiled(task, share, "THROUGHPUT", NUM_STREAMS=task.threads)
    requests = [network.create_infer_request() for _ in range(task.threads)]
    out = np.empty((len(X), task.layers[-1]), np.float32)

    def predict() -> Array:
        for number, request in enumerate(requests):
            request.start_async({0: X[number * share :][:share]}, share_inputs=True)
        for number, request in enumerate(requests):
            request.wait()
            out[number * share :][:share] = request.get_output_tensor().data
        return out

    return predict


class Predictor:
    """The quicker of the two."""

    def __init__(self, task: PredictionTask) -> None:
        X = task.scaled()
        ways = [in_one_request(task, X)]
        if task.threads > 1 and len(X) % task.threads == 0:
            ways.append(in_streams(task, X))
        self.predict = quickest(ways, lambda way: way())
