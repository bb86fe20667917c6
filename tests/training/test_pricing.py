"""From episodes to samples: rewards, advantages and targets by hand, on their tokens, in the right order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from spoken import Fixed, batch, price, sampled, spoken
from strategies import max_examples

from spa_bench import registry
from spa_bench.config import PPOConfig
from spa_bench.core import Floats, Tokens, Trajectory
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.rewards._groups import relative
from spa_bench.rewards.rloo import RLOO, leave_one_out
from spa_bench.training import metrics, ppo, pricing
from spa_bench.training.batches import Limit, pack, pack_trajectory
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.policy import Policy


class Broken(Fixed):
    def rewards(self, group):  # type: ignore[no-untyped-def]
        return [np.full(len(t), np.nan) for t in group]


class Short(Fixed):
    def rewards(self, group):  # type: ignore[no-untyped-def]
        return [np.ones(len(t) - 1) for t in group]


def test_a_turns_tokens_share_its_advantage_and_only_its_first_has_a_value_target(policy: Policy) -> None:
    trajectories = batch(policy)
    for sample, trajectory in zip(price(policy, Fixed(), trajectories).samples, trajectories, strict=True):
        decided = np.flatnonzero(~np.isnan(sample.value_targets))
        assert decided.tolist() == sample.sequences.starts.tolist()
        # gamma = lam = 1: the target is the sum of what is still to come.
        to_go = np.cumsum(np.arange(1.0, len(trajectory) + 1)[::-1])[::-1]
        np.testing.assert_allclose(sample.value_targets[decided], to_go, atol=1e-6)
        # Returns to go of 3, 2 and 10, 9, 7, 4 and 6, 5, 3: mean 49/9, standard deviation 2.629.
        np.testing.assert_allclose(sample.advantages[decided], (to_go - 49 / 9) / 2.6294, rtol=1e-4)
        wanted = np.repeat(sample.advantages[decided], sample.sequences.lengths)
        np.testing.assert_array_equal(sample.advantages, wanted)


def test_at_token_level_every_token_is_a_decision_and_a_step_is_paid_on_its_last(policy: Policy) -> None:
    trajectories = batch(policy)
    priced = price(policy, Fixed(), trajectories, level="token", lam=0.0)
    raw: list[Floats] = []
    for sample in priced.samples:
        want = np.zeros(len(sample.sequences.where))
        want[sample.sequences.ends] = np.arange(1.0, len(sample.sequences.lengths) + 1)
        raw.append(want)  # lam = 0, gamma = 1 and a critic of 0: the advantage is the reward itself
        np.testing.assert_allclose(sample.value_targets, want, atol=1e-6)
    flat = np.concatenate(raw)
    got = np.concatenate([sample.advantages for sample in priced.samples])
    np.testing.assert_allclose(got, (flat - flat.mean()) / flat.std(), atol=1e-5)


class Penalised(Fixed):
    kl_in_reward = True


def test_what_a_likelier_token_than_at_the_start_costs_is_taken_from_its_reward(policy: Policy, other: Policy) -> None:
    """Token level, lambda 0, gamma 1, a critic of 0: the target of a token is r - coef (log pi - log ref)."""
    trajectories = batch(policy)
    priced = price(policy, Penalised(), trajectories, other, level="token", lam=0.0, kl_coef=0.5)
    for sample in priced.samples:
        now, then = (pricing.score(model, [sample.sequences], Limit(10**6, 1))[0].logprobs for model in (policy, other))
        assert np.abs(now - then).max() > 0.01
        want = -0.5 * (now - then)
        want[sample.sequences.ends] += np.arange(1.0, len(sample.sequences.lengths) + 1)
        np.testing.assert_allclose(sample.value_targets, want, atol=1e-5)
        np.testing.assert_allclose(sample.reference_logprobs, then, atol=1e-5)
    plain = price(policy, Fixed(), trajectories, other, level="token", lam=0.0, kl_coef=0.5)
    for sample in plain.samples:  # in the loss, and not in the reward
        assert np.count_nonzero(np.round(sample.value_targets, 5)) == len(sample.sequences.lengths)


@pytest.mark.parametrize("level", ["turn", "token"])
def test_nothing_is_expected_after_the_step_limit(policy: Policy, level: str) -> None:
    """The critic says 1 everywhere. Lambda 0, gamma 1: a target is r + 1, and the last one of an episode r."""
    torch.nn.init.ones_(policy.value.bias)
    trajectories = batch(policy)
    assert all(t.truncated and not t.terminated for t in trajectories)
    priced = price(policy, Fixed(), trajectories, level=level, lam=0.0)
    for sample, trajectory in zip(priced.samples, trajectories, strict=True):
        paid = sample.sequences.starts if level == "turn" else sample.sequences.ends
        want = np.arange(1.0, len(trajectory) + 1) + (np.arange(len(trajectory)) < len(trajectory) - 1)
        np.testing.assert_allclose(sample.value_targets[paid], want, atol=1e-6)


def test_a_penalty_in_the_reward_lands_on_its_tokens_and_sums_up_per_turn() -> None:
    episode = pack([Tokens((1,), (2, 3), (0.0, 0.0), True), Tokens((4,), (5,), (0.0,))])
    penalty = np.array([0.1, 0.2, 0.4])
    np.testing.assert_allclose(pricing.stream(np.array([1.0, 2.0]), episode, "token", penalty), [-0.1, 0.8, 1.6])
    np.testing.assert_allclose(pricing.stream(np.array([1.0, 2.0]), episode, "turn", penalty), [0.7, 1.6])


def test_the_order_of_the_episodes_does_not_change_what_each_is_paid(policy: Policy) -> None:
    trajectories = batch(policy)
    there, back = price(policy, Fixed(), trajectories), price(policy, Fixed(), trajectories[::-1])
    for a, b in zip(there.samples, back.samples[::-1], strict=True):
        np.testing.assert_allclose(a.advantages, b.advantages, atol=1e-6)


def test_a_sampler_with_other_log_probs_is_an_error(policy: Policy) -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(ppo.TrainingError, match="sampler and trainer disagree"):
        price(policy, Fixed(), [spoken(rng, 3)])


@pytest.mark.parametrize(("method", "message"), [(Broken(), "gave nan for step"), (Short(), "for episodes of")])
def test_a_method_that_breaks_its_contract_is_an_error(policy: Policy, method: RewardMethod, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        price(policy, method, batch(policy))


def test_encoding_a_scored_batch_is_free_and_a_new_one_is_counted(policy: Policy) -> None:
    reference = pricing.Reference(policy, Limit(10**6, 4))
    trajectories = batch(policy)
    reference.score(trajectories, [pack_trajectory(t) for t in trajectories])
    states = reference.encode(trajectories)
    assert [s.shape for s in states] == [(2, 32), (4, 32), (3, 32)] and reference.extra_tokens == 0
    other = spoken(np.random.default_rng(9), 2)
    reference.encode([other])
    assert reference.extra_tokens == pack_trajectory(other).size


def test_hidden_states_are_those_of_the_turns_last_token(policy: Policy) -> None:
    trajectory = batch(policy)[1]
    episode = pack_trajectory(trajectory)
    with torch.no_grad():
        states = policy.model.base_model(torch.from_numpy(episode.ids[0])[None]).last_hidden_state[0]
    (got,) = pricing.Reference(policy, Limit(10**6, 4)).encode([trajectory])
    np.testing.assert_allclose(got, states[episode.where[episode.ends, 1]].numpy(), atol=1e-5)


def test_the_explained_variance_by_hand() -> None:
    """Targets 1, 2, 3 and 4, of the critic 1, 2, 3 and 6: the variance of what is left is 3/4, of the targets 5/4."""
    episode = pack([Tokens((1,), (2, 3), (0.0, 0.0), True), *[Tokens((4,), (5,), (0.0,))] * 2])
    other = pack([Tokens((1,), (2,), (0.0,), True)])
    scored = [
        pricing.Scored(np.zeros(len(values)), np.array(values), np.zeros((1, 1), np.float32))
        for values in ([1.0, 9.0, 2.0, 3.0], [6.0])
    ]
    targets = [np.array([1.0, 2.0, 3.0]), np.array([4.0])]
    assert pricing.explained_variance(scored, targets, [episode, other], "turn") == pytest.approx(0.4)
    assert pricing.explained_variance(scored, [targets[0] * np.nan, targets[1]], [episode, other], "turn") == 0.0
    every = [np.array([1.0, 9.0, 2.0, 3.0]), np.array([6.0])]
    assert pricing.explained_variance(scored, every, [episode, other], "token") == pytest.approx(1.0)


class Onlooker(Fixed):
    def __init__(self) -> None:
        self.seen: list[Trajectory] = []

    def observe(self, trajectories):  # type: ignore[no-untyped-def]
        self.seen += trajectories


def test_a_method_observes_the_episodes_that_are_over_and_no_others(policy: Policy) -> None:
    played, onlooker = batch(policy), Onlooker()
    under_way = replace(played[0], truncated=False)
    reference = pricing.Reference(policy, Limit(10**6, 4))
    for finished, want in ((played[1:], played[1:]), ([], []), (None, [under_way, played[1]])):
        onlooker.seen.clear()
        pricing.price(
            CheckedMethod("onlooker", onlooker), policy, reference, [under_way, played[1]], PPOConfig(),
            sampler_tolerance=1e-3, finished=finished,
        )  # fmt: skip
        assert onlooker.seen == want


# Without a critic: no signal, no push


OUTCOMES = st.lists(
    st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]), min_size=1, max_size=4), min_size=1, max_size=4
)
"""Outcomes of the episodes of each task."""


def ended(policy: Policy, outcomes: list[list[float]], broken: int = -1) -> list[Trajectory]:
    """An episode for each outcome; the one with the number `broken` ends with an error outside the agent's control."""
    rng = np.random.default_rng(3)
    found = [
        spoken(rng, int(rng.integers(1, 5)), f"task {task}", outcome)
        for task, group in enumerate(outcomes)
        for outcome in group
    ]
    marked = [replace(t, error="the world broke" if index == broken else None) for index, t in enumerate(found)]
    return sampled(policy, marked)


