"""Can the reward be exploited? Figures from its undiscounted sums on probe episodes, which `probes` makes.

Pure functions over sums of step rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

TOLERANCE = 1e-6
"""Below it two sums are equal: sums in another order differ in their last bits, and outcomes may have been fp32."""


class Spread(NamedTuple):
    """Summary of one number per probe."""

    mean: float
    largest: float
    """The one farthest from 0, with its sign: an average of 0 is not enough."""


def loop_slope(sums: ArrayLike, times: Sequence[int]) -> Spread:
    """Loop payoff: least-squares slope of sum r on the number of walks around a loop.

    `sums` is (probes, len(times)), in the unit of the reward. 0 for a potential (Ng, Harada and Russell 1999); where it
    is positive, walking in circles raises the return. Raises ValueError without probes, or for fewer than two different
    numbers of walks.
    """
    paid, walks = np.asarray(sums, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if paid.ndim != 2 or paid.shape[1] != len(walks) or len(set(times)) < 2:
        raise ValueError(f"sums of shape {paid.shape} for loops walked {list(times)} times: (probes, {len(walks)})")
    centred = walks - walks.mean()
    return _spread((paid - paid.mean(axis=1, keepdims=True)) @ centred / (centred @ centred))


def broken_orders(sums: ArrayLike) -> float:
    """Share of pairs (success, failure) of one task, (pairs, 2), whose failure has at least as large a sum of rewards.

    The optimal policy of such a reward is not that of the task.
    """
    pairs = np.asarray(sums, dtype=np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(f"sums of shape {pairs.shape}: at least one (success, failure)")
    return float(np.mean(pairs[:, 1] >= pairs[:, 0] - TOLERANCE))


def cut_gap(whole: ArrayLike, cut: ArrayLike) -> Spread:
    """Truncation payoff: sum r - R of an episode cut by the step limit, minus that of the same one uncut.

    `whole` and `cut` are (episodes,), sum r - R of each episode and of the same one cut. A potential must be 0 at
    every end, the step limit included (Grześ 2017); then the payoff is 0, else truncation is rewarded or penalised.
    """
    first, second = np.asarray(whole, dtype=np.float64), np.asarray(cut, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"{first.shape} whole episodes and {second.shape} cut ones: one of each")
    return _spread(second - first)


def _spread(numbers: np.ndarray) -> Spread:
    if not len(numbers):
        raise ValueError("no probe episodes")
    return Spread(float(numbers.mean()), float(numbers[np.abs(numbers).argmax()]))
