"""Statistics: numbers by hand and by SciPy, and what no order and no naming of things may change."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats as scipy_stats
from strategies import max_examples

from spa_bench.core import Floats
from spa_bench.stats import (
    Comparison,
    Estimate,
    Spread,
    bootstrap_mean,
    holm,
    iqm,
    mcnemar,
    over_seeds,
    paired,
    performance_profile,
    probability_of_improvement,
    sentence,
    sign_flip,
    smallest_difference,
    spread,
    tasks_needed,
    verdict,
    wilson,
)

BINARY = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.sampled_from([0.0, 1.0])
)
GRADED = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.one_of(st.sampled_from([0.0, 1 / 3, 0.5, 2 / 3, 1.0]), st.floats(0, 1)),
)
SCORES = st.one_of(BINARY, GRADED)
QUICK = max_examples(60)


@pytest.fixture(autouse=True)
def no_warning_is_given() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbers(found: Estimate) -> list[float]:
    """Mean and ends, or the mean alone."""
    assert (found.low is None) == (found.high is None)
    return [found.mean] if found.low is None or found.high is None else [found.mean, found.low, found.high]


# Means


def test_the_interval_of_three_seeds_is_students():
    found = over_seeds([0.5, 0.6, 0.7])
    # t(0.975, 2 degrees of freedom) = 4.302653; standard error = 0.1 / sqrt(3)
    reach = 4.302653 * 0.1 / np.sqrt(3)
    assert found.n == 3
    assert found.mean == pytest.approx(0.6)
    assert (found.low, found.high) == (pytest.approx(0.6 - reach, abs=1e-6), pytest.approx(0.6 + reach, abs=1e-6))


def test_one_seed_has_no_interval():
    assert over_seeds([0.4], limits=(0.0, 1.0)) == Estimate(0.4, None, None, 1)


def test_equal_seeds_have_no_interval_instead_of_one_without_width():
    assert over_seeds([0.0, 0.0, 0.0], limits=(0.0, 1.0)) == Estimate(0.0, None, None, 3)


def test_the_interval_is_cut_where_the_quantity_ends():
    found = over_seeds([0.9, 1.0], limits=(0.0, 1.0))
    assert found.high == 1.0
    assert found.low == pytest.approx(0.95 - 12.706205 * 0.05, abs=1e-6)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_no_number_comes_out_of_nothing_or_of_nan(values: list[float]):
    with pytest.raises(ValueError, match="no mean"):
        over_seeds(values)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 134), (99, 134), (106, 134), (134, 134), (7, 2000)])
def test_wilsons_interval_is_that_of_scipy(successes: int, n: int, level: float):
    found = wilson(successes, n, level)
    expected = scipy_stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert found is not None
    assert numbers(found) == pytest.approx([successes / n, expected.low, expected.high], abs=1e-12)


def test_wilsons_interval_by_hand():
    found = wilson(8, 10)
    # z^2 = 3.841459; middle (0.8 + 0.192073) / 1.384146; reach 1.959964 sqrt(0.016 + 0.00960365) / 1.384146
    assert found == Estimate(0.8, pytest.approx(0.490162, abs=1e-6), pytest.approx(0.943318, abs=1e-6), 10)


def test_no_trials_have_no_share():
    assert wilson(0, 0) is None


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_more_successes_than_trials_are_refused(successes: int, n: int):
    with pytest.raises(ValueError, match="successes of"):
        wilson(successes, n)


def standard_error(found: Estimate, freedom: float, level: float = 0.95) -> float:
    """Half the width of an interval, in units of Student's t."""
    assert found.low is not None and found.high is not None
    return (found.high - found.low) / 2 / float(scipy_stats.t.ppf((1 + level) / 2, freedom))


def test_one_seed_is_bootstrapped_over_tasks():
    values = rng(1).normal(size=(1, 80))
    found = bootstrap_mean(values, None, rng(2))
    assert (found.mean, found.n) == (pytest.approx(values.mean()), 80)
    assert standard_error(found, 79) == pytest.approx(values.std(ddof=1) / math.sqrt(80), rel=0.03)


