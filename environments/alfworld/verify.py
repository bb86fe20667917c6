"""Proof that a folder of games is complete, unchanged and split without overlap.

Separate from the loader because it reads every file; the loader must not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from spa_bench.environments.alfworld.game import Game
from spa_bench.environments.alfworld.pddl import GameError
from spa_bench.environments.alfworld.tasks import SPLITS, Games, game_files


@dataclass(frozen=True)
class SplitReport:
    """What was found in one split; every tuple holds keys, sorted."""

    split: str
    expected: int
    """Games in the manifest."""
    present: int
    """Games of the manifest that are there, unchanged or not."""
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    """Games whose content is not the listed one."""
    extra: tuple[str, ...]
    """Playable games that the manifest does not list."""
    ignored: int
    """Unlisted games that upstream does not play either: unsolvable, movable or sliced ones."""


@dataclass(frozen=True)
class Verification:
    """The whole answer. `shared` and `shared_problems` map two splits to the keys of the first found in the second."""

    splits: tuple[SplitReport, ...]
    shared: Mapping[tuple[str, str], tuple[str, ...]]
    """The same file, byte for byte."""
    shared_problems: Mapping[tuple[str, str], tuple[str, ...]]
    """The same household and goal (`pddl_problem`), whatever the text."""

    @property
    def ok(self) -> bool:
        """Nothing is missing, changed, added or in two splits."""
        defects = any(report.missing or report.wrong or report.extra for report in self.splits)
        return not (defects or any(self.shared.values()) or any(self.shared_problems.values()))


def verify(games: Games) -> Verification:
    """Read and hash every game below the root of a set."""
    reports, files, problems = [], {}, {}
    for split in SPLITS:
        report, files[split], problems[split] = _split(games, split)
        reports.append(report)
    return Verification(tuple(reports), _overlaps(files), _overlaps(problems))


def _split(games: Games, split: str) -> tuple[SplitReport, dict[str, str], dict[str, str]]:
    listed = {entry.task.key: entry.sha256 for entry in games.entries if entry.task.split == split}
    found = dict(game_files(games.root, split))
    files: dict[str, str] = {}
    problems: dict[str, str] = {}
    extra: list[str] = []
    for key, path in found.items():
        data = path.read_bytes()
        if key in listed:
            files[key], problems[key] = hashlib.sha256(data).hexdigest(), _problem(data)
        elif _playable(path, data):
            extra.append(key)
    report = SplitReport(
        split=split,
        expected=len(listed),
        present=len(files),
        missing=tuple(sorted(listed.keys() - found.keys())),
        wrong=tuple(key for key, digest in files.items() if digest not in listed[key]),
        extra=tuple(extra),
        ignored=len(found) - len(files) - len(extra),
    )
    return report, files, problems


def _problem(data: bytes) -> str:
    """Hash of the household and its goal, without the name that upstream gives to each problem."""
    try:
        problem = str(json.loads(data)["pddl_problem"])
    except (ValueError, KeyError, TypeError, RecursionError):
        problem = data.decode("utf-8", "replace")  # a damaged file equals nothing but its own copy
    return hashlib.sha256(problem[problem.find("(:domain") :].encode("utf-8", "replace")).hexdigest()


def _playable(path: Path, data: bytes) -> bool:
    try:
        Game.decode(data, str(path))
    except GameError:
        return False
    return True


def _overlaps(hashes: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], tuple[str, ...]]:
    shared = {}
    for first, second in combinations(SPLITS, 2):
        other = set(hashes[second].values())
        shared[first, second] = tuple(sorted(key for key, digest in hashes[first].items() if digest in other))
    return shared
