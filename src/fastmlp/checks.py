"""Checks of the arguments users pass, shared by every implementation of the network and the ops.

Each function returns its argument in the one form the rest of the code works with, or raises an
exception whose message begins with the argument's name: `TypeError` for what is of the wrong kind
(dtype included), `ValueError` for a wrong value, shape or length. None of them changes its input.
"""

import math
import numbers
import operator
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .callbacks import Callback
from .sparse import SparseRows, from_scipy, is_sparse

Array = npt.NDArray[Any]
Features = Array | SparseRows
"""Samples as the networks take them."""
FilePath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

HIDDEN_ACTIVATIONS = (
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "sigmoid",
    "tanh",
)
LAST_ACTIVATIONS = ("softmax", "exp")
"""Activations that only the last layer can have."""
OUTPUT_ACTIVATIONS = (*HIDDEN_ACTIVATIONS, *LAST_ACTIVATIONS)

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
FEATURE_DTYPES = (*FLOAT_DTYPES, np.dtype(np.uint8))

MAX_WIDTH = 2**28
MAX_LAYERS = 2**16
"""What the C engine can plan for, input included."""

ROW_SUM_TOLERANCE = 1e-3
"""How far from 1 a row of target probabilities may sum: room for values rounded to 4 digits."""


# Numbers ------------------------------------------------------------------------------------


def check_int(value: object, name: str) -> int:
    """Return an integer of any integer type as an `int`; booleans and floats are refused."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise TypeError(f"{name} must be an integer, got {value!r}")


def check_positive_int(value: object, name: str) -> int:
    """Return an integer of at least 1 as an `int`."""
    number = check_int(value, name)
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")
    return number


def check_real(value: object, name: str) -> float:
    """Return a finite real number as a `float`; booleans are refused."""
    if type(value) is float:
        number = value
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    else:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def check_learning_rate(lr: object) -> float:
    """Return a learning rate, finite and greater than 0, as a `float`."""
    rate = check_real(lr, "lr")
    if rate <= 0:
        raise ValueError(f"lr must be greater than 0, got {lr!r}")
    return rate


def check_flag(value: object, name: str) -> bool:
    """Return a Python or NumPy boolean as a `bool`."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_verbose(verbose: object) -> int:
    """Return how many epochs lie between two printed lines; 0 is silence, True is 1."""
    every = int(verbose) if isinstance(verbose, bool) else check_int(verbose, "verbose")
    if every < 0:
        raise ValueError(f"verbose must be at least 0, got {every}")
    return every


def check_seed(seed: object) -> int:
    """Return a seed in [0, 2**64) as an `int`."""
    number = check_int(seed, "seed")
    if not 0 <= number < 2**64:
        raise ValueError(f"seed must be in [0, 2**64), got {number}")
    return number


def check_path(path: object) -> str:
    """Return the name of a file as a `str`; numbers of open files are refused."""
    try:
        name = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"path must be a str, bytes or os.PathLike, got {path!r}") from None
    if not name or "\0" in name:
        raise ValueError(f"path must be the name of a file, got {path!r}")
    return name


# The network --------------------------------------------------------------------------------


def check_layers(layers: Iterable[int]) -> tuple[int, ...]:
    """Return the widths of the layers, the input's first, as a tuple of at least two `int`."""
    if isinstance(layers, str | bytes) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a sequence of widths, got {layers!r}")
    widths = tuple(
        check_positive_int(width, f"layers[{index}]") for index, width in enumerate(layers)
    )
    if len(widths) < 2:
        raise ValueError(f"layers must hold at least an input and an output width, got {widths}")
    largest_item = 8
    if len(widths) > MAX_LAYERS:
        raise ValueError(f"layers holds {len(widths)} widths, at most {MAX_LAYERS} are possible")
    if max(widths) > MAX_WIDTH or count_parameters(widths) > sys.maxsize // largest_item:
        raise ValueError(
            f"layers asks for more than can be addressed: widths are at most {MAX_WIDTH}, "
            f"the largest here is {max(widths)}"
        )
    return widths


