"""The episodes of a folder with the rewards of their steps, read without torch and without the world.

Separate from `runs`, which keeps the figures of evaluation only: here every text stays, and a branch has its first
steps again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spa_bench.analysis import runs
from spa_bench.analysis.played import DAMAGED, IDENTITY
from spa_bench.core import Trajectory, UserError
from spa_bench.runs.episodes import from_row, is_number, is_whole, mistyped
from spa_bench.runs.folder import read_run
from spa_bench.runs.journal import Journal
from spa_bench.runs.names import run_name
from spa_bench.runs.reading import RUN, holding, read_json

AUDIT = "audit"
"""Stage of the episodes of an audit folder."""

BROKEN = (UserError, *DAMAGED)
"""What reading a folder ends in that is damaged or none of ours."""

TEXTS = ("observation", "reply", "action", "expert_action")
"""Of a step; many steps have the same."""

Place = tuple[str, int, int]
"""Stage, iteration and index: which episode of its folder."""

Paid = Mapping[str | None, Sequence[float]]
"""Label of a method of an audit, or None for the method of a run -> one number for each of an episode's own steps."""


@dataclass(frozen=True)
class Recorded:
    """One episode as it lies in a folder."""

    place: Place
    parent: int | None
    """Index of the episode that its first `branch` steps were played in."""
    trajectory: Trajectory
    """Whole, without tokens."""
    paid: Paid


@dataclass(frozen=True)
class Recording:
    """The episodes of one folder, by stage, iteration and index."""

    episodes: tuple[Recorded, ...]
    left_out: str
    """What could not be used, in words; empty where everything could."""


