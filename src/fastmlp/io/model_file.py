"""Networks as safetensors files.

The tensors are "<layer>.weight" (inputs, outputs) and "<layer>.bias" (outputs,), layers counted
from 0. The metadata has the one entry "fastmlp", a JSON object: the version of this layout under
"format", what the constructor takes, and what training has left behind. More than one entry would
be written in an order that changes from run to run.

A checkpoint has more tensors, the state of a fit (`fit_state`) under "fit", and under "digest" what
tells whether all of it is as it was written.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import checks, losses
from ..initializers import check_init
from . import fit_state
from .atomic import replace_file
from .fit_state import FitState

if TYPE_CHECKING:
    from .. import base
    from ..mlp import MLP

Array = npt.NDArray[Any]

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
files of before there was a choice are without; and "fit" and "digest", which checkpoints have."""

TENSOR_DTYPES = {"float32": "F32", "float64": "F64"}
"""Names that safetensors gives the dtypes."""


class Network(NamedTuple):
    """What a file holds of a network."""

    attributes: dict[str, Any]
    tensors: dict[str, Array]

    @property
    def weights(self) -> list[Array]:
        """Those of each layer."""
        return [self.tensors[f"{i}.weight"] for i in range(len(self.attributes["activations"]))]

    @property
    def biases(self) -> list[Array]:
        """Those of each layer."""
        return [self.tensors[f"{i}.bias"] for i in range(len(self.attributes["activations"]))]


def require_safetensors() -> Any:
    """Return the library; ModuleNotFoundError where it is missing."""
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
    _write(path, _description(net), tensors)


def save_checkpoint(
    net: "base.MLP", tensors: Mapping[str, Array], fit: FitState, path: str
) -> None:
    """Write a network in the course of a fit to a file, replacing an earlier one as a whole.

    Parameters
    ----------
    tensors
        The network's and the optimizer's.
    """
    described, arrays = fit_state.describe(fit)
    found = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()} | arrays
    # As it will be read: keys that are numbers are strings then, and sorted as such.
    description = json.loads(json.dumps({**_description(net), "fit": described}))
    description["digest"] = _digest(description, found)
    _write(path, description, found)


def _description(net: "base.MLP") -> dict[str, Any]:
    """Return a network's attributes as JSON has them."""
    network = {name: getattr(net, name) for name in ATTRIBUTES}
    network.update(dtype=net.dtype.name, loss=losses.describe(net.loss), format=FORMAT)
    return network


def _digest(description: Mapping[str, Any], tensors: Mapping[str, Array]) -> str:
    """Return what tells whether a description and the elements of its tensors are as written."""
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(tensors[name].tobytes())
    return found.hexdigest()


def _write(path: str, description: Mapping[str, Any], tensors: dict[str, Array]) -> None:
    metadata = {"fastmlp": json.dumps(description, sort_keys=True)}
    replace_file(path, require_safetensors().numpy.save(tensors, metadata))


def load_model(path: checks.FilePath, loss: str | losses.AnyLoss | None = None) -> "MLP":
    """Read a network that `MLP.save` wrote, or a checkpoint of one.

    That has the history of the fit so far, and what its optimizer remembers.

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
    from .. import checkpoints
    from ..mlp import MLP

    network, fit = _read(path, "fastmlp model")
    attributes = network.attributes
    if loss is not None:
        attributes["loss"] = losses.get(loss, attributes["activations"][-1])
        _check_loss(attributes)
    net = MLP.__new__(MLP)
    net.__setstate__(
        {"attributes": attributes, "weights": network.weights, "biases": network.biases}
    )
    if fit is not None:
        state = net._use_optimizer(fit.optimizer, fit.ema)
        state.steps = fit.optimizer_steps
        for name, array in checkpoints.views(net, state)[1].items():
            array[...] = network.tensors[name]
        net.history = fit.history
    return net


def read_checkpoint(path: str) -> tuple[Network, FitState]:
    """Read a checkpoint, raising what `load_model` does, and ValueError for another model."""
    network, fit = _read(path, "checkpoint")
    if fit is None:
        raise ValueError(
            f"{path} is not a checkpoint: it holds a network, but not the state of a fit"
        )
    return network, fit


def _read(path: checks.FilePath, what: str) -> tuple[Network, FitState | None]:
    """Read a file, which errors say is not a usable `what`."""
    path = checks.check_path(path)
    safetensors = require_safetensors()
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        # Not opened: a FIFO would wait for a writer.
        raise ValueError(f"{path} is not a usable {what}: it is not a regular file")
    with open(path, "rb"):
        pass  # an unreadable file, or a folder, is reported as Python reports it
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {}).get("fastmlp", "null"))
            attributes = _attributes(description)
            fit: FitState | None = None
            more: dict[str, tuple[int, ...] | None] = {}
            if "fit" in description:
                fit, more = fit_state.from_description(description["fit"], attributes["layers"])
            _check_tensors(file, attributes, more)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = Network(attributes, tensors)
        checks.check_parameters(network.weights, network.biases)
        if fit is not None:
            if description.pop("digest") != _digest(description, tensors):
                raise ValueError("it is damaged, its contents are not what was written")
            fit_state.take_arrays(fit, tensors)
    except (safetensors.SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a usable {what}: {error}") from error
    return network, fit


def _attributes(network: Any) -> dict[str, Any]:
    """Return a network's attributes from its description, each checked."""
    if not isinstance(network, dict) or "format" not in network:
        raise ValueError("its metadata does not describe a network of fastmlp")
    if checks.check_int(network["format"], "format") != FORMAT:
        raise ValueError(
            f"it has layout {network['format']}, this version reads {FORMAT}: "
            f"a newer fastmlp may have written it"
        )
    more = {"fit", "digest"} if "fit" in network else set()
    if network.keys() - {"loss"} != ATTRIBUTES | {"format"} | more:
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


def _check_tensors(
    file: Any, attributes: dict[str, Any], more: dict[str, tuple[int, ...] | None]
) -> None:
    """Raise ValueError unless the file's tensors are those of the network, before reading any.

    And those of `more`, where a shape of None is any.
    """
    code = TENSOR_DTYPES[attributes["dtype"].name]
    expected: dict[str, tuple[int, ...] | None] = {**more}
    for layer, shape in enumerate(pairwise(attributes["layers"])):
        expected[f"{layer}.weight"] = shape
        expected[f"{layer}.bias"] = shape[1:]
    names = set(file.keys())
    if names != expected.keys():
        wrong = ", ".join(sorted(names ^ expected.keys())[:5])
        raise ValueError(f"its tensors are not those of the network it describes: {wrong}")
    for name, wanted in expected.items():
        if wanted is None:
            continue
        tensor = file.get_slice(name)
        found = tuple(tensor.get_shape()), tensor.get_dtype()
        if found != (wanted, code):
            raise ValueError(f"tensor {name} is {found[0]} of {found[1]}, not {wanted} of {code}")
