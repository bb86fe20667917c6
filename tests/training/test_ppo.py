"""The update: numbers by hand, guards, and laws such as that accumulation changes nothing."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spoken import Fixed, batch, most, price, sampled, spoken
from strategies import max_examples

from spa_bench.config import PPOConfig
from spa_bench.core import Tokens, Trajectory
from spa_bench.training import checkpoint, ppo, pricing
from spa_bench.training.batches import (
    PADDED,
    Joined,
    Limit,
    Sequences,
    join,
    microbatches,
    pack,
    pack_trajectory,
    tokens_computed,
)
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.policy import Policy

SETTINGS = PPOConfig(minibatches=1, microbatch_episodes=2, epochs=1)


def make_samples(policy: Policy, trajectories: list[Trajectory], advantage: float = 1.0) -> list[ppo.Sample]:
    episodes = [pack_trajectory(t) for t in trajectories]
    scored = pricing.score(policy, episodes, most(4))
    samples = []
    for episode, scores in zip(episodes, scored, strict=True):
        n = len(episode.where)
        targets = np.full(n, np.nan)
        targets[episode.starts] = 0.5
        samples.append(ppo.Sample(episode, scores.logprobs, scores.logprobs, np.full(n, advantage), targets))
    return samples


def random_batch(policy: Policy, seed: int = 0, count: int = 6) -> list[ppo.Sample]:
    rng = np.random.default_rng(seed)
    samples = make_samples(policy, [spoken(rng, int(rng.integers(1, 6))) for _ in range(count)])
    return [replace(s, advantages=rng.normal(size=len(s.advantages))) for s in samples]


def run(
    policy: Policy, samples: list[ppo.Sample], settings: PPOConfig = SETTINGS, **changes: object
) -> dict[str, float]:
    options = {"rng": np.random.default_rng(0), "kl_in_loss": True, "ratio_tolerance": 1e-3} | changes
    groups = [{"params": list(part.parameters()), "initial_lr": 0.1} for part in (policy.model, policy.value)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    return ppo.update(policy, optimizer, samples, settings, **options)  # type: ignore[arg-type]


def test_rates_rise_over_the_first_steps_of_a_run_and_then_stay(policy: Policy) -> None:
    """Four warm-up steps, two per update: 1/4 and 2/4, then 3/4 and 4/4, then 1."""
    settings = SETTINGS.model_copy(update={"warmup": 4, "epochs": 1, "minibatches": 2})
    optimizer = checkpoint.make_optimizer(policy, settings)
    unit = ppo.scale_of(random_batch(policy))
    wanted = np.array([settings.learning_rate, settings.value_learning_rate * unit])
    for done, factor in ((0, 0.5), (2, 1.0), (4, 1.0), (1, 0.75)):
        ppo.update(
            policy, optimizer, random_batch(policy), settings,
            rng=np.random.default_rng(0), kl_in_loss=True, ratio_tolerance=1e-3, done=done,
        )  # fmt: skip
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], factor * wanted)


def test_the_unit_of_returns_is_their_root_mean_square_over_decisions(policy: Policy) -> None:
    """sqrt((3^2 + 4^2 + 0^2) / 3) = 5 / sqrt 3; tokens that are no decision do not count, and 0 has the unit 1."""
    one = random_batch(policy)[0]
    targets = np.array([3.0, np.nan, -4.0, 0.0])
    assert ppo.scale_of([replace(one, value_targets=targets)]) == pytest.approx(5 / 3**0.5)
    assert ppo.scale_of([replace(one, value_targets=0 * targets)]) == 1.0


@pytest.mark.parametrize(("unit", "same"), [("returns", True), ("none", False)])
def test_rewards_in_another_unit_teach_the_critic_the_same_in_that_unit(policy: Policy, unit: str, same: bool) -> None:
    """All returns times 64: values times 64, to the last bit, and one and the same network."""
    settings, samples = SETTINGS.model_copy(update={"value_scale": unit}), random_batch(policy)
    learned = []
    for factor in (1.0, 64.0):
        own = copy.deepcopy(policy)
        optimizer = checkpoint.make_optimizer(own, settings)
        larger = [replace(one, value_targets=factor * one.value_targets) for one in samples]
        for done in (0, 4):
            ppo.update(
                own, optimizer, larger, settings,
                rng=np.random.default_rng(0), kl_in_loss=True, ratio_tolerance=1.0, done=done,
            )  # fmt: skip
        weights = [weight.detach().numpy() for weight in own.model.parameters()]
        learned.append((own.value.weight.detach().numpy() / factor, weights))
    (small, network), (large, other) = learned
    assert np.abs(small).max() > 0 and np.array_equal(small, large) == same
    assert all(np.array_equal(a, b) for a, b in zip(network, other, strict=True))


def test_the_kl_pulls_towards_the_warm_start(policy: Policy) -> None:
    """With no advantage and the warm start's log-prob above the policy's, steps raise the tokens' log-probs."""
    samples = [replace(s, advantages=np.zeros_like(s.advantages)) for s in random_batch(policy)]
    samples = [replace(s, reference_logprobs=s.old_logprobs + 1.0) for s in samples]
    before = sum(s.old_logprobs.sum() for s in samples)
    run(policy, samples, SETTINGS.model_copy(update={"kl_coef": 1.0}))
    after = sum(scored.logprobs.sum() for scored in pricing.score(policy, [s.sequences for s in samples], most(4)))
    assert after > before


