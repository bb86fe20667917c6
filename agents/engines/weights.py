"""Weights as engines can take them again and again.

Updates of vLLM leave an output layer that is tied to the embedding as it was (0.32, measured), so engines are given
models whose two are not tied.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def untied(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """All weights by name; one that has two names is there twice, and an adapter is merged into those beside it."""
    found = {name: weight.detach() for name, weight in model.state_dict().items() if ".lora_" not in name}
    for name, layer in model.named_modules():
        if callable(product := getattr(layer, "get_delta_weight", None)):  # a layer of peft
            own = f"{name}.base_layer.weight"
            with torch.no_grad():
                found[own] = sum((product(adapter) for adapter in layer.active_adapters), found[own].float())
            found[own] = found[own].to(layer.weight.dtype)
    return {name.replace(".base_layer.", "."): weight for name, weight in found.items()}


def save_untied(model: PreTrainedModel, folder: Path) -> None:
    """A model with the same logits, whose output layer has weights of its own."""
    config = copy.deepcopy(model.config)
    config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    weights = {name: weight.cpu().contiguous() for name, weight in untied(model).items()}
    seen: set[int] = set()
    for name, weight in weights.items():  # safetensors has no weight twice
        weights[name] = weight.clone() if weight.data_ptr() in seen else weight
        seen.add(weight.data_ptr())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
