"""The optimiser's axis: numbers by hand, and what holds of any batch."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spoken import most, spoken
from strategies import max_examples

from spa_bench import credit
from spa_bench.config import PPOConfig
from spa_bench.core import Tokens
from spa_bench.defaults import OPTIMISERS
from spa_bench.training import ppo, pricing
from spa_bench.training.batches import Sequences, pack, pack_trajectory
from spa_bench.training.objective import Totals, gains, ratios, sequences, shares, turns
from spa_bench.training.policy import Policy


def restarted() -> Sequences:
    """Turns of two, one and two tokens; the last one begins a second sequence."""
    return pack(
        [
            Tokens((1, 2), (3, 4), (0.0, 0.0), True),
            Tokens((5,), (6,), (0.0,)),
            Tokens((7, 8), (9, 10), (0.0, 0.0), True),
        ]
    )


LOG_RATIOS = [math.log(x) for x in (4.0, 1.0, 8.0, 0.25, 1.0)]


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("token", [4.0, 1.0, 8.0, 0.25, 1.0]),
        ("turn", [2.0, 2.0, 8.0, 0.5, 0.5]),  # sqrt(4 * 1), 8, sqrt(.25 * 1)
        ("sequence", [32 ** (1 / 3)] * 3 + [0.5, 0.5]),  # cube root of 4 * 1 * 8
    ],
)
def test_a_ratio_is_the_geometric_mean_of_its_unit_and_its_gradient_is_the_tokens_own(
    unit: str, wanted: list[float]
) -> None:
    log_ratio = torch.tensor(LOG_RATIOS, requires_grad=True)
    found = ratios(log_ratio, [restarted()], PPOConfig(ratio=unit))  # type: ignore[arg-type]
    torch.testing.assert_close(found.detach(), torch.tensor(wanted))
    (gradient,) = torch.autograd.grad(found[0], log_ratio)
    torch.testing.assert_close(gradient, torch.tensor([wanted[0], 0.0, 0.0, 0.0, 0.0]))


def test_units_do_not_reach_from_one_episode_into_the_next() -> None:
    log_ratio = torch.tensor(LOG_RATIOS * 2)
    both = ratios(log_ratio, [restarted(), restarted()], PPOConfig(ratio="turn"))
    torch.testing.assert_close(both[:5], both[5:])


def test_units_by_hand() -> None:
    assert turns(restarted()).tolist() == [2, 1, 2]
    assert sequences(restarted()).tolist() == [3, 2]


@pytest.mark.parametrize(
    ("settings", "gain", "gradient"),
    [
        # Ratios 1.25, 1.25, .5, .5 with advantages 1, -1, 1, -1; log-probs -1.
        ({}, [1.2, -1.25, 0.5, -0.8], [0, -1.25, 0.5, 0]),
        ({"clip_high": 0.28}, [1.25, -1.25, 0.5, -0.8], [1.25, -1.25, 0.5, 0]),
        ({"objective": "cispo"}, [-1.2, 1.2, -0.8, 0.8], [1.2, -1.2, 0.8, -0.8]),
        ({"objective": "cispo", "clip": 1.0, "clip_high": 5.0}, [-1.25, 1.25, -0.5, 0.5], [1.25, -1.25, 0.5, -0.5]),
    ],
)
def test_gains_and_their_gradients_by_hand(
    settings: dict[str, object], gain: list[float], gradient: list[float]
) -> None:
    """CISPO keeps the gradient of every token; clipping drops those that would go on in their direction."""
    logprobs = torch.full((4,), -1.0, requires_grad=True)
    old = -1.0 - torch.tensor([1.25, 1.25, 0.5, 0.5]).log()
    found, _ = gains((logprobs - old).exp(), logprobs, torch.tensor([1.0, -1.0, 1.0, -1.0]), PPOConfig(**settings))  # type: ignore[arg-type]
    torch.testing.assert_close(found.detach(), torch.tensor(gain))
    (got,) = torch.autograd.grad(found.sum(), logprobs)
    torch.testing.assert_close(got, torch.tensor(gradient, dtype=torch.float32))


@pytest.mark.parametrize(
    ("mean", "wanted"),
    [
        ("tokens", (1 + 2 + 3 + 4 + 5 + 6) / 6),
        ("sequences", ((1 + 2 + 3) / 3 + (4 + 5) / 2 + 6 / 1) / 3),
        ("constant", (1 + 2 + 3 + 4 + 5 + 6) / (2 * 7)),  # two episodes of seven tokens
    ],
)
def test_what_the_loss_is_divided_by_by_hand(mean: str, wanted: float) -> None:
    """Two episodes: one of two sequences with three and two tokens, one of a single token."""
    episodes = [restarted(), pack([Tokens((1,), (2,), (0.0,), True)])]
    settings = PPOConfig(loss_mean=mean, loss_constant=7)  # type: ignore[arg-type]
    each = shares(episodes, settings) * np.arange(1, 7)
    totals = Totals(tokens=6, decisions=0, sequences=3, episodes=2)
    assert each.sum() / totals.divisor(settings) == pytest.approx(wanted)


def test_a_constant_must_be_known() -> None:
    with pytest.raises(ValueError, match="loss_constant"):
        Totals(6, 0, 3, 2).divisor(PPOConfig(loss_mean="constant"))


def samples_of(policy: Policy, seed: int, count: int = 4) -> list[ppo.Sample]:
    """Random episodes, sampled by a policy that differs from this one by some percent."""
    rng = np.random.default_rng(seed)
    episodes = [pack_trajectory(spoken(rng, int(rng.integers(1, 5)))) for _ in range(count)]
    found = []
    for episode, scored in zip(episodes, pricing.score(policy, episodes, most(4)), strict=True):
        n = len(episode.where)
        old = scored.logprobs + rng.normal(scale=0.1, size=n)
        targets = np.full(n, np.nan)
        targets[episode.starts] = 0.0
        advantages = credit.spread(rng.normal(size=len(episode.lengths)), episode.lengths.tolist())
        found.append(ppo.Sample(episode, old, scored.logprobs, advantages, targets))
    return found


def step(policy: Policy, samples: list[ppo.Sample], settings: PPOConfig) -> list[torch.Tensor]:
    """The weights after one step of plain gradient descent."""
    own = copy.deepcopy(policy)
    groups = [{"params": list(part.parameters()), "initial_lr": 0.1} for part in (own.model, own.value)]
    ppo.update(
        own, torch.optim.SGD(groups, lr=0.1), samples, settings,  # type: ignore[arg-type]
        rng=np.random.default_rng(0), kl_in_loss=True, ratio_tolerance=10.0,
    )  # fmt: skip
    return [parameter.detach() for parameter in own.parameters()]


def settings_of(name: str, **changes: object) -> PPOConfig:
    return PPOConfig(**({"minibatches": 1, "loss_constant": 40} | OPTIMISERS[name] | changes))  # type: ignore[index, arg-type]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_passes_of_any_size_make_the_same_step(policy: Policy, name: str) -> None:
    samples = samples_of(policy, 3)
    whole = step(policy, samples, settings_of(name, microbatch_episodes=9))
    parts = step(policy, samples, settings_of(name, microbatch_episodes=1, microbatch=1))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_every_optimiser_makes_another_step(policy: Policy) -> None:
    samples = samples_of(policy, 4)
    moved = {name: torch.cat([p.flatten() for p in step(policy, samples, settings_of(name))]) for name in OPTIMISERS}
    names = list(moved)
    for number, name in enumerate(names):
        for other in names[:number]:
            assert not torch.allclose(moved[name], moved[other], atol=1e-7, rtol=0), (name, other)


def test_gspo_is_its_papers_objective_where_a_sequence_has_one_advantage(policy: Policy) -> None:
    """J = 1/G sum_i min(s_i A_i, clip(s_i) A_i), s_i = exp(mean log-ratio): its gradient by autograd, written out."""
    samples = [
        replace(s, advantages=np.full_like(s.advantages, a))
        for s, a in zip(samples_of(policy, 5, 3), (1.0, -2.0, 0.5), strict=True)
    ]
    settings = settings_of("gspo", clip=0.05, clip_high=0.08)
    mine, theirs = copy.deepcopy(policy), copy.deepcopy(policy)
    found = ppo.losses(mine, samples, settings)
    (found.policy / ppo.totals_of(samples).divisor(settings)).backward()
    loss = torch.zeros(())
    for sample in samples:
        now = theirs([sample.sequences]).logprobs
        s = (now - torch.from_numpy(sample.old_logprobs).float()).mean().exp()
        a = float(sample.advantages[0])
        loss = loss - torch.minimum(s * a, s.clamp(1 - 0.05, 1 + 0.08) * a) / len(samples)
    loss.backward()
    for one, other in zip(mine.model.parameters(), theirs.model.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


@given(st.lists(st.lists(st.floats(-9, 9), min_size=1, max_size=5), min_size=1, max_size=6), st.integers(0, 2**16))
@max_examples(40)
def test_scaled_over_tasks_each_task_weighs_the_same(advantages: list[list[float]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    trajectories = [spoken(rng, len(a), key=str(i % 2)) for i, a in enumerate(advantages)]
    arrays = [np.array(a) for a in advantages]
    found = credit.normalise(trajectories, arrays, critic=False, over="group")
    for key in {t.task.key for t in trajectories}:
        own = [i for i, t in enumerate(trajectories) if t.task.key == key]
        for i, wanted in zip(own, credit.scale([arrays[i] for i in own]), strict=True):
            np.testing.assert_array_equal(found[i], wanted)
    for one, raw in zip(credit.normalise(trajectories, arrays, critic=True, over="none"), arrays, strict=True):
        np.testing.assert_array_equal(one, raw)


def test_every_optimiser_of_the_configuration_has_a_preset() -> None:
    assert set(get_args(PPOConfig.model_fields["optimiser"].annotation)) == set(OPTIMISERS)