def count_parameters(layers: Sequence[int]) -> int:
    """Return the number of weights and biases of a network with these widths."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(layers))


def check_activations(
    activations: Iterable[str | None] | None, layers: Sequence[int]
) -> tuple[str, ...]:
    """Return one lower-case name for each layer after the input.

    Parameters
    ----------
    activations
        None for relu in the hidden layers and softmax at the output (sigmoid when the last width
        is 1); or a name for each layer after the input, with or without a leading None for the
        input, in any letter case. Softmax and exp can only come last.
    layers
        Widths as returned by `check_layers`.
    """
    n_layers = len(layers) - 1
    if activations is None:
        return ("relu",) * (n_layers - 1) + ("sigmoid" if layers[-1] == 1 else "softmax",)
    if isinstance(activations, str | bytes) or not isinstance(activations, Iterable):
        raise TypeError(f"activations must be a sequence of names, got {activations!r}")
    given = tuple(activations)
    offset = 1 if len(given) == n_layers + 1 and given[0] is None else 0
    if len(given) - offset != n_layers:
        raise ValueError(
            f"activations must hold {n_layers} names, one for each layer after the input, "
            f"got {len(given)}"
        )
    names = []
    for index, value in enumerate(given[offset:], start=offset):
        if not isinstance(value, str):
            raise TypeError(f"activations[{index}] must be a name, got {value!r}")
        name = value.lower()
        if name not in OUTPUT_ACTIVATIONS:
            raise ValueError(
                f"activations[{index}] is {value!r}: known are {', '.join(OUTPUT_ACTIVATIONS)}"
            )
        names.append(name)
    for index, name in enumerate(names[:-1], start=offset):
        if name in LAST_ACTIVATIONS:
            raise ValueError(f"activations[{index}] is {name}, which only the last layer can have")
    return tuple(names)


def check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64 as a `numpy.dtype`."""
    if dtype is None:
        raise TypeError("dtype must be float32 or float64, got None")
    try:
        result = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        kind = ValueError if isinstance(dtype, str) else TypeError
        raise kind(f"dtype must be float32 or float64, got {dtype!r}") from error
    if result not in FLOAT_DTYPES:
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return result


def check_parameters(weights: Iterable[Array], biases: Iterable[Array]) -> None:
    """Raise ValueError naming the first layer that holds a value that is not finite."""
    for kind, arrays in (("weights", weights), ("biases", biases)):
        for layer, array in enumerate(arrays):
            if not np.isfinite(array).all():
                raise ValueError(f"{kind}[{layer}] holds values that are not finite")


# Data ---------------------------------------------------------------------------------------