def test_the_advantages_of_two_groups_by_hand(policy: Policy) -> None:
    """RLOO of 1, 0, 0 is 1, -1/2, -1/2, in 1, 2 and 3 turns: mean square (1 + 2/4 + 3/4) / 6 = 3/8. No other differ."""
    rng = np.random.default_rng(0)
    played = [spoken(rng, turns, "a", outcome) for turns, outcome in ((1, 1.0), (2, 0.0), (3, 0.0))]
    played += [spoken(rng, 4, "b", 0.0), spoken(rng, 2, "b", 0.0), spoken(rng, 2, "c", 1.0)]
    samples = price(policy, RLOO(), sampled(policy, played)).samples
    unit = (3 / 8) ** 0.5
    for sample, want in zip(samples, [1 / unit, -0.5 / unit, -0.5 / unit, 0.0, 0.0, 0.0], strict=True):
        np.testing.assert_allclose(sample.advantages, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["rloo", "grpo", "gigpo", "3spo"])
@given(OUTCOMES, st.integers(-1, 5))
@max_examples(10)
def test_a_group_without_a_signal_and_a_broken_episode_get_exactly_nothing(
    weights: Policy, name: str, outcomes: list[list[float]], broken: int
) -> None:
    trajectories = ended(weights, outcomes, broken)
    level = {"level": "token"} if len(outcomes) % 2 else {}
    sound = [t for t in trajectories if t.error is None]
    assume(sound)
    samples = price(weights, registry.build("rewards", name), trajectories, **level).samples
    found: dict[str, list[float]] = {}
    for t in sound:
        found.setdefault(t.task.key, []).append(t.outcome)
    advantages = []
    for sample, t in zip(samples, sound, strict=True):
        # GiGPO and 3SPO compare steps too: a state that comes back, a reward of the method's own.
        outcomes_here = found[t.task.key]
        equal = name in ("rloo", "grpo") and len(set(outcomes_here)) == 1
        silent = equal or (name == "gigpo" and (len(outcomes_here) == 1 or set(outcomes_here) == {0.0}))
        assert not silent or not sample.advantages.any()
        advantages.append(sample.advantages)
    heard = np.concatenate(advantages)
    heard = heard[heard != 0]
    turns = np.concatenate([a[s.sequences.starts] for a, s in zip(advantages, samples, strict=True)])
    decisions = heard if level else turns[turns != 0]
    assert not heard.size or np.mean(np.square(decisions)) == pytest.approx(1.0)


