"""Success at several training budgets against what training has cost by then: environment steps, tokens, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.analysis.budgets import at, shared
from spa_bench.analysis.groups import EVAL, Group, valid
from spa_bench.analysis.runs import Run
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.costs import COSTS, COUNTED, mean_costs
from spa_bench.figures.lines import Line, Panel, draw_lines
from spa_bench.figures.success import at_start, bounds, intervals, success
from spa_bench.stats import Estimate, over_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 3
"""Budgets, the last one included, whose mean stands beside the last."""


@dataclass(frozen=True)
class Point:
    """One method at one budget."""

    steps: int
    """The budget: environment steps collected."""
    success: Estimate
    """Between 0 and 1."""
    costs: tuple[float, ...]
    """In the order of `COSTS`, mean over seeds, the method's overhead included; empty where not on record."""


@dataclass(frozen=True)
class Row:
    """One method."""

    method: str
    points: tuple[Point, ...]
    """By budget, of those that all its seeds have."""
    window: Estimate | None
    """Mean over the last `WINDOW` budgets that all have, of one seed without a CI; None where there are fewer."""


@dataclass(frozen=True)
class Budgets:
    """What is drawn."""

    title: str
    caption: str
    rows: tuple[Row, ...]
    start: float | None
    """Success of the warm start, between 0 and 1."""


def data(group: Group) -> Budgets:
    """Every method that has budgets; UserError where none has any."""
    evaluated = {label: runs for label, runs in group.methods.items() if shared(runs)}
    if not evaluated:
        raise UserError("no run that was evaluated at several training budgets (compare --budgets)")
    last = shared([run for runs in evaluated.values() for run in runs])[-WINDOW:]  # the same for all that are compared
    rows = [_row(label, runs, last) for label, runs in evaluated.items()]
    return Budgets(
        title=f"Success by training budget: {words.title(group)}",
        caption=f"{words.sources(group)}\n{intervals(group)} Each run at every budget that was named before, of one "
        f"training; at 0 the warm start. Tokens and minutes: {COUNTED}",
        rows=tuple(rows),
        start=at_start(group),
    )


def draw(found: Budgets) -> Figure:
    """A pair of axes for each cost; budgets against environment steps are the same for all methods."""
    panels = [_panel(place, name, found) for place, name in enumerate(COSTS)]
    labels = ("", "success %")
    return draw_lines(panels, title=found.title, labels=labels, caption=found.caption, across=len(COSTS), own=True)


def _panel(place: int, name: str, found: Budgets) -> Panel:
    lines = []
    for row in found.rows:
        points = [point for point in row.points if point.costs or not place]
        per = 60 if name == "minutes" else 1
        x = [point.costs[place] / per if place else float(point.steps) for point in points]
        before = [] if found.start is None or not points else [found.start]
        y = [100 * one for one in (*before, *(point.success.mean for point in points))]
        low, high = (tuple([None] * len(before) + [bounds(point.success)[side] for point in points]) for side in (0, 1))
        lines.append(Line(row.method, (*([0.0] * len(before)), *x), tuple(y), low, high))
    return Panel(name if place else f"{name} collected", tuple(lines))


def _row(label: str, runs: Sequence[Run], last: Sequence[int]) -> Row:
    cut = {one: [at(run, one) for run in runs] for one in shared(runs)}
    found = {one: success(own, EVAL) for one, own in cut.items()}
    points = tuple(Point(one, won, mean_costs(cut[one])) for one, won in found.items() if won is not None)
    return Row(label, points, _window([cut[one] for one in last]) if len(last) == WINDOW else None)


def _window(cut: Sequence[Sequence[Run]]) -> Estimate | None:
    """Mean over budgets of each seed's success, then over seeds; None where one has no valid episode."""
    means = []
    for seed in zip(*cut, strict=True):
        shares = [[one.success for one in valid(run, EVAL)] for run in seed]
        if not all(shares):
            return None
        means.append(sum(sum(won) / len(won) for won in shares) / len(shares))
    return over_seeds(means, limits=(0.0, 1.0))
