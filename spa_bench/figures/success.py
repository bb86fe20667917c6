"""Success of a row of the table on some of its tasks, with the CI that figures show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spa_bench.analysis.groups import START, Group, valid
from spa_bench.analysis.played import Played
from spa_bench.analysis.runs import Run
from spa_bench.stats import Estimate, over_seeds, wilson


def success(runs: Sequence[Run], panel: str, among: Callable[[Played], bool] | None = None) -> Estimate | None:
    """Mean over seeds, between 0 and 1, with Student's 95 % CI; of one seed Wilson's. None for no episode."""
    seeds = [[one.success for one in valid(run, panel) if among is None or among(one)] for run in runs]
    if len(seeds) == 1:
        return wilson(sum(seeds[0]), len(seeds[0]))
    means = [sum(won) / len(won) for won in seeds if won]
    return over_seeds(means, limits=(0.0, 1.0)) if means else None


def at_start(group: Group) -> float | None:
    """Success of the warm start, between 0 and 1; None where it is not on record."""
    found = success(*group.rows[START]) if START in group.rows else None
    return None if found is None else found.mean


def bounds(found: Estimate) -> tuple[float | None, float | None]:
    """Ends of the CI in per cent."""
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    return low, high


def intervals(group: Group) -> str:
    """What the CIs of `success` are over, for a caption."""
    counts = {len(runs) for runs, _ in group.rows.values()}
    said = {
        True: "One seed: 95 % CI over tasks (Wilson).",
        False: "Mean over seeds; 95 % CI over seeds (Student), none where all seeds are equal.",
    }
    return " ".join(said[one] for one in (False, True) if any((count == 1) is one for count in counts))
