"""Defaults that depend on the model or the optimiser, and where defaults come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OTHER_MODELS: Mapping[str, Mapping[str, Any]] = {
    "warm_start": {"learning_rate": 2e-5},
    "ppo": {"learning_rate": 1e-5, "microbatch": 16_384, "microbatch_episodes": 256},
    "eval": {"rewards": 8},
}
"""Section -> key -> value: defaults for every model but the embedded one, which is thousands of times smaller. The warm
start's rate is that of SPA's scripts, PPO's that of StepTool, both for 3B models. A microbatch is what 80 GB hold
beside 1.5 billion weights (`doctor --model`). Rewards that are only shown take as long as an evaluation there."""

LORA: Mapping[str, Mapping[str, Any]] = {"warm_start": {"learning_rate": 2e-4}, "ppo": {"learning_rate": 1e-4}}
"""The same with `model.adapter=lora`, where these win: ten times the rates, as Schulman et al. 2025 ("LoRA Without
Regret") found best for adapters of any rank. The embedded model keeps its own."""


OPTIMISERS: Mapping[str, Mapping[str, Any]] = {
    "ppo": {},
    "grpo": {"loss_mean": "sequences", "advantage_scale": "group", "kl_coef": 0.04},
    "dapo": {"clip_high": 0.28, "advantage_scale": "group", "dynamic_sampling": True, "kl_coef": 0.0},
    "gspo": {
        "ratio": "sequence",
        "clip": 3e-4,
        "clip_high": 4e-4,
        "loss_mean": "sequences",
        "advantage_scale": "group",
        "kl_coef": 0.0,
    },
    "dr-grpo": {"loss_mean": "constant", "advantage_scale": "none", "kl_coef": 0.0},
    "turn-ppo": {"ratio": "turn", "gamma": 0.99, "lam": 0.9, "level": "turn"},
    "cispo": {"objective": "cispo", "clip": 1.0, "clip_high": 5.0, "advantage_scale": "group", "kl_coef": 0.0},
}
"""Optimiser -> what its paper has otherwise in the section `ppo`; the advantages themselves are the method's.

GRPO: Shao et al. 2024, arXiv 2402.03300, section 4.2. DAPO: Yu et al. 2025, arXiv 2503.14476, section 4.1, without its
penalty of long replies. GSPO: Zheng et al. 2025, arXiv 2507.18071, section 5.1; KL 0 by its authors in verl #2775. Dr.
GRPO: Liu et al. 2025, arXiv 2503.20783. Turn-PPO: Li et al. 2025, arXiv 2512.17008, gamma and lambda by a summary of
its ablations. CISPO: MiniMax-M1, arXiv 2506.13585, without a lower bound; the upper one by ScaleRL, arXiv 2510.13786.
"""


SOURCES: Mapping[str, str] = {
    "model.hidden": "ours: a first table in minutes on two cores",
    "model.tokens": "ours, measured",
    "model.lora_rank": "TRL's ModelConfig",
    "model.lora_alpha": "TRL's ModelConfig",
    "model.threads": "ours, measured",
    "warm_start.slip": "ours, measured",
    "warm_start.learning_rate": "ours; other models: SPA's scripts, for 3B; LoRA: Schulman et al. 2025",
    "warm_start.batch": "ours, measured",
    "warm_start.warmup": "SPA",
    "warm_start.beta2": "ours, measured",
    "ppo.iterations": "ours: a first table in minutes on two cores",
    "ppo.trees": "3SPO",
    "ppo.epochs": "SPA",
    "ppo.microbatch": "ours; other models: what 80 GB hold beside 1.5 billion weights",
    "ppo.learning_rate": "ours; other models: StepTool, for 3B; LoRA: Schulman et al. 2025",
    "ppo.warmup": "ours, measured",
    "ppo.clip": "Schulman et al. 2017",
    "ppo.lam": "Schulman et al. 2016",
    "ppo.temperature": "SPA",
    "eval.temperature": "SPA",
}
"""Setting -> where its default comes from; every other number is ours."""
