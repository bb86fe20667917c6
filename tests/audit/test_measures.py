"""The numbers of the audit: by hand, against SciPy and naive versions, by what must not change them, by simulation."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import groups, max_examples

from spa_bench.audit import equivalence, measures
from spa_bench.audit.assess import audit_method, power_check
from spa_bench.audit.effects import Effect
from spa_bench.audit.intervals import CLIP, Measured, Resamples
from spa_bench.audit.summary import OUTCOMES, MethodAudit
from spa_bench.core import Step, Task, Tokens, Trajectory
from spa_bench.stats import ranks

pytestmark = pytest.mark.filterwarnings("error")

LIMITS = (5, 10)
SMALL = st.lists(st.integers(-3, 3), min_size=3, max_size=12).map(lambda xs: np.array(xs, dtype=float))
PAIRS = st.integers(3, 12).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(-3, 3), min_size=size, max_size=size) for _ in "xy"])
)


def arr(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def recorded(
    progress: Sequence[float],
    outcome: float = 0.0,
    key: str = "a",
    expert_steps: int = 3,
    truncated: bool = True,
    logprobs: Sequence[float] | None = None,
) -> Trajectory:
    """An episode whose potential is `progress` after its steps, and 0 before."""
    told = [None] * len(progress) if logprobs is None else [Tokens((1,), (2, 3), (p - 1, 1.0)) for p in logprobs]
    steps = tuple(
        Step(f"o{t}", "r", "go", True, None, 0.0, p, tokens)
        for t, (p, tokens) in enumerate(zip(progress, told, strict=True))
    )
    return Trajectory(
        Task("w", key, "train", "k", expert_steps), steps, outcome, outcome == 1, not truncated, truncated
    )


def random_recording(rng: np.random.Generator, episodes: int = 30, tasks: int = 10) -> list[Trajectory]:
    made = []
    for n in range(episodes):
        progress = np.clip(np.cumsum(rng.choice([-1, 0, 0, 1, 1], size=rng.integers(3, 15))), 0, 6) / 6
        key = n % tasks
        told = rng.normal(size=len(progress)) if n % 3 else None
        made.append(
            recorded(
                progress.tolist(), float(rng.integers(2)), f"t{key}", 3 + 2 * (key % 5), bool(rng.integers(2)), told
            )
        )
    return made


def noise(rng: np.random.Generator, trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
    return [rng.normal(size=len(one)) for one in trajectories]


def one_task_each(count: int, draws: int = 2000) -> Resamples:
    return Resamples.draw([f"{n:04}" for n in range(count)], np.random.default_rng(0), draws)


def audit(trajectories: Sequence[Trajectory], rewards: Sequence[np.ndarray], **more: Any) -> MethodAudit:
    """Of a method that is not fitted: everything is given once."""
    options = {"limits": LIMITS, "seed": 0} | more
    options["placebos"] = {name: [paid] for name, paid in options.get("placebos", {}).items()}
    return audit_method("m", trajectories, [rewards], [options.pop("advantages", rewards)], **options)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers(one)]
    if isinstance(value, list | tuple):
        return [number for one in value for number in numbers(one)]
    return [value] if isinstance(value, int | float) else []


# (a) Return equivalence


def test_return_gap_by_hand():
    trajectories = [
        recorded([0, 0], 1.0, truncated=False),
        recorded([0] * 4, 0.0),
        recorded([0] * 3, 0.0),
        recorded([0], 0.5, key="b"),
    ]
    rewards = [arr(1, 1), arr(0.5, 0.5, 0.5, 0.5), arr(1, 1, 1), arr(0.25)]
    found = equivalence.return_gap(trajectories, rewards)  # gaps 1, 2, 3, -0.25
    assert (found.mean, found.largest) == (pytest.approx(6.25 / 4), 3.0)
    assert (found.mean_beyond_task, found.largest_beyond_task) == (pytest.approx(2 / 3), pytest.approx(1.0))
    assert found.slope == pytest.approx(0.5)  # lengths -1, 1, 0 and gaps -1, 0, 1 about their means
    assert (found.inversions, found.ties, found.pairs) == (0.5, 0.5, 2)
    assert found.timeout == pytest.approx((2 + 3) / 2 - 1)
    # One: 1 and 0.95, less 0.95. Two: half of 1, 0.95, 0.9025 and 0.857375. Three: 1, 0.95 and 0.9025. Four: a quarter.
    assert found.discounted == pytest.approx((1 + 1.8549375 + 2.8525 + 0.25) / 4)


def test_a_constant_of_the_task_is_no_gap_beyond_it_and_no_timeout_bonus():
    trajectories = [
        *(recorded([0] * n, float(n == 2), "a", truncated=n != 2) for n in (2, 3, 4)),
        *(recorded([0] * n, float(n < 8), "b", truncated=n == 9) for n in (7, 8, 9)),
    ]
    rewards = [np.full(len(one), (one.outcome + (5 if one.task.key == "a" else -3)) / len(one)) for one in trajectories]
    found = equivalence.return_gap(trajectories, rewards)
    assert found.mean == pytest.approx(4)
    assert found.largest_beyond_task == pytest.approx(0, abs=1e-12)
    assert (found.slope, found.timeout) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert (found.inversions, found.ties) == (0, 0)


def test_an_episode_alone_in_its_task_says_nothing_about_the_constant():
    found = equivalence.return_gap([recorded([0], 1.0, "a"), recorded([0], 1.0, "b")], [arr(5), arr(9)])
    assert (found.mean, found.mean_beyond_task, found.slope, found.inversions) == (6.0, None, None, None)


def test_an_episode_cut_off_is_neither_timeout_nor_end():
    cut = replace(recorded([0], 0.0), truncated=False)
    trajectories = [cut, recorded([0], 0.0), recorded([0], 0.0, truncated=False)]
    assert equivalence.return_gap(trajectories, [arr(100), arr(3), arr(1)]).timeout == pytest.approx(2)


def test_tasks_of_two_splits_are_two_tasks():
    first, second = recorded([0], 1.0), recorded([0], 0.0)
    other = replace(second, task=replace(second.task, split="valid_seen"))
    assert equivalence.return_gap([first, second], [arr(0), arr(1)]).inversions == 1.0
    assert equivalence.return_gap([first, other], [arr(0), arr(1)]).pairs == 0


@max_examples(40)
@given(groups(), st.randoms())
def test_whoever_pays_the_outcome_in_any_split_conserves_the_return(found, random):
    trajectories = [one for group in found for one in group if one.steps]
    rewards = []
    for one in trajectories:
        parts = [random.uniform(-1, 1) for _ in one.steps[1:]]
        rewards.append(arr(*parts, one.outcome - sum(parts)))
    gap = equivalence.return_gap(trajectories, rewards)
    assert gap.mean is None or gap.largest < 1e-12
    assert gap.inversions in (None, 0.0) and gap.ties in (None, 0.0)
    assert gap.timeout is None or abs(gap.timeout) < 1e-12


# (b) Ranks


@given(PAIRS)
def test_rank_correlations_are_those_of_scipy(pair):
    x, y = (np.array(one, dtype=float) for one in pair)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(ranks.spearman(x, y)) and math.isnan(measures.kendall(x, y))
    else:
        assert ranks.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
        assert measures.kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


@pytest.mark.parametrize("measure", [ranks.spearman, measures.kendall])
def test_two_steps_have_no_rank_correlation(measure: Callable[..., float]):
    assert math.isnan(measure(arr(1, 2), arr(1, 2)))


def test_rank_correlations_by_hand():
    x, y = arr(1, 2, 3, 4), arr(0, 1, 1, 0)
    # Ranks 1.5, 3.5, 3.5, 1.5: symmetric. Without the last: 1, 2.5, 2.5 with 1, 2, 3.
    assert (ranks.spearman(x, y), measures.kendall(x, y)) == (pytest.approx(0), pytest.approx(0))
    assert ranks.spearman(x[:3], y[:3]) == pytest.approx(1.5 / math.sqrt(2 * 1.5))
    assert measures.kendall(x[:3], y[:3]) == pytest.approx(2 / math.sqrt(3 * 2))


@given(SMALL, st.sampled_from([lambda x: x**3, lambda x: np.exp(x) - 7, lambda x: 100 * x + 3]))
def test_a_monotone_map_of_the_reward_changes_no_rank(x, bend):
    y = np.arange(len(x)) % 3.0
    before, after = measures.graded(x), measures.graded(bend(x))
    assert ranks.spearman(before, y) == pytest.approx(ranks.spearman(after, y), nan_ok=True)
    assert measures.kendall(before, y) == pytest.approx(measures.kendall(after, y), nan_ok=True)
    assert measures.average_precision(before, y > 1) == measures.average_precision(after, y > 1)


def test_thirds_of_progress_are_equal_steps():
    assert len(set(np.diff([0, 1 / 3, 2 / 3, 1.0]))) > 1
    assert len(set(measures.progress_made(recorded([1 / 3, 2 / 3, 1.0])))) == 1


def test_progress_begins_where_the_episode_began():
    assert measures.progress_made(replace(recorded([0.5, 0.25]), start_progress=0.5)).tolist() == [0, -0.25]


def test_rewards_are_equal_to_nine_digits_of_the_largest():
    assert len(set(measures.graded(arr(0.3, 0.1 + 0.2)))) == 1
    assert measures.graded(arr(1e-17, -1e-17, 0)).tolist() == [0, 0, 0]
    assert len(set(measures.graded(1e-7 * arr(1, 2, 3)))) == 3


def test_the_mean_over_trajectories_is_fishers():
    found = one_task_each(4).fisher_mean(arr(0, 0.8, math.nan, math.nan))
    assert (found.value, found.used, found.of, found.tasks) == (
        pytest.approx(0.5),
        2,
        4,
        2,
    )  # artanh 0.8 = 2 artanh 0.5
    assert one_task_each(2).fisher_mean(arr(0.5, -0.5)).value == pytest.approx(0)
    assert one_task_each(2).fisher_mean(arr(1, 1)).value == pytest.approx(CLIP)


# (b) Critical steps


def naive_precision(scores: np.ndarray, critical: np.ndarray) -> float:
    """Every threshold from the highest score down, as the definition says."""
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [bool(c) for s, c in zip(scores, critical, strict=True) if s >= threshold]
        now = sum(chosen) / critical.sum()
        area += (now - recall) * sum(chosen) / len(chosen)
        recall = now
    return area


def test_average_precision_by_hand():
    # At 3: half of the critical steps, precision 1/2. At 1: the other half, precision 2/3. In any order of the ties.
    for critical in ([True, False, True], [False, True, True]):
        assert measures.average_precision(arr(3, 3, 1), np.array(critical)) == pytest.approx(0.25 + 1 / 3)
    assert measures.average_precision(arr(1, 1, 1, 1), np.array([True, False, False, False])) == 0.25
    assert measures.average_precision(arr(0, 9), np.array([False, True])) == 1.0


@given(SMALL, st.data())
def test_average_precision_is_the_sum_over_thresholds(scores, data):
    critical = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    found = measures.average_precision(scores, critical)
    if critical.all() or not critical.any():
        assert math.isnan(found)
    else:
        assert found == pytest.approx(naive_precision(scores, critical))
        assert 0 < found <= 1


# (b) Signs


def test_signs_by_hand():
    # The two steps that change nothing are paid 1.5 on average.
    counts = measures.sign_counts(arr(3, 1, 2, 2, 1.5), arr(0.5, 0, 0, -0.5, 0.5))
    assert counts.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0], [0, 1, 1], [0, 0, 1]]
    agree, signed = measures.sign_agreement(one_task_each(5), counts)
    assert (agree.value, agree.used, signed) == (0.5, 2, pytest.approx(2 / 3))


def test_without_a_step_that_changes_nothing_no_step_has_a_sign():
    assert measures.sign_counts(arr(1, 2), arr(0.5, -0.5)).sum(0).tolist() == [0, 0, 2]


@given(PAIRS, st.integers(-5, 5))
def test_a_constant_added_to_each_step_changes_no_sign(pair, constant):
    rewards, change = (np.array(one, dtype=float) for one in pair)
    assert np.array_equal(measures.sign_counts(rewards, change), measures.sign_counts(rewards + constant, change))


@given(SMALL)
def test_the_oracles_own_reward_agrees_wherever_it_has_a_sign(change):
    agree, signed, moves = measures.sign_counts(change, change).sum(0)
    assert agree == signed and signed in (0, moves)


@pytest.mark.parametrize(("steps", "critical"), [(2, 1), (5, 1), (5, 2), (6, 5), (7, 3)])
def test_a_random_order_reaches_what_all_orders_reach_on_average(steps, critical):
    mask = np.arange(steps) < critical
    all_orders = [
        measures.average_precision(np.array(order, dtype=float), mask) for order in permutations(range(steps))
    ]
    assert measures.chance_precision(mask) == pytest.approx(np.mean(all_orders))
    assert measures.chance_precision(mask) > critical / steps


def test_of_one_kind_of_step_there_is_no_chance():
    assert math.isnan(measures.chance_precision(np.ones(3, dtype=bool)))
    assert math.isnan(measures.chance_precision(np.zeros(3, dtype=bool)))


# (b) Partial correlation


def naive_partial(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Residuals of weighted least squares with a dummy for each trajectory, each of weight 1, and their correlation."""
    table, dummies = [], []
    for place, (rewards, change, told) in enumerate(rows):
        size = len(rewards)
        turn = np.arange(size)
        given = (turn, (turn - (size - 1) / 2) ** 2, turn == size - 1, told)
        ranks = [stats.rankdata(one) / size for one in (rewards, change, *given)]
        table.append(np.stack(ranks, axis=1) / math.sqrt(size))
        dummies.append(np.eye(len(rows))[np.full(size, place)] / math.sqrt(size))
    data, design = np.concatenate(table), np.concatenate(dummies)
    given_these = np.concatenate([data[:, 2:], design], axis=1)
    one, other = (y - given_these @ np.linalg.lstsq(given_these, y, rcond=None)[0] for y in data[:, :2].T)
    return float(one @ other / math.sqrt((one @ one) * (other @ other)))


