"""Graded outcomes, where success alone hides much: how high they are, and how often one method's is the higher.

Only where outcomes are not all 0 or 1. Of these the interquartile mean is the median in disguise, and the probability
of improvement is (1 + difference of success) / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spa_bench.analysis.differences import Board, Scores, board, generator, over_both, scores, shared_tasks
from spa_bench.analysis.groups import Group
from spa_bench.stats import Estimate, iqm, probability_of_improvement


@dataclass(frozen=True)
class Graded:
    """The outcomes of one row of the table."""

    method: str
    mean: Estimate
    """Over seeds and tasks, with the CI over seeds, and over tasks within task types."""
    iqm: float | None
    """Interquartile mean; None where these outcomes are all 0 or 1."""
    better: float | None
    """Share of (run, run of the reference, task) where this method's outcome is the higher, equal ones half; None for
    the reference itself, and where the two share no task."""


def graded(group: Group, kinds: Mapping[str, str], reference: str | None) -> tuple[Graded, ...]:
    """Every row, in the order of the table; nothing where all outcomes are 0 or 1."""
    played = {
        label: scores({run.seed: run.panels[panel] for run in runs}, lambda episode: episode.outcome)
        for label, (runs, panel) in group.rows.items()
    }
    if {value for own in played.values() for seed in own.values() for value in seed.values()} <= {0.0, 1.0}:
        return ()
    seen, rows = board(played), []
    for label, own in played.items():
        mean = over_both(label, seen, kinds)
        if mean is not None:
            against = {} if reference is None or reference == label else played[reference]
            rows.append(Graded(label, mean, _iqm(label, seen), _better(own, against)))
    return tuple(rows)


def _iqm(label: str, seen: Board) -> float | None:
    (table,), _ = seen.shared(label)
    return None if set(np.unique(table)) <= {0.0, 1.0} else iqm(table)


def _better(own: Scores, against: Scores) -> float | None:
    tasks = shared_tasks([*own.values(), *against.values()])
    if not against or not tasks:
        return None
    one, other = ([[side[seed][task] for task in tasks] for seed in sorted(side)] for side in (own, against))
    # Its CI is not shown: over the few seeds of a table it would be far too short.
    return probability_of_improvement(one, other, generator("probability of improvement")).mean
