"""Success at each training budget, as a table of its own: the last one and the mean over the last ones side by side."""

from __future__ import annotations

from dataclasses import replace

from spa_bench.analysis.groups import Group
from spa_bench.core import UserError
from spa_bench.figures import budgets
from spa_bench.report.grid import Grid
from spa_bench.report.render import Section, with_interval
from spa_bench.stats import Estimate

NOTE = (
    "success by training budget: each run evaluated when it had collected so many environment steps; tables take the "
    "last of these, or that of --budget, never the best. The mean over the last {0} that all "
    "methods have is of these policies, with the 95 % CI over seeds where there are several"
)


def with_budgets(found: Section, group: Group) -> Section:
    """The same with success at each budget before the costs, which stand last; unchanged where no run has any."""
    try:
        rows = budgets.data(group).rows
    except UserError:
        return found
    steps = sorted({point.steps for row in rows for point in row.points})
    header = ["method", *(f"{one:,}" for one in steps), f"mean of last {budgets.WINDOW}"]
    cells = []
    for row in rows:
        own = {point.steps: point.success for point in row.points}
        cells.append([row.method, *(_cell(own.get(one)) for one in steps), _cell(row.window)])
    grid = Grid("by-budget", "success % by training budget (environment steps collected; 95 % CI)", header, cells)
    *before, costs = found.grids
    return replace(found, grids=[*before, grid, costs], notes=[*found.notes, NOTE.format(budgets.WINDOW)])


def _cell(estimate: Estimate | None) -> str:
    return "" if estimate is None else with_interval(estimate)
