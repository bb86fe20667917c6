"""Relative improvement: numbers by hand, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spa_bench.stats import Estimate, relative_improvement

tables = st.tuples(st.integers(1, 3), st.integers(1, 8)).flatmap(
    lambda shape: st.tuples(
        *[st.lists(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=shape[1], max_size=shape[1]),
                   min_size=shape[0], max_size=shape[0])] * 2
    )
)  # fmt: skip


def relative(first: object, second: object, seed: int = 0, draws: int = 200) -> Estimate | None:
    return relative_improvement(first, second, np.random.default_rng(seed), draws=draws)


def test_the_value_is_the_ratio_of_the_means_and_not_the_mean_of_ratios():
    found = relative([[1, 1, 0, 1], [1, 0, 0, 1]], [[1, 0, 0, 1], [0, 0, 0, 0]])
    assert found is not None
    assert found.mean == pytest.approx((5 / 8 - 2 / 8) / (2 / 8)) == pytest.approx(1.5)
    assert found.n == 4


def test_where_the_second_has_nothing_there_is_no_ratio():
    assert relative([[1, 1]], [[0, 0]]) is None
    assert relative([[0, 0]], [[0, 0]]) is None


def test_the_interval_is_that_of_a_ratio_of_paired_draws():
    """Of tasks that both or neither solve each draw has the same ratio, however many of either it holds."""
    same = [[1.0] * 6 + [0.0] * 6]
    assert relative(same, same) == Estimate(0.0, None, None, 12)
    half = [[0.5] * 6 + [0.0] * 6]
    assert relative(half, same) == Estimate(-0.5, None, None, 12)


def test_the_interval_has_the_expanded_percentiles_of_a_small_case():
    """All six tasks solved by the second, three by the first: the ratio of a draw is K / 6 - 1 with K ~ B(6, 1/2).

    The tail at six tasks is Phi(-sqrt(6 / 5) 2.571) = 0.24 %, less than the 1.6 % of K = 0; 2.5 % would stop at K = 1.
    """
    found = relative([[1, 1, 1, 0, 0, 0]], [[1] * 6], draws=20_000)
    assert found == Estimate(-0.5, -1.0, 0.0, 6)


def test_with_many_tasks_the_interval_is_that_of_the_delta_method():
    """Second 1 everywhere, so the ratio is the mean of the first minus 1."""
    first = [[1.0] * 300 + [0.0] * 100]
    found = relative(first, np.ones((1, 400)), draws=20_000)
    reach = 1.966 * math.sqrt(0.25 * 0.75 / 399)
    assert found is not None and found.low is not None and found.high is not None
    assert (found.low, found.high) == pytest.approx((-0.25 - reach, -0.25 + reach), abs=0.003)


@pytest.mark.parametrize(("solved", "interval"), [(1, False), (2, False), (3, False), (5, True)])
def test_a_second_that_solves_a_few_tasks_only_has_a_ratio_but_no_interval(solved: int, interval: bool):
    second = [[1.0] * solved + [0.0] * (40 - solved)]
    found = relative([[1.0] * 20 + [0.0] * 20], second, draws=2000)
    assert found is not None
    assert found.mean == pytest.approx(20 / solved - 1)
    assert (found.low is not None) == interval == (found.high is not None)


def test_one_task_has_no_interval():
    assert relative([[1], [0]], [[1], [1]]) == Estimate(-0.5, None, None, 1)


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_tasks_changes_no_bit(pair, random):
    first, second = (np.array(table) for table in pair)
    seeds, tasks = (random.sample(range(size), size) for size in first.shape)
    turned = [table[seeds][:, tasks] for table in (first, second)]
    assert relative(first, second) == relative(*turned)


@given(tables)
def test_a_method_against_itself_is_0_without_interval(pair):
    table = np.array(pair[0])
    found = relative(table, table)
    assert found == (Estimate(0.0, None, None, table.shape[1]) if table.any() else None)


@given(tables)
def test_the_ratio_is_defined_where_the_second_has_anything_and_its_ends_enclose_no_less_than_minus_one(pair):
    first, second = (np.array(table) for table in pair)
    found = relative(first, second)
    assert (found is None) == (not second.any())
    if found is not None:
        assert found.mean == pytest.approx(first.mean() / second.mean() - 1, abs=1e-9)
        assert (found.low is None) == (found.high is None)
        assert found.low is None or -1 <= found.low < found.high < math.inf


def test_thirds_are_not_rounded_before_the_ratio():
    found = relative([[0, 0, 0], [0, 0, 0], [0, 1, 1]], [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    assert found is not None and found.mean == 0.0


@given(tables)
def test_a_seed_that_is_there_twice_changes_no_value(pair):
    """The unit is the task: more seeds of the same kind make the interval no shorter."""
    first, second = pair
    assert relative(first, second) == relative(first * 2, second * 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [([[1]], [[1, 1]]), ([[]], [[]]), ([[-1.0]], [[1.0]]), ([[1.0]], [[-1.0]]), ([[math.nan]], [[1.0]])],
)
def test_what_has_no_ratio_is_an_error(first: object, second: object):
    with pytest.raises(ValueError, match="no "):
        relative(first, second)
