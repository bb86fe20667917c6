"""CRC-32 of every block of a catalogue's files: a changed byte is told before an answer comes of it.

The hashes in `catalogue.json` take seconds to check; a block takes a ten-thousandth of one, once in a process.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = "blocks.npy"
"""uint32: of each file, by name, one number for each block."""

SIZE = 1 << 16
"""Bytes of a block."""


class Blocks:
    """Checks what is about to be read."""

    def __init__(self, folder: Path, sizes: Mapping[str, int], sha256: str) -> None:
        """`sizes` are the bytes of the listed files, `sha256` is the list's. Raises ValueError over another list."""
        self._folder = folder
        listed = (folder / FILE).read_bytes()
        if hashlib.sha256(listed).hexdigest() != sha256:
            raise ValueError(FILE)
        sums = np.load(io.BytesIO(listed), allow_pickle=False)
        counts = {name: -(-sizes[name] // SIZE) for name in sorted(sizes)}
        ends = np.cumsum([*counts.values()])[:-1]
        self._sums = dict(zip(counts, np.split(sums, ends), strict=True))
        self._seen = {name: bytearray(count) for name, count in counts.items()}

    def check(self, name: str, start: int = 0, end: int | None = None) -> None:
        """Raise ValueError unless these bytes of a file, all by default, and their blocks are as they were written."""
        sums, seen = self._sums[name], self._seen[name]
        first, last = start // SIZE, len(sums) if end is None else -(-end // SIZE)
        if 0 not in seen[first:last]:
            return
        with (self._folder / name).open("rb") as file:
            file.seek(first * SIZE)
            for number in range(first, last):
                if zlib.crc32(file.read(SIZE)) != sums[number]:
                    raise ValueError(f"{name}, from byte {number * SIZE}")
                seen[number] = 1


def write(folder: Path, names: Iterable[str]) -> None:
    """List these files of a folder."""
    sums: list[NDArray[np.uint32]] = [_sums(folder / name) for name in sorted(names)]
    np.save(folder / FILE, np.concatenate(sums), allow_pickle=False)


def _sums(path: Path) -> NDArray[np.uint32]:
    with path.open("rb") as file:
        return np.array([zlib.crc32(block) for block in iter(lambda: file.read(SIZE), b"")], "<u4")
