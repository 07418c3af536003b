"""Run the suite: ``python -m bench``."""

import argparse
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import fastmlp as fm

from . import machine, report
from .contest import HELD, UNHELD, Contestant, ContestantError, race
from .data import Data
from .peers import FASTMLP, PEERS, Peer
from .workloads import NetworkWorkload, Product, Workload, suite

SCHEMA = 1
"""Version of the JSON's form; a change that readers notice raises it."""

ROUNDS, QUICK_ROUNDS = 5, 3

LEAST_SECONDS = {
    "training": 0.0,
    "prediction": 0.05,
    "product": 0.01,
    "estimatorfit": 0.0,
    "estimatorrow": 0.05,
}
"""Shortest sample by kind of workload; calls that are shorter are repeated within a sample."""


def say(text: str) -> None:
    """Print at once, so that a long run can be followed."""
    print(text, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    everything = machine.cpu_count()
    default = f"1,{everything}" if everything > 1 else "1"
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure fastmlp on this machine, beside the peers that are installed.",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: under a minute")
    parser.add_argument(
        "--only",
        metavar="TEXT,...",
        help="workloads with one of these texts in name or kind (training, prediction, product, "
        "estimator)",
    )
    parser.add_argument("--peers", metavar="NAME,...", help="only these peers beside fastmlp")
    parser.add_argument(
        "--threads",
        metavar="N,...",
        help=f"numbers of threads (default: {default}; with --quick {everything})",
    )
    parser.add_argument(
        "--rounds", type=int, help=f"samples (default: {ROUNDS}; with --quick {QUICK_ROUNDS})"
    )
    parser.add_argument(
        "--isa",
        choices=sorted(HELD),
        help="hold fastmlp, and the peers that have a setting for it, to this instruction set",
    )
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="write the results")
    parser.add_argument("--figure", metavar="FILE.png", type=Path, help="draw the results")
    parser.add_argument("--wheel", metavar="FILE.whl", type=Path, help="report its size as well")
    options = parser.parse_args(arguments)
    threads = options.threads or (str(everything) if options.quick else default)
    try:
        options.threads = sorted({int(text) for text in threads.split(",")})
    except ValueError:
        parser.error(f"--threads takes integers with commas between them, got {threads!r}")
    if options.threads[0] < 1:
        parser.error("--threads must be at least 1")
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    for path in (options.out, options.figure):
        if path is not None and not path.absolute().parent.is_dir():
            parser.error(f"there is no folder {path.absolute().parent}")
    return options


def chosen_workloads(options: argparse.Namespace) -> list[Workload]:
    """Return the workloads that were asked for."""
    texts = options.only.lower().split(",") if options.only else [""]
    return [
        workload
        for workload in suite(options.quick)
        if any(text in f"{workload.kind} {workload.name}".lower() for text in texts)
    ]


def chosen_peers(options: argparse.Namespace) -> tuple[list[Peer], dict[str, str]]:
    """Return the contestants, and for those who do not take part why."""
    names = options.peers.lower().split(",") if options.peers is not None else None
    peers, absent = [], {}
    for peer in PEERS:
        own = peer.name.startswith(FASTMLP)
        if names is not None and not own and peer.name.lower() not in names:
            absent[peer.name] = "not asked for"
        elif not peer.is_installed():
            absent[peer.name] = f"not installed: pip install {peer.requires}"
        elif options.quick and peer.slow_start and names is None:
            absent[peer.name] = "left out of a quick suite, since it compiles for long"
        else:
            peers.append(peer)
    return peers, absent


def takes_part(peer: Peer, workload: Workload) -> bool:
    """Return whether a peer is meant to run a workload."""
    sparse = isinstance(workload, NetworkWorkload) and workload.source == "sparse"
    return workload.kind in peer.kinds and (peer.sparse if sparse else not peer.sparse_only)


