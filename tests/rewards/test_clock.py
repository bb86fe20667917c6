"""What is held out, and what a clock reaches there, by hand and against the textbook formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench.rewards._clock import balanced, calibration, clock, compared, fitted_evenly, hands, partial, r2
from spa_bench.rewards._network import Parts, split


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.floats(0.01, 0.99), st.booleans(), st.integers(0, 9))
@max_examples(60)
def test_every_episode_is_in_one_part_and_no_task_in_two(tasks, share, choose, seed):
    parts = split([str(t) for t in tasks], share, rng(seed), choose=choose)
    indices = [part.tolist() for part in (parts.train, parts.choose, parts.report)]
    assert sorted([i for part in indices for i in part]) == list(range(len(tasks)))
    assert indices[0] and bool(indices[1]) == choose
    measured = len(set(tasks)) > 1 + choose
    assert bool(indices[2]) == measured
    if len(set(tasks)) > 1:
        of_part = [{tasks[i] for i in part} for part in indices]
        assert not of_part[0] & of_part[1] and not of_part[0] & of_part[2] and not of_part[1] & of_part[2]
    if measured:
        count = len(set(tasks))
        assert len(of_part[2]) == min(max(1, round(share * count)), (count - 1) // (1 + choose))
        assert not choose or len(of_part[1]) == len(of_part[2])


def test_of_two_tasks_one_is_trained_on_and_the_other_chooses():
    """Episodes of one task in both parts would choose by what was trained on; nothing is left to report."""
    parts = split(["a", "b", "a", "b", "a"], 0.2, rng())
    assert sorted([parts.train.tolist(), parts.choose.tolist()]) == [[0, 2, 4], [1, 3]]
    assert not len(parts.report)
    single = split(["a"] * 5, 0.2, rng())
    assert (len(single.train), len(single.choose), len(single.report)) == (4, 1, 0)


def test_a_split_depends_on_the_generator_alone():
    tasks = [str(n % 10) for n in range(40)]
    same, again, other = (split(tasks, 0.2, rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(same.report, again.report) and not torch.equal(same.report, other.report)
    assert len(same.report) == len(same.choose) == 8


NONE = torch.tensor([], dtype=torch.long)
PARTS = Parts(torch.arange(8), NONE, torch.arange(8, 28))


def test_r2_by_hand():
    """Errors 0, 1, 1; without the estimator, by the mean of training .5: .25 each. Nothing varies: not defined."""
    assert r2(np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0]), 0.5) == pytest.approx(1 - 2 / 0.75)
    assert r2(np.array([0.4]), np.array([0.5]), 0.5) is None


def test_a_clock_knows_the_outcome_where_every_failure_ends_at_the_limit():
    """Successes in 1 to 9 steps, failures in 20; the estimator is chance."""
    lengths = np.array([20.0 if n % 2 else 1.0 + n // 2 % 9 for n in range(28)])
    timeouts = (lengths == 20).astype(float)
    chance = np.random.default_rng(0).random(28)
    figures = compared(chance, 1 - timeouts, lengths, timeouts, PARTS)
    assert figures["clock_r2"] == pytest.approx(1.0)
    assert figures["held_out_r2"] < 0.5
    assert "partial_correlation" not in figures, "the clock leaves nothing of the outcome"


def test_a_clock_knows_nothing_where_all_episodes_are_equally_long():
    outcomes = np.array([n % 3 == 0 for n in range(28)], dtype=float)
    figures = compared(outcomes, outcomes, np.full(28, 9.0), np.zeros(28), PARTS)
    mean = outcomes[:8].mean()
    assert figures["clock_r2"] == pytest.approx(0.0, abs=1e-9) and mean != outcomes[8:].mean()
    assert figures["held_out_r2"] == 1.0 and figures["partial_correlation"] == pytest.approx(1.0)
    assert figures["train_mse"] == figures["held_out_mse"] == 0.0


def test_the_clock_is_fitted_on_the_training_part_alone():
    lengths = np.arange(1.0, 29.0)
    outcomes = lengths / 20
    outcomes[8:] = 0.0
    figures = compared(np.zeros(28), outcomes, lengths, np.zeros(28), PARTS)
    assert figures["clock_r2"] < -1
    features = hands(lengths, np.zeros(28))
    np.testing.assert_allclose(clock(features, outcomes, np.arange(8)), lengths / 20, atol=1e-9)


@given(st.integers(0, 1000))
@max_examples(30)
def test_the_partial_correlation_is_the_one_of_the_inverse_covariance(seed):
    """-P_12 / sqrt(P_11 P_22), P the inverse of the covariance of both and of what is held fixed."""
    dice = np.random.default_rng(seed)
    lengths, timeouts = dice.integers(1, 20, 60).astype(float), dice.integers(0, 2, 60).astype(float)
    features = hands(lengths, timeouts)
    assume(np.linalg.matrix_rank(features) == 4)
    targets = features @ dice.normal(size=4) + dice.normal(size=60)
    predicted = 0.5 * targets + features @ dice.normal(size=4) + dice.normal(size=60)
    precision = np.linalg.inv(np.cov(np.stack([predicted, targets, *features.T[1:]])))
    want = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    assert partial(predicted, targets, features) == pytest.approx(want, abs=1e-6)


def test_too_few_episodes_have_no_partial_correlation():
    """From 20 on: of 5 it is 1 or -1, whatever the numbers."""
    dice = np.random.default_rng(0)
    features = hands(dice.integers(1, 20, 20).astype(float), np.arange(20) % 2.0)
    predicted, targets = dice.normal(size=20), dice.normal(size=20)
    assert partial(predicted[:19], targets[:19], features[:19]) is None
    assert abs(partial(predicted, targets, features)) < 0.9
    figures = compared(
        predicted, targets, features[:, 1], features[:, 3], Parts(torch.arange(20), NONE, torch.arange(19))
    )
    assert "held_out_r2" in figures and "partial_correlation" not in figures


def test_each_label_counts_the_same_in_an_accuracy():
    """Two of three experts and one of two others: (2/3 + 1/2) / 2. Nothing said counts half."""
    labels = np.array([1.0, 1, 1, -1, -1])
    assert balanced(np.array([2.0, 0.1, -1, -3, 4]), labels) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert balanced(np.zeros(5), labels) == 0.5


def test_a_clock_tells_experts_apart_by_the_turn_alone():
    """Experts act in turns 0 to 4 and the policy in turns 5 to 19, three times as often: the border is between."""
    turns = np.arange(20.0)
    labels = np.where(turns < 5, 1.0, -1.0)
    numbers = fitted_evenly(hands(turns, np.zeros(20)), labels, np.arange(20))
    assert balanced(numbers, labels) > 0.9
    assert abs(fitted_evenly(hands(np.full(20, 3.0), np.zeros(20)), labels, np.arange(20))).max() < 1e-9


def test_calibration_has_means_of_equal_parts_by_rising_prediction():
    predicted, outcomes = np.array([0.9, 0.1, 0.7, 0.3, 0.2, 0.8, 0.0, 0.6]), np.array([1.0, 0, 1, 0, 1, 0, 0, 1])
    assert calibration(predicted, outcomes) == pytest.approx({
        "calibration_1_predicted": 0.15, "calibration_1_outcome": 0.25, "calibration_1_episodes": 4.0,
        "calibration_2_predicted": 0.75, "calibration_2_outcome": 0.75, "calibration_2_episodes": 4.0,
    })  # fmt: skip
    assert calibration(predicted[:3], outcomes[:3]) == {}
    many = calibration(np.arange(100.0), np.arange(100.0))
    assert [many[f"calibration_{n}_episodes"] for n in range(1, 6)] == [20.0] * 5 and len(many) == 15
