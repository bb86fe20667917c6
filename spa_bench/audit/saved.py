"""An audit on disk: its figures, the audited episodes, the reward that each method assigned to each step.

It is read without torch and without the environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from spa_bench.audit import show
from spa_bench.audit.aliasing import ALL
from spa_bench.audit.summary import COSTS, OUTCOMES, PROBES, Audit
from spa_bench.core import BUCKETS, Floats, Trajectory, UserError
from spa_bench.files import folder_whole
from spa_bench.runs.episodes import from_row, is_number, mistyped, to_row
from spa_bench.runs.journal import Journal
from spa_bench.runs.reading import SMALL, holding, opened, parsed

AUDIT, EPISODES, PRICES = "audit.json", "episodes.jsonl", "prices.jsonl"


def save(found: Audit, results: Path) -> Path:
    """Write the audit; returns the folder, whose name is the seed and a digest of the figures."""
    content = json.dumps(show.to_json(found), indent=1, sort_keys=True, allow_nan=False) + "\n"
    name = f"{found.about['seed']}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    path = results / "audits" / str(found.about["world"]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with folder_whole(path) as folder:
        (folder / AUDIT).write_text(content, encoding="utf-8")
        _write(folder / EPISODES, (_told(one) | place(index) for index, one in enumerate(found.episodes)))
        _write(
            folder / PRICES,
            (
                place(index) | {"method": label, "rewards": rewards}
                for label, paid in sorted(found.prices.items())
                for index, rewards in enumerate(paid)
            ),
        )
    return path


def summarise(folders: Iterable[Path], to: Path) -> list[Path]:
    """Write the figures of every audit at or below `folders`, without episodes and rewards, below `to`.

    Returns the folders that were written. What is there already is left as it is: its name has the figures' digest.
    """
    written = []
    for folder in find(folders):
        place = to / "audits" / folder.parent.name / folder.name
        if not place.exists():
            load(folder)  # a damaged one is refused
            place.parent.mkdir(parents=True, exist_ok=True)
            with folder_whole(place) as build:
                (build / AUDIT).write_bytes((folder / AUDIT).read_bytes())
            written.append(place)
    return written


def has_episodes(path: Path) -> bool:
    """Whether the folder has audited episodes, or what is left of them; a summary has neither these nor rewards."""
    return (path / EPISODES).exists() or (path / PRICES).exists()


def find(paths: Iterable[Path]) -> list[Path]:
    """The audit folders at or below the given folders, each once, sorted; none is no error."""
    return holding(AUDIT, paths)


def load(path: Path) -> Audit:
    """The audit in the folder `path`, without episodes and prices.

    It is the one that was saved, except for the order of methods and for numbers that were not finite, which are None.
    Raises UserError for a file that is damaged or no audit.
    """
    file = path / AUDIT
    try:
        with opened(file, SMALL) as content:
            text = content.read()
        parsed(text)  # numbers and depths that the next line lets through
        found = _shape().validate_json(text, strict=True)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in (".".join(map(str, first["loc"])),) if part)
        raise UserError(f"{file} is no audit that this version can read: {where}{first['msg']}") from None
    except ValueError as error:
        raise UserError(f"{file} is no audit that this version can read: {error}") from None
    names = [method.name for method in found.methods]
    if len(set(names)) < len(names) or any(set(method.by_length) != set(BUCKETS) for method in found.methods):
        raise UserError(f"{file} is no audit that this version can read: a method stands twice, or lacks a length")
    apart = [set(method.by_outcome) for method in found.methods]
    margins = [set(method.margins_by_outcome) - own for method, own in zip(found.methods, apart, strict=True)]
    if any(own not in (set(), set(OUTCOMES)) or own != apart[0] for own in apart) or any(margins):
        raise UserError(f"{file} is no audit that this version can read: a method lacks successes or failures")
    if any(set(own) != {ALL, *BUCKETS} for own in found.aliasing.values()):
        raise UserError(f"{file} is no audit that this version can read: a state key lacks a length")
    return replace(found, probes=_ordered(found.probes, PROBES), costs=_ordered(found.costs, COSTS))


def _ordered(told: Mapping[str, str], usual: Iterable[str]) -> dict[str, str]:
    """In the order of a fresh audit; in the file they are sorted."""
    return {name: told[name] for name in dict.fromkeys([*usual, *told]) if name in told}


def episodes(path: Path) -> list[Trajectory]:
    """The audited episodes, without tokens. Raises UserError where they are damaged or missing."""
    found = []
    for number, row in enumerate(_rows(path / EPISODES)):
        where = f"{path / EPISODES}, line {number + 1}"
        if not _is_at(row, number):
            raise UserError(f"{where}: not the episode {number} of an audit")
        try:
            one = from_row(row)
        except (UserError, ValueError) as error:
            raise UserError(f"{where}: {error}") from None
        if wrong := mistyped(one):
            raise UserError(f"{where}: {str(wrong[0])[:80]!r} is of the wrong type there")
        found.append(one)
    return found


def prices(path: Path) -> dict[str, list[Floats]]:
    """The rewards of each method, by its label: an array (T,) for each of `episodes`, in their order.

    Raises UserError where episodes or rewards are damaged or missing, or do not fit each other.
    """
    lengths = [len(one) for one in episodes(path)]
    found: dict[str, list[Floats]] = {}
    for number, row in enumerate(_rows(path / PRICES), 1):
        label, rewards = row.get("method"), row.get("rewards")
        paid = found.setdefault(label, []) if isinstance(label, str) else []
        fits = (
            isinstance(label, str)
            and _is_at(row, len(paid))
            and len(paid) < len(lengths)
            and isinstance(rewards, list)
            and len(rewards) == lengths[len(paid)]
            and all(map(is_number, rewards))
        )
        if not fits:
            raise UserError(f"{path / PRICES}, line {number}: not the rewards of a method for the next episode")
        paid.append(np.array(rewards, dtype=np.float64))
    if short := [label for label, paid in found.items() if len(paid) < len(lengths)]:
        given = f"{len(found[short[0]])} of {len(lengths)}"
        raise UserError(f"{path / PRICES}: {short[0]} has rewards for {given} episodes: audit again")
    return found


def place(index: int) -> dict[str, Any]:
    """The fields that identify one episode in a row of an audit's files, as in a run folder."""
    return {"stage": "audit", "iteration": 0, "index": index}


def _is_at(row: Mapping[str, Any], index: int) -> bool:
    return place(index).items() <= row.items()


def _told(trajectory: Trajectory) -> dict[str, Any]:
    """As in a run folder, but without tokens, which are most of the bytes and not needed to read an audit."""
    row = to_row(trajectory)
    return row | {"steps": [step | {"tokens": None} for step in row["steps"]]}


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    file.touch()
    Journal(file).extend(rows)


def _rows(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        raise UserError(
            f"{file.parent} has no {file.name}: it is of an earlier version or an incomplete copy; audit again"
        )
    try:
        rows, unreadable = Journal(file).read()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    if unreadable:
        raise UserError(f"{file} has {unreadable} unreadable line(s): audit again")
    return rows


@cache
def _shape() -> TypeAdapter[Audit]:
    return TypeAdapter(Audit)
