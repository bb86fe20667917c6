"""What a page shows of tables: the cells that are printed, the files that are written of them, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spa_bench.analysis.settings import settings_text
from spa_bench.report.contents import Contents
from spa_bench.report.grid import Grid
from spa_bench.report.names import headings, section_names
from spa_bench.report.overview import overview
from spa_bench.report.render import DIFFER, Section
from spa_bench.report.table import Table
from spa_bench.report.texts import Sheet, sheets
from spa_bench.report.verdict import verdict
from spa_bench.terminal import printable_line

SETTING = "default"
"""What a table has where the others of its world set something."""


def plain(found: Contents) -> dict[str, Any]:
    """All tables as plain values: of each comparison, of all side by side, of audits, and of papers."""
    side_by_side = overview(found.tables)
    kinds = {
        "worlds": [side_by_side] if side_by_side else [],
        "audits": found.audit_sections(),
        "papers": found.papers() if found.tables else [],
    }
    tables = found.table_sections()
    made = iter(sheets([*tables, *(one for own in kinds.values() for one in own)]))
    own = [_comparison(*both, next(made)) for both in zip(found.tables, tables, strict=True)]
    for one, name, heading in zip(own, section_names(found.tables), headings(found.tables), strict=True):
        one |= {"name": name, "heading": heading}
    sections = {kind: [_section(one, next(made)) for one in some] for kind, some in kinds.items()}
    return {"tables": own, "settings": _settings(found.tables), **sections}


def _comparison(table: Table, section: Section, made: Sequence[Sheet]) -> dict[str, Any]:
    """A table as it is printed, so that a page never says anything else than a paper."""
    about = {name.replace("_", " "): value for name, value in table.about.items() if value is not None}
    about |= {DIFFER: settings_text(table.settings)} if table.settings else {}
    return {"about": about, "verdict": list(map(printable_line, verdict(table)))} | _section(section, made)


def _section(found: Section, made: Sequence[Sheet]) -> dict[str, Any]:
    notes = [printable_line(note) for note in found.notes]
    return {"name": found.name, "grids": list(map(_grid, made)), "notes": notes}


def _grid(sheet: Sheet) -> dict[str, Any]:
    grid = sheet.grid
    shown = {"name": grid.name, "title": grid.title, "header": grid.header, "rows": grid.rows}
    return shown | {"file": sheet.name, "csv": sheet.csv, "tex": sheet.tex}


def _settings(tables: Sequence[Table]) -> dict[str, Any] | None:
    """What differs between tables of one world and split: a row for each of them, a column for each setting."""
    told = [table for table in tables if table.settings]
    names = sorted({name for table in told for name in table.settings})
    rows = [
        [f"{table.about['world']}, {table.about['split']}", *(table.settings.get(name, SETTING) for name in names)]
        for table in told
    ]
    grid = Grid("settings", "settings that differ between tables of one world", ["table", *names], rows)
    return {"name": grid.name, "title": grid.title, "header": grid.header, "rows": grid.rows} if told else None
