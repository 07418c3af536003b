"""Networks as ONNX models."""

from typing import Any

import numpy as np

from .. import checks
from ..io.atomic import replace_file
from ..mlp import MLP
from .common import library

OPERATORS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softmax": "Softmax",
    "exp": "Exp",
}
"""ONNX's operators by fastmlp's activations; identity needs none."""

OPSET = 13
"""The oldest set of operators whose Softmax is over the last axis: the most programs read it."""

IR_VERSION = 7
"""The version of the file's layout that came with `OPSET`."""

MAX_BYTES = 2**31 - 2**24
"""What the parameters may take: protobuf's limit for a message, less room for the graph."""


def onnx_model(net: MLP) -> Any:
    """Return a network as an `onnx.ModelProto`; see `MLP.to_onnx`."""
    onnx = library("onnx", "ONNX models need the library onnx: pip install 'fastmlp[onnx]'")
    helper = onnx.helper
    checks.check_parameters(net.weights, net.biases)
    size = net.n_parameters * net.dtype.itemsize
    if size > MAX_BYTES:
        raise ValueError(
            f"the network's parameters take {size:,} bytes, an ONNX model holds {MAX_BYTES:,}"
        )
    kind = helper.np_dtype_to_tensor_dtype(net.dtype)
    scale = "values from 0 to 1: whole numbers 0 to 255 divided by 255"
    features = helper.make_tensor_value_info(
        "input",
        kind,
        ["batch", net.n_inputs],
        doc_string=scale if net.trained_on == "uint8" else "",
    )
    output = helper.make_tensor_value_info("output", kind, ["batch", net.n_outputs])

    nodes, parameters = [], []
    value = "input"
    for layer, (weight, bias, name) in enumerate(
        zip(net.weights, net.biases, net.activations, strict=True), start=1
    ):
        dense = [f"weights_{layer}", f"biases_{layer}"]
        parameters += [
            onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor)
            for array, tensor in zip((weight, bias), dense, strict=True)
        ]
        steps = [("Gemm", dense)]
        if name in OPERATORS:
            steps.append((OPERATORS[name], []))
        for operator, others in steps:
            made = f"{operator.lower()}_{layer}"
            nodes.append(helper.make_node(operator, [value, *others], [made], name=made))
            value = made
    nodes[-1].output[0] = "output"
    graph = helper.make_graph(nodes, "mlp", [features], [output], parameters)
    return helper.make_model(
        graph,
        producer_name="fastmlp",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def write_onnx(net: MLP, path: checks.FilePath) -> None:
    """Write a network to an ONNX file, replacing an earlier one as a whole."""
    path = checks.check_path(path)
    replace_file(path, onnx_model(net).SerializeToString(deterministic=True))
