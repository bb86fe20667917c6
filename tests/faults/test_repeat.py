"""The same seed gives the same run: with other runs beside it, and wherever a disk lists files in another order: T11.

What holds for parts of a run, such as the size of a batch, is tested beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import cases
from kills import Life, calm
from outcome import outcome

METHODS = ("gigpo", "spa")


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


def test_t11_runs_side_by_side_come_out_as_one_after_another_in_any_order_of_files(tmp_path: Path) -> None:
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
    wanted, *_ = calm(cases.case("virtualhome", METHODS, 1, tmp_path / "alone"))
    life = Life(cases.case("virtualhome", METHODS, 2, tmp_path / "beside"), tmp_path / "beside/life")
    ended = life.start(list_backwards).wait()
    assert ended.code == 0, ended.err
    assert outcome(life.results) == wanted
