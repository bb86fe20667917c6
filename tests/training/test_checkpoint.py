"""A checkpoint gives back what was saved: value head, moments, method and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spoken import Fixed, batch, price
from tiny import language_model

from spa_bench.config import PPOConfig
from spa_bench.training import checkpoint, ppo
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.policy import Policy

SETTINGS = PPOConfig(minibatches=2)
ROW = {"kind": "iteration", "iteration": 3, "success": 0.5, "kl": None}


class Counting(Fixed):
    """Learns one array."""

    def __init__(self) -> None:
        self.counts = np.zeros(3)

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self.counts}

    def load_state_dict(self, state: Any) -> None:
        self.counts = state["counts"]


def step(policy: Policy, optimizer: torch.optim.Optimizer) -> None:
    samples = price(policy, Fixed(), batch(policy)).samples
    ppo.update(policy, optimizer, samples, SETTINGS, rng=np.random.default_rng(0), kl_in_loss=True, ratio_tolerance=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path: Path, dtype: torch.dtype) -> None:
    """In bf16 from the masters: the weights are only their rounded values."""
    agent, method = language_model(dtype=dtype), Counting()
    policy = Policy(agent.model)
    optimizer = checkpoint.make_optimizer(policy, SETTINGS)
    step(policy, optimizer)
    method.counts += [1, 2, 3]
    checkpoint.save(tmp_path, agent, policy, checkpoint.moments_of(optimizer), CheckedMethod("counting", method), ROW)

    kind = type(agent)
    again = kind.load(str(tmp_path / "policy"), agent.prompt, context=512, max_new_tokens=8, told=False, dtype=dtype)
    loaded, other = Policy(again.model), Counting()
    fresh = checkpoint.make_optimizer(loaded, SETTINGS)
    checkpoint.load_head(tmp_path, loaded)
    assert checkpoint.load(tmp_path, fresh) == ROW
    checkpoint.load_method(tmp_path, CheckedMethod("counting", other))
    assert other.counts.tolist() == [1, 2, 3]
    assert policy.value.weight.any()
    for model, optimiser in ((policy, optimizer), (loaded, fresh)):
        step(model, optimiser)
    for mine, its in zip(policy.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, its)
    for group, same in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        assert all(torch.equal(mine, its) for mine, its in zip(group["params"], same["params"], strict=True))


@pytest.mark.parametrize(("dtype", "each"), [(torch.float32, 12), (torch.bfloat16, 14)])
def test_a_checkpoint_holds_each_weight_its_moments_and_its_master_once(
    tmp_path: Path, dtype: torch.dtype, each: int
) -> None:
    """4 + 8 bytes for each weight of fp32; 2 + 4 + 8 of bf16."""
    agent = language_model(dtype=dtype, hidden=128)
    policy = Policy(agent.model)
    optimizer = checkpoint.make_optimizer(policy, SETTINGS)
    step(policy, optimizer)
    checkpoint.save(tmp_path, agent, policy, checkpoint.moments_of(optimizer), CheckedMethod("fixed", Fixed()), ROW)
    weights = sum(weight.numel() for weight in policy.model.parameters())
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors")) == pytest.approx(
        each * weights, rel=0.02
    )


def test_nothing_decays_and_the_head_has_its_own_rate(policy: Policy) -> None:
    torch.nn.init.ones_(policy.value.weight)
    optimizer = checkpoint.make_optimizer(policy, SETTINGS)
    assert [group["initial_lr"] for group in optimizer.param_groups] == pytest.approx([5e-4, 6e-3])
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    for parameter in policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))
