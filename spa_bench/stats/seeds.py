"""Variance of one run's mean score by training, from the runs of all rows of a table.

A row alone has few seeds. Like Dunnett's test (1955), what all rows say is put together, where they do not contradict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats  # type: ignore[import-untyped]

from spa_bench.core import Floats
from spa_bench.stats.variance import DECIMALS

UNEQUAL = 0.05
"""Variances of the rows are not put together where Bartlett's test has a smaller p."""


@dataclass(frozen=True)
class Training:
    """Variance between runs of a row with other training seeds; it holds the chance in their episodes. One per row."""

    pooled: bool
    """Whether what all rows say is put together; otherwise each row has the variance of its own seeds."""
    own: Floats
    """(rows,) of a run's mean score."""
    own_freedom: Floats
    """Degrees of freedom of `own`."""
    beside: Floats
    """(rows,) the same without what the runs of one seed share, for differences of rows with the same seeds."""
    beside_freedom: Floats


def training(runs: ArrayLike, grain: float = 0.0) -> Training | None:
    """What means of runs (rows, seeds) say; NaN where a row has no run with a seed. None where they say nothing.

    `grain` is that of which the means of successes are multiples, one over the number of tasks. The variance of a row
    that succeeds in a share p is then a factor, the same for all rows, times p (1 - p), as in the quasi-binomial model
    (McCullagh and Nelder 1989), where half a task is added to p = 0 and taken from p = 1: a method that has collapsed
    hardly varies, and says nothing of the others. Without a grain all rows have one variance.

    `own` is of what rows leave, `beside` of what rows and seeds leave (`_pooled`): runs of one seed begin from the same
    warm start. Both need one factor for all rows: Bartlett's test (1937) is made of the rows' variances plus
    grain^2 / 12 (Sheppard's correction, so that runs that are equal by chance are not infinitely different). Where it
    finds them unequal, each row has the variance of its own seeds in both, with one degree of freedom less than seeds;
    a row of one seed has the largest of them, with the fewest degrees of freedom.
    """
    table = np.asarray(runs, dtype=np.float64)
    there = ~np.isnan(table)
    means = np.where(there, table, 0.0).sum(1) / np.maximum(1, there.sum(1))
    usual = _usual(means, grain)
    beside = _pooled(table, there, usual, shared=True)
    if beside is None:
        return None
    free = np.maximum(0, there.sum(1) - 1)
    several = free > 0
    squares = np.where(there, (table - means[:, None]) ** 2, 0.0).sum(1)
    each = np.divide(_certain(squares), free, where=several, out=np.zeros_like(squares))
    compared = several & ((means > 0) & (means < 1) | (grain == 0))
    if _equal(((each + grain**2 / 12) / usual)[compared], free[compared]):
        own = _pooled(table, there, usual, shared=False)
        assert own is not None  # as less is left beside what seeds share
        (within, within_free), (residual, residual_free) = own, beside
        whole = np.ones_like(usual)
        return Training(True, within * usual, within_free * whole, residual * usual, residual_free * whole)
    own = np.where(several, each, each.max())
    freedom = np.where(several, free, free[several].min()).astype(np.float64)
    return Training(False, own, freedom, own, freedom)


def _usual(means: Floats, grain: float) -> Floats:
    """(rows,) of what the variance is a multiple of."""
    share = np.clip(means, grain / 2, 1 - grain / 2)
    return share * (1 - share) if grain else np.ones_like(means)


def _pooled(table: Floats, there: np.ndarray, usual: Floats, *, shared: bool) -> tuple[float, float] | None:
    """The factor of all rows and its degrees of freedom; None where nothing is left.

    Least squares of the row's mean and, where `shared`, of a value for each seed times the row's sqrt(p (1 - p)). Sum
    of squares of what is left over its expectation for a factor of 1; degrees of freedom after Satterthwaite (1946).
    """
    row, seed = np.nonzero(there)
    usual = usual[row]
    places = np.arange(len(row))
    design = np.zeros((len(row), sum(table.shape)))
    design[places, row] = 1
    if shared:
        design[places, len(table) + seed] = np.sqrt(usual)
    left = np.eye(len(row)) - design @ np.linalg.pinv(design)
    expected = left * usual
    trace = float(np.trace(expected))
    if trace < 1e-9:
        return None
    squares = float(_certain(((left @ table[there]) ** 2).sum()))
    return squares / trace, round(trace**2 / float((expected * expected.T).sum()), 9)


def _certain(squares: Any) -> Any:
    """Sums of squares, those that are only rounding as 0."""
    return np.where(np.asarray(squares) < 10.0 ** (-2 * DECIMALS), 0.0, squares)


def _equal(variances: Floats, free: np.ndarray) -> bool:
    """Bartlett's test of equal variances with these degrees of freedom."""
    if len(variances) < 2 or not variances.any():
        return True
    if not variances.all():
        return False
    whole = free.sum()
    spread = whole * np.log(variances @ free / whole) - free @ np.log(variances)
    scale = 1 + ((1 / free).sum() - 1 / whole) / (3 * (len(free) - 1))
    return bool(stats.chi2.sf(spread / scale, len(free) - 1) >= UNEQUAL)
