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
    ppo.update(
        policy, optimizer, samples, SETTINGS, rng=np.random.default_rng(0), kl_in_loss=True, ratio_tolerance=1e-3
    )


def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    agent, method = language_model(), Counting()
    policy = Policy(agent.model, precision="fp32")
    optimizer = checkpoint.make_optimizer(policy, SETTINGS)
    step(policy, optimizer)
    method.counts += [1, 2, 3]
    checkpoint.save(tmp_path, agent, policy, optimizer, CheckedMethod("counting", method), ROW)

    kind = type(agent)
    again = kind.load(str(tmp_path / "policy"), agent.prompt, context=512, max_new_tokens=8, told=False)
    loaded, other = Policy(again.model, precision="fp32"), Counting()
    fresh = checkpoint.make_optimizer(loaded, SETTINGS)
    assert checkpoint.load(tmp_path, loaded, fresh, CheckedMethod("counting", other)) == ROW
    assert other.counts.tolist() == [1, 2, 3]
    assert policy.value.weight.any()
    for model, optimiser in ((policy, optimizer), (loaded, fresh)):
        step(model, optimiser)
    for mine, its in zip(policy.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_nothing_decays_and_the_head_has_its_own_rate(policy: Policy) -> None:
    torch.nn.init.ones_(policy.value.weight)
    optimizer = checkpoint.make_optimizer(policy, SETTINGS)
    assert [group["initial_lr"] for group in optimizer.param_groups] == pytest.approx([5e-4, 3e-3])
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    for parameter in policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))
