"""What an interrupted run needs to resume: weights or adapter, value head, optimiser, method.

Safetensors and JSON only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from spa_bench.config import PPOConfig
from spa_bench.training import adapter
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.masters import MasterAdamW
from spa_bench.training.policy import Policy
from spa_bench.training.sharding import ShardedAdamW, below_fp32, like, whole

if TYPE_CHECKING:
    from spa_bench.training.language_model import LanguageModel

MASTER = "master."
"""Before the number of an fp32 master among the optimiser's tensors."""


def make_optimizer(policy: Policy, settings: PPOConfig, parts: Policy | None = None) -> MasterAdamW:
    """AdamW without decay, with cleanrl's epsilon: a group for the network, and one for the value head.

    The head, which starts from nothing, has its own rate.
    `initial_lr` is what `ppo.update` raises each group's rate to. `parts` is what is trained in the policy's place.
    """
    own = policy if parts is None else parts
    rates = [(own.model, settings.learning_rate), (own.value, settings.value_learning_rate)]
    groups = [
        {"params": [weight for weight in part.parameters() if weight.requires_grad], "lr": rate, "initial_lr": rate}
        for part, rate in rates
    ]
    kind = MasterAdamW if own is policy else ShardedAdamW
    optimizer = kind(groups, weight_decay=0.0, eps=1e-5)
    if isinstance(optimizer, ShardedAdamW):
        optimizer.below = below_fp32(policy, own)
    return optimizer


def moments_of(optimizer: MasterAdamW) -> dict[str, Tensor]:
    """What the optimiser knows, by name."""
    found = {
        f"{index}.{name}": whole(torch.as_tensor(value)).contiguous()
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    return found | {f"{MASTER}{number}": whole(master) for number, master in optimizer.masters()}


def save(
    folder: Path,
    agent: LanguageModel,
    policy: Policy,
    moments: Mapping[str, Tensor],
    method: CheckedMethod,
    row: dict[str, Any],
    *,
    origin: Path | None = None,
) -> None:
    """Fill a checkpoint folder; `moments` are those of the optimiser, `row` is the iteration's metrics.

    Of a policy with an adapter that alone, and the one of the warm start, whose folder is `origin`.
    """
    if origin is None:
        agent.save(folder / "policy")
    else:
        adapter.save_policy(policy.model, folder / "policy", origin)
    safetensors.torch.save_file(policy.value.state_dict(), folder / "value.safetensors")
    safetensors.torch.save_file(dict(moments), folder / "optimizer.safetensors")
    safetensors.numpy.save_file(method.state_dict(), folder / "method.safetensors")
    (folder / "metrics.json").write_text(json.dumps(row, allow_nan=False))


def load_head(folder: Path, policy: Policy) -> None:
    """Restore the value head. The agent has loaded the model's weights."""
    policy.value.load_state_dict(safetensors.torch.load_file(folder / "value.safetensors"))


def load(folder: Path, optimizer: MasterAdamW) -> dict[str, Any]:
    """Restore the optimiser; returns the iteration's metrics."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    masters = dict(optimizer.masters())
    for key, value in safetensors.torch.load_file(folder / "optimizer.safetensors").items():
        if key.startswith(MASTER):
            own = masters[key.removeprefix(MASTER)]
            own.copy_(like(value, own))
            continue
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = like(value, weights[int(index)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    row: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return row


def load_method(folder: Path, method: CheckedMethod) -> None:
    """Restore what the method has learned."""
    method.load_state_dict(safetensors.numpy.load_file(folder / "method.safetensors"))
