"""Everything an interrupted run needs to resume: weights, value head, optimiser, method. Safetensors and JSON only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.numpy
import safetensors.torch
import torch

from spa_bench.config import PPOConfig
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.policy import Policy

if TYPE_CHECKING:
    from spa_bench.training.start import LanguageModel


def make_optimizer(policy: Policy, settings: PPOConfig) -> torch.optim.Optimizer:
    """AdamW without decay, with cleanrl's epsilon; the value head, which starts from nothing, has its own rate.

    `initial_lr` is what `ppo.update` raises each group's rate to.
    """
    parts = [(policy.model, settings.learning_rate), (policy.value, settings.value_learning_rate)]
    groups = [{"params": list(part.parameters()), "lr": rate, "initial_lr": rate} for part, rate in parts]
    return torch.optim.AdamW(groups, weight_decay=0.0, eps=1e-5)


def save(
    folder: Path,
    agent: LanguageModel,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    method: CheckedMethod,
    row: dict[str, Any],
) -> None:
    """Fill a checkpoint folder; `row` is the iteration's metrics."""
    agent.save(folder / "policy")
    safetensors.torch.save_file(policy.value.state_dict(), folder / "value.safetensors")
    moments = {
        f"{index}.{name}": torch.as_tensor(value).contiguous()
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    safetensors.torch.save_file(moments, folder / "optimizer.safetensors")
    safetensors.numpy.save_file(method.state_dict(), folder / "method.safetensors")
    (folder / "metrics.json").write_text(json.dumps(row, allow_nan=False))


def load(folder: Path, policy: Policy, optimizer: torch.optim.Optimizer, method: CheckedMethod) -> dict[str, Any]:
    """Restore all but the model's weights, which the agent has loaded; returns the iteration's metrics."""
    policy.value.load_state_dict(safetensors.torch.load_file(folder / "value.safetensors"))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in safetensors.torch.load_file(folder / "optimizer.safetensors").items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    method.load_state_dict(safetensors.numpy.load_file(folder / "method.safetensors"))
    row: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return row
