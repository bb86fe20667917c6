"""Bars in groups: one group for each part of the tasks, one bar in it for each of a few methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spa_bench.figures.rows import Column, Mark, draw_rows
from spa_bench.figures.style import INK, OVERLAID, PALE, legend, looks, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 0.8
"""Of a group, whose neighbour is 1 away."""
MOST = 4 * OVERLAID
"""More bars than this are too narrow for their CIs."""


def draw_parts(
    columns: Sequence[Column],
    methods: Sequence[str],
    *,
    title: str,
    label: str,
    caption: str,
    ends: tuple[float, float],
) -> Figure:
    """The figure; of many methods, or many parts, a row for each method instead of a bar.

    `ends` are the least and the largest value that is shown.
    """
    if len(methods) > OVERLAID or len(methods) * len(columns) > MOST:
        return draw_rows(columns, methods, title=title, label=label, caption=caption, ends=ends)
    import seaborn  # type: ignore[import-untyped]

    found = looks(methods)
    figure = sheet(10, 3.6, title, caption)
    axes = figure.subplots()
    axes.set_ylim(*ends)
    marks = [(column.title, method, column.marks[method]) for column in columns for method in methods]
    seaborn.barplot(
        x=[title for title, _, _ in marks], y=[mark.value or 0.0 for _, _, mark in marks],
        hue=[method for _, method, _ in marks], hue_order=methods, palette=[found[method].colour for method in methods],
        saturation=1, errorbar=None, width=WIDTH, gap=0.08, linewidth=0, legend=False, ax=axes,
    )  # fmt: skip
    bar = WIDTH / len(methods)
    for place, (method, bars) in enumerate(zip(methods, axes.containers, strict=True)):
        for patch in bars:
            patch.set(hatch=found[method].hatch, edgecolor="white", linewidth=0)
        for group, column in enumerate(columns):
            at = group + bar * (place + 0.5 - len(methods) / 2)
            _finish(axes, column.marks[method], at, 0.46 * bar, found[method].colour, ends)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(*ends)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(label)
    axes.yaxis.grid(True, color=PALE, alpha=0.3, linewidth=0.5)
    axes.set_axisbelow(True)
    legend(figure, axes.containers, methods)
    return figure


def _finish(axes: Axes, mark: Mark, x: float, half: float, colour: str, ends: tuple[float, float]) -> None:
    """The CI of a bar, with an arrow where it leaves the axes; a bar of height 0 as a line, a missing one as a word."""
    if mark.value is None:
        axes.text(x, 0, f" {mark.why}", rotation=90, ha="center", va="bottom", fontsize=7, color=PALE)
        return
    if mark.value == 0:
        axes.hlines(0, x - half, x + half, color=colour, linewidth=3.5, zorder=3)
        axes.annotate("0", (x, 0), (3, 3), textcoords="offset points", ha="left", va="bottom", fontsize=7)
    if mark.low is not None and mark.high is not None:
        low, high = max(ends[0], mark.low), min(ends[1], mark.high)
        axes.vlines(x, low, high, color="white", linewidth=3.2, zorder=4)
        axes.vlines(x, low, high, color=INK, linewidth=1.2, zorder=5)
        for end, shape, beyond in ((ends[0], "v", mark.low < ends[0]), (ends[1], "^", mark.high > ends[1])):
            if beyond:
                axes.plot(x, end, shape, color=INK, markersize=4, clip_on=False, zorder=5)