def test_seeds_that_do_the_same_on_all_tasks_are_bootstrapped_over_seeds():
    levels = rng(1).normal(size=30)
    found = bootstrap_mean(np.repeat(levels[:, None], 50, axis=1), None, rng(2))
    assert found.n == 30
    assert standard_error(found, 29) == pytest.approx(levels.std(ddof=1) / math.sqrt(30), rel=0.03)


def test_the_variance_counts_the_residual_once():
    """Seeds, tasks and residual of variance 0.04, 0.04 and 1: both means hold the residual, 1 / 2000 of it."""
    values = rng(1).normal(size=(40, 50)) + 0.2 * rng(3).normal(size=(40, 1)) + 0.2 * rng(4).normal(size=50)
    rows, columns = values.mean(1).var(ddof=1) / 40, values.mean(0).var(ddof=1) / 50
    left = values - values.mean(1)[:, None] - values.mean(0) + values.mean()
    expected = rows + columns - (left**2).sum() / (39 * 49) / 2000
    assert expected < 0.9 * (rows + columns)
    freedom = expected**2 / (rows**2 / 39 + columns**2 / 49)
    found = bootstrap_mean(values, None, rng(2))
    assert standard_error(found, freedom) == pytest.approx(math.sqrt(expected), rel=0.03)


def test_what_differs_between_kinds_is_no_uncertainty():
    hard, easy = rng(1).normal(0, 0.1, 60), rng(2).normal(1, 0.1, 20)
    values, kinds = np.concatenate([hard, easy])[None], ["hard"] * 60 + ["easy"] * 20
    whole, strata = bootstrap_mean(values, None, rng()), bootstrap_mean(values, kinds, rng())
    assert strata.mean == whole.mean == pytest.approx(values.mean())
    variance = 0.75**2 * hard.var(ddof=1) / 60 + 0.25**2 * easy.var(ddof=1) / 20
    assert standard_error(strata, 70) == pytest.approx(math.sqrt(variance), rel=0.03)
    assert standard_error(whole, 79) == pytest.approx(values.std(ddof=1) / math.sqrt(80), rel=0.03)


@pytest.mark.parametrize("kinds", ["aabc", "abcd", "aaab", "abbb"])
def test_kinds_of_one_task_are_thrown_together_and_not_taken_as_certain(kinds: str):
    values = np.array([[0.0, 1.0, 0.0, 1.0]])
    found = bootstrap_mean(values, list(kinds), rng())
    together = {"aabc": "aabb", "abcd": "aaaa", "aaab": "aaaa", "abbb": "aaaa"}[kinds]
    assert numbers(found) == numbers(bootstrap_mean(values, list(together), rng()))
    assert found.low is not None


@pytest.mark.parametrize("scores", [[[0.3]], [[1.0, 1.0, 1.0]], [[0.1], [0.1], [0.1]], [[0.7, 0.7], [0.7, 0.7]]])
def test_scores_that_are_all_equal_have_no_interval(scores: list[list[float]]):
    found = bootstrap_mean(scores, None, rng())
    assert (found.mean, found.low, found.high) == (pytest.approx(scores[0][0]), None, None)


def test_the_bootstrap_is_cut_where_the_quantity_ends():
    found = bootstrap_mean([[1.0, 1.0, 1.0, 0.0]], None, rng(), limits=(0.0, 1.0))
    assert (found.high, found.low) == (1.0, 0.0)


def test_a_higher_level_is_a_wider_interval():
    values = rng(1).normal(size=(4, 30))
    widths = [np.ptp(numbers(bootstrap_mean(values, None, rng(), level=level))) for level in (0.5, 0.9, 0.95, 0.99)]
    assert widths == sorted(widths)
    assert widths[0] < widths[1] / 2


