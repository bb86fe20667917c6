"""All comparisons of a table: by hand, by SciPy, and what no order and no naming of things may change."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.optimize import brentq
from strategies import max_examples

from spa_bench.core import Floats
from spa_bench.stats import (
    Comparison,
    Estimate,
    Pair,
    Training,
    compared,
    minimum_detectable,
    paired,
    sentence,
    training,
    verdict,
)

QUICK = max_examples(60)
MANY_DRAWS = 99_999
STAR = [(1, 0), (2, 0), (3, 0)]
"""Three methods against one."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pair(
    difference: float = 0.1, *, variance: float = 0.0, chance: float = 0.0, seeds: int = 5, tasks: int = 100
) -> Pair:
    return Pair(seeds, tasks, difference, variance, chance, tasks, 0.2)


def pooled(variance: float, freedom: float, rows: int) -> Training:
    same, free = np.full(rows, variance), np.full(rows, freedom)
    return Training(True, same, free, same, free)


def level_runs(first: list[float], second: list[float], tasks: int = 4) -> list[Comparison]:
    """Two methods that score the same on every task: only seeds differ."""
    tables = [np.repeat(np.array(one)[:, None], tasks, axis=1) for one in (first, second)]
    found = paired(*tables)
    return compared([found], [(0, 1)], training([first, second]), rng(), draws=MANY_DRAWS)


def ends(found: Comparison) -> tuple[float, float]:
    assert found.effect.low is not None and found.effect.high is not None
    return found.effect.low, found.effect.high


# Training


def test_the_variance_by_training_by_hand():
    found = training([[0.1, 0.3, 0.2], [0.4, 0.5, 0.6]])
    # Squares within rows 0.02 + 0.02 over 2 + 2. Less the seeds' means (-0.1, 0.05, 0.05) each row leaves 0.05 and
    # -0.05 twice: 4 * 0.0025 over (2 - 1)(3 - 1).
    assert found is not None and found.pooled
    assert found.own == pytest.approx([0.01, 0.01])
    assert list(found.own_freedom) == [4, 4]
    assert found.beside == pytest.approx([0.005, 0.005])
    assert list(found.beside_freedom) == [2, 2]


def test_what_runs_of_one_seed_share_is_no_difference_between_methods():
    found = training([[0.1, 0.5, 0.3], [0.2, 0.6, 0.4]])
    assert found is not None
    assert found.beside == pytest.approx([0, 0], abs=1e-12)
    assert found.own == pytest.approx([0.04, 0.04])


def test_runs_that_are_missing_are_left_out_of_the_model():
    """Rows 0 and 1 share two seeds; row 2 has one run, which fits exactly: one degree of freedom."""
    found = training([[0.1, 0.3, np.nan], [0.4, 0.5, np.nan], [np.nan, 0.2, np.nan]])
    assert found is not None
    assert found.beside == pytest.approx([0.0025] * 3)  # differences 0.3 and 0.2: half of their variance 0.005
    assert list(found.beside_freedom) == [1, 1, 1]


@pytest.mark.parametrize(
    "runs", [[[0.5], [0.1]], [[0.1, 0.3]], [[0.1, np.nan], [np.nan, 0.4]], [[0.1, 0.2], [np.nan] * 2]]
)
def test_without_two_seeds_of_two_rows_nothing_is_known_of_training(runs: list[list[float]]):
    assert training(runs) is None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1.0, 4.0, 40.0])
def test_variances_are_put_together_where_bartletts_test_allows(seed: int, scale: float):
    runs = rng(seed).normal(size=(4, 5)) * np.array([[scale], [1], [1], [1]])
    found = training(runs)
    assert found is not None
    assert found.pooled == (scipy_stats.bartlett(*runs).pvalue >= 0.05)
    if not found.pooled:
        assert found.own == pytest.approx(runs.var(1, ddof=1))
        assert found.beside == pytest.approx(found.own)
        assert list(found.own_freedom) == [4] * 4


