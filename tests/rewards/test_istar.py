"""istar: a second model that learns what successes have over failures, and steps compared by it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from by_hand import advantages, same, spoken
from hypothesis import given
from strategies import episode, groups, max_examples
from tiny import language_model

from spa_bench.contract.fakes import FakeBackbone
from spa_bench.contract.laws import check_reward
from spa_bench.core import Tokens, Trajectory, UserError
from spa_bench.rewards._second_model import SecondModel, pairs_of, prefer, preference
from spa_bench.rewards.grpo import GRPO
from spa_bench.rewards.istar import IStar
from spa_bench.training.backbone import Tunable
from spa_bench.training.batches import Limit
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import Reference


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Told(FakeBackbone):
    """A network of one weight w: a reply of n tokens has the log-prob n * (w - 1), which at w = 1/2 is pi_old's."""

    def weights(self, *, head=False):
        return {"w": torch.tensor([0.5])}

    def logprobs(self, weights, trajectories):
        return [torch.tensor([float(len(s.tokens.reply)) for s in t.steps]) * (weights["w"] - 1) for t in trajectories]


def told(outcome: float, *counts: int, **fields: object) -> Trajectory:
    """An episode whose replies have so many tokens, each of log-prob -1/2 under the policy that wrote it."""
    return replace(spoken(episode(outcome, [True] * len(counts)), *counts), **fields)  # type: ignore[arg-type]


def at(w: float, **options: float | bool) -> IStar:
    """With this weight, as if it had learned."""
    method = IStar(**{"beta": 2.0, "normalise": False, **options})  # type: ignore[arg-type]
    method.backbone, method.phi.steps, method.phi.weights = Told(), 1, {"w": torch.tensor([w])}
    return method


GROUP = [told(1.0, 1, 2), told(0.0, 3), told(0.5, 1, 1, 2)]


@pytest.mark.parametrize("options", [{}, {"normalise": False, "alpha": 0.5, "learning_rate": 0.01}])
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(IStar, **options), made)


def test_its_rewards_are_the_log_ratios_and_last_the_outcome():
    """At w = 1 a reply of n tokens is n / 2 likelier than when it was written, which beta = 2 makes n."""
    same(at(1.0).rewards([*GROUP, told(1.0)]), [[1, 3], [3], [1, 1, 2.5], []])
    same(at(0.5).rewards(GROUP), [[0, 1], [0], [0, 0, 0.5]])


def test_istar_by_hand():
    """Outcomes less 1/2; steps 1 2, 3, 1 1 2, mean 10/6. With the spread: 1/2 of outcomes; of steps the squares
    4/9 + 1/9 + 16/9 + 4/9 + 4/9 + 1/9 = 10/3 over 5, the root of 2/3.
    """
    steps = [[-2 / 3, 1 / 3], [4 / 3], [-2 / 3, -2 / 3, 1 / 3]]
    plain = [np.array(s) + o for s, o in zip(steps, (0.5, -0.5, 0.0), strict=True)]
    same(advantages(at(1.0), GROUP), plain, atol=1e-6)
    half = [np.array(s) / 2 + o for s, o in zip(steps, (0.5, -0.5, 0.0), strict=True)]
    same(advantages(at(1.0, alpha=0.5), GROUP), half, atol=1e-6)
    scaled = [np.array(s) * 1.5**0.5 + o for s, o in zip(steps, (1, -1, 0), strict=True)]
    same(advantages(at(1.0, normalise=True), GROUP), scaled, atol=1e-4)


def test_the_preference_by_hand():
    """One task of a success 3 and failures 1 and 2, one of successes 0 and 5 and a failure 4; beta 1/2."""
    sums = torch.tensor([3.0, 1.0, 2.0, 0.0, 5.0, 4.0])
    gaps = np.array([2.0, 1.0, -4.0, 1.0])
    wanted = np.log1p(np.exp(-gaps / 2)).mean()
    assert float(preference(sums, [(1, 2), (2, 1)], 0.5)) == pytest.approx(wanted)


def test_a_success_and_a_failure_of_one_task_are_a_pair():
    won, lost, other = told(1.0, 1), told(0.0, 2), replace(told(0.0, 3), character=1)
    broken, scripted = told(0.0, 4, error="the world timed out"), episode(0.0, [True])
    assert pairs_of([won, other, broken, scripted, told(1.0)]) == []
    (((one,), (two,)),) = pairs_of([lost, other, won, broken])
    assert (one, two) == (won, lost)
    assert pairs_of([lost, told(0.3, 2), won])[0][0] == [won]


def test_its_gradient_is_that_of_all_pairs_at_once():
    """Taken episode by episode, so that memory holds one: the same as through the whole loss."""
    batch = [told(1.0, 1, 2), told(1.0, 5), told(0.0, 3, 1), told(0.0, 2), told(0.0, 1, 1)]
    pairs, weights = pairs_of(batch), {"w": torch.tensor([0.7], requires_grad=True)}
    prefer(Told(), weights, pairs, 0.3)
    whole = torch.tensor([0.7], requires_grad=True)
    (won, lost) = pairs[0]
    sums = torch.stack([((whole - 0.5) * sum(len(s.tokens.reply) for s in t.steps)).sum() for t in (*won, *lost)])
    (wanted,) = torch.autograd.grad(preference(sums, [(2, 3)], 0.3), [whole])
    torch.testing.assert_close(weights["w"].grad, wanted)


