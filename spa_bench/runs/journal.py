"""Append-only JSON lines: the files of episodes, metrics and rewards.

Every line ends in the CRC-32 of what is before it, so that a row with a changed byte is told from one that was written.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spa_bench.core import UserError
from spa_bench.files import sync_names
from spa_bench.runs.reading import lines, opened, row_of

KEPT, SCANNED = 1 << 30, 64 << 30
"""Bytes of a file, at most: of one whose rows are all kept in memory, and of one that is read row by row."""

CHECK = b'"crc":"%08x"}'
"""The end of a line, the check in 8 hex digits; lines of earlier versions have none."""
LENGTH = len(CHECK % 0)


class Journal:
    """Rows of JSON, one a line, only ever appended; every row that was appended before a crash is there after it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row and force it onto the disk. Raises ValueError for NaN or infinity, UserError on a full disk."""
        self.extend([row])

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows with one write; a crash keeps the first few or all of them."""
        data = b"".join(self._line(row) for row in rows)
        if not data:
            return
        new = not self.path.exists()
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
            try:
                data = _repaired(handle) + data
                if os.write(handle, data) < len(data):
                    raise OSError(0, "the disk took only a part")
                os.fsync(handle)
            finally:
                os.close(handle)
            if new:
                sync_names(self.path.parent)
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; earlier rows are intact: fix it and run the same command"
            ) from error

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """All readable rows in order, and the number of unreadable lines. Empty lines do not count.

        UserError for a file that cannot be read, or is too large to be kept in memory.
        """
        found = list(self.scan(KEPT))
        rows = [row for row in found if row is not None]
        return rows, len(found) - len(rows)

    def scan(self, most: int = SCANNED) -> Iterator[dict[str, Any] | None]:
        """As `read`, one line after another without keeping them: a row, or None for an unreadable line.

        A file that is not there has none. UserError for a file that cannot be read, or of more than `most` bytes.
        """
        try:
            with opened(self.path, most) as file:
                for line in lines(file):
                    if line is None or line.strip():
                        yield None if line is None else _parse(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}") from None

    def _line(self, row: Mapping[str, Any]) -> bytes:
        try:
            body = json.dumps(row, allow_nan=False, separators=(",", ":"), default=plain).encode("ascii")
            return body[:-1] + (b"," if row else b"") + CHECK % zlib.crc32(body) + b"\n"
        except ValueError as error:
            raise ValueError(f"{self.path.name}: a row holds NaN, infinity or itself ({error}): {_bad(row)}") from None


def _repaired(handle: int) -> bytes:
    """What must come before the next row. A partial row, left by a kill, is cut off: it will be written again."""
    size = os.lseek(handle, 0, os.SEEK_END)
    tail = b""
    while b"\n" not in tail and len(tail) < size:
        step = min(1 << 16, size - len(tail))
        os.lseek(handle, size - len(tail) - step, os.SEEK_SET)
        tail = os.read(handle, step) + tail
    torn = tail.rpartition(b"\n")[2]
    if not torn or _parse(torn) is not None:  # a row that only lost its newline is whole
        return b"\n" if torn else b""
    os.ftruncate(handle, size - len(torn))
    return b""


def _parse(line: bytes) -> dict[str, Any] | None:
    """The row on a line; None where there is none, or one that does not fit its check."""
    line = line.strip()
    body, check = line[:-LENGTH], line[-LENGTH:]
    if check.startswith(CHECK[:7]) and check.endswith(CHECK[-2:]):
        line = body.removesuffix(b",") + b"}"
        if check != CHECK % zlib.crc32(line):
            return None
    return row_of(line)


def plain(value: object) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _bad(row: Mapping[str, Any]) -> str:
    wrong = [key for key, value in row.items() if isinstance(value, float) and not np.isfinite(value)]
    return ", ".join(wrong) or "in a nested value"
