"""Contestants in processes of their own, asked in turn."""

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .peers import FASTMLP, Peer
from .statistics import noise
from .tasks import Array, Task, TrainingTask

ROOT = Path(__file__).resolve().parents[1]

PATIENCE = 300.0
"""Seconds after which a contestant that has not answered is given up."""

TOLERANCES = {
    "training": 2e-2,
    "prediction": 1e-5,
    "product": 1e-5,
    "estimatorfit": 3e-2,
    "estimatorrow": 1e-5,
}
"""Differences from the reference above these are told; see `difference`.

Rounding decides on which side of zero a relu unit with an input of about zero falls. One that falls
otherwise in one sample has been seen to shift an epoch of few updates by 6e-3, and thousands of
updates, on labels that cannot be learned above all, make a third of the way of it: as much as lies
between float32 and float64 of one contestant. Those without such a case agree to 1e-6.

Estimators visit the samples in an order of their own; what is compared is the share that they
classify rightly.
"""

EXPLANATIONS = {
    "training": "its rounding has grown over the updates, or it trains otherwise",
    "prediction": "more than rounding explains",
    "product": "more than rounding explains",
    "estimatorfit": "it learned more or less in as many epochs",
    "estimatorrow": "more than rounding explains",
}


class ContestantError(Exception):
    """A contestant could not do what it was asked, and why."""


XLA_FLAGS = "XLA_FLAGS"

HELD = {
    "avx2": {
        "FASTMLP_ISA": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        XLA_FLAGS: "--xla_cpu_max_isa=AVX2",
    },
}
"""What holds libraries to an older instruction set, as far as they have a setting for it."""

UNHELD = ("JAX", "ONNX Runtime", "OpenVINO")
"""Peers that have none. JAX has one for the code it generates, and its products do not heed it."""


def environment(threads: int, isa: str | None = None) -> dict[str, str]:
    """Return the environment that keeps every library to a number of threads.

    With `isa`, a key of `HELD`, also to that instruction set.
    """
    counts = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
    eigen = "true" if threads > 1 else "false"
    held = HELD[isa] if isa is not None else {}
    return {
        **os.environ,
        **held,
        **{f"{name}_NUM_THREADS": str(threads) for name in counts},
        # XLA's pools have as many threads as this says there are processors.
        "NPROC": str(threads),
        XLA_FLAGS: f"--xla_cpu_multi_thread_eigen={eigen} {held.get(XLA_FLAGS, '')}".strip(),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }


class Contestant:
    """The process of a peer; it is stopped by a signal whenever it is not being asked.

    So no pool of one contestant, spinning while it waits for work, takes time from another.
    """

    def __init__(self, peer: Peer, threads: int, isa: str | None = None) -> None:
        self.peer = peer
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", f"{__package__}.worker", peer.module, str(theirs.fileno())]
        with theirs:
            # What libraries print goes to standard error: standard output is the suite's.
            self.process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=environment(threads, isa),
                stdout=2,
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())

    def answer(self) -> Any:
        """Wait for the reply to the last request, and stop the process."""
        try:
            if not self.connection.poll(PATIENCE):
                self.close()
                raise ContestantError(f"no answer within {PATIENCE:.0f} s")
            state, value = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            self.close()
            raise ContestantError(f"its process ended: {self.process.returncode}") from error
        self.process.send_signal(signal.SIGSTOP)
        if state != "ok":
            raise ContestantError(value)
        return value

    def ask(self, method: str, *arguments: Any) -> Any:
        """Have `worker.Contest` call a method, and return its result."""
        if self.connection.closed:
            raise ContestantError("its process has ended")
        try:
            self.process.send_signal(signal.SIGCONT)
            self.connection.send((method, arguments))
        except OSError as error:
            self.close()
            raise ContestantError(f"its process ended: {self.process.returncode}") from error
        return self.answer()

    def close(self) -> None:
        """End the process, whatever it is doing, and those that it has started."""
        self.connection.close()
        # joblib's processes wait for more work for minutes, also where the first has ended itself.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def distance(these: Sequence[Array], those: Sequence[Array]) -> float:
    """Return the Euclidean distance of two lists of arrays, each taken as one vector."""
    squares = (np.square(a - b, dtype=float).sum() for a, b in zip(these, those, strict=True))
    return math.sqrt(sum(squares))


def difference(result: Any, reference: Any, task: Task) -> float | None:
    """Return how far a result is from the reference, or None where the two have other shapes.

    For a training the distance of the parameters over the length of the way that the reference
    went from the initial parameters; otherwise the largest difference of two elements over the
    largest element.
    """
    if isinstance(task, TrainingTask):
        if any(a.shape != b.shape for a, b in zip(result, reference, strict=True)):
            return None
        apart = distance(result, reference)
        return apart / distance(reference, [*task.weights, *task.biases])
    return float(np.abs(result - reference).max() / np.abs(reference).max())


def race(
    contestants: Sequence[Contestant],
    kind: str,
    task: Task,
    rounds: int,
    least_seconds: float,
    complain: Callable[[str, str], None],
) -> dict[str, dict[str, Any]]:
    """Time the contestants in turn, A B C A B C ..., and return what each took.

    The first contestant that succeeds is the reference of the results. What fails is told to
    `complain` by name and reason and left out.

    Returns
    -------
    dict
        For each contestant `seconds` (one value a round), `median`, `noise` (relative standard
        error of the median), `cores` (processor time over wall time), `difference` (from the
        reference) and `ratio` (median over fastmlp's, None without it).
    """
    running: list[Contestant] = []
    results: dict[str, dict[str, Any]] = {}
    reference: Any = None
    for contestant in contestants:
        name = contestant.peer.name
        try:
            result = contestant.ask("prepare", kind, task, least_seconds)
        except ContestantError as error:
            complain(name, str(error))
            continue
        if reference is None:
            reference = result
        apart = difference(result, reference, task)
        if apart is None:
            complain(name, "another shape of parameters: its result is not compared")
        elif not apart <= TOLERANCES[kind]:
            complain(name, f"its result differs by {apart:.1e}: {EXPLANATIONS[kind]}")
        results[name] = {"samples": [], "difference": apart}
        running.append(contestant)
    for _ in range(rounds):
        for contestant in tuple(running):
            name = contestant.peer.name
            try:
                results[name]["samples"].append(contestant.ask("measure"))
            except ContestantError as error:
                complain(name, str(error))
                running.remove(contestant)
                del results[name]
    for contestant in running:
        with suppress(ContestantError):
            contestant.ask("forget")
    for values in results.values():
        samples = values.pop("samples")
        values["seconds"] = [wall for wall, _ in samples]
        values["median"] = median(values["seconds"])
        values["noise"] = noise(values["seconds"])
        values["cores"] = median(cpu / wall for wall, cpu in samples)
    base = results[FASTMLP]["median"] if FASTMLP in results else None
    for values in results.values():
        values["ratio"] = values["median"] / base if base else None
    return results
