"""Compare two results of the suite: ``python -m bench.compare OLD.json NEW.json``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .__main__ import SCHEMA
from .peers import FASTMLP
from .report import table, time_text
from .statistics import geometric_mean, margin

Document = dict[str, Any]
Key = tuple[str, int]


def read(path: Path) -> Document:
    """Return a file of results. ValueError, naming it, when it is of another kind."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"{path}: not a result of this suite, schema {SCHEMA}")
    return document


def measured(document: Document, contestant: str) -> dict[Key, dict[str, Any]]:
    """Return what a contestant took, by workload and threads."""
    return {
        (result["workload"], result["threads"]): result["contestants"][contestant]
        for result in document["results"]
        if contestant in result["contestants"]
    }


def verdict(ratio: float, allowed: float) -> str:
    """Return what a ratio, old time over new, means where noise explains so much."""
    if ratio > 1 + allowed:
        return "faster"
    return "SLOWER" if ratio < 1 / (1 + allowed) else "same"


def changes(old: Document, new: Document, contestant: str) -> list[tuple[Key, float, float, str]]:
    """Return workload and threads, the ratio old over new, the margin of noise, and a verdict."""
    before, after = measured(old, contestant), measured(new, contestant)
    found = []
    for key in (key for key in before if key in after):
        ratio = before[key]["median"] / after[key]["median"]
        allowed = margin(before[key]["noise"], after[key]["noise"])
        found.append((key, ratio, allowed, verdict(ratio, allowed)))
    return found


def differences(old: Document, new: Document) -> list[str]:
    """Return what besides the program may have made a difference."""
    found = []
    for name in ("cpu", "processors", "versions"):
        before, after = old["machine"][name], new["machine"][name]
        if before != after:
            found.append(f"{name}: {before} and {after}")
    for threads, limit in new["limits"].items():
        if threads in old["limits"]:
            ratio = limit["flops"] / old["limits"][threads]["flops"]
            if abs(ratio - 1) > 0.05:
                found.append(f"the FMA peak on {threads} threads is {ratio:.2f} times the old")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; the exit status is 1 when something became slower beyond noise."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Compare two results; ratios above 1 say that the new one is faster.",
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--of", default=FASTMLP, metavar="NAME", help="contestant to look at")
    options = parser.parse_args(arguments)
    try:
        old, new = read(options.old), read(options.new)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for text in differences(old, new):
        print(f"note: {text}")
    found = changes(old, new, options.of)
    if not found:
        parser.error(f"the two have no workload of {options.of} in common")
    before, after = measured(old, options.of), measured(new, options.of)
    rows = [("workload", "threads", "old", "new", "old / new", "noise", "")]
    for key, ratio, allowed, word in found:
        row = (
            key[0],
            str(key[1]),
            time_text(before[key]["median"]),
            time_text(after[key]["median"]),
            f"{ratio:.2f}",
            f"{100 * allowed:.0f} %",
            "" if word == "same" else word,
        )
        rows.append(row)
    print(table(rows))
    words = [word for *_, word in found]
    print(
        f"\ngeometric mean {geometric_mean([ratio for _, ratio, _, _ in found]):.3f}; "
        f"{words.count('faster')} faster, {words.count('SLOWER')} slower, "
        f"{words.count('same')} the same within noise"
    )
    return 1 if "SLOWER" in words else 0


if __name__ == "__main__":
    sys.exit(main())
