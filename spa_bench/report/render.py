"""A table on a terminal, as Markdown, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from spa_bench.report.differences import Difference, Resolution
from spa_bench.report.groups import START
from spa_bench.report.table import BUCKETS, Row, Table, as_json
from spa_bench.stats import Estimate
from spa_bench.terminal import printable_line

NOTE = (
    "Success and outcome: mean over seeds of the mean over tasks; interval: Student's t over seeds. "
    "Grounded: executed steps among all steps; malformed: steps that are no command at all, not grounded either. "
    "Costs: means over seeds of the reward's fit and the training; extra: beyond what every method spends."
)
DIFFERENCES = (
    "Differences: of success on the same tasks with the same seeds, in points; interval: bootstrap over tasks; p: sign "
    "flips over tasks, for one seed McNemar's exact test. Both are about the policies of these seeds. Seeds too: "
    "bootstrap over seeds and tasks within kinds. Holm: p adjusted for all methods of the same grid."
)
VARIATION = (
    "Variation: bootstrap interval of success over other seeds and other tasks of the same kinds, with one seed over "
    "tasks only; standard deviations, in points, of one run's success by training seed and by the tasks and chance."
)


@dataclass(frozen=True)
class Grid:
    """Cells as text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def show(found: Sequence[Table], stream: TextIO, json_wanted: bool = False) -> None:
    """Print tables: JSON when asked for, boxes on a terminal, Markdown otherwise."""
    if json_wanted:
        print(json.dumps({"tables": [as_json(table) for table in found]}, indent=1), file=stream)
    elif stream.isatty():
        console = Console(file=stream)
        for table in found:
            for grid in grids(table):
                console.print(_boxes(grid))
            console.print("\n".join(_footer(table)), markup=False, highlight=False)
    else:
        print("\n\n".join(markdown(table) for table in found), file=stream)


def markdown(table: Table, seconds: bool = True) -> str:
    """The table as Markdown; without `seconds` the same runs always give the same bytes."""
    parts = [_markdown(grid) for grid in grids(table, seconds)]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in _footer(table))])


def grids(table: Table, seconds: bool = True) -> list[Grid]:
    """What was reached, what of it is no chance, how it depends on the length of the task, and what it cost."""
    references = dict.fromkeys(one.reference for one in table.differences)
    compared = [_differences(name, [one for one in table.differences if one.reference == name]) for name in references]
    moved = [_variation(table)] if table.variation else []
    return [_results(table), *compared, *moved, _lengths(table), _costs(table, seconds)]


def _results(table: Table) -> Grid:
    header = ["method", "seeds", "success %", "95 % interval", "outcome", "grounded %", "malformed %", "turns"]
    rows = [
        [
            row.label,
            str(len(row.seeds)),
            _percent(row.success.mean),
            _interval(row.success),
            f"{row.outcome:.3f}",
            _percent(row.grounded),
            _percent(row.malformed),
            f"{row.turns:.1f}",
        ]
        for row in table.rows
    ]
    return Grid(f"{table.about['world']}, {table.about['split']}, n={table.about['n']}", header, rows)


def _differences(reference: str, found: Sequence[Difference]) -> Grid:
    header = ["method", "points", "95 % interval", "seeds too", "p", "Holm", "in words"]
    rows = [
        [
            one.method,
            f"{100 * one.found.by_task.mean:+.1f}",
            _signed(one.found.by_task),
            _signed(one.found.by_both) if one.found.seeds > 1 else "",
            _chance(one.found.p),
            _chance(one.adjusted),
            one.verdict,
        ]
        for one in found
    ]
    return Grid(f"difference of success from {printable_line(reference)}, same tasks and seeds", header, rows)


def _variation(table: Table) -> Grid:
    header = ["method", "95 % interval", "by training seed", "by tasks and chance"]
    rows = [
        [one.method, _interval(one.everywhere), _deviation(one.spread.training), _deviation(one.spread.evaluation)]
        for one in table.variation
    ]
    return Grid("how far success % would move", header, rows)


def _lengths(table: Table) -> Grid:
    ranges = _ranges(table.limits)
    header = ["method", *(f"{name}{ranges[name]} (n={table.sizes[name]})" for name in BUCKETS)]
    rows = [[row.label, *(_percent(row.buckets[name]) for name in BUCKETS)] for row in table.rows]
    return Grid("success % by steps of the expert", header, rows)


def _costs(table: Table, seconds: bool) -> Grid:
    columns = {
        "env steps": "env_steps",
        "tokens sampled": "tokens_sampled",
        "tokens trained": "tokens_trained",
        "extra forward tokens": "extra_tokens",
        "extra env steps": "extra_env_steps",
    } | ({"seconds": "seconds"} if seconds else {})
    rows = [[row.label, *(_cost(row, name) for name in columns.values())] for row in table.rows]
    return Grid("cost of one run", ["method", *columns], rows)


def _cost(row: Row, name: str) -> str:
    if row.label == START and name != "seconds":
        return "-"
    return f"{row.costs[name]:,.0f}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.low:.1f}-{100 * estimate.high:.1f}"


def _signed(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"


def _chance(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _deviation(variance: float | None) -> str:
    return "-" if variance is None else f"{100 * math.sqrt(variance):.1f}"


def _resolved(found: Resolution) -> str:
    """What the panel can show, in words."""
    seeds = "1 seed" if found.seeds == 1 else f"{found.seeds} seeds"
    differ = (
        f"methods differ on {_percent(found.discordance)} % of tasks ({'assumed' if found.assumed else 'seen here'})"
    )
    where = f"{found.tasks} tasks and {seeds}, with 80 % power, if {differ}"
    if found.smallest is None:
        return f"no difference can be resolved on {where}"
    return f"smallest difference that can be resolved: {_percent(found.smallest)} points on {where}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _ranges(limits: tuple[int, int] | None) -> Mapping[str, str]:
    if limits is None:
        return dict.fromkeys(BUCKETS, "")
    return {"short": f" 1-{limits[0]}", "medium": f" {limits[0] + 1}-{limits[1]}", "long": f" >{limits[1]}"}


def _footer(table: Table) -> list[str]:
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in table.about.items() if value is not None)
    resolved = [_resolved(table.resolution)] if table.rows else []
    said = [DIFFERENCES] if table.differences else []
    said += [VARIATION] if table.variation else []
    return [printable_line(line) for line in (about, *table.notes, *resolved, NOTE, *said)]


def _boxes(grid: Grid) -> RichTable:
    """On a narrow terminal the names of methods and words are folded, numbers never."""
    box = RichTable(
        title=escape(grid.title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for place, name in enumerate(grid.header):
        cells = [row[place] for row in grid.rows] if place else []
        width = max(map(len, [*name.split(), *(cell for cell in cells if not cell[:1].isalpha())]))
        box.add_column(escape(name), justify="right" if place else "left", overflow="fold", min_width=width)
    for row in grid.rows:
        box.add_row(*(escape(printable_line(cell)) for cell in row))
    return box


def _markdown(grid: Grid) -> str:
    lines = [grid.header, ["---", *["---:"] * (len(grid.header) - 1)], *grid.rows]
    body = ["| " + " | ".join(printable_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"**{grid.title}**", "", *body])
