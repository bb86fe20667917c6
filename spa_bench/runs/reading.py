"""Reading what may be anyone's: which folders hold runs and audits, and their files, regular ones of a bounded size.

A results folder may come from somebody else, be damaged, or change while it is read. Nothing here waits for a pipe,
reads a device, or takes more memory than a file of ours needs.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from spa_bench.core import UserError
from spa_bench.files import TEMPORARY

RUN, CHECKPOINTS = "run.json", "checkpoints"

SMALL = 16 << 20
"""Bytes of a file that is read at once, at most; a `run.json` has a few thousand."""
LONGEST_LINE = 64 << 20
"""Bytes of a line, at most; an episode has some hundred thousand."""
DEEPEST = 64
"""Lists and objects inside each other, at most."""
BEYOND = 2**63
"""Numbers from here on, and below its negative, are none of ours."""

_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_MANY = b"0" * 19
"""As many digits as `BEYOND` has."""


def holding(name: str, paths: Iterable[Path], closed: bool = False) -> list[Path]:
    """The folders at or below `paths` that hold something called `name`, each once, resolved and sorted.

    Links to folders, temporary names and the checkpoints of runs are not entered: they are written while this looks. A
    folder that has vanished meanwhile is no error; one that cannot be listed is among the result if `closed`.
    """
    found, ahead = set(), list(paths)
    while ahead:
        folder = ahead.pop()
        try:
            with os.scandir(folder) as entries:
                inside = {entry.name: _is_folder(entry) for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found.update([folder.resolve()] if closed else [])
            continue
        if name in inside:
            found.add(folder.resolve())
        skipped = {CHECKPOINTS} if RUN in inside else set()
        ahead += [
            folder / one
            for one, is_folder in inside.items()
            if is_folder and one not in skipped and not one.startswith(TEMPORARY)
        ]
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def opened(path: Path, most: int) -> BinaryIO:
    """A regular file, or a link to one, open to be read. OSError where it cannot be.

    UserError for anything else (a folder, a pipe, a device), and for a file of more than `most` bytes.
    """
    status = os.stat(path)  # before it is opened: opening a pipe waits for a writer
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is no regular file: move it away")
    if status.st_size > most:
        raise UserError(f"{path} has {status.st_size:,} bytes, more than the {most:,} that are read of such a file")
    return open(path, "rb")


def read_json(path: Path, most: int = SMALL) -> Any:
    """The content of a JSON file.

    As `opened`; ValueError for what is no JSON, is nested deeper than `DEEPEST`, or holds a number that is not finite
    or from `BEYOND` on.
    """
    with opened(path, most) as file:
        return parsed(file.read(most + 1))


def parsed(text: bytes) -> Any:
    """As `read_json`, of what a file held."""
    try:
        value = _loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return value
    raise ValueError("it is nested too deep")


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def row_of(line: bytes) -> dict[str, Any] | None:
    """The object on one line of JSON; None where there is none, or one with a number as `read_json` refuses it."""
    try:
        found = _loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def lines(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines of a file; None for one of more than `LONGEST_LINE` bytes."""
    while line := file.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)
        yield None


def _loads(text: bytes) -> Any:
    """JSON without numbers that no file of ours holds. Each is looked at only where one may be: that takes long."""
    digits = text.translate(_DIGITS)
    if _MANY in digits or b"e000" in digits or b"e+000" in digits:
        return json.loads(text.decode("utf-8"), parse_constant=_refused, parse_float=_finite, parse_int=_whole)
    return json.loads(text.decode("utf-8"), parse_constant=_refused)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or not -BEYOND <= (value := int(text)) < BEYOND:
        raise ValueError(f"a number of {len(text)} digits")
    return value
