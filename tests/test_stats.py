"""Means over seeds: numbers by hand, and an interval that covers as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from spa_bench.stats import Estimate, over_seeds


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


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    samples = rng.normal(3.0, 2.0, size=(2000, 4))
    found = [over_seeds(list(sample), level=0.9) for sample in samples]
    covered = np.mean([one.low <= 3.0 <= one.high for one in found if one.low is not None and one.high is not None])
    assert covered == pytest.approx(0.9, abs=0.02)
