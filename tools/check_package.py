"""Check the source distribution and the wheel in a folder: check_package.py FOLDER."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

LARGEST_WHEEL = 1_500_000
"""Bytes."""

NOT_IN_SDIST = (".ci/",)
NOT_IN_WHEEL = (".c", ".h", ".pyx", ".pxd")
IN_WHEEL = (
    "fastmlp/_core.abi3.so",
    "fastmlp/_core.pyi",
    "fastmlp/c_api.pxd",
    "fastmlp/data/digits.npz",
    "fastmlp/include/fastmlp.h",
    "fastmlp/include/fastmlp_python.h",
    "fastmlp/py.typed",
)


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of a pattern."""
    (path,) = folder.glob(pattern)
    return path


def main() -> int:
    folder = Path(sys.argv[1])
    wrong = []

    sdist = only(folder, "fastmlp-*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    command = ["git", "ls-files"]
    tracked = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    missing = [name for name in tracked if name not in inside]
    wrong += [f"{sdist.name} lacks {name}" for name in missing if not name.startswith(NOT_IN_SDIST)]
    print(f"{sdist.name}: {len(inside)} files, {sdist.stat().st_size:,} bytes")

    wheel = only(folder, "fastmlp-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    size = wheel.stat().st_size
    if "-cp311-abi3-" not in wheel.name:
        wrong.append(f"{wheel.name} is not for the stable ABI of Python 3.11 and later")
    if size > LARGEST_WHEEL:
        wrong.append(f"{wheel.name} has {size:,} bytes, more than {LARGEST_WHEEL:,}")
    wrong += [f"{wheel.name} lacks {name}" for name in IN_WHEEL if name not in names]
    sources = [name for name in names if name.endswith(NOT_IN_WHEEL)]
    wrong += [f"{wheel.name} holds {name}" for name in sources if name not in IN_WHEEL]
    print(f"{wheel.name}: {len(names)} files, {size:,} bytes")

    print("\n".join(wrong) or "complete, and nothing in them that should not be")
    return 1 if wrong else 0


sys.exit(main())
