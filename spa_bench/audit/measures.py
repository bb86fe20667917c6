"""The numbers of an audit, from arrays alone. What is undefined is None, and never NaN.

Notation: r_t is the reward of step t, R the outcome, Phi_t the oracle's potential after step t, d_t = Phi_t - Phi_(t-1)
the progress that step t made, T the number of steps. Numbers that agree in `DECIMALS` decimals are equal: Phi is often
a fraction such as 2/3, and the last bits of its differences would otherwise break ties at random.
Every interval is a bootstrap over tasks: episodes of one task are alike, so a task is one observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # type: ignore[import-untyped]

from spa_bench.core import Floats, Trajectory

Statistic = Callable[[Floats], Floats]
"""Sums (..., k) to values (...), NaN where undefined."""

LEVEL = 0.95
DECIMALS = 9
CLOSE = 10.0**-DECIMALS
CLIP = 0.99
"""Correlations are clipped here, because Fisher's z of +-1 is infinite: no mean over z is larger."""


@dataclass(frozen=True)
class Measured:
    """A number with the interval of its bootstrap over tasks."""

    value: float | None
    low: float | None
    """Ends of the 95 % interval; None where there is no spread to estimate: fewer than two tasks, or all equal."""
    high: float | None
    used: int
    """Units (trajectories, or points in them) that the number rests on."""
    of: int
    """Units there were."""
    tasks: int
    """Tasks of those that were used."""


@dataclass(frozen=True)
class Resamples:
    """Tasks drawn with replacement: the same draws for all measures and methods, so that differences are paired."""

    task: NDArray[np.intp]
    """(N,): the task of each unit, which is a trajectory or a point in one."""
    weights: Floats
    """(draws, tasks): how often each task is in each draw."""

    @classmethod
    def draw(cls, tasks: Sequence[str], rng: np.random.Generator, count: int = 2000) -> Resamples:
        """`tasks` names the task of each unit; the draws do not depend on the order of units."""
        names, task = np.unique(np.array(tasks, dtype=np.str_), return_inverse=True)
        if not len(names):
            return cls(task, np.zeros((count, 0)))
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        return cls(task, drawn.astype(np.float64))

    def only(self, units: NDArray[np.bool_] | NDArray[np.intp]) -> Resamples:
        """The same draws for some of the units, or for points in them: a mask (N,), or the unit of each point (P,)."""
        return replace(self, task=self.task[units])

    def estimate(self, parts: Floats, statistic: Statistic) -> Measured:
        """`statistic` of the sums of `parts` (N, k); the last column is 0 for units that are left out."""
        used = parts[:, -1] != 0
        sums = np.zeros((self.weights.shape[1], parts.shape[1]))
        np.add.at(sums, self.task[used], parts[used])
        return self.measured(statistic(sums.sum(0)), statistic(self.weights @ sums), used)

    def mean(self, values: Floats) -> Measured:
        """Mean of `values` (N,), without those that are NaN."""
        return self.estimate(_counted(values), lambda sums: ratio(sums[..., 0], sums[..., 1]))

    def fisher_mean(self, correlations: Floats) -> Measured:
        """tanh(mean(artanh(rho))), |rho| clipped at `CLIP`; (N,), without those that are NaN."""
        return self.estimate(_fisher(correlations), lambda sums: np.tanh(ratio(sums[..., 0], sums[..., 1])))

    def measured(self, value: Floats, replicates: Floats, used: NDArray[np.bool_]) -> Measured:
        """A value that rests on the units `used` (N,), with the interval of its replicates (draws,).

        Expanded percentiles: those at Phi(-sqrt(n / (n - 1)) t_(n-1)) for n tasks, so that the interval of few tasks is
        not too short (Hesterberg 2015, What Teachers Should Know about the Bootstrap).
        """
        n = len(np.unique(self.task[used]))
        low = high = None
        defined = replicates[np.isfinite(replicates)]
        if n > 1 and defined.size:
            tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + LEVEL) / 2, n - 1))
            ends = np.quantile(defined, [tail, 1 - tail])
            if ends[1] - ends[0] > CLOSE:
                low, high = float(ends[0]), float(ends[1])
        return Measured(finite(value), low, high, int(used.sum()), len(used), n)


def finite(value: Floats | float) -> float | None:
    """A number, or None for what is none."""
    return float(value) if math.isfinite(value) else None


def graded(rewards: Floats) -> Floats:
    """Rewards (T,) in units of the largest, or of 1e-6 where all are smaller, rounded."""
    scale = max(float(np.abs(rewards).max(initial=0.0)), 1e-6)
    return np.round(rewards / scale, DECIMALS) + 0.0


def task_name(trajectory: Trajectory) -> str:
    """Unique name of its task in the environment: split and key."""
    return f"{trajectory.task.split}/{trajectory.task.key}"


def progress_made(trajectory: Trajectory) -> Floats:
    """d_t (T,), rounded."""
    potential = [trajectory.start_progress, *(step.progress for step in trajectory.steps)]
    return np.round(np.diff(potential), DECIMALS) + 0.0


def ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """Quotients, NaN where the divisor is 0."""
    bottom = np.asarray(bottom, dtype=np.float64)
    return np.asarray(np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom != 0))


def _counted(values: Floats) -> Floats:
    """(N,) to (N, 2): the value, 0 where it is NaN, and whether it is known."""
    known = np.isfinite(values)
    return np.stack([np.where(known, values, 0.0), known], axis=1)


def _fisher(correlations: Floats) -> Floats:
    return _counted(np.arctanh(np.clip(correlations, -CLIP, CLIP)))


# (b) Agreement with the oracle, within trajectory


def midranks(values: Floats) -> Floats:
    """Ranks from 1 (T,), ties at their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _can_be_ranked(x: Floats, y: Floats) -> bool:
    return len(x) >= 3 and bool(np.ptp(x) > 0 and np.ptp(y) > 0)


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of midranks; NaN where either is constant or T < 3."""
    if not _can_be_ranked(x, y):
        return math.nan
    a, b = midranks(x), midranks(y)
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def kendall(x: Floats, y: Floats) -> float:
    """tau-b = (concordant - discordant) / sqrt(pairs untied in x * pairs untied in y); NaN as for Spearman."""
    if not _can_be_ranked(x, y):
        return math.nan
    a, b = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def average_precision(scores: Floats, critical: NDArray[np.bool_]) -> float:
    """Sum over thresholds of (recall gained) * precision; equal scores share a threshold. NaN without both kinds.

    The area under the precision-recall curve by steps. A constant score reaches the share of critical steps, and one
    without ties that knows nothing more than that: `chance_precision`.
    """
    if critical.all() or not critical.any():
        return math.nan
    _, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place, critical)
    precision = np.cumsum(hits) / np.cumsum(np.bincount(place))
    return float(hits @ precision / hits.sum())


def chance_precision(critical: NDArray[np.bool_]) -> float:
    """Average precision that a random order without ties is expected to reach; NaN without both kinds.

    With K critical steps of T, one at place i is preceded by (i - 1) (K - 1) / (T - 1) others on average: the mean over
    i of (1 + (i - 1) (K - 1) / (T - 1)) / i.
    """
    if critical.all() or not critical.any():
        return math.nan
    place = np.arange(1, len(critical) + 1)
    before = (place - 1) * (critical.sum() - 1) / (len(critical) - 1)
    return float(((1 + before) / place).mean())


def sign_counts(rewards: Floats, change: Floats) -> Floats:
    """(T, 3), 0 or 1 each: r_t has the sign of d_t; r_t has a sign; d_t is not 0.

    The sign of r_t is that of r_t minus the mean reward of the steps with d_t = 0: the reward of a step that changes
    nothing is the method's own zero. So a constant added to every step changes no sign (a baseline would remove it),
    and the oracle's own reward agrees everywhere. The mean of the whole trajectory would not do: where most steps make
    progress, half of them fall below it. Without a step with d_t = 0 there is no zero, and no step has a sign.
    """
    still = change == 0
    zero = rewards[still].mean() if still.any() else rewards
    agree = np.sign(np.round(rewards - zero, DECIMALS - 1)) * np.sign(change)
    return np.stack([agree > 0, agree != 0, ~still], axis=1).astype(np.float64)


def sign_agreement(counts: Floats, resamples: Resamples) -> tuple[Measured, float | None]:
    """Share of signs that agree; and share of the steps with d_t != 0 that have a sign. `counts` is (N, 3)."""
    agree = resamples.estimate(counts[:, :2], lambda sums: ratio(sums[..., 0], sums[..., 1]))
    return agree, finite(ratio(counts[:, 1].sum(), counts[:, 2].sum()))


def rank_moments(rewards: Floats, change: Floats, logprobs: Floats | None) -> Floats:
    """(37,): mean products of the centred ranks of r_t, d_t and what is held fixed, (6, 6) in a row; the last is 1.

    Fixed are the turn, its square, whether it is the last, and the action's log-probability. All zero where Spearman is
    undefined. Ranks are divided by T and products by the number of steps, so that an episode counts the same whatever
    its length, as in the mean of Spearman; without log-probs that row is zero.
    """
    steps = len(rewards)
    if not _can_be_ranked(rewards, change):
        return np.zeros(37)
    turn = np.arange(float(steps))
    told = np.zeros(steps) if logprobs is None else np.round(logprobs, DECIMALS)
    given = (turn, (turn - turn.mean()) ** 2, turn == turn[-1], told)
    ranks = np.stack([midranks(row) for row in (rewards, change, *given)]) / steps
    ranks -= ranks.mean(1, keepdims=True)
    return np.append((ranks @ ranks.T).ravel() / steps, 1.0)


