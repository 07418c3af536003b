"""Networks as ONNX models."""

from typing import Any

import numpy as np

from .. import checks
from ..io.atomic import replace_file
from ..mlp import MLP
from .common import library
from .onnx_graph import Graph, activate

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
    if "gelu" in net.activations and net.dtype == np.float64:
        raise ValueError(
            f"activations[{net.activations.index('gelu')}] is gelu, whose Erf ONNX Runtime has in "
            f"float32 only, and the network is float64"
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

    graph = Graph(onnx, net.dtype)
    value = "input"
    for layer, (weight, bias, name) in enumerate(
        zip(net.weights, net.biases, net.activations, strict=True), start=1
    ):
        graph.begin_layer(layer)
        dense = [graph.hold("weights", weight), graph.hold("biases", bias)]
        value = activate(graph, name, graph.add("Gemm", value, *dense))
    graph.nodes[-1].output[0] = "output"
    made = helper.make_graph(graph.nodes, "mlp", [features], [output], graph.parameters)
    return helper.make_model(
        made,
        producer_name="fastmlp",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def write_onnx(net: MLP, path: checks.FilePath) -> None:
    """Write a network to an ONNX file, replacing an earlier one as a whole."""
    path = checks.check_path(path)
    replace_file(path, onnx_model(net).SerializeToString(deterministic=True))