@pytest.mark.parametrize("scores", [[], [[]], [0.5, 0.5], [[0.5, float("nan")]], [[float("inf")]], [[0.0, 1e200]]])
def test_what_is_no_table_of_scores_is_refused(scores: list[object]):
    for use in (lambda: bootstrap_mean(scores, None, rng()), lambda: spread(scores)):
        with pytest.raises(ValueError, match="no scores"):
            use()
    with pytest.raises(ValueError, match="no scores"):
        paired(scores, scores, None, rng())


def test_tasks_without_a_kind_are_refused():
    with pytest.raises(ValueError, match="2 kinds for 3 tasks"):
        bootstrap_mean([[0.0, 1.0, 0.0]], ["a", "b"], rng())


@QUICK
@given(scores=SCORES, data=st.data())
def test_the_order_of_seeds_and_tasks_changes_no_interval(scores: Floats, data: st.DataObject):
    kinds = data.draw(st.lists(st.sampled_from("ab"), min_size=scores.shape[1], max_size=scores.shape[1]))
    rows = data.draw(st.permutations(range(scores.shape[0])))
    columns = data.draw(st.permutations(range(scores.shape[1])))
    moved = bootstrap_mean(scores[rows][:, columns], [kinds[place] for place in columns], rng(), draws=50)
    assert numbers(moved) == pytest.approx(numbers(bootstrap_mean(scores, kinds, rng(), draws=50)), abs=1e-9)


# Summaries over runs


def test_the_iqm_is_the_mean_of_the_middle_half():
    assert iqm([[0.9, 0.1], [0.4, 0.3], [0.2, 0.6], [0.5, 100.0]]) == pytest.approx((0.3 + 0.4 + 0.5 + 0.6) / 4)
    assert iqm([0.2, 0.4, 0.9]) == pytest.approx(0.5)  # fewer than four: nothing to leave out


@pytest.mark.parametrize("values", [[0, 1, 1, 0], [[1.0, 1.0], [1.0, 1.0]], [0], [True, False]])
def test_binary_values_have_no_iqm(values: list[object]):
    with pytest.raises(ValueError, match="median in disguise"):
        iqm(values)


@pytest.mark.parametrize("values", [[], [0.2, float("nan")]])
def test_no_values_have_no_iqm_and_no_profile(values: list[float]):
    with pytest.raises(ValueError, match="no scores"):
        iqm(values)
    with pytest.raises(ValueError, match="no scores"):
        performance_profile(values, [0.5])


def test_a_profile_is_the_share_strictly_above():
    found = performance_profile([[0.0, 0.5], [0.5, 1.0]], [-1.0, 0.0, 0.5, 0.7, 1.0])
    assert found.tolist() == [1.0, 0.75, 0.25, 0.25, 0.0]


@QUICK
@given(values=SCORES, thresholds=st.lists(st.floats(-1, 2), min_size=1, max_size=5))
def test_a_profile_falls(values: Floats, thresholds: list[float]):
    found = performance_profile(values, sorted(thresholds))
    assert (np.diff(found) <= 0).all()


def test_the_probability_of_improvement_is_mann_and_whitneys():
    x, y = rng(1).normal(0.5, 1, 12).round(1), rng(2).normal(0, 1, 9).round(1)
    found = probability_of_improvement(x[:, None], y[:, None], rng())
    assert found.mean == pytest.approx(scipy_stats.mannwhitneyu(x, y).statistic / (12 * 9))
    assert found.n == 9
    low, high = numbers(found)[1:]
    assert 0 <= low < found.mean < high <= 1


def test_ties_count_half_and_tasks_count_alike():
    # Task 1: (1, 2) against (1, 0): a tie and three wins, 3.5 / 4. Task 2: (0, 0) against (1, 0): two ties, 1 / 4.
    found = probability_of_improvement([[1, 0], [2, 0]], [[1, 1], [0, 0]], rng())
    assert found.mean == pytest.approx((3.5 / 4 + 1 / 4) / 2)