def test_an_episode_that_broke_moves_neither_the_policy_nor_the_critic_nor_the_others(policy: Policy) -> None:
    sound = batch(policy)
    (broken,) = sampled(policy, [replace(spoken(np.random.default_rng(8), 3, "a"), error="the world broke")])
    alone, beside = price(policy, Fixed(), sound), price(policy, Fixed(), [*sound, broken])
    for one, other in zip(alone.samples, beside.samples, strict=True):
        np.testing.assert_allclose(one.advantages, other.advantages, rtol=1e-6)
        np.testing.assert_array_equal(one.sequences.where, other.sequences.where)
    assert len(beside.rewards) == len(sound) + 1  # on record all the same
    assert beside.figures["env_steps"] == alone.figures["env_steps"] == 9
    assert beside.figures["explained_variance"] == pytest.approx(alone.figures["explained_variance"])
    with pytest.raises(ppo.TrainingError, match="every episode had an error outside the agent's control: the world"):
        price(policy, Fixed(), [broken])


def test_broken_episodes_are_in_no_mean_of_an_iteration(policy: Policy) -> None:
    won = spoken(np.random.default_rng(1), 2, "a", 1.0)
    broken = replace(spoken(np.random.default_rng(8), 3, "a"), error="the world broke")
    alone, beside = metrics.collected([won]), metrics.collected([won, broken])
    assert beside["success"] == 1.0 and beside["turns"] == 2 and beside["episodes"] == 1
    assert beside["tokens_sampled"] > alone["tokens_sampled"]  # they were spent


def test_rounding_is_no_difference_of_outcomes() -> None:
    outcomes = np.array([0.1 + 0.2, 0.3, 0.3])
    assert outcomes.min() < outcomes.max()
    assert not leave_one_out(outcomes).any()
    assert not relative(outcomes, normalise=True, epsilon=1e-6).any()
    assert relative(np.array([0.3, 0.30001]), normalise=False, epsilon=0.0).any()
