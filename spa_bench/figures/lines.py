"""Lines of several methods: in one pair of axes while they can be told apart there, else a pair for each method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spa_bench.figures.style import OVERLAID, Look, legend, looks, sheet, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Draws = Literal["default", "steps-post"]

ACROSS = 4
"""Pairs of axes beside each other."""
OTHERS = "#cccccc"
"""The other methods behind one, for comparison."""


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


def draw_lines(
    panels: Sequence[Panel],
    *,
    title: str,
    labels: tuple[str, str],
    caption: str,
    steps: bool = False,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """The figure; with `steps` each value holds up to the next x. `limits` are those of the vertical axes."""
    methods = sorted({line.method for panel in panels for line in panel.lines})
    overlaid = all(len(panel.lines) <= OVERLAID for panel in panels)
    parts = [_Part(panel.title, panel.lines) for panel in panels] if overlaid else _apart(panels)
    across = min(len(parts), 2 if overlaid else ACROSS)
    width, height = (2.0 + 4.5 * across, 3.4) if overlaid else (2.6 * across, 1.9)
    down = math.ceil(len(parts) / across)
    figure = sheet(width, height * down, title, caption)
    every = figure.subplots(down, across, squeeze=False, sharey=True, sharex=not overlaid)
    found = looks(methods)
    handles: dict[str, Line2D] = {}
    draws: Draws = "steps-post" if steps else "default"
    for axes, part in zip(every.flat, parts, strict=False):
        if part.behind:
            axes.plot(*_joined(part.behind), color=OTHERS, linewidth=0.8, zorder=1, drawstyle=draws)
        handles |= {line.method: _draw(axes, line, found[line.method], draws) for line in part.lines}
        axes.set_title(shortened(part.title, int(14 * width / across)), fontsize=10 if overlaid else 8)
        axes.grid(True, color=OTHERS, alpha=0.5, linewidth=0.5)
        if limits:
            axes.set_ylim(*limits)
    for place, axes in enumerate(every.flat):
        if place >= len(parts):
            axes.set_axis_off()
        elif overlaid or place + across >= len(parts):
            axes.set_xlabel(labels[0])
            axes.tick_params(labelbottom=True)
    figure.supylabel(labels[1], fontsize=9)
    if overlaid:
        legend(figure, [handles[method] for method in methods], methods)
    return figure


@dataclass(frozen=True)
class _Part:
    """What one pair of axes shows."""

    title: str
    lines: tuple[Line, ...]
    behind: tuple[Line, ...] = ()
    """Drawn in pale, for comparison."""


def _apart(panels: Sequence[Panel]) -> list[_Part]:
    """A part for each line, with the other lines of its panel behind it."""
    return [
        _Part(
            line.method if len(panels) == 1 else f"{line.method} ({panel.title})",
            (line,),
            tuple(other for other in panel.lines if other != line),
        )
        for panel in panels
        for line in panel.lines
    ]


def _joined(lines: Sequence[Line]) -> tuple[list[float], list[float]]:
    """As one broken line, which is drawn much faster than many."""
    x = [value for line in lines for value in (*line.x, math.nan)]
    y = [value for line in lines for value in (*line.y, math.nan)]
    return x, y


def _draw(axes: Axes, line: Line, look: Look, draws: Draws) -> Line2D:
    """The line, some of its points with markers, and its band."""
    (drawn,) = axes.plot(line.x, line.y, color=look.colour, linestyle=look.line, linewidth=1.5, drawstyle=draws)
    drawn.set(marker=look.marker, markevery=max(1, len(line.x) // 8), markersize=5, markeredgecolor="white", zorder=3)
    low, high = ([math.nan if end is None else end for end in ends] for ends in (line.low, line.high))
    if not all(math.isnan(end) for end in low):
        axes.fill_between(line.x, low, high, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
    return drawn
