"""A tiny language model and tiny settings: real parts, small enough for a unit test."""

from __future__ import annotations

from typing import Any

from spa_bench import registry
from spa_bench.config import RunConfig, build

TEXTS = (
    "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, a cabinet 1, and a shelf 1.",
    "Your task is to: put a mug in shelf.",
    "On the shelf 1, you see a mug 1, and a plate 2. The cabinet 1 is closed. Nothing happens.",
    "Action: go to shelf 1",
    "Action: take mug 1 from shelf 1",
    "Action: look",
    "Action: open cabinet 2",
)

SETTINGS: dict[str, Any] = {
    "batch": 16,
    "world": {"max_steps": 6, "options": {"train": 24, "valid": 6}},
    "model": {
        "hidden": 32,
        "layers": 1,
        "heads": 2,
        "dtype": "fp32",
        "context": 512,
        "max_new_tokens": 10,
        "threads": 1,
    },
    "warm_start": {"episodes": 24, "epochs": 2},
    "explore": {"tasks": 6, "samples": 2},
    "ppo": {"iterations": 2, "env_steps": 80, "samples": 2, "minibatches": 2, "microbatch_episodes": 4, "epochs": 1},
}


def language_model(**changes: Any) -> Any:
    """An untrained embedded agent over `TEXTS`."""
    settings = {"hidden": 32, "layers": 2, "heads": 2, "context": 512, "max_new_tokens": 8, "seed": 0} | changes
    return registry.find("agents", "causal-lm").embedded(TEXTS, registry.prompt("action"), **settings)  # type: ignore[attr-defined]


def config(**changes: Any) -> RunConfig:
    """A run that ends in seconds."""
    return build({"env": "alfworld", "reward": "sparse"} | SETTINGS | changes)
