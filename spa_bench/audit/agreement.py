"""Does credit that is right train better? What an audit measures of each method, beside the success after training.

Separate from both: an audit trains nothing, and a table of success knows no credit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spa_bench.analysis.differences import generator
from spa_bench.audit.summary import Audit, MethodAudit
from spa_bench.stats import Estimate
from spa_bench.stats.ranks import RankCorrelation, holm, rank_correlation

Measure = tuple[str, str, Callable[[MethodAudit], float | None]]

MEASURES: Sequence[Measure] = (
    ("Spearman with the oracle", "+", lambda m: m.agreement.spearman.value),
    ("Spearman with executed effects", "+", lambda m: None if m.effects is None else m.effects.spearman.value),
    ("cosine with oracle advantages", "+", lambda m: m.cosine),
    ("misordered pairs %", "-", lambda m: None if m.gap.inversions is None else 100 * m.gap.inversions),
    ("return error", "-", lambda m: m.gap.mean),
    ("idle-loop exploit %", "-", lambda m: m.probes.get("busy %")),
    ("loop payoff", "-", lambda m: m.probes.get("loop")),
)
"""Of an audit: header, the sign that the correlation has if credit that is right trains better, and the number."""


@dataclass(frozen=True)
class Point:
    """A method that was both audited and trained."""

    method: str
    measured: float
    success: Estimate
    """After training, between 0 and 1, mean over seeds."""


@dataclass(frozen=True)
class Agreement:
    """One measure of the audit, over methods."""

    measure: str
    sign: str
    """`+` or `-`: that of the correlation if credit that is right trains better."""
    points: tuple[Point, ...]
    found: RankCorrelation
    p: float
    """Adjusted for the number of measures by Holm (1979)."""


def agreements(audit: Audit, success: Mapping[str, Estimate], evaluation_set: str) -> list[Agreement]:
    """Of each measure that differs between methods, where there are enough of them; `success` is by method."""
    found = []
    for measure, sign, read in MEASURES:
        known = [(method.name, read(method)) for method in audit.methods if method.name in success]
        points = [Point(name, value, success[name]) for name, value in known if value is not None]
        values, means = [point.measured for point in points], [point.success.mean for point in points]
        draws = generator("agreement", audit.world, evaluation_set, measure)
        if (one := rank_correlation(values, means, draws)) is not None:
            found.append((measure, sign, tuple(points), one))
    adjusted = holm([one.p for *_, one in found])
    return [Agreement(*one, p) for one, p in zip(found, adjusted, strict=True)]