def check_numeric(value: object, name: str) -> Array:
    """Return anything that NumPy reads as an array of real numbers (or booleans)."""
    # Looked up, as only a program that has imported numpy.ma has masked arrays.
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill or drop what is masked first")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be read as an array of numbers: {error}") from error
    if array.dtype.kind == "O" and hasattr(value, "isna"):
        array = _from_nullable(value, array, name)
    if array.dtype.kind == "O":
        raise TypeError(
            f"{name} must be a dense array of numbers, got {type(value).__name__} of objects"
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, its dtype is {array.dtype}")
    return array


def _from_nullable(value: Any, objects: Array, name: str) -> Array:
    """Return a DataFrame or Series that NumPy alone reads as objects in its columns' common dtype.

    pandas has numeric dtypes that can hold missing values, which NumPy's cannot. The objects come
    back where a column is not numeric.
    """
    dtypes = list(value.dtypes) if objects.ndim == 2 else [value.dtype]
    if not all(dtype.kind in "biuf" for dtype in dtypes):
        return objects
    missing = np.argwhere(np.asarray(value.isna()))
    if len(missing):
        raise ValueError(f"{name}{missing[0].tolist()} is missing: fill or drop such values first")
    return np.asarray(
        value.to_numpy(np.result_type(*(getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes)))
    )


def check_features(
    X: npt.ArrayLike, n_inputs: int, dtype: np.dtype[Any], name: str = "X"
) -> Features:
    """Return the samples as a matrix that a row-wise reader can use.

    Values are not looked at; see `check_finite`.

    Parameters
    ----------
    X
        (n, n_inputs) real numbers, n >= 1; or a sparse matrix of SciPy's.
    n_inputs
        Width of the network's input.
    dtype
        The network's dtype, to which dtypes other than those below are cast.

    Returns
    -------
    ndarray
        (n, n_inputs) of float32, float64 or uint8 in native byte order, aligned, with elements of
        a row adjacent and rows at least n_inputs elements apart. It is X itself where X is so.
    SparseRows
        For a sparse matrix, with values of the same dtypes.
    """
    if is_sparse(X):
        return _check_sparse(from_scipy(X, name), n_inputs, dtype, name)
    array = check_numeric(X, name)
    if array.ndim != 2:
        hint = {
            1: f"; for one sample pass {name}.reshape(1, -1)",
            3: f"; {name}.reshape(len({name}), -1) flattens each sample",
        }.get(array.ndim, "")
        raise ValueError(
            f"{name} must have 2 dimensions, (samples, features), its shape is {array.shape}{hint}"
        )
    n_columns = array.shape[1]
    _check_size(array.shape, n_inputs, name)
    if array.dtype not in FEATURE_DTYPES:
        with np.errstate(over="ignore"):
            return array.astype(dtype, order="C")
    row_stride, item_stride = array.strides
    itemsize = array.itemsize
    usable = (
        array.flags.aligned
        and item_stride == itemsize
        and row_stride >= n_columns * itemsize
        and row_stride % itemsize == 0
    )
    return array if usable else np.array(array, order="C")


def _check_size(shape: tuple[int, ...], n_inputs: int, name: str) -> None:
    """Refuse samples of another width than the network's input, or none."""
    if shape[1] != n_inputs:
        raise ValueError(f"{name} has {shape[1]} columns, the network takes {n_inputs}")
    if shape[0] == 0:
        raise ValueError(f"{name} is empty: at least one row is needed")


def _check_sparse(rows: SparseRows, n_inputs: int, dtype: np.dtype[Any], name: str) -> SparseRows:
    """Return sparse samples with values of a dtype that the engine takes."""
    _check_size(rows.shape, n_inputs, name)
    values = check_numeric(rows.values, name)
    if values.dtype not in FEATURE_DTYPES:
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
    return replace(rows, values=values)


def check_finite(X: Features, name: str = "X", dtype: np.dtype[Any] | None = None) -> None:
    """Raise ValueError naming the first element that is NaN or infinite.

    Parameters
    ----------
    X
        Matrix; integers always pass.
    dtype
        When given, values must also be finite once cast to this dtype.
    """
    if X.dtype.kind != "f":
        return
    if isinstance(X, SparseRows):
        with np.errstate(over="ignore"):
            finite = np.isfinite(X.values if dtype is None else X.values.astype(dtype, copy=False))
        if not finite.all():
            element = int(np.argmin(finite))
            row, column = X.place_of(element)
            _refuse_value(X.values[element], f"{name}[{row}, {column}]", dtype)
        return
    rows_per_block = max(1, 2**20 // X.shape[1])
    with np.errstate(over="ignore"):
        for start in range(0, len(X), rows_per_block):
            block = X[start : start + rows_per_block]
            finite = np.isfinite(block if dtype is None else block.astype(dtype, copy=False))
            if not finite.all():
                row, column = (int(index) for index in np.argwhere(~finite)[0])
                where = f"{name}[{start + row}, {column}]"
                _refuse_value(block[row, column], where, dtype)


def _refuse_value(value: Any, where: str, dtype: np.dtype[Any] | None) -> None:
    """Raise ValueError for a value that is not finite, or not in the dtype."""
    if np.isfinite(value):
        raise ValueError(f"{where} is {value}: too large for {dtype}")
    raise ValueError(f"{where} is {value}: all values must be finite")


def check_class_indices(values: Array, n_classes: int, name: str) -> npt.NDArray[np.int64]:
    """Return class indices as int64; floats must hold whole numbers.

    Parameters
    ----------
    values
        (n,) numbers of any integer, boolean or float dtype.
    n_classes
        Indices must be in [0, n_classes).
    """
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.floor(values))
        if not whole.all():
            index = int(np.argmin(whole))
            raise ValueError(
                f"{name}[{index}] is {values[index]}: class indices must be whole numbers"
            )
    elif values.dtype.kind == "b":
        values = values.astype(np.int64)
    inside = (values >= 0) & (values < n_classes)
    if not inside.all():
        index = int(np.argmin(inside))
        raise ValueError(
            f"{name}[{index}] is {values[index]}: class indices must be in [0, {n_classes})"
        )
    return np.require(values, dtype=np.int64, requirements=("C", "A"))


def check_targets(
    y: npt.ArrayLike,
    n_samples: int,
    n_outputs: int,
    output_activation: str,
    dtype: np.dtype[Any],
    name: str = "y",
) -> Array:
    """Return the targets in the form the network's loss takes.

    Parameters
    ----------
    y
        Softmax output: (n_samples,) class indices (integers, booleans or whole floats), or
        (n_samples, n_outputs) rows of probabilities, each summing to 1. Sigmoid output:
        (n_samples, n_outputs) values in [0, 1]. Otherwise (n_samples, n_outputs) finite values,
        for an exp output of at least 0.
        Sigmoid and regression networks of one output also take (n_samples,).
    dtype
        The network's dtype.

    Returns
    -------
    ndarray
        C-contiguous: (n_samples,) int64 when class indices were given, else (n_samples, n_outputs)
        of `dtype`. It is y itself where y is so.
    """
    array = check_numeric(y, name)
    if array.ndim == 0:
        raise ValueError(f"{name} must have one row for each sample, got the single value {array}")
    if len(array) != n_samples:
        raise ValueError(f"{name} has {len(array)} rows, the samples have {n_samples}")
    softmax = output_activation == "softmax"
    if softmax and array.ndim == 1:
        return check_class_indices(array, n_outputs, name)
    if array.ndim == 1 and n_outputs == 1:
        array = array.reshape(-1, 1)
    if array.shape != (n_samples, n_outputs):
        flat = f"({n_samples},) class indices or " if softmax else ""
        raise ValueError(
            f"{name} has shape {array.shape}, the network needs {flat}({n_samples}, {n_outputs})"
        )
    regression = output_activation not in ("softmax", "sigmoid")
    if regression:
        check_finite(array, name, dtype)
    with np.errstate(over="ignore"):
        targets = np.require(array, dtype=dtype, requirements=("C", "A"))
    if regression and output_activation != "exp":
        return targets
    inside = targets >= 0 if regression else (targets >= 0) & (targets <= 1)
    if not inside.all():
        row, column = (int(index) for index in np.argwhere(~inside)[0])
        raise ValueError(
            f"{name}[{row}, {column}] is {array[row, column]}: targets of "
            + (
                "an exp output must be at least 0"
                if regression
                else f"a {output_activation} output must be in [0, 1]"
            )
        )
    if softmax:
        off = np.abs(targets.sum(axis=1, dtype=np.float64) - 1) > ROW_SUM_TOLERANCE
        if off.any():
            row = int(np.argmax(off))
            raise ValueError(
                f"{name}[{row}] sums to {targets[row].sum():.6g}: "
                f"a row of class probabilities must sum to 1"
            )
    return targets


def check_sample_weight(
    value: npt.ArrayLike | None,
    n_samples: int,
    name: str = "sample_weight",
    all_zero: bool = False,
) -> npt.NDArray[np.float64] | None:
    """Return the samples' weights as contiguous float64, or None.

    Parameters
    ----------
    value
        (n_samples,) finite numbers of at least 0, of which one is not 0; or None.
    all_zero
        Whether they may all be 0, as those of a part of the samples.
    """
    if value is None:
        return None
    array = check_numeric(value, name)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} has shape {array.shape}, the samples need ({n_samples},)")
    weights = np.require(array, np.float64, ("C", "A"))
    usable = np.isfinite(weights) & (weights >= 0)
    if not usable.all():
        index = int(np.argmin(usable))
        raise ValueError(
            f"{name}[{index}] is {array[index]}: weights must be finite and at least 0"
        )
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if total == 0 and not all_zero:
        raise ValueError(f"{name} is 0 for every sample")
    if total == math.inf:
        raise ValueError(f"{name} has a sum beyond float64")
    return weights


