"""Rank correlation of two quantities over methods, with its interval and a permutation test; Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

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


def rank_correlation(
    first: Sequence[float], second: Sequence[float], rng: np.random.Generator, level: float = 0.95
) -> RankCorrelation | None:
    """Spearman's rank correlation; None for fewer than `FEWEST` pairs, or where all values of one side are equal.

    Ties have mean ranks. The interval is that of Bonett and Wright (2000):
    tanh(atanh r -+ z sqrt((1 + r^2/2) / (n - 3))).
    """
    n = len(first)
    if n < FEWEST or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    x, y = (np.asarray(stats.rankdata(side), dtype=float) for side in (first, second))
    x, y = (side - side.mean() for side in (x, y))
    unit = math.sqrt(float(x @ x) * float(y @ y))
    value = min(1.0, max(-1.0, float(x @ y) / unit))
    drawn = np.abs(rng.permuted(np.tile(y, (DRAWS, 1)), axis=1) @ x) / unit
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
