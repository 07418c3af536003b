"""The nodes of an ONNX model: the layers' products and activations."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..reference.ops import LEAK, SELU_ALPHA, SELU_SCALE

Array = npt.NDArray[Any]

OPERATORS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softmax": "Softmax",
    "exp": "Exp",
}
"""ONNX's operators by fastmlp's activations; identity needs none."""

FLOAT32_OPERATORS = {
    "leaky_relu": ("LeakyRelu", {"alpha": LEAK}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {"alpha": SELU_ALPHA, "gamma": SELU_SCALE}),
    "softplus": ("Softplus", {}),
}
"""Operators whose arguments are float32 in any case, and which ONNX Runtime has for it alone."""


class Graph:
    """Nodes and parameters in the making.

    Parameters
    ----------
    onnx
        The module.
    dtype
        Of all values.
    """

    def __init__(self, onnx: Any, dtype: np.dtype[Any]) -> None:
        self.nodes: list[Any] = []
        self.parameters: list[Any] = []
        self.dtype = dtype
        self._onnx = onnx
        self._layer = 0
        self._names: set[str] = set()

    def begin_layer(self, number: int) -> None:
        """Name what follows by a layer."""
        self._layer = number

    def hold(self, kind: str, array: Array) -> str:
        """Add a parameter; return its name."""
        name = self._name(kind)
        tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.parameters.append(tensor)
        return name

    def number(self, value: float) -> str:
        """Add a constant; return its name."""
        return self.hold("constant", np.array(value, self.dtype))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name = self._name(operator.lower())
        made = self._onnx.helper.make_node(operator, [*inputs], [name], name=name, **attributes)
        self.nodes.append(made)
        return name

    def _name(self, kind: str) -> str:
        """Return a name for one more thing of a kind in this layer."""
        name, number = f"{kind}_{self._layer}", 1
        while name in self._names:
            number += 1
            name = f"{kind}_{self._layer}_{number}"
        self._names.add(name)
        return name


def activate(graph: Graph, name: str, z: str) -> str:
    """Add an activation of a value; return the name of its output."""
    if name == "identity":
        return z
    if name in OPERATORS:
        return graph.add(OPERATORS[name], z)
    if name == "gelu":
        erf = graph.add("Erf", graph.add("Mul", z, graph.number(math.sqrt(0.5))))
        half = graph.add("Mul", z, graph.number(0.5))
        return graph.add("Mul", half, graph.add("Add", erf, graph.number(1)))
    if name == "silu":
        return graph.add("Mul", z, graph.add("Sigmoid", z))
    if name == "mish":
        return graph.add("Mul", z, graph.add("Tanh", activate(graph, "softplus", z)))
    if graph.dtype == np.float32:
        operator, attributes = FLOAT32_OPERATORS[name]
        return graph.add(operator, z, **attributes)
    if name == "leaky_relu":
        return graph.add("Max", z, graph.add("Mul", z, graph.number(LEAK)))
    above = graph.add("Max", z, graph.number(0))
    if name == "softplus":
        small = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
        return graph.add("Add", above, graph.add("Log", graph.add("Add", small, graph.number(1))))
    below = _expm1(graph, graph.add("Min", z, graph.number(0)))
    if name == "selu":
        above = graph.add("Mul", above, graph.number(SELU_SCALE))
        below = graph.add("Mul", below, graph.number(SELU_SCALE * SELU_ALPHA))
    return graph.add("Add", above, below)


def _expm1(graph: Graph, z: str) -> str:
    """Add exp(z) - 1 as 2 t / (1 - t) with t = tanh(z / 2), which keeps the digits of a small z."""
    t = graph.add("Tanh", graph.add("Mul", z, graph.number(0.5)))
    rest = graph.add("Sub", graph.number(1), t)
    return graph.add("Div", graph.add("Add", t, t), rest)
