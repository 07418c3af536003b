"""What a checkpoint holds besides the network.

In the description of the network it is the entry "fit", a JSON object: the version of this layout
under "format", the version of fastmlp that wrote it, and what `FitState` lists. Numbers are written
so that they are read as the same bits.

The tensors, besides the network's: "optimizer.<number>.<layer>.weight" and ".bias", what the
optimizer remembers; with an average of the parameters "stepped.<layer>.weight" and ".bias", the
parameters that it moves; and "kept.<number>", the arrays that early stopping and callbacks keep,
which stand in their states as {"tensor": <name>}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks, optimizers, regularization
from ..fitting import Position, Totals
from ..history import LISTS, History

Array = npt.NDArray[Any]

FORMAT = 1
"""Version of the layout."""

REFERENCE = "tensor"
"""The only key of an object that stands for an array."""


@dataclass
class FitState:
    """What a checkpoint knows of a fit.

    Attributes
    ----------
    options
        What decides the bits that the fit makes of a network, by names.
    start
        What tells the network that it began with from others.
    optimizer, optimizer_steps, ema
        Of `optimizers.State`.
    position
        How far it has come.
    history
        Of the finished epochs.
    early_stopping
        What `early_stopping.Watch` has seen: numbers and arrays; nothing without it.
    callbacks
        Names and states of the callbacks that have one.
    """

    options: dict[str, Any]
    start: dict[str, Any]
    optimizer: optimizers.Optimizer
    optimizer_steps: int
    ema: float | None
    position: Position
    history: History
    early_stopping: tuple[dict[str, float | None], list[Array]]
    callbacks: list[tuple[str, dict[str, Any]]]


def describe(fit: FitState) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a fit's state as JSON has it, and the arrays that are kept with it by names."""
    arrays: dict[str, Array] = {}
    callbacks = [
        [name, _without_arrays(state, f"the state of {name}", arrays)]
        for name, state in fit.callbacks
    ]
    position = fit.position
    description = {
        "format": FORMAT,
        "fastmlp": _version(),
        "options": fit.options,
        "start": fit.start,
        "optimizer": optimizers.describe(fit.optimizer),
        "optimizer_steps": fit.optimizer_steps,
        "ema": fit.ema,
        "position": {**position.__dict__, "totals": list(position.totals)},
        "history": fit.history.__dict__,
        "early_stopping": _without_arrays(fit.early_stopping, "early_stopping", arrays),
        "callbacks": callbacks,
    }
    return description, arrays


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("fastmlp")


def from_description(
    description: Any, layers: tuple[int, ...]
) -> tuple[FitState, dict[str, tuple[int, ...] | None]]:
    """Return the state that `describe` described, the arrays kept with it left as references.

    And the shapes of the tensors it needs besides the network's, of which those that are not None
    have the network's dtype. TypeError or ValueError when it has another form.
    """
    if not isinstance(description, dict) or "format" not in description:
        raise ValueError("its metadata does not describe the state of a fit")
    if checks.check_int(description["format"], "format of the fit") != FORMAT:
        raise ValueError(
            f"the state of its fit has layout {description['format']}, this version reads "
            f"{FORMAT}: a newer fastmlp may have written it"
        )
    entries = {*FitState.__dataclass_fields__, "format", "fastmlp"}
    if description.keys() != entries:
        raise ValueError(f"the state of its fit must have the entries {', '.join(sorted(entries))}")
    for name in ("options", "start", "position", "history"):
        if not isinstance(description[name], dict):
            raise ValueError(f"{name} is {description[name]!r}, not an object")
    optimizer = optimizers.from_description(description["optimizer"])
    ema = regularization.check_ema(description["ema"])
    callbacks = description["callbacks"]
    if not isinstance(callbacks, list) or not all(_is_callback(entry) for entry in callbacks):
        raise ValueError("callbacks is not a list of names and states")
    watched = description["early_stopping"]
    if not isinstance(watched, list) or list(map(type, watched)) != [dict, list]:
        raise ValueError("early_stopping is not a pair of numbers and arrays")
    position = _position(description["position"])
    fit = FitState(
        description["options"],
        description["start"],
        optimizer,
        _count(description["optimizer_steps"], "optimizer_steps"),
        ema,
        position,
        _history(description["history"], position.epochs),
        (watched[0], watched[1]),
        [(name, state) for name, state in callbacks],
    )
    prefixes = [f"optimizer.{n}." for n in range(optimizers.STATES[optimizer.rule().name])]
    if ema is not None:
        prefixes.append("stepped.")
    expected: dict[str, tuple[int, ...] | None] = {}
    for prefix in prefixes:
        for layer, shape in enumerate(pairwise(layers)):
            expected[f"{prefix}{layer}.weight"] = shape
            expected[f"{prefix}{layer}.bias"] = shape[1:]
    for state in (watched, callbacks):
        expected.update((name, None) for name in _references(state))
    return fit, expected