def check_validation_data(validation_data: object) -> tuple[Any, Any, Any] | None:
    """Return X, y and the weights, or None for them, given for validation; or None for all.

    They themselves are not checked.
    """
    if validation_data is None:
        return None
    form = "validation_data must be a pair (X, y) or (X, y, sample_weight), Blocks or Batches"
    if not isinstance(validation_data, tuple | list):
        raise TypeError(f"{form}, got {type(validation_data).__name__}")
    if len(validation_data) not in (2, 3):
        raise ValueError(f"{form}, got {len(validation_data)} items")
    return (*validation_data, None)[:3]


def check_callbacks(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a sequence of Callback objects, got {callbacks!r}")
    hooks = tuple(callbacks)
    for index, hook in enumerate(hooks):
        if not isinstance(hook, Callback):
            raise TypeError(f"callbacks[{index}] must be a Callback object, got {hook!r}")
    return hooks


# Arrays given to the ops --------------------------------------------------------------------


def check_real_dtype(array: Features, name: str) -> None:
    """Raise TypeError unless the dtype is one that the ops take."""
    if array.dtype not in FLOAT_DTYPES:
        raise TypeError(f"{name} must be float32 or float64, its dtype is {array.dtype}")


def check_array(value: npt.ArrayLike, name: str, ndim: int | None = None) -> Array:
    """Return a float32 or float64 array with at least one element and, if given, this rank."""
    array = value if type(value) is np.ndarray else check_numeric(value, name)
    check_real_dtype(array, name)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, its shape is {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty, its shape is {array.shape}")
    return array


def check_same_dtype(array: Array, name: str, other: Features, other_name: str) -> None:
    """Raise TypeError unless both arrays have one dtype."""
    if array.dtype != other.dtype:
        raise TypeError(f"{name} is {array.dtype} and {other_name} is {other.dtype}")


def check_shape(array: Features, name: str, shape: tuple[int, ...], reason: str) -> None:
    """Raise ValueError unless the array has this shape; the reason says where it comes from."""
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, {reason} needs {shape}")


def check_pair(first: Array, first_name: str, second: Array, second_name: str) -> None:
    """Raise unless both arrays have one dtype and one shape."""
    check_same_dtype(second, second_name, first, first_name)
    check_shape(second, second_name, first.shape, first_name)


def check_out(
    out: Array | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: dict[str, Array],
    *,
    in_place: bool,
) -> Array:
    """Return the array to write a result into, a new one when `out` is None.

    Parameters
    ----------
    inputs
        The arrays that are read while `out` is written, by argument name.
    in_place
        Whether `out` may be exactly one of the inputs. Any other overlap is an error.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out must be {dtype} like the inputs, its dtype is {out.dtype}")
    check_shape(out, "out", shape, "the result")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    for name, array in inputs.items():
        if in_place and array is out:
            continue
        if np.shares_memory(out, array) and not (in_place and is_same_memory(out, array)):
            raise ValueError(f"out overlaps {name}")
    return out


def is_same_memory(first: Array, second: Array) -> bool:
    """Return whether two arrays of one dtype are the same elements in the same places."""
    return (
        first.ctypes.data == second.ctypes.data
        and first.shape == second.shape
        and first.strides == second.strides
    )