@pytest.mark.parametrize(("first", "second", "share"), [([[2.0], [3.0]], [[0.0], [1.0]], 1.0), ([[1.0]], [[1.0]], 0.5)])
def test_runs_that_never_overlap_and_single_runs_have_no_interval(
    first: list[list[float]], second: list[list[float]], share: float
):
    found = probability_of_improvement(first, second, rng())
    assert (found.mean, found.low, found.high) == (share, None, None)


def test_runs_on_other_tasks_are_refused():
    with pytest.raises(ValueError, match="2 and 1 tasks"):
        probability_of_improvement([[0.1, 0.2]], [[0.1]], rng())


@QUICK
@given(first=GRADED)
def test_swapping_methods_turns_the_probability_of_improvement(first: Floats):
    second = np.sqrt(first)[:, ::-1]
    one, other = (
        probability_of_improvement(*pair, rng(), draws=20).mean for pair in ((first, second), (second, first))
    )
    assert one + other == pytest.approx(1)
    assert probability_of_improvement(first, first, rng(), draws=20).mean == pytest.approx(0.5)


# Two methods on the same tasks


def by_all_signs(totals: list[float]) -> float:
    """The sign-flip test from its definition."""
    sums = [abs(sum(map(math.prod, zip(signs, totals, strict=True)))) for signs in product((-1, 1), repeat=len(totals))]
    return sum(one >= abs(sum(totals)) - 1e-9 for one in sums) / len(sums)


@QUICK
@given(totals=st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_whole_differences_are_tested_exactly(totals: list[int]):
    assert sign_flip(totals, rng()) == pytest.approx(by_all_signs([float(one) for one in totals]), abs=1e-12)


@pytest.mark.parametrize("totals", [[0.3, 0.9, -0.25, 1.0, 0.7, 0.65, -0.1], [0.5, 0.5, 0.25, 0.75, 0.25]])
def test_other_differences_are_tested_by_random_signs(totals: list[float]):
    found = sign_flip(totals, rng(), draws=20_000)
    assert found == pytest.approx(by_all_signs(totals), abs=0.012)
    assert (found * 20_001) == pytest.approx(round(found * 20_001))


def test_a_random_p_is_never_zero():
    totals = np.full(60, 0.3)
    assert sign_flip(totals, rng(), draws=999) == 1 / 1000


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (7, 0), (5, 5), (21, 8), (60, 90)])
def test_mcnemar_is_the_binomial_test_and_the_sign_flip_of_one_seed(only_first: int, only_second: int):
    found = mcnemar(only_first, only_second)
    both = only_first + only_second
    assert found == pytest.approx(scipy_stats.binomtest(only_first, both).pvalue if both else 1.0)
    assert found == mcnemar(only_second, only_first)
    totals = [1] * only_first + [-1] * only_second + [0] * 5
    assert sign_flip(totals, rng()) == pytest.approx(found)


def test_mcnemar_by_hand():
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="-1 and 3 tasks"):
        mcnemar(-1, 3)


def test_large_whole_numbers_do_not_fill_the_memory():
    assert 0 < sign_flip([1e9, 2e9, -3e9, 1e9], rng()) <= 1


FIRST = [[1, 1, 1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 0, 1, 1, 0]]
SECOND = [[0, 1, 0, 0, 0, 1, 0, 0], [0, 1, 0, 1, 1, 1, 0, 0]]


def test_a_comparison_by_hand():
    found = paired(FIRST, SECOND, None, rng())
    # Totals over seeds: 2 0 1 1 -1 0 2 1, in all 6 of 16. Of the signs of 2 2 1 1 1 1 (64 choices), |sum| >= 6 in 14:
    # 8 once, 6 four times (one 1 turned), and the same below zero; 2 * (1 + 4) = 10.
    assert (found.seeds, found.tasks, found.exact) == (2, 8, True)
    assert found.by_task.mean == found.by_both.mean == pytest.approx(6 / 16)
    assert found.p == pytest.approx(10 / 64)
    assert found.discordance == pytest.approx(8 / 16)
    # Mean square of a task's mean: (4 + 1 + 1 + 1 + 4 + 1) / 4 / 8 = 0.375 = 0.5 (1 + alike) / 2
    assert found.alike == pytest.approx(0.5)
    assert found.by_task.n == 8
    assert found.by_both.n == 2


