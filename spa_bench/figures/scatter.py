"""Rank correlation with the oracle's progress against misordered pairs of episodes: one point per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.audit.summary import Audit, MethodAudit
from spa_bench.core import UserError
from spa_bench.figures.style import INK, PALE, legend, looks, sheet, shortened
from spa_bench.figures.words import forms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHAPES = {"method": "o", "placebo": "s", "floor": "v"}
"""Filled for methods, hollow for the others."""
DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
"""Where a name may be written, seen from its point; the first free place is taken."""

Box = tuple[float, float, float, float]
"""Left, lower, right and upper end, in pixels."""


@dataclass(frozen=True)
class Point:
    """One method."""

    method: str
    role: str
    """A key of `SHAPES`."""
    spearman: float
    low: float | None
    high: float | None
    inversions: float
    """Per cent of the pairs of episodes of one task, with different outcomes, where the worse one has more reward."""


@dataclass(frozen=True)
class Scatter:
    """What is drawn."""

    title: str
    caption: str
    points: tuple[Point, ...]
    """By name."""


def data(audit: Audit) -> Scatter:
    """The methods that have both numbers; the caption names the others. UserError where there is none."""
    methods = sorted(audit.methods, key=lambda method: method.name)
    points = [point for method in methods if (point := _point(method, audit.floor)) is not None]
    if not points:
        raise UserError("no method of the audit has both a rank correlation and pairs of episodes to order")
    drawn = {point.method for point in points}
    missing = [method.name for method in methods if method.name not in drawn]
    count = max(method.agreement.spearman.of for method in methods)
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in audit.about.items() if value is not None)
    lines = [
        f"{shortened(about, 600)}; n={count} trajectories.",
        "x: Spearman of step rewards with the oracle's progress within trajectory, 95 % CI over "
        f"{audit.sampled}. "
        "y: pairs of episodes of one task with different outcomes where the worse one gets the larger sum of rewards. "
        "Best is lower right.",
    ]
    if missing:
        lines.append(f"Not drawn, undefined: {', '.join(shortened(name, 40) for name in missing)}.")
    if audit.ours:
        lines.append(forms(audit.ours))
    title = f"Rank correlation with progress and misordered pairs, {audit.world}"
    return Scatter(title, "\n".join(lines), tuple(points))


def draw(found: Scatter) -> Figure:
    """Points with CIs; a name is written at the first free place beside its point."""
    figure = sheet(10, 4.2 + 0.12 * len(found.points), found.title, found.caption)
    axes = figure.subplots()
    own = looks(point.method for point in found.points)
    for point in found.points:
        colour = own[point.method].colour
        if point.low is not None and point.high is not None:
            axes.hlines(point.inversions, point.low, point.high, color=colour, linewidth=1, alpha=0.6, zorder=2)
        fill = colour if point.role == "method" else "white"
        axes.plot(point.spearman, point.inversions, SHAPES[point.role], color=colour, markerfacecolor=fill, zorder=3)
    axes.axvline(0, color=PALE, linewidth=0.8, zorder=1)
    most = max(10.0, *(point.inversions for point in found.points))
    axes.set_ylim(-0.28 * most, 1.15 * most)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 100])
    axes.margins(x=0.12)
    axes.set_xlabel("Spearman correlation with the oracle's progress, within trajectory")
    axes.set_ylabel("misordered pairs of episodes, %")
    roles = [role for role in SHAPES if any(point.role == role for point in found.points)]
    hollow = {role: INK if role == "method" else "white" for role in roles}
    handles = [axes.plot([], [], SHAPES[role], color=INK, markerfacecolor=hollow[role])[0] for role in roles]
    legend(figure, handles, roles)
    _name(figure, axes, found.points, {method: look.colour for method, look in own.items()})
    return figure


def _point(method: MethodAudit, floors: Sequence[str]) -> Point | None:
    rank, inversions = method.agreement.spearman, method.gap.inversions
    if rank.value is None or inversions is None:
        return None
    role = "floor" if method.name in floors else "placebo" if method.placebo else "method"
    return Point(method.name, role, rank.value, rank.low, rank.high, 100 * inversions)


def _name(figure: Figure, axes: Axes, points: Sequence[Point], colours: Mapping[str, str]) -> None:
    """Write the names; a line leads from a distant name to its point."""
    figure.draw_without_rendering()  # the layout is settled here; the names do not move it any more
    scale = figure.dpi / 72
    taken = [box for point in points for box in _obstacles(axes, point, scale)]
    for point in points:
        x, y = axes.transData.transform((point.spearman, point.inversions))
        text = axes.annotate(
            shortened(point.method, 32), (point.spearman, point.inversions), (0, 0),
            textcoords="offset points", fontsize=7.5, zorder=5, color=INK,
            arrowprops={"arrowstyle": "-", "color": colours[point.method], "linewidth": 0.6, "shrinkB": 3},
        )  # fmt: skip
        text.set_in_layout(False)
        size = text.get_window_extent()
        left, low, box = _free(x, y, size.width, size.height, taken, axes.bbox.extents, scale)
        text.set_position((left, low))
        taken.append(box)


def _obstacles(axes: Axes, point: Point, scale: float) -> list[Box]:
    """The point and its CI."""
    x, y = axes.transData.transform((point.spearman, point.inversions))
    ends = [(end, point.inversions) for end in (point.low, point.high) if end is not None]
    marks = [(x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale)]
    if len(ends) == 2:
        (left, _), (right, _) = axes.transData.transform(ends)
        marks.append((left, y - scale, right, y + scale))
    return marks


def _free(
    x: float, y: float, width: float, height: float, taken: Sequence[Box], room: Sequence[float], scale: float
) -> tuple[float, float, Box]:
    """Offset in points, and box, of the nearest place that is free; the last one tried where none is."""
    for step in range(1, 60):
        for right, up in DIRECTIONS:
            reach = scale * 5 * step
            left = x + (reach if right > 0 else -reach - width if right < 0 else -width / 2)
            low = y + (0.8 * reach if up > 0 else -0.8 * reach - height)
            box = (left, low, left + width, low + height)
            inside = box[0] >= room[0] and box[1] >= room[1] and box[2] <= room[2] and box[3] <= room[3]
            if inside and not any(_overlap(box, other) for other in taken):
                return (left - x) / scale, (low - y) / scale, box
    return (left - x) / scale, (low - y) / scale, box


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
