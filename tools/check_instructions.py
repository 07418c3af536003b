"""Check that the objects of a CMake build hold no instruction beyond their own ISA.

Usage: check_instructions.py BUILD_FOLDER. Code that is chosen at run time must not leak into what
every machine runs, and a kernel table must not need more than its entry in cmake/isa.cmake says.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

VEX = re.compile(r"^v")
"""Mnemonics of AVX and later; baseline code holds none that begin with this letter."""

REGISTERS_512 = re.compile(r"%zmm|%k[0-7]\b|%[xy]mm(1[6-9]|2\d|3[01])\b")
"""Registers that AVX-512 added."""

ISA = re.compile(r"_kernels_(\w+?)_(?:32|64)\.dir")


def instructions(path: Path) -> list[tuple[str, str]]:
    """Disassemble an object into (mnemonic, operands)."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--no-addresses", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = []
    for line in lines:
        if line.startswith("\t"):
            mnemonic, _, operands = line.strip().partition(" ")
            found.append((mnemonic, operands))
    return found


def main() -> int:
    objects, vex, wide = Counter[str](), Counter[str](), Counter[str]()
    wrong = []
    for path in sorted(Path(sys.argv[1]).rglob("*.c.o")):
        match = ISA.search(str(path))
        isa = match[1] if match else "none"
        code = instructions(path)
        of_avx = [entry for entry in code if VEX.match(entry[0])]
        of_avx512 = [entry for entry in code if REGISTERS_512.search(entry[1])]
        objects[isa] += 1
        vex[isa] += len(of_avx)
        wide[isa] += len(of_avx512)
        excess = {"none": of_avx, "generic": of_avx, "avx2": of_avx512}.get(isa, [])
        if excess:
            wrong.append(f"{path} ({isa}): {len(excess)} such as {' '.join(excess[0])}")
    if objects.keys() != {"none", "generic", "avx2", "avx512"}:
        wrong.append(f"objects of other ISAs than expected: {dict(objects)}")
    if not vex["avx2"] or not wide["avx512"]:
        wrong.append("the objects of an ISA do not use it: is this disassembly understood?")
    for isa, count in objects.items():
        print(f"{isa}: {count} objects, {vex[isa]} AVX and {wide[isa]} AVX-512 instructions")
    print("\n".join(wrong) or "none beyond its own ISA")
    return 1 if wrong else 0


sys.exit(main())
