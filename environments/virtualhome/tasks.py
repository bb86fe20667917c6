"""Tasks on disk: a frozen manifest beside a folder of apartments, for official and generated tasks alike.

Separate from the environment so that the CLI can list, count and verify tasks without playing them. The manifest says
which tasks exist and what each must hold; a folder that disagrees with it is an error and never a silently smaller
benchmark. An official task may have two goals: EAI's list, and the difference of its graphs as SPA reads it (`goals`).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from spa_bench.core import Task, UserError
from spa_bench.environments.virtualhome.apartments import SUFFIX, Apartment, Record
from spa_bench.environments.virtualhome.generation.household import CLASSES
from spa_bench.environments.virtualhome.goals import Goal, from_difference, from_eai
from spa_bench.environments.virtualhome.graph import Graph
from spa_bench.environments.virtualhome.script import Line, parse_script

SPLITS = ("train", "valid_seen", "valid_unseen")
GoalKind = Literal["eai", "difference"]
"""Which goal of a task: EAI's list, or what changes between its stored graphs."""
COLUMNS = ("split", "key", "kind", "eai", "difference", "sha256")
"""Of a manifest. `eai` and `difference` are expert steps, empty where the task has no such goal."""

LAYOUT = "apartments"
"""Folder of the apartment files in a root."""
MANIFEST = "manifest.csv"
PACKED = "manifest.csv.gz"
FETCH = "get the official tasks with `spa-bench data get virtualhome`"
KEPT = 512
"""Compiled tasks, and apartments, that a set keeps for episodes that are played side by side."""

_KEY = re.compile(r"(?!\.)[\w.-]{1,200}/(?!\.)[\w.-]{1,200}", re.ASCII)
_KIND = re.compile(r"[a-z0-9_]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One line of a manifest."""

    split: str
    key: str
    kind: str
    eai: int | None
    """The expert's steps to EAI's goal; None where the task has none, or one that is met at the start."""
    difference: int | None
    """The same for the difference of its graphs."""
    sha256: str
    """Of the content: `Record.sha256`."""

    def steps(self, goals: GoalKind) -> int | None:
        """The expert's steps to one of its goals."""
        return self.eai if goals == "eai" else self.difference

    @property
    def apartment(self) -> str:
        """The first half of the key."""
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        """The second half of the key."""
        return self.key.partition("/")[2]


@dataclass(frozen=True)
class Scenario:
    """A task ready to be played."""

    task: Task
    graph: Graph
    """The home at the start; shared by all tasks that start in the same one."""
    goal: Goal
    title: str
    """What is to be done; the whole instruction, for generated tasks."""
    description: str
    """Upstream's longer words, often empty for generated tasks."""
    program: tuple[Line, ...]
    """The gold program."""


class Homes:
    """The tasks of one folder, as its manifest lists them. Nothing is read before it is asked for."""

    def __init__(
        self,
        root: str | Path,
        entries: Iterable[Entry],
        *,
        goals: GoalKind = "eai",
        strict: bool = False,
        fix: str = FETCH,
    ) -> None:
        """`root` holds the folder `apartments`; `fix` ends the messages about bad files.

        `strict`: cycles, things in two rooms and classes that the generator does not know are errors.
        """
        if goals not in get_args(GoalKind):
            raise UserError(f"no goals {goals!r}: use one of {', '.join(get_args(GoalKind))}")
        self.root, self.goals, self.fix = Path(root), goals, fix
        if not (self.root / LAYOUT).is_dir():
            raise UserError(f"no tasks in {root}: it has no folder {LAYOUT}; {fix}")
        self._strict = strict
        self._entries = {entry.key: entry for entry in entries}
        self._listed: dict[str, tuple[Task, ...]] = {}
        self._opened = lru_cache(KEPT)(self._open)
        self._loaded = lru_cache(KEPT)(self._load)
        self._ended = lru_cache(KEPT)(self._end)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The whole manifest, by split and key."""
        return tuple(sorted(self._entries.values(), key=lambda entry: (entry.split, entry.key)))

    @property
    def digest(self) -> str:
        """16 hex digits over the listed tasks, whose content is checked when they are loaded, and the kind of goal."""
        listed = [(entry.split, entry.key, entry.sha256) for entry in self.entries]
        return hashlib.sha256(repr((self.goals, listed)).encode()).hexdigest()[:16]

    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split that have such a goal, sorted by key. Raises UserError where a file is missing."""
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}: use {', '.join(SPLITS)}")
        if split not in self._listed:
            entries = [entry for entry in self.entries if entry.split == split]
            files = {name: self.path(name) for name in sorted({entry.apartment for entry in entries})}
            missing = [path for path in files.values() if not os.path.isfile(path)]
            if missing:
                raise UserError(
                    f"{len(missing)} of {len(files)} apartments of {split} are missing, "
                    f"for example {missing[0]}; {self.fix}"
                )
            tasks = tuple(self._task(entry) for entry in entries if entry.steps(self.goals) is not None)
            if not tasks:
                raise UserError(f"split {split} of {self.root} has no tasks with goals of the kind {self.goals!r}")
            self._listed[split] = tasks
        return self._listed[split]

    def find(self, key: str, split: str | None = None) -> Task:
        """The task of a key, in `split` or in whichever split has it."""
        entry = self._entries.get(key)
        if entry is None or split not in (None, entry.split):
            raise UserError(f"no task {key!r} in {split or 'any split'}: write it as <apartment>/<task>")
        if entry.steps(self.goals) is None:
            raise UserError(f"task {key} has no goal of the kind {self.goals!r}, or one that is met at the start")
        return self._task(entry)

    def path(self, apartment: str) -> Path:
        """The file of an apartment."""
        return self.root / LAYOUT / f"{apartment}{SUFFIX}"

    def load(self, task: Task) -> Scenario:
        """Compile a task after checking its content. Raises UserError naming the file and the fix."""
        return self._loaded(task)

    def final(self, task: Task) -> Graph:
        """The final graph that upstream stored; that of `load`, the same object, where none is stored."""
        return self._ended(task)

    def record(self, entry: Entry) -> Record:
        """What is stored of a task, its content checked."""
        record = self.apartment(entry.apartment).record(entry.name)
        try:
            got = record.sha256
        except RecursionError:
            got = "of something too deep"
        if got != entry.sha256:
            raise UserError(
                f"{self.path(entry.apartment)}: {entry.name} is not the listed task: "
                f"sha256 {got}, expected {entry.sha256}; {self.fix}"
            )
        return record

    def apartment(self, name: str) -> Apartment:
        """An apartment and its tasks, listed or not."""
        return self._opened(name)

    def _open(self, name: str) -> Apartment:
        known = frozenset(CLASSES) if self._strict else None
        return Apartment(self.path(name), strict=self._strict, known=known, fix=self.fix)

    def _load(self, task: Task) -> Scenario:
        entry = self._entries[task.key]
        record = self.record(entry)
        where = f"{self.path(entry.apartment)}, task {entry.name}"
        if self.goals == "eai":
            goal = from_eai(record.goal, record.initial, where)
        else:
            goal = from_difference(record.initial, self.apartment(entry.apartment).final(record), where)
        return scenario(task, record, goal, where)

    def _end(self, task: Task) -> Graph:
        entry = self._entries[task.key]
        record = self.record(entry)
        if record.final is None:
            return self.load(task).graph
        return self.apartment(entry.apartment).final(record)

    def _task(self, entry: Entry) -> Task:
        return Task("virtualhome", entry.key, entry.split, entry.kind, entry.steps(self.goals) or 0)


