"""The copy of the warm start that a method may tune: the same numbers as the encoder's, a gradient, and no way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from strategies import episode
from tiny import SETTINGS, language_model

from spa_bench.config import build
from spa_bench.core import Tokens, Trajectory
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.backbone import Tunable
from spa_bench.training.batches import Limit, pack_trajectory
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import Reference, score


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def read(replies: int, first: int, restart: int = -1) -> Trajectory:
    """An episode of `replies` turns of two to four tokens; at turn `restart` the context starts anew."""
    steps = [
        replace(step, tokens=Tokens((first, 5, 6), tuple(range(4, 6 + t % 3)), (0.0,) * (2 + t % 3), t == restart))
        for t, step in enumerate(episode(1.0, [True] * replies, words=str(first)).steps)
    ]
    return replace(episode(1.0, [True] * replies), steps=tuple(steps))


EPISODES = [read(3, 7), read(1, 8), read(6, 9, restart=3), read(0, 7)]


@pytest.fixture
def tunable() -> Tunable:
    policy = Policy(language_model().model)
    return Tunable(Reference(policy.requires_grad_(False), Limit(10**6, 2)), 3e-3)


def test_with_the_warm_starts_weights_it_reads_what_the_encoder_reads(tunable):
    seen = tunable.encode(tunable.weights(), EPISODES)
    known = tunable.reference.encode(EPISODES[:3])
    assert [tuple(h.shape) for h in seen] == [(3, 32), (1, 32), (6, 32), (0, 32)]
    for one, other in zip(seen[:3], known, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other, atol=1e-5)


def test_its_weights_get_a_gradient_and_the_references_stay(tunable):
    before = {name: weight.clone() for name, weight in tunable.reference.policy.named_parameters()}
    weights = {name: weight.requires_grad_() for name, weight in tunable.weights().items()}
    torch.cat(tunable.encode(weights, EPISODES)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in weights.values())
    with torch.no_grad():
        for weight in weights.values():
            weight += 1.0
    for name, weight in tunable.reference.policy.named_parameters():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)
        assert weight.grad is None


def test_its_gradient_is_that_of_the_methods_weights_where_the_policys_layers_are_computed_again(tunable):
    """By the time of the backward pass the network has its own weights back."""

    def gradients() -> list[torch.Tensor]:
        weights = {name: (weight * 1.1).requires_grad_() for name, weight in tunable.weights().items()}
        torch.cat(tunable.encode(weights, EPISODES)).square().sum().backward()
        return [weight.grad for weight in weights.values()]

    plain = gradients()
    tunable.reference.policy.recompute = True
    assert all(torch.equal(one, other) for one, other in zip(plain, gradients(), strict=True))


def test_other_weights_read_something_else(tunable):
    weights = {name: weight * 1.1 for name, weight in tunable.weights().items()}
    (one,), (other,) = (tunable.encode(w, EPISODES[:1]) for w in (weights, tunable.weights()))
    assert (one - other).abs().max() > 1e-2


def test_weights_are_placed_on_the_networks_device_without_a_copy_of_those_that_are_there(tunable):
    weights = tunable.weights()
    assert all(placed is weights[name] for name, placed in tunable.place(weights).items())
    tunable.reference.policy.to("meta")
    placed = tunable.place(weights)
    assert placed.keys() == weights.keys() and all(weight.device.type == "meta" for weight in placed.values())


@pytest.mark.parametrize("head", [False, True])
def test_replies_have_the_log_probs_that_the_policy_gives_them(head: bool):
    """At a temperature other than 1, and by turns: sums over the tokens of each reply."""
    policy = Policy(language_model().model, temperature=0.7)
    tunable = Tunable(Reference(policy.requires_grad_(False), Limit(10**6, 2)), 3e-3)
    scored = score(policy, [pack_trajectory(t) for t in EPISODES[:3]], Limit(10**6, 2))
    found = tunable.logprobs(tunable.weights(head=head), EPISODES)
    for t, turns, whole in zip(EPISODES[:3], found, scored, strict=False):
        ends = np.cumsum([len(step.tokens.reply) for step in t.steps if step.tokens])
        np.testing.assert_allclose(turns.detach(), np.add.reduceat(whole.logprobs, [0, *ends[:-1]]), atol=1e-4)
    assert found[3].shape == (0,)
    assert tunable.tokens == sum(step.tokens.size for t in EPISODES for step in t.steps if step.tokens)


@pytest.mark.parametrize("tied", [True, False])
def test_the_output_layer_is_tuned_where_it_is_asked_for_or_is_the_inputs_and_else_stays(tied: bool):
    """A step along the gradient makes replies likelier, with a layer of its own more than without."""
    policy = Policy(language_model().model)
    layer = policy.model.get_output_embeddings()
    if not tied:
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    tunable = Tunable(Reference(policy.requires_grad_(False), Limit(10**6, 2)), 3e-3)
    before, gains = layer.weight.clone(), []
    for head in (False, True):
        weights = {name: weight.requires_grad_() for name, weight in tunable.weights(head=head).items()}
        first = torch.cat(tunable.logprobs(weights, EPISODES)).sum()
        gradients = torch.autograd.grad(first, list(weights.values()))
        assert all(gradient.abs().max() > 0 for gradient in gradients)
        moved = {name: w.detach() + 1e-3 * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
        gains.append(float(torch.cat(tunable.logprobs(moved, EPISODES)).sum() - first.detach()))
    assert gains[0] > 0 and (gains[0] == gains[1] if tied else gains[0] < gains[1])
    torch.testing.assert_close(layer.weight, before, rtol=0, atol=0)


@pytest.mark.parametrize("change", ["missing", "unknown", "renamed"])
def test_weights_of_another_network_are_refused_in_one_line(tunable, change):
    """Of a name that it does not find, torch reads the warm start's own weights and says nothing."""
    weights = tunable.weights()
    first = min(weights)
    if change != "missing":
        weights[f"other.{first}"] = weights[first]
    if change != "unknown":
        del weights[first]
    lack, more = (0, 1) if change == "unknown" else (1, int(change == "renamed"))
    said = f"{lack} of its weights are missing .*{more} are unknown"
    with pytest.raises(ValueError, match=f"^backbone: these are the weights of another network: {said}") as caught:
        tunable.encode(weights, EPISODES)
    assert first in str(caught.value) and tunable.tokens == 0


