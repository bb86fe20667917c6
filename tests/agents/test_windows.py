"""Models some or all of whose layers see a window only: log-probs are those of a plain forward pass."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import transformers as hf

from spa_bench.agents.engines import Prompt, Sampling, packed, transformers
from spa_bench.agents.engines.transformers import TransformersEngine

WINDOW = 9
SHAPE = {
    "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "initializer_range": 0.3,
}  # fmt: skip
MIXED = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "sliding_window": WINDOW}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma3": ("Gemma3", MIXED),
    "gemma2": ("Gemma2", MIXED | {"attn_implementation": "eager", "final_logit_softcapping": None}),
    "qwen2": ("Qwen2", MIXED | {"use_sliding_window": True}),
    "mistral": ("Mistral", {"sliding_window": WINDOW}),
}


def model_of(kind: str) -> Any:
    name, more = KINDS[kind]
    config = getattr(hf, "Gemma3TextConfig" if name == "Gemma3" else f"{name}Config")(**SHAPE, **more)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(hf, f"{name}ForCausalLM")(config).eval()


@torch.no_grad()
def plain(model: Any, ids: list[int], reply: tuple[int, ...]) -> np.ndarray:
    logits = model(input_ids=torch.tensor([[*ids, *reply]]), use_cache=False).logits[0, len(ids) - 1 : -1].float()
    found: np.ndarray = logits.log_softmax(-1).gather(1, torch.tensor(reply)[:, None])[:, 0].numpy()
    return found


@pytest.mark.parametrize("in_packed_rows", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("kind", KINDS)
def test_log_probs_are_the_models(kind: str, in_packed_rows: bool) -> None:
    """Conversations of unlike length behind shared instructions, all longer than the window, in passes of 16 tokens."""
    model, rng = model_of(kind), np.random.default_rng(0)
    instructions = rng.integers(4, 60, 20).tolist()
    with mock.patch.object(transformers, "SHARED", 6), mock.patch.object(packed, "PASS", 16):
        one = TransformersEngine(model, context=256, packed=in_packed_rows)
        assert one.packed == (in_packed_rows and kind != "gemma2")
        live = {n: instructions + rng.integers(4, 60, 1 + 7 * n).tolist() for n in range(4)}
        for turn in range(5):
            prompts = [Prompt(key, ids, 10 * turn + key) for key, ids in live.items()]
            said = one.generate(prompts, Sampling(6, 1.0, frozenset({3})))
            for (key, ids), reply in zip(live.items(), said, strict=True):
                np.testing.assert_allclose(reply.logprobs, plain(model, ids, reply.ids), atol=1e-4)
                live[key] = ids + list(reply.ids) + rng.integers(4, 60, int(rng.integers(1, 9))).tolist()
        if one.packed:
            assert one._prefix


@pytest.mark.parametrize("kind", KINDS)
def test_the_window_matters_in_these_models(kind: str) -> None:
    """What lies before the window of every layer changes the next token's distribution where a layer sees it."""
    model = model_of(kind)
    ids = np.random.default_rng(1).integers(4, 60, 40).tolist()
    config = model.config
    short = plain(model, ids, (7,))
    config.sliding_window = 256
    for layer in model.base_model.layers:
        if getattr(layer.self_attn, "sliding_window", None):
            layer.self_attn.sliding_window = 256
    assert abs(plain(model, ids, (7,)) - short).max() > 1e-3