def test_one_noisy_method_is_not_hidden_by_quiet_ones():
    quiet = [[0.01, 0.02, 0.01, 0.0, 0.01]] * 6
    found = training([*quiet, [0.1, 0.5, 0.3, 0.6, 0.2]], grain=0.01)
    assert found is not None and not found.pooled
    assert found.own[-1] == pytest.approx(np.var([0.1, 0.5, 0.3, 0.6, 0.2], ddof=1))


def test_runs_that_are_equal_by_chance_are_not_infinitely_different():
    runs = [[0.4, 0.45, 0.5], [0.45, 0.45, 0.45], [0.5, 0.4, 0.45]]
    exact, coarse = training(runs), training(runs, grain=0.05)
    assert exact is not None and coarse is not None
    assert (exact.pooled, coarse.pooled) == (False, True)


def test_rows_of_successes_vary_in_proportion_to_p_times_1_minus_p_by_hand():
    found = training([[0.4, 0.6], [0.05, 0.15]], grain=0.01)
    # p (1 - p) is 0.25 and 0.09. Within rows 0.02 + 0.005 is left of an expected 0.25 + 0.09 times the factor, with
    # 0.34^2 / (0.25^2 + 0.09^2) degrees of freedom. A seed's value b adds 0.5 b and 0.3 b: of the halves of the
    # differences, 0.1 and 0.05, what points along (0.3, -0.5) is left, 2 (0.03 - 0.025)^2 / 0.34 in squares, of an
    # expected (0.09 0.25 + 0.25 0.09) / 0.34.
    assert found is not None and found.pooled
    assert found.own == pytest.approx(np.array([0.25, 0.09]) * 0.025 / 0.34)
    assert found.own_freedom == pytest.approx([0.34**2 / 0.0706] * 2)
    assert found.beside == pytest.approx(np.array([0.25, 0.09]) * 2 * 0.005**2 / 0.045)
    assert list(found.beside_freedom) == [1, 1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("low", [[0.0] * 4, [0.02, 0.01, 0.03, 0.02], [1.0] * 4, [0.99, 0.97, 0.98, 1.0]])
def test_methods_that_have_collapsed_say_hardly_anything_of_the_others(seed: int, low: list[float]):
    runs = np.round(rng(seed).normal(0.4, 0.05, (3, 4)), 2)
    alone, beside = training(runs, grain=0.01), training([*runs, low, low], grain=0.01)
    assert alone is not None and beside is not None and alone.pooled and beside.pooled
    assert beside.own[:3] == pytest.approx(alone.own, rel=0.1)
    assert beside.own_freedom[0] == pytest.approx(9, rel=0.15)
    assert beside.beside[:3] == pytest.approx(alone.beside, rel=0.2)
    assert (beside.own[3:] < beside.own[:3].min() / 5).all()


def test_rows_that_never_succeed_do_not_make_variances_unequal():
    runs = [[0.4, 0.45, 0.5], [0.45, 0.5, 0.38], [0.0] * 3, [0.0] * 3, [0.0] * 3]
    found = training(runs, grain=0.0001)
    assert found is not None and found.pooled
    nothing = training([[0.0] * 3, [1.0] * 3], grain=0.01)
    assert nothing is not None and not nothing.own.any() and not nothing.beside.any()


# One comparison


def test_a_pair_by_hand():
    first, second = [[1, 1, 1, 1, 0], [1, 1, 0, 1, 0]], [[0, 1, 0, 0, 0], [0, 1, 0, 1, 1]]
    found = paired(first, second)
    # Totals over seeds 2 0 1 1 -1: mean 3 / 10; squares around 0.6: 1.96 + 0.36 + 2 * 0.16 + 2.56 = 5.2.
    assert (found.seeds, found.tasks, found.differing) == (2, 5, 4)
    assert found.difference == pytest.approx(0.3)
    assert found.variance == pytest.approx(5.2 / 4 / (2**2 * 5))
    assert found.discordance == pytest.approx(5 / 10)
    gaps = np.subtract(first, second)
    left = gaps - gaps.mean(1)[:, None] - gaps.mean(0) + gaps.mean()
    assert found.chance == pytest.approx((left**2).sum() / 4 / 10)


def test_seeds_alone_are_a_paired_t_test():
    first, second = [0.5, 0.7, 0.6, 0.9], [0.4, 0.5, 0.6, 0.5]
    (found,) = level_runs(first, second)
    expected = scipy_stats.ttest_rel(first, second)
    assert found.p == pytest.approx(expected.pvalue, abs=0.005)
    interval = expected.confidence_interval(0.95)
    assert ends(found) == pytest.approx((interval.low, interval.high), abs=0.01)
    assert found.trained


def test_tasks_alone_are_a_t_test_over_tasks():
    gap = rng(3).choice([-1.0, 0.0, 1.0], p=[0.1, 0.65, 0.25], size=60)
    (found,) = compared([paired([gap], [np.zeros(60)])], [(0, 1)], None, rng(), draws=MANY_DRAWS)
    expected = scipy_stats.ttest_1samp(gap, 0)
    assert found.p == pytest.approx(expected.pvalue, abs=0.004)
    assert ends(found) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.004)
    assert not found.trained