def test_a_step_makes_successes_likelier_than_failures():
    """Here that is longer replies, then shorter ones: the first step of AdamW is as long as its rate."""
    for long, short, to in ((1.0, 0.0, 0.6), (0.0, 1.0, 0.4)):
        method = IStar(learning_rate=0.1, weight_decay=0.0)
        method.backbone = Told()
        method.observe([told(long, 5, 4), told(short, 1, 1)])
        assert float(method.phi.weights["w"]) == pytest.approx(to, abs=1e-5)
        assert method.phi.steps == 1


def test_without_a_pair_there_is_no_step_and_the_steps_have_no_advantage():
    method = IStar()
    method.backbone = Told()
    method.observe([told(1.0, 1), told(1.0, 2), replace(told(0.0, 3), character=1)])
    assert not method.phi.steps and not method.phi.weights
    same(method.rewards(GROUP), [[0, 1], [0], [0, 0, 0.5]])
    same(advantages(method, GROUP), advantages(GRPO(), GROUP))


def test_nobody_is_compared_with_another_seat_or_with_a_broken_episode():
    first, third = advantages(at(1.0), GROUP[::2])
    for other in (replace(GROUP[1], character=1), replace(GROUP[1], error="the world timed out")):
        same(advantages(at(1.0), [GROUP[0], other, GROUP[2]]), [first, [0], third])


def test_a_second_model_goes_on_from_its_state_as_if_it_had_never_stopped():
    """Its optimiser's moments and their age are in the state."""
    batch = [told(1.0, 5, 4), told(0.0, 1, 1), told(0.0, 6)]
    one = IStar(learning_rate=0.1)
    one.backbone = Told()
    one.observe(batch)
    other = IStar(learning_rate=0.1)
    other.backbone = Told()
    other.load_state_dict(one.state_dict())
    for method in (one, other):
        method.observe(batch[:2])
        method.observe(batch[1:] + batch[:1])
    assert torch.equal(one.phi.weights["w"], other.phi.weights["w"]) and one.phi.steps == other.phi.steps == 3
    assert SecondModel.of_arrays(SecondModel().arrays()).weights == {}


def test_its_optimiser_remembers_from_batch_to_batch():
    """A step of .1 forth, then the opposite preference: what is left of the first step's momentum, (.9 * .1 - .1) /
    (1 - .81) = -.05 of the gradient, makes a step of about .005 back, where a new optimiser would go all of .1.
    """
    method = IStar(learning_rate=0.1, weight_decay=0.0)
    method.backbone = Told()
    method.observe([told(1.0, 5, 4), told(0.0, 1, 1)])
    method.observe([told(0.0, 5, 4), told(1.0, 1, 1)])
    assert float(method.phi.weights["w"]) == pytest.approx(0.595, abs=0.01)


def read(outcome: float, first: int) -> Trajectory:
    """An episode of two replies of three tokens, all of them `first`."""
    made = episode(outcome, [True, True])
    tokens = Tokens((1, 5), (first,) * 3, (-3.0,) * 3)
    return replace(made, steps=tuple(replace(step, tokens=tokens) for step in made.steps))


def test_a_language_model_learns_what_was_preferred_and_what_it_reads_is_counted():
    policy = Policy(language_model().model)
    method = IStar(learning_rate=1e-3)
    tunable = method.backbone = Tunable(Reference(policy.requires_grad_(False), Limit(10**6, 4)), 3e-3)
    before = {name: weight.clone() for name, weight in policy.named_parameters()}
    batch = [read(1.0, 7), read(0.0, 8), read(0.0, 9)]
    for _ in range(3):
        method.observe(batch)
    size = sum(step.tokens.size for t in batch for step in t.steps if step.tokens)
    assert tunable.tokens == 3 * 2 * size  # once for the sums, once for the gradient
    won, *lost = (r.sum() - t.outcome for r, t in zip(method.rewards(batch), batch, strict=True))
    assert tunable.tokens == 7 * size
    first = IStar(learning_rate=0.0)
    first.backbone = tunable
    first.observe(batch)
    start = [r.sum() - t.outcome for r, t in zip(first.rewards(batch), batch, strict=True)]
    assert won - max(lost) > start[0] - max(start[1:])
    for name, weight in policy.named_parameters():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)


def test_without_a_backbone_it_says_so():
    with pytest.raises(RuntimeError, match="istar tunes a second model: set `backbone`"):
        IStar().observe([told(1.0, 1), told(0.0, 2)])


@pytest.mark.parametrize(
    "options", [{"alpha": -1}, {"beta": 0}, {"learning_rate": 2}, {"epsilon": 0}, {"normalise": "no"}]
)
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward istar: {next(iter(options))}="):
        IStar(**options)
