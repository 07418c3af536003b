"""A contestant's own process: it prepares a task when asked, and times it when asked.

Run by `bench.contest` as ``python -m bench.worker MODULE DESCRIPTOR``, where the descriptor is a
socket over which requests and replies are pickled.
"""

import ctypes
import gc
import importlib
import math
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .peers import CLASSES
from .tasks import Task

PR_SET_PDEATHSIG = 1

LONG_CALL = 0.01
"""Calls that take longer, in seconds, are timed one by one and need no warming up."""


def die_with_parent() -> None:
    """Have Linux kill this process when its parent ends, even while it is stopped."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Contest:
    """What a contestant has prepared.

    Attributes
    ----------
    calls
        How many calls make a sample.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.forget()

    def forget(self) -> None:
        """Let go of the task and its memory."""
        self.subject: Any = None
        self.call: Callable[[], Any] | None = None
        self.calls = 1
        self.seconds = math.inf
        gc.collect()

    def prepare(self, kind: str, task: Task, least_seconds: float) -> Any:
        """Set up a task, run it once untimed, and return its result.

        Short calls are counted so that a sample takes `least_seconds`.
        """
        self.subject = getattr(self.module, CLASSES[kind])(task.loaded())
        if kind == "estimatorfit":
            self.call = self.subject.fit
            self.call()
            return self.subject.result()
        if kind == "training":
            self.call = self.subject.epoch
            self.subject.reset()
            self.subject.epoch()
            weights, biases = self.subject.parameters()
            return [np.array(values) for values in (*weights, *biases)]
        self.call = self.subject.multiply if kind == "product" else self.subject.predict
        result = np.array(self.call())
        self.seconds = self._shortest(least_seconds / 2)
        self.calls = max(1, math.ceil(least_seconds / self.seconds))
        return result

    def _shortest(self, seconds: float) -> float:
        """Return the least time of a call, trying for so many seconds, and twice at least."""
        assert self.call is not None
        best, tries, end = math.inf, 0, time.perf_counter() + seconds
        while tries < 2 or time.perf_counter() < end:
            began = time.perf_counter()
            self.call()
            best = min(best, time.perf_counter() - began)
            tries += 1
        return best

    def measure(self) -> tuple[float, float]:
        """Return the wall time and the processor time of one call, in seconds."""
        call = self.call
        assert call is not None
        if hasattr(self.subject, "reset"):
            self.subject.reset()
        elif self.seconds < LONG_CALL:
            # Caches, and threads that were stopped, are as they would be amid such calls.
            for _ in range(max(1, self.calls // 4)):
                call()
        gc.disable()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(self.calls):
            call()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        gc.enable()
        return wall / self.calls, cpu / self.calls

    @staticmethod
    def pools() -> list[dict[str, Any]]:
        """Return the thread pools of native libraries, if threadpoolctl is there to ask."""
        try:
            from threadpoolctl import threadpool_info
        except ImportError:
            return []
        names = ("user_api", "internal_api", "version", "num_threads", "architecture")
        return [{name: pool.get(name) for name in names} for pool in threadpool_info()]


def serve(module_name: str, connection: Connection) -> None:
    """Answer requests, pairs of a method's name and its arguments, until the other end closes."""
    try:
        contest = Contest(importlib.import_module(f".peers.{module_name}", __package__))
        connection.send(("ok", None))
    except Exception as error:
        connection.send(("failed", f"{type(error).__name__}: {error}"))
        return
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        try:
            reply = "ok", getattr(contest, name)(*arguments)
        except Exception as error:
            reply = "failed", f"{type(error).__name__}: {error}"
        connection.send(reply)


if __name__ == "__main__":
    die_with_parent()
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.argv[1], Connection(int(sys.argv[2])))
