"""The numbers of an audit, from arrays alone. What is undefined is None, and never NaN.

Notation: r_t is the reward of step t, R the outcome, Phi_t the oracle's potential after step t, d_t = Phi_t - Phi_(t-1)
the progress that step t made, T the number of steps. Numbers that agree in `DECIMALS` decimals are equal: Phi is often
a fraction such as 2/3, and the last bits of its differences would otherwise break ties at random.
Every interval is that of `intervals`, over tasks and, where a method is fitted several times, over its fits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spa_bench.audit.intervals import (
    CLOSE,
    CORRELATION,
    DECIMALS,
    DIFFERENCE,
    SHARE,
    Estimate,
    Measured,
    Resamples,
    finite,
    fisher,
    mean_of,
    ratio,
)
from spa_bench.core import Floats, Trajectory
from spa_bench.stats.ranks import can_be_ranked, midranks


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


# (b) Agreement with the oracle, within trajectory


def kendall(x: Floats, y: Floats) -> float:
    """tau-b = (concordant - discordant) / sqrt(pairs untied in x * pairs untied in y); NaN as for Spearman."""
    if not can_be_ranked(x, y):
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


def sign_agreement(resamples: Resamples, *counts: Floats) -> tuple[Measured, float | None]:
    """Share of signs that agree; and share of the steps with d_t != 0 that have a sign. `counts` (N, 3) of each fit."""
    agree = resamples.estimate(
        lambda sums: ratio(sums[..., 0], sums[..., 1]), *(one[:, :2] for one in counts), span=SHARE
    )
    return agree, mean_of([finite(ratio(one[:, 1].sum(), one[:, 2].sum())) for one in counts])


def rank_moments(rewards: Floats, change: Floats, logprobs: Floats | None) -> Floats:
    """(37,): mean products of the centred ranks of r_t, d_t and what is held fixed, (6, 6) in a row; the last is 1.

    Fixed are the turn, its square, whether it is the last, and the action's log-probability. All zero where Spearman is
    undefined. Ranks are divided by T and products by the number of steps, so that an episode counts the same whatever
    its length, as in the mean of Spearman; without log-probs that row is zero.
    """
    steps = len(rewards)
    if not can_be_ranked(rewards, change):
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


def pooled_spearman(y: Floats, resamples: Resamples, *fits: Floats) -> Measured:
    """Spearman of the rewards (P,) of each fit with y, over points of all trajectories; each resample is ranked anew.

    Nothing is centred within trajectory: with few points in each, the mean would be mostly the point itself.
    """
    weights = _with_all(resamples)
    return resamples.measured(*(_pooled(_weighted_spearman(x, y, weights), len(y)) for x in fits), span=CORRELATION)


def pooled_margin(y: Floats, resamples: Resamples, *pairs: tuple[Floats, Floats]) -> Measured:
    """Pooled Spearman of x (P,) with y minus that of a placebo, (x, placebo) of each fit, over the same draws."""
    weights = _with_all(resamples)
    beyond = (_weighted_spearman(x, y, weights) - _weighted_spearman(placebo, y, weights) for x, placebo in pairs)
    return resamples.measured(*(_pooled(one, len(y)) for one in beyond), span=DIFFERENCE)


def _with_all(resamples: Resamples) -> Floats:
    """How often each point occurs (1 + draws, P): once, and as in each draw of tasks."""
    return np.concatenate([np.ones((1, len(resamples.task))), resamples.weights[:, resamples.task]])


def _pooled(found: Floats, points: int) -> Estimate:
    """Of a figure with all points and in each draw (1 + draws,); it rests on all points or, if undefined, on none."""
    return Estimate(float(found[0]), found[1:], np.full(points, bool(np.isfinite(found[0]))))


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


def margin(resamples: Resamples, *pairs: tuple[Floats, Floats]) -> Measured:
    """Fisher mean of a method's correlations (N,) minus that of a placebo's, (method, placebo) of each fit.

    Over the trajectories where the method's is defined, so that it belongs to the method's own mean. Undefined where
    the placebo's is not defined on all of them, in any fit; `used` are then those where both are.
    """
    both = [np.isfinite(method) & np.isfinite(placebo) for method, placebo in pairs]
    if any(bool((np.isfinite(method) & ~known).any()) for (method, _), known in zip(pairs, both, strict=True)):
        fewest = min(both, key=lambda known: int(known.sum()))
        return Measured(None, None, None, int(fewest.sum()), len(fewest), len(np.unique(resamples.task[fewest])))
    parts = [
        np.concatenate([fisher(np.where(known, one, np.nan)) for one in pair], axis=1)
        for pair, known in zip(pairs, both, strict=True)
    ]
    return resamples.estimate(
        lambda sums: np.tanh(ratio(sums[..., 0], sums[..., 1])) - np.tanh(ratio(sums[..., 2], sums[..., 3])),
        *parts,
        span=DIFFERENCE,
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
