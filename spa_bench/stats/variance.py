"""Where variance comes from: the seed that a method was trained with, or the tasks that it was tried on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spa_bench.core import Floats

DECIMALS = 12
"""Numbers closer than this are equal: 1/3 + 2/3 summed in another order must not be another value."""

LARGEST = 1e12
"""No score is beyond; squares and products of larger numbers would not be finite for long."""


@dataclass(frozen=True)
class Spread:
    """Where the variance of a method's mean score comes from; in squared units of the score."""

    training: float | None
    """Variance between training seeds. None for one seed or one task."""
    task: float | None
    """Variance between tasks, the same for all seeds."""
    residual: float | None
    """What is left: chance in an episode, and seeds that are good at different tasks. One episode each cannot tell."""
    evaluation: float | None
    """Variance of one run's mean by the choice of n tasks and by chance: (task + residual) / n. None for one task."""


def spread(scores: ArrayLike) -> Spread:
    """Split the variance of scores (seeds, tasks) by the method of moments, as for two crossed random effects.

    With mean squares of seeds, tasks and residual: training = (MS_s - MS_r) / tasks, task = (MS_t - MS_r) / seeds,
    residual = MS_r; 0 where that is negative (Searle, Casella and McCulloch 1992, Variance Components). With one seed
    only `evaluation` is known, the variance between tasks over their number. Raises ValueError for an empty matrix and
    values that are not finite.
    """
    table = matrix(scores)
    seeds, tasks = table.shape
    if tasks == 1:
        return Spread(None, None, None, None)
    if seeds == 1:
        return Spread(None, None, None, float(table.var(ddof=1)) / tasks)
    residual = residual_square(table)
    training = max(0.0, float(table.mean(1).var(ddof=1)) - residual / tasks)
    task = max(0.0, float(table.mean(0).var(ddof=1)) - residual / seeds)
    return Spread(training, task, residual, (task + residual) / tasks)


def matrix(values: ArrayLike) -> Floats:
    """Scores as an array (seeds, tasks).

    Raises ValueError for another shape, for none, and for values that are not finite or beyond `LARGEST`.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 2 or not found.size or not (np.abs(found) <= LARGEST).all():
        raise ValueError(f"no scores (seeds, tasks): shape {found.shape}, or values that are not finite")
    return found


def residual_square(table: Floats) -> float:
    """Mean square of what the means of seeds and tasks leave; 0 for one seed or one task."""
    left = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    free = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float((left**2).sum()) / free if free else 0.0
