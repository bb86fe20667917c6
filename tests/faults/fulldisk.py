"""A disk of its own that can be full: a small file system in memory, which only root can mount."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoDisk(Exception):
    """It cannot be mounted here."""


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """An empty file system of so many MB in the folder `place`, which is made; gone at the end."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    try:
        made = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise NoDisk(str(error)) from None
    if made.returncode:
        raise NoDisk(made.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, free: int) -> Path:
    """A file that leaves so many bytes free; without it there is room again."""
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - free)))
    return filler
