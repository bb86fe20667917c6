"""Which method is better, and how that is known, in words: what a reader of one table wants first."""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.analysis.differences import Difference
from spa_bench.analysis.groups import START
from spa_bench.report.render import TASKS_ONLY, chance, percent, points, power, signed, with_interval
from spa_bench.report.table import Table

SIDES = ("better", "worse")


def verdict(table: Table) -> list[str]:
    """The answer of a table first, then what it rests on; empty for a table without rows."""
    if not table.rows:
        return []
    if table.reference is None:
        reached = "; ".join(f"{row.label}: {with_interval(row.success)} % success" for row in table.rows)
        return [f"Nothing to compare with. {reached}.", _basis(table)]
    lines = _against(table, table.reference)
    if table.reference != START and any(one.reference == START for one in table.differences):
        lines += _against(table, START, names_only=True)
    return [*lines, _basis(table)]


def _against(table: Table, reference: str, names_only: bool = False) -> list[str]:
    """One line for what is better than the reference, one for what is worse, one for the rest."""
    reached = {row.label: percent(row.success.mean) for row in table.rows}
    found = sorted(
        (one for one in table.differences if one.reference == reference),
        key=lambda one: -one.found.effect.mean,
    )
    sides = {side: [one for one in found if one.verdict.startswith(side)] for side in SIDES}
    rest = [one for one in found if not one.verdict.startswith(SIDES)]
    told = f"{reference} ({reached[reference]} % success)"

    def named(some: Sequence[Difference]) -> str:
        return ", ".join(one.method if names_only else _figures(one, reached[one.method]) for one in some)

    lines = [f"{side.capitalize()} than {told}: {named(sides[side])}." for side in SIDES if sides[side]]
    if rest and lines:
        lines.append(f"No significant difference from {reference}: {', '.join(one.method for one in rest)}.")
    elif rest:
        lines.append(f"No method differs significantly from {told}.")
        largest = max(rest, key=lambda one: abs(one.found.effect.mean))
        lines += [] if names_only else [f"Largest difference: {_figures(largest, reached[largest.method])}."]
    return lines


def _figures(one: Difference, reached: str) -> str:
    reach = signed(one.found.effect)
    between = f", simultaneous 95 % CI {reach}" if reach else ""
    return f"{one.method} {reached} % ({points(one.found.effect)} pp{between}, adjusted p {chance(one.found.p)})"


def _basis(table: Table) -> str:
    """How many tasks and seeds, which test, and what difference it would have found."""
    seeds = ("seed " if len(table.seeds) == 1 else "seeds ") + ", ".join(map(str, table.seeds))
    played = f"{table.about['n']} held-out tasks, {seeds}"
    if not table.differences:
        return f"Played: {played}."
    number, trained = table.resolution.comparisons, table.resolution.trained
    over = "over tasks and training seeds" if trained else "over tasks"
    adjusted = f", adjusted for all {number} comparisons" if number > 1 else ""
    more = "" if trained else f" {TASKS_ONLY}"
    return f"How it is known: {played}; one test {over}{adjusted}; {power(table.resolution)}.{more}"
