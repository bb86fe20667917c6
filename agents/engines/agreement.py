"""Whether an engine samples with the trainer's weights: a few of its replies, scored again by the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from spa_bench.agents.engines import Prompt, Sampled
from spa_bench.core import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REPLIES = 8
"""So many are scored after each update; each is a forward pass over its whole sequence."""

TOLERANCE = {4: 1e-3, 2: 0.1}
"""By the bytes of a weight: how far the log-probs of sampled tokens may be apart on average. SmolLM2 in fp32: vLLM's
are within 1e-5, and 0.1 after an update that the engine did not take; bf16 rounds a log-prob by some 0.05."""


@torch.inference_mode()
def apart(model: PreTrainedModel, prompts: Sequence[Prompt], replies: Sequence[Sampled], temperature: float) -> float:
    """Mean absolute difference of log-probs, over the tokens of the first replies; 0 where there are none."""
    model.train(False)
    answered = [pair for pair in zip(prompts, replies, strict=True) if pair[1].ids][:REPLIES]
    gaps = []
    for prompt, reply in answered:
        ids = torch.tensor([[*prompt.ids, *reply.ids]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt.ids) - 1 : -1].float()
        scored = (logits / (temperature or 1.0)).log_softmax(-1).gather(1, ids[0, len(prompt.ids) :, None])[:, 0]
        gaps.append((scored - torch.tensor(reply.logprobs, device=model.device)).abs())
    return float(torch.cat(gaps).mean()) if gaps else 0.0


def check(model: PreTrainedModel, prompts: Sequence[Prompt], replies: Sequence[Sampled], temperature: float) -> None:
    """UserError where the engine's log-probs are not the model's."""
    gap, allowed = apart(model, prompts, replies, temperature), TOLERANCE[model.dtype.itemsize]
    if not gap <= allowed:
        raise UserError(
            f"the engine did not sample with the trainer's weights: mean |log-prob difference| {gap:.2g} (allowed "
            f"{allowed:g}); start it with processed log-probs and the same dtype, or use model.engine=transformers"
        )
