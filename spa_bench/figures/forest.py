"""Differences of success from the warm start and from the baseline, with their verdicts: those of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.analysis.differences import Difference
from spa_bench.analysis.groups import Group
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.rows import Column, Mark, draw_rows
from spa_bench.figures.style import wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Compared:
    """One method against another row."""

    method: str
    reference: str
    difference: float
    """Method minus reference, in percentage points of success, with the ends of its 95 % CI."""
    low: float | None
    high: float | None
    p: float
    verdict: str
    tasks: int
    seeds: int


@dataclass(frozen=True)
class Forest:
    """What is drawn."""

    title: str
    caption: str
    rows: tuple[Compared, ...]
    """By reference, and of each by method."""


def data(group: Group, differences: Sequence[Difference]) -> Forest:
    """The differences of the group's table, as they are; UserError where it has none."""
    if not differences:
        raise UserError("nothing to compare: no second row of the same tasks and seeds")
    return Forest(
        title=f"Difference of success: {words.title(group)}",
        caption=f"{words.sources(group)}\nPercentage points of success on the tasks and seeds that both have, with "
        "95 % CI and adjusted p. CIs and verdicts hold for all comparisons of the table together.",
        rows=tuple(map(_compared, differences)),
    )


def draw(found: Forest) -> Figure:
    """A row for each method, a pair of axes for each reference, the verdict at its right."""
    references = dict.fromkeys(row.reference for row in found.rows)
    methods = list(dict.fromkeys(row.method for row in found.rows))
    columns = [_column(name, [row for row in found.rows if row.reference == name], methods) for name in references]
    label, ends = "difference of success, pp", _ends(found.rows)
    return draw_rows(columns, methods, title=found.title, label=label, caption=found.caption, ends=ends)


def _compared(one: Difference) -> Compared:
    effect = one.found.effect
    low, high = (None if end is None else 100 * end for end in (effect.low, effect.high))
    return Compared(
        one.method, one.reference, 100 * effect.mean, low, high, one.found.p, one.verdict, one.found.tasks,
        one.found.seeds,
    )  # fmt: skip


def _column(reference: str, rows: Sequence[Compared], methods: Sequence[str]) -> Column:
    own = {row.method: row for row in rows}
    marks = {row.method: Mark(row.difference, row.low, row.high) for row in rows}
    notes = {name: f"{wrapped(row.verdict, 26)}\np = {row.p:.2g}" for name, row in own.items()}
    why = Mark(None, why="the reference" if reference in methods else "not compared")
    tasks, seeds = _range([row.tasks for row in rows]), _range([row.seeds for row in rows])
    title = f"minus {reference}\n(n={tasks} tasks, {seeds} seed{'' if seeds == '1' else 's'})"
    return Column(
        title, {name: marks.get(name, why) for name in methods}, {name: notes.get(name, "") for name in methods}
    )


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _ends(rows: Sequence[Compared]) -> tuple[float, float]:
    reached = [0.0, *(end for row in rows for end in (row.difference, row.low, row.high) if end is not None)]
    room = max(0.06 * (max(reached) - min(reached)), 2.0)
    return min(reached) - room, max(reached) + room
