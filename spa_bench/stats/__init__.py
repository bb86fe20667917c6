"""Means with confidence intervals, differences on the same tasks, and the power to detect them.

Scores are (seeds, tasks): each training seed plays every task once. A seed is one observation of a method, a task is
one observation of a difference. Where data say nothing a number is None, never NaN and never an interval without
width: a few equal values do not show certainty.
"""

from spa_bench.stats.means import (
    Estimate,
    iqm,
    mean_over_both,
    over_seeds,
    performance_profile,
    probability_of_improvement,
    wilson,
)
from spa_bench.stats.pairs import Comparison, Pair, compared, paired, sentence, verdict
from spa_bench.stats.power import minimum_detectable
from spa_bench.stats.ratios import relative_improvement
from spa_bench.stats.seeds import Training, training
from spa_bench.stats.variance import Spread, spread

__all__ = [
    "Comparison",
    "Estimate",
    "Pair",
    "Spread",
    "Training",
    "compared",
    "iqm",
    "mean_over_both",
    "minimum_detectable",
    "over_seeds",
    "paired",
    "performance_profile",
    "probability_of_improvement",
    "relative_improvement",
    "sentence",
    "spread",
    "training",
    "verdict",
    "wilson",
]
