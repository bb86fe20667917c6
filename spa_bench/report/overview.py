"""Several tables side by side: one row a method, a few columns a world."""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.analysis.fits import our_forms
from spa_bench.analysis.published import PUBLISHED, Sources
from spa_bench.report.grid import Grid
from spa_bench.report.names import headings
from spa_bench.report.render import Section, percent, shown_facts, with_interval
from spa_bench.report.table import Row, Table


def overview(tables: Sequence[Table]) -> Section | None:
    """Method by world: success, outcome, grounding accuracy, turns, reported numbers; None for a single table."""
    shown = [(name, table) for name, table in zip(headings(tables), tables, strict=True) if table.rows]
    if len(shown) < 2:
        return None
    sources = Sources()
    labels = list(dict.fromkeys(row.label for _, table in shown for row in table.rows))
    columns: list[tuple[str, list[str]]] = [("method", labels)]
    notes = []
    for name, table in shown:
        rows = [next((row for row in table.rows if row.label == label), None) for label in labels]
        columns += _columns(name, rows)
        published = [sources.cell(table.about["world"], table.about["split"], label) for label in labels]
        if any(published):
            columns.append((f"{name}: {PUBLISHED}", published))
        notes.append(f"{name}: {shown_facts(table)}")
    cells = zip(*(column for _, column in columns), strict=True)
    grid = Grid("overview", "method by world", [head for head, _ in columns], [list(row) for row in cells])
    forms = {row.label: row.our_form for _, table in shown for row in table.rows if row.our_form}
    return Section("worlds", [grid], [*notes, *our_forms(forms), *sources.notes()])


def _columns(name: str, rows: Sequence[Row | None]) -> list[tuple[str, list[str]]]:
    return [
        (f"{name}: success %", [with_interval(row.success) if row else "" for row in rows]),
        ("outcome", [f"{row.outcome:.3f}" if row else "" for row in rows]),
        ("grounded %", [percent(row.grounded) if row else "" for row in rows]),
        ("turns", [f"{row.turns:.1f}" if row else "" for row in rows]),
    ]
