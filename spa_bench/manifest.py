"""The list of a folder's files with size and sha256, by which damage is noticed before anything is read.

What goes wrong on a disk keeps its name: a file that is cut off, emptied, overwritten, or has one bit flipped, opens as
before and gives another result.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

NAME = "sha256.json"
"""Of the list, in the folder itself: name of each other file -> [bytes, sha256]."""

BLOCK = 1 << 20
"""Bytes of a file that are in memory at once while it is hashed."""

LONGEST = 1 << 26
"""Bytes of a list, at most: that of a hundred thousand files is a fourth of it."""

NONE = "it has no list of its files"
"""The fault of a folder that an earlier version wrote."""


def content_hash(paths: Iterable[Path]) -> str:
    """sha256 over the bytes of these files, one after another, in hex.

    They are read once in a process, in blocks, and again where size or time of change says so.
    """
    stamps = [(path.resolve(), path.stat()) for path in paths]
    return _remembered(tuple((str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stamps))


@lru_cache(256)
def _remembered(stamps: tuple[tuple[str, int, int, int], ...]) -> str:
    return _hashed(path for path, *_ in stamps)


def _hashed(paths: Iterable[str | Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def write(folder: Path) -> None:
    """List the files below `folder` as they are now."""
    listed = {name: [found.st_size, _hashed([folder / name])] for name, found in _files(folder) if name != NAME}
    (folder / NAME).write_text(json.dumps(listed, indent=0, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def fault(folder: Path) -> str | None:
    """What tells the files below `folder` from its list, in a few words; None where nothing does.

    All are looked at on every call, and read where one is new to this process or has changed.
    """
    return _fault(folder, lambda path: content_hash([path]))


def fault_once(folder: Path) -> str | None:
    """As `fault`, but the files are looked at once in a process: for thousands, each of which is checked when read."""
    try:
        found = (folder / NAME).lstat()
    except OSError:
        return NONE
    return _known(str(folder), found.st_ino, found.st_mtime_ns)


@lru_cache(64)
def _known(folder: str, *_: int) -> str | None:
    return _fault(Path(folder), lambda path: _hashed([path]))


def _fault(folder: Path, hashed: Any) -> str | None:
    try:
        found = dict(_files(folder))
        if NAME not in found:
            return NONE
        listed = _listed(folder, found.pop(NAME))
        for name in sorted(listed.keys() | found.keys()):
            if name not in found or name not in listed:
                return f"{name} is {'missing' if name in listed else 'no file of it'}"
            size, digest = listed[name]
            if not stat.S_ISREG(found[name].st_mode) or found[name].st_size != size:
                return f"{name} has another size"
            if hashed(folder / name) != digest:
                return f"{name} has another content"
    except OSError as error:  # it may be made again by another process at this moment
        return f"it cannot be read: {error.strerror or error}"
    except (ValueError, TypeError, RecursionError):
        return f"{NAME} is damaged"
    return None


def _listed(folder: Path, found: os.stat_result) -> dict[str, tuple[int, str]]:
    if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST:
        raise ValueError("no list")
    plain = json.loads((folder / NAME).read_text(encoding="utf-8"))
    if not isinstance(plain, dict):
        raise TypeError("no list")
    return {name: (size, digest) for name, (size, digest) in plain.items()}


def _files(folder: Path, above: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of everything below a folder that is no folder; no link is followed.

    What begins with a dot is of the system (`.nfs...`, `.DS_Store`), or a lock: no reader of ours looks at it.
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path), f"{above}{entry.name}/")
            else:
                yield f"{above}{entry.name}", entry.stat(follow_symlinks=False)
