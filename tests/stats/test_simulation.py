"""Statistics by simulation: intervals cover as often as they say, tests find nothing where there is nothing.

Every simulation has a seed, so a test passes always or never. With 1000 repetitions a share of 95 % is known to 0.7 %.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats as scipy_stats

from spa_bench.core import Floats
from spa_bench.stats import (
    Estimate,
    compared,
    mean_over_both,
    over_seeds,
    paired,
    probability_of_improvement,
    relative_improvement,
    spread,
    training,
    wilson,
)

REPETITIONS = 1000
KINDS = list("abcdef")
KIND_LEVELS = np.linspace(-0.8, 0.8, len(KINDS))


def coverage(truth: float, sample: Callable[[], Estimate | None], repetitions: int = REPETITIONS) -> float:
    """Share of intervals that hold the truth; where there is no interval, none does."""
    found = [sample() for _ in range(repetitions)]
    ends = [(one.low, one.high) for one in found if one is not None and one.low is not None and one.high is not None]
    return sum(low <= truth <= high for low, high in ends) / repetitions


def share(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


class World:
    """Tasks of six kinds, in turn; seeds and tasks of each kind are drawn anew each time. Level in logits."""

    def __init__(self, level: float, by_seed: float, by_task: float, tasks: int = 134):
        self.level, self.by_seed, self.by_task = level, by_seed, by_task
        self.kinds = [KINDS[place % len(KINDS)] for place in range(tasks)]
        self.kind_levels = KIND_LEVELS[np.arange(tasks) % len(KINDS)]

    def truth(self) -> float:
        """Success in the long run, by Gauss-Hermite quadrature over the sum of both normal effects."""
        points, weights = np.polynomial.hermite_e.hermegauss(60)
        logits = self.level + self.kind_levels[:, None] + np.hypot(self.by_seed, self.by_task) * points
        return float(share(logits).mean(0) @ weights / weights.sum())

    def play(self, seeds: int, rng: np.random.Generator, tasks: Floats | None = None) -> Floats:
        drawn = self.by_task * rng.normal(size=len(self.kinds)) if tasks is None else tasks
        logits = self.level + self.kind_levels + drawn + self.by_seed * rng.normal(size=(seeds, 1))
        return (rng.random((seeds, len(self.kinds))) < share(logits)).astype(np.float64)


def differing(tasks: int, discordance: float, difference: float, rng: np.random.Generator) -> Floats:
    """First minus second on each task, one seed of each."""
    drawn = rng.random(tasks)
    first = (discordance + difference) / 2
    return np.where(drawn < first, 1.0, np.where(drawn < discordance, -1.0, 0.0))


# Coverage


def test_t20_the_interval_over_seeds_covers():
    rng = np.random.default_rng(1)
    samples = rng.normal(3.0, 2.0, size=(2000, 4))
    found = [over_seeds(list(sample), level=0.9) for sample in samples]
    covered = np.mean([one.low <= 3.0 <= one.high for one in found if one.low is not None and one.high is not None])
    assert covered == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("n", [20, 134, 500])
def test_wilsons_interval_covers_on_average_over_shares(n: int):
    """Exactly, by the binomial distribution; for a single share the coverage goes up and down, as k is whole."""
    found = [wilson(successes, n) for successes in range(n + 1)]
    ends = np.array([(one.low, one.high) for one in found if one is not None])
    shares = np.linspace(0.02, 0.98, 97)
    holds = (ends[:, 0] <= shares[:, None]) & (shares[:, None] <= ends[:, 1])
    covered = (scipy_stats.binom.pmf(np.arange(n + 1), n, shares[:, None]) * holds).sum(1)
    assert covered.mean() == pytest.approx(0.95, abs=0.015)
    assert covered.min() > 0.83


@pytest.mark.parametrize(
    ("seeds", "world"),
    [
        (1, World(0.5, 0.0, 1.0)),
        (3, World(0.5, 0.2, 1.0)),
        (5, World(0.5, 0.3, 1.0)),
        (10, World(0.0, 0.5, 1.0, tasks=60)),
    ],
)
def test_the_interval_over_seeds_and_tasks_covers_in_a_table_of_five_rows(seeds: int, world: World):
    """Rows of equal methods on the same tasks: the variance by training is that of all of them."""
    rng = np.random.default_rng(2)
    truth = world.truth()

    def sample() -> Estimate:
        tasks = rng.normal(size=len(world.kinds))
        rows = np.array([world.play(seeds, rng, tasks) for _ in range(5)])
        seen = training(rows.mean(2), 1 / len(world.kinds))
        return mean_over_both(rows[0], world.kinds, seen and (float(seen.own[0]), float(seen.own_freedom[0])))

    assert coverage(truth, sample, 2 * REPETITIONS) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("by_seed", [0.0, 0.8])
def test_a_single_row_of_three_seeds_covers_nearly_as_often(by_seed: float):
    """Its degrees of freedom are estimated from three seeds."""
    rng, world = np.random.default_rng(3), World(0.5, by_seed, 1.0)
    truth = world.truth()
    covered = coverage(truth, lambda: mean_over_both(world.play(3, rng), world.kinds))
    assert 0.91 <= covered <= 0.965


@pytest.mark.parametrize(("tasks", "first", "second"), [(134, 0.6, 0.5), (40, 0.3, 0.3), (20, 0.9, 0.6)])
def test_the_interval_of_a_relative_improvement_covers_other_tasks(tasks: int, first: float, second: float):
    """Half of the tasks are as hard for one method as for the other."""
    rng = np.random.default_rng(7)

    def sample() -> Estimate | None:
        one, other = rng.random((2, tasks))
        other = np.where(rng.random(tasks) < 0.5, one, other)
        return relative_improvement([1.0 * (one < first)], [1.0 * (other < second)], rng, draws=500)

    assert coverage(first / second - 1, sample, 600) == pytest.approx(0.955, abs=0.025)


@pytest.mark.parametrize("ahead", [0.0, 1.0])
def test_the_probability_of_improvement_covers_with_thirty_runs(ahead: float):
    rng = np.random.default_rng(6)
    truth = float(scipy_stats.norm.cdf(ahead / np.sqrt(2)))
    covered = coverage(
        truth,
        lambda: probability_of_improvement(rng.normal(ahead, 1, (30, 1)), rng.normal(size=(30, 1)), rng, draws=400),
        800,
    )
    assert covered == pytest.approx(0.95, abs=0.02)


# Size and power


@pytest.mark.parametrize(("tasks", "discordance"), [(134, 0.2), (500, 0.3), (40, 0.2)])
def test_t20_policies_of_one_seed_are_found_different_on_other_tasks_in_five_percent(tasks: int, discordance: float):
    rng = np.random.default_rng(7)
    none = np.zeros((1, tasks))
    pairs = [paired(differing(tasks, discordance, 0.0, rng)[None], none) for _ in range(2000)]
    found = [compared([one], [(0, 1)], None, rng, draws=499)[0].p for one in pairs]
    assert (np.array(found) < 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_seeds_that_differ_on_the_same_tasks_are_not_counted_as_more_tasks():
    """Each task has its own difference, 0 on average. Episodes as independent pairs would find methods different."""
    rng = np.random.default_rng(9)
    found, naive = [], []
    for _ in range(600):
        leaning = share(1.5 * rng.normal(size=(1, 100)))
        first = (rng.random((5, 100)) < leaning).astype(np.float64)
        second = (rng.random((5, 100)) < 1 - leaning).astype(np.float64)
        seen = training([first.mean(1), second.mean(1)], 0.01)
        found.append(compared([paired(first, second)], [(0, 1)], seen, rng, draws=499)[0].p)
        naive.append(scipy_stats.binomtest(int((first > second).sum()), int((first != second).sum())).pvalue)
    assert (np.array(naive) < 0.05).mean() > 0.2
    assert (np.array(found) < 0.05).mean() == pytest.approx(0.05, abs=0.025)


# Variance


def test_the_split_of_the_variance_is_right_on_average():
    rng = np.random.default_rng(14)
    found = [
        spread(0.5 * rng.normal(size=(6, 1)) + 0.7 * rng.normal(size=40) + rng.normal(size=(6, 40)))
        for _ in range(REPETITIONS)
    ]
    for part, truth in (("training", 0.25), ("task", 0.49), ("residual", 1.0), ("evaluation", 1.49 / 40)):
        assert np.mean([getattr(one, part) for one in found]) == pytest.approx(truth, rel=0.05), part
