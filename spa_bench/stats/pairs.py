"""Two methods on the same tasks with the same seeds, and all such comparisons of one table at once.

Each comparison is a difference of mean scores over its standard error, which holds training seeds and tasks as crossed
random factors. All comparisons of a table are judged by the distribution of the largest of these ratios, as in Dunnett
(1955) and in Hothorn, Bretz and Westfall (2008, Simultaneous inference in general parametric models), so that p values,
intervals and verdicts say the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats  # type: ignore[import-untyped]

from spa_bench.core import Floats
from spa_bench.stats.means import Estimate, student, student_below
from spa_bench.stats.seeds import Training
from spa_bench.stats.variance import DECIMALS, matrix, residual_square

ONE_TASK = 0.5
"""The ratio of a single task that differs is at most this: an exact test says nothing of it, and has a p of 1."""
CERTAIN = 1_000
"""The least p of an exact test is taken for that of so many tasks where more differ: beyond, it would become 0."""

STEPS = 2_000
"""Between 0 and 1, in which the detectable difference is sought."""
DRAWS = 9_999
"""Of the largest ratio under equal methods; p is then known to 0.002 at 5 %."""


@dataclass(frozen=True)
class Pair:
    """Two methods on the same tasks with the same seeds; first minus second, in units of the score."""

    seeds: int
    tasks: int
    difference: float
    variance: float
    """Of the mean difference by the choice of tasks, and by the chance in single episodes; infinite for one task."""
    chance: float
    """The part of it that seeds hold as well: residual mean square over seeds times tasks. 0 for one seed."""
    differing: int
    """Tasks with different scores, summed over seeds."""
    discordance: float
    """Mean squared difference of one seed on one task: of successes, the share of pairs that differ. In [0, 1]."""


@dataclass(frozen=True)
class Comparison:
    """A pair as one of all the comparisons of its table."""

    seeds: int
    tasks: int
    effect: Estimate
    """First minus second, with its simultaneous interval. `n` counts tasks."""
    p: float
    """Two-sided, adjusted for all comparisons of the table; below 1 - level exactly where the interval is beside 0."""
    trained: bool
    """Whether it is about other training seeds too; otherwise about other tasks for the policies of these seeds."""
    differing: int
    """Tasks with different scores, summed over seeds."""
    detectable: float | None
    """True difference that would be called with the power asked for; None where none up to 1 would, and where no task
    differs, as nothing is known of the spread there."""


def paired(first: ArrayLike, second: ArrayLike) -> Pair:
    """The difference of scores (seeds, tasks); row and column stand for the same seed and task in both.

    Raises ValueError where the shapes differ, and for empty matrices and values that are not finite.
    """
    one, other = matrix(first), matrix(second)
    if one.shape != other.shape:
        raise ValueError(f"no pairs: scores of shape {one.shape} and {other.shape}")
    gap = np.round(one - other, DECIMALS) + 0.0
    seeds, tasks = gap.shape
    totals = np.round(gap.sum(0), DECIMALS)
    return Pair(
        seeds=seeds,
        tasks=tasks,
        difference=math.fsum(totals) / gap.size,
        variance=float(np.var(np.sort(totals), ddof=1)) / (seeds**2 * tasks) if tasks > 1 else math.inf,
        chance=residual_square(gap) / gap.size,
        differing=int(np.count_nonzero(totals)),
        discordance=float((gap**2).mean()),
    )


def compared(
    pairs: Sequence[Pair],
    rows: Sequence[tuple[int, int]],
    spread: Training | None,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    power: float = 0.8,
    limits: tuple[float, float] = (-1.0, 1.0),
    draws: int = DRAWS,
    known: bool = False,
) -> list[Comparison]:
    """All comparisons of a table; `rows` are the places of the first and the second method among the rows of `spread`.

    The variance of a difference is that of training over the number of seeds, plus that of tasks less the chance that
    both hold (not below 0). Without `spread` it is that of tasks: training seeds were not sampled. `draws` of the
    largest absolute ratio under equal methods, normal and with the degrees of freedom of both parts, give p and the
    intervals; comparisons with a row in common are correlated through it. An exact test of k tasks that differ cannot
    have a p below 2 / 2^k, so neither has the single comparison here: its standard error is at least the difference
    over that quantile of Student's t. An interval reaches no further than `limits`.

    What is detectable is the least difference that has an interval beside 0 in the share `power` of the same draws,
    with the variance that it has itself: where methods differ by m, at least a share m of tasks differs. The standard
    error in it is the square root of the variance over the mean of that root, as the root is too small on average; not
    where the variances are `known`, as those of a table to come.
    """
    if not pairs:
        return []
    seen = _Errors.of(pairs, rows, spread)
    normal, shrink = seen.drawn(rng, draws)
    smallest = np.sort(special.stdtr(seen.freedom, -np.abs(normal / shrink)).min(1))
    allowed = math.ceil((1 - level) * (draws + 1) - 1 - 1e-9) - 1
    tail = float(smallest[allowed]) if allowed >= 0 else 0.0
    found = []
    for place, (pair, error) in enumerate(zip(pairs, seen.standard(), strict=True)):
        ratio = abs(pair.difference) / error if error else 0.0
        free = float(seen.freedom[place])
        critical = -student(tail, free)
        hits = int(np.searchsorted(smallest, student_below(-ratio, free), side="right"))
        reach = critical * error
        reaches = 0 < reach < math.inf
        low, high = max(limits[0], pair.difference - reach), min(limits[1], pair.difference + reach)
        shift = float(np.quantile(critical * shrink[:, place] - normal[:, place], power))
        shift /= 1.0 if known else float(shrink[:, place].mean())
        found.append(
            Comparison(
                seeds=pair.seeds,
                tasks=pair.tasks,
                effect=Estimate(pair.difference, low if reaches else None, high if reaches else None, pair.tasks),
                p=(1 + hits) / (1 + draws),
                trained=spread is not None,
                differing=pair.differing,
                detectable=_detectable(pair, float(seen.total[place]), shift, critical, power),
            )
        )
    return found


def verdict(found: Comparison, level: float = 0.05) -> str:
    """The outcome of a comparison in a few words, `level` being the chance of a false one in the whole table.

    One that is not about other training seeds says so.
    """
    if found.p >= level:
        return "no significant difference"
    side = "better" if found.effect.mean > 0 else "worse"
    return side if found.trained else f"{side} (tasks only; seeds not sampled)"


def sentence(first: str, second: str, found: Comparison, level: float = 0.05) -> str:
    """The same as a sentence, with the difference in percentage points (pp) of a score between 0 and 1."""
    low, high = found.effect.low, found.effect.high
    between = "" if low is None or high is None else f", simultaneous 95 % CI {100 * low:+.1f} to {100 * high:+.1f}"
    figures = f"{100 * found.effect.mean:+.1f} pp{between}, adjusted p = {found.p:.2g}"
    said = verdict(found, level)
    if found.p >= level:
        return f"{said} between {first} and {second} ({figures})"
    side, _, limit = said.partition(" (")
    return f"{first} is {side} than {second} ({f'{limit[:-1]}; ' if limit else ''}{figures})"


def _detectable(pair: Pair, total: float, shift: float, critical: float, power: float) -> float | None:
    """The least true difference of scores in [0, 1] with this power; None where there is none.

    `shift` is that difference over its standard error. Variance and tasks that differ are those at the difference m
    itself. Of single episodes the first alone succeeds in a share w, the second alone in l: w + l is the discordance d
    where w = l, and w l stays where one method is better by m = w - l (as with one log odds ratio for all tasks), so
    that w + l becomes sqrt(d^2 + m^2). By what the variance of a single difference, w + l - m^2, grows, over the number
    of them, the variance `total` of the pair as it is grows. Tasks that differ must be enough for the exact test of
    `_least`, with the same power.
    """
    enough = next((k for k in range(1, min(pair.tasks, CERTAIN) + 1) if _quantile(k, pair.tasks) >= critical), None)
    if not pair.differing or enough is None or not math.isfinite(total + shift):
        return None
    effects = np.linspace(0, 1, STEPS + 1)[1:]
    share = np.minimum(1.0, np.hypot(pair.discordance, effects))
    grown = (share - effects**2) - (pair.discordance - pair.difference**2)
    variance = np.maximum(0.0, total + grown / (pair.seeds * pair.tasks))
    differing = np.minimum(1.0, np.maximum(share, pair.differing / pair.tasks))
    called = (shift * np.sqrt(variance) <= effects) & (stats.binom.sf(enough - 1, pair.tasks, differing) >= power)
    return float(effects[np.argmax(called)]) if called.any() else None


def _quantile(differing: int, tasks: int) -> float:
    """Student's t of the difference that an exact test of so many tasks that differ and agree allows."""
    return max(-student(2.0 ** -min(differing, CERTAIN), tasks - 1), ONE_TASK)


