"""How large a model is: width, context, and how many games its cache holds; read from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from spa_bench import registry
from spa_bench.config import EMBEDDED, RunConfig
from spa_bench.training.model_content import place

if TYPE_CHECKING:
    from transformers import PretrainedConfig

EMBEDDED_CONTEXT = 2048
"""Tokens that the embedded model has where `model.context` is not set."""


def hidden_size(config: RunConfig) -> int:
    """Width of the configured model; UserError where its configuration cannot be loaded."""
    return config.model.hidden if config.model.name == EMBEDDED else int(shape(config.model.name).hidden_size)


def shape(name: str) -> PretrainedConfig:
    """The configuration of a model's text part; UserError where it cannot be loaded."""
    kind: Any = registry.find("agents", "causal-lm")
    found: PretrainedConfig = kind.read_config(place(name)).get_text_config()
    return found


def live_games(config: RunConfig, dtype: torch.dtype, characters: int) -> int:
    """`batch`, or as many games as `model.cache_bytes` holds at full context, one at least."""
    model = config.model
    if model.name == EMBEDDED:
        token = 2 * model.layers * model.hidden * dtype.itemsize
    else:
        kind: Any = registry.find("agents", "causal-lm")
        token = kind.token_bytes(shape(model.name), dtype)
    game = characters * (full_context(config) + 1) * token  # a slot of each row takes what padding writes
    return max(1, min(config.batch, model.cache_bytes // game))


def full_context(config: RunConfig) -> int:
    """`model.context`, or what the model has where that is not set."""
    if config.model.context is not None:
        return config.model.context
    if config.model.name == EMBEDDED:
        return EMBEDDED_CONTEXT
    kind: Any = registry.find("agents", "causal-lm")
    return int(kind.own_context(shape(config.model.name)))
