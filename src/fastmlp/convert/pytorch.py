"""Networks from PyTorch, and for it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import checks
from ..base import LOGIT_OUTPUTS
from ..mlp import MLP
from .common import library, network

ADVICE = "PyTorch is needed: pip install torch"

LAYERS = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "SELU": "selu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Softplus": "softplus",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "LogSoftmax": "softmax",
}
"""Activations of fastmlp by the names of PyTorch's layers."""

ARGUMENTS = {
    "LeakyReLU": ("negative_slope", 0.01),
    "ELU": ("alpha", 1.0),
    "GELU": ("approximate", "none"),
    "Softplus": ("beta", 1.0),
}
"""What these layers must have been made with."""

SOFTPLUS_THRESHOLDS = (20, 40)
"""PyTorch's softplus(z) is z beyond a threshold: the least that is read, its default, is off by
2e-9 there; the one that is written is off by less than rounding in float64 too."""

PASSED_OVER = ("Dropout", "Flatten", "Identity")
"""Layers that leave a row as it is once training is over."""

SOFTMAX_DIMS = (None, 1, -1)
"""The classes of (n, classes); None is PyTorch's old way to say so."""


def to_torch(net: MLP, logits: bool = False) -> Any:
    """Return a network as a `torch.nn.Sequential`; see `MLP.to_torch`."""
    logits = checks.check_flag(logits, "logits")
    torch = library("torch", ADVICE)
    nn = torch.nn
    layers = {
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "softplus": lambda: nn.Softplus(threshold=SOFTPLUS_THRESHOLDS[1]),
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "softmax": lambda: nn.Softmax(dim=-1),
    }
    activations = list(net.activations)
    if logits and activations[-1] in LOGIT_OUTPUTS:
        activations[-1] = "identity"
    if activations[-1] == "exp":
        raise ValueError(
            "PyTorch has no layer for the output's exp: to_torch(logits=True) leaves it out, "
            "as PoissonNLLLoss expects"
        )
    modules = []
    for weight, bias, name in zip(net.weights, net.biases, activations, strict=True):
        # Initial weights would cost time, and change PyTorch's random state.
        dense = nn.Linear(*weight.shape, device="meta")
        dense.weight = nn.Parameter(torch.from_numpy(weight.T.copy()))
        dense.bias = nn.Parameter(torch.from_numpy(bias.copy()))
        modules.append(dense)
        if name != "identity":
            modules.append(layers[name]())
    return nn.Sequential(*modules)


def from_torch(module: Any, output: str | None = None) -> MLP:
    """Return a `torch.nn.Sequential` of Linear layers and activations as a network.

    Its outputs are the module's, to rounding, in the module's dtype. A Linear without activation
    behind it is followed by identity; LogSoftmax becomes softmax, so that the network has
    probabilities where the module has their logarithms. Dropout, Identity, and Flatten of all but
    the samples are passed over: the network takes samples that are flat already. Features of uint8
    are scaled by 1/255, which PyTorch does not do: pass them as floats if the module took them
    unscaled.

    Parameters
    ----------
    module
        Of Linear with or without bias, ReLU, LeakyReLU, ELU, SELU, GELU, SiLU, Mish, Softplus,
        Sigmoid, Tanh, and as the last layer Softmax or LogSoftmax over the classes; those with
        arguments with their defaults, but for inplace and a higher threshold. A Sequential among
        them counts as its layers. Parameters of float32 or float64 on any device, which are copied.
    output
        The activation of a last Linear that has none, such as "softmax" for a module trained with
        CrossEntropyLoss, "sigmoid" for BCEWithLogitsLoss or "exp" for PoissonNLLLoss. None for
        identity.

    Raises
    ------
    TypeError
        When `module` is no Sequential, or one with a forward of its own.
    ValueError
        Naming the layer, when the network cannot have it; when `output` is unknown, or is not what
        the module ends in; when a parameter is not finite.
    ModuleNotFoundError
        Without PyTorch.
    """
    nn = library("torch.nn", ADVICE)
    weights, biases = [], []
    activations: list[str | None] = []
    last = ""
    for name, layer in _layers(nn, module, "module"):
        kind = _kind(nn, layer)
        if kind in PASSED_OVER:
            if kind == "Flatten" and (layer.start_dim, layer.end_dim) != (1, -1):
                raise ValueError(f"{name} is {layer}: only Flatten() is known")
            continue
        if kind == "Linear":
            if activations and activations[-1] in checks.LAST_ACTIVATIONS:
                raise ValueError(f"{last}, which only the last layer can have")
            weight = _values(layer.weight, name)
            weights.append(weight.T)
            none = np.zeros(len(weight), weight.dtype)
            biases.append(none if layer.bias is None else _values(layer.bias, name))
            activations.append(None)
        elif kind in LAYERS:
            if not activations or activations[-1] is not None:
                raise ValueError(f"{name} is {kind}, and there is no Linear right before it")
            _check_arguments(layer, kind, name)
            activations[-1] = LAYERS[kind]
        else:
            known = ", ".join(("Linear", *LAYERS, *PASSED_OVER))
            raise ValueError(f"{name} is {kind or type(layer)}: known are {known}")
        last = f"{name} is {kind}"
    if not activations:
        raise ValueError("module holds no Linear")
    activations[-1] = _output(activations[-1], output, last)
    return network(weights, biases, [name or "identity" for name in activations], "module")


