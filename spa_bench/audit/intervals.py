"""A figure with its 95 % CI: a bootstrap over tasks, and over the fits of a method that is fitted.

Episodes of one task are alike, so a task is one observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # type: ignore[import-untyped]

from spa_bench.core import Floats

Statistic = Callable[[Floats], Floats]
"""Sums (..., k) to values (...), NaN where undefined."""
Span = tuple[float, float]
"""Smallest and largest value of a figure."""

LEVEL = 0.95
DECIMALS = 9
CLOSE = 10.0**-DECIMALS
CLIP = 0.99
"""Correlations are clipped here, because Fisher's z of +-1 is infinite: no mean over z is larger."""
ANY: Span = (-math.inf, math.inf)
SHARE: Span = (0.0, 1.0)
CORRELATION: Span = (-1.0, 1.0)
DIFFERENCE: Span = (-2.0, 2.0)
"""Of two correlations."""


@dataclass(frozen=True)
class Measured:
    """A number with its interval over tasks, and over fits where there are several."""

    value: float | None
    """Of a method that is fitted several times: mean over the fits where it is defined."""
    low: float | None
    """Ends of the 95 % interval; None where there is no spread to estimate: fewer than two tasks, or all equal."""
    high: float | None
    used: int
    """Units (trajectories, or points in them) that the number rests on, in the fit with the fewest."""
    of: int
    """Units there were."""
    tasks: int
    """Tasks of those that were used."""


@dataclass(frozen=True)
class Estimate:
    """A figure of one fit."""

    value: float
    """NaN where undefined."""
    replicates: Floats
    """The same of each draw of tasks (draws,)."""
    used: NDArray[np.bool_]
    """Units that it rests on (N,)."""


@dataclass(frozen=True)
class Resamples:
    """Tasks drawn with replacement: the same draws for all measures, methods and fits, so that differences are paired.

    Every measure takes the numbers of one fit, or those of each of several.
    """

    task: NDArray[np.intp]
    """(N,): the task of each unit, which is a trajectory or a point in one."""
    weights: Floats
    """(draws, tasks): how often each task is in each draw."""
    places: Floats
    """(draws,): evenly spaced probabilities in random order, by which each draw gets an error of the fit."""

    @classmethod
    def draw(cls, tasks: Sequence[str], rng: np.random.Generator, count: int = 2000) -> Resamples:
        """`tasks` names the task of each unit; the draws do not depend on the order of units."""
        names, task = np.unique(np.array(tasks, dtype=np.str_), return_inverse=True)
        weights = np.zeros((count, 0))
        if len(names):
            weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count).astype(np.float64)
        return cls(task, weights, (rng.permutation(count) + 0.5) / count)

    def only(self, units: NDArray[np.bool_] | NDArray[np.intp]) -> Resamples:
        """The same draws for some of the units, or for points in them: a mask (N,), or the unit of each point (P,)."""
        return replace(self, task=self.task[units])

    def estimate(self, statistic: Statistic, *parts: Floats, span: Span) -> Measured:
        """`statistic` of the sums of `parts` (N, k), of each fit; the last column is 0 for units that are left out."""
        fits = []
        for part in parts:
            used = part[:, -1] != 0
            sums = np.zeros((self.weights.shape[1], part.shape[1]))
            np.add.at(sums, self.task[used], part[used])
            fits.append(Estimate(float(statistic(sums.sum(0))), statistic(self.weights @ sums), used))
        return self.measured(*fits, span=span)

    def mean(self, *values: Floats, span: Span = ANY) -> Measured:
        """Mean of `values` (N,) of each fit, without those that are NaN."""
        return self.estimate(lambda sums: ratio(sums[..., 0], sums[..., 1]), *map(counted, values), span=span)

    def fisher_mean(self, *correlations: Floats) -> Measured:
        """tanh(mean(artanh(rho))), |rho| clipped at `CLIP`; (N,) of each fit, without those that are NaN."""
        parts = map(fisher, correlations)
        return self.estimate(lambda sums: np.tanh(ratio(sums[..., 0], sums[..., 1])), *parts, span=CORRELATION)

    def measured(self, *fits: Estimate, span: Span) -> Measured:
        """The mean of the fits' figures, with an interval in `span` for what any number of fits would give.

        Tasks: expanded percentiles of the mean of the fits' replicates, those at Phi(-sqrt(n / (n - 1)) t_(n-1)) for n
        tasks, so that the interval of few tasks is not too short (Hesterberg 2015, What Teachers Should Know about the
        Bootstrap). Fits: with F of them, whose figures have the standard deviation s, every replicate is moved by
        s / sqrt(F) times a number from Student's t with F - 1 degrees of freedom, as a mean of F observations is
        distributed (JCGM 101:2008, 6.4.9), so that the interval of few fits is not too short either. s holds what the
        fit changes on these tasks and what it would change on all, so the interval is rather too long (as in Owen and
        Eckles 2012, Bootstrapping data arrays of arbitrary order).
        """
        known = [fit for fit in fits if math.isfinite(fit.value)] or [*fits[:1]]
        fewest = min(known, key=lambda fit: int(fit.used.sum())).used
        n = len(np.unique(self.task[fewest]))
        replicates = np.mean([fit.replicates for fit in known], axis=0) + self._error_of_fits(known)
        defined = replicates[np.isfinite(replicates)]
        low = high = None
        if n > 1 and defined.size:
            tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + LEVEL) / 2, n - 1))
            ends = np.clip(np.quantile(defined, [tail, 1 - tail]), *span)
            if ends[1] - ends[0] > CLOSE:
                low, high = float(ends[0]), float(ends[1])
        return Measured(
            finite(float(np.mean([fit.value for fit in known]))), low, high, int(fewest.sum()), len(fewest), n
        )

    def _error_of_fits(self, fits: Sequence[Estimate]) -> Floats | float:
        """What each replicate (draws,) is moved by: 0 for a method that is fitted once, or the same each time."""
        spread = float(np.std([fit.value for fit in fits], ddof=1)) if len(fits) > 1 else 0.0
        if spread <= CLOSE:
            return 0.0
        moved: Floats = spread / math.sqrt(len(fits)) * stats.t.ppf(self.places, len(fits) - 1)
        return moved


def finite(value: Floats | float) -> float | None:
    """A number, or None for what is none."""
    return float(value) if math.isfinite(value) else None


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def farthest(values: Sequence[float | None]) -> float | None:
    """What is farthest from 0, with its sign; None where nothing is known."""
    return max((value for value in values if value is not None), key=abs, default=None)


def ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """Quotients, NaN where the divisor is 0."""
    bottom = np.asarray(bottom, dtype=np.float64)
    return np.asarray(np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom != 0))


def counted(values: Floats) -> Floats:
    """(N,) to (N, 2): the value, 0 where it is NaN, and whether it is known."""
    known = np.isfinite(values)
    return np.stack([np.where(known, values, 0.0), known], axis=1)


def fisher(correlations: Floats) -> Floats:
    """(N,) to (N, 2): Fisher's z of the clipped correlations, 0 where they are NaN, and whether they are known."""
    return counted(np.arctanh(np.clip(correlations, -CLIP, CLIP)))