def take_arrays(fit: FitState, tensors: Mapping[str, Array]) -> None:
    """Put arrays into the places of their names."""
    numbers, arrays = fit.early_stopping
    fit.early_stopping = numbers, _with_arrays(arrays, tensors)
    fit.callbacks = [(name, _with_arrays(state, tensors)) for name, state in fit.callbacks]


def _with_arrays(state: Any, tensors: Mapping[str, Array]) -> Any:
    if isinstance(state, list):
        return [_with_arrays(item, tensors) for item in state]
    if not isinstance(state, dict):
        return state
    if state.keys() == {REFERENCE}:
        return tensors[state[REFERENCE]]
    return {name: _with_arrays(item, tensors) for name, item in state.items()}


def _without_arrays(value: Any, where: str, arrays: dict[str, Array]) -> Any:
    """Return a state as JSON has it; its arrays are added to `arrays`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        name = f"kept.{len(arrays)}"
        # In C order and in the order of the machine's bytes, and one's own.
        arrays[name] = np.array(value, value.dtype.newbyteorder("="), order="C")
        return {REFERENCE: name}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, where, arrays) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        if value.keys() == {REFERENCE}:
            raise ValueError(f"{where} has a dictionary with the only key {REFERENCE!r}")
        return {key: _without_arrays(item, where, arrays) for key, item in value.items()}
    raise TypeError(f"{where} holds {value!r}, which a checkpoint cannot keep")


def _references(state: Any) -> list[str]:
    """Return the names of a state's arrays."""
    if isinstance(state, list):
        return [name for item in state for name in _references(item)]
    if not isinstance(state, dict):
        return []
    if state.keys() == {REFERENCE}:
        name = state[REFERENCE]
        if not isinstance(name, str) or not name.startswith("kept."):
            raise ValueError(f"a state refers to the tensor {name!r}")
        return [name]
    return [name for item in state.values() for name in _references(item)]


def _is_callback(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], dict)
    )


def _count(value: object, name: str) -> int:
    number = checks.check_int(value, name)
    if not 0 <= number < 2**63:
        raise ValueError(f"{name} is {number}")
    return number


def _real(value: object, name: str) -> float:
    if not isinstance(value, float):
        raise TypeError(f"{name} is {value!r}, not a number")
    return value


def _position(entries: dict[str, Any]) -> Position:
    if entries.keys() != Position.__dataclass_fields__.keys():
        raise ValueError("position must have the entries of a position")
    totals = entries["totals"]
    if not isinstance(totals, list) or len(totals) != len(Totals._fields):
        raise ValueError("totals must be a list of sums")
    loss, weight, hits, samples, steps, penalty = totals
    return Position(
        _count(entries["epochs"], "epochs"),
        _count(entries["steps"], "steps"),
        checks.check_flag(entries["stopped"], "stopped"),
        Totals(
            _real(loss, "loss"),
            _real(weight, "weight"),
            _count(hits, "hits"),
            _count(samples, "samples"),
            _count(steps, "steps"),
            _real(penalty, "penalty"),
        ),
        _real(entries["seconds"], "seconds"),
    )


def _history(entries: dict[str, Any], epochs: int) -> History:
    if entries.keys() != History.__dataclass_fields__.keys():
        raise ValueError("history must have the entries of a history")
    metrics, best_epoch = entries["metrics"], entries["best_epoch"]
    if not isinstance(metrics, dict):
        raise ValueError(f"history's metrics are {metrics!r}, not an object")
    if best_epoch is not None and not 1 <= checks.check_int(best_epoch, "best_epoch") <= epochs:
        raise ValueError(f"history's best_epoch is {best_epoch} after {epochs} epochs")
    for name, values in ({name: entries[name] for name in LISTS} | metrics).items():
        if not isinstance(values, list) or not all(isinstance(value, float) for value in values):
            raise ValueError(f"history's {name} is not a list of numbers")
        whole = name in ("loss", "seconds") or name in metrics
        if len(values) != epochs and (whole or values):
            raise ValueError(f"history's {name} has {len(values)} values after {epochs} epochs")
    return History(**entries)
