"""Lines of several methods: in one pair of axes while they can be told apart there, else a pair for each method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spa_bench.figures.style import OVERLAID, PALE, Look, legend, looks, sheet, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Draws = Literal["default", "steps-post"]

ACROSS = 4
"""Pairs of axes beside each other."""


@dataclass(frozen=True)
class Line:
    """One method; `low` and `high` are the ends of its band, None where there is none."""

    method: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Lines that are compared with each other."""

    title: str
    lines: tuple[Line, ...]


def reach(panels: Sequence[Panel]) -> tuple[float, float]:
    """Ends of vertical axes in per cent that fit the lines and their bands; 0 is clear of the lower one."""
    values = [*(value for panel in panels for line in panel.lines for value in (*line.y, *line.high) if value), 10.0]
    most = min(100.0, 1.1 * max(value for value in values if value is not None))
    return -0.03 * most, 1.03 * most


def draw_lines(
    panels: Sequence[Panel],
    *,
    title: str,
    labels: tuple[str, str],
    caption: str,
    steps: bool = False,
    beside: Sequence[Panel] = (),
    across: int = 2,
    own: bool = False,
) -> Figure:
    """The figure; with `steps` each value holds up to the next x.

    `beside` has lines of the same methods, dotted where every method has axes of its own, which are then few enough
    for both; else they are `panels` like the others. `across`: pairs of axes beside each other. `own`: each panel
    has an x axis of its own, which its title names.
    """
    methods = sorted({line.method for panel in panels for line in panel.lines})
    overlaid = all(len(panel.lines) <= OVERLAID for panel in panels)
    parts = [_Part(panel.title, panel.title, panel.lines) for panel in panels] if overlaid else _apart(panels, beside)
    across = min(len(parts), across if overlaid else ACROSS)
    width, height = (2.0 + 4.5 * across, 3.4) if overlaid else (2.6 * across, 1.9)
    down = math.ceil(len(parts) / across)
    figure = sheet(width, height * down, title, caption)
    shared: Any = False if own else "row" if overlaid else "all"
    every = figure.subplots(down, across, squeeze=False, sharey=True, sharex=shared)
    found = looks(methods)
    handles: dict[str, Line2D] = {}
    draws: Draws = "steps-post" if steps else "default"
    for axes, part in zip(every.flat, parts, strict=False):
        if part.behind:
            axes.plot(*_joined(part.behind), color=PALE, alpha=0.5, linewidth=0.8, zorder=1, drawstyle=draws)
        for line in part.dotted:
            axes.plot(line.x, line.y, color=found[line.method].colour, linestyle=":", linewidth=1.2, zorder=2)
        handles |= _draw(axes, part.lines, found, draws)
        if not own or not overlaid:
            axes.set_title(wrapped(part.title, int(14 * width / across)), fontsize=10 if overlaid else 8)
        axes.grid(True, color=PALE, alpha=0.3, linewidth=0.5)
        axes.set_ylim(*reach([*panels, *beside]))
    for place, axes in enumerate(every.flat):
        if place >= len(parts):
            axes.set_axis_off()
        elif own or overlaid or place + across >= len(parts):
            axes.set_xlabel(parts[place].named if own else labels[0])
            axes.tick_params(labelbottom=True)
    figure.supylabel(labels[1], fontsize=9)
    if overlaid:
        legend(figure, [handles[method] for method in methods if method in handles], list(handles))
    return figure


@dataclass(frozen=True)
class _Part:
    """What one pair of axes shows."""

    title: str
    named: str
    """The panel's title."""
    lines: tuple[Line, ...]
    behind: tuple[Line, ...] = ()
    """Drawn in pale, for comparison."""
    dotted: tuple[Line, ...] = ()
    """Of the same method."""


def _apart(panels: Sequence[Panel], beside: Sequence[Panel]) -> list[_Part]:
    """A part for each line, with the other lines of its panel behind it."""
    others = beside or [Panel("", ())] * len(panels)
    return [
        _Part(
            line.method if len(panels) == 1 else f"{line.method} ({panel.title})",
            panel.title,
            (line,),
            tuple(other for other in panel.lines if other != line),
            tuple(other for other in more.lines if other.method == line.method),
        )
        for panel, more in zip(panels, others, strict=True)
        for line in panel.lines
    ]


def _joined(lines: Sequence[Line]) -> tuple[list[float], list[float]]:
    """As one broken line, which is drawn much faster than many."""
    x = [value for line in lines for value in (*line.x, math.nan)]
    y = [value for line in lines for value in (*line.y, math.nan)]
    return x, y


def _draw(axes: Axes, lines: Sequence[Line], found: Mapping[str, Look], draws: Draws) -> dict[str, Line2D]:
    """The lines by method, some of their points with markers, and their bands."""
    import seaborn  # type: ignore[import-untyped]

    if not (lines := [line for line in lines if line.x]):
        return {}
    rows = [(x, y, line.method) for line in lines for x, y in zip(line.x, line.y, strict=True)]
    x, y, method = (list(column) for column in zip(*rows, strict=True))
    order = [line.method for line in lines]
    before = len(axes.lines)
    seaborn.lineplot(
        x=x, y=y, hue=method, hue_order=order, palette={name: found[name].colour for name in order},
        ax=axes, estimator=None, errorbar=None, sort=False, legend=False, linewidth=1.5, drawstyle=draws, zorder=3,
    )  # fmt: skip
    drawn = dict(zip(order, axes.lines[before:], strict=True))
    for line in lines:
        look, every = found[line.method], max(1, len(line.x) // 12)
        drawn[line.method].set(linestyle=look.line, marker=look.marker, markevery=every, markersize=5)
        drawn[line.method].set_markeredgewidth(0)
        low, high = ([math.nan if end is None else end for end in ends] for ends in (line.low, line.high))
        if not all(math.isnan(end) for end in low):
            axes.fill_between(line.x, low, high, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
    return drawn