def test_both_parts_add_up_and_the_chance_counts_once():
    """0.02 * 2 / 5 by training and 0.005 - 0.003 by tasks."""
    narrow, wide = (
        compared([pair(variance=0.005, chance=one)], [(0, 1)], pooled(0.02, 1e6, 2), rng(), draws=MANY_DRAWS)[0]
        for one in (0.003, 0.0)
    )
    for found, variance in ((narrow, 0.01), (wide, 0.013)):
        low, high = ends(found)
        assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(variance), rel=0.02)


@pytest.mark.parametrize("differing", [1, 2, 5, 8])
def test_few_tasks_that_differ_show_no_more_than_an_exact_test(differing: int):
    """All of them in favour of the first: McNemar's p is 2 / 2^k, and the spread may be 0."""
    gap = np.array([1.0] * differing + [0.0] * (8 - differing))
    (found,) = compared([paired([gap], [np.zeros(8)])], [(0, 1)], None, rng(), draws=MANY_DRAWS)
    assert found.p >= (2 / 2**differing - 0.005 if differing > 1 else 0.6)
    if differing == 8:
        assert found.p == pytest.approx(2 / 2**8, abs=0.001)
        assert ends(found)[0] > 0


@pytest.mark.parametrize("tasks", [6, 50, 51, 134, 2_000])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_method_that_wins_every_task_is_better_however_many_they_are(seeds: int, tasks: int):
    """The variance is 0 there, and of 51 tasks and more nothing stood in its place: p was 1 at +100 pp."""
    table = np.stack([np.ones((seeds, tasks)), np.zeros((seeds, tasks))])
    (found,) = compared([paired(*table)], [(0, 1)], training(table.mean(2), grain=1 / tasks), rng())
    assert found.p < 0.05 and ends(found)[0] > 0 and verdict(found).startswith("better")


def test_one_task_and_equal_scores_show_nothing():
    for one, other in (([[1.0]], [[0.0]]), ([[1.0, 0.0]], [[1.0, 0.0]])):
        (found,) = compared([paired(one, other)], [(0, 1)], None, rng())
        assert (found.effect.low, found.p) == (None, 1.0)
        assert verdict(found) == "no significant difference"
        assert found.detectable is None


def test_no_comparison_is_none():
    assert compared([], [], None, rng()) == []


def test_methods_on_other_tasks_are_no_pairs():
    with pytest.raises(ValueError, match="no pairs"):
        paired([[0.0, 1.0]], [[0.0]])


# Several comparisons


def test_many_against_one_are_dunnetts_test():
    """Pooled within rows, as Dunnett: the variances and their degrees of freedom are given."""
    runs = rng(5).normal(0.5, 0.05, size=(4, 5)) + np.array([[0.0], [0.1], [0.0], [0.05]])
    means, variance = runs.mean(1), float(runs.var(1, ddof=1).mean())
    pairs = [pair(float(means[first] - means[0])) for first, _ in STAR]
    found = compared(pairs, STAR, pooled(variance, 16, 4), rng(), draws=MANY_DRAWS)
    expected = scipy_stats.dunnett(*runs[1:], control=runs[0], rng=np.random.default_rng(1))
    assert [one.p for one in found] == pytest.approx(list(expected.pvalue), abs=0.006)
    interval = expected.confidence_interval(0.95)
    for one, low, high in zip(found, interval.low, interval.high, strict=True):
        assert ends(one) == pytest.approx((low, high), abs=0.002)


