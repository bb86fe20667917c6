"""Official data from the command line: finds the world's own `data` module by name and shows what it found.

A world that has official tasks has a module `data` beside its environment with `get(target, sources, note)` and
`verify(folder)`, which both return a `Finding`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TextIO, cast

from spa_bench import registry
from spa_bench.core import UserError
from spa_bench.paths import data_folder
from spa_bench.progress import Progress
from spa_bench.terminal import printable_line


class Finding(Protocol):
    """What is in a folder of official data."""

    @property
    def folder(self) -> str:
        """Where."""

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Split -> what was counted, such as `expected`, `present`, `missing`."""

    @property
    def problem(self) -> str | None:
        """One line on what is wrong and how to mend it; None where all is well."""


class DataModule(Protocol):
    """A world's `data` module."""

    def get(self, target: Path, sources: Sequence[Path], note: Callable[[str], None]) -> Finding:
        """Make the folder; raises UserError where that fails, and then leaves nothing behind."""

    def verify(self, folder: Path) -> Finding:
        """Read and check every file."""


@dataclass(frozen=True)
class Shown:
    """A finding as it is printed with `--json`."""

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    problem: str | None


def get(env: str, target: Path | None, sources: Sequence[Path], progress: Progress) -> Finding:
    """Fetch or take over the official tasks of a world."""
    return _module(env).get(target or data_folder(env), sources, progress.note)


def verify(env: str, folder: Path | None) -> Finding:
    """Check the official tasks of a world."""
    return _module(env).verify(folder or data_folder(env))


def show(found: Finding, stream: TextIO, as_json: bool) -> None:
    """Print a finding."""
    if as_json:
        print(json.dumps(asdict(Shown(found.folder, found.counts, found.problem)), indent=1), file=stream)
        return
    print(printable_line(found.folder), file=stream)
    for split, counts in found.counts.items():
        print(f"  {split}: " + ", ".join(f"{name} {count}" for name, count in counts.items()), file=stream)
    if found.problem is None:
        print("complete and unchanged", file=stream)


def _module(env: str) -> DataModule:
    package = registry.find("environments", env).__module__.rpartition(".")[0]
    if not package or importlib.util.find_spec(f"{package}.data") is None:
        raise UserError(f"environment {env} has no official data to fetch")
    return cast(DataModule, importlib.import_module(f"{package}.data"))
