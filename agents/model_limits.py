"""What a model's configurations say of its limits: where its turns end, and how far back it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

LONGEST = 8192
"""Tokens: where `model.context` is not set, no more than these are used of what a model was made for. A conversation of
50 turns and replies of 59 tokens restarts once in it (in 4,096: 21 times), and models of 128k tokens would let it grow
until memory ends."""


def generation_ends(model: PreTrainedModel) -> list[int]:
    """The tokens at which the model's generation configuration stops."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if ends is None else [int(end) for end in (ends if isinstance(ends, list) else [ends])]


FULL, SLIDING = "full_attention", "sliding_attention"
"""Kinds of layers, in transformers' words."""


def layer_kinds(config: PretrainedConfig) -> set[str]:
    """The kinds of the model's layers; empty for models that have one kind and do not name it."""
    return set(getattr(config, "layer_types", None) or ())


def sliding_window(config: PretrainedConfig) -> int | None:
    """How many tokens a layer of the model sees at the least, its own with them; None where all see everything."""
    window: int | None = getattr(config, "sliding_window", None)
    kinds = layer_kinds(config)
    return None if kinds and SLIDING not in kinds else window


def own_context(config: PretrainedConfig) -> int:
    """The longest sequence that the model was made for, up to `LONGEST`."""
    text = config.get_text_config()
    known = (getattr(text, "max_position_embeddings", None), LONGEST)
    return min(int(length) for length in known if length)