def test_a_comparison_that_joins_makes_the_others_less_sure():
    alone = compared([pair(0.1)], [(1, 0)], pooled(0.005, 12, 4), rng())
    among = compared([pair(0.1), pair(0.0), pair(0.0)], STAR, pooled(0.005, 12, 4), rng())
    assert among[0].p > 1.5 * alone[0].p
    assert np.subtract(*ends(among[0])) < np.subtract(*ends(alone[0]))
    assert (among[0].detectable or 0) > (alone[0].detectable or 0)


@pytest.mark.parametrize("spread", [None, pooled(1e-4, 8, 4)])
def test_a_short_row_is_wide_alone(spread: Training | None):
    """With the degrees of freedom of two tasks, the others' intervals would be several times as wide."""
    rows = [pair(variance=0.001), pair(variance=0.001)]
    before = compared(rows, STAR[:2], spread, rng(), draws=MANY_DRAWS)
    after = compared([*rows, pair(variance=0.05, tasks=2)], STAR, spread, rng(), draws=MANY_DRAWS)
    for one, other in zip(before, after, strict=False):
        assert np.subtract(*ends(other)) == pytest.approx(np.subtract(*ends(one)), rel=0.15)
    assert ends(after[2]) == (-1, 1)


def test_the_chance_that_training_holds_is_that_of_a_whole_run():
    """A run of 100 tasks holds a tenth of the chance of 10 tasks: 0.02 * 2 / 5 + 0.005 - 0.004 / 10."""
    pairs = [pair(variance=0.005, chance=0.004, tasks=10), pair()]
    short, _ = compared(pairs, STAR[:2], pooled(0.02, 1e6, 4), rng(), draws=MANY_DRAWS)
    alone = compared([pair(variance=0.0046)], [(1, 0)], pooled(0.02, 1e6, 4), rng(), draws=MANY_DRAWS)[0]
    assert np.subtract(*ends(short)) == pytest.approx(1.15 * np.subtract(*ends(alone)), rel=0.15)


def test_a_method_of_quiet_training_is_judged_by_its_own_seeds():
    """Rows 1 and 2 differ by the same; the seeds of row 2 differ much."""
    spreads = Training(False, *[np.array([1e-4, 1e-4, 0.04]), np.array([4.0, 4.0, 4.0])] * 2)
    quiet, noisy = compared([pair(0.1), pair(0.1)], STAR[:2], spreads, rng())
    assert quiet.p < 0.01 < 0.2 < noisy.p


@st.composite
def tables(draw: st.DrawFn) -> tuple[Floats, bool]:
    shape = draw(st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 9)))
    values = st.sampled_from([0.0, 0.5, 1.0])
    flat = draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(flat).reshape(shape), draw(st.booleans())


def judged(table: Floats, seeds_too: bool, order: list[int] | None = None) -> list[Comparison]:
    rows = [(place, 0) for place in range(1, len(table))]
    pairs = [paired(table[first], table[second]) for first, second in rows]
    return compared(pairs, rows, training(table.mean(2), 1 / table.shape[2]) if seeds_too else None, rng(), draws=199)


@QUICK
@given(tables())
def test_p_interval_and_verdict_say_the_same(drawn: tuple[Floats, bool]):
    for one in judged(*drawn):
        assert 0 < one.p <= 1
        beside = (
            one.effect.low is not None and one.effect.high is not None and not one.effect.low <= 0 <= one.effect.high
        )
        assert (one.p < 0.05) == beside
        assert (verdict(one) != "no significant difference") == beside
        assert one.effect.low is None or -1 <= one.effect.low <= one.effect.mean <= (one.effect.high or 0) <= 1
        assert one.detectable is None or 0 < one.detectable <= 1


