"""Relative improvement over a baseline by task length, as in SPA's figure 4 (arXiv 2505.20732)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.analysis.groups import Group
from spa_bench.analysis.step_intervals import Improvement, Improvements, improvements
from spa_bench.figures import words
from spa_bench.figures.bars import draw_parts
from spa_bench.figures.rows import Column, Mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAR = 2.0
"""The axis reaches up to this many times the largest value; longer CIs are cut, with an arrow."""
NO_RATIO = "baseline 0"


@dataclass(frozen=True)
class StepIntervals:
    """What is drawn."""

    title: str
    caption: str
    found: Improvements


def data(group: Group, baseline: str | None = None, cuts: Sequence[int] | None = None) -> StepIntervals:
    """What `analysis.step_intervals.improvements` finds; UserError as there."""
    found = improvements(group, baseline, cuts)
    return StepIntervals(
        title=f"Relative improvement over {found.baseline} by task length (expert steps): {words.title(group)}",
        caption=f"{words.sources(group)}\n100 (success - {found.baseline}) / {found.baseline}, on the seeds and tasks "
        f"that both have. 95 % CI over tasks (bootstrap), none where {found.baseline} solves too few; {NO_RATIO}: "
        f"{found.baseline} solves none. Arrow: the CI is longer.",
        found=found,
    )


def draw(found: StepIntervals) -> Figure:
    """Bars in groups; of many methods, or many intervals, a row for each method instead."""
    methods = list(dict.fromkeys(row.method for row in found.found.rows))
    cells = {(row.method, row.interval): row for row in found.found.rows}
    columns = [
        Column(_title(name, cells, methods), {method: _mark(cells[method, name]) for method in methods})
        for name in (interval.name for interval in found.found.intervals)
    ]
    label, ends = f"relative improvement over {found.found.baseline}, %", _ends(found.found.rows)
    return draw_parts(columns, methods, title=found.title, label=label, caption=found.caption, ends=ends)


def _ends(rows: Sequence[Improvement]) -> tuple[float, float]:
    """From the lowest end of a CI, which is at least -100, to the highest, but at most as far as `FAR` says."""
    values = [row.percent for row in rows if row.percent is not None]
    most = FAR * max([5.0, *map(abs, values)])
    reached = [0.0, *values, *(end for row in rows for end in (row.low, row.high) if end is not None)]
    low, high = min(reached), min(most, max(reached))
    room = 0.05 * max(high - low, 10.0)
    return low - room, high + room


def _title(name: str, cells: Mapping[tuple[str, str], Improvement], methods: Sequence[str]) -> str:
    counts = sorted({cells[method, name].tasks for method in methods})
    said = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{name} steps (n={said})"


def _mark(row: Improvement) -> Mark:
    return Mark(
        row.percent, row.low, row.high, why="" if row.percent is not None else NO_RATIO if row.tasks else "no task"
    )
