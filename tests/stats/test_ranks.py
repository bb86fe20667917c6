"""Rank correlation over methods and Holm's correction, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spa_bench.stats.ranks import holm, rank_correlation


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_five_pairs_by_hand() -> None:
    """Ranks 1 2 3 4 5 against 2 1 3 5 4: d = 1 1 0 1 1, rho = 1 - 6 * 4 / (5 * 24) = 0.8."""
    found = rank_correlation([1, 2, 3, 4, 5], [20, 10, 30, 50, 40], rng())
    assert found is not None and found.n == 5
    assert found.value == pytest.approx(0.8)
    reach = 1.959964 * math.sqrt((1 + 0.32) / 2)
    assert found.low == pytest.approx(math.tanh(math.atanh(0.8) - reach), abs=1e-5)
    assert found.high == pytest.approx(math.tanh(math.atanh(0.8) + reach), abs=1e-5)
    # Of the 120 orders one has rho 1 and four 0.9, three 0.8, as many the other way: 16 of 120.
    assert found.p == pytest.approx(16 / 120, abs=0.015)


def test_a_perfect_order_of_ten_is_told_from_chance_and_has_no_interval() -> None:
    found = rank_correlation(list(range(10)), [-x for x in range(10)], rng())
    assert found is not None and found.value == pytest.approx(-1) and found.p < 0.001
    assert found.low is None and found.high is None


@pytest.mark.parametrize("second", [[1, 2, 3, 4], [1, 1, 1, 1, 1]])
def test_too_few_pairs_and_a_constant_have_none(second: list[float]) -> None:
    assert rank_correlation(list(range(len(second))), second, rng()) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=5, max_size=12))
def test_it_is_that_of_scipy_also_with_ties(pairs: list[tuple[int, int]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    found = rank_correlation(first, second, rng())
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found is not None
        assert found.value == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-9)
        assert 0 < found.p <= 1
        if found.low is not None and found.high is not None:
            assert -1 < found.low < found.value < found.high < 1
        mirrored = rank_correlation(first, [-x for x in second], rng())
        assert mirrored is not None and mirrored.value == pytest.approx(-found.value)


def test_under_chance_p_is_below_five_percent_in_five_percent() -> None:
    draws = np.random.default_rng(1)
    found = [rank_correlation(draws.random(8).tolist(), draws.random(8).tolist(), draws) for _ in range(150)]
    below = sum(one.p < 0.05 for one in found if one)
    assert 1 <= below <= 17  # 7.5 expected: beyond these bounds in one of a thousand


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
