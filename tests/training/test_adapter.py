"""An adapter beside frozen layers: what it computes, what is trained, saved and merged, and a run with one."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken import Fixed, batch, sampled, spoken
from tiny import SETTINGS, config, language_model
from torch import nn

from spa_bench.agents.engines.weights import untied
from spa_bench.config import ModelConfig, PPOConfig
from spa_bench.core import Floats, UserError
from spa_bench.method import RewardMethod
from spa_bench.report.table import tables
from spa_bench.runs.folder import read_run
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import adapter, checkpoint, experiment, learner, ppo, pricing, stages, start
from spa_bench.training.backbone import Tunable
from spa_bench.training.batches import Limit, pack_trajectory
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.policy import Policy
from spa_bench.training.speed import MEASURED

OWN = ModelConfig(adapter="lora", lora_rank=4, lora_alpha=12)
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DTYPES = [torch.float32, torch.bfloat16]


class Paid(RewardMethod):
    """1, 2, 3, ... for each step, so that there is something to learn where nothing succeeds."""

    def rewards(self, group: Any) -> list[Floats]:
        return [np.arange(1.0, len(t) + 1) for t in group]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(5, 45)[None]).logits


def moved(model: Any, size: float = 0.1) -> None:
    """Give every B numbers of this size, as training would."""
    own = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in adapter.weights(model).items():
            if adapter.is_b(name):
                weight.copy_(size * torch.randn(weight.shape, generator=own))


def adapted(dtype: torch.dtype = torch.float32, seed: int = 3) -> Any:
    model = language_model(dtype=dtype).model
    adapter.attach(model, OWN, seed)
    return model


def base_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: w.clone() for name, w in model.state_dict().items() if "lora_" not in name}


# What it computes


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_new_adapter_changes_nothing_and_is_all_that_is_trained_in_fp32(dtype: torch.dtype) -> None:
    model = language_model(dtype=dtype).model
    before, chance = logits(model), torch.get_rng_state()
    adapter.attach(model, OWN, 3)
    assert torch.equal(logits(model), before)
    assert torch.equal(torch.get_rng_state(), chance)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    own = adapter.weights(model)
    assert trained.keys() == own.keys() and len(own) == 2 * 2 * len(LINEAR)  # two matrices, two layers
    assert {weight.dtype for weight in own.values()} == {torch.float32}
    for name, weight in own.items():
        bound = 1 / math.sqrt(weight.shape[1])  # as nn.Linear's: uniform
        assert not weight.any() if adapter.is_b(name) else bound / 2 < weight.abs().max() <= bound


def test_the_first_numbers_depend_on_the_seed_alone() -> None:
    one, same, other = (adapter.weights(adapted(seed=seed)) for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert all(adapter.is_b(name) or not torch.equal(one[name], other[name]) for name in one)


class HandMade(nn.Module):
    """W x + alpha / r B A x, B and A in fp32; what is added is fp32, and the sum has the dtype of W x."""

    def __init__(self, layer: nn.Linear, a: torch.Tensor, b: torch.Tensor) -> None:
        super().__init__()
        self.layer, self.a, self.b = layer, nn.Parameter(a.clone()), nn.Parameter(b.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        plain = self.layer(x)
        return (plain.float() + 12 / 4 * (x.float() @ self.a.T @ self.b.T)).to(plain.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_updates_gradient_is_that_of_a_layer_made_by_hand(dtype: torch.dtype) -> None:
    model, plain = adapted(dtype), language_model(dtype=dtype).model
    moved(model)
    plain.requires_grad_(False)
    own, made = adapter.weights(model), {}
    for name, module in list(plain.named_modules()):
        if name.endswith(LINEAR):
            a, b = own[f"{name}.lora_A.default.weight"], own[f"{name}.lora_B.default.weight"]
            parent, _, last = name.rpartition(".")
            made[name] = HandMade(module, a.detach(), b.detach())
            setattr(plain.get_submodule(parent), last, made[name])
    grads = []
    for policy in (Policy(model), Policy(plain)):
        trajectories = sampled(policy, [spoken(np.random.default_rng(5), turns, "a") for turns in (2, 4)])
        episodes = [pack_trajectory(t) for t in trajectories]
        scored = pricing.score(policy, episodes, Limit(10**6, 4))
        samples = [
            ppo.Sample(e, s.logprobs - 0.01, s.logprobs - 0.3, np.arange(1.0, len(s.logprobs) + 1), s.values + 1)
            for e, s in zip(episodes, scored, strict=True)
        ]
        found = ppo.losses(policy, samples, PPOConfig())
        (found.policy + found.kl).backward()
        grads.append({name: w.grad for name, w in policy.model.named_parameters() if w.requires_grad})
    assert len(grads[0]) == len(grads[1]) == 4 * len(LINEAR)
    rough = 1e-4 if dtype == torch.float32 else 3e-2
    for name in made:
        for end, letter in (("lora_A.default.weight", "a"), ("lora_B.default.weight", "b")):
            one, other = grads[0][f"{name}.{end}"], grads[1][f"{name}.{letter}"]
            assert one is not None and one.abs().max() > 0
            assert (one - other).norm() <= rough * other.norm()


# Merged, off, saved


@pytest.mark.parametrize(("dtype", "rough"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_merged_logits_are_the_unmerged_ones_and_merging_again_gives_the_same_bits(
    tmp_path: Path, dtype: torch.dtype, rough: float
) -> None:
    """As a warm start is merged; peft, told to do so, merges the same."""
    from peft import PeftModel

    agent = language_model(dtype=dtype)
    adapter.attach(agent.model, OWN, 3)
    plain = logits(language_model(dtype=dtype).model)
    moved(agent.model)
    content = {"weights": "w", "files": "f", "rendered": "r"}
    adapter.save_start(agent, tmp_path, content)
    merged = [language_model(dtype=dtype).model for _ in range(2)]
    for model in merged:
        adapter.restore(model, tmp_path, content | {"files": "other"})
        assert not adapter.weights(model)
        assert type(model.model.layers[0].self_attn.q_proj) is nn.Linear
    scale = plain.float().std()
    assert (logits(merged[0]) - logits(agent.model)).float().abs().max() < rough * scale
    assert (logits(merged[0]) - plain).float().std() > 0.3 * scale
    assert all(torch.equal(a, b) for a, b in zip(merged[0].parameters(), merged[1].parameters(), strict=True))
    by_peft = PeftModel.from_pretrained(language_model(dtype=dtype).model, str(tmp_path / "warm_start"))
    assert torch.equal(logits(by_peft.merge_and_unload()), logits(merged[0]))
    with pytest.raises(UserError, match="trained on another base model"):
        adapter.restore(language_model(dtype=dtype).model, tmp_path, {"weights": "v"})


@given(
    rank=st.integers(1, 8),
    alpha=st.integers(1, 64),
    seed=st.integers(0, 99),
    size=st.floats(0.01, 0.3),
    targets=st.sampled_from(["all-linear", "q_proj", "down_proj, v_proj"]),
)
@settings(max_examples=10)
def test_t14_merged_is_unmerged_for_any_adapter(
    tmp_path_factory: pytest.TempPathFactory, rank: int, alpha: int, seed: int, size: float, targets: str
) -> None:
    agent, folder = language_model(), tmp_path_factory.mktemp("adapter")
    own = ModelConfig(adapter="lora", lora_rank=rank, lora_alpha=alpha, lora_targets=targets)
    adapter.attach(agent.model, own, seed)
    moved(agent.model, size)
    adapter.save_start(agent, folder, {"weights": "w"})
    merged = language_model().model
    adapter.restore(merged, folder, {"weights": "w"})
    torch.testing.assert_close(logits(merged), logits(agent.model), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_off_it_is_the_warm_start_to_the_bit_and_an_update_changes_the_adapter_alone(dtype: torch.dtype) -> None:
    model = adapted(dtype)
    policy, bare = Policy(model), Policy(model, bare=True)
    before, own = base_of(model), {name: w.clone() for name, w in adapter.weights(model).items()}
    warm = Policy(language_model(dtype=dtype).model)
    trajectories = batch(policy)
    episodes = [pack_trajectory(t) for t in trajectories]
    method, limit = CheckedMethod("fixed", Fixed()), Limit(10**6, 4)
    priced = pricing.price(
        method, policy, pricing.Reference(bare, limit), trajectories, PPOConfig(), sampler_tolerance=1e-3
    )
    assert priced.figures["largest_log_ratio_to_start"] == 0
    optimizer = checkpoint.make_optimizer(policy, PPOConfig())
    assert not optimizer.pairs  # no masters: what is trained is fp32
    assert {id(w) for w in optimizer.param_groups[0]["params"]} == {id(w) for w in adapter.weights(model).values()}
    update = {"rng": np.random.default_rng(0), "kl_in_loss": True, "ratio_tolerance": 0.3}
    figures = ppo.update(policy, optimizer, priced.samples, PPOConfig(minibatches=2, warmup=0), **update)
    assert figures["updates"] == 2
    assert all(torch.equal(weight, before[name]) for name, weight in base_of(model).items())
    assert all(not torch.equal(weight, own[name]) for name, weight in adapter.weights(model).items())
    scored = [pricing.score(one, episodes, limit) for one in (policy, bare, warm)]
    assert all(np.array_equal(a.logprobs, b.logprobs) for a, b in zip(scored[1], scored[2], strict=True))
    assert all(np.array_equal(a.turn_ends, b.turn_ends) for a, b in zip(scored[1], scored[2], strict=True))
    assert max(np.abs(a.logprobs - b.logprobs).max() for a, b in zip(scored[0], scored[1], strict=True)) > 1e-4
    assert all(weight.requires_grad for weight in adapter.weights(model).values())  # on again


def test_an_adapter_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = adapted()
    adapter.save(model, tmp_path)
    other = language_model().model
    adapter.attach(other, ModelConfig(adapter="lora", lora_rank=5), 0)
    with pytest.raises(UserError, match="another model, rank or choice of layers"):
        adapter.load(other, tmp_path)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("q_proj,p_proj", "has no layer 'p_proj'"),
        ("p_proj", "p_proj"),
        ("q_proj,lm_head", "between the embedding and the output layer"),
        ("embed_tokens", "between the embedding and the output layer"),
        ("norm", "model.lora_targets='norm'"),
    ],
)
def test_targets_that_cannot_be_adapted_are_named_in_one_line(targets: str, said: str) -> None:
    own = ModelConfig(adapter="lora", lora_targets=targets)
    with pytest.raises(UserError, match=said) as caught:
        adapter.attach(language_model().model, own, 0)
    assert "\n" not in str(caught.value)


def test_without_peft_a_run_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"^model.adapter=lora needs peft: pip install 'spa-bench\[lora\]'$"):
        start.begin(config(model=SETTINGS["model"] | {"adapter": "lora"}))
    start.begin(config())


@pytest.mark.parametrize(("dtype", "rough"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_an_engine_with_weights_of_its_own_is_given_merged_ones(dtype: torch.dtype, rough: float) -> None:
    model, other = adapted(dtype), language_model(dtype=dtype).model
    moved(model)
    before = base_of(model)
    given = untied(model)
    other.load_state_dict(given)  # the same names, and all of them
    assert {weight.dtype for weight in given.values()} == {dtype}
    assert (logits(other) - logits(model)).float().abs().max() < rough * logits(model).float().std()
    assert all(torch.equal(weight, before[name]) for name, weight in base_of(model).items())


def test_layers_computed_again_in_the_backward_pass_have_the_same_gradient() -> None:
    model = adapted()
    moved(model)
    grads = []
    for recompute in (False, True):
        policy = Policy(model, recompute=recompute)
        model.zero_grad()
        policy([pack_trajectory(t) for t in batch(policy)]).logprobs.sum().backward()
        grads.append([weight.grad.clone() for weight in adapter.weights(model).values()])
    assert all(torch.equal(one, other) and one.any() for one, other in zip(*grads, strict=True))


# What a method may tune


def test_a_method_tunes_a_copy_of_the_adapter_that_begins_as_the_warm_start() -> None:
    """Also while the policy has learned; neither it nor the reference is changed."""
    model = adapted()
    policy = Policy(model)
    moved(model)
    reference = pricing.Reference(Policy(model, bare=True), Limit(10**6, 2))
    tunable = Tunable(reference, 3e-3)
    episodes = batch(policy)
    weights = {name: weight.requires_grad_() for name, weight in tunable.weights().items()}
    assert {name.removeprefix("body.") for name in weights} == {
        name.removeprefix("model.") for name in adapter.weights(model)
    }
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    seen, known = tunable.encode(weights, episodes), reference.encode(episodes)
    for one, other in zip(seen, known, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other, atol=1e-5)
    torch.cat(seen).square().sum().backward()
    assert all(weight.grad is not None for weight in weights.values())
    assert all(weight.grad.abs().max() > 0 for name, weight in weights.items() if adapter.is_b(name))
    with torch.no_grad():
        for weight in weights.values():
            weight += 0.1
    assert np.abs(tunable.encode(weights, episodes)[0].detach().numpy() - known[0]).max() > 1e-2
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in adapter.weights(model).values())


# Whole runs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    shown = start.load_policy(start.begin(config()), None)
    shown.save(folder)
    return folder


def lora(base: Path | None, dtype: str = "fp32", reward: str = f"{__file__}:Paid", **more: Any) -> Any:
    own = {"adapter": "lora", "lora_rank": 4, "lora_alpha": 8, "dtype": dtype}
    named = {} if base is None else {"name": str(base), "prompt": "action", "context": 2048}
    ppo = SETTINGS["ppo"] | {"learning_rate": 3e-3, "warmup": 0} | more
    cloned = SETTINGS["warm_start"] | {"batch": 2}  # the first of its steps has a rate of 0
    # Greedy replies of so little training are the same ones.
    return config(
        reward=reward, model=SETTINGS["model"] | own | named, warm_start=cloned, ppo=ppo, eval={"temperature": 1.0}
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def iterations(path: Path) -> list[dict[str, Any]]:
    rows, _ = Journal(path / "metrics.jsonl").read()
    return [{k: v for k, v in row.items() if k not in MEASURED} for row in rows if row["kind"] == "iteration"]


def episodes(path: Path, stage: str) -> list[Any]:
    rows, _ = Journal(path / "episodes.jsonl").read()
    return [row for row in rows if row["stage"] == stage]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_run_that_stops_goes_on_from_its_adapter_as_if_it_had_not(
    cache: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """The base is read once, and so is the adapter; the second run's policy is not the first one's merged twice."""
    own = lora(base, dtype)
    whole = experiment.run(own, tmp_path / "whole", Progress.quiet())
    update = ppo.update

    def second(*args: Any, **kwargs: Any) -> dict[str, float]:
        if kwargs["done"]:
            raise KeyboardInterrupt
        return update(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ppo, "update", second)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(own, tmp_path / "parts", Progress.quiet())
    read, made = [], learner.start.load_policy

    def counted(*args: Any) -> Any:
        read.append(args[1])
        return made(*args)

    monkeypatch.setattr(learner.start, "load_policy", counted)
    parts = experiment.run(own, tmp_path / "parts", Progress.quiet())
    assert len(read) == 1
    assert iterations(parts) == iterations(whole)
    assert [row["largest_log_ratio_to_start"] > 1e-3 for row in iterations(whole)] == [False, True]
    assert iterations(whole)[0]["largest_log_ratio_to_start"] == 0
    for name in ("policy/adapter_model", "policy/warm_start/adapter_model", "optimizer", "value"):
        one, other = (safetensors.torch.load_file(p / f"checkpoints/0002/{name}.safetensors") for p in (whole, parts))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert episodes(parts, "eval") == episodes(whole, "eval")
    folder = whole / "checkpoints/0002"
    numbers = sum(w.numel() for w in safetensors.torch.load_file(folder / "policy/adapter_model.safetensors").values())
    stored = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    assert stored == pytest.approx(4 * 4 * numbers, rel=0.5)  # two adapters and two moments, fp32; names
    start_of = safetensors.torch.load_file(folder / "policy/warm_start/adapter_model.safetensors")
    assert all(weight.any() for weight in start_of.values())  # it has learned
    assert read_run(whole)["facts"]["versions"].keys() >= {"peft", "torch"}


def test_the_policy_of_a_run_is_evaluated_with_its_adapter_on_the_base_that_it_had(
    cache: Path, base: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "model"
    shutil.copytree(base, mine)
    own = lora(mine)
    path = experiment.run(own, tmp_path, Progress.quiet())
    assert len(tables([path])) == 1
    said = experiment.evaluate(own, "policy", path, tmp_path, Progress.quiet())
    shown = [[step["reply"] for step in row["steps"]] for row in episodes(path, "eval")]
    assert [[step["reply"] for step in row["steps"]] for row in episodes(said, "eval")] == shown
    assert [[step["reply"] for step in row["steps"]] for row in episodes(path, "warm_start")] != shown
    assert said.name.endswith(stages.weights_hash(path / "checkpoints/0002/policy")[:8])
    other = safetensors.torch.load_file(mine / "model.safetensors")
    other["model.norm.weight"] += 1
    safetensors.torch.save_file(other, mine / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="were trained on another base model"):
        experiment.evaluate(own, "policy", path, tmp_path / "again", Progress.quiet())


def test_the_identity_of_a_policy_is_that_of_both_adapters(tmp_path: Path) -> None:
    agent = language_model()
    adapter.attach(agent.model, OWN, 3)
    adapter.save_start(agent, tmp_path / "start", {"weights": "w"})
    hashes = []
    for number, changed in enumerate([None, "warm_start", "."]):
        folder = tmp_path / str(number)
        adapter.save_policy(agent.model, folder, tmp_path / "start")
        if changed is not None:
            saved = safetensors.torch.load_file(folder / changed / adapter.FILE)
            safetensors.torch.save_file({name: w + 1 for name, w in saved.items()}, folder / changed / adapter.FILE)
        hashes.append(stages.weights_hash(folder))
    assert len(set(hashes)) == 3


def test_the_embedded_model_has_an_adapter_over_its_own_warm_start(cache: Path, tmp_path: Path) -> None:
    """With a method that tunes a copy; a checkpoint needs nothing of the cache, the reference is no second model."""
    own = lora(None, reward="spa-published")
    common = start.begin(own)
    folder = start.warm_start(common, Progress.quiet())
    full = start.begin(lora(None).model_copy(update={"model": config().model}))
    plain = safetensors.torch.load_file(start.warm_start(full, Progress.quiet()) / "model.safetensors")
    kept = safetensors.torch.load_file(folder / "warm_start/base/model.safetensors")
    assert all(torch.equal(kept[name], plain[name]) for name in plain)  # all of its weights are warm-started
    _, policy = learner.make_policy(common, folder)
    reference = learner.make_reference(common, policy)
    assert reference.policy.model is policy.model and reference.policy.bare
    path = experiment.run(own, tmp_path, Progress.quiet())
    assert tables([path])
    state = safetensors.torch.load_file(path / "checkpoints/0002/method.safetensors")
    assert any("lora_A" in name for name in state) and not any("base_layer" in name for name in state)
    shutil.rmtree(cache)
    said = experiment.evaluate(own, "policy", path, tmp_path, Progress.quiet())
    assert episodes(said, "eval") == episodes(path, "eval")
    loaded = start.load_policy(common, path / "checkpoints/0002/policy").model.state_dict()
    assert torch.equal(loaded["model.embed_tokens.weight"], kept["model.embed_tokens.weight"])


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_sampler_plays_the_trained_adapter(base: Path, dtype: str, cache: Path) -> None:
    """Log-probs of the sampler's cache and of the trainer's pass, with an adapter that has learned."""
    from strategies import task

    from spa_bench.core import Conversation, Step, Trajectory

    common = start.begin(lora(base, dtype))
    agent, policy = learner.make_policy(common, start.warm_start(common, Progress.quiet()))
    before = agent.act([Conversation(1, 0, agent.opening("", "look"))])[0].tokens
    agent.forget([1])
    moved(agent.model)
    (reply,) = agent.act([Conversation(2, 0, agent.opening("", "look"))])
    assert reply.tokens is not None and reply.tokens != before
    step = Step("o", reply.text, "a", True, None, 0.0, 0.0, reply.tokens)
    episode = pack_trajectory(Trajectory(task("a"), (step,), 0.0, False, False, True))
    (scored,) = pricing.score(policy, [episode], Limit(10**6, 1))
    np.testing.assert_allclose(reply.tokens.logprobs, scored.logprobs, atol=1e-4 if dtype == "fp32" else 0.05)
