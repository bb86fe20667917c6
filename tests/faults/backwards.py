"""Folders that are listed from their last name to the first, in the process of a command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Self


class Backwards:
    """What `os.scandir` returns, the last name first."""

    def __init__(self, entries: Any) -> None:
        with entries as found:
            self.entries = iter(sorted(found, key=lambda entry: entry.name, reverse=True))

    def __iter__(self) -> Iterator[Any]:
        return self.entries

    def __next__(self) -> Any:
        return next(self.entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def close(self) -> None:
        pass


def list_backwards() -> None:
    """In the process of a command: folders are read from their last name to the first."""
    scandir, listdir = os.scandir, os.listdir
    os.scandir = lambda *place: Backwards(scandir(*place))  # type: ignore[assignment, misc]
    os.listdir = lambda *place: sorted(listdir(*place), reverse=True)  # type: ignore[assignment, type-var]