def test_several_seeds_are_one_observation_of_each_task():
    """Copies of a seed are no news: treating episodes as independent would make p smaller and the interval shorter."""
    one = paired(FIRST[:1], SECOND[:1], None, rng())
    copies = paired(FIRST[:1] * 5, SECOND[:1] * 5, None, rng())
    assert one.p == pytest.approx(mcnemar(5, 0))
    assert copies.p == pytest.approx(one.p)
    assert numbers(copies.by_task) == pytest.approx(numbers(one.by_task))
    assert (copies.alike, one.alike) == (1.0, 1.0)


def test_one_seed_says_nothing_of_others():
    found = paired(FIRST[:1], SECOND[:1], ["a", "b"] * 4, rng())
    assert found.by_both == found.by_task
    assert found.alike == 1.0


def test_seeds_that_disagree_widen_the_interval_over_both():
    first = np.array([[1.0] * 30, [0.5] * 30, [0.0] * 30])
    found = paired(first, np.full((3, 30), 0.25) + 0.01 * np.arange(30), None, rng())
    assert np.ptp(numbers(found.by_both)) > 10 * np.ptp(numbers(found.by_task))


def test_methods_on_other_tasks_are_no_pairs():
    with pytest.raises(ValueError, match="no pairs"):
        paired([[0.0, 1.0]], [[0.0]], None, rng())


@QUICK
@given(first=SCORES, data=st.data())
def test_swapping_methods_turns_the_sign_and_nothing_else(first: Floats, data: st.DataObject):
    second = first[data.draw(st.permutations(range(first.shape[0])))][:, ::-1] ** 2
    one, other = paired(first, second, None, rng(), draws=50), paired(second, first, None, rng(), draws=50)
    assert (other.p, other.discordance, other.alike, other.exact) == (one.p, one.discordance, one.alike, one.exact)
    for mine, theirs in ((one.by_task, other.by_task), (one.by_both, other.by_both)):
        ends = numbers(theirs)
        assert numbers(mine) == pytest.approx([-ends[0], *(-end for end in reversed(ends[1:]))], abs=1e-9)


@QUICK
@given(scores=SCORES)
def test_a_method_does_not_differ_from_itself(scores: Floats):
    found = paired(scores, scores.copy(), None, rng(), draws=50)
    assert (found.by_task.mean, found.by_task.low, found.by_both.low, found.p) == (0.0, None, None, 1.0)
    assert (found.discordance, found.exact) == (0.0, True)
    assert verdict(found, found.p) == "no significant difference"


@QUICK
@given(first=SCORES, data=st.data())
def test_the_order_of_tasks_and_seeds_changes_no_comparison(first: Floats, data: st.DataObject):
    second = np.flip(first) ** 2
    kinds = data.draw(st.lists(st.sampled_from("ab"), min_size=first.shape[1], max_size=first.shape[1]))
    rows = data.draw(st.permutations(range(first.shape[0])))
    columns = data.draw(st.permutations(range(first.shape[1])))
    one = paired(first, second, kinds, rng(), draws=50)
    other = paired(
        first[rows][:, columns], second[rows][:, columns], [kinds[place] for place in columns], rng(), draws=50
    )
    assert (one.p, one.discordance) == (other.p, pytest.approx(other.discordance))
    assert numbers(one.by_task) == pytest.approx(numbers(other.by_task), abs=1e-9)
    assert numbers(one.by_both) == pytest.approx(numbers(other.by_both), abs=1e-9)


