"""Every table of a report as the files that are written of it, and as the page hands them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spa_bench.report import grid as forms
from spa_bench.report.contents import Contents
from spa_bench.report.grid import Grid
from spa_bench.report.names import distinct
from spa_bench.report.render import Section, as_markdown


@dataclass(frozen=True)
class Sheet:
    """One table in the forms that others read."""

    name: str
    """Of its files, without their ending."""
    grid: Grid
    csv: str
    tex: str


def files(found: Contents) -> dict[str, str]:
    """Content by file: everything that was printed, the tables of papers, and each table by itself."""
    sections, papers = found.sections(), found.papers()
    content = {"tables.md": _pages(sections), "papers.md": _pages(papers)}
    for one in (one for own in sheets([*sections, *papers]) for one in own):
        content[f"tables/{one.name}.csv"] = one.csv
        content[f"tables/{one.name}.tex"] = one.tex
    return content


def sheets(sections: Sequence[Section]) -> list[list[Sheet]]:
    """The tables of each section; no two of all of them have one name."""
    grids = [(one, grid) for one in sections for grid in one.grids]
    names = iter(_file_names(grids))
    return [[_sheet(one, number, next(names)) for number in range(len(one.grids))] for one in sections]


def _sheet(found: Section, number: int, name: str) -> Sheet:
    grid = found.grids[number]
    alone = replace(grid, title=f"{found.heading}: {grid.title}") if found.heading and number else grid
    return Sheet(name, grid, forms.comma_separated(grid), forms.latex(alone, _under(found, number), label=name))


def _file_names(grids: Sequence[tuple[Section, Grid]]) -> list[str]:
    """Section and table, and a digest of the title where two would be the same file."""
    names = [f"{one.name}-{grid.name}" for one, grid in grids]
    return distinct(names, [f"{name} {grid.title}" for name, (_, grid) in zip(names, grids, strict=True)])


def _pages(sections: Sequence[Section]) -> str:
    return "\n\n".join(f"## {one.name}\n\n{as_markdown(one)}" for one in sections) + "\n"


def _under(found: Section, number: int) -> Sequence[str]:
    """Under a section's first table all notes, under the others the first one: what they are about."""
    return found.notes if number == 0 else found.notes[:1]
