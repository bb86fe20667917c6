"""Rank correlation with the oracle's progress against misordered pairs of episodes: one point per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.audit.summary import Audit, MethodAudit
from spa_bench.core import UserError
from spa_bench.figures.points import Named, name_points
from spa_bench.figures.style import INK, PALE, legend, looks, sheet, shortened
from spa_bench.figures.words import forms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPES = {"method": "o", "placebo": "s", "floor": "v"}
"""Filled for methods, hollow for the others."""


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
    most = max(point.inversions for point in found.points) or 1.0
    axes.set_ylim(-0.35 * most, 1.35 * most)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= most])
    axes.margins(x=0.12)
    axes.set_xlabel("Spearman correlation with the oracle's progress, within trajectory")
    axes.set_ylabel("misordered pairs of episodes, %")
    roles = [role for role in SHAPES if any(point.role == role for point in found.points)]
    hollow = {role: INK if role == "method" else "white" for role in roles}
    handles = [axes.plot([], [], SHAPES[role], color=INK, markerfacecolor=hollow[role])[0] for role in roles]
    legend(figure, handles, roles)
    name_points(figure, axes, [
        Named(point.method, point.spearman, point.inversions, own[point.method].colour, point.low, point.high)
        for point in found.points
    ])  # fmt: skip
    return figure


def _point(method: MethodAudit, floors: Sequence[str]) -> Point | None:
    rank, inversions = method.agreement.spearman, method.gap.inversions
    if rank.value is None or inversions is None:
        return None
    role = "floor" if method.name in floors else "placebo" if method.placebo else "method"
    return Point(method.name, role, rank.value, rank.low, rank.high, 100 * inversions)
