"""Means with confidence intervals, and the summaries of scores over runs that papers use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats  # type: ignore[import-untyped]

from spa_bench.core import Floats
from spa_bench.stats.variance import DECIMALS, matrix, residual_square


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval."""

    mean: float
    low: float | None
    """Ends of the confidence interval; None where the data say nothing about the spread: one value, or all equal."""
    high: float | None
    n: int
    """Observations that the interval rests on; each function says which."""


def over_seeds(values: Sequence[float], level: float = 0.95, limits: tuple[float, float] | None = None) -> Estimate:
    """Mean of one value per seed, with Student's t interval where at least two seeds differ; `n` counts seeds.

    Other seeds on the same tasks. `limits` is the range that the quantity cannot leave; the interval is cut there.
    Raises ValueError for no values and for values that are not finite: neither may turn into a row of a table.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"no mean over {list(values)}")
    mean = float(np.mean(values))
    if len(set(values)) == 1:
        return Estimate(mean, None, None, len(values))
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = student((1 + level) / 2, len(values) - 1) * spread
    return _cut(mean, mean - reach, mean + reach, len(values), limits)


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate | None:
    """One proportion k/n of independent trials, with Wilson's score interval (1927); None for no trials.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). Covers well also near 0 and 1. Raises ValueError unless
    0 <= k <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return None
    share, z = successes / n, z_score((1 + level) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else middle - reach
    return Estimate(share, low, 1.0 if successes == n else middle + reach, n)


def mean_over_both(
    scores: ArrayLike,
    kinds: Sequence[str] | None,
    training: tuple[float, float] | None = None,
    *,
    level: float = 0.95,
    limits: tuple[float, float] | None = None,
) -> Estimate:
    """Mean of scores (seeds, tasks), with an interval over other seeds and other tasks of the same kinds.

    Student's t with Satterthwaite's (1946) degrees of freedom. The variance is that of training over the number of
    seeds, plus that of tasks within kinds (strata) less the residual, which both hold (not below 0). `training` is the
    variance of one run's mean and its degrees of freedom, such as those of all rows of a table; without it there is the
    variance of these seeds, and for one seed the interval is over tasks only. Kinds of one task are pooled. `n` counts
    seeds, or tasks where there is one seed. The order of seeds and tasks does not matter. Raises ValueError for an
    empty matrix, values that are not finite, and a list of kinds of another length.
    """
    table = matrix(scores)
    seeds, tasks = table.shape
    if kinds is not None and len(kinds) != tasks:
        raise ValueError(f"{len(kinds)} kinds for {tasks} tasks")
    mean, n = math.fsum(table.flat) / table.size, seeds if seeds > 1 else tasks
    if training is None and seeds > 1:
        training = float(np.sort(table.mean(1)).var(ddof=1)), seeds - 1
    variance, freedom = _by_tasks(table, kinds)
    if training is not None:
        variance = max(0.0, variance - residual_square(table) / table.size)
    by_seed, freedom_by_seed = (0.0, 1.0) if training is None else (training[0] / seeds, training[1])
    total = variance + by_seed
    if total < 10.0 ** (-2 * DECIMALS):
        return Estimate(mean, None, None, n)
    freedom = 1 / ((variance / total) ** 2 / freedom + (by_seed / total) ** 2 / freedom_by_seed)
    reach = student((1 + level) / 2, freedom) * math.sqrt(total)
    return _cut(mean, mean - reach, mean + reach, n, limits)


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: of all values, the mean without the lowest and the highest quarter (Agarwal et al. 2021).

    For graded scores over runs and tasks. Raises ValueError for none, for values that are not finite, and for values
    that are all 0 or 1: of those it is the median in disguise, 0 up to a share of 25 % and 1 from 75 % on.
    """
    found = matrix(np.ravel(values)[None])
    if set(np.unique(found)) <= {0.0, 1.0}:
        raise ValueError("no IQM of values that are all 0 or 1: there it is the median in disguise; use the mean")
    return float(stats.trim_mean(found, 0.25, axis=None))


def performance_profile(values: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Share of values (runs, tasks or both) above each threshold (T,) -> (T,), falling (Agarwal et al. 2021).

    Raises ValueError for no values and for values that are not finite.
    """
    found = matrix(np.ravel(values)[None])
    return np.asarray((found > np.ravel(thresholds)[:, None]).mean(1), dtype=np.float64)


def probability_of_improvement(
    first: ArrayLike, second: ArrayLike, rng: np.random.Generator, *, level: float = 0.95, draws: int = 2000
) -> Estimate:
    """P(X > Y) + P(X = Y) / 2 for a run of each method on one task, mean over tasks (Mann and Whitney's U / nm).

    Scores are (runs, tasks); the numbers of runs may differ. Interval: percentiles of a bootstrap that draws whole runs
    of each method; the tasks stay. By simulation it covers 95 % with 20 runs each, 91 to 95 % with 10, 90 % with 5 and
    less than 82 % with 3: too short to print. `n` counts the runs of the smaller group. Raises ValueError for empty
    matrices, values that are not finite, and different numbers of tasks.
    """
    one, other = matrix(first), matrix(second)
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"{one.shape[1]} and {other.shape[1]} tasks")
    won = (np.sign(np.round(one[:, None] - other, DECIMALS)).mean(2) + 1) / 2
    won = won[np.argsort(won.mean(1), kind="stable")][:, np.argsort(won.mean(0), kind="stable")]
    drawn = [rng.multinomial(n, np.full(n, 1 / n), size=draws) / n for n in won.shape]
    means = np.round(((drawn[0] @ won) * drawn[1]).sum(1), DECIMALS)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    if low == high:
        return Estimate(float(won.mean()), None, None, min(won.shape))
    return Estimate(float(won.mean()), float(low), float(high), min(won.shape))


def student(share: float, freedom: float) -> float:
    """The quantile of Student's t below which this share lies."""
    return float(special.stdtrit(freedom, share))


def student_below(value: float, freedom: float) -> float:
    """The share of Student's t below a value."""
    return float(special.stdtr(freedom, value))


def z_score(share: float) -> float:
    """The standard normal quantile below which this share lies."""
    return float(stats.norm.ppf(share))


def _cut(mean: float, low: float, high: float, n: int, limits: tuple[float, float] | None) -> Estimate:
    bottom, top = limits or (-math.inf, math.inf)
    return Estimate(mean, max(bottom, low), min(top, high), n)


def _strata(kinds: Sequence[str] | None, tasks: int) -> list[NDArray[np.intp]]:
    """Places of the tasks of each kind; one of a single task says nothing about its spread, so it joins others."""
    names = np.array(kinds if kinds is not None else [""] * tasks, dtype=np.str_)
    found = [np.flatnonzero(names == name) for name in np.unique(names)]
    alone, kept = [one for one in found if len(one) == 1], [one for one in found if len(one) > 1]
    if len(alone) == 1 and kept:
        return [np.append(kept[0], alone[0]), *kept[1:]]
    return [*kept, np.concatenate(alone)] if alone else kept


def _by_tasks(table: Floats, kinds: Sequence[str] | None) -> tuple[float, float]:
    """Variance of the mean by the choice of tasks within strata, and its degrees of freedom."""
    columns = table.mean(0)
    strata = [np.sort(columns[places]) for places in _strata(kinds, len(columns)) if len(places) > 1]
    each = [len(one) * float(one.var(ddof=1)) / len(columns) ** 2 for one in strata]
    squares = sum(value**2 / (len(one) - 1) for value, one in zip(each, strata, strict=True))
    return sum(each), sum(each) ** 2 / squares if squares else 1.0
