"""Games on disk: a frozen manifest beside upstream's folder layout, for official and generated games alike.

Separate from the environment so that the CLI can list, count and verify games without playing them. The manifest says
which tasks exist; a folder that disagrees with it is an error and never a silently smaller benchmark.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from spa_bench.core import Task, UserError
from spa_bench.environments.alfworld.game import Game, TextVersion
from spa_bench.environments.alfworld.pddl import GameError

SPLITS = ("train", "valid_seen", "valid_unseen")
COLUMNS = ("split", "key", "kind", "expert_steps", "sha256")
"""Of a manifest. `sha256` holds every accepted content hash of the game file, separated by spaces."""

KINDS = {
    "place": "pick_and_place_simple",
    "light": "look_at_obj_in_light",
    "clean": "pick_clean_then_place_in_recep",
    "heat": "pick_heat_then_place_in_recep",
    "cool": "pick_cool_then_place_in_recep",
    "two": "pick_two_obj_and_place",
}
"""Kind of goal -> upstream's task type, which is `Task.kind`."""

LAYOUT = "json_2.1.1"
"""Upstream's folder between a root and its splits; all releases kept this name."""
GAME_FILE = "game.tw-pddl"
MANIFEST = "manifest.csv"
FETCH = "get the official games with `spa-bench data get alfworld`"
KEPT = 128
"""Compiled games that a set keeps, for episodes of one task that are played side by side."""

_KEY = re.compile(r"(?!\.)[\w.-]+/(?!\.)[\w.-]+", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}( [0-9a-f]{64})*")


@dataclass(frozen=True)
class Entry:
    """One line of a manifest."""

    task: Task
    sha256: tuple[str, ...]
    """Accepted hashes of the file's bytes; the official set has one per release."""


class Games:
    """The games of one folder, as its manifest lists them. Nothing is read before it is asked for."""

    def __init__(self, root: str | Path, entries: Iterable[Entry], fix: str = FETCH) -> None:
        """`root` holds the splits, directly or below `json_2.1.1`; `fix` ends the messages about bad files."""
        self.fix = fix
        self.root = _splits_root(Path(root), fix)
        self._entries = {(entry.task.split, entry.task.key): entry for entry in entries}
        self._listed: dict[str, tuple[Task, ...]] = {}
        self._compiled = lru_cache(KEPT)(self._compile)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The whole manifest, by split and key."""
        return tuple(self._entries[place] for place in sorted(self._entries))

    def digest(self, wording: TextVersion) -> str:
        """16 hex digits over the listed games, which are checked when they are loaded, in one text version."""
        listed = [(entry.task.split, entry.task.key, entry.sha256) for entry in self.entries]
        return hashlib.sha256(repr((wording, listed)).encode()).hexdigest()[:16]

    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split, sorted by key. Raises UserError where a game file is missing."""
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}: use {', '.join(SPLITS)}")
        if split not in self._listed:
            tasks = tuple(entry.task for entry in self.entries if entry.task.split == split)
            missing = [task for task in tasks if not os.path.isfile(self.path(task))]
            if missing:
                raise UserError(
                    f"{len(missing)} of {len(tasks)} {split} games are missing, "
                    f"for example {self.path(missing[0])}; {self.fix}"
                )
            self._listed[split] = tasks
        return self._listed[split]

    def find(self, key: str, split: str | None = None) -> Task:
        """The task of a key, in `split` or in whichever split has it."""
        for name in SPLITS if split is None else (split,):
            if (name, key) in self._entries:
                return self._entries[name, key].task
        raise UserError(f"no task {key!r} in {split or 'any split'}: write it as <task folder>/<trial>")

    def wording(self) -> TextVersion:
        """Text version of the first game that is there, in order of split and key."""
        for split in SPLITS:
            for entry in self.entries:
                if entry.task.split == split and self.path(entry.task).is_file():
                    return "2.1.1" if self.load(entry.task).text_version == "2.1.1" else "2.1.2"
        raise UserError(f"none of the listed games is in {self.root}; {self.fix}")

    def path(self, task: Task) -> Path:
        """Where the game file of a task lies."""
        return self.root / task.split / task.key / GAME_FILE

    def load(self, task: Task, text: TextVersion = "auto") -> Game:
        """Compile a game after checking its content. Raises UserError naming the file and the fix."""
        return self._compiled(task, text)

    def _compile(self, task: Task, text: TextVersion) -> Game:
        path = self.path(task)
        accepted = self._entries[task.split, task.key].sha256
        try:
            data = path.read_bytes()
        except OSError as error:
            raise GameError(f"cannot read game {path}: {error.strerror or error}; {self.fix}") from None
        got = hashlib.sha256(data).hexdigest()
        if got not in accepted:
            raise GameError(
                f"{path} is not the listed game: sha256 {got}, expected {' or '.join(accepted)}; {self.fix}"
            )
        return Game.decode(data, str(path), text)


