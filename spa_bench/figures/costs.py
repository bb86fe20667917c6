"""Success against what a run has cost: environment steps, tokens, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from spa_bench.analysis.groups import EVAL, Group
from spa_bench.analysis.runs import Run
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.points import Named, name_points
from spa_bench.figures.style import OVERLAID, PALE, looks, sheet
from spa_bench.figures.success import at_start, bounds, intervals, success
from spa_bench.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COSTS = {
    "environment steps": ("env_steps", "extra_env_steps"),
    "tokens": ("tokens_sampled", "tokens_trained", "extra_tokens"),
    "minutes": ("seconds",),
}
"""What is added up for each pair of axes, the method's overhead included."""

COUNTED = (
    "mean over seeds, of training and the method's overhead, without warm start and exploration, which are shared, and "
    "evaluations. Minutes depend on the machine and on what else ran there."
)
"""Of a caption: what costs are."""


@dataclass(frozen=True)
class Spent:
    """One method."""

    method: str
    success: Estimate
    """Between 0 and 1."""
    costs: tuple[float, ...]
    """In the order of `COSTS`, mean over seeds."""


@dataclass(frozen=True)
class Costs:
    """What is drawn."""

    title: str
    caption: str
    rows: tuple[Spent, ...]
    start: float | None
    """Success of the warm start, between 0 and 1."""


def data(group: Group) -> Costs:
    """Every method that was trained; UserError where there is none, or its cost is not on record."""
    rows = []
    for label, runs in group.methods.items():
        found, costs = success(runs, EVAL), mean_costs(runs)
        if found is not None and costs and any(costs):
            rows.append(Spent(label, found, costs))
    if not rows:
        raise UserError("no finished run whose training has a cost on record")
    return Costs(
        title=f"Success and cost of one run: {words.title(group)}",
        caption=f"{words.sources(group)}\n{intervals(group)} Costs: {COUNTED} Best is upper left.",
        rows=tuple(rows),
        start=at_start(group),
    )


def draw(found: Costs) -> Figure:
    """A pair of axes for each cost, every point with its name and its CI."""
    from matplotlib.ticker import EngFormatter

    methods = [row.method for row in found.rows]
    found_looks = looks(methods)
    figure = sheet(12, 3.4 + 0.1 * len(methods), found.title, found.caption)
    every = figure.subplots(1, len(COSTS), sharey=True)
    faint = 0.6 if len(methods) <= OVERLAID else 0.25
    named: list[list[Named]] = []
    for place, (axes, cost) in enumerate(zip(every, COSTS, strict=True)):
        points = [_named(row, place, found_looks[row.method].colour) for row in found.rows]
        named.append(points)
        if found.start is not None:
            axes.axhline(100 * found.start, color=PALE, linestyle="--", linewidth=1, zorder=1)
        for point in points:
            if point.low is not None and point.high is not None:
                axes.vlines(point.x, point.low, point.high, color=point.colour, linewidth=1, alpha=faint, zorder=2)
            axes.plot(point.x, point.y, found_looks[point.name].marker, color=point.colour, markersize=6, zorder=3)
        axes.set_xlim(*_reach([point.x for point in points]))
        axes.set_xlabel(cost)
        if cost != "minutes":
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(True, color=PALE, alpha=0.3, linewidth=0.5)
    reached = [end for point in named[0] for end in (point.y, point.high or 0.0)] + [100 * (found.start or 0.0), 10.0]
    most = min(100.0, 1.15 * max(reached))
    every[0].set_ylim(-0.08 * most, 1.08 * most)
    every[0].set_ylabel("success %")
    if found.start is not None:
        handle = every[0].plot([], [], "--", color=PALE)
        figure.legend(handle, [f"warm start ({100 * found.start:.0f} %)"], loc="outside upper left")
    for axes, points in zip(every, named, strict=True):
        name_points(figure, axes, points, [] if found.start is None else [100 * found.start])
    return figure


def _reach(costs: Sequence[float]) -> tuple[float, float]:
    """Ends of the axis: what the costs span, with room for names, or from 0 on where that is next to nothing."""
    low, high = min(costs), max(costs)
    if high - low <= 0.02 * high:  # equal, also where all cost nothing
        return 0.0, 1.3 * high or 1.0
    return low - 0.4 * (high - low), high + 0.4 * (high - low)


def _named(row: Spent, place: int, colour: str) -> Named:
    cost = row.costs[place] / (60 if list(COSTS)[place] == "minutes" else 1)
    return Named(row.method, cost, 100 * row.success.mean, colour, *bounds(row.success), upright=True)


def mean_costs(runs: Sequence[Run]) -> tuple[float, ...]:
    """In the order of `COSTS`, mean over runs; empty where one is not on record."""
    try:
        sums = [[sum(run.costs[name] for name in names) for names in COSTS.values()] for run in runs]
    except KeyError:
        return ()
    means = tuple(sum(own) / len(runs) for own in zip(*sums, strict=True))
    return means if all(isfinite(one) and one >= 0 for one in means) else ()