def partial_correlation(sums: Floats) -> Floats:
    """Correlation of the ranks of r_t and d_t given what `rank_moments` holds fixed, from their sums.

    That of the residuals of least squares with an intercept per trajectory, as the Schur complement
    A - B C^+ B^T of the covariates' block. (..., 37) -> (...); NaN where a residual has no variance, as for a reward
    that only rises with the turn, or is all on the last one.
    """
    moments = sums[..., :36].reshape(*sums.shape[:-1], 6, 6)
    both, cross, given = moments[..., :2, :2], moments[..., :2, 2:], moments[..., 2:, 2:]
    left = both - cross @ np.linalg.pinv(given, rcond=CLOSE, hermitian=True) @ np.swapaxes(cross, -1, -2)
    variances = np.stack([left[..., 0, 0], left[..., 1, 1]])
    known = (variances > CLOSE * np.stack([both[..., 0, 0], both[..., 1, 1]])).all(0)
    scale = np.sqrt(np.where(known, variances.prod(0), 0.0))
    return np.clip(ratio(left[..., 0, 1], scale), -1.0, 1.0)


# (c) Agreement with executed effects


def pooled_spearman(x: Floats, y: Floats, resamples: Resamples) -> Measured:
    """Spearman over points (P,) of all trajectories; each resample is ranked anew.

    Nothing is centred within trajectory: with few points in each, the mean would be mostly the point itself.
    """
    value = _weighted_spearman(x, y, np.ones((1, len(x))))[0]
    replicates = _weighted_spearman(x, y, resamples.weights[:, resamples.task])
    return resamples.measured(value, replicates, np.full(len(x), bool(np.isfinite(value))))


def pooled_margin(x: Floats, placebo: Floats, y: Floats, resamples: Resamples) -> Measured:
    """Pooled Spearman of x (P,) with y minus that of a placebo, over the same points and the same draws."""
    weights = np.concatenate([np.ones((1, len(x))), resamples.weights[:, resamples.task]])
    beyond = _weighted_spearman(x, y, weights) - _weighted_spearman(placebo, y, weights)
    return resamples.measured(beyond[0], beyond[1:], np.full(len(x), bool(np.isfinite(beyond[0]))))


def _weighted_spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman of points that occur `weights` (B, P) times -> (B,); NaN where either is constant or P < 3."""
    if len(x) < 3:
        return np.full(len(weights), np.nan)
    a, b = _weighted_midranks(x, weights), _weighted_midranks(y, weights)
    xy, xx, yy = ((weights * one * other).sum(1) for one, other in ((a, b), (a, a), (b, b)))
    known = (xx > CLOSE) & (yy > CLOSE)
    return ratio(xy, np.sqrt(np.where(known, xx * yy, 0.0)))


def _weighted_midranks(values: Floats, weights: Floats) -> Floats:
    """Centred midranks (B, P) of points that occur `weights` times."""
    _, place = np.unique(values, return_inverse=True)
    mass = weights @ (place[:, None] == np.arange(place.max() + 1)).astype(np.float64)
    return np.asarray((np.cumsum(mass, axis=1) - mass / 2)[:, place] - weights.sum(1, keepdims=True) / 2)


# (d) Margin over a placebo


def margin(method: Floats, placebo: Floats, resamples: Resamples) -> Measured:
    """Difference of the Fisher means of two correlations (N,) per trajectory, over those where both are defined."""
    own = _fisher(np.where(np.isfinite(placebo), method, np.nan))
    other = _fisher(np.where(np.isfinite(method), placebo, np.nan))
    return resamples.estimate(
        np.concatenate([own, other], axis=1),
        lambda sums: np.tanh(ratio(sums[..., 0], sums[..., 1])) - np.tanh(ratio(sums[..., 2], sums[..., 3])),
    )


# (e) Degeneracy


def last_turn_share(rewards: Floats) -> float:
    """|r_T| / sum_t |r_t|; NaN where all rewards are 0."""
    size = np.abs(graded(rewards))
    return float(size[-1] / size.sum()) if size.any() else math.nan


def gini(rewards: Floats) -> float:
    """Gini coefficient of |r_t|: 0 where all are equal, (T - 1) / T where one step has all; NaN where all are 0.

    sum_i (2 i - T - 1) |r|_(i) / (T sum_t |r_t|), with |r|_(1) the smallest.
    """
    size = np.sort(np.abs(graded(rewards)))
    place = 2 * np.arange(1, len(size) + 1) - len(size) - 1
    return float(place @ size / (len(size) * size.sum())) if size.any() else math.nan


# (f) Advantages


def signal_to_noise(advantages: Floats, change: Floats) -> float | None:
    """sqrt(variance between / variance within) of advantages (S,) of steps that lower, keep or raise Phi.

    None where all steps are of one class, and where no class has any variance.
    """
    advantages = graded(advantages)
    classes = [advantages[np.sign(change) == sign] for sign in (-1, 0, 1)]
    found = [one for one in classes if one.size]
    between = sum(len(one) * (one.mean() - advantages.mean()) ** 2 for one in found)
    within = sum(((one - one.mean()) ** 2).sum() for one in found)
    return math.sqrt(between / within) if len(found) > 1 and within > CLOSE else None


def cosine(x: Floats, y: Floats) -> float | None:
    """Cosine of two vectors (S,); None where either is zero."""
    x, y = graded(x), graded(y)
    return float(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1.0, 1.0)) if x.any() and y.any() else None