@lru_cache(8)
def official(root: str | Path) -> Games:
    """Upstream's 3,553 + 140 + 134 solvable games, of release 2.1.1 or later, in `root`. Shared."""
    packed = resources.files("spa_bench.environments.alfworld").joinpath("manifest.csv.gz").read_bytes()
    return Games(root, read_manifest(gzip.decompress(packed).decode("utf-8"), "manifest.csv.gz"))


@lru_cache(8)
def folder(root: str | Path, fix: str = "generate the set again") -> Games:
    """A set of games that brings its own `manifest.csv` in its root. Shared."""
    path = Path(root) / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}; {fix}") from None
    return Games(root, read_manifest(text, str(path)), fix)


def read_manifest(text: str, source: str) -> tuple[Entry, ...]:
    """Entries of a manifest. Raises UserError naming the line of the first defect."""
    rows = csv.DictReader(text.splitlines())
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise UserError(f"{source} is no manifest: its columns are not {','.join(COLUMNS)}")
    entries: dict[tuple[str, str], Entry] = {}
    for row in rows:
        entry = _entry(row)
        if entry is None:
            raise UserError(f"{source}, line {rows.line_num}: not a valid row")
        place = entry.task.split, entry.task.key
        if place in entries:
            raise UserError(f"{source}, line {rows.line_num}: {place[1]} is listed twice in {place[0]}")
        entries[place] = entry
    return tuple(entries.values())


def write_manifest(entries: Iterable[Entry]) -> str:
    """The text of a manifest, sorted, so that equal sets give equal bytes."""
    lines = [",".join(COLUMNS)]
    for entry in sorted(entries, key=lambda entry: (entry.task.split, entry.task.key)):
        task = entry.task
        lines.append(",".join([task.split, task.key, task.kind, str(task.expert_steps), " ".join(entry.sha256)]))
    return "\n".join(lines) + "\n"


def game_files(root: Path, split: str) -> Iterator[tuple[str, Path]]:
    """(key, file) of every game file in a split's folder, listed or not, in order of key."""
    for path in sorted((root / split).glob(f"*/*/{GAME_FILE}")):
        yield f"{path.parent.parent.name}/{path.parent.name}", path


def _entry(row: dict[str, str]) -> Entry | None:
    if None in row or None in row.values():  # csv's signs of too many and too few fields
        return None
    steps, hashes = row["expert_steps"], row["sha256"]
    valid = row["split"] in SPLITS and row["kind"] in KINDS.values() and steps.isdecimal()
    if not (valid and _KEY.fullmatch(row["key"]) and _SHA256.fullmatch(hashes)):
        return None
    return Entry(Task("alfworld", row["key"], row["split"], row["kind"], int(steps)), tuple(hashes.split()))


def _splits_root(root: Path, fix: str) -> Path:
    for candidate in (root / LAYOUT, root):
        if any((candidate / split).is_dir() for split in SPLITS):
            return candidate
    raise UserError(f"no games in {root}: it has no folder {LAYOUT}/train, valid_seen or valid_unseen; {fix}")
