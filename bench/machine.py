"""The machine: what it is, and the most that it can do."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp as fm

from .peers import PEERS

PEAK_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")

PEAK_HELD_FLAGS = {"avx2": ("-mno-avx512f",)}
"""Flags besides, to hold the loop to an older instruction set."""

PEAK_RUN_SECONDS = 0.01

PEAK_SIZES = (192, 256, 384, 512, 768, 1024)
"""Squares among which the quickest product is looked for."""

BANDWIDTH_BYTES = 2**28
"""Size of the arrays that are copied and read."""

INSTRUCTION_SETS = (
    "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512vl", "avx512bw",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8",
    "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip
"""Flags of /proc/cpuinfo that matter to such arithmetic."""


def cpu_count() -> int:
    """Return the processors that this process may run on."""
    return len(os.sched_getaffinity(0))


def cpuinfo() -> dict[str, str]:
    """Return the entries of the first processor in /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def caches() -> dict[str, str]:
    """Return the sizes of the first processor's caches as Linux writes them, such as 2048K."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (folder / name).read_text(encoding="utf-8").strip()
                for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            sizes[f"L{level}"] = size
    return sizes


def description() -> dict[str, Any]:
    """Return what the machine is and which versions are on it."""
    cpu = cpuinfo()
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "processors": cpu_count(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "caches": caches(),
        "memory_gib": round(memory / 2**30, 1),
        "load_average": os.getloadavg()[0],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {peer.requires: peer.version() for peer in PEERS if peer.is_installed()},
        "fastmlp": fm.config(),
    }


def on_threads(work: Callable[[int], object], threads: int, repeats: int) -> float:
    """Return the least time in seconds that all threads take for `work(number of the thread)`."""
    best = float("inf")
    for _ in range(repeats):
        gate = threading.Barrier(threads + 1)

        def body(number: int, gate: threading.Barrier = gate) -> None:
            gate.wait()
            work(number)

        crew = [threading.Thread(target=body, args=(number,)) for number in range(threads)]
        for thread in crew:
            thread.start()
        began = time.perf_counter()
        gate.wait()
        for thread in crew:
            thread.join()
        best = min(best, time.perf_counter() - began)
    return best


def compiled_peak(threads: int, seconds: float, isa: str | None = None) -> float | None:
    """Return the rate of peak.c's loop in FLOP/s, or None without a C compiler.

    With `isa` the loop is held to that instruction set.
    """
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        source = Path(__file__).with_name("peak.c")
        flags = (*PEAK_FLAGS, *PEAK_HELD_FLAGS.get(isa or "", ()))
        command = [compiler, *flags, str(source), "-o", str(library)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        loop = ctypes.CDLL(str(library))
    loop.operations.restype = ctypes.c_size_t
    loop.run.argtypes = [ctypes.c_size_t, ctypes.c_float, ctypes.c_float]
    loop.run.restype = ctypes.c_float
    operations = int(loop.operations())

    def rate(rounds: int, repeats: int) -> float:
        took = on_threads(lambda _: loop.run(rounds, 0.5, 1.0), threads, repeats)
        return threads * rounds * operations / took

    # Runs are long enough that starting the threads does not count, and short enough that one of
    # many is not interrupted.
    rounds = 10**5
    rounds = int(rate(rounds, 5) / threads / operations * PEAK_RUN_SECONDS)
    return rate(rounds, int(seconds / PEAK_RUN_SECONDS))


def bandwidth(threads: int) -> dict[str, float]:
    """Return the bytes a second of reading (max) and of copying (read plus written) in NumPy."""
    parts = [np.zeros(BANDWIDTH_BYTES // 4 // threads, np.float32) for _ in range(threads)]
    copies = [np.ones_like(part) for part in parts]
    size = sum(part.nbytes for part in parts)
    reading = on_threads(lambda number: parts[number].max(), threads, 5)
    copying = on_threads(lambda number: np.copyto(copies[number], parts[number]), threads, 5)
    return {"read": size / reading, "copy": 2 * size / copying}


IMPORT_PROGRAM = """
import time
import numpy
began = time.perf_counter()
import fastmlp
print(time.perf_counter() - began)
"""


def import_seconds(rounds: int) -> list[float]:
    """Return the times that `import fastmlp` takes once NumPy is imported, in new processes."""

    def once() -> float:
        command = [sys.executable, "-c", IMPORT_PROGRAM]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # The first import may find the files outside the disk's cache, or without bytecode.
    once()
    return [once() for _ in range(rounds)]
