"""Statistics: numbers by hand and by SciPy, and what no order and no naming of things may change."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats as scipy_stats
from strategies import max_examples

from spa_bench.core import Floats
from spa_bench.stats import (
    Estimate,
    Spread,
    iqm,
    mean_over_both,
    over_seeds,
    paired,
    performance_profile,
    probability_of_improvement,
    spread,
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


def test_t20_one_seed_has_no_interval():
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
def test_t20_wilsons_interval_is_that_of_scipy(successes: int, n: int, level: float):
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


def test_one_seed_has_an_interval_over_tasks():
    values = rng(1).normal(size=(1, 80))
    found = mean_over_both(values, None)
    assert (found.mean, found.n) == (pytest.approx(values.mean()), 80)
    assert standard_error(found, 79) == pytest.approx(values.std(ddof=1) / math.sqrt(80))


def test_seeds_that_do_the_same_on_all_tasks_have_an_interval_over_seeds():
    levels = rng(1).normal(size=30)
    found = mean_over_both(np.repeat(levels[:, None], 50, axis=1), None)
    assert found.n == 30
    assert standard_error(found, 29) == pytest.approx(levels.std(ddof=1) / math.sqrt(30))


def test_the_variance_counts_the_residual_once():
    """Seeds, tasks and residual of variance 0.04, 0.04 and 1: both means hold the residual, 1 / 2000 of it."""
    values = rng(1).normal(size=(40, 50)) + 0.2 * rng(3).normal(size=(40, 1)) + 0.2 * rng(4).normal(size=50)
    rows, columns = values.mean(1).var(ddof=1) / 40, values.mean(0).var(ddof=1) / 50
    left = values - values.mean(1)[:, None] - values.mean(0) + values.mean()
    columns -= (left**2).sum() / (39 * 49) / 2000
    assert 0 < columns < 0.9 * values.mean(0).var(ddof=1) / 50
    freedom = (rows + columns) ** 2 / (rows**2 / 39 + columns**2 / 49)
    assert standard_error(mean_over_both(values, None), freedom) == pytest.approx(math.sqrt(rows + columns))


def test_the_variance_by_training_may_come_from_elsewhere():
    """Two seeds and tasks that do not differ: half of the variance of a run, with its degrees of freedom."""
    found = mean_over_both([[0.2, 0.2], [0.6, 0.6]], None, (0.02, 10.0))
    assert (found.mean, found.n) == (pytest.approx(0.4), 2)
    assert standard_error(found, 10) == pytest.approx(0.1)


def test_what_differs_between_kinds_is_no_uncertainty():
    hard, easy = rng(1).normal(0, 0.1, 60), rng(2).normal(1, 0.1, 20)
    values, kinds = np.concatenate([hard, easy])[None], ["hard"] * 60 + ["easy"] * 20
    whole, strata = mean_over_both(values, None), mean_over_both(values, kinds)
    assert strata.mean == whole.mean == pytest.approx(values.mean())
    parts = [(0.75**2 * hard.var(ddof=1) / 60, 59), (0.25**2 * easy.var(ddof=1) / 20, 19)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / free for part, free in parts)
    assert standard_error(strata, freedom) == pytest.approx(math.sqrt(variance))
    assert standard_error(whole, 79) == pytest.approx(values.std(ddof=1) / math.sqrt(80))


@pytest.mark.parametrize("kinds", ["aabc", "abcd", "aaab", "abbb"])
def test_kinds_of_one_task_are_thrown_together_and_not_taken_as_certain(kinds: str):
    values = np.array([[0.0, 1.0, 0.0, 1.0]])
    found = mean_over_both(values, list(kinds))
    together = {"aabc": "aabb", "abcd": "aaaa", "aaab": "aaaa", "abbb": "aaaa"}[kinds]
    assert numbers(found) == numbers(mean_over_both(values, list(together)))
    assert found.low is not None


@pytest.mark.parametrize("scores", [[[0.3]], [[1.0, 1.0, 1.0]], [[0.1], [0.1], [0.1]], [[0.7, 0.7], [0.7, 0.7]]])
def test_scores_that_are_all_equal_have_no_interval(scores: list[list[float]]):
    found = mean_over_both(scores, None)
    assert (found.mean, found.low, found.high) == (pytest.approx(scores[0][0]), None, None)


def test_the_interval_over_both_is_cut_where_the_quantity_ends():
    found = mean_over_both([[1.0, 1.0, 1.0, 0.0]], None, limits=(0.0, 1.0))
    assert (found.high, found.low) == (1.0, 0.0)


def test_a_higher_level_is_a_wider_interval():
    values = rng(1).normal(size=(4, 30))
    widths = [np.ptp(numbers(mean_over_both(values, None, level=level))) for level in (0.5, 0.9, 0.95, 0.99)]
    assert widths == sorted(widths)
    assert widths[0] < widths[1] / 2


@pytest.mark.parametrize("scores", [[], [[]], [0.5, 0.5], [[0.5, float("nan")]], [[float("inf")]], [[0.0, 1e200]]])
def test_what_is_no_table_of_scores_is_refused(scores: list[object]):
    for use in (lambda: mean_over_both(scores, None), lambda: spread(scores), lambda: paired(scores, scores)):
        with pytest.raises(ValueError, match="no scores"):
            use()


def test_tasks_without_a_kind_are_refused():
    with pytest.raises(ValueError, match="2 kinds for 3 tasks"):
        mean_over_both([[0.0, 1.0, 0.0]], ["a", "b"])


@QUICK
@given(scores=SCORES, data=st.data())
def test_the_order_of_seeds_and_tasks_changes_no_interval(scores: Floats, data: st.DataObject):
    kinds = data.draw(st.lists(st.sampled_from("ab"), min_size=scores.shape[1], max_size=scores.shape[1]))
    rows = data.draw(st.permutations(range(scores.shape[0])))
    columns = data.draw(st.permutations(range(scores.shape[1])))
    moved = mean_over_both(scores[rows][:, columns], [kinds[place] for place in columns])
    assert numbers(moved) == pytest.approx(numbers(mean_over_both(scores, kinds)), abs=1e-9)


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
