"""Rank correlation of two quantities over methods, with its interval and a permutation test; Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spa_bench.core import Floats
from spa_bench.stats.means import z_score

FEWEST = 5
"""Pairs that a correlation needs: of four, no order of them is rarer than 1 of 24 by chance."""

DRAWS = 9999
"""Permutations that are drawn, beside the one that was seen."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's, over `n` pairs."""

    value: float
    low: float | None
    """Ends of the interval; None where all pairs are in one order, which says nothing about the spread."""
    high: float | None
    p: float
    """Two-sided, by permutation: the share of random orders that correlate as much, the one that was seen included."""
    n: int


def midranks(values: Floats) -> Floats:
    """Ranks from 1 (T,), ties at their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def can_be_ranked(x: Floats, y: Floats) -> bool:
    """There are three pairs at least, and neither side is constant."""
    return len(x) >= 3 and bool(np.ptp(x) > 0 and np.ptp(y) > 0)


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of midranks; NaN where either is constant or T < 3."""
    if not can_be_ranked(x, y):
        return math.nan
    a, b = midranks(x), midranks(y)
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def rank_correlation(
    first: Sequence[float], second: Sequence[float], rng: np.random.Generator, level: float = 0.95
) -> RankCorrelation | None:
    """Spearman's rank correlation; None for fewer than `FEWEST` pairs, or where all values of one side are equal.

    Ties have mean ranks. The interval is that of Bonett and Wright (2000):
    tanh(atanh r -+ z sqrt((1 + r^2/2) / (n - 3))).
    """
    n, x, y = len(first), np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if n < FEWEST or not can_be_ranked(x, y):
        return None
    value = min(1.0, max(-1.0, spearman(x, y)))
    x, y = (ranks - ranks.mean() for ranks in (midranks(x), midranks(y)))
    drawn = np.abs(rng.permuted(np.tile(y, (DRAWS, 1)), axis=1) @ x) / math.sqrt((x @ x) * (y @ y))
    p = (1 + int((drawn >= abs(value) - 1e-12).sum())) / (1 + DRAWS)
    if abs(value) > 1 - 1e-9:
        return RankCorrelation(value, None, None, p, n)
    reach = z_score((1 + level) / 2) * math.sqrt((1 + value * value / 2) / (n - 3))
    middle = math.atanh(value)
    return RankCorrelation(value, math.tanh(middle - reach), math.tanh(middle + reach), p, n)


def holm(ps: Sequence[float]) -> list[float]:
    """P values adjusted for their number by Holm (1979): each times how many are not smaller, never falling."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted, largest = [0.0] * len(ps), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = largest
    return adjusted