def _least(pair: Pair) -> float:
    """The standard error with which the difference has the p of an exact test where all tasks that differ agree."""
    if not pair.difference or pair.tasks == 1:
        return 0.0
    return abs(pair.difference) / _quantile(pair.differing, pair.tasks)


@dataclass(frozen=True)
class _Errors:
    """The parts of the variance of each of m differences."""

    pairs: Sequence[Pair]
    signs: Floats
    """(m, rows): 1 for the first, -1 for the second row."""
    training: Floats
    """(m,) variance of the mean difference by training."""
    tasks: Floats
    """(m,) variance by tasks, without what training holds."""
    spread: Training | None

    @classmethod
    def of(cls, pairs: Sequence[Pair], rows: Sequence[tuple[int, int]], spread: Training | None) -> _Errors:
        count = 1 + max(max(two) for two in rows) if spread is None else len(spread.beside)
        signs = np.zeros((len(pairs), count))
        for place, (first, second) in enumerate(rows):
            signs[place, first], signs[place, second] = 1, -1
        tasks = np.array([pair.variance for pair in pairs])
        if spread is None:
            return cls(pairs, signs, np.zeros(len(pairs)), tasks, None)
        most = max(pair.tasks for pair in pairs)  # of which a run's mean holds the chance
        tasks = np.maximum(0.0, tasks - [pair.chance * pair.tasks / most for pair in pairs])
        return cls(pairs, signs, np.abs(signs) @ spread.beside / [pair.seeds for pair in pairs], tasks, spread)

    @property
    def total(self) -> Floats:
        """(m,) variance of each difference."""
        return self.training + self.tasks

    @property
    def share(self) -> Floats:
        """(m,) of training in the variance."""
        return np.divide(self.training, self.total, where=self.total > 0, out=np.zeros_like(self.total))

    @property
    def free(self) -> Floats:
        """(m,) degrees of freedom by tasks."""
        return np.array([max(1.0, pair.tasks - 1.0) for pair in self.pairs])

    @property
    def freedom(self) -> Floats:
        """(m,) of the whole variance (Satterthwaite 1946), the mean over pairs with as many tasks and runs."""
        trained = np.full(len(self.pairs), np.inf)
        if self.spread is not None:
            trained = np.where(self.signs != 0, self.spread.beside_freedom, np.inf).min(1)
        each = 1 / (self.share**2 / trained + (1 - self.share) ** 2 / self.free)
        _, place = np.unique(np.stack([self.free, trained]), axis=1, return_inverse=True)
        return np.asarray((np.bincount(place.ravel(), each) / np.bincount(place.ravel()))[place.ravel()])

    def standard(self) -> list[float]:
        """Standard errors, not smaller than a test of the tasks that differ allows."""
        return [max(math.sqrt(variance), _least(pair)) for pair, variance in zip(self.pairs, self.total, strict=True)]

    def drawn(self, rng: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
        """Differences over their true, and estimated over true standard errors: (draws, m) each."""
        sides, finite = np.abs(self.signs), np.where(np.isfinite(self.tasks), self.tasks, 0.0)
        weights = sides.T @ finite / np.maximum(1, sides.sum(0)) / 2
        if self.spread is not None:
            weights = weights + self.spread.beside / np.mean([pair.seeds for pair in self.pairs])
        scale = np.sqrt(sides @ weights)
        weights, scale = (weights, scale) if scale.all() else (np.ones_like(weights), np.full(len(scale), math.sqrt(2)))
        normal = rng.standard_normal((draws, len(weights))) * np.sqrt(weights) @ self.signs.T / scale
        share = self.share
        free, place = np.unique(self.free, return_inverse=True)
        squares = (1 - share) * (rng.chisquare(free, (draws, len(free))) / free)[:, place]
        return normal, np.sqrt(squares + share * self._trained(rng, draws))

    def _trained(self, rng: np.random.Generator, draws: int) -> Floats:
        """Estimated over true variance by training: (draws, m), or (draws, 1) where all rows have one."""
        if self.spread is None:
            return np.ones((draws, 1))
        free, variance = self.spread.beside_freedom, self.spread.beside
        if self.spread.pooled:
            return np.asarray(rng.chisquare(free[0], (draws, 1)) / free[0])
        sides = np.abs(self.signs)
        each = rng.chisquare(free, (draws, len(free))) / free * variance
        whole = sides @ variance
        return np.divide(each @ sides.T, whole, where=whole > 0, out=np.ones((draws, len(whole))))
