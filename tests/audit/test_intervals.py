"""Intervals over tasks and fits: by hand, by what must not change them, and their coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import max_examples

from spa_bench.audit.intervals import CORRELATION, Estimate, Measured, Resamples, farthest, mean_of

pytestmark = pytest.mark.filterwarnings("error")


def tasks(count: int, draws: int = 2000, seed: int = 0) -> Resamples:
    return Resamples.draw([f"{n:04}" for n in range(count)], np.random.default_rng(seed), draws)


def test_the_value_is_the_mean_of_the_fits_and_the_interval_holds_their_spread():
    # All tasks are alike, so that the fits alone vary: 0.1, 0.2, 0.3, with the standard error 0.1 / sqrt(3).
    found = tasks(400).mean(*(np.full(400, x) for x in (0.1, 0.2, 0.3)))
    assert found.value == pytest.approx(0.2)
    # Two degrees of freedom; the percentiles of 400 tasks are those of 1.97 standard errors instead of 1.96.
    wide = stats.t.ppf(stats.norm.cdf(math.sqrt(400 / 399) * stats.t.ppf(0.975, 399)), 2) * 0.1 / math.sqrt(3)
    assert (found.low, found.high) == (pytest.approx(0.2 - wide, abs=0.005), pytest.approx(0.2 + wide, abs=0.005))
    assert (found.used, found.of, found.tasks) == (400, 400, 400)


def test_fits_and_tasks_vary_together():
    values = np.random.default_rng(1).normal(size=100)
    alone = tasks(100).mean(values)
    both = tasks(100).mean(values, values + 0.4, values - 0.4)
    assert both.value == pytest.approx(alone.value)
    # Variances add up: about 0.1^2 of the tasks and (0.4 / sqrt(3))^2 of the fits, with a t of 2 degrees of freedom.
    assert both.high - both.low > 3 * (alone.high - alone.low)


@max_examples(40)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.integers(2, 4))
def test_fits_that_agree_count_as_one(values: list[float], count: int):
    one = np.array(values)
    several, alone = (tasks(len(one), 200).fisher_mean(*fits) for fits in ([one] * count, [one]))
    assert (several.value, several.used) == (pytest.approx(alone.value), alone.used)
    assert (several.low, several.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


@max_examples(40)
@given(st.permutations([0, 1, 2]))
def test_the_order_of_fits_changes_nothing(order: list[int]):
    fits = np.random.default_rng(2).uniform(-1, 1, (3, 20))
    first, second = tasks(20, 200).fisher_mean(*fits), tasks(20, 200).fisher_mean(*fits[order])
    assert first.low == pytest.approx(second.low) and first.value == pytest.approx(second.value)


def test_an_interval_of_few_fits_stays_within_what_is_possible():
    found = tasks(30).fisher_mean(*(np.full(30, x) for x in (-0.9, 0.0, 0.9)))
    assert (found.value, found.low, found.high) == (pytest.approx(0.0), -1.0, 1.0)


def test_a_fit_without_a_figure_is_left_out_and_the_fewest_units_are_told():
    nan = math.nan
    some, none = np.array([0.5, nan, 0.3]), np.full(3, nan)
    found = tasks(3).mean(some, none, np.array([0.1, 0.3, 0.2]))
    assert found.value == pytest.approx((0.4 + 0.2) / 2)
    assert (found.used, found.of, found.tasks) == (2, 3, 2)
    assert tasks(3).mean(none, none) == Measured(None, None, None, 0, 3, 0)


def coverage(fits: int, sure: bool) -> float:
    """Share of intervals that hold the true mean 0, of `fits` fits; or of the same with the fits' spread left out."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(800):
        values = 0.3 * rng.normal(size=(1, 40)) + 0.1 * rng.normal(size=(fits, 1)) + 0.2 * rng.normal(size=(fits, 40))
        own = tasks(40, 400, int(rng.integers(2**30)))
        found = own.mean(*values) if sure else own.mean(values.mean(0))
        held.append(found.low <= 0 <= found.high)
    return float(np.mean(held))


@pytest.mark.parametrize("fits", [2, 3, 5])
def test_intervals_hold_what_any_fit_would_give(fits: int):
    assert 0.935 <= coverage(fits, sure=True) <= 0.99
    assert coverage(fits, sure=False) < 0.9


def test_what_is_known_is_averaged_or_the_farthest_from_zero():
    assert (mean_of([0.5, None, 1.5]), mean_of([None]), mean_of([])) == (1.0, None, None)
    assert (farthest([0.5, None, -1.5]), farthest([2.0, -1.0])) == (-1.5, 2.0)
    assert farthest([None]) is None and farthest([]) is None


def test_an_estimate_of_one_fit_is_a_percentile_interval():
    own = tasks(2000, 4001)
    replicates = np.linspace(-0.5, 0.5, 4001)
    found = own.measured(Estimate(0.0, replicates, np.ones(2000, dtype=bool)), span=CORRELATION)
    assert (found.low, found.high) == (pytest.approx(-0.475, abs=1e-3), pytest.approx(0.475, abs=1e-3))
