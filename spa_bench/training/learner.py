"""What a run trains: the policy and its optimiser, beside the frozen reference.

The one place where a policy is made of a saved model, and the one where the reference is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from spa_bench.core import derive_seed
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.training import adapter, checkpoint, pricing, sharding, start
from spa_bench.training.backbone import Tunable
from spa_bench.training.batches import Limit
from spa_bench.training.demonstrator import Demonstrator
from spa_bench.training.hindsight import Hindsight
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.masters import MasterAdamW
from spa_bench.training.policy import Policy
from spa_bench.training.speed import Meter

TOLERANCES = {"fp32": {"ratio": 1e-3, "kl": 1e-4, "sampler": 1e-3}, "bf16": {"ratio": 0.3, "kl": 1e-4, "sampler": 0.1}}
"""Tolerated difference of log-probs that should be equal. Measured on CPUs: the embedded default in fp32 to 1e-5;
SmolLM2-135M in bf16, 131 sampled tokens: sampler and trainer 0.049 on average (0.21 at most), batches of other shapes
0.11 at most, which is a ratio off by 0.12; scoring and the update's own pass over the same batch exactly."""


def make_policy(common: start.Start, folder: Path | None) -> tuple[LanguageModel, Policy]:
    """The agent that plays the model saved in `folder`, and the policy that is trained: the same weights.

    None is the model as it is configured.

    Under LoRA a warm start gets the adapter that PPO trains; a saved policy has its own.
    """
    agent = start.load_policy(common, folder)
    agent.temperature = common.config.ppo.temperature
    if common.config.model.adapter == "lora" and not adapter.weights(agent.model):
        adapter.attach(agent.model, common.config.model, derive_seed(common.config.seed, "adapter", "ppo") % 2**32)
    packed = start.reads_packed(common, agent.model)
    return agent, Policy(agent.model, temperature=agent.temperature, recompute=common.recompute, packed=packed)


def restored(
    common: start.Start, warm_start: Path | None, folder: Path | None
) -> tuple[LanguageModel, Policy, Policy, MasterAdamW, dict[str, Any] | None]:
    """Agent, policy, what is trained, optimiser and metrics of the checkpoint in `folder`; None is the start."""
    agent, policy = make_policy(common, warm_start if folder is None else folder / "policy")
    if folder is not None:
        checkpoint.load_head(folder, policy)
    trained = sharding.trained(policy)
    optimizer = checkpoint.make_optimizer(policy, common.config.ppo, trained)
    return agent, policy, trained, optimizer, None if folder is None else checkpoint.load(folder, optimizer)


def make_reference(common: start.Start, policy: Policy) -> pricing.Reference:
    """The warm start, frozen: this policy's network, or under LoRA the same one, shared, without its adapter."""
    if common.config.model.adapter == "lora":
        frozen = Policy(policy.model, temperature=policy.temperature, bare=True, packed=policy.packed)
    else:
        frozen = policy.requires_grad_(False)
    return pricing.Reference(frozen, Limit.of(common.config.ppo))


def make_hindsight(common: start.Start, agent: LanguageModel, policy: Policy) -> Hindsight:
    """The policy, asked again about episodes that it knows the end of."""
    return Hindsight(agent, policy, common.env.instructions, Limit.of(common.config.ppo))


@dataclass
class Learner:
    """The state that training changes, and the method's overhead."""

    agent: LanguageModel
    policy: Policy
    trained: Policy
    """`sharding.trained` of the policy."""
    optimizer: MasterAdamW
    reference: pricing.Reference
    simulator: PlayedOn
    backbone: Tunable
    hindsight: Hindsight
    demonstrator: Demonstrator
    start_size: float
    """`soundness.size` of the network at the warm start."""
    origin: Path | None = None
    """Under LoRA the warm start's folder: checkpoints hold the adapters alone."""
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.agent, self.policy)

    @torch.no_grad()
    def take(self, policy: Policy, trained: Policy, optimizer: MasterAdamW) -> None:
        """Take over the numbers of another policy of this shape, and of its optimiser."""
        self.policy.load_state_dict(policy.state_dict())
        if trained is not policy:
            for ours, theirs in zip(self.trained.parameters(), trained.parameters(), strict=True):
                ours.copy_(theirs)
        self.optimizer.load_state_dict(optimizer.state_dict())
        for (_, own), (_, other) in zip(self.optimizer.masters(), optimizer.masters(), strict=True):
            own.copy_(other)

    def extra(self) -> dict[str, int]:
        """The method's overhead, in tokens and environment steps, since the last call."""
        reference, simulator, backbone = self.reference, self.simulator, self.backbone
        hindsight, demonstrator = self.hindsight, self.demonstrator
        spent = {
            "extra_tokens": reference.extra_tokens + simulator.tokens + backbone.tokens + hindsight.tokens,
            "extra_tokens_sampled": simulator.tokens_sampled,
            "extra_env_steps": simulator.env_steps + demonstrator.env_steps,
        }
        reference.extra_tokens = backbone.tokens = hindsight.tokens = demonstrator.env_steps = 0
        simulator.tokens = simulator.tokens_sampled = simulator.env_steps = 0
        return spent
