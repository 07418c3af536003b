"""Results as text."""

from collections.abc import Sequence
from typing import Any

from .peers import FASTMLP
from .statistics import geometric_mean

Result = dict[str, Any]


def time_text(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, size = next((pair for pair in units if seconds >= 0.9995 * pair[1]), units[-1])
    value = seconds / size
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def percent(share: float | None) -> str:
    """Return a share in per cent, or a dash."""
    return "-" if share is None else f"{100 * share:.0f} %"


def table(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Return rows as columns, the first set left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        indent
        + "  ".join(
            f"{cell:{'>' if number else '<'}{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def threads_text(threads: int) -> str:
    """Return a number of threads in words."""
    return f"{threads} thread{'s' * (threads > 1)}"


def heading(machine: dict[str, Any], limits: dict[str, Any]) -> str:
    """Return the machine and what was measured of it."""
    lines = [
        f"{machine['cpu']}, {machine['processors']} processors, {machine['memory_gib']} GiB, "
        f"load {machine['load_average']:.2f}",
        ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        f"fastmlp on {machine['fastmlp']['isa']}",
    ]
    for threads, limit in limits.items():
        products = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in limit["products"].items())
        lines.append(
            f"{threads_text(int(threads))}: FMA peak {limit['flops'] / 1e9:.0f} GFLOP/s "
            f"({limit['how']}; square products: {products}), memory "
            f"{limit['read'] / 1e9:.1f} GB/s read, {limit['copy'] / 1e9:.1f} GB/s copied"
        )
    return "\n".join(lines)


def block(result: Result) -> str:
    """Return a workload's contestants, quickest first."""
    rows = [("", "median", "±", "x fastmlp", "FMA peak", "memory", "cores")]
    contestants = result["contestants"]
    for name, values in sorted(contestants.items(), key=lambda item: item[1]["median"]):
        ratio = values["ratio"]
        row = (
            name,
            time_text(values["median"]),
            f"{100 * values['noise']:.1f} %",
            "-" if ratio is None else f"{ratio:.2f}",
            percent(values["share_of_peak"]),
            percent(values["share_of_memory"]),
            f"{values['cores']:.1f}",
        )
        rows.append(row)
    title = f"{result['workload']}, {threads_text(result['threads'])}"
    return f"{title}\n{table(rows, '    ')}"


def best_peer(result: Result) -> str | None:
    """Return the quickest contestant that is not fastmlp in one of its forms."""
    peers = {
        name: values["median"]
        for name, values in result["contestants"].items()
        if not name.startswith(FASTMLP)
    }
    return min(peers, key=lambda name: peers[name]) if peers else None


def summary(results: Sequence[Result]) -> str:
    """Return one line a workload: fastmlp, its share of the peak, and the best peer."""
    rows = [("workload", "threads", "fastmlp", "FMA peak", "best peer", "", "ratio")]
    for result in results:
        own = result["contestants"].get(FASTMLP)
        peer = best_peer(result)
        if result["kind"] == "product" or own is None:
            continue
        other = result["contestants"][peer] if peer else None
        row = (
            result["workload"],
            str(result["threads"]),
            time_text(own["median"]),
            percent(own["share_of_peak"]),
            peer or "none",
            time_text(other["median"]) if other else "",
            f"{other['ratio']:.2f} x" if other else "",
        )
        rows.append(row)
    return table(rows) if len(rows) > 1 else ""


def products_summary(results: Sequence[Result]) -> str:
    """Return, for each number of threads and peer, how fastmlp's products compare.

    A ratio above 1 says that fastmlp is quicker.
    """
    rows = [("products", "threads", "peer", "geometric mean", "least", "at")]
    for group in ("square", "layer"):
        chosen = [
            result
            for result in results
            if result["kind"] == "product" and result["workload"].startswith(group)
        ]
        for threads in sorted({result["threads"] for result in chosen}):
            ratios: dict[str, dict[str, float]] = {}
            for result in chosen:
                if result["threads"] != threads:
                    continue
                for name, values in result["contestants"].items():
                    if name != FASTMLP and values["ratio"] is not None:
                        ratios.setdefault(name, {})[result["workload"]] = values["ratio"]
            for name, by_workload in ratios.items():
                least = min(by_workload, key=lambda workload: by_workload[workload])
                row = (
                    f"{group} ({len(by_workload)})",
                    str(threads),
                    name,
                    f"{geometric_mean(list(by_workload.values())):.2f} x",
                    f"{by_workload[least]:.2f} x",
                    least.removeprefix(group).strip(),
                )
                rows.append(row)
    return table(rows) if len(rows) > 1 else ""
