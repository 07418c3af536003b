"""The kernels and threads in use, and what the package was built with and offers to C."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _core
from .checks import check_positive_int

EXCHANGES = tuple("01234567")
"""What FASTMLP_EXCHANGE may be: a cache line takes 2 to the power of it nanoseconds."""

_lock = threading.Lock()
_requested = 0
"""What `set_num_threads` was last told; 0 is OpenMP's own number."""
_inside = 0
"""How often `one_thread` has been entered and not yet left."""
_outside = 0
"""What `_requested` was before that."""


def available_isas() -> tuple[str, ...]:
    """Return the names of the instruction sets this machine can run, best first."""
    return _core.available_isas()


def get_isa() -> str:
    """Return the name of the instruction set in use."""
    return _core.get_isa()


def set_isa(name: str) -> None:
    """Use the kernels of one instruction set, one of `available_isas()`, from now on.

    The environment variable FASTMLP_ISA does the same at import. Results differ between
    instruction sets by rounding. Not to be called while another thread computes.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    if name not in available_isas():
        known = ", ".join(available_isas())
        raise ValueError(f"name is {name!r}: this machine can run {known}")
    _core.set_isa(name)


def apply_environment() -> None:
    """Apply FASTMLP_ISA and FASTMLP_EXCHANGE, those that are set and not empty."""
    name = os.environ.get("FASTMLP_ISA")
    if name and name not in available_isas():
        known = ", ".join(available_isas())
        raise ImportError(f"FASTMLP_ISA is {name!r}: this machine can run {known}")
    if name:
        _core.set_isa(name)
    exchange = os.environ.get("FASTMLP_EXCHANGE")
    if exchange and exchange not in EXCHANGES:
        raise ImportError(f"FASTMLP_EXCHANGE is {exchange!r}: it must be a number from 0 to 7")
    if exchange:
        _core.set_exchange(int(exchange))


def get_num_threads() -> int:
    """Return how many threads a call made now may use."""
    return _core.get_num_threads()


def set_num_threads(n: int | None) -> None:
    """Use at most n threads a call; None goes back to OpenMP's own number.

    OpenMP's number comes from OMP_NUM_THREADS or the cores at hand. A limit that is set through
    threadpoolctl holds on top of n if it is below OpenMP's number at import. Any other limit leaves
    n as it is, since OpenMP cannot tell it from that number: with OMP_NUM_THREADS=1, a limit of 1
    does not lower n = 2. More than 16 threads a core are never used. The number of threads never
    changes a result.
    """
    global _requested
    number = 0 if n is None else min(check_positive_int(n, "n"), 2**30)
    with _lock:
        _requested = number
        _core.set_num_threads(number)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep every call on one thread, and go back to what was asked for before.

    That is not `get_num_threads`, which tells what a limit leaves of it for the moment. Where
    several threads are in here, the last one to leave goes back.
    """
    global _inside, _requested, _outside
    with _lock:
        if not _inside:
            _outside = _requested
        _inside += 1
        _requested = 1
        _core.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _requested = _outside
                _core.set_num_threads(_outside)


def get_include() -> str:
    """Return the folder of the C headers, for the include directories of an extension.

    Cython finds `fastmlp.c_api` by itself. docs/c-api.md describes both.
    """
    # Beside the core, where the build put the headers that it was compiled with: in an editable
    # installation that is not where the Python files are.
    return os.path.join(os.path.dirname(_core.__file__), "include")


def config() -> dict[str, Any]:
    """Return versions, instruction sets, threads and compiler as a dictionary."""
    from . import __version__

    return {
        "version": __version__,
        "isa": get_isa(),
        "available_isas": list(available_isas()),
        "threads": get_num_threads(),
        "compiler": _core.compiler(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


def show_config() -> None:
    """Print what `config` returns."""
    for name, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name + ':':<16}{text}")
