"""What is done on the nodes of a Ray cluster: a look at each, the start of each seed, and the runs.

Separate from the driver, and without torch until a task has begun: a process of a node reads the driver's variables
before libraries do.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spa_bench.config import RunConfig
from spa_bench.files import TEMPORARY, cache_entry, cache_root, folder_whole, remove
from spa_bench.locks import Lock
from spa_bench.runs.deadline import Deadline
from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.runs.progress import INTERVAL, Progress, Stage
from spa_bench.runs.provenance import facts

if TYPE_CHECKING:
    from spa_bench.training.experiment import Attempt

Files = dict[str, NDArray[np.uint8]]
"""Files by their names below a folder, whole; Ray keeps arrays in its object store without another copy."""

HANDED = ("SPA_BENCH_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OMP_WAIT_POLICY")
"""Variables of the driver that a node has where it has none of its own."""

PATIENCE = 60.0
"""Seconds that a run waits for its folder, which a task of a driver that was killed may hold for a moment."""


@dataclass(frozen=True)
class Place:
    """Where the driver works. On another node its folders may be the same, other ones of these names, or none."""

    results: Path
    cache: Path
    token: str
    """Name of a file that the driver has put into both."""
    folder: Path
    """In which it was started: paths in settings are relative to it."""
    environment: Mapping[str, str]

    def sees(self, folder: Path) -> bool:
        """This process finds the driver's file in its folder: it is the same one."""
        return (folder / self.token).is_file()

    def enter(self) -> None:
        """Be where the driver is, as far as it can be done here."""
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        if self.folder.is_dir():
            os.chdir(self.folder)


@dataclass(frozen=True)
class Seen:
    """A node, by a look from inside."""

    host: str
    results: bool
    """It sees the driver's folder of results."""
    cache: bool
    versions: Mapping[str, str | None]
    """Of what results depend on: packages, and this package's code."""


def look(place: Place) -> Seen:
    """Which folders of the driver this node sees, and what is installed here."""
    place.enter()
    return Seen(socket.gethostname(), place.sees(place.results), place.sees(cache_root()), installed())


def installed() -> dict[str, str | None]:
    """What two processes must have in common for their runs to be compared."""
    known = facts()
    return {**known["versions"], "spa-bench": known["spa_bench"], "spa-bench's code": known["source"]}


class Board:
    """What the runs say, kept for the driver until it asks; an actor, for all of them."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, str]] = []
        self.lines: dict[int, str] = {}

    def note(self, index: int, line: str) -> None:
        """A line that stays."""
        self.notes.append((index, line))

    def line(self, index: int, line: str) -> None:
        """How far a run has come: of these the last one counts."""
        self.lines[index] = line

    def take(self) -> tuple[list[tuple[int, str]], dict[int, str]]:
        """All since it was last asked."""
        said = self.notes, self.lines
        self.notes, self.lines = [], {}
        return said


class Told(Progress):
    """Progress of one run that is told to the board."""

    def __init__(self, board: Any, index: int) -> None:
        super().__init__("notes")
        self.board, self.index = board, index

    def note(self, line: str) -> None:
        """One line that stays."""
        self.board.note.remote(self.index, line)

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Stage]:
        """A stage; every `INTERVAL` the board is told how far it has come."""
        said = self._clock() - INTERVAL

        def show(stage: Stage) -> None:
            nonlocal said
            if self._clock() - said >= INTERVAL:
                said = self._clock()
                self.board.line.remote(self.index, stage.line())

        yield Stage(name, total, unit, self._clock, show)


def make_start(place: Place, index: int, config: RunConfig, board: Any, deadline: Deadline) -> tuple[Attempt, Files]:
    """Warm start and exploration of a seed, which all its runs find in the cache; as files where theirs is another."""
    place.enter()
    from spa_bench.training import experiment, start, warm_episodes

    made: list[Path] = []

    def work() -> None:
        deadline.check("before the warm start")
        start.needs_tokens(config)
        common = start.begin(config)
        made.append(start.warm_start(common, progress))
        made.append(warm_episodes.explore(common, made[0], progress))
        made.append(warm_episodes.evaluate(common, made[0], progress))

    progress = _progress(board, index)
    attempt = experiment.attempted(work)
    shared = place.sees(cache_root())
    return attempt, {} if shared else {name: file for path in made for name, file in packed(path, 2).items()}


def do_run(
    place: Place, index: int, config: RunConfig, board: Any, deadline: Deadline, track: str | None, starts: list[Any]
) -> tuple[Attempt, Files]:
    """One run, to its end. In a folder of this node's own, which is returned, where the driver's is not seen."""
    place.enter()
    from spa_bench.training import experiment

    progress = _progress(board, index)
    progress.note(f"begun on {socket.gethostname()}")
    if starts and not place.sees(cache_root()):
        _unpack_starts(starts[0], progress)
    shared = place.sees(place.results)
    results = place.results if shared else _own_folder(place)
    path = run_path(results, config)
    _wait_for(path)
    attempt = experiment.attempted(lambda: experiment.run(config, results, progress, track, deadline))
    if shared or not path.is_dir():
        return attempt, {}
    files = packed(path)
    if RunFolder(path).is_finished():
        remove(path)
    return attempt, files


def _progress(board: Any, index: int) -> Progress:
    return Progress.quiet() if board is None else Told(board, index)


def _own_folder(place: Place) -> Path:
    """Results of this driver's runs on a node that does not see its folder; the same for its next command."""
    known = hashlib.sha256(str(place.results).encode()).hexdigest()[:16]
    return cache_root() / "ray" / known


def _wait_for(path: Path) -> None:
    """Wait a while where another process works in a run's folder: opening it will say by whom it is held after that."""
    if not path.is_dir():
        return
    lock, end = Lock(path / "lock"), time.monotonic() + PATIENCE
    while not lock.acquire(wait=False) and time.monotonic() < end:
        time.sleep(0.5)
    lock.release()


def packed(folder: Path, above: int = 0) -> Files:
    """The files of a folder that is finished; with the names of so many folders above them before their own."""
    found = {}
    root = folder.parents[above - 1] if above else folder
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if path.is_file() and inner != ("lock",) and not any(part.startswith(TEMPORARY) for part in inner):
            found[path.relative_to(root).as_posix()] = np.fromfile(path, dtype=np.uint8)
    return found


def unpack(files: Files, folder: Path) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content.tofile(folder / name)


def unpack_run(files: Files, path: Path) -> None:
    """Put a run that was done elsewhere in its place."""
    with folder_whole(path) as build:
        unpack(files, build)


def _unpack_starts(reference: Any, progress: Progress) -> None:
    """Put what another node has made of this seed into this node's cache."""
    ray = import_module("ray")
    try:
        files: Files = ray.get(reference)
    except ray.exceptions.ObjectLostError:
        progress.note("the warm start was lost with its node: it is made again")
        return
    entries: dict[tuple[str, str], Files] = {}
    for name, content in files.items():
        kind, key, inner = name.split("/", 2)
        entries.setdefault((kind, key), {})[inner] = content
    for (kind, key), own in entries.items():
        with cache_entry(cache_root(), kind, key) as entry:
            if not entry.ready:
                unpack(own, entry.build)


def tasks(ray: Any) -> dict[Callable[..., Any], Any]:
    """The functions of this module as Ray's; what becomes of a task whose process dies is decided by the driver."""
    return {
        look: ray.remote(num_cpus=0, max_retries=0)(look),
        make_start: ray.remote(num_returns=2, max_retries=0)(make_start),
        do_run: ray.remote(num_returns=2, max_retries=0)(do_run),
    }