def test_the_partial_correlation_is_that_of_residuals():
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(12):
        size = int(rng.integers(4, 12))
        told = rng.normal(size=size)
        change = np.round(0.3 * np.arange(size) + told + rng.normal(size=size))
        rows.append((change + told + rng.normal(size=size), change, told))
    moments = np.array([measures.rank_moments(*row) for row in rows])
    assert float(measures.partial_correlation(moments.sum(0))) == pytest.approx(naive_partial(rows))
    # The bootstrap solves each draw at once; one draw alone must be the same number.
    twice = np.stack([moments.sum(0), moments[:5].sum(0)])
    assert measures.partial_correlation(twice)[1] == pytest.approx(naive_partial(rows[:5]))


def test_agreement_that_comes_from_the_turn_alone_is_gone():
    rng = np.random.default_rng(1)
    rows = [(np.arange(9) + rng.normal(size=9), np.arange(9) + rng.normal(size=9)) for _ in range(200)]
    assert np.mean([ranks.spearman(*row) for row in rows]) > 0.6
    sums = np.sum([measures.rank_moments(*row, None) for row in rows], axis=0)
    assert abs(float(measures.partial_correlation(sums))) < 0.1


@pytest.mark.parametrize("clock", ["hump", "last"])
def test_agreement_that_comes_from_any_simple_clock_is_gone(clock):
    """Progress that is usual in the middle, or at the end; the clock that knows it is no credit."""
    rng = np.random.default_rng(1)
    turn = np.arange(9)
    usual = -np.abs(turn - 4.0) if clock == "hump" else 4.0 * (turn == 8)
    rows = [(usual + 0.01 * rng.normal(size=9), usual + rng.normal(size=9)) for _ in range(200)]
    assert np.mean([ranks.spearman(*row) for row in rows]) > 0.3
    sums = np.sum([measures.rank_moments(*row, None) for row in rows], axis=0)
    assert abs(float(measures.partial_correlation(sums))) < 0.1


