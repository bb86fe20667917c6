"""What different papers print of one cell, and beside its spread the gains that they claim over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spa_bench.analysis.prints import Cell
from spa_bench.analysis.published import PUBLISHED
from spa_bench.core import UserError
from spa_bench.figures.style import INK, PALE, Look, legend, looks, sheet, striped, tall

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[str, float]
"""A paper, and what it prints or claims."""


@dataclass(frozen=True)
class Row:
    """One cell."""

    cell: str
    prints: tuple[Point, ...]
    """In per cent; a number that several papers print stands once for each of them."""
    gains: tuple[Point, ...]
    """In percentage points."""
    spread: float


@dataclass(frozen=True)
class Prints:
    """What is drawn."""

    title: str
    caption: str
    rows: tuple[Row, ...]


def data(cells: Sequence[Cell]) -> Prints:
    """The cells with a spread; UserError where there is none."""
    rows = tuple(_row(cell) for cell in cells if cell.spread)
    if not rows:
        raise UserError("no cell that two papers print with unequal numbers")
    caption = (
        f"{PUBLISHED}: numbers as papers print them, with settings of their own; none is ours. Left: what they print "
        "of the same method, model, world and metric. Right: the bar is the spread of these prints, points are the "
        "gains over the cell that papers claim: a gain within the bar is no larger than the spread."
    )
    return Prints("One cell, several prints", caption, rows)


def draw(found: Prints) -> Figure:
    """A row for each cell: its prints at the left, spread and gains at the right."""
    names = [row.cell for row in found.rows]
    papers = list(dict.fromkeys(paper for row in found.rows for paper, _ in (*row.prints, *row.gains)))
    styles = {paper: _style(look) for paper, look in looks(papers).items()}
    figure = sheet(11.0, 0.6 + tall(names), found.title, found.caption)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, label in ((left, "printed, %"), (right, "spread and gains, pp")):
        striped(axes, names)
        axes.set_xlabel(label, fontsize=8)
    for place, row in enumerate(found.rows):
        values = [value for _, value in row.prints]
        left.hlines(place, min(values), max(values), color=PALE, linewidth=1.4, zorder=2)
        right.barh(place, row.spread, height=0.55, color=PALE, alpha=0.45, zorder=1)
        for axes, points in ((left, row.prints), (right, row.gains)):
            for paper, value in points:
                axes.plot(value, place, clip_on=False, zorder=4, **styles[paper])
    right.axvline(0, color=PALE, linewidth=0.8, zorder=1)
    legend(figure, [left.plot([], [], **styles[paper])[0] for paper in papers], papers)
    return figure


def _row(cell: Cell) -> Row:
    prints = tuple((name, float(one.value)) for one in cell.prints for name in one.papers)
    gains = tuple((gain.paper, float(gain.value)) for gain in cell.gains)
    return Row(cell.name, prints, gains, float(cell.spread))


def _style(look: Look) -> dict[str, Any]:
    return {
        "marker": look.marker, "color": look.colour, "linestyle": "none", "markersize": 5.5,
        "markeredgecolor": INK, "markeredgewidth": 0.5,
    }  # fmt: skip