def test_the_entropy_bonus_raises_the_entropy(policy: Policy) -> None:
    """It is all that the policy learns from: no advantage, no distance from the warm start."""
    samples = [replace(s, advantages=np.zeros_like(s.advantages)) for s in random_batch(policy)]
    sharp = {
        name: weights * 8 if "lm_head" in name or "embed" in name else weights
        for name, weights in policy.model.state_dict().items()
    }
    policy.model.load_state_dict(sharp)  # an untrained network's entropy is the largest that there is
    samples = [
        replace(s, old_logprobs=n.logprobs, reference_logprobs=n.logprobs)
        for s, n in zip(samples, pricing.score(policy, [s.sequences for s in samples], most(4)), strict=True)
    ]

    def entropy() -> float:
        with torch.no_grad():
            return policy([s.sequences for s in samples]).entropy.mean().item()

    before = entropy()
    figures = run(policy, samples, SETTINGS.model_copy(update={"entropy_coef": 1.0}))
    assert figures["entropy"] == pytest.approx(before, rel=1e-4)
    assert entropy() > before + 1e-4


def test_the_value_heads_gradient_is_that_of_the_mean_squared_error_of_the_decisions(policy: Policy) -> None:
    """Half the square, over the decisions of the whole minibatch; a rate of 1 shows the gradient."""
    samples = random_batch(policy)
    with torch.no_grad():
        policy.value.weight.normal_(std=0.01)
        found = [parameter.clone() for parameter in policy.value.parameters()]
    mine = copy.deepcopy(policy)
    scores = mine([s.sequences for s in samples])
    targets = torch.from_numpy(np.concatenate([s.value_targets for s in samples])).float()
    decided = ~targets.isnan()
    loss = 0.5 * (scores.values - targets)[decided].square().mean()
    loss.backward()
    settings = SETTINGS.model_copy(update={"max_grad_norm": 1e6, "warmup": 0})
    groups = [
        {"params": list(part.parameters()), "initial_lr": rate}
        for part, rate in ((policy.model, 0.0), (policy.value, 1.0))
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    figures = ppo.update(
        policy, optimizer, samples, settings, rng=np.random.default_rng(0), kl_in_loss=True, ratio_tolerance=1e-3
    )
    assert figures["value_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for before, after, gradient in zip(found, policy.value.parameters(), mine.value.parameters(), strict=True):
        assert gradient.grad is not None
        torch.testing.assert_close(before - after, gradient.grad, atol=1e-6, rtol=1e-4)


def test_packing_finds_every_sampled_token_and_splits_where_a_turn_restarts() -> None:
    turns = [Tokens((1, 2), (3, 4), (0.0, 0.0), True), Tokens((5,), (6,), (0.0,)), Tokens((7, 8), (9,), (0.0,), True)]
    packed = pack(turns)
    assert [ids.tolist() for ids in packed.ids] == [[1, 2, 3, 4, 5, 6], [7, 8, 9]]
    assert packed.where.tolist() == [[0, 2], [0, 3], [0, 5], [1, 2]]
    assert packed.lengths.tolist() == [2, 1, 1]
    assert packed.starts.tolist() == [0, 2, 3] and packed.ends.tolist() == [1, 2, 3]
    assert packed.size == 9


def test_scores_are_those_of_the_bare_model(policy: Policy) -> None:
    rng = np.random.default_rng(3)
    episodes = [pack_trajectory(spoken(rng, n)) for n in (1, 4, 2)]
    with torch.no_grad():
        joint = policy(episodes)
        at = 0
        for episode in episodes:
            logits = policy.model(torch.from_numpy(episode.ids[0])[None]).logits[0].log_softmax(-1)
            for _, position in episode.where:
                want = logits[position - 1, int(episode.ids[0][position])]
                assert joint.logprobs[at].item() == pytest.approx(want.item(), abs=1e-5)
                entropy = -(logits[position - 1].exp() * logits[position - 1]).sum().item()
                assert joint.entropy[at].item() == pytest.approx(entropy, abs=1e-4)
                at += 1


def test_the_objective_by_hand(policy: Policy) -> None:
    """One turn of two tokens with advantages 2 and -1 and old log-probs chosen so that the ratios are 1.5 and 0.5.

    Clip 0.2: token 1 earns min(1.5 * 2, 1.2 * 2) = 2.4, token 2 min(0.5 * -1, 0.8 * -1) = -0.8; loss -(1.6).
    Reference log-prob above the policy's by ln 2 at token 1: KL estimate (ln 2)^2 / 2; 0 at token 2.
    Value 0 against target 0.5 at the turn's first token: 0.5 * 0.25.
    """
    episode = pack([Tokens((1, 2), (3, 4), (0.0, 0.0), True)])
    now = pricing.score(policy, [episode], most(1))[0].logprobs
    old = now - np.log([1.5, 0.5])
    reference = now + np.array([math.log(2), 0.0])
    sample = ppo.Sample(episode, old, reference, np.array([2.0, -1.0]), np.array([0.5, np.nan]))
    got = ppo.losses(policy, [sample], SETTINGS)
    assert got.policy.item() == pytest.approx(-1.6, abs=1e-4)
    assert got.kl.item() == pytest.approx(math.log(2) ** 2 / 2, abs=1e-4)
    assert got.value.item() == pytest.approx(0.125, abs=1e-6)
    assert got.clipped.item() == 2
    assert got.largest_ratio_gap.item() == pytest.approx(0.5, abs=1e-4)
    assert got.approx_kl.item() == pytest.approx(0.5 - math.log(1.5) - 0.5 - math.log(0.5), abs=1e-4)  # 0.288


def test_a_positive_advantage_makes_its_tokens_likelier_and_a_negative_one_rarer(policy: Policy) -> None:
    rng = np.random.default_rng(1)
    good, bad = (make_samples(policy, [spoken(rng, 3)], a)[0] for a in (1.0, -1.0))
    run(policy, [good, bad])
    after = pricing.score(policy, [good.sequences, bad.sequences], most(2))
    assert after[0].logprobs.sum() > good.old_logprobs.sum()
    assert after[1].logprobs.sum() < bad.old_logprobs.sum()


def test_a_model_with_dropout_is_trained_as_it_was_sampled(policy: Policy) -> None:
    for layer in policy.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    samples = random_batch(policy)
    assert run(policy, samples)["updates"] == 1


def test_the_gradient_norm_is_the_networks(policy: Policy) -> None:
    """Without an advantage or a distance from the start only the value head has a gradient."""
    samples = [replace(s, advantages=np.zeros_like(s.advantages)) for s in random_batch(policy)]
    figures = run(copy.deepcopy(policy), samples)
    assert figures["value_loss"] > 0.1 and figures["grad_norm"] < 1e-4
    assert run(policy, random_batch(policy))["grad_norm"] > 0.01


def test_the_scale_of_a_methods_rewards_does_not_change_how_far_the_policy_moves(policy: Policy) -> None:
    """Advantages have unit variance whatever a method pays; the critic's errors do not."""
    samples = random_batch(policy)
    moved = []
    for scale in (1.0, 1e4):
        own = copy.deepcopy(policy)
        run(own, [replace(sample, value_targets=sample.value_targets * scale) for sample in samples])
        moved.append(torch.cat([p.detach().flatten() for p in own.model.parameters()]))
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=0)


@pytest.mark.parametrize("microbatch", [1, 2, 6])
def test_t14_accumulation_gives_the_same_step_as_one_large_batch(
    policy: Policy, microbatch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spa_bench.training.batches.PADDED", 1.0)
    samples = random_batch(policy)
    whole, parts = copy.deepcopy(policy), copy.deepcopy(policy)
    want = run(whole, samples, SETTINGS.model_copy(update={"microbatch_episodes": 6}))
    got = run(parts, samples, SETTINGS.model_copy(update={"microbatch_episodes": microbatch}))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert got["policy_loss"] == pytest.approx(want["policy_loss"], abs=1e-5)


def restarted(rng: np.random.Generator, turns: int) -> Trajectory:
    """An episode that begins a new sequence at every other turn."""
    whole = spoken(rng, turns)
    steps = [replace(s, tokens=replace(s.tokens, restart=t % 2 == 0)) for t, s in enumerate(whole.steps)]
    return replace(whole, steps=tuple(steps))


@pytest.mark.parametrize("tokens", [1, 12, 25, 40])
def test_a_bound_on_tokens_changes_no_score_and_no_step(
    policy: Policy, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Episodes are divided between their sequences; a longer sequence is a pass of its own."""
    rng = np.random.default_rng(8)
    samples = make_samples(policy, [restarted(rng, turns) for turns in (7, 1, 4, 6)] + [spoken(rng, 5)])
    samples = [replace(s, advantages=rng.normal(size=len(s.advantages))) for s in samples]
    episodes = [s.sequences for s in samples]
    roomy, tight = pricing.score(policy, episodes, most(9)), pricing.score(policy, episodes, Limit(tokens, 9))
    for one, other in zip(roomy, tight, strict=True):
        for name in ("logprobs", "values", "turn_ends"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5)
    whole, parts = copy.deepcopy(policy), copy.deepcopy(policy)
    want = run(whole, samples, SETTINGS.model_copy(update={"microbatch_episodes": 9}))
    passes: list[tuple[int, ...]] = []

    def joined(episodes: list[Sequences]) -> Joined:
        found = join(episodes)
        passes.append(found.ids.shape)
        return found

    monkeypatch.setattr("spa_bench.training.policy.join", joined)
    got = run(parts, samples, SETTINGS.model_copy(update={"microbatch_episodes": 9, "microbatch": tokens}))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert got == pytest.approx(want, abs=1e-5)
    assert passes and all(rows == 1 or rows * longest <= tokens for rows, longest in passes)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 120), st.integers(0, 2**32 - 1))
@max_examples(50)
def test_passes_hold_no_more_tokens_than_allowed_padding_counted(turns: list[int], tokens: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = [pack_trajectory(restarted(rng, n) if rng.random() < 0.5 else spoken(rng, n)) for n in turns]
    parts = [part for episode in whole for part in episode.parts(tokens)]
    groups = list(microbatches(parts, Limit(tokens, 5)))
    assert sorted(i for group in groups for i in group) == list(range(len(parts)))
    for group in groups:
        rows = join([parts[i] for i in group]).ids
        assert len(rows) == 1 or rows.size <= tokens
    for episode in whole:
        own = episode.parts(tokens)
        assert sum(len(part.where) for part in own) == len(episode.where)
        assert [n for part in own for n in part.lengths] == episode.lengths.tolist()
        said = [part.ids[row][place] for part in own for row, place in part.where]
        assert said == [episode.ids[row][place] for row, place in episode.where]


def test_passes_bounded_by_tokens_by_hand() -> None:
    """Rows of 20, 20, 65 tokens: two of 20 are 40, with the third they were 195."""
    episodes = [of_size(size) for size in (65, 20, 20)]
    assert list(microbatches(episodes, Limit(40, 9))) == [[1, 2], [0]]
    assert list(microbatches(episodes, Limit(39, 9))) == [[1], [2], [0]]


def test_the_order_of_the_samples_within_a_minibatch_does_not_matter(policy: Policy) -> None:
    samples = random_batch(policy)
    one, two = copy.deepcopy(policy), copy.deepcopy(policy)
    run(one, samples)
    run(two, samples[::-1])
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_updates_are_counted_and_their_number_does_not_depend_on_the_episodes(policy: Policy) -> None:
    settings = SETTINGS.model_copy(update={"minibatches": 3, "epochs": 2})
    for count in (5, 9):
        assert run(copy.deepcopy(policy), random_batch(policy, count=count), settings)["updates"] == 6


def test_old_log_probs_of_another_policy_are_an_error(policy: Policy) -> None:
    samples = [replace(s, old_logprobs=s.old_logprobs - 0.1) for s in random_batch(policy)]
    with pytest.raises(ppo.TrainingError, match="not sampled by this policy"):
        run(policy, samples)


def test_an_empty_mask_is_an_error(policy: Policy) -> None:
    empty = Sequences((np.array([1, 2]),), np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64))
    nothing = np.zeros(0)
    for samples in ([], [ppo.Sample(empty, nothing, nothing, nothing, nothing)]):
        with pytest.raises(ppo.TrainingError, match="mask is empty"):
            run(policy, samples)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_skips_the_step_and_counts_it(policy: Policy, value: float) -> None:
    samples = random_batch(policy)
    samples[2] = replace(samples[2], advantages=np.full_like(samples[2].advantages, value))
    before = copy.deepcopy(policy)
    figures = run(policy, samples)
    assert (figures["updates"], figures["skipped"]) == (0, 1)
    for a, b in zip(before.parameters(), policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_gradient_that_is_not_finite_skips_the_step(policy: Policy) -> None:
    parameter = next(policy.model.parameters())
    handle = parameter.register_hook(lambda gradient: gradient * math.nan)
    before = parameter.detach().clone()
    figures = run(policy, random_batch(policy))
    handle.remove()
    assert (figures["updates"], figures["skipped"]) == (0, 1)
    assert torch.equal(before, parameter)


def test_t14_the_first_kl_is_zero_and_is_not_after_a_step(policy: Policy) -> None:
    start = copy.deepcopy(policy)
    trajectories = batch(policy)
    assert price(policy, Fixed(), trajectories).figures["largest_log_ratio_to_start"] < 1e-5
    run(policy, random_batch(policy))
    reference = pricing.Reference(start, most(4))
    fixed = CheckedMethod("fixed", Fixed())
    moved = pricing.price(fixed, policy, reference, sampled(policy, trajectories), SETTINGS, sampler_tolerance=1e-3)
    assert moved.figures["largest_log_ratio_to_start"] > 1e-4


def of_size(size: int) -> Sequences:
    turns = [Tokens((1,) * (size - 2), (2,), (-1.0,), restart=True), Tokens((), (3,), (-1.0,))]
    return pack(turns)


def test_microbatches_cover_everything_once_with_similar_sizes_together() -> None:
    groups = list(microbatches([of_size(size) for size in (65, 20, 90, 20, 70)], most(2)))
    assert groups == [[1, 3], [0, 4], [2]]
    assert list(microbatches([of_size(size) for size in (90, 80, 79)], most(3))) == [[2, 1, 0]]  # 21 of 270 are padding
    assert list(microbatches([of_size(size) for size in (90, 70, 80)], most(3))) == [
        [1, 2],
        [0],
    ]  # 30 of 270 would be


@given(st.lists(st.integers(2, 300), min_size=1, max_size=40), st.integers(1, 9))
def test_little_of_a_microbatch_is_padding(sizes: list[int], count: int) -> None:
    groups = list(microbatches([of_size(size) for size in sizes], most(count)))
    assert sorted(index for group in groups for index in group) == list(range(len(sizes)))
    for group in groups:
        own = [sizes[index] for index in group]
        assert 1 <= len(group) <= count
        assert sum(own) >= (1 - PADDED) * len(own) * max(own) - 1e-9


# Replies that were tried in one state


def siblings(rng: np.random.Generator, past: int, count: int) -> list[Sequences]:
    """So many replies of one to four tokens to the same `past` of some turns."""
    steps = spoken(rng, past + 1).steps
    tried = []
    for _ in range(count):
        reply = tuple(int(i) for i in rng.integers(5, 60, size=rng.integers(1, 5)))
        tokens = replace(steps[-1].tokens, reply=reply, logprobs=(-1.0,) * len(reply))  # type: ignore[type-var]
        tried.append(pack([*(step.tokens for step in steps[:-1]), tokens], past))
    return tried


def alone(episode: Sequences) -> Sequences:
    """The same tokens as a row of its own: two rows are never joined where an episode has two turns."""
    return replace(episode, lengths=np.append(episode.lengths, 0))


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@pytest.mark.parametrize("past", [0, 1, 4])
def test_replies_to_one_past_are_scored_as_if_each_stood_alone(policy: Policy, past: int, kind: str) -> None:
    policy.model.set_attn_implementation(kind)
    rng = np.random.default_rng(past)
    torch.nn.init.normal_(policy.value.weight)
    mixed = [*siblings(rng, past, 3), pack_trajectory(spoken(rng, 3)), *siblings(rng, 2, 2)]
    mixed = [mixed[i] for i in (4, 0, 3, 2, 5, 1)]
    together, apart = policy(mixed), policy([alone(episode) for episode in mixed])
    for got, want in zip(vars(together).values(), vars(apart).values(), strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    gradients = []
    for episodes in (mixed, [alone(episode) for episode in mixed]):
        policy.zero_grad()
        scores = policy(episodes)
        (scores.logprobs.square().sum() + scores.entropy.sum()).backward()
        gradients.append([p.grad.clone() for p in policy.model.parameters() if p.grad is not None])
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-3)


def test_what_replies_share_is_computed_once_and_only_they_share() -> None:
    rng = np.random.default_rng(3)
    family, other = siblings(rng, 3, 5), siblings(rng, 3, 2)
    whole = [pack_trajectory(spoken(rng, 4)) for _ in range(2)]
    joined = join([*family, *other, *whole])
    assert len(joined.ids) == 4
    own = sum(int(episode.lengths[0]) for episode in family)
    assert int((joined.ids[0] != 0).sum()) == family[0].size - int(family[0].lengths[0]) + own
    assert join(whole).branches is None
    everything = [*family, *other, *whole]
    assert tokens_computed(everything) == int((join(everything).ids != 0).sum())
    assert tokens_computed(whole) == sum(episode.size for episode in whole)
    (mine,) = [group for group in microbatches([*whole, *family[:2], *other, *family[2:]], most(1)) if 2 in group]
    assert mine == [2, 3, 6, 7, 8]


def test_the_past_of_a_branch_is_context_and_no_turn_of_its_own() -> None:
    """Three turns, the second begins a new sequence: of the last two, and of the last one alone."""
    turns = [
        Tokens((1, 2), (3, 4), (-1.0, -1.0), restart=True),
        Tokens((5,), (6,), (-1.0,), restart=True),
        Tokens((7,), (8, 9), (-1.0, -1.0)),
    ]
    for past, lengths, where in ((1, [1, 2], [[0, 1], [0, 3], [0, 4]]), (2, [2], [[0, 3], [0, 4]])):
        packed = pack(turns, past)
        assert [row.tolist() for row in packed.ids] == [[5, 6, 7, 8, 9]]
        assert packed.lengths.tolist() == lengths and packed.where.tolist() == where
    assert [row.tolist() for row in pack(turns, 0).ids] == [[1, 2, 3, 4], [5, 6, 7, 8, 9]]
