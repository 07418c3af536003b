"""Files read through gzip where they are gzip, never trusting a size they declare."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

Stream: TypeAlias = IO[bytes] | gzip.GzipFile

_CHUNK = 1 << 20


@contextmanager
def unpacked(path: Path) -> Iterator[Stream]:
    """Open a file for reading; gzip is told by its first bytes, whatever the name.

    A gzip file that is cut short or damaged raises ValueError with the place.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        with gzip.open(raw) as stream:
            try:
                yield stream
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{path}: the gzip data is cut short or damaged after byte {stream.tell():,} "
                    f"of the unpacked data ({error})"
                ) from error


def read_at_most(stream: Stream, size: int) -> bytearray:
    """Read up to `size` bytes; memory grows with what is there, not with `size`."""
    data = bytearray()
    while len(data) < size and (piece := stream.read(min(_CHUNK, size - len(data)))):
        data += piece
    return data
