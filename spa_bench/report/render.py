"""What is printed of a table: its grids, and what a reader must know of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spa_bench.analysis.differences import ASSUMED, Difference, Resolution
from spa_bench.analysis.groups import START
from spa_bench.analysis.published import PUBLISHED, Sources
from spa_bench.analysis.settings import settings_text
from spa_bench.core import BUCKETS
from spa_bench.report import grid as grid_forms
from spa_bench.report.ablations import Ablation
from spa_bench.report.grid import Grid, slug
from spa_bench.report.table import Row, Table
from spa_bench.stats import Estimate
from spa_bench.terminal import printable_line

SFT = f"{START}: the model after supervised fine-tuning (SFT) on expert episodes, before RL"
NOTE = (
    "Level: credit per turn or per token. Success and outcome: mean over seeds of the mean over tasks; CI: Student's t "
    "over the seeds of the row alone. Grounded: valid actions "
    "among all steps; malformed: replies without a command, not grounded either. Costs: mean over seeds of reward "
    "fitting and training; overhead: what the method alone needs."
)
DIFFERENCES = (
    "Differences: of success on the same tasks with the same seeds, in percentage points (pp). p, CI and verdict are "
    "of one test, {what}, adjusted for all {n} comparisons of this table (largest absolute t): if all methods "
    "are equal, {false} 5 % of tables call any of them better or worse; all CIs hold together in {all} 95 %. {variance}"
)
POOLED = "The variance between training seeds is pooled over the rows, in proportion to p (1 - p) of their success p."
SEPARATE = (
    "The variance between training seeds does not fit one factor for all rows (Bartlett's test, p < 0.05), so each row "
    "has that of its own seeds."
)
TASKS_ONLY = "Training seeds were not sampled: other seeds may turn each of these around."
VARIATION = (
    "Variability: CI by Student's t over seeds, and over tasks within task types; with one seed over tasks only. {both}"
    "SD in pp, of the success of one run; the SD over tasks includes the chance of single episodes."
)
SHORTER = (
    "Its training variance is pooled over the rows, so it may be shorter than a CI over the few seeds of one row. "
)
OUTCOMES = (
    "Graded outcomes: CI by Student's t over seeds, and over tasks within task types. IQM: interquartile mean over "
    "seeds and tasks. P(improvement): share of pairs of runs on one task with the higher outcome, ties count half."
)


DIFFER = "settings that differ"
"""Before the settings in which a table differs from others of its world and split."""
COMPARED = ("Δ success (pp)", "simultaneous 95 % CI", "p (adjusted)")
"""Columns of a difference."""


@dataclass(frozen=True)
class Section:
    """Grids that are about one thing, and what stands under them."""

    name: str
    """In file names, made by `grid.slug`."""
    grids: Sequence[Grid]
    notes: Sequence[str]
    heading: str = ""
    """World, split and settings that differ: the first grid's title has it, the others leave it out."""


def as_markdown(found: Section) -> str:
    """Its grids, and its notes as a list."""
    parts = [grid_forms.markdown(grid) for grid in found.grids]
    return "\n\n".join([*parts, "\n".join(f"- {grid_forms.as_text(note)}" for note in found.notes)]).rstrip()


def markdown(table: Table, seconds: bool = True) -> str:
    """The table as Markdown; without `seconds` the same runs always give the same bytes."""
    return as_markdown(section(table, seconds=seconds))


def section(table: Table, name: str = "table", published: bool = False, seconds: bool = True) -> Section:
    """Everything that is printed of a table; with `published`, the numbers of papers stand in a column of their own."""
    cells, sources = _published(table) if published else ({}, [])
    return Section(name, grids(table, seconds, cells), [*footer(table), *sources], titled(table))


def grids(table: Table, seconds: bool = True, published: Mapping[str, str] | None = None) -> list[Grid]:
    """Results, differences, ablations, variability, graded outcomes, success by length and type of the task, costs."""
    if not table.rows:
        return []
    references = dict.fromkeys(one.reference for one in table.differences)
    compared = [_differences(name, [one for one in table.differences if one.reference == name]) for name in references]
    moved = [_variation(table)] if table.variation else []
    changed = [_ablation(one, table) for one in table.ablations]
    outcomes = [_outcomes(table)] if table.graded else []
    kinds = [_kinds(table)] if len(table.kinds) > 1 else []
    first = _results(table, published or {})
    return [first, *compared, *changed, *moved, *outcomes, _lengths(table), *kinds, _costs(table, seconds)]


