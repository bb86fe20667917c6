"""Return error: how far rewards are from adding up to the outcome. From arrays alone, in the notation of `measures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa_bench.audit.intervals import CLOSE, DECIMALS, finite, ratio
from spa_bench.audit.measures import graded, task_name
from spa_bench.core import Floats, Trajectory

GAMMA = 0.95
"""Discount of the discounted return error."""


@dataclass(frozen=True)
class ReturnGap:
    """How far a trajectory's rewards are from adding up to its outcome: gap = sum_t r_t - R. None where undefined.

    The theorem (T1): rewards whose sum is R + k(s_0) in every episode, k a constant of the task's first state, rank
    all policies as the outcome does (Ng, Harada and Russell 1999; Arjona-Medina et al. 2019).
    """

    mean: float | None
    """Mean |gap|: 0 where the return is preserved (T1 with k = 0)."""
    largest: float | None
    mean_beyond_task: float | None
    """Mean |gap - mean gap of the task|: 0 where T1 holds with any k(s_0). Over tasks with at least two episodes."""
    largest_beyond_task: float | None
    slope: float | None
    """Least-squares slope of the gap on T, both centred by task: reward beyond the outcome for one more step."""
    inversions: float | None
    """Share of `pairs` where the episode with the smaller R has the larger sum of rewards."""
    ties: float | None
    """Share of `pairs` with equal sums of rewards."""
    pairs: int
    """Pairs of episodes of one task whose R differ."""
    timeout: float | None
    """Gap of truncated minus gap of terminated episodes: least squares with an intercept per task."""
    discounted: float | None
    """Mean |sum_t gamma^t r_t - gamma^(T-1) R|, t from 0 and gamma = `GAMMA`."""


def return_gap(trajectories: Sequence[Trajectory], rewards: Sequence[Floats]) -> ReturnGap:
    """Return errors, in units of the outcome; one array of rewards (T,) per trajectory."""
    paid = np.array([reward.sum() for reward in rewards])
    outcome = np.array([trajectory.outcome for trajectory in trajectories])
    gap = paid - outcome
    _, task = np.unique(np.array([*map(task_name, trajectories)], dtype=np.str_), return_inverse=True)
    beyond = _centred(gap, task)[np.bincount(task)[task] > 1]
    discounted = [
        (GAMMA ** np.arange(len(reward))) @ reward - GAMMA ** (len(reward) - 1) * one.outcome
        for one, reward in zip(trajectories, rewards, strict=True)
    ]
    inverted, tied, pairs = _orders(outcome, paid, task)
    length = np.array([len(one) for one in trajectories], dtype=np.float64)
    over = np.array([one.terminated or one.truncated for one in trajectories], dtype=bool)
    late = np.array([one.truncated and not one.terminated for one in trajectories], dtype=np.float64)
    return ReturnGap(
        *_mean_and_largest(gap),
        *_mean_and_largest(beyond),
        slope=_slope(length, gap, task),
        inversions=inverted / pairs if pairs else None,
        ties=tied / pairs if pairs else None,
        pairs=pairs,
        timeout=_slope(late[over], gap[over], task[over]),
        discounted=_mean_and_largest(np.array(discounted))[0],
    )


def _mean_and_largest(values: Floats) -> tuple[float | None, float | None]:
    """Of |values|."""
    return (finite(np.abs(values).mean()), finite(np.abs(values).max())) if values.size else (None, None)


def _centred(values: Floats, task: NDArray[np.intp]) -> Floats:
    """Values minus the mean of their task."""
    means: Floats = ratio(np.bincount(task, values), np.bincount(task))
    return values - means[task]


def _slope(x: Floats, y: Floats, task: NDArray[np.intp]) -> float | None:
    """Least-squares slope with an intercept per task; None where x is the same for all episodes of each task."""
    x, y = _centred(x, task), _centred(y, task)
    return finite(x @ y / (x @ x)) if x @ x > CLOSE else None


def _orders(outcome: Floats, paid: Floats, task: NDArray[np.intp]) -> tuple[int, int, int]:
    """Pairs of one task with different outcomes: misordered by the sums of rewards, tied, all."""
    outcome, paid = np.round(outcome, DECIMALS), graded(paid)
    inverted = tied = pairs = 0
    for own in (task == name for name in np.unique(task)):
        better = outcome[own][:, None] > outcome[own]
        more = paid[own][:, None] - paid[own]
        inverted += int((better & (more < 0)).sum())
        tied += int((better & (more == 0)).sum())
        pairs += int(better.sum())
    return inverted, tied, pairs
