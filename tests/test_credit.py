"""Numbers by hand, then properties that no number shows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import episode, floats

from spa_bench import credit
from spa_bench.core import derive_seed

GAMMA = st.sampled_from([0.0, 0.5, 0.95, 1.0])


@st.composite
def walks(draw: st.DrawFn, max_size: int = 12):
    """(rewards (N,), values (N + 1,))."""
    size = draw(st.integers(1, max_size))
    return draw(floats(size)), draw(floats(size + 1))


def direct(rewards: np.ndarray, values: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """The definition, in O(n^2): A_t = sum_l (gamma * lam)^l * delta_{t+l}."""
    n = len(rewards)
    deltas = [rewards[t] + gamma * values[t + 1] - values[t] for t in range(n)]
    return np.array([sum((gamma * lam) ** k * deltas[t + k] for k in range(n - t)) for t in range(n)])


# By hand


def test_returns_by_hand():
    # G_2 = 4, G_1 = 2 + 4/2 = 4, G_0 = 1 + 4/2 = 3
    np.testing.assert_allclose(credit.returns(np.array([1.0, 2.0, 4.0]), 0.5), [3.0, 4.0, 4.0])


def test_gae_by_hand():
    # deltas: 1 + .5*1 - .5 = 1, 0 + .5*1.5 - 1 = -.25, 2 + 0 - 1.5 = .5; gamma * lam = .25
    # A_2 = .5, A_1 = -.25 + .25 * .5 = -.125, A_0 = 1 + .25 * -.125 = .96875; targets A + V
    advantages, targets = credit.gae(np.array([1.0, 0.0, 2.0]), np.array([0.5, 1.0, 1.5, 0.0]), 0.5, 0.5)
    np.testing.assert_allclose(advantages, [0.96875, -0.125, 0.5])
    np.testing.assert_allclose(targets, [1.46875, 0.875, 2.0])


def test_a_cut_off_episode_bootstraps_and_a_terminated_one_does_not():
    # One decision, r = 1, V = 2, gamma = .5. Cut off with V' = 4: A = 1 + .5 * 4 - 2 = 1. Terminated: A = 1 - 2 = -1.
    np.testing.assert_allclose(credit.gae(np.array([1.0]), np.array([2.0, 4.0]), 0.5, 0.9)[0], [1.0])
    np.testing.assert_allclose(credit.gae(np.array([1.0]), np.array([2.0, 0.0]), 0.5, 0.9)[0], [-1.0])


def test_terminal_credit_decays_by_decision_as_the_paper_says():
    # Outcome 1 after three decisions, no critic, gamma = 1, lam = .5: (gamma * lam)^(n - 1 - t) = .25, .5, 1
    np.testing.assert_allclose(credit.gae(np.array([0.0, 0.0, 1.0]), np.zeros(4), 1.0, 0.5)[0], [0.25, 0.5, 1.0])


def test_steps_are_spread_over_their_tokens_by_hand():
    np.testing.assert_array_equal(credit.spread(np.array([3.0, 5.0]), [1, 2]), [3.0, 5.0, 5.0])
    np.testing.assert_array_equal(credit.on_last_token(np.array([3.0, 5.0]), [1, 3]), [3.0, 0.0, 0.0, 5.0])


def test_whitening_by_hand():
    # 1, 2 | 3: mean 2, variance 2/3
    low, high = credit.whiten([np.array([1.0, 2.0]), np.array([3.0])])
    np.testing.assert_allclose(low, [-np.sqrt(1.5), 0.0])
    np.testing.assert_allclose(high, [np.sqrt(1.5)])


def test_scaling_by_hand():
    # 3, 0 | 4: the signals 3 and 4 have the mean square 12.5; rounding is no signal
    first, second, rest = credit.scale([np.array([3.0, 0.0]), np.array([4.0]), np.array([1e-13, -1e-17])])
    np.testing.assert_allclose(first, [3 / np.sqrt(12.5), 0.0])
    np.testing.assert_allclose(second, [4 / np.sqrt(12.5)])
    assert rest.tolist() == [0.0, 0.0]
    assert [a.tolist() for a in credit.scale([np.zeros(2), np.zeros(0)])] == [[0.0, 0.0], []]
    assert credit.scale([]) == []


@pytest.mark.parametrize("critic", [True, False])
def test_an_episode_with_an_error_has_no_part_in_the_statistics(critic):
    sound, broken = episode(1.0), replace(episode(0.0), error="the world broke")
    alone = credit.normalise([sound], [np.array([1.0, 2.0, 4.0])], critic=critic)
    beside = credit.normalise([broken, sound], [np.full(3, 99.0), np.array([1.0, 2.0, 4.0])], critic=critic)
    np.testing.assert_array_equal(beside[1], alone[0])
    assert beside[0].tolist() == [0.0] * 3
    assert bool(abs(alone[0].mean()) < 1e-12) == critic


def test_return_gap_by_hand():
    assert credit.return_gap(np.array([0.25, 0.5]), 1.0) == -0.25
    assert credit.return_gap(np.zeros(0), 0.0) == 0.0


@pytest.mark.parametrize("values", [np.zeros(2), np.zeros(4), np.zeros((3, 1))])
def test_gae_refuses_values_of_another_shape(values):
    with pytest.raises(ValueError, match="one entry more"):
        credit.gae(np.zeros(2), values, 1.0, 1.0)


@pytest.mark.parametrize("lengths", [[1, 0], [1], [1, 1, 1], [2, -1]])
def test_a_step_without_a_token_is_refused_because_its_reward_would_be_lost(lengths):
    with pytest.raises(ValueError, match="each step needs a token"):
        credit.on_last_token(np.ones(2), lengths)


def test_an_episode_without_decisions_is_harmless():
    advantages, targets = credit.gae(np.zeros(0), np.zeros(1), 0.9, 0.9)
    assert advantages.shape == targets.shape == (0,)
    assert credit.on_last_token(np.zeros(0), []).shape == credit.spread(np.zeros(0), []).shape == (0,)
    assert credit.whiten([]) == []
    assert [a.shape for a in credit.whiten([np.zeros(0)])] == [(0,)]


# Properties


@given(walks(), GAMMA, GAMMA)
def test_t13_gae_is_its_definition(walk, gamma, lam):
    rewards, values = walk
    advantages, targets = credit.gae(rewards, values, gamma, lam)
    np.testing.assert_allclose(advantages, direct(rewards, values, gamma, lam), atol=1e-9)
    np.testing.assert_allclose(targets, advantages + values[:-1], atol=1e-9)


@given(walks(), GAMMA)
def test_lambda_one_is_the_return_minus_the_value(walk, gamma):
    rewards, values = walk
    tail = np.append(np.zeros(len(rewards) - 1), gamma * values[-1])
    advantages, _ = credit.gae(rewards, values, gamma, 1.0)
    np.testing.assert_allclose(advantages, credit.returns(rewards + tail, gamma) - values[:-1], atol=1e-9)


@given(walks(), GAMMA)
def test_lambda_zero_is_the_one_step_error(walk, gamma):
    rewards, values = walk
    expected = rewards + gamma * values[1:] - values[:-1]
    np.testing.assert_allclose(credit.gae(rewards, values, gamma, 0.0)[0], expected, atol=1e-9)


@given(walks())
def test_without_discount_and_critic_advantages_are_the_sums_to_go(walk):
    rewards, _ = walk
    advantages, targets = credit.gae(rewards, np.zeros(len(rewards) + 1), 1.0, 1.0)
    np.testing.assert_allclose(advantages, [rewards[t:].sum() for t in range(len(rewards))], atol=1e-9)
    np.testing.assert_array_equal(advantages, targets)


@given(st.integers(1, 30), st.floats(-5, 5), st.sampled_from([0.5, 0.9, 0.99]), GAMMA)
def test_a_constant_critic_that_is_right_leaves_no_advantage(size, value, gamma, lam):
    # r = V * (1 - gamma) for ever has the value V everywhere: every delta is zero.
    rewards = np.full(size, value * (1 - gamma))
    advantages, targets = credit.gae(rewards, np.full(size + 1, value), gamma, lam)
    np.testing.assert_allclose(advantages, 0.0, atol=1e-9)
    np.testing.assert_allclose(targets, value, atol=1e-9)


@given(st.integers(1, 20), st.floats(-5, 5), GAMMA, GAMMA)
def test_a_constant_critic_on_a_constant_reward_gives_the_known_lambda_return(size, value, gamma, lam):
    # delta = 1 + (gamma - 1) V, but 1 - V at the end, where the episode terminates: a geometric sum.
    values = np.append(np.full(size, value), 0.0)
    inner, last, ratio = 1 + (gamma - 1) * value, 1 - value, gamma * lam
    expected = [
        sum(ratio**k * inner for k in range(size - 1 - t)) + ratio ** (size - 1 - t) * last for t in range(size)
    ]
    np.testing.assert_allclose(credit.gae(np.ones(size), values, gamma, lam)[0], expected, atol=1e-9)


@given(walks(), GAMMA, GAMMA, st.integers(0, 11), st.floats(-5, 5, width=32))
def test_t13_a_reward_reaches_earlier_decisions_only_and_by_the_power_of_their_distance(walk, gamma, lam, at, extra):
    rewards, values = walk
    k = at % len(rewards)
    changed = rewards.copy()
    changed[k] += extra
    difference = credit.gae(changed, values, gamma, lam)[0] - credit.gae(rewards, values, gamma, lam)[0]
    np.testing.assert_allclose(difference[: k + 1], [(gamma * lam) ** (k - j) * extra for j in range(k + 1)], atol=1e-9)
    np.testing.assert_array_equal(difference[k + 1 :], 0.0)


@given(walks(max_size=5), GAMMA, GAMMA, st.data())
def test_t13_tokens_of_observations_between_the_decisions_change_no_advantage(walk, gamma, lam, data):
    """A sequence of text is cut down to its decisions before credit is spread, wherever observations stand in it.

    The mutant is GAE over the whole sequence with the critic masked to zero on observations (TRL 0.10.1): it decays.
    """
    rewards, values = walk
    gaps = data.draw(st.lists(st.integers(0, 5), min_size=len(rewards), max_size=len(rewards)))
    decision = np.concatenate([[False] * gap + [True] for gap in gaps])
    whole_rewards, whole_values = np.zeros(len(decision)), np.zeros(len(decision))
    whole_rewards[decision], whole_values[decision] = rewards, values[:-1]
    cut, _ = credit.gae(whole_rewards[decision], np.append(whole_values[decision], values[-1]), gamma, lam)
    np.testing.assert_array_equal(cut, credit.gae(rewards, values, gamma, lam)[0])


def test_gae_over_observation_tokens_is_the_mutant_that_decays():
    # Two decisions with three observation tokens between, outcome 1, gamma = 1, lam = .5: the first gets .5, not .5^4.
    right = credit.gae(np.array([0.0, 1.0]), np.zeros(3), 1.0, 0.5)[0]
    wrong = credit.gae(np.array([0.0, 0.0, 0.0, 0.0, 1.0]), np.zeros(6), 1.0, 0.5)[0]
    assert right[0] == 0.5
    assert wrong[0] == 0.0625


@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 6)), max_size=8))
def test_rewards_on_last_tokens_keep_their_sum_and_their_steps(parts):
    rewards, lengths = np.array([r for r, _ in parts]), [n for _, n in parts]
    tokens = credit.on_last_token(rewards, lengths)
    assert tokens.shape == (sum(lengths),)
    cuts = np.cumsum(lengths)[:-1].astype(int)
    pieces = np.split(tokens, cuts) if parts else []
    np.testing.assert_array_equal([piece.sum() for piece in pieces], rewards)
    np.testing.assert_array_equal([piece[-1] for piece in pieces], rewards)


@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 6)), min_size=1, max_size=8))
def test_spreading_gives_every_token_its_steps_number(parts):
    tokens = credit.spread(np.array([r for r, _ in parts]), [n for _, n in parts])
    np.testing.assert_array_equal(tokens, [r for r, n in parts for _ in range(n)])


@given(st.lists(st.lists(st.floats(-10, 10, width=32), max_size=6), min_size=1, max_size=5))
def test_whitened_advantages_have_no_mean_and_unit_or_no_spread(batch):
    arrays = [np.array(numbers, dtype=np.float64) for numbers in batch]
    white = credit.whiten(arrays)
    assert [a.shape for a in white] == [a.shape for a in arrays]
    flat = np.concatenate([*white, np.zeros(0)])
    if not flat.size:
        return
    assert np.isfinite(flat).all()
    assert abs(flat.mean()) < 1e-6
    assert flat.std() == pytest.approx(1.0, abs=1e-6) or np.concatenate(arrays).std() <= 1e-7


@given(st.lists(st.lists(st.floats(-10, 10, width=32), max_size=6), min_size=1, max_size=5))
def test_scaled_advantages_keep_their_signs_and_have_unit_or_no_size(batch):
    arrays = [np.array(numbers, dtype=np.float64) for numbers in batch]
    scaled = np.concatenate([*credit.scale(arrays), np.zeros(0)])
    flat = np.concatenate([*arrays, np.zeros(0)])
    large = np.abs(flat) > 1e-9
    np.testing.assert_array_equal(np.sign(scaled[large]), np.sign(flat[large]))
    assert not scaled[flat == 0].any()
    if large.any():
        assert np.mean(np.square(scaled[scaled != 0])) == pytest.approx(1.0)
        np.testing.assert_allclose(scaled[large] / flat[large], (scaled[large] / flat[large])[0])


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.7, 1e6, 0.1e12 + 0.7])
def test_a_constant_batch_is_whitened_to_zeros(constant):
    for whitened in credit.whiten([np.full(9, constant), np.full(1, constant)]):
        np.testing.assert_allclose(whitened, 0.0, atol=1e-15 * max(1.0, abs(constant)))


def test_seeds_come_from_any_text_and_differ_where_the_text_does() -> None:
    assert derive_seed("\ud800", 1) != derive_seed("?", 1)
    assert derive_seed("a", "b") != derive_seed("ab") and derive_seed(1, 2) == derive_seed("1", "2")
    assert derive_seed("spa-bench", 0) == 5940459771149456764
