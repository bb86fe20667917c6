"""One row for each method and one pair of axes for each part of the tasks, for any number of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spa_bench.figures.style import INK, NAME, PALE, Look, looks, sheet, striped, tall

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Mark:
    """A value with the ends of its CI, where it has one; a missing value has a short reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Column:
    """One pair of axes."""

    title: str
    marks: Mapping[str, Mark]
    """By method."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What stands at the right of the axes, by method."""


def draw_rows(
    columns: Sequence[Column],
    methods: Sequence[str],
    *,
    title: str,
    label: str,
    caption: str,
    ends: tuple[float, float],
) -> Figure:
    """The figure; `ends` are the least and the largest value that is shown."""
    width = 1 + 0.075 * min(NAME, max(map(len, methods))) + (4.2 if columns[0].notes else 2.1) * len(columns)
    figure = sheet(width, 1 + (1.4 if columns[0].notes else 1) * tall(methods), title, caption)
    found = looks(methods)
    every = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False)[0]
    for axes, column in zip(every, columns, strict=True):
        striped(axes, methods)
        axes.set_title(column.title, fontsize=9)
        axes.set_xlabel(label, fontsize=8)
        axes.axvline(0, color=PALE, linewidth=0.8, zorder=1)
        for row, method in enumerate(methods):
            _draw(axes, column.marks[method], row, found[method], ends)
        for row, method in enumerate(methods if column.notes else ()):
            at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7}
            axes.text(1.02, row, column.notes[method], **at)
    every[0].set_xlim(*ends)
    return figure


def _draw(axes: Axes, mark: Mark, row: int, look: Look, ends: tuple[float, float]) -> None:
    """A point with its CI, with an arrow where that leaves the axes."""
    if mark.value is None:
        axes.text(max(0.0, ends[0]), row, f" {mark.why}", color=PALE, va="center", fontsize=7, zorder=4)
        return
    if mark.low is not None and mark.high is not None:
        axes.hlines(row, max(ends[0], mark.low), min(ends[1], mark.high), color=look.colour, linewidth=1.4, zorder=2)
        for end, shape, beyond in ((ends[0], "<", mark.low < ends[0]), (ends[1], ">", mark.high > ends[1])):
            if beyond:
                axes.plot(end, row, shape, color=look.colour, markersize=5, clip_on=False, zorder=3)
    style: dict[str, Any] = {"color": look.colour, "markeredgecolor": INK, "markeredgewidth": 0.5, "markersize": 6}
    axes.plot(mark.value, row, look.marker, clip_on=False, zorder=4, **style)
