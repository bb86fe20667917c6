"""The episodes of the evaluation set, of a run folder or of the summary of one: what a table needs of them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spa_bench import manifest
from spa_bench.core import UserError
from spa_bench.runs.episodes import BUDGET, is_number, is_whole
from spa_bench.runs.journal import Journal
from spa_bench.runs.reading import SMALL, opened
from spa_bench.stats.variance import LARGEST

EPISODES, OUTCOMES = "episodes.jsonl", "outcomes.csv"
"""Files of a run folder and of a summary, which has no texts."""

PANELS = ("warm_start", "eval")
"""Stages that play the evaluation set: before training, and after it with the final checkpoint."""

BUDGETS = re.compile(rf"{BUDGET} [1-9][0-9]{{0,8}}")
"""Panels of training budgets: the evaluation set after so many iterations."""


def at_budget(iterations: int) -> str:
    """Name of the panel after so many iterations."""
    return f"{BUDGET} {iterations}"


def reached(panel: str) -> int:
    """After how many iterations a panel of `BUDGETS` was played."""
    return int(panel.split(" ")[1])


IDENTITY = ("stage", "iteration", "index")
"""What makes an episode the same episode; of two with one identity the first counts."""

DAMAGED = (
    *(KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError),
    *(MemoryError, OSError),
)
"""What reading the files of another program, or of another version, ends in beside UserError."""


@dataclass(frozen=True)
class Played:
    """One episode of the evaluation set."""

    task: str
    kind: str
    """Task type, in the words of its world."""
    expert_steps: int
    success: bool
    outcome: float
    turns: int
    grounded: int
    malformed: int
    """Steps whose reply held no command; they count as not grounded too."""
    error: bool


def panels(path: Path) -> tuple[dict[str, list[Played]], int, int]:
    """The episodes of each panel of a run folder, the number of unreadable lines, and that of repeated episodes."""
    if not (path / OUTCOMES).exists():
        return _panels(Journal(path / EPISODES))
    if fault := manifest.fault(path):
        raise UserError(f"{path} is no whole summary, {fault}: copy it again")
    return _outcomes(path / OUTCOMES), 0, 0


def _panels(journal: Journal) -> tuple[dict[str, list[Played]], int, int]:
    panels: dict[str, list[tuple[Any, Played]]] = {name: [] for name in PANELS}
    seen: set[tuple[Any, ...]] = set()
    unreadable = duplicates = 0
    for row in journal.scan():
        if row is None or None in (identity := tuple(row.get(key) for key in IDENTITY)):
            unreadable += 1
        elif identity in seen:
            duplicates += 1
        else:
            seen.add(identity)
            name = at_budget(row["iteration"]) if row["stage"] == BUDGET else row["stage"]
            if name in PANELS or BUDGETS.fullmatch(str(name)):
                panels.setdefault(name, []).append((row["index"], _played(row, journal.path)))
    # Recorded as they ended, which an interruption changes: sums of numbers must not depend on it.
    ordered = {name: [played for _, played in sorted(panels[name], key=lambda one: one[0])] for name in _names(panels)}
    return ordered, unreadable, duplicates


def _names(panels: Iterable[str]) -> list[str]:
    """Those of every run, then those of budgets as they were reached."""
    budgets = [name for name in panels if name not in PANELS]
    return [*PANELS, *sorted(budgets, key=reached)]


def _played(row: Mapping[str, Any], file: Path) -> Played:
    try:
        steps, task = row["steps"], row["task"]
        outcome = row["outcome"] if is_number(row["outcome"]) else math.inf
        if not (abs(outcome) <= LARGEST and is_whole(task["expert_steps"]) and isinstance(steps, list)):
            raise TypeError("steps are a list, outcome and expert_steps are numbers")
        if not all(isinstance(step["grounded"], bool) for step in steps):
            raise TypeError("grounded is true or false")
        return Played(
            task=str(task["key"]),
            kind=str(task["kind"]),
            expert_steps=task["expert_steps"],
            success=bool(row["success"]),
            outcome=float(outcome),
            turns=len(steps),
            grounded=sum(step["grounded"] for step in steps),
            malformed=sum(step["fault"] == "format" for step in steps),
            error=row["error"] is not None,
        )
    except DAMAGED as error:
        raise UserError(f"{file} holds an episode that this version cannot read ({error}): upgrade spa-bench") from None


COLUMNS = ("task", "kind", "expert_steps")
"""Of a file of outcomes: what a row is about. Those of each panel follow, empty where it has no episode of the task."""
NUMBERS = ("success", "outcome", "turns", "grounded", "malformed", "error")


def outcomes(panels: Mapping[str, Sequence[Played]]) -> str:
    """The panels as CSV, one row a task, for `OUTCOMES`; UserError where a task has an episode for each character."""
    found: dict[tuple[str, str, int], dict[str, Played]] = {}
    names = _names(panels)
    for name in names:
        for one in panels[name]:
            row = found.setdefault((one.task, one.kind, one.expert_steps), {})
            if name in row:
                raise UserError(f"{one.task} has several episodes: runs of several characters have no summary")
            row[name] = one
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"{name} {number}" for name in names for number in NUMBERS)])
    for task, row in found.items():
        numbers = [_numbers(row[name]) if name in row else [""] * len(NUMBERS) for name in names]
        writer.writerow([*task, *(number for of_panel in numbers for number in of_panel)])
    return text.getvalue()


def _numbers(one: Played) -> list[str]:
    return [repr(value + 0 if isinstance(value, bool) else value) for value in (getattr(one, n) for n in NUMBERS)]


def _outcomes(file: Path) -> dict[str, list[Played]]:
    """What `outcomes` wrote; UserError for anything else."""
    panels: dict[str, list[Played]] = {name: [] for name in PANELS}
    try:
        with opened(file, SMALL) as handle:
            rows = list(csv.DictReader(io.StringIO(handle.read(SMALL + 1).decode("utf-8")), strict=True))
        heads = [head.removesuffix(f" {NUMBERS[0]}") for head in (rows[0] if rows else ())]
        names = [*PANELS, *filter(BUDGETS.fullmatch, heads)]
        for row in rows:
            for name in names:
                own = {number: row[f"{name} {number}"] for number in NUMBERS}
                if any(own.values()):
                    panels.setdefault(name, []).append(_read(row, own))
    except (*DAMAGED, csv.Error) as error:
        raise UserError(f"{file} is damaged or was edited ({type(error).__name__}: {error}): copy it again") from None
    return panels


def _read(row: Mapping[str, str], own: Mapping[str, str]) -> Played:
    outcome = float(own["outcome"])
    if not abs(outcome) <= LARGEST or {own["success"], own["error"]} - {"0", "1"}:
        raise ValueError("an outcome is a number, success and error are 0 or 1")
    turns, grounded, malformed, expert = (
        int(text) for text in (own["turns"], own["grounded"], own["malformed"], row["expert_steps"])
    )
    if min(turns - grounded, grounded, malformed, expert) < 0:
        raise ValueError("counts of steps are not negative, and no more are grounded than there are turns")
    success, error = (own[name] == "1" for name in ("success", "error"))
    return Played(row["task"], row["kind"], expert, success, outcome, turns, grounded, malformed, error)
