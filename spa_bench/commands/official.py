"""Data from the command line: finds the world's own `data` module by name and prints its result.

A world with official tasks has a module `data` beside its environment with `get(target, sources, note)` and
`verify(folder)`, which both return a `Finding`. Where its data must be built from other files, it also has
`build(target, files, ...)`, which returns a `Built`. The model `smollm2` is fetched and verified the same way.
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
from spa_bench.config import SMOLLM2
from spa_bench.core import UserError
from spa_bench.files import data_folder
from spa_bench.runs.progress import Progress
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
        """One line on what is wrong and how to fix it; None where nothing is wrong."""


class DataModule(Protocol):
    """A world's `data` module; `GET` is the command for `get` where that needs more than the world's name."""

    def get(self, target: Path, sources: Sequence[Path], note: Callable[[str], None]) -> Finding:
        """Make the folder; raises UserError where that fails, and then leaves nothing behind."""

    def verify(self, folder: Path) -> Finding:
        """Read and check every file."""


class Built(Protocol):
    """What was made of a world's files."""

    @property
    def folder(self) -> str:
        """Where."""

    @property
    def figures(self) -> Mapping[str, int | float | str]:
        """What to say about it, such as `products`."""


class Builder(Protocol):
    """The `build` of a world's `data` module."""

    def __call__(
        self,
        target: Path,
        files: Mapping[str, Path],
        *,
        tagger: str,
        note: Callable[[str], None],
        advance: Callable[[int, int, int], None],
    ) -> Built:
        """Make the folder of files by role; raises UserError where that fails, and then leaves nothing behind.

        `advance` is called with the units that are done, and the bytes that are read and those there are.
        """


@dataclass(frozen=True)
class Shown:
    """A finding as it is printed with `--json`."""

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    problem: str | None


def get(env: str, target: Path | None, sources: Sequence[Path], progress: Progress) -> Finding:
    """Download or copy the official tasks of a world."""
    return _module(env).get(target or data_folder(env), sources, progress.note)


def command(env: str) -> str:
    """The command that gets the official tasks of a world. UserError where it has none."""
    return str(getattr(_module(env), "GET", f"spa-bench data get {env}"))


def verify(env: str, folder: Path | None) -> Finding:
    """Check the official tasks of a world."""
    return _module(env).verify(folder or data_folder(env))


def build(env: str, target: Path | None, files: Mapping[str, Path], tagger: str, progress: Progress) -> Built:
    """Build a world's data from local files. Raises UserError where the world's data are downloaded instead."""
    builder = cast(Builder | None, getattr(_module(env), "build", None))
    if builder is None:
        raise UserError(f"the data of {env} are not built from files: run `{command(env)}`")
    with progress.stage("products") as stage:

        def advance(done: int, read: int, total: int) -> None:
            stage.advance(done - stage.done, read=f"{100 * read // max(total, 1)}%")

        return builder(target or data_folder(env), files, tagger=tagger, note=progress.note, advance=advance)


def show_built(built: Built, stream: TextIO, as_json: bool) -> None:
    """Print what was built, in one line."""
    if as_json:
        print(json.dumps({"folder": built.folder} | dict(built.figures)), file=stream)
        return
    figures = ", ".join(f"{name} {value}" for name, value in built.figures.items())
    print(printable_line(f"{built.folder}: {figures}"), file=stream)


def show(found: Finding, stream: TextIO, as_json: bool) -> None:
    """Print a finding."""
    if as_json:
        print(json.dumps(asdict(Shown(found.folder, found.counts, found.problem)), indent=1), file=stream)
        return
    print(printable_line(found.folder), file=stream)
    for split, counts in found.counts.items():
        figures = ", ".join(f"{name} {count}" for name, count in counts.items())
        print(printable_line(f"  {split}: {figures}" if figures else f"  {split}"), file=stream)
    if found.problem is None:
        print("complete and unchanged", file=stream)


def _module(env: str) -> DataModule:
    if env == SMOLLM2:
        from spa_bench.training import smollm2

        return smollm2
    package = registry.find("environments", env).__module__.rpartition(".")[0]
    if not package or importlib.util.find_spec(f"{package}.data") is None:
        raise UserError(f"environment {env} has no official data")
    return cast(DataModule, importlib.import_module(f"{package}.data"))
