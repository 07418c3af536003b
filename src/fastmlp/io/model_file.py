"""Networks as safetensors files.

The tensors are "<layer>.weight" (inputs, outputs) and "<layer>.bias" (outputs,), layers counted
from 0. The metadata has the one entry "fastmlp", a JSON object: the version of this layout under
"format", what the constructor takes, and what training has left behind. More than one entry would
be written in an order that changes from run to run.
"""

import json
import os
import stat
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, losses
from ..initializers import check_init
from .atomic import replace_file

if TYPE_CHECKING:
    from ..mlp import MLP

FORMAT = 1
"""Version of the layout of the file."""

ATTRIBUTES = {
    "layers",
    "activations",
    "init",
    "dtype",
    "seed",
    "epochs_trained",
    "trained_on",
}
"""What the description of a network holds, under the names of `MLP`'s attributes; and "loss", which
files of before there was a choice are without."""

TENSOR_DTYPES = {"float32": "F32", "float64": "F64"}
"""Names that safetensors gives the dtypes."""


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "models are saved and loaded with the library safetensors: pip install 'fastmlp[io]'"
        ) from error
    return safetensors


def save_model(net: "MLP", path: checks.FilePath) -> None:
    """Write a network to a safetensors file, replacing an earlier one as a whole.

    The same network makes the same bytes. Raises ValueError, and writes nothing, when a weight or
    a bias is not finite: `load_model` would refuse the file.
    """
    path = checks.check_path(path)
    checks.check_parameters(net.weights, net.biases)
    tensors = {}
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        tensors[f"{layer}.weight"] = np.ascontiguousarray(weight)
        tensors[f"{layer}.bias"] = bias
    network = {name: getattr(net, name) for name in ATTRIBUTES}
    network.update(dtype=net.dtype.name, loss=losses.describe(net.loss), format=FORMAT)
    metadata = {"fastmlp": json.dumps(network, sort_keys=True)}
    replace_file(path, _safetensors().numpy.save(tensors, metadata))


def load_model(path: checks.FilePath, loss: str | losses.AnyLoss | None = None) -> "MLP":
    """Read a network that `MLP.save` wrote.

    Parameters
    ----------
    loss
        As for `MLP`, in the place of the loss that the file names; None for that one. A Python
        function cannot be read from a file: without it the network predicts, but a call that needs
        the loss raises ValueError.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged, of another kind, or does not hold what it declares; the message
        begins with the path. Nothing is allocated by the file's word alone.
    """
    from ..mlp import MLP

    path = checks.check_path(path)
    safetensors = _safetensors()
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        # Not opened: a FIFO would wait for a writer.
        raise ValueError(f"{path} is not a usable fastmlp model: it is not a regular file")
    with open(path, "rb"):
        pass  # an unreadable file, or a folder, is reported as Python reports it
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            attributes = _attributes(file.metadata() or {})
            _check_tensors(file, attributes)
            layers = range(len(attributes["activations"]))
            weights = [file.get_tensor(f"{layer}.weight") for layer in layers]
            biases = [file.get_tensor(f"{layer}.bias") for layer in layers]
        checks.check_parameters(weights, biases)
    except (safetensors.SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a usable fastmlp model: {error}") from error
    if loss is not None:
        attributes["loss"] = losses.get(loss, attributes["activations"][-1])
        _check_loss(attributes)
    net = MLP.__new__(MLP)
    net.__setstate__({"attributes": attributes, "weights": weights, "biases": biases})
    return net


def _attributes(metadata: dict[str, str]) -> dict[str, Any]:
    """Return a network's attributes from a file's metadata, each checked."""
    network = json.loads(metadata.get("fastmlp", "null"))
    if not isinstance(network, dict) or "format" not in network:
        raise ValueError("its metadata does not describe a network of fastmlp")
    if checks.check_int(network["format"], "format") != FORMAT:
        raise ValueError(
            f"it has layout {network['format']}, this version reads {FORMAT}: "
            f"a newer fastmlp may have written it"
        )
    if network.keys() - {"loss"} != ATTRIBUTES | {"format"}:
        raise ValueError(f"its description must have the entries {', '.join(sorted(ATTRIBUTES))}")
    layers = checks.check_layers(network["layers"])
    activations = checks.check_activations(network["activations"], layers)
    described = losses.from_description(network["loss"]) if "loss" in network else None
    epochs_trained = checks.check_int(network["epochs_trained"], "epochs_trained")
    if not 0 <= epochs_trained < 2**64:
        raise ValueError(f"epochs_trained is {epochs_trained}")
    trained_on = network["trained_on"]
    if trained_on not in (None, "uint8", "float32", "float64"):
        raise ValueError(f"trained_on is {trained_on!r}")
    attributes = {
        "layers": layers,
        "activations": activations,
        "loss": losses.get(described, activations[-1]),
        "init": check_init(network["init"]),
        "dtype": checks.check_dtype(network["dtype"]),
        "seed": checks.check_seed(network["seed"]),
        "epochs_trained": epochs_trained,
        "trained_on": trained_on,
        "history": None,
    }
    _check_loss(attributes)
    return attributes


def _check_loss(attributes: dict[str, Any]) -> None:
    """Raise ValueError unless the loss fits the network's output."""
    loss = attributes["loss"]
    if isinstance(loss, losses.Loss):
        loss.check(attributes["activations"][-1], attributes["layers"][-1], attributes["dtype"])


def _check_tensors(file: Any, attributes: dict[str, Any]) -> None:
    """Raise ValueError unless the file's tensors are those of the network, before reading any."""
    code = TENSOR_DTYPES[attributes["dtype"].name]
    expected: dict[str, tuple[int, ...]] = {}
    for layer, shape in enumerate(pairwise(attributes["layers"])):
        expected[f"{layer}.weight"] = shape
        expected[f"{layer}.bias"] = shape[1:]
    names = set(file.keys())
    if names != expected.keys():
        wrong = ", ".join(sorted(names ^ expected.keys())[:5])
        raise ValueError(f"its tensors are not those of the network it describes: {wrong}")
    for name, wanted in expected.items():
        tensor = file.get_slice(name)
        found = tuple(tensor.get_shape()), tensor.get_dtype()
        if found != (wanted, code):
            raise ValueError(f"tensor {name} is {found[0]} of {found[1]}, not {wanted} of {code}")
