"""Does credit that is right train better? What an audit measures of each method, beside the success after training.

Separate from both: an audit trains nothing, and a table of success knows no credit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from spa_bench.analysis.differences import generator
from spa_bench.analysis.groups import START
from spa_bench.audit.summary import Audit, MethodAudit
from spa_bench.report.grid import Grid, slug
from spa_bench.report.render import Section
from spa_bench.report.table import Table
from spa_bench.stats.ranks import RankCorrelation, holm, rank_correlation

Measure = tuple[str, str, Callable[[MethodAudit], float | None]]

MEASURES: Sequence[Measure] = (
    ("Spearman with the oracle", "+", lambda m: m.agreement.spearman.value),
    ("Spearman with executed effects", "+", lambda m: None if m.effects is None else m.effects.spearman.value),
    ("cosine with oracle advantages", "+", lambda m: m.cosine),
    ("misordered pairs %", "-", lambda m: m.gap.inversions),
    ("return error", "-", lambda m: m.gap.mean),
    ("idle-loop exploit %", "-", lambda m: m.probes.get("busy %")),
    ("loop payoff", "-", lambda m: m.probes.get("loop")),
)
"""Of an audit: header, the sign that the correlation has if credit that is right trains better, and the number."""

HEADER = ("measure of the audit", "sign if it does", "methods", "Spearman with success %", "95 % CI", "p", "verdict")

NOTES = (
    "one point is a method that was both audited and trained; rank correlation (Spearman) of what the audit measures "
    "with success % after training, mean over seeds; CI: Bonett and Wright (2000); p: permutation of the methods, "
    "adjusted for the number of measures (Holm)",
    "methods are no random sample: the correlation is over these methods in this world, and no cause",
)


def agreements(tables: Sequence[Table], audits: Sequence[Audit]) -> list[Section]:
    """One section for each table and audit of one world and model with `FEWEST` methods in both, in their order."""
    pairs = [(table, audit) for table in tables for audit in audits if _alike(table, audit)]
    return [one for number, pair in enumerate(pairs, 1) if (one := _section(*pair, number)) is not None]


def _alike(table: Table, audit: Audit) -> bool:
    same = ("world", "model", "protocol")
    return all(table.about.get(name) == audit.about.get(name) for name in same)


def _section(table: Table, audit: Audit, number: int) -> Section | None:
    success = {row.label: row.success.mean for row in table.rows if row.label != START}
    both = [method for method in audit.methods if method.name in success]
    found: dict[tuple[str, str], RankCorrelation] = {}
    for header, sign, read in MEASURES:
        known = [(value, success[method.name]) for method in both if (value := read(method)) is not None]
        draws = generator("agreement", audit.world, str(table.about["evaluation_set"]), header)
        values, outcomes = [value for value, _ in known], [outcome for _, outcome in known]
        if (one := rank_correlation(values, outcomes, draws)) is not None:
            found[header, sign] = one
    if not found:
        return None
    adjusted = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
    rows = [_row(*place, one, adjusted[place]) for place, one in found.items()]
    name = f"credit-and-success-{slug(audit.world)}" + (f"-{number}" if number > 1 else "")
    split, seeds = table.about["split"], len(table.seeds)
    title = f"does credit that is right train better? ({audit.world}, {split}, {len(both)} methods, {seeds} seeds)"
    return Section(name, [Grid(name, title, HEADER, rows)], (*NOTES, *map(_told_apart, _of_one_reward(both))))


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


def _row(header: str, sign: str, found: RankCorrelation, p: float) -> list[str]:
    expected = (found.value > 0) == (sign == "+")
    verdict = f"{'right' if expected else 'wrong'} credit trains better" if p < 0.05 else "no significant correlation"
    interval = "" if found.low is None or found.high is None else f"{found.low:+.2f} to {found.high:+.2f}"
    return [header, sign, str(found.n), f"{found.value:+.2f}", interval, f"{p:.3f}", verdict]