@QUICK
@given(first=SCORES)
def test_every_number_of_a_comparison_is_finite_and_in_its_range(first: Floats):
    found = paired(first, np.flip(first), None, rng(), draws=50)
    for one in (found.by_task, found.by_both):
        assert all(-1 <= number <= 1 for number in numbers(one))
    assert 0 < found.p <= 1
    assert 0 <= found.discordance <= 1
    assert 0 <= found.alike <= 1


def test_holm_by_hand():
    # Sorted 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1 -> 0.02, 0.03, 0.06, and 0.04 lifted to 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_p(value: float):
    with pytest.raises(ValueError, match="no p-values"):
        holm([0.5, value])


@QUICK
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=8), data=st.data())
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(values: list[float], data: st.DataObject):
    adjusted = holm(values)
    assert all(p <= own <= min(1.0, len(values) * p) for p, own in zip(values, adjusted, strict=True))
    assert all(
        adjusted[i] <= adjusted[j] for i in range(len(values)) for j in range(len(values)) if values[i] < values[j]
    )
    places = data.draw(st.permutations(range(len(values))))
    assert holm([values[place] for place in places]) == [adjusted[place] for place in places]


def comparison(mean: float, low: float | None, high: float | None, seeds: int = 3) -> Comparison:
    by_task = Estimate(mean, mean - 0.02, mean + 0.02, 134)
    return Comparison(seeds, 134, by_task, Estimate(mean, low, high, seeds), 0.01, True, 0.2, 0.5)


@pytest.mark.parametrize(
    ("found", "p", "said"),
    [
        (comparison(0.1, 0.05, 0.15), 0.049, "better"),
        (comparison(-0.1, -0.15, -0.05), 0.001, "worse"),
        (comparison(0.1, 0.05, 0.15), 0.05, "no significant difference"),
        (comparison(0.1, -0.01, 0.21), 0.001, "better, these seeds only"),
        (comparison(-0.1, -0.21, 0.0), 0.001, "worse, these seeds only"),
        (comparison(0.1, None, None), 0.001, "better, these seeds only"),
        (comparison(0.1, 0.05, 0.15, seeds=1), 0.001, "better, these seeds only"),
    ],
)
def test_the_verdict_says_for_whom_it_holds(found: Comparison, p: float, said: str):
    assert verdict(found, p) == said


def test_a_comparison_as_a_sentence():
    found = comparison(0.1, -0.01, 0.21)
    assert (
        sentence("spa", "ppo", found, 0.31) == "no significant difference between spa and ppo "
        "(+10.0 pp, 95 % CI +8.0 to +12.0, adjusted p = 0.31)"
    )
    assert sentence("spa", "ppo", found, 0.001).startswith("spa is better than ppo with these seeds only (+10.0 pp")
    assert sentence("spa", "ppo", comparison(-0.1, -0.2, -0.1), 0.001).startswith("spa is worse than ppo (-10.0 pp")


# What varies


