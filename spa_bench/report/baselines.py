"""`report --paper baselines`: what different papers print of one baseline, beside the gains that they claim over it."""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.analysis.prints import PAPERS, Cell, Gain, cells
from spa_bench.analysis.published import PUBLISHED, installed
from spa_bench.report.grid import Grid
from spa_bench.report.render import Section

NAME = "baselines"
"""After `--paper`."""
HEADER = (
    "method, model, world, metric", "prints, with their papers", "lowest", "highest", "spread, pp", "numbers", "papers",
    "gains claimed over it, pp", "gains within the spread",
)  # fmt: skip


def section() -> Section:
    """The table of all cells that several papers print with unequal numbers; no number of ours is in it."""
    found = cells(installed())
    differ = [cell for cell in found if cell.spread]
    rows = [_row(cell) for cell in differ]
    return Section(
        f"paper-{NAME}", [Grid("prints", f"one cell, several prints: {PUBLISHED}", HEADER, rows)], _notes(found)
    )


def _row(cell: Cell) -> Sequence[str]:
    prints = "; ".join(f"{one.value} ({', '.join(one.papers)})" for one in cell.prints)
    lowest, highest = cell.prints[0].value, cell.prints[-1].value
    within = f"{cell.within} of {len(cell.gains)}" if cell.gains else ""
    counts = (str(cell.spread), str(len(cell.prints)), str(cell.papers))
    return (cell.name, prints, str(lowest), str(highest), *counts, "; ".join(map(_gain, cell.gains)), within)


def _gain(gain: Gain) -> str:
    return f"{gain.method} {gain.value:+}{' (stated)' if gain.stated else ''}"


def _notes(found: Sequence[Cell]) -> list[str]:
    differ = [cell for cell in found if cell.spread]
    claimed = [cell for cell in differ if cell.gains]
    gains = sum(len(cell.gains) for cell in claimed)
    used = {name for cell in differ for one in cell.prints for name in one.papers}
    used |= {gain.paper for cell in differ for gain in cell.gains}
    papers = "; ".join(f"{name} {arxiv}" for arxiv, (name, _) in PAPERS.items() if name in used)
    return [
        "numbers as papers print them, each with its source in results/published; none is ours. Papers (arXiv): "
        f"{papers}",
        "spread: highest minus lowest print. Equal numbers, also rounded, count once: a paper that repeats another's "
        "measures nothing anew. Papers differ in steps, memory, iterations, splits and seeds: the spread is not noise "
        "alone. Both forms of GiGPO, with std and without, count as GiGPO",
        "gains: a paper's method minus its own print of the cell, or, where it says (stated), what its abstract says. "
        "A gain within the spread is no larger than what it makes from which paper a baseline is taken",
        f"{sum(cell.within for cell in claimed)} of {gains} gains, in {len(claimed)} cells, are within the spread; "
        f"{len(found) - len(differ)} more cells are printed by several papers with one number, as copied",
        "ALFWorld without a split: seen games, or not said which; valid_unseen stands by itself",
    ]
