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
    """Whether all rows have one variance; otherwise each has its own."""
    own: Floats
    """(rows,) of a run's mean score."""
    own_freedom: Floats
    """Degrees of freedom of `own`."""
    beside: Floats
    """(rows,) the same without what the runs of one seed share, for differences of rows with the same seeds."""
    beside_freedom: Floats


def training(runs: ArrayLike, grain: float = 0.0) -> Training | None:
    """What means of runs (rows, seeds) say; NaN where a row has no run with a seed. None where they say nothing.

    `own` is the pooled variance within rows, `beside` the residual mean square of the additive model row + seed: runs
    of one seed begin from the same warm start. Both need equal variances: Bartlett's test (1937) is made of the rows'
    variances plus grain^2 / 12, where means are multiples of `grain` (Sheppard's correction, so that runs that are
    equal by chance are not infinitely different). Where it finds them unequal, each row has the variance of its own
    seeds in both, with one degree of freedom less than seeds; a row of one seed has the largest of them, with the
    fewest degrees of freedom.
    """
    table = np.asarray(runs, dtype=np.float64)
    there = ~np.isnan(table)
    free = np.maximum(0, there.sum(1) - 1)
    residual, residual_free = _additive(table, there)
    if not residual_free:
        return None
    residual = _certain(residual)
    means = np.where(there, table, 0.0).sum(1, keepdims=True) / np.maximum(1, there.sum(1, keepdims=True))
    centred = np.where(there, table - means, 0.0)
    squares = _certain((centred**2).sum(1))
    several = free > 0
    each = np.divide(squares, free, where=several, out=np.zeros_like(squares))
    rows = len(table)
    if _equal(each[several] + grain**2 / 12, free[several]):
        own, beside = squares.sum() / free.sum(), residual / residual_free
        return Training(True, *(np.full(rows, float(value)) for value in (own, free.sum(), beside, residual_free)))
    own = np.where(several, each, each.max())
    freedom = np.where(several, free, free[several].min()).astype(np.float64)
    return Training(False, own, freedom, own, freedom)


def _additive(table: Floats, there: np.ndarray) -> tuple[float, int]:
    """Sum of squares and degrees of freedom of what rows and seeds leave, by least squares over the runs that exist."""
    row, seed = np.nonzero(there)
    design = np.zeros((len(row), sum(table.shape)))
    places = np.arange(len(row))
    design[places, row] = design[places, len(table) + seed] = 1
    values = table[there]
    found, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    return float(((values - design @ found) ** 2).sum()), len(row) - int(rank)


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