def test_the_variance_is_split_by_hand():
    # Means of seeds 0.75 and 0.25, of tasks 1, 0.5, 0.5, 0; residuals +-0.25 on the first and last task with other
    # signs than on those between: (1 1 1 0) = 0.5 + 0.25 + (0.5 0 0 -0.5) + (-0.25 0.25 0.25 -0.25).
    found = spread([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    residual = 8 * 0.25**2 / 3
    task = 0.5 / 3 - residual / 2
    assert found.training == pytest.approx(0.125 - residual / 4)
    assert found.task == pytest.approx(task)
    assert found.residual == pytest.approx(residual)
    assert found.evaluation == pytest.approx((task + residual) / 4)


def test_seeds_alone_and_tasks_alone():
    assert spread([[0.2] * 5, [0.6] * 5]) == Spread(pytest.approx(0.08), 0.0, pytest.approx(0.0), pytest.approx(0.0))
    found = spread([[0.0, 1.0, 1.0, 0.0]] * 3)
    assert (found.training, found.residual) == (0.0, 0.0)
    assert found.evaluation == pytest.approx(1 / 3 / 4)


def test_one_seed_or_one_task_cannot_be_split():
    assert spread([[0.0, 1.0, 1.0, 0.0]]) == Spread(None, None, None, pytest.approx(1 / 3 / 4))
    assert spread([[0.0], [1.0]]) == Spread(None, None, None, None)


@QUICK
@given(scores=SCORES, data=st.data())
def test_a_split_is_never_negative_and_knows_no_order(scores: Floats, data: st.DataObject):
    found = spread(scores)
    moved = spread(scores[data.draw(st.permutations(range(len(scores))))][:, ::-1])
    for one, other in zip(vars(found).values(), vars(moved).values(), strict=True):
        assert (one is None and other is None) or (0 <= one <= 1 + 1e-9 and other == pytest.approx(one, abs=1e-12))


# What a panel can tell


def test_the_power_of_the_evaluation_sets_as_recorded():
    """The figures of the project's notes: discordance 0.2, 80 % power, 5 % two-sided."""
    assert tasks_needed(0.05, 0.2) == 626
    assert tasks_needed(0.025, 0.2) == pytest.approx(2500, rel=0.01)
    assert smallest_difference(134, 0.2) == pytest.approx(0.1073, abs=1e-4)


@QUICK
@given(
    tasks=st.integers(1, 5000),
    discordance=st.floats(0, 1),
    seeds=st.integers(1, 9),
    alike=st.floats(0, 1),
    power=st.floats(0.5, 0.99),
)
def test_the_smallest_difference_solves_connors_equation(
    tasks: int, discordance: float, seeds: int, alike: float, power: float
):
    found = smallest_difference(tasks, discordance, seeds, alike, power=power)
    if found is None:
        return
    normal = NormalDist()
    v = discordance * (alike + (1 - alike) / seeds)
    reach = normal.inv_cdf(0.975) * math.sqrt(v) + normal.inv_cdf(power) * math.sqrt(max(0, v - found**2))
    assert 0 < found <= discordance
    assert math.sqrt(tasks) * found == pytest.approx(reach, rel=1e-6)
    assert tasks_needed(found * (1 + 1e-9), discordance, seeds, alike, power=power) in (
        None,
        tasks,
        tasks - 1,
        tasks + 1,
    )


@pytest.mark.parametrize(("tasks", "discordance"), [(0, 0.2), (1, 0.2), (3, 1.0), (134, 0.0), (20, 0.05)])
def test_an_evaluation_set_that_is_too_small_resolves_nothing(tasks: int, discordance: float):
    assert smallest_difference(tasks, discordance) is None


@pytest.mark.parametrize(("difference", "discordance"), [(0.0, 0.2), (0.3, 0.2), (0.1, 0.0)])
def test_no_evaluation_set_shows_a_difference_that_cannot_be(difference: float, discordance: float):
    assert tasks_needed(difference, discordance) is None


def test_seeds_help_as_far_as_they_differ():
    one = smallest_difference(134, 0.2)
    assert smallest_difference(134, 0.2, seeds=5, alike=1.0) == one
    assert smallest_difference(999, 0.2, seeds=5, alike=0.0) == pytest.approx(smallest_difference(999, 0.04), rel=1e-9)
    assert smallest_difference(999, 0.2, seeds=5, alike=0.5) == pytest.approx(smallest_difference(999, 0.12), rel=1e-9)
    assert tasks_needed(-0.05, 0.2) == tasks_needed(0.05, 0.2)


@pytest.mark.parametrize(
    ("discordance", "seeds", "alike"), [(1.2, 1, 1.0), (-0.1, 1, 1.0), (0.2, 0, 1.0), (0.2, 2, 1.5)]
)
def test_impossible_assumptions_are_refused(discordance: float, seeds: int, alike: float):
    with pytest.raises(ValueError, match="discordance"):
        smallest_difference(134, discordance, seeds, alike)
    with pytest.raises(ValueError, match="discordance"):
        tasks_needed(0.1, discordance, seeds, alike)