@QUICK
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_tasks_changes_nothing(drawn: tuple[Floats, bool], random):
    table, seeds_too = drawn
    seeds, tasks = (random.sample(range(size), size) for size in table.shape[1:])
    for one, other in zip(judged(table, seeds_too), judged(table[:, seeds][:, :, tasks], seeds_too), strict=True):
        assert one.effect.mean == other.effect.mean
        assert one.p == pytest.approx(other.p, abs=0.011)
        assert one.effect.low == pytest.approx(other.effect.low, abs=1e-6)


@QUICK
@given(tables())
def test_swapping_methods_turns_the_sign_and_nothing_else(drawn: tuple[Floats, bool]):
    table, seeds_too = drawn
    spreads = training(table.mean(2)) if seeds_too else None
    one, other = (
        compared([paired(table[first], table[second])], [(first, second)], spreads, rng(), draws=199)[0]
        for first, second in ((0, 1), (1, 0))
    )
    assert one.effect.mean == -other.effect.mean
    assert one.p == other.p
    assert one.detectable == (None if other.detectable is None else pytest.approx(other.detectable, rel=0.2))


# In words


def made(mean: float, p: float, trained: bool = True) -> Comparison:
    return Comparison(3, 134, Estimate(mean, mean - 0.02, mean + 0.02, 134), p, trained, 20, 0.1)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (made(0.1, 0.049), "better"),
        (made(-0.1, 0.001), "worse"),
        (made(0.1, 0.05), "no significant difference"),
        (made(0.1, 0.001, trained=False), "better (tasks only; seeds not sampled)"),
        (made(-0.1, 0.001, trained=False), "worse (tasks only; seeds not sampled)"),
    ],
)
def test_the_verdict_says_for_whom_it_holds(found: Comparison, said: str):
    assert verdict(found) == said


def test_a_comparison_as_a_sentence():
    figures = "+10.0 pp, simultaneous 95 % CI +8.0 to +12.0, adjusted p = "
    assert sentence("spa", "ppo", made(0.1, 0.31)) == f"no significant difference between spa and ppo ({figures}0.31)"
    assert sentence("spa", "ppo", made(0.1, 0.001)) == f"spa is better than ppo ({figures}0.001)"
    told = sentence("spa", "ppo", made(0.1, 0.001, trained=False))
    assert told == f"spa is better than ppo (tasks only; seeds not sampled; {figures}0.001)"


# Power


def powered(freedom: float) -> float:
    """The noncentrality at which a two-sided test at 5 % has a power of 80 %."""
    critical = scipy_stats.t.ppf(0.975, freedom)
    shifts = np.linspace(1, 20, 20_000)
    return float(shifts[np.argmax(scipy_stats.nct.sf(critical, freedom, shifts) >= 0.8)])


def test_the_detectable_difference_of_one_comparison_is_that_of_the_t_test():
    (found,) = compared([pair()], [(1, 0)], pooled(0.02, 6, 2), rng(), draws=MANY_DRAWS)
    # The mean of the root of a variance with 6 degrees of freedom is that of chi over sqrt(6).
    root = math.sqrt(2 / 6) * math.gamma(3.5) / math.gamma(3)
    # Pairs of 0.1 on 0.2 of the tasks: a single difference has 0.19 of variance, at m sqrt(0.04 + m^2) - m^2.
    shift = powered(6) / root
    by_hand = solved(lambda m: shift**2 * (2 * 0.02 / 5 + (math.hypot(0.2, m) - m**2 - 0.19) / 500))
    assert found.detectable == pytest.approx(by_hand, abs=0.002)
    one_seed = minimum_detectable(100, 1, [(1, 0)], draws=MANY_DRAWS)
    by_hand = solved(lambda m: powered(99) ** 2 * (math.hypot(0.2, m) - m**2) / 100)
    assert one_seed == pytest.approx(by_hand, abs=0.002)
    three = minimum_detectable(100, 3, [(1, 0)], deviation=0.05, draws=MANY_DRAWS)
    trained = 2 * (0.05**2 + 0.1 / 100) / 3
    by_hand = solved(lambda m: powered(2) ** 2 * (trained + (math.hypot(0.2, m) - m**2 - 0.2) / 300))
    assert three == pytest.approx(by_hand, rel=0.02)


