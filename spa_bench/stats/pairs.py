"""Two methods on the same tasks: the difference, its CI, its p value, and the verdict in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # type: ignore[import-untyped]

from spa_bench.core import Floats
from spa_bench.stats.means import DECIMALS, DRAWS, Estimate, bootstrap_mean
from spa_bench.stats.variance import matrix

EXACT_UP_TO = 20_000
"""The sign-flip test is exact where the sizes of all differences add up to at most this."""


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same tasks with the same seeds; differences are first minus second, in units of the score."""

    seeds: int
    tasks: int
    by_task: Estimate
    """CI over other tasks, for the policies of just these seeds. `n` counts tasks."""
    by_both: Estimate
    """CI over other tasks and other seeds; with one seed the same as `by_task`. `n` counts seeds."""
    p: float
    """Two-sided sign-flip test over tasks, for the policies of just these seeds."""
    exact: bool
    """Whether p is exact; otherwise it is from random flips."""
    discordance: float
    """Mean squared difference of one seed on one task: of successes, the share of pairs that differ. In [0, 1]."""
    alike: float
    """How far seeds differ on the same tasks: 0 independently, 1 on exactly the same; 1 for one seed."""


def paired(
    first: ArrayLike,
    second: ArrayLike,
    kinds: Sequence[str] | None,
    rng: np.random.Generator,
    *,
    limits: tuple[float, float] | None = (-1.0, 1.0),
    draws: int = DRAWS,
) -> Comparison:
    """Compare two methods on scores (seeds, tasks); row and column stand for the same seed and task in both.

    Episodes of one task are alike, so the unit is the task: its mean difference over seeds. That is exact about the
    policies at hand and silent about other seeds, which is what `by_both` is for. Raises ValueError where the shapes
    differ, and for empty matrices and values that are not finite.
    """
    one, other = matrix(first), matrix(second)
    if one.shape != other.shape:
        raise ValueError(f"no pairs: scores of shape {one.shape} and {other.shape}")
    gap = np.round(one - other, DECIMALS) + 0.0
    seeds = len(gap)
    by_task = bootstrap_mean(gap.mean(0)[None], None, rng, limits=limits, draws=draws)
    totals = gap.sum(0)
    discordance = float((gap**2).mean())
    alike = 1.0
    if seeds > 1 and discordance > 0:
        alike = (seeds * float((gap.mean(0) ** 2).mean()) / discordance - 1) / (seeds - 1)
    return Comparison(
        seeds=seeds,
        tasks=len(totals),
        by_task=by_task,
        by_both=bootstrap_mean(gap, kinds, rng, limits=limits, draws=draws) if seeds > 1 else by_task,
        p=sign_flip(totals, rng, draws),
        exact=_whole(totals),
        discordance=discordance,
        alike=min(1.0, max(0.0, alike)),
    )


def sign_flip(totals: ArrayLike, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """Two-sided p of the difference of two methods on the same tasks; `totals` has one number per task.

    Where the methods are alike, each task's difference could as well have had the other sign (all its seeds at once).
    p is the share of the 2^n choices of signs whose sum is at least as far from 0. Whole numbers, such as successes
    summed over seeds, give it exactly; successes of one seed give McNemar's exact test. Other numbers give
    (1 + hits) / (1 + draws) of random signs (Phipson and Smyth 2010). 1 where all differences are 0. Raises
    ValueError for none and for numbers that are not finite.
    """
    values = np.round(matrix(np.ravel(totals)[None])[0], DECIMALS)
    sizes = np.sort(np.abs(values[values != 0]))
    seen = abs(math.fsum(values))
    if _whole(values):
        shares = _signed_sums(np.rint(sizes).astype(np.int64))
        sums = np.arange(len(shares)) - len(shares) // 2
        return min(1.0, float(shares[np.abs(sums) >= round(seen)].sum()))
    hits = 0
    for start in range(0, draws, 500):
        signs = rng.integers(0, 2, size=(min(500, draws - start), len(sizes))) * 2 - 1
        hits += int((np.abs(signs @ sizes) >= seen - 10.0 ** (3 - DECIMALS)).sum())
    return (1 + hits) / (1 + draws)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar (1947): tasks that only the first, and only the second method solves; one seed each.

    Binomial with share 1/2 over the tasks that differ; 1 where there are none. For several seeds use `sign_flip`:
    episodes of one task are no independent pairs. Raises ValueError for negative counts.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} tasks")
    fewer = stats.binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    return min(1.0, 2 * float(fewer))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p of several tests, in their order: the chance of any false find stays below the level.

    The i-th smallest of m is multiplied by m - i + 1 and is at least its predecessor. Raises ValueError outside [0, 1].
    """
    if not all(0 <= value <= 1 for value in values):
        raise ValueError(f"no p-values: {list(values)}")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    steps = np.asarray(values, dtype=np.float64)[order] * np.arange(len(values), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def verdict(found: Comparison, p: float, level: float = 0.05) -> str:
    """The outcome of a comparison in a few words. `p` is adjusted, `level` the chance of a false find.

    A significant difference that other seeds may turn around is said to hold for these seeds only: by simulation, equal
    methods with 3 seeds and much luck of training have p below 5 % in 43 % of cases, and are called better or worse
    without that limit in 4 %.
    """
    if p >= level:
        return "no significant difference"
    side = "better" if found.by_task.mean > 0 else "worse"
    low, high = found.by_both.low, found.by_both.high
    sure = found.seeds > 1 and low is not None and high is not None and (low > 0 or high < 0)
    return side if sure else f"{side}, these seeds only"


def sentence(first: str, second: str, found: Comparison, p: float, level: float = 0.05) -> str:
    """The same as a sentence, with the difference in percentage points (pp) of a score between 0 and 1."""
    low, high = found.by_task.low, found.by_task.high
    between = "" if low is None or high is None else f", 95 % CI {100 * low:+.1f} to {100 * high:+.1f}"
    figures = f"{100 * found.by_task.mean:+.1f} pp{between}, adjusted p = {p:.2g}"
    said = verdict(found, p, level)
    if p >= level:
        return f"{said} between {first} and {second} ({figures})"
    side, _, limit = said.partition(", ")
    return f"{first} is {side} than {second}{f' with {limit}' if limit else ''} ({figures})"


def _whole(totals: Floats) -> bool:
    return bool((totals == np.rint(totals)).all()) and float(np.abs(totals).sum()) <= EXACT_UP_TO


def _signed_sums(sizes: NDArray[np.int64]) -> Floats:
    """Distribution of the sum of sizes with random signs, from -sum to sum: per size binomial, in steps of 2 sizes."""
    shares = np.ones(1)
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        own = np.zeros(2 * size * count + 1)
        own[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        shares = np.convolve(shares, own)
    return shares