def _layers(nn: Any, module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers of a Sequential and of those within it, with their names."""
    if not isinstance(module, nn.Sequential):
        raise TypeError(f"{name} must be a torch.nn.Sequential, got {type(module).__name__}")
    if type(module).forward is not nn.Sequential.forward:
        raise TypeError(f"{name} is {type(module).__name__}, which has a forward of its own")
    for index, layer in enumerate(module):
        if isinstance(layer, nn.Sequential):
            yield from _layers(nn, layer, f"{name}[{index}]")
        else:
            yield f"{name}[{index}]", layer


def _kind(nn: Any, layer: Any) -> str:
    """Return the name of one of PyTorch's own layers; a subclass may compute something else."""
    name = type(layer).__name__
    return name if type(layer) is getattr(nn, name, None) else ""


def _check_arguments(layer: Any, kind: str, name: str) -> None:
    """Raise ValueError if an activation computes something else than fastmlp's."""
    known = ""
    if LAYERS[kind] == "softmax" and layer.dim not in SOFTMAX_DIMS:
        known = "dim=1 or -1, the classes, is"
    elif kind in ARGUMENTS:
        argument, value = ARGUMENTS[kind]
        if getattr(layer, argument) != value:
            known = f"{argument}={value!r} is"
        elif kind == "Softplus" and layer.threshold < SOFTPLUS_THRESHOLDS[0]:
            known = f"thresholds from {SOFTPLUS_THRESHOLDS[0]} on are"
    if known:
        raise ValueError(f"{name} is {layer}: only {known} known")


def _values(parameter: Any, name: str) -> Any:
    """Return a parameter as an array."""
    dtype = str(parameter.dtype).removeprefix("torch.")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"{name} holds {dtype}: networks are float32 or float64, see module.to")
    return parameter.detach().cpu().numpy()


def _output(found: str | None, wanted: str | None, last: str) -> str:
    """Return the output's activation from what the module ends in and what is asked for."""
    if wanted is None:
        return found or "identity"
    if not isinstance(wanted, str):
        raise TypeError(f"output must be a name or None, got {wanted!r}")
    if wanted.lower() not in checks.OUTPUT_ACTIVATIONS:
        known = ", ".join(checks.OUTPUT_ACTIVATIONS)
        raise ValueError(f"output is {wanted!r}: known are {known}")
    if found not in (None, wanted.lower()):
        raise ValueError(f"output is {wanted!r}, but the module ends in an activation: {last}")
    return wanted.lower()