def solved(squared: Callable[[float], float]) -> float:
    """The m in (0, 1) that is the root of this."""
    return float(brentq(lambda m: m**2 - squared(m), 1e-6, 1))


def one_seed(better: int, worse: int, tasks: int) -> Comparison:
    """Two methods that differ on so many tasks, for either side."""
    gap = np.array([1.0] * better + [-1.0] * worse + [0.0] * (tasks - better - worse))
    scores = [(gap > 0).astype(float)[None], (gap < 0).astype(float)[None]]
    return compared([paired(*scores)], [(0, 1)], None, rng(), draws=999)[0]


@pytest.mark.parametrize(("better", "worse", "tasks"), [(1, 1, 20), (2, 0, 50), (2, 1, 100), (10, 10, 100), (4, 4, 20)])
def test_the_detectable_difference_is_called_in_four_of_five_cases(better: int, worse: int, tasks: int):
    """With the variance of the few tasks that differ now, and no exact test, it was called in 17 to 39 % of cases."""
    effect = one_seed(better, worse, tasks).detectable
    assert effect is not None
    share, draws = math.hypot((better + worse) / tasks, effect), rng(1)
    wins, losses = (share + effect) / 2, (share - effect) / 2
    counts = draws.multinomial(tasks, [wins, losses, 1 - wins - losses], size=600)
    found = [(int(one[0]), int(one[1])) for one in counts]
    called = {one: one_seed(*one, tasks).p < 0.05 for one in set(found)}
    assert np.mean([called[one] for one in found]) == pytest.approx(0.8, abs=0.08)


def test_what_is_detectable_differs_on_enough_tasks_for_the_exact_test():
    """On 20 tasks 6 that agree have p = 2 / 2^6 < 0.05: of binomial counts 80 % reach 6 from a share of 0.37 on."""
    found = minimum_detectable(20, 1, [(1, 0)], discordance=0.05)
    assert found is not None and scipy_stats.binom.sf(5, 20, math.hypot(0.05, found)) == pytest.approx(0.8, abs=0.01)
    assert minimum_detectable(5, 1, [(1, 0)]) is None  # 2 / 2^5 > 0.05
    assert minimum_detectable(6, 1, [(1, 0)]) is not None


def test_where_one_method_wins_every_task_a_smaller_difference_is_detectable():
    found = one_seed(30, 0, 30)
    assert found.differing == 30
    assert found.detectable == pytest.approx(solved(lambda m: powered(29) ** 2 * (1 - m**2) / 30), abs=0.02)


def test_more_seeds_and_tasks_detect_less_and_more_comparisons_more():
    usual = minimum_detectable(100, 5, STAR, deviation=0.03) or 0
    assert (minimum_detectable(100, 10, STAR, deviation=0.03) or 0) < 0.75 * usual
    assert (minimum_detectable(400, 5, STAR, deviation=0.03) or 0) < usual
    assert (minimum_detectable(100, 5, STAR, deviation=0.06) or 0) > 1.5 * usual
    assert (minimum_detectable(100, 5, STAR[:1], deviation=0.03) or 0) != usual


def test_what_no_table_can_detect_is_none():
    assert minimum_detectable(100, 2, [(1, 0)], deviation=0.3) is None


@pytest.mark.parametrize(
    ("tasks", "seeds", "rows", "discordance"),
    [(1, 1, STAR, 0.2), (9, 0, STAR, 0.2), (9, 1, [], 0.2), (9, 1, STAR, 1.2)],
)
def test_impossible_assumptions_are_refused(tasks: int, seeds: int, rows: list[tuple[int, int]], discordance: float):
    with pytest.raises(ValueError, match="discordance"):
        minimum_detectable(tasks, seeds, rows, discordance=discordance)
