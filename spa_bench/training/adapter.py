"""LoRA (Hu et al. 2022): two small matrices beside each layer of a frozen network, made and merged by peft.

A policy is the base model, the warm start's adapter merged into it, and the adapter that PPO trains. Its folder holds
both adapters, as peft reads them: `WARM_START` the first one and what tells its base from others. A merged model in its
place would take the disk of the base once for each seed and setting, and be no more exact: merging is repeatable.
The embedded model has random weights, which have nothing to adapt: its warm start trains all of them and is kept whole.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from spa_bench.config import ModelConfig
from spa_bench.core import UserError
from spa_bench.runs.provenance import installed

if TYPE_CHECKING:
    from peft import LoraConfig, LoraModel
    from transformers import PreTrainedModel

    from spa_bench.training.language_model import LanguageModel

WARM_START = "warm_start"
"""Folder of the adapter that is merged before PPO."""

BASE = "base"
"""There, the embedded model's warm start; for an adapter's base, `BASE`.json tells the content."""

FILE = "adapter_model.safetensors"
NAME = "default"
"""The adapter's, as peft calls one that has no other."""

CONTENT = ("revision", "weights")
"""What of `model_content.identify` decides a model's numbers."""


def require_peft() -> None:
    """UserError where peft is absent."""
    try:
        import peft  # noqa: F401
    except ImportError:
        raise UserError("model.adapter=lora needs peft: pip install 'spa-bench[lora]'") from None


def versions(settings: ModelConfig) -> dict[str, str | None]:
    """Of the libraries that an adapter needs; none without one."""
    return {} if settings.adapter == "none" else {"peft": installed("peft")}


def attach(model: PreTrainedModel, settings: ModelConfig, seed: int) -> None:
    """Put a new adapter beside the layers that `model.lora_targets` names: A random by the seed, B zero.

    The model computes what it did; all but the adapter is frozen. UserError where a target is no linear layer.
    """
    from peft import LoraConfig

    targets: str | list[str] = settings.lora_targets
    if targets != "all-linear":
        targets = [name.strip() for name in settings.lora_targets.split(",")]
    config = LoraConfig(
        r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules=targets, lora_dropout=0.0, bias="none"
    )
    said = f"model.lora_targets={settings.lora_targets!r}"
    try:
        tuner = _inject(model, config, seed)
    except ValueError as error:
        raise UserError(f"{said}: {str(error).splitlines()[0]}") from None
    found = tuner.targeted_module_names
    for target in targets if isinstance(targets, list) else []:
        if not any(name == target or name.endswith(f".{target}") for name in found):
            raise UserError(f"{said}: the model has no layer {target!r}; use all-linear, or names such as q_proj")
    for end in (model.get_input_embeddings(), model.get_output_embeddings()):  # type: ignore[no-untyped-call]
        if end is not None and any("lora_" in name for name, _ in end.named_parameters()):
            raise UserError(f"{said}: name layers between the embedding and the output layer only, which are often one")


def _inject(model: PreTrainedModel, config: LoraConfig, seed: int) -> LoraModel:
    """fp32 matrices, whatever the weights are, so that small steps count; peft then adds their product in fp32."""
    from peft import LoraModel
    from peft.tuners.tuners_utils import cast_adapter_dtype

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuner = LoraModel(model, config, NAME)
    cast_adapter_dtype(model, NAME)
    return tuner


A, B = f".lora_A.{NAME}.", f".lora_B.{NAME}."
"""In the names of an adapter's matrices: the first is random at the start, the second zero."""


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The adapter's own, by their names in the model; none without one."""
    return {name: weight for name, weight in model.named_parameters() if A in name or is_b(name)}


def is_b(name: str) -> bool:
    """It is the name of a B."""
    return B in name


@contextlib.contextmanager
def off(model: PreTrainedModel) -> Iterator[None]:
    """Within, the layers compute what they would without the adapter, to the bit."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write the adapter alone, as peft reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {_saved_name(name): weight.detach().contiguous() for name, weight in weights(model).items()}
    safetensors.torch.save_file(own, folder / FILE)
    config = cast("LoraConfig", model.peft_config[NAME])
    config.target_modules = sorted(config.target_modules or ())
    config.save_pretrained(str(folder))


def load(model: PreTrainedModel, folder: Path) -> None:
    """Give the model's adapter the saved numbers; UserError where it has other layers or another rank."""
    saved = safetensors.torch.load_file(folder / FILE)
    own = {_saved_name(name): weight for name, weight in weights(model).items()}
    if {name: weight.shape for name, weight in saved.items()} != {name: weight.shape for name, weight in own.items()}:
        raise UserError(f"{folder / FILE} is the adapter of another model, rank or choice of layers")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(saved[name])


def _saved_name(name: str) -> str:
    return f"base_model.model.{name}".replace(f".{NAME}.", ".")


def save_start(agent: LanguageModel, folder: Path, content: Mapping[str, str]) -> None:
    """Write a warm start: its adapter and the base's `content`, or a model that has none whole."""
    if weights(agent.model):
        save(agent.model, folder / WARM_START)
        (folder / WARM_START / f"{BASE}.json").write_text(json.dumps(_content(content)))
    else:
        agent.save(folder / WARM_START / BASE)


def base_in(folder: Path | None) -> Path | None:
    """The model in a policy's folder that its adapters stand on; None where that is found by its name."""
    own = None if folder is None else folder / WARM_START / BASE
    return own if own is not None and own.is_dir() else None


def save_policy(model: PreTrainedModel, folder: Path, origin: Path) -> None:
    """Write PPO's adapter, and what it stands on from the warm start's folder `origin`."""
    save(model, folder)
    shutil.copytree(origin / WARM_START, folder / WARM_START)


def restore(model: PreTrainedModel, folder: Path, content: Mapping[str, str]) -> None:
    """Make of the base model what `folder` holds: a warm start, or a policy with its adapter beside the layers.

    UserError where the base's content is another than the one that the adapters were trained on.
    """
    start = folder / WARM_START
    if (start / FILE).exists():
        if json.loads((start / f"{BASE}.json").read_text()) != _content(content):
            raise UserError(f"the adapters in {folder} were trained on another base model than this name has now")
        _from(model, start).merge_and_unload()
        vars(model).pop("peft_config", None)  # peft 0.18 leaves it
    if (folder / FILE).exists():
        _from(model, folder)


def _from(model: PreTrainedModel, folder: Path) -> LoraModel:
    from peft import LoraConfig

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False
    tuner = _inject(model, config, seed=0)
    load(model, folder)
    return tuner


def _content(content: Mapping[str, str]) -> dict[str, str]:
    return {key: content[key] for key in CONTENT if key in content}