def find(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The run folders and the audit folders at or below `paths`, each once; UserError where there are none."""
    wanted = list(paths)
    played = set(holding(RUN, wanted))
    audits = [path for path in holding("audit.json", wanted) if path not in played]
    try:
        return runs.find(wanted), audits
    except UserError:
        if audits:
            return [], audits
        raise


def named(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Folders with their names, by name; a second folder of the same name is called `name~2`."""
    seen: Counter[str] = Counter()
    found = []
    for name, path in sorted((run_name(path), path) for path in paths):
        seen[name] += 1
        found.append((name if seen[name] == 1 else f"{name}~{seen[name]}", path))
    return sorted(found)


def read_recording(path: Path, stage: str | None = None, *, prices: bool = False) -> Recording:
    """The episodes of a run folder, of one stage or of all, with `prices` if asked for.

    Lines that hold no episode, repetitions (the first counts), branches without their parent, and prices that are none
    are left out and counted. Raises one of `BROKEN` for a folder that is no run or holds what this version cannot read.
    """
    read_run(path)
    left: Counter[str] = Counter()
    paid = _run_prices(path / "prices.jsonl", stage, left) if prices else {}
    found = []
    for place, parent, one in _episodes(path / "episodes.jsonl", stage, left):
        own: Paid = {None: paid[place]} if place in paid else {}
        if own and len(paid[place]) != one.played:
            left["episode(s) with rewards of another length"] += 1
            own = {}
        found.append(Recorded(place, parent, one, own))
    return Recording(tuple(found), ", ".join(f"{number} {what}" for what, number in sorted(left.items())))


def read_audit(path: Path, *, prices: bool = False) -> Recording:
    """The episodes of an audit folder, with the rewards of each method if asked for.

    An audit is written at once, so anything that is missing or does not fit is damage: one of `BROKEN` is raised.
    """
    labels = _methods(path / "audit.json")
    paid: dict[Place, dict[str, tuple[float, ...]]] = {}
    left: Counter[str] = Counter()
    for name in ("episodes.jsonl", *(["prices.jsonl"] if prices else [])):
        if not (path / name).exists():
            raise UserError(f"{path} keeps no {name}: it is of an earlier version or a part of a copy; audit again")
    if prices:
        paid = _audit_prices(path / "prices.jsonl", left)
    played = list(_episodes(path / "episodes.jsonl", None, left))
    if left or [place for place, _, _ in played] != [(AUDIT, 0, index) for index in range(len(played))]:
        raise UserError(f"{path} has unreadable, repeated or missing lines: audit again")
    found = []
    for place, _, one in played:
        own = paid.pop(place, {})
        if prices and {label: len(numbers) for label, numbers in own.items()} != dict.fromkeys(labels, len(one)):
            raise UserError(f"{path / 'prices.jsonl'}: not the prices of the audited methods")
        found.append(Recorded(place, None, one, {label: own[label] for label in sorted(own)}))
    if paid:
        raise UserError(f"{path / 'prices.jsonl'}: not the prices of the audited episodes")
    return Recording(tuple(found), "")


def _methods(file: Path) -> list[str]:
    """The labels of the audited methods."""
    content = read_json(file)
    labels = [method["name"] for method in content["methods"]]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise UserError(f"{file} is no audit that this version can read: a method stands twice, or has no name")
    return labels


def _run_prices(file: Path, stage: str | None, left: Counter[str]) -> dict[Place, tuple[float, ...]]:
    """Of two rows for one episode the first counts."""
    found: dict[Place, tuple[float, ...]] = {}
    for row in Journal(file).scan():
        place, rewards = _place(row), _numbers(row)
        if place is None or rewards is None:
            left["unreadable line(s) of rewards"] += 1
        elif stage in (None, place[0]):
            found.setdefault(place, rewards)
    return found


def _audit_prices(file: Path, left: Counter[str]) -> dict[Place, dict[str, tuple[float, ...]]]:
    found: dict[Place, dict[str, tuple[float, ...]]] = defaultdict(dict)
    for row in Journal(file).scan():
        place, rewards, label = _place(row), _numbers(row), (row or {}).get("method")
        if place is None or rewards is None or not isinstance(label, str) or label in found[place]:
            left["unreadable or repeated line(s) of rewards"] += 1
        else:
            found[place][label] = rewards
    return found


def _episodes(file: Path, stage: str | None, left: Counter[str]) -> Iterable[tuple[Place, int | None, Trajectory]]:
    """Place, parent and whole episode, by place. A parent has a lower index than its branches."""
    rows = _rows(file, stage, left)
    known: dict[Place, Trajectory] = {}
    for place in sorted(rows):
        row = rows.pop(place)
        parent, branch = row.get("parent"), row.get("branch", 0)
        try:
            if not is_whole(branch) or not (parent is None or is_whole(parent)):
                raise TypeError("branch and parent are whole numbers")
            if not isinstance(row["steps"], list):
                raise TypeError("steps are a list")
            origin = None if parent is None else known.get((*place[:2], parent))
            if branch and (origin is None or len(origin) < branch):
                left["branch(es) without the episode that they left"] += 1
                continue
            known[place] = from_row(row, origin)
            if mistyped(known[place]):
                raise TypeError(f"a value in {known[place].task.key!r} has another type")
        except BROKEN as error:
            raise UserError(f"{file} holds an episode that this version cannot read ({error})") from None
        yield place, parent, known[place]


def _rows(file: Path, stage: str | None, left: Counter[str]) -> dict[Place, dict[str, Any]]:
    """Rows of the wanted stage by place, without tokens, and with texts that exist once in memory."""
    found: dict[Place, dict[str, Any]] = {}
    texts: dict[str, str] = {}
    for row in Journal(file).scan():
        place = _place(row)
        if row is None or place is None:
            left["unreadable line(s)"] += 1
        elif place in found:
            left["repeated episode(s)"] += 1
        elif stage in (None, place[0]):
            found[place] = _light(row, texts)
    return found


def _light(row: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    for step in row["steps"] if isinstance(row.get("steps"), list) else ():
        if isinstance(step, dict):
            step["tokens"] = None
            same = {name: step[name] for name in TEXTS if isinstance(step.get(name), str)}
            step |= {name: texts.setdefault(text, text) for name, text in same.items()}
    return row


def _place(row: Mapping[str, Any] | None) -> Place | None:
    """Where a row belongs; None where it does not say so."""
    stage, iteration, index = ((row or {}).get(key) for key in IDENTITY)
    if isinstance(stage, str) and is_whole(iteration) and is_whole(index):
        return stage, iteration, index
    return None


def _numbers(row: Mapping[str, Any] | None) -> tuple[float, ...] | None:
    rewards = (row or {}).get("rewards")
    return tuple(map(float, rewards)) if isinstance(rewards, list) and all(map(is_number, rewards)) else None
