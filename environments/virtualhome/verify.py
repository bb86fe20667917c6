"""Proof that a folder of tasks is complete, unchanged and split without overlap.

Separate from the loader because it reads everything; the loader must not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from spa_bench.core import UserError
from spa_bench.environments.virtualhome.apartments import files, fingerprint
from spa_bench.environments.virtualhome.tasks import LAYOUT, SPLITS, Entry, Homes

Marks = tuple[str, str, str]
_NUMBERS = re.compile(r"\([\d.]+\)")


@dataclass(frozen=True)
class SplitReport:
    """What was found in one split; every tuple holds keys, sorted."""

    split: str
    expected: int
    """Tasks in the manifest."""
    present: int
    """Tasks of the manifest that are there, unchanged or not."""
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    """Tasks whose content is not the listed one, or cannot be read."""
    eai: int
    """Tasks with a goal of EAI that is open at the start."""
    difference: int
    """Tasks whose graphs differ."""


@dataclass(frozen=True)
class Verification:
    """The whole answer. Each overlap maps two splits to the keys of the first that are found in the second."""

    splits: tuple[SplitReport, ...]
    extra: tuple[str, ...]
    """Tasks and files that the manifest does not list."""
    shared_homes: Mapping[tuple[str, str], tuple[str, ...]]
    """The same home, whatever is to be done in it."""
    shared_tasks: Mapping[tuple[str, str], tuple[str, ...]]
    """The same home with the same goal and end."""
    shared_programs: Mapping[tuple[str, str], tuple[str, ...]]
    """The same title and steps, ids left out; generated tasks may share them, in other homes."""

    @property
    def ok(self) -> bool:
        """Nothing is missing, changed, added, and no home and no task is in two splits."""
        defects = any(report.missing or report.wrong for report in self.splits) or bool(self.extra)
        return not (defects or any(self.shared_homes.values()) or any(self.shared_tasks.values()))


def verify(homes: Homes) -> Verification:
    """Read and hash every task below the root of a set."""
    by_apartment: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in homes.entries:
        by_apartment[entry.apartment][entry.name] = entry
    states: dict[str, str] = {}
    marks: dict[str, dict[str, Marks]] = {split: {} for split in SPLITS}
    extra = []
    for name, path in files(homes.root / LAYOUT):
        listed = by_apartment.get(name, {})
        there = _names(homes, name) if listed else None
        if not listed:
            extra.append(path.name)
        elif there is None:
            states |= {entry.key: "wrong" for entry in listed.values()}
        else:
            extra += [f"{name}/{task}" for task in there if task not in listed]
            for entry in (listed[task] for task in there if task in listed):
                mark = _marks(homes, entry)
                states[entry.key] = "wrong" if mark is None else "present"
                if mark is not None:
                    marks[entry.split][entry.key] = mark
    reports = tuple(_report(split, homes, states) for split in SPLITS)
    return Verification(reports, tuple(sorted(extra)), *[_overlaps(marks, part) for part in range(3)])


def _names(homes: Homes, apartment: str) -> tuple[str, ...] | None:
    """The tasks in a file; None where it cannot be read."""
    try:
        return homes.apartment(apartment).names
    except UserError:
        return None


def _marks(homes: Homes, entry: Entry) -> Marks | None:
    """What two tasks may have in common: home, task, program. None where this is not the listed task."""
    try:
        record = homes.record(entry)
    except UserError:
        return None
    home = fingerprint(record.initial)
    task = json.dumps([home, record.goal, record.final], sort_keys=True)
    title, *lines = _NUMBERS.sub("", record.program).splitlines() or [""]
    return home, _hash(task), _hash("\n".join([title, *[line for line in lines if line.startswith("[")]]))


def _report(split: str, homes: Homes, states: Mapping[str, str]) -> SplitReport:
    listed = [entry for entry in homes.entries if entry.split == split]
    return SplitReport(
        split=split,
        expected=len(listed),
        present=sum(entry.key in states for entry in listed),
        missing=tuple(entry.key for entry in listed if entry.key not in states),
        wrong=tuple(entry.key for entry in listed if states.get(entry.key) == "wrong"),
        eai=sum(entry.eai is not None for entry in listed),
        difference=sum(entry.difference is not None for entry in listed),
    )


def _overlaps(marks: Mapping[str, Mapping[str, Marks]], part: int) -> dict[tuple[str, str], tuple[str, ...]]:
    shared = {}
    for first, second in combinations(SPLITS, 2):
        other = {mark[part] for mark in marks[second].values()}
        shared[first, second] = tuple(sorted(k for k, mark in marks[first].items() if mark[part] in other))
    return shared


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
