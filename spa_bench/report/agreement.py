"""Does credit that is right train better? The table of what `audit.agreement` finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from spa_bench.analysis.groups import START
from spa_bench.audit.agreement import Agreement, agreements
from spa_bench.audit.summary import Audit, MethodAudit
from spa_bench.report.grid import Grid, slug
from spa_bench.report.render import Section
from spa_bench.report.table import Table

NONE = "no significant correlation"
HEADER = ("measure of the audit", "sign if it does", "methods", "Spearman with success %", "95 % CI", "p", "verdict")

NOTES = (
    "one point is a method that was both audited and trained; rank correlation (Spearman) of what the audit measures "
    "with success % after training, mean over seeds; CI: Bonett and Wright (2000); p: permutation of the methods, "
    "adjusted for the number of measures (Holm)",
    "methods are no random sample: the correlation is over these methods in this world, and no cause",
)


@dataclass(frozen=True)
class Matched:
    """What an audit and a table of one world and model say of the same methods."""

    name: str
    title: str
    methods: tuple[MethodAudit, ...]
    measures: tuple[Agreement, ...]


def matched(tables: Sequence[Table], audits: Sequence[Audit]) -> list[Matched]:
    """One for each table and audit that have enough methods in common, in their order."""
    pairs = [(table, audit) for table in tables for audit in audits if _alike(table, audit)]
    return [one for number, pair in enumerate(pairs, 1) if (one := _match(*pair, number)).measures]


def sections(tables: Sequence[Table], audits: Sequence[Audit]) -> list[Section]:
    """One for each that `matched` finds."""
    return [_section(one) for one in matched(tables, audits)]


def _alike(table: Table, audit: Audit) -> bool:
    same = ("world", "model", "protocol")
    return all(table.about.get(name) == audit.about.get(name) for name in same)


def _match(table: Table, audit: Audit, number: int) -> Matched:
    success = {row.label: row.success for row in table.rows if row.label != START}
    both = tuple(method for method in audit.methods if method.name in success)
    name = f"credit-and-success-{slug(audit.world)}" + (f"-{number}" if number > 1 else "")
    split, seeds = table.about["split"], len(table.seeds)
    title = f"does credit that is right train better? ({audit.world}, {split}, {len(both)} methods, {seeds} seeds)"
    return Matched(name, title, both, tuple(agreements(audit, success, str(table.about["evaluation_set"]))))


def _section(found: Matched) -> Section:
    rows = [_row(one) for one in found.measures]
    notes = (*NOTES, *map(_told_apart, _of_one_reward(found.methods)))
    return Section(found.name, [Grid("correlations", found.title, HEADER, rows)], notes)


def _of_one_reward(methods: Sequence[MethodAudit]) -> list[list[str]]:
    """The methods whose figures of step rewards are all the same, where there are several: so are their rewards."""
    found: dict[Hashable, list[str]] = defaultdict(list)
    for one in methods:
        found[one.gap, one.agreement, one.last_turn_share, one.gini].append(one.name)
    return [names for names in found.values() if len(names) > 1]


def _told_apart(names: Sequence[str]) -> str:
    """What a reader must know of methods whose advantages, not rewards, are their credit."""
    return (
        f"{', '.join(names)}: the same step rewards; where their advantages differ, only the cosine measures it, and "
        "in all other rows they are ties"
    )


def _row(one: Agreement) -> list[str]:
    found = one.found
    expected = (found.value > 0) == (one.sign == "+")
    verdict = f"{'right' if expected else 'wrong'} credit trains better" if one.p < 0.05 else NONE
    interval = "" if found.low is None or found.high is None else f"{found.low:+.2f} to {found.high:+.2f}"
    return [one.measure, one.sign, str(found.n), f"{found.value:+.2f}", interval, f"{one.p:.3f}", verdict]