def scenario(task: Task, record: Record, goal: Goal, where: str) -> Scenario:
    """A stored task with its program read. Raises UserError where that is no program."""
    try:
        script = parse_script(record.program)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Scenario(task, record.initial, goal, script.title, script.description, script.lines)


@lru_cache(8)
def official(root: str | Path, goals: GoalKind = "eai") -> Homes:
    """The 518 public tasks in `root`: 338 goals of EAI, or the graph differences. Shared."""
    packed = resources.files("spa_bench.environments.virtualhome").joinpath(PACKED).read_bytes()
    return Homes(root, read_manifest(gzip.decompress(packed).decode("utf-8"), PACKED), goals=goals)


@lru_cache(8)
def folder(
    root: str | Path, goals: GoalKind = "eai", *, strict: bool = True, fix: str = "generate the set again"
) -> Homes:
    """A set of tasks that brings its own `manifest.csv` in its root. Shared."""
    path = Path(root) / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}; {fix}") from None
    return Homes(root, read_manifest(text, str(path)), goals=goals, strict=strict, fix=fix)


def read_manifest(text: str, source: str) -> tuple[Entry, ...]:
    """Entries of a manifest. Raises UserError naming the line of the first defect."""
    rows = csv.DictReader(text.splitlines())
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise UserError(f"{source} is no manifest: its columns are not {','.join(COLUMNS)}")
    entries: dict[str, Entry] = {}
    for row in rows:
        entry = _entry(row)
        if entry is None:
            raise UserError(f"{source}, line {rows.line_num}: not a valid row")
        if entry.key in entries:
            raise UserError(f"{source}, line {rows.line_num}: {entry.key} is listed twice")
        entries[entry.key] = entry
    return tuple(entries.values())


def write_manifest(entries: Iterable[Entry]) -> str:
    """The text of a manifest, sorted, so that equal sets give equal bytes."""
    lines = [",".join(COLUMNS)]
    for entry in sorted(entries, key=lambda entry: (entry.split, entry.key)):
        steps = ["" if n is None else str(n) for n in (entry.eai, entry.difference)]
        lines.append(",".join([entry.split, entry.key, entry.kind, *steps, entry.sha256]))
    return "\n".join(lines) + "\n"


def _entry(row: dict[str, str]) -> Entry | None:
    if None in row or None in row.values():  # csv's signs of too many and too few fields
        return None
    steps = [row["eai"], row["difference"]]
    valid = row["split"] in SPLITS and all(re.fullmatch("[0-9]{0,6}", n) for n in steps)
    if not (valid and _KEY.fullmatch(row["key"]) and _KIND.fullmatch(row["kind"]) and _SHA256.fullmatch(row["sha256"])):
        return None
    eai, difference = (int(n) if n else None for n in steps)
    return Entry(row["split"], row["key"], row["kind"], eai, difference, row["sha256"])
