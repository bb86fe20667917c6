"""Means with intervals. What varies between runs of one method is the seed, so a seed is one observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    low: float | None
    """Ends of the confidence interval; None where the seeds say nothing about the spread: one seed, or all equal."""
    high: float | None
    n: int


def over_seeds(values: Sequence[float], level: float = 0.95, limits: tuple[float, float] | None = None) -> Estimate:
    """Mean of one value per seed, with Student's t interval where at least two seeds differ.

    Equal seeds have none: an interval without width would claim a certainty that a handful of seeds cannot give.
    `limits` is the range that the quantity cannot leave; the interval is cut there. Raises ValueError for no values
    and for values that are not finite: neither may turn into a row of a table.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"no mean over {list(values)}")
    mean = float(np.mean(values))
    if len(set(values)) == 1:
        return Estimate(mean, None, None, len(values))
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * spread
    bottom, top = limits or (-math.inf, math.inf)
    return Estimate(mean, max(bottom, mean - reach), min(top, mean + reach), len(values))