def test_what_it_reads_is_counted_once_for_each_pass(tunable):
    for _ in range(2):
        tunable.encode(tunable.weights(), EPISODES)
    assert tunable.tokens == 2 * sum(step.tokens.size for t in EPISODES for step in t.steps if step.tokens)
    assert tunable.reference.extra_tokens == 0


def test_a_run_tunes_its_copy_resumes_with_it_and_counts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same run in one piece and killed after its first iteration: the same policy and the same method."""
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    config = build({"env": "alfworld", "reward": "spa-published"} | SETTINGS)
    whole = experiment.run(config, tmp_path / "whole", Progress.quiet())
    save = experiment.Run._iterate

    def killed(run, iteration, steps, learner):
        if iteration == 2:
            raise KeyboardInterrupt
        return save(run, iteration, steps, learner)

    monkeypatch.setattr(experiment.Run, "_iterate", killed)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(config, tmp_path / "parts", Progress.quiet())
    monkeypatch.setattr(experiment.Run, "_iterate", save)
    parts = experiment.run(config, tmp_path / "parts", Progress.quiet())
    for name in ("method.safetensors", "policy/model.safetensors"):
        one, other = ((path / "checkpoints/0002" / name).read_bytes() for path in (whole, parts))
        assert one == other, name
    rows, _ = Journal(whole / "metrics.jsonl").read()
    (fit,) = [row for row in rows if row.get("stage") == "fit reward"]
    iteration = next(row for row in rows if row["kind"] == "iteration")
    assert fit["extra_tokens"] > 0 and iteration["extra_tokens"] > 0
    assert fit["epoch"] == 1
