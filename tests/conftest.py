"""Fixtures of all tests: the engine's settings, its dtypes, and Python programs on the side."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _core

hypothesis.settings.register_profile("fastmlp", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fastmlp")

INITIAL_ISA = fm.get_isa()

NEAR_CORES = 2
"""What tests take an exchange between cores to cost: what is measured where cores share a cache.

So that what threads share does not depend on the machine's other work.
"""


@pytest.fixture(autouse=True)
def restore_settings():
    """Begin with near cores, and leave the instruction set and the threads as they were."""
    _core.set_exchange(NEAR_CORES)
    yield
    fm.set_isa(INITIAL_ISA)
    fm.set_num_threads(None)


@pytest.fixture(params=fm.available_isas())
def isa(request):
    """Run the test with the kernels of each instruction set of this machine."""
    fm.set_isa(request.param)
    return request.param


@pytest.fixture(params=[1, 2, 3], ids="{}threads".format)
def threads(request):
    """Run the test with 1, 2 and 3 threads."""
    fm.set_num_threads(request.param)
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Run the test in both dtypes."""
    return np.dtype(request.param)


@pytest.fixture
def run_python():
    """Return a function that runs a program in a fresh interpreter and returns what it printed.

    The program is killed, and the test fails, when it takes longer than `timeout` seconds. Entries
    of `env` that are None are removed from the environment.
    """

    def run(program, *arguments, timeout=30, check=True, **env):
        environment = {**os.environ, **env}
        package = str(Path(fm.__file__).parents[1])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        result = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert result.returncode == 0, result.stderr
            return result.stdout
        return result

    return run
