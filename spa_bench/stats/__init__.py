"""Means with confidence intervals, differences on the same tasks, and the power to detect them.

Scores are (seeds, tasks): each training seed plays every task once. A seed is one observation of a method, a task is
one observation of a difference. Where data say nothing a number is None, never NaN and never an interval without
width: a few equal values do not show certainty.
"""

from spa_bench.stats.means import (
    Estimate,
    bootstrap_mean,
    iqm,
    over_seeds,
    performance_profile,
    probability_of_improvement,
    wilson,
)
from spa_bench.stats.pairs import Comparison, holm, mcnemar, paired, sentence, sign_flip, verdict
from spa_bench.stats.power import smallest_difference, tasks_needed
from spa_bench.stats.ratios import relative_improvement
from spa_bench.stats.variance import Spread, spread

__all__ = [
    "Comparison",
    "Estimate",
    "Spread",
    "bootstrap_mean",
    "holm",
    "iqm",
    "mcnemar",
    "over_seeds",
    "paired",
    "performance_profile",
    "probability_of_improvement",
    "relative_improvement",
    "sentence",
    "sign_flip",
    "smallest_difference",
    "spread",
    "tasks_needed",
    "verdict",
    "wilson",
]