def test_an_episode_weighs_the_same_in_the_partial_correlation_however_long_it_is():
    """Good credit in the short episodes alone, and in the long ones alone: about as much in the mean."""
    rng = np.random.default_rng(2)
    found = []
    for good in (5, 20):
        sums = np.zeros(37)
        for size in (5, 20) * 300:
            change = rng.normal(size=size)
            paid = change if size == good else rng.normal(size=size)
            sums += measures.rank_moments(paid, change, None)
        found.append(float(measures.partial_correlation(sums)))
    assert found[0] == pytest.approx(0.5, abs=0.15) and found[1] == pytest.approx(0.5, abs=0.15)


def test_agreement_that_comes_from_the_log_probability_alone_is_gone():
    rng = np.random.default_rng(1)
    told = rng.normal(size=(200, 9))
    rows = [(one + 0.5 * rng.normal(size=9), one + 0.5 * rng.normal(size=9), one) for one in told]
    with_it = np.sum([measures.rank_moments(*row) for row in rows], axis=0)
    without = np.sum([measures.rank_moments(*row[:2], None) for row in rows], axis=0)
    assert float(measures.partial_correlation(without)) > 0.7
    assert abs(float(measures.partial_correlation(with_it))) < 0.2  # ranks are not quite linear in each other


def test_a_reward_that_only_rises_with_the_turn_has_no_partial_correlation():
    for paid in (np.arange(6.0), arr(0, 0, 0, 0, 0, 1)):
        sums = measures.rank_moments(paid, arr(0, 1, 0, 1, 1, 0), None)
        assert math.isnan(measures.partial_correlation(sums))