class Run:
    """One run of the suite.

    Attributes
    ----------
    notes
        What went otherwise than the reader may expect.
    """

    def __init__(self, options: argparse.Namespace, data: Data) -> None:
        self.options, self.data = options, data
        self.workloads = chosen_workloads(options)
        self.peers, self.absent = chosen_peers(options)
        self.notes: list[str] = []
        self.results: list[report.Result] = []
        self.limits: dict[str, dict[str, Any]] = {}
        self.pools: dict[str, dict[str, Any]] = {}

    def note(self, text: str) -> None:
        """Print and keep a note."""
        say(f"    note: {text}")
        self.notes.append(text)

    def start(self, threads: int) -> list[Contestant]:
        """Start the contestants' processes, all at once, and return those that came up."""
        wanted = [p for p in self.peers if any(takes_part(p, w) for w in self.workloads)]
        # The limits of the machine are measured with these two as well.
        started = [
            Contestant(peer, threads, self.options.isa)
            for peer in self.peers
            if peer in wanted or peer.name in (FASTMLP, "NumPy")
        ]
        up = []
        pools = self.pools[str(threads)] = {}
        for contestant in started:
            try:
                contestant.answer()
                pools[contestant.peer.name] = contestant.ask("pools")
                up.append(contestant)
            except ContestantError as error:
                contestant.close()
                self.absent[contestant.peer.name] = str(error)
                self.note(f"{contestant.peer.name} cannot be used: {error}")
        return up

    def limit(self, contestants: Iterable[Contestant], threads: int) -> dict[str, Any]:
        """Measure the peak and the bandwidth on a number of threads."""
        racers = [c for c in contestants if "product" in c.peer.kinds]
        products: dict[str, float] = {}
        for size in machine.PEAK_SIZES:
            square = Product(f"{size}", True, size, size, size, False, False)
            task = self.data.task(square, threads)
            raced = race(racers, "product", task, 3, 0.02, lambda name, why: None)
            for name, values in raced.items():
                rate = square.flops / min(values["seconds"])
                products[name] = max(rate, products.get(name, 0))
        seconds = 0.3 if self.options.quick else 1.0
        compiled = machine.compiled_peak(threads, seconds, self.options.isa)
        best = max(products.values(), default=0.0)
        how = "the best square product below: no C compiler"
        if compiled is not None:
            how = "a loop in C" if compiled >= best else "the best square product: it beat the loop"
        return {
            "flops": max(best, compiled or 0.0),
            "how": how,
            "loop": compiled,
            "products": products,
            **machine.bandwidth(threads),
        }

    def measure(self, workload: Workload, contestants: Iterable[Contestant], threads: int) -> None:
        """Race the contestants on a workload and keep the result."""
        where = f"{workload.name}, {report.threads_text(threads)}"
        n_notes = len(self.data.notes)
        try:
            task = self.data.task(workload, threads)
        except ImportError as error:
            self.note(f"{where}: left out, {error}")
            return
        for text in self.data.notes[n_notes:]:
            self.note(text)
        raced = race(
            [c for c in contestants if takes_part(c.peer, workload)],
            workload.kind,
            task,
            self.options.rounds,
            LEAST_SECONDS[workload.kind],
            lambda name, why: self.note(f"{where}: {name}: {why}"),
        )
        limit = self.limits[str(threads)]
        for name, values in raced.items():
            values["share_of_peak"] = workload.flops / values["median"] / limit["flops"]
            values["share_of_memory"] = workload.bytes / values["median"] / limit["read"]
            if values["cores"] > threads + 0.2:
                self.note(f"{where}: {name} used {values['cores']:.1f} processors")
        result = {
            "workload": workload.name,
            "kind": workload.kind,
            "threads": threads,
            "flops": workload.flops,
            "bytes": workload.bytes,
            "contestants": raced,
        }
        self.results.append(result)
        if workload.kind != "product":
            say(report.block(result))

    def on_threads(self, threads: int, last: bool) -> None:
        """Run the workloads that are meant for a number of threads, `last` being the largest."""
        contestants = self.start(threads)
        try:
            limit = self.limits[str(threads)] = self.limit(contestants, threads)
            say(report.heading(machine.description(), {str(threads): limit}))
            for workload in self.workloads:
                if workload.every or last:
                    self.measure(workload, contestants, threads)
        finally:
            for contestant in contestants:
                contestant.close()

    def document(self) -> dict[str, Any]:
        """Return all that the JSON holds."""
        return {
            "schema": SCHEMA,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "quick": self.options.quick,
            "rounds": self.options.rounds,
            "held_to": self.options.isa,
            "machine": machine.description(),
            "limits": self.limits,
            "pools": self.pools,
            "absent": self.absent,
            "notes": self.notes,
            "results": self.results,
        }


def package_figures(options: argparse.Namespace) -> dict[str, Any]:
    """Return the time that importing takes and the size of the wheel, as far as asked for."""
    figures: dict[str, Any] = {}
    if not options.only or "import" in options.only.lower().split(","):
        figures["import_seconds"] = machine.import_seconds(options.rounds)
        took = report.time_text(median(figures["import_seconds"]))
        say(f"import fastmlp, beyond numpy: {took}")
    if options.wheel is not None:
        figures["wheel_bytes"] = options.wheel.stat().st_size
        say(f"wheel: {figures['wheel_bytes'] / 1e6:.2f} MB")
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite and return the exit status."""
    options = parse(arguments)
    began = time.monotonic()
    package = package_figures(options)
    with tempfile.TemporaryDirectory(prefix="fastmlp-bench-") as folder:
        run = Run(options, Data(Path(folder)))
        for name, why in run.absent.items():
            say(f"absent: {name}, {why}")
        if options.isa is not None:
            # This process describes the machine and fastmlp; the contestants are told by `contest`.
            fm.set_isa(options.isa)
            free = [peer.name for peer in run.peers if peer.name in UNHELD]
            if free:
                run.note(f"no setting holds {' or '.join(free)} to {options.isa}: they run free")
        if run.workloads:
            for threads in options.threads:
                run.on_threads(threads, last=threads == options.threads[-1])
    for text in (report.summary(run.results), report.products_summary(run.results)):
        if text:
            say(f"\n{text}")
    if run.notes:
        say("\nnotes\n" + "\n".join(f"- {text}" for text in run.notes))
    document = {**run.document(), **package}
    if options.out is not None:
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.figure is not None:
        from .figure import draw

        draw(document, options.figure)
    say(f"\n{time.monotonic() - began:.0f} s in all")
    return 0 if run.results or package else 1


if __name__ == "__main__":
    sys.exit(main())
