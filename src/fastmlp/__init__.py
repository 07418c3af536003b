"""Multi-layer perceptrons on the CPU: small, exact and fast.

>>> import fastmlp as fm
>>> X_train, y_train, X_test, y_test = fm.data.load("digits")
>>> net = fm.MLP([64, 32, 10])
>>> history = net.fit(X_train, y_train, epochs=50, lr=0.05)
>>> net.score(X_test, y_test) > 0.9
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import (
    _openmp,  # noqa: F401  before whatever loads the core
    callbacks,
    losses,
    ops,
    optimizers,
    schedules,
)
from .callbacks import Callback, Progress
from .checkpoints import Checkpoint
from .checks import FilePath
from .early_stopping import EarlyStopping
from .errors import DivergenceError
from .eval_metrics import Metric
from .history import History
from .machine import (
    apply_environment,
    available_isas,
    config,
    get_include,
    get_isa,
    get_num_threads,
    set_isa,
    set_num_threads,
    show_config,
)
from .mlp import MLP

if TYPE_CHECKING:
    from . import data, metrics, plot, reference, study
    from .convert import from_sklearn, from_torch

    __version__: str

__all__ = [
    "MLP",
    "Callback",
    "Checkpoint",
    "DivergenceError",
    "EarlyStopping",
    "History",
    "Metric",
    "Progress",
    "__version__",
    "available_isas",
    "callbacks",
    "config",
    "data",
    "from_sklearn",
    "from_torch",
    "get_include",
    "get_isa",
    "get_num_threads",
    "load",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "plot",
    "reference",
    "schedules",
    "set_isa",
    "set_num_threads",
    "show_config",
    "study",
]

_LAZY_MODULES = ("data", "metrics", "plot", "reference", "study")
_CONVERSIONS = ("from_sklearn", "from_torch")

apply_environment()


def load(path: FilePath, loss: str | losses.AnyLoss | None = None) -> MLP:
    """Read a network from a safetensors file that `MLP.save` wrote, or from a checkpoint.

    What comes from a checkpoint has the history of the fit so far, and the optimizer's state: a fit
    with an equal optimizer goes on from there. `fit(..., resume=True)` finishes the fit itself.

    `loss`, as for `MLP`, takes the place of the loss that the file names. The file holds no Python
    functions: a network trained with one predicts without it, and for all that needs the loss it is
    given here.

    Needs the library `safetensors`. Raises FileNotFoundError when there is no such file and
    ValueError, beginning with the path, when it is damaged or of another kind.
    """
    from .io import load_model

    return load_model(path, loss)


# A type checker that saw it would take every name, misspelt ones too, for an attribute.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # What not every program needs is imported when it is first asked for.
        if name in _LAZY_MODULES:
            return import_module(f".{name}", __name__)
        if name in _CONVERSIONS:
            return getattr(import_module(".convert", __name__), name)
        if name == "__version__":
            from importlib.metadata import version

            return version("fastmlp")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