def test_the_log_probability_of_an_action_is_the_sum_over_its_tokens():
    rng = np.random.default_rng(5)
    told, progress = rng.normal(size=(40, 8)), np.cumsum(rng.choice([0.0, 0.01, 0.02], size=(40, 8)), axis=1)
    trajectories = [
        recorded(p.tolist(), key=str(n), logprobs=q) for n, (p, q) in enumerate(zip(progress, told, strict=True))
    ]
    found = audit(trajectories, list(told)).agreement
    assert found.partial.value is None and found.spearman.value is not None  # the reward is the log-probability
    assert found.with_logprobs == 40
    first = trajectories[0]
    silent = replace(first, steps=(replace(first.steps[0], tokens=None), *first.steps[1:]))
    assert audit([silent, *trajectories[1:]], list(told)).agreement.with_logprobs == 39


# The bootstrap


def naive_interval(resamples: Resamples, statistic: Callable[[list[int]], float]) -> tuple[float, float]:
    """Each draw written out: the units of a task are repeated as often as it was drawn."""
    replicates = []
    for draw in resamples.weights:
        units = [unit for unit, task in enumerate(resamples.task) for _ in range(int(draw[task]))]
        replicates.append(statistic(units))
    known = [one for one in replicates if math.isfinite(one)]
    n = resamples.weights.shape[1]
    tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def bounds(found: Measured) -> Any:
    return pytest.approx((found.low, found.high))


def test_intervals_are_those_of_draws_written_out():
    rng = np.random.default_rng(2)
    tasks = [f"t{n % 8}" for n in range(20)]
    resamples = Resamples.draw(tasks, rng, 200)
    x, y = rng.integers(4, size=20).astype(float), rng.integers(4, size=20).astype(float)
    rho = np.where(np.arange(20) % 5 == 0, math.nan, rng.uniform(-1, 1, 20))

    def fisher(units: list[int]) -> float:
        return math.tanh(np.nanmean(np.arctanh(np.clip(rho[units], -CLIP, CLIP))))

    def pooled(units: list[int]) -> float:
        return float(stats.spearmanr(x[units], y[units]).statistic)

    assert naive_interval(resamples, lambda units: float(x[units].mean())) == bounds(resamples.mean(x))
    assert naive_interval(resamples, fisher) == bounds(resamples.fisher_mean(rho))
    found = measures.pooled_spearman(y, resamples, x)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert naive_interval(resamples, pooled) == bounds(found)


def test_draws_do_not_depend_on_the_order_of_trajectories():
    tasks, values = ["b", "a", "b", "c"], arr(1, 2, 3, 4)
    turned = [3, 1, 0, 2]
    first = Resamples.draw(tasks, np.random.default_rng(4)).mean(values)
    second = Resamples.draw([tasks[i] for i in turned], np.random.default_rng(4)).mean(values[turned])
    assert first == second


def test_nothing_to_spread_no_interval():
    assert Resamples.draw(["a", "a"], np.random.default_rng(0)).mean(arr(1, 2)) == Measured(1.5, None, None, 2, 2, 1)
    assert one_task_each(3).mean(arr(0.1, 0.1, 0.1)).low is None
    assert one_task_each(3).mean(arr(math.nan, math.nan, math.nan)) == Measured(None, None, None, 0, 3, 0)


def simulated_coverage(tasks: int, runs: int = 400) -> float:
    """Values of trajectories that share most of their spread with the others of their task."""
    rng = np.random.default_rng(7)
    keys = [f"{n % tasks:03}" for n in range(5 * tasks)]
    covered = 0
    for _ in range(runs):
        shared = rng.normal(size=tasks)
        values = np.array([shared[int(key)] for key in keys]) + 0.3 * rng.normal(size=len(keys)) + 2
        found = Resamples.draw(keys, rng, 600).mean(values)
        covered += found.low <= 2 <= found.high
    return covered / runs


@pytest.mark.parametrize(("tasks", "share"), [(6, 0.92), (40, 0.95)])
def test_the_interval_covers_the_truth_as_often_as_it_says(tasks: int, share: float):
    """Resampling trajectories would cover 56 and 64 %, plain percentiles 85 % of the time with six tasks."""
    assert simulated_coverage(tasks) == pytest.approx(share, abs=0.03)


