"""From names, files and arguments to losses, and back."""

from dataclasses import asdict
from typing import Any, NoReturn

from .base import Loss
from .classification import BinaryCrossEntropy, CrossEntropy, Dice, Focal
from .python_loss import LossFunction, function_name
from .regression import Huber, MeanAbsoluteError, MeanSquaredError, Poisson

AnyLoss = Loss | LossFunction

CLASSES: dict[str, type[Loss]] = {
    kind.name: kind
    for kind in (
        CrossEntropy,
        BinaryCrossEntropy,
        Focal,
        Dice,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        Poisson,
    )
}

NAMES = tuple(CLASSES)
"""Names of the losses."""

DEFAULTS: dict[str, type[Loss]] = {
    "softmax": CrossEntropy,
    "sigmoid": BinaryCrossEntropy,
    "exp": Poisson,
}


class MissingLoss:
    """Stands for a Python loss that a file could only name: it raises when it is called."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __repr__(self) -> str:
        return f"MissingLoss({self.__name__!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MissingLoss) and other.__name__ == self.__name__

    def __hash__(self) -> int:
        return hash(self.__name__)

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"loss is the Python function {self.__name__}, which the file only names: "
            f"pass it on loading, fm.load(path, loss=...)"
        )


def default(output: str) -> Loss:
    """Return the loss for an output activation when none is asked for."""
    return DEFAULTS.get(output, MeanSquaredError)()


def get(loss: str | AnyLoss | None, output_activation: str) -> AnyLoss:
    """Return a loss as an object, or a function as it is.

    Parameters
    ----------
    loss
        None for the default: cross-entropy for softmax, binary cross-entropy for sigmoid, Poisson
        for exp, else the mean squared error. Or a name of `NAMES` in any letter case, an object of
        this module, or a Python function.
    output_activation
        What the loss has to fit.

    Raises
    ------
    TypeError, ValueError
        For something else, an unknown name, and a loss that does not fit the output.
    """
    if loss is None:
        return default(output_activation)
    if isinstance(loss, str):
        kind = CLASSES.get(loss.lower())
        if kind is None:
            raise ValueError(
                f"loss is {loss!r}: known are {', '.join(NAMES)}, or a Python function"
            )
        loss = kind()
    if isinstance(loss, type):
        raise TypeError(f"loss is the class {loss.__name__}: pass an object of it")
    if isinstance(loss, Loss):
        if not isinstance(loss, tuple(CLASSES.values())):
            raise TypeError(
                f"loss is a {type(loss).__name__}, which the engine does not know: "
                f"pass a loss of your own as a function"
            )
        loss.check_output(output_activation)
        return loss
    if not callable(loss):
        raise TypeError(f"loss must be a name, an object of fm.losses or a function, got {loss!r}")
    return loss


def label(loss: AnyLoss) -> str:
    """Return a loss as an argument of `fm.MLP` is written; functions by their names."""
    return repr(loss) if isinstance(loss, Loss) else function_name(loss)


def describe(loss: AnyLoss) -> dict[str, Any]:
    """Return a loss as a dictionary for JSON."""
    if isinstance(loss, Loss):
        return {"name": loss.name, **asdict(loss)}
    return {"name": "custom", "function": function_name(loss)}


def from_description(description: object) -> AnyLoss:
    """Return the loss that `describe` described.

    TypeError or ValueError when it has another form or describes no loss.
    """
    if not isinstance(description, dict) or not isinstance(description.get("name"), str):
        raise ValueError(f"loss is {description!r}, not the description of a loss")
    parameters = dict(description)
    name = parameters.pop("name")
    if name == "custom":
        function = parameters.get("function")
        if not isinstance(function, str) or len(parameters) != 1:
            raise ValueError(f"loss is {description!r}, not the description of a loss")
        return MissingLoss(function)
    if name not in CLASSES:
        raise ValueError(f"loss is {name!r}: known are {', '.join(NAMES)} and custom")
    weights = parameters.get("class_weight")
    if isinstance(weights, dict):
        # The keys of JSON's objects are strings.
        parameters["class_weight"] = {int(label): weight for label, weight in weights.items()}
    return CLASSES[name](**parameters)
