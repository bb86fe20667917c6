"""Names beside points, where they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.figures.style import INK, OVERLAID, settle, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
"""Where a name may be written, seen from its point; the first free place is taken."""
APART = 2.0
"""Points between two names."""

Box = tuple[float, float, float, float]
"""Left, lower, right and upper end, in pixels."""


@dataclass(frozen=True)
class Named:
    """A point with the ends of its CI along x, or along y where `upright`; None where it has none."""

    name: str
    x: float
    y: float
    colour: str
    low: float | None = None
    high: float | None = None
    upright: bool = False


def name_points(figure: Figure, axes: Axes, points: Sequence[Named], across: Sequence[float] = ()) -> None:
    """Write the names, none over a line across the axes; a line leads from a distant name to its point."""
    settle(figure)
    scale = figure.dpi / 72
    crowded = len(points) > OVERLAID  # then a name may lie on a CI
    taken = [box for point in points for box in _obstacles(axes, point, scale)[: 1 if crowded else None]]
    for height in across:
        _, y = axes.transData.transform((0, height))
        taken.append((axes.bbox.x0, y, axes.bbox.x1, y))
    for point in points:
        x, y = axes.transData.transform((point.x, point.y))
        text = axes.annotate(
            shortened(point.name, 40), (point.x, point.y), (0, 0),
            textcoords="offset points", fontsize=7.5, zorder=5, color=INK,
            arrowprops={"arrowstyle": "-", "color": point.colour, "linewidth": 0.6, "shrinkB": 3},
        )  # fmt: skip
        text.set_in_layout(False)
        size = text.get_window_extent()
        left, low, box = _free(x, y, size.width, size.height, taken, axes.bbox.extents, scale)
        text.set_position((left, low))
        taken.append(box)


def _obstacles(axes: Axes, point: Named, scale: float) -> list[Box]:
    """The point and its CI."""
    x, y = axes.transData.transform((point.x, point.y))
    marks = [(x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale)]
    if point.low is not None and point.high is not None:
        ends = [(point.x, end) if point.upright else (end, point.y) for end in (point.low, point.high)]
        (left, low), (right, high) = axes.transData.transform(ends)
        marks.append((left - scale, low - scale, right + scale, high + scale))
    return marks


def _free(
    x: float, y: float, width: float, height: float, taken: Sequence[Box], room: Sequence[float], scale: float
) -> tuple[float, float, Box]:
    """Offset in points, and box, of the nearest place that is free; the last one tried where none is."""
    gap = APART * scale
    for step in range(1, 80):
        for right, up in DIRECTIONS:
            reach = scale * 5 * step
            left = x + (reach if right > 0 else -reach - width if right < 0 else -width / 2)
            low = y + (0.8 * reach if up > 0 else -0.8 * reach - height)
            box = (left - gap, low - gap, left + width + gap, low + height + gap)
            inside = box[0] >= room[0] and box[1] >= room[1] and box[2] <= room[2] and box[3] <= room[3]
            if inside and not any(_overlap(box, other) for other in taken):
                return (left - x) / scale, (low - y) / scale, box
    return (left - x) / scale, (low - y) / scale, box


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