def test_the_interval_of_a_random_reward_covers_no_correlation_as_often_as_it_says():
    rng = np.random.default_rng(11)
    trajectories = random_recording(rng, episodes=40, tasks=20)
    changes = [measures.progress_made(one) for one in trajectories]
    covered = []
    for _ in range(300):
        rho = [ranks.spearman(x, d) for x, d in zip(noise(rng, trajectories), changes, strict=True)]
        found = Resamples.draw([one.task.key for one in trajectories], rng, 500).fisher_mean(np.array(rho))
        covered.append(found.low <= 0 <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_two_thousand_draws_of_two_hundred_trajectories_are_quick():
    rng = np.random.default_rng(0)
    moments = np.array([measures.rank_moments(rng.normal(size=9), rng.normal(size=9), None) for _ in range(200)])
    start = time.process_time()
    resamples = one_task_each(200)
    resamples.fisher_mean(rng.uniform(-1, 1, 200))
    resamples.estimate(measures.partial_correlation, moments, span=(-1, 1))
    measures.pooled_spearman(rng.normal(size=200), resamples, rng.normal(size=200))
    assert time.process_time() - start < 2


# (c) to (f)


def test_effects_are_compared_across_trajectories_in_the_rewards_own_unit():
    trajectories = [recorded([0, 0], key=str(n)) for n in range(6)]
    rewards = [arr(n - 2, 50) for n in range(6)]  # in units of each episode's largest all of the first would be small
    points = [Effect(n, 0, effect, 1) for n, effect in enumerate([-0.5, 0, 0, 0, 0.5, 1])]
    found = audit(trajectories, rewards, effects=points).effects
    assert found is not None
    assert found.spearman.value == pytest.approx(stats.spearmanr(range(6), [-0.5, 0, 0, 0, 0.5, 1]).statistic)
    assert (found.sign.value, found.signed, found.points) == (1.0, 1.0, 6)
    assert (found.spearman.used, found.spearman.of) == (6, 6)


def test_steps_without_an_alternative_are_counted():
    trajectories = [recorded([0, 0], key=str(n)) for n in range(4)]
    points = [Effect(n, 0, effect, n) for n, effect in enumerate([0, 1, 0.5, -1])]
    found = audit(trajectories, [arr(n, 0) for n in (5, 9, 7, 1)], effects=points).effects
    assert found is not None and found.without_alternative == 0.25
    assert found.spearman.value == pytest.approx(stats.spearmanr([5, 9, 7, 1], [0, 1, 0.5, -1]).statistic)


def test_the_power_check_is_the_score_of_the_oracles_progress():
    """Progress of 0 to 5 twelfths in the first step, and effects that go with it, against it, or by chance."""
    rng = np.random.default_rng(0)
    trajectories = [recorded([n % 6 / 12, 0.5], key=str(n)) for n in range(36)]
    made = [n % 6 / 12 for n in range(36)]
    for effect, passed in ((made, True), (np.negative(made), False), (rng.normal(size=36), False)):
        points = [Effect(n, 0, float(x), n % 2) for n, x in enumerate(effect)]
        found = power_check(trajectories, points, 0)
        same = audit(trajectories, [measures.progress_made(one) for one in trajectories], effects=points).effects
        assert same is not None and found.oracle == same.spearman
        assert found.oracle.value == pytest.approx(stats.spearmanr(made, effect).statistic)
        assert (found.points, found.without_alternative, found.passed) == (36, 0.5, passed)
        assert found.margin is None and not found.margin_passed
    assert not power_check(trajectories, [Effect(0, 0, 1.0, 1)], 0).passed
    points = [Effect(n, 0, x, 1) for n, x in enumerate(made)]
    for sign, told in ((1, False), (0, True)):
        placebo = [arr(sign * x if sign else rng.normal(), 0) for x in made]
        beyond = power_check(trajectories, points, 0, {"p": [placebo]})
        assert beyond.passed and beyond.margin is not None and beyond.margin.placebo == "p"
        assert beyond.margin_passed == told
    few = [recorded([n / 12, 0.5], key=str(n % 4)) for n in range(6)]
    assert not power_check(few, [Effect(n, 0, n / 12, 1) for n in range(6)], 0).passed, "four tasks are too few"


def test_an_effect_is_measured_against_what_a_placebo_reaches_on_the_same_points():
    """Outcomes alone go with effects: an episode's add up to what it reached beyond what was expected."""
    rng = np.random.default_rng(0)
    trajectories = [recorded([0, 0], key=str(n)) for n in range(60)]
    effect, noise_ = rng.normal(size=60), rng.normal(size=60)
    points = [Effect(n, 0, float(x), 1) for n, x in enumerate(effect)]
    good, fair = ([arr(x, 0) for x in effect + s * noise_] for s in (0.3, 2.0))
    found = audit(trajectories, good, effects=points, placebos={"fair": fair, "m": good}).effects
    assert found is not None and [one.placebo for one in found.margins] == ["fair"]
    margin = found.best_placebo.spearman
    alone = audit(trajectories, fair, effects=points).effects.spearman.value
    assert margin.value == pytest.approx(found.spearman.value - alone)
    assert 0 < margin.low < margin.value < margin.high and (margin.used, margin.tasks) == (60, 60)


def test_a_margin_of_few_tasks_is_not_shown():
    rng = np.random.default_rng(3)
    for tasks, shown in ((4, False), (5, True)):
        trajectories = [recorded([0, 0.5, 0.5, 1], key=str(n % tasks)) for n in range(20)]
        found = audit(trajectories, noise(rng, trajectories), placebos={"p": noise(rng, trajectories)})
        assert found.margins[0].spearman.value is not None
        assert (found.best_placebo is not None) == shown


def test_effects_name_trajectories_by_their_place_among_all():
    broken = replace(recorded([0, 0]), error="lost")
    trajectories = [broken, *(recorded([0, 0], key=str(n)) for n in range(4))]
    rewards = [arr(9, 9), *(arr(0, n) for n in range(4))]
    points = [Effect(n, 1, float(n), 1) for n in range(5)]
    found = audit(trajectories, rewards, effects=points).effects
    assert found is not None and found.points == 4
    assert found.spearman.value == pytest.approx(1)


def test_without_points_there_is_no_effect_and_without_variance_no_correlation():
    trajectories = [recorded([0, 0.5, 0.5], key=str(n)) for n in range(4)]
    rewards = [np.ones(3)] * 4
    assert audit(trajectories, rewards).effects is None
    found = audit(trajectories, rewards, effects=[Effect(n, 0, 0.1 * n, 1) for n in range(4)]).effects
    assert found is not None and (found.spearman.value, found.spearman.used, found.sign.value) == (None, 0, None)


def test_a_margin_is_taken_on_the_trajectories_of_the_methods_own_mean():
    nan = math.nan
    found = measures.margin(one_task_each(3), (arr(0.8, nan, 0.9), arr(0, 0.5, 0.9)))
    assert (found.used, found.of) == (2, 3)
    both = math.tanh((math.atanh(0.8) + math.atanh(0.9)) / 2)
    assert found.value == pytest.approx(both - math.tanh(math.atanh(0.9) / 2))
    # The placebo is undefined in the third: no margin, and the number of trajectories where both are defined.
    assert measures.margin(one_task_each(3), (arr(0.8, nan, 0.9), arr(0, 0.5, nan))) == Measured(
        None, None, None, 1, 3, 1
    )
    rho = np.random.default_rng(0).uniform(-0.9, 0.9, 30)
    equal = measures.margin(one_task_each(30), (rho, rho))
    assert (equal.value, equal.low) == (0, None)
    # Paired: both vary much more between trajectories than their difference does.
    close = measures.margin(one_task_each(30), (np.clip(rho + 0.05, -0.95, 0.95), rho))
    assert 0 < close.low < close.value < close.high < 0.15


def test_the_best_placebo_is_one_that_is_defined_wherever_the_method_is():
    """`part` knows nothing of failures: over it there is a margin on successes alone."""
    rng = np.random.default_rng(1)
    trajectories = [
        recorded(np.cumsum(rng.random(6)).tolist(), float(n % 3 == 0), f"t{n}", truncated=n % 3 > 0) for n in range(30)
    ]
    clock = [np.arange(6.0) + rng.normal(size=6) for _ in trajectories]
    part = [noise_ * one.outcome for one, noise_ in zip(trajectories, noise(rng, trajectories), strict=True)]
    found = audit(trajectories, noise(rng, trajectories), placebos={"clock": clock, "part": part})
    assert [(one.placebo, one.spearman.used) for one in found.margins] == [("clock", 30), ("part", 10)]
    assert found.margins[1].spearman.value is None and found.best_placebo.placebo == "clock"
    assert found.best_placebo.spearman.used == found.agreement.spearman.used == 30
    own = {name: [(one.placebo, one.spearman.used) for one in found.margins_by_outcome[name]] for name in OUTCOMES}
    assert own == {"success": [("clock", 10), ("part", 10)], "failure": [("clock", 20), ("part", 0)]}
    assert all(one.spearman.value is not None for one in found.margins_by_outcome["success"])
    assert found.best_placebo_on("failure").placebo == "clock"
    earlier = replace(found.margins[1], spearman=replace(found.margins[0].spearman, value=-9.0, used=10))
    assert replace(found, margins=(found.margins[0], earlier)).best_placebo.placebo == "clock"
    assert replace(found, by_outcome={}).best_placebo_on("success") is None


def test_where_rewards_go_by_hand():
    assert measures.gini(arr(0, 0, -2)) == pytest.approx(2 / 3)
    assert measures.gini(arr(1, 1, -1)) == pytest.approx(0)
    assert measures.gini(arr(3, 1)) == pytest.approx(0.25)  # (-1 * 1 + 1 * 3) / (2 * 4)
    assert measures.last_turn_share(arr(1, -2, -1)) == 0.25
    assert math.isnan(measures.gini(arr(0, 0))) and math.isnan(measures.last_turn_share(arr(0, 0)))


@given(SMALL)
def test_the_gini_coefficient_is_the_mean_difference(rewards):
    size = np.abs(rewards)
    if size.any():
        difference = np.abs(size[:, None] - size).mean() / (2 * size.mean())
        assert measures.gini(rewards) == pytest.approx(difference)
        assert 0 <= difference <= (len(size) - 1) / len(size) + 1e-12


def test_signal_to_noise_by_hand():
    change = arr(-0.5, 0, 0, 0.2)
    # Class means 0, 2, 4 about 2: 4 + 2 * 0 + 4 between; 1 + 1 within.
    assert measures.signal_to_noise(arr(0, 1, 3, 4), change) == pytest.approx(2.0)
    assert measures.signal_to_noise(10 * arr(0, 1, 3, 4) - 70, change) == pytest.approx(2.0)
    assert measures.signal_to_noise(arr(0, 1, 3, 4), arr(1, 1, 1, 1)) is None
    assert measures.signal_to_noise(arr(0, 2, 2, 4), change) is None


def test_cosine_by_hand():
    assert measures.cosine(arr(1, 0), arr(5, 5)) == pytest.approx(math.sqrt(0.5))
    assert measures.cosine(arr(1, -2), arr(-3, 6)) == pytest.approx(-1)
    assert measures.cosine(arr(0, 0), arr(1, 1)) is None


# A whole method


def test_potential_agrees_with_the_oracle_and_noise_does_not():
    rng = np.random.default_rng(9)
    trajectories = random_recording(rng, 80, 20)
    oracle, random = [measures.progress_made(one) for one in trajectories], noise(rng, trajectories)
    best = audit(trajectories, oracle, reference=oracle, placebos={"random": random, "m": oracle})
    assert best.agreement.spearman.value == pytest.approx(CLIP)
    assert best.agreement.kendall.value == pytest.approx(1)
    assert (best.agreement.sign.value, best.agreement.auprc.value) == (pytest.approx(1), pytest.approx(1))
    assert best.agreement.partial.value == pytest.approx(1)
    assert best.cosine == pytest.approx(1)
    assert [one.placebo for one in best.margins] == ["random"] and best.best_placebo.spearman.low > 0.7
    worst = audit(trajectories, random).agreement
    for figure in (worst.spearman, worst.kendall, worst.partial):
        assert figure.low < 0 < figure.high
    assert worst.auprc.low < worst.chance < worst.auprc.high


def test_a_constant_reward_reaches_the_share_of_critical_steps_and_nothing_else():
    trajectories = random_recording(np.random.default_rng(9))
    found = audit(trajectories, [np.full(len(one), 1 / len(one)) for one in trajectories])
    shares = [float((measures.progress_made(one) > 0).mean()) for one in trajectories]
    known = [share for share in shares if 0 < share < 1]
    assert found.agreement.auprc.value == pytest.approx(np.mean(known))
    assert found.agreement.auprc.value < found.agreement.chance
    assert found.agreement.spearman == Measured(None, None, None, 0, 30, 0)
    assert (found.agreement.sign.value, found.agreement.signed, found.gini.value) == (None, 0.0, pytest.approx(0))


def test_successes_and_failures_are_measured_apart():
    """A method that pays for progress where it failed and against it where it succeeded looks like chance overall."""
    rng = np.random.default_rng(11)
    trajectories = random_recording(rng, 60, 20)
    rewards = [
        measures.progress_made(one) * (-1 if one.success else 1) + 0.2 * rng.normal(size=len(one))
        for one in trajectories
    ]
    found = audit(trajectories, rewards)
    assert found.by_outcome["success"].spearman.high < -0.2 and found.by_outcome["failure"].spearman.low > 0.2
    assert abs(found.agreement.spearman.value) < 0.3
    for name in OUTCOMES:
        own = [i for i, one in enumerate(trajectories) if one.success == (name == "success")]
        part = audit([trajectories[i] for i in own], [rewards[i] for i in own]).agreement
        for figure in ("spearman", "kendall", "sign", "auprc", "partial"):
            assert getattr(found.by_outcome[name], figure).value == pytest.approx(getattr(part, figure).value), figure
        assert found.by_outcome[name].spearman.of == len(own)


def test_each_length_is_measured_on_its_own_trajectories():
    rng = np.random.default_rng(10)
    trajectories = random_recording(rng)
    rewards = noise(rng, trajectories)
    whole = audit(trajectories, rewards)
    bounds = {"short": (0, 5), "medium": (6, 10), "long": (11, 99)}
    for name, (low, high) in bounds.items():
        own = [i for i, one in enumerate(trajectories) if low <= one.task.expert_steps <= high]
        part = audit([trajectories[i] for i in own], [rewards[i] for i in own]).agreement
        found = whole.by_length[name]
        assert 0 < len(own) == found.spearman.of
        for figure in ("spearman", "kendall", "sign", "auprc", "partial"):
            assert getattr(found, figure).value == pytest.approx(getattr(part, figure).value), figure
        assert (found.chance, found.signed) == (part.chance, part.signed)
        assert found.spearman.tasks == part.spearman.tasks


def test_figures_of_several_fits_are_the_means_of_those_of_each():
    rng = np.random.default_rng(14)
    trajectories = random_recording(rng)
    points = [Effect(i, 1, float(rng.integers(-1, 2)), 1) for i in range(20)]
    fits, placebo = ([noise(rng, trajectories) for _ in range(3)] for _ in "mp")
    more = {"limits": LIMITS, "seed": 0, "effects": points, "reference": noise(rng, trajectories)}
    whole = audit_method("m", trajectories, fits, fits, fitted=True, placebos={"p": placebo}, **more)
    alone = [
        audit_method("m", trajectories, [own], [own], placebos={"p": [other]}, **more)
        for own, other in zip(fits, placebo, strict=True)
    ]
    assert (whole.fits, alone[0].fits) == (3, 0)

    def means(figure: Callable[[MethodAudit], Any]) -> tuple[Any, Any]:
        return figure(whole), pytest.approx(np.mean([figure(one) for one in alone]))

    for part in (lambda m: m.agreement, lambda m: m.by_outcome["failure"], lambda m: m.by_length["short"]):
        for name in ("spearman", "kendall", "sign", "auprc", "partial"):
            found, expected = means(lambda m, part=part, name=name: getattr(part(m), name).value)
            assert found == expected, name
        assert part(whole).spearman.high - part(whole).spearman.low > 0
    for figure in (
        lambda m: m.gap.mean,
        lambda m: m.gap.slope,
        lambda m: m.gap.inversions,
        lambda m: m.agreement.signed,
        lambda m: m.gini.value,
        lambda m: m.last_turn_share.value,
        lambda m: m.signal_to_noise,
        lambda m: m.cosine,
        lambda m: m.effects.spearman.value,
        lambda m: m.effects.margins[0].spearman.value,
        lambda m: m.margins[0].spearman.value,
        lambda m: m.margins_by_outcome["success"][0].spearman.value,
    ):
        found, expected = means(figure)
        assert found == expected
    assert whole.gap.largest == max(one.gap.largest for one in alone)
    assert whole.gap.largest_beyond_task == max(one.gap.largest_beyond_task for one in alone)
    assert whole.gap.pairs == alone[0].gap.pairs


def test_a_method_that_is_not_fitted_is_compared_with_each_fit_of_a_placebo():
    rng = np.random.default_rng(15)
    trajectories = random_recording(rng)
    own, placebo = noise(rng, trajectories), [noise(rng, trajectories) for _ in range(3)]
    more = {"limits": LIMITS, "seed": 0}
    whole = audit_method("m", trajectories, [own], [own], placebos={"p": placebo}, **more).margins[0].spearman
    alone = [
        audit_method("m", trajectories, [own], [own], placebos={"p": [other]}, **more).margins[0].spearman
        for other in placebo
    ]
    assert whole.value == pytest.approx(np.mean([one.value for one in alone]))
    assert whole.used == len(trajectories) - sum(np.ptp(measures.progress_made(one)) == 0 for one in trajectories)


def test_the_order_of_trajectories_changes_nothing():
    rng = np.random.default_rng(12)
    trajectories = random_recording(rng)
    rewards, other = noise(rng, trajectories), noise(rng, trajectories)
    turn = rng.permutation(len(trajectories)).tolist()
    points = [Effect(i, 1, float(rng.integers(-1, 2)), 1) for i in range(20)]
    moved = [replace(one, trajectory=turn.index(one.trajectory)) for one in points]
    first = audit(trajectories, rewards, placebos={"p": other}, effects=points)
    second = audit(
        *([one[i] for i in turn] for one in (trajectories, rewards)),
        placebos={"p": [other[i] for i in turn]},
        effects=moved,
    )
    assert numbers(asdict(first)) == pytest.approx(numbers(asdict(second)))


def test_the_same_seed_gives_the_same_numbers_and_another_seed_other_intervals():
    rng = np.random.default_rng(12)
    trajectories = random_recording(rng)
    rewards = noise(rng, trajectories)
    assert audit(trajectories, rewards) == audit(trajectories, rewards)
    other = audit(trajectories, rewards, seed=1).agreement.spearman
    assert other.value == audit(trajectories, rewards).agreement.spearman.value
    assert other.low != audit(trajectories, rewards).agreement.spearman.low


def test_episodes_with_errors_and_without_steps_count_for_nothing():
    rng = np.random.default_rng(13)
    trajectories = random_recording(rng)
    rewards = noise(rng, trajectories)
    lost = [replace(trajectories[0], error="the world timed out"), recorded([])]
    assert audit([*lost, *trajectories], [rewards[0] + 9, arr(), *rewards]) == audit(trajectories, rewards)


@max_examples(60)
@given(groups(), st.data())
def test_any_recording_gives_numbers_or_none(found, data):
    trajectories = [one for group in found for one in group]
    values = st.sampled_from([0.0, 0.0, 1.0, -1.0, 1e-12, 1e9, 1 / 3, 0.1 + 0.2])
    rewards = [arr(*data.draw(st.lists(values, min_size=len(one), max_size=len(one)))) for one in trajectories]
    points = [
        Effect(i, 0, data.draw(st.sampled_from([0.0, 0.5, -1.0])), 1) for i, one in enumerate(trajectories) if one.steps
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = audit(trajectories, rewards, reference=rewards, placebos={"p": rewards}, effects=points)
    assert all(math.isfinite(number) for number in numbers(asdict(result)))
    for part in (result.agreement, *result.by_length.values()):
        for figure in (part.spearman, part.kendall, part.partial):
            assert figure.value is None or -1 - 1e-9 <= figure.value <= 1 + 1e-9
            assert figure.low is None or figure.low <= figure.high
            assert figure.tasks <= figure.used <= figure.of


@pytest.mark.parametrize("trajectories", [[], [recorded([])], [recorded([0.0])], [recorded([0.0, 0.0, 0.0])]])
def test_next_to_nothing_gives_none(trajectories: list[Trajectory]):
    found = audit(trajectories, [np.zeros(len(one)) for one in trajectories])
    agreement = found.agreement
    for figure in (
        agreement.spearman,
        agreement.kendall,
        agreement.sign,
        agreement.auprc,
        agreement.partial,
        found.gini,
    ):
        assert figure.value is None
    assert (agreement.chance, found.signal_to_noise, found.cosine, found.best_placebo) == (None,) * 4


@pytest.mark.parametrize(
    ("rewards", "complaint"),
    [
        ([arr(1, 2, 3)], "m, rewards: shape .* trajectory 0 of 2 steps"),
        ([arr(1, 2), arr(1)], "m, rewards: 2 arrays for 1 trajectories"),
        ([arr(1, math.nan)], "m, rewards: nan at step 1 of trajectory 0"),
    ],
)
def test_numbers_that_are_none_end_the_audit_by_name(rewards: list[np.ndarray], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        audit([recorded([0, 0])], rewards)
    with pytest.raises(ValueError, match=complaint.replace("rewards", "shuffled")):
        audit([recorded([0, 0])], [arr(1, 2)], placebos={"shuffled": rewards})
