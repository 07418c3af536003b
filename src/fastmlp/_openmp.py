"""Load the C core, so that OpenMP's idle threads go to sleep soon after a call.

GNU OpenMP has them spin for several milliseconds, which takes the cores from whatever the program
does next. It reads its settings when it is loaded, and from the environment alone.
"""

import os

SPINS = "8000"
"""About 90 us. To wake a thread takes 40 us, so calls in a row need not, nor do the epochs of a
small network, between which lie 50 us and more.
"""


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip())


if not (_is_set("GOMP_SPINCOUNT") or _is_set("OMP_WAIT_POLICY")):
    before = os.environ.get("GOMP_SPINCOUNT")
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        from . import _core  # noqa: F401
    finally:
        del os.environ["GOMP_SPINCOUNT"]
        if before is not None:
            os.environ["GOMP_SPINCOUNT"] = before
