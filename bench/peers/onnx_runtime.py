"""ONNX Runtime: a graph of Gemm, Relu and Softmax, run sequentially."""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from ..tasks import Array, NetworkTask, PredictionTask


def model(task: NetworkTask) -> bytes:
    """Return the network as a serialized ONNX model, input x and output y."""
    nodes, initializers, name = [], [], "x"
    for layer, (w, b) in enumerate(zip(task.weights, task.biases, strict=True), start=1):
        initializers += [
            numpy_helper.from_array(np.ascontiguousarray(w), f"w{layer}"),
            numpy_helper.from_array(b, f"b{layer}"),
        ]
        last = layer == len(task.weights)
        output = "y" if last else f"x{layer}"
        nodes += [
            helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [f"z{layer}"]),
            helper.make_node("Softmax" if last else "Relu", [f"z{layer}"], [output]),
        ]
        name = output
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", width])
        for end, width in (("x", task.layers[0]), ("y", task.layers[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], initializers)
    opset = [helper.make_opsetid("", 17)]
    built: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return built


class Predictor:
    """`InferenceSession.run` with all optimizations of the graph."""

    def __init__(self, task: PredictionTask) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = task.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = ort.InferenceSession(
            model(task), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {"x": task.scaled()}

    def predict(self) -> Array:
        (y,) = self.session.run(None, self.inputs)
        return np.asarray(y)
