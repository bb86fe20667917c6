"""The content of a report: tables, tables of papers, audits, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spa_bench.analysis.fits import our_forms
from spa_bench.analysis.groups import Group, Problem, judge, problem
from spa_bench.analysis.played import DAMAGED
from spa_bench.analysis.runs import find
from spa_bench.analysis.step_intervals import Improvement, Improvements, improvements, usual_baseline
from spa_bench.audit import alias_rows, saved
from spa_bench.audit import show as audit_show
from spa_bench.audit.columns import columns as audit_columns
from spa_bench.audit.summary import Audit
from spa_bench.core import UserError
from spa_bench.report import agreement, baselines
from spa_bench.report.by_budget import with_budgets
from spa_bench.report.grid import Grid, slug
from spa_bench.report.names import audit_names, audit_settings, audit_text, section_names
from spa_bench.report.overview import overview
from spa_bench.report.papers import PAPERS, fill
from spa_bench.report.render import DIFFER, Section, section, titled
from spa_bench.report.table import Table, as_json, tables_of
from spa_bench.runs.names import run_name

INTERVALS = (
    "Relative improvement: 100 (method - {0}) / {0} of success on the tasks of each length, same tasks and seeds; in "
    "brackets the 95 % CI, bootstrap over tasks for the policies of these seeds, of each cell alone (verdicts "
    "are of the differences in success), where one can be estimated; -: {0} solves none of them."
)


@dataclass(frozen=True)
class Contents:
    """What was found at or below some folders."""

    groups: Sequence[Group]
    tables: Sequence[Table]
    """One for each group."""
    improvements: Sequence[Improvements | None]
    """Of each group; None where it lacks the baseline, or any other method."""
    audits: Sequence[tuple[Path, Audit]]
    problems: Sequence[Problem]
    cuts: Sequence[int] | None = None
    """Ends of the step intervals, where they are not those of each world."""
    prints: bool = False
    """Whether what papers print of the same baseline belongs to it: it is of no run, so only where it was asked for."""

    def sections(self) -> list[Section]:
        """What is printed: the tables side by side, each table, the audits, and what was left out."""
        side_by_side = overview(self.tables)
        tables, audits = self.table_sections(), self.audit_sections()
        return [*([side_by_side] if side_by_side else []), *tables, *audits, *self._left_out()]

    def table_sections(self) -> list[Section]:
        """One for each table, in their order."""
        names = section_names(self.tables)
        return [
            with_budgets(_with_intervals(section(table, name, published=True), found), group)
            for table, name, found, group in zip(self.tables, names, self.improvements, self.groups, strict=True)
        ]

    def audit_sections(self) -> list[Section]:
        """One for each audit, in their order; then what audits say beside what training came to."""
        own = [audit for _, audit in self.audits]
        return [*map(_audit_section, audit_names(own), own, audit_settings(own)), *agreement.sections(self.tables, own)]

    def papers(self) -> list[Section]:
        """The tables of every paper, filled from ours."""
        own = [baselines.section()] if self.prints else []
        return [*(one for name in PAPERS for one in self.paper(name) if one.grids), *own]

    def paper(self, name: str) -> list[Section]:
        """The tables of a paper, filled from ours, or those of `baselines`; UserError for an unknown paper."""
        if name == baselines.NAME:
            return [baselines.section()]
        sections = fill(name, self.tables)
        if PAPERS[name].by_interval:
            reference = [_improved(group, "ppo", self.cuts) for group in self.groups]  # as in the paper
            for table, own, found in zip(section_names(self.tables), self.tables, reference, strict=True):
                if found is not None:
                    grid = _intervals(found)
                    own_title = replace(grid, title=f"{PAPERS[name].by_interval}: {titled(own)}, {grid.title}")
                    forms = our_forms({row.label: row.our_form for row in own.rows})
                    notes = [section(own).notes[0], *forms, INTERVALS.format(found.baseline)]
                    sections.append(Section(f"paper-{slug(name)}-{table}", [own_title], notes))
        return [*sections, *self._left_out()]

    def as_json(self) -> dict[str, Any]:
        """The tables with all their digits, and what was left out."""
        return {
            "tables": [as_json(table) for table in self.tables],
            "step_intervals": [found and asdict(found) for found in self.improvements],
            "audits": [run_name(path) for path, _ in self.audits],
            "left_out": [{"name": one.name, "reason": one.reason} for one in self.problems],
        }

    def _left_out(self) -> list[Section]:
        notes = [f"left out: {one.name}: {one.reason}" for one in self.problems]
        return [Section("left-out", [], notes)] if notes else []


def gather(
    paths: Sequence[Path],
    baseline: str | None = None,
    cuts: Sequence[int] | None = None,
    budget: int | None = None,
) -> Contents:
    """Everything at or below `paths`; a folder that cannot be read becomes a problem, the rest is reported.

    With a `budget`, in environment steps, runs are reported as they were there. UserError where there is nothing at
    all, and as `contents` does.
    """
    audits = saved.find(paths)
    try:
        runs = find(paths)
    except UserError:
        if not audits:
            raise
        runs = []
    return of_folders(runs, audits, baseline, cuts, budget)


def of_folders(
    runs: Iterable[Path],
    audits: Iterable[Path],
    baseline: str | None = None,
    cuts: Sequence[int] | None = None,
    budget: int | None = None,
) -> Contents:
    """As `gather`, of these folders of runs and of audits."""
    groups, bad = judge(runs, budget)
    read, problems = _audits(audits)
    return replace(contents(groups, baseline, cuts), audits=read, problems=[*bad, *problems])


def contents(groups: Sequence[Group], baseline: str | None = None, cuts: Sequence[int] | None = None) -> Contents:
    """The tables of some groups.

    `cuts` are the ends of the step intervals, by default those of each world. UserError where no table has the
    baseline, or where cuts are given and no table has step intervals.
    """
    improved = [_improved(group, baseline or usual_baseline(group.methods), cuts) for group in groups]
    if cuts is not None and not any(improved):
        raise UserError(
            f"no step intervals: no table has {baseline or 'a baseline'} and another method; see --baseline"
        )
    return Contents(groups, tables_of(groups, baseline), improved, audits=[], problems=[], cuts=cuts)


def _audits(paths: Iterable[Path]) -> tuple[list[tuple[Path, Audit]], list[Problem]]:
    """The audits, each once, and what cannot be read."""
    audits: dict[str, tuple[Path, Audit]] = {}
    problems = []
    for path in paths:
        try:
            audit = saved.load(path)
            _audit_section("audit", audit, "")  # fails here, not below, where its figures cannot be shown
        except UserError as error:
            problems.append(problem(path, error))
            continue
        except DAMAGED as error:
            what = f"{type(error).__name__}: {error}"
            problems.append(Problem(path, f"{saved.AUDIT} holds what this version cannot show ({what})"))
            continue
        if (first := audits.setdefault(audit_text(audit), (path, audit)))[0] != path:
            problems.append(Problem(path, f"the same audit as {run_name(first[0])}"))
    return list(audits.values()), problems


def _improved(group: Group, baseline: str | None, cuts: Sequence[int] | None) -> Improvements | None:
    if (
        baseline is None
        or baseline not in group.methods
        or len(group.methods) < 2
        or (cuts is None and group.limits is None)
    ):
        return None
    return improvements(group, baseline, cuts)


def _with_intervals(found: Section, improved: Improvements | None) -> Section:
    """The same with the step intervals before the costs, which stand last."""
    if improved is None:
        return found
    *before, costs = found.grids
    notes = [*found.notes, INTERVALS.format(improved.baseline)]
    return replace(found, grids=[*before, _intervals(improved), costs], notes=notes)


def _intervals(found: Improvements) -> Grid:
    sizes = {one.name: max(row.tasks for row in found.rows if row.interval == one.name) for one in found.intervals}
    header = ["method", *(f"{one.name} (n={sizes[one.name]})" for one in found.intervals)]
    cells = {(one.method, one.interval): one for one in found.rows}
    methods = dict.fromkeys(one.method for one in found.rows)
    rows = [[method, *(_cell(cells[method, one.name]) for one in found.intervals)] for method in methods]
    title = f"relative improvement over {found.baseline}, success %, by task length (expert steps)"
    return Grid("step-intervals", title, header, rows)


def _cell(found: Improvement) -> str:
    if found.percent is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.percent:+.1f}"
    return f"{found.percent:+.1f} ({found.low:+.1f} to {found.high:+.1f})"


def _audit_section(name: str, audit: Audit, settings: str) -> Section:
    columns = audit_columns(audit)
    rows = [
        [audit_show.label(method), *(column.cell(method) for column in columns)] for method in audit_show.by_name(audit)
    ]
    title = ", ".join([f"credit of {len(audit.methods)} methods", audit.world, *([settings] if settings else [])])
    grids = [Grid("credit", title, ["method", *(column.header for column in columns)], rows)]
    if audit.aliasing:
        grids.append(Grid("aliasing", f"state aliasing, {audit.world}", *alias_rows.rows(audit)))
    about, *notes = audit_show.footer(audit)
    return Section(name, grids, [f"{about}; {DIFFER}: {settings}" if settings else about, *notes])