def _results(table: Table, published: Mapping[str, str]) -> Grid:
    header = ["method", "level", "seeds", "success %", "95 % CI"]
    header += ["outcome", "grounded %", "malformed %", "turns"]
    beside = [PUBLISHED] if published else []
    rows = [
        [
            row.label,
            row.level or "-",
            str(len(row.seeds)),
            percent(row.success.mean),
            interval(row.success),
            f"{row.outcome:.3f}",
            percent(row.grounded),
            percent(row.malformed),
            f"{row.turns:.1f}",
            *([published.get(row.label, "")] if published else []),
        ]
        for row in table.rows
    ]
    return Grid("results", titled(table, f"n={table.about['n']}"), [*header, *beside], rows)


def titled(table: Table, *more: str) -> str:
    """World, split, `more`, and the settings in which the table differs from others of its world and split."""
    settings = [settings_text(table.settings)] if table.settings else []
    return ", ".join([str(table.about["world"]), str(table.about["split"]), *more, *settings])


def _published(table: Table) -> tuple[dict[str, str], list[str]]:
    """Reported numbers for the table's world and split, by label, and their sources."""
    sources = Sources()
    cells = {row.label: sources.cell(table.about["world"], table.about["split"], row.label) for row in table.rows}
    return {label: cell for label, cell in cells.items() if cell}, sources.notes()


def _differences(reference: str, found: Sequence[Difference]) -> Grid:
    rows = [[one.method, *_compared(one), one.verdict] for one in found]
    title = f"difference of success from {printable_line(reference)}, same tasks and seeds"
    return Grid(f"differences-{slug(reference)}", title, ["method", *COMPARED, "verdict"], rows)


def _compared(one: Difference) -> list[str]:
    """The cells under `COMPARED`."""
    return [points(one.found.effect), signed(one.found.effect), chance(one.found.p)]


def _variation(table: Table) -> Grid:
    header = ["method", "95 % CI (tasks and seeds)", "SD over seeds", "SD over tasks"]
    rows = [
        [one.method, interval(one.everywhere), _deviation(one.spread.training), _deviation(one.spread.evaluation)]
        for one in table.variation
    ]
    title = "variability of success % (95 % CI; SD over seeds / over tasks)"
    return Grid("variability", title, header, rows)


def _lengths(table: Table) -> Grid:
    ranges = _ranges(table.limits)
    header = ["method", *(f"{name}{ranges[name]} (n={table.sizes[name]})" for name in BUCKETS)]
    rows = [[row.label, *(percent(row.buckets[name]) for name in BUCKETS)] for row in table.rows]
    return Grid("by-length", "success % by task length (expert steps)", header, rows)


def _outcomes(table: Table) -> Grid:
    reference = table.differences[-1].reference if table.differences else None
    beside = [f"P(improvement over {printable_line(reference)})"] if reference else []
    header = ["method", "outcome", "95 % CI", "IQM", *beside]
    rows = [
        [
            one.method,
            f"{one.mean.mean:.3f}",
            "" if one.mean.low is None or one.mean.high is None else f"{one.mean.low:.3f}-{one.mean.high:.3f}",
            "-" if one.iqm is None else f"{one.iqm:.3f}",
            *(["" if one.better is None else f"{one.better:.3f}"] if reference else []),
        ]
        for one in table.graded
    ]
    return Grid("outcomes", "graded outcomes", header, rows)


def _kinds(table: Table) -> Grid:
    header = ["method", *(f"{kind} (n={n})" for kind, n in table.kinds.items())]
    rows = [[row.label, *(percent(row.kinds[kind]) for kind in table.kinds)] for row in table.rows]
    return Grid("by-type", "success % by task type", header, rows)


def _ablation(found: Ablation, table: Table) -> Grid:
    header = ["setting", *found.options, "seeds", "success %", "95 % CI", "outcome", "grounded %", "turns"]
    compared = {one.method: one for one in found.differences}
    beside = [*COMPARED, "verdict"] if compared else []
    rows = []
    for row in (row for label in found.settings for row in table.rows if row.label == label):
        options = [str(found.settings[row.label].get(name, "default")) for name in found.options]
        reached = [percent(row.success.mean), interval(row.success), f"{row.outcome:.3f}", percent(row.grounded)]
        cells = [row.label, *options, str(len(row.seeds)), *reached, f"{row.turns:.1f}"]
        one = compared.get(row.label)
        rows.append([*cells, *([*_compared(one), one.verdict] if one else [""] * len(beside))])
    title = f"ablation of {printable_line(found.method)}: options, and difference from the default options"
    return Grid(f"ablation-{slug(found.method)}", title, [*header, *beside], rows)


def _costs(table: Table, seconds: bool) -> Grid:
    columns = {
        "env steps": "env_steps",
        "tokens sampled": "tokens_sampled",
        "tokens trained": "tokens_trained",
        "overhead: forward tokens": "extra_tokens",
        "overhead: env steps": "extra_env_steps",
    } | ({"env steps executed": "env_steps_executed", "seconds": "seconds"} if seconds else {})
    rows = [[row.label, *(_cost(row, name) for name in columns.values())] for row in table.rows]
    return Grid("costs", "cost of one run", ["method", *columns], rows)


