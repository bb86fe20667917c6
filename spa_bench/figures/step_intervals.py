"""Relative improvement over a baseline by task length, as in SPA's figure 4 (arXiv 2505.20732)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.analysis.groups import Group
from spa_bench.analysis.step_intervals import Improvement, Improvements, improvements
from spa_bench.figures import words
from spa_bench.figures.rows import Column, Mark, draw_rows
from spa_bench.figures.style import INK, OVERLAID, PALE, Look, legend, looks, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
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
    ends = _ends(found.found.rows)
    label = f"relative improvement over {found.found.baseline}, %"
    if len(methods) <= OVERLAID and len(methods) * len(found.found.intervals) <= 4 * OVERLAID:
        return _bars(found, methods, cells, ends)
    columns = [
        Column(_title(name, cells, methods), {method: _mark(cells[method, name]) for method in methods})
        for name in (interval.name for interval in found.found.intervals)
    ]
    return draw_rows(columns, methods, title=found.title, label=label, caption=found.caption, ends=ends)


def _bars(
    found: StepIntervals,
    methods: Sequence[str],
    cells: Mapping[tuple[str, str], Improvement],
    ends: tuple[float, float],
) -> Figure:
    bar = min(0.25, 0.8 / len(methods))
    figure = sheet(10, 3.6, found.title, found.caption)
    axes = figure.subplots()
    found_looks = looks(methods)
    names = [interval.name for interval in found.found.intervals]
    handles = []
    for place, method in enumerate(methods):
        look, at = found_looks[method], [group + bar * (place + 0.5 - len(methods) / 2) for group in range(len(names))]
        handles.append(_draw(axes, at, [_mark(cells[method, name]) for name in names], bar, look, ends))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylim(*ends)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)), [_title(name, cells, methods) for name in names])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"relative improvement over {found.found.baseline}, %")
    axes.yaxis.grid(True, color=PALE, alpha=0.3, linewidth=0.5)
    axes.set_axisbelow(True)
    legend(figure, handles, methods)
    return figure


def _draw(
    axes: Axes, at: Sequence[float], marks: Sequence[Mark], width: float, look: Look, ends: tuple[float, float]
) -> BarContainer:
    """The bars of one method."""
    heights = [mark.value or 0.0 for mark in marks]
    bars = axes.bar(at, heights, 0.92 * width, facecolor=look.colour, edgecolor="white", hatch=look.hatch, linewidth=0)
    for x, mark in zip(at, marks, strict=True):
        if mark.value is None:
            axes.text(x, 0, f" {mark.why}", rotation=90, ha="center", va="bottom", fontsize=7, color=PALE)
        if mark.low is not None and mark.high is not None:
            low, high = max(ends[0], mark.low), min(ends[1], mark.high)
            axes.vlines(x, low, high, color="white", linewidth=3.2, zorder=3)
            axes.vlines(x, low, high, color=INK, linewidth=1.2, zorder=4)
            for end, shape, beyond in ((ends[0], "v", mark.low < ends[0]), (ends[1], "^", mark.high > ends[1])):
                if beyond:
                    axes.plot(x, end, shape, color=INK, markersize=4, clip_on=False, zorder=4)
    return bars


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