def _cost(row: Row, name: str) -> str:
    if row.label == START and name != "seconds":
        return "-"
    return f"{row.costs[name]:,.0f}" if math.isfinite(row.costs[name]) else "-"


def points(estimate: Estimate) -> str:
    """A difference of shares."""
    return f"{100 * estimate.mean:+.1f}"


def interval(estimate: Estimate) -> str:
    """Of a share."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.low:.1f}-{100 * estimate.high:.1f}"


def with_interval(estimate: Estimate) -> str:
    """A share and its CI in one cell."""
    reach = interval(estimate)
    return f"{percent(estimate.mean)} ({reach})" if reach else percent(estimate.mean)


def signed(estimate: Estimate) -> str:
    """Of a difference of shares."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"


def chance(p: float) -> str:
    """A p value."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _deviation(variance: float | None) -> str:
    return "-" if variance is None else f"{100 * math.sqrt(variance):.1f}"


def detectable(found: Resolution) -> str:
    """The minimum detectable effect, in few words."""
    return f"minimum detectable effect {'none' if found.smallest is None else f'{percent(found.smallest)} pp'}"


def power(found: Resolution) -> str:
    """The minimum detectable effect, and for what it holds."""
    effect = "no effect is detectable" if found.smallest is None else f"{percent(found.smallest)} pp"
    sampled = counted(found.seeds, "seed") if found.trained else "training seeds not sampled"
    origin = f", if equal methods differ on {percent(ASSUMED)} % of tasks (assumed)" if found.assumed else ""
    against = "another method" if found.reference is None else printable_line(found.reference)
    among = "" if found.reference is None else f", as one of {counted(found.comparisons, 'comparison')}"
    fewer = f"; {counted(found.fewer, 'comparison')} of fewer seeds or tasks not counted" if found.fewer else ""
    return (
        f"minimum detectable effect (80 % power) against {against}: {effect} on {counted(found.tasks, 'task')}, "
        f"{sampled}{among}{origin}{fewer}"
    )


def counted(n: int, what: str) -> str:
    """So many of something."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def _read_differences(table: Table) -> str:
    """What the p, the intervals and the verdicts of the table are."""
    what = "over tasks and training seeds" if table.resolution.trained else "over tasks for the policies of these seeds"
    variance = {None: TASKS_ONLY, True: POOLED, False: SEPARATE}[table.resolution.pooled]
    # With one seed the exact test of few tasks that differ is conservative.
    false, together = ("about", "about") if table.resolution.trained else ("at most", "at least")
    return DIFFERENCES.format(
        what=what, n=table.resolution.comparisons, false=false, all=together, variance=variance + _borrowed(table)
    )


def _borrowed(table: Table) -> str:
    """Which rows of one seed are judged with the training variance of the others."""
    alone = [printable_line(row.label) for row in table.rows if len(row.seeds) == 1] if table.resolution.trained else []
    return f" Of one seed, with the training variance of the other rows: {', '.join(alone)}." if alone else ""


def percent(value: float | None) -> str:
    """A share, without the sign."""
    return "-" if value is None else f"{100 * value:.1f}"


def _ranges(limits: tuple[int, int] | None) -> Mapping[str, str]:
    if limits is None:
        return dict.fromkeys(BUCKETS, "")
    return {"short": f" 1-{limits[0]}", "medium": f" {limits[0] + 1}-{limits[1]}", "long": f" >{limits[1]}"}


def shown_facts(table: Table, settings: bool = False) -> str:
    """A table in a note beside others; with `settings` those in which it differs from them."""
    told = ("tasks", "split", "n", "seeds", "evaluation_set", "model", "protocol", "checkpoint")
    return _facts({name: table.about.get(name) for name in told}, table.settings if settings else {})


def _facts(about: Mapping[str, Any], settings: Mapping[str, str]) -> str:
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items() if value is not None)
    return f"{facts}; {DIFFER}: {settings_text(settings)}" if settings else facts


def footer(table: Table) -> list[str]:
    """What stands under every grid of a table: what it is about, what happened, how to read it."""
    least = [power(table.resolution)] if table.rows else []
    start = [SFT] if any(row.label == START for row in table.rows) else []
    read = [_read_differences(table)] if table.differences else []
    both = SHORTER if table.resolution.pooled and table.differences else ""
    read += [VARIATION.format(both=both)] if table.variation else []
    read += [OUTCOMES] if table.graded else []
    return [
        _facts(table.about, table.settings),
        *table.notes,
        *least,
        *start,
        *([NOTE] if table.rows else []),
        *read,
    ]
