"""The estimate of memory, against what a process really takes, and the parts of it by hand."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from spa_bench.config import ModelConfig, build
from spa_bench.training import adapter, estimate, packing
from spa_bench.training.estimate import KEPT, Lora, Network, parts, peak
from spa_bench.training.policy import BF16_UNITS
from spa_bench.training.prefixes import lay_out, tokens_of

SMALL = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def kept(model: Any, sequences: list[np.ndarray]) -> int:
    """Bytes that a forward pass over a packed row keeps for the backward pass, weights not counted."""
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    seen: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        row = lay_out(sequences)
        ids, positions = torch.from_numpy(row.ids)[None], torch.from_numpy(row.positions)[None]
        given = packing.packed_inputs(ids, positions, packing.Reads(row.segments, torch.device("cpu")))
        states = model.base_model(use_cache=False, **given).last_hidden_state
    assert states.requires_grad
    return sum(storage.nbytes() for storage in seen.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "config", "more"),
    [
        (LlamaForCausalLM, LlamaConfig, {}),
        (Qwen2ForCausalLM, Qwen2Config, {"tie_word_embeddings": True}),
        (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 24}),
    ],
)
@pytest.mark.parametrize("own", [ModelConfig(), ModelConfig(adapter="lora", lora_rank=3)], ids=["whole", "lora"])
def test_what_a_layer_keeps_of_a_token_is_known_to_the_byte(
    kind: Any, config: Any, more: Any, dtype: Any, own: ModelConfig
) -> None:
    found = []
    for layers in (1, 2):
        model = kind(config(**SMALL, num_hidden_layers=layers, **more)).eval()
        for weight in model.parameters():
            weight.data = weight.data.to(dtype)
        if own.adapter == "lora":
            adapter.attach(model, own, 0)
        assert packing.prepare(model, 64)
        found.append(kept(model, [np.arange(32), np.arange(40, 72)]) / 64)
    shape = config(**SMALL, num_hidden_layers=2, **more)
    network, lora = Network.of(shape), Lora.of(shape, own)
    assert network.kept(dtype.itemsize, lora) == found[1] - found[0]
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert (network.parameters if lora is None else lora.parameters) == trained


def test_what_sequences_share_is_kept_once_but_for_its_keys_and_values() -> None:
    """Six sequences of 32 tokens behind the same 64 read 96 keys and values each, in copies; masks are the row's."""
    rng = np.random.default_rng(0)
    same = rng.integers(5, 90, 64)
    sequences = [np.concatenate([same, rng.integers(5, 90, 32)]) for _ in range(6)]
    assert tokens_of(sequences) == 256
    found = []
    for layers in (1, 2):
        model = LlamaForCausalLM(LlamaConfig(**SMALL, num_hidden_layers=layers)).eval()
        assert packing.prepare(model, 96)
        found.append(kept(model, sequences))
    network = Network.of(LlamaConfig(**SMALL, num_hidden_layers=2))
    assert found[1] - found[0] == 256 * network.kept(4) + 6 * 96 * 2 * network.keys * 4


def test_of_an_adapter_masters_gradients_and_moments_are_its_own_and_the_reference_is_no_second_model() -> None:
    network = Network(10**9, 10**8, 2048, 16, 5504, 16, 2048, 512, 2**15, normed=False)
    found = parts(network, 2, 4096, recompute=True, games=10, context=1023, lora=Lora(10**7, 20_000, 112))
    sizes = [found[name] // 10**7 for name in ("weights", "adapter", "masters", "gradients", "Adam", "reference")]
    assert sizes == [200, 4, 0, 4, 8, 0]
    most, _ = peak(found)
    assert most == 2 * 10**9 + 16 * 10**7 + found["activations"] + max(found["logits"], found["one layer"])
    whole = parts(network, 2, 4096, recompute=True, games=10, context=1023)
    assert {name for name in found if found[name] == whole[name]} >= {"logits", "key-value cache", "sampling"}


def test_parts_by_hand() -> None:
    """A billion weights in bf16: 2 bytes each for policy and reference, 4 for masters and gradients, 8 for Adam."""
    network = Network(10**9, 10**8, 2048, 16, 5504, 16, 2048, 512, 2**15, normed=False)
    found = parts(network, 2, 4096, recompute=True, games=10, context=1023)
    assert [found[name] // 10**9 for name in ("weights", "masters", "gradients", "Adam", "reference")] == [
        2,
        4,
        4,
        8,
        2,
    ]
    assert found["key-value cache"] == 10 * 1024 * 2 * 16 * 512 * 2
    assert found["logits"] == 2048 * 2**15 * 12  # 2,048 tokens at once have 2**26 logits
    whole = parts(network, 2, 4096, recompute=False, games=10, context=1023)
    assert whole["activations"] - found["activations"] == 4096 * 16 * (network.kept(2) - 2048 * 2)
    assert found["one layer"] - whole["one layer"] == 4096 * network.kept(2)
    assert parts(network, 4, 4096, recompute=True, games=10, context=1023)["masters"] == 0
    most, when = peak(found)
    assert when == "in an update"
    assert most == 20 * 10**9 + found["activations"] + max(found["logits"], found["one layer"])
    played = found | {"key-value cache": 10**11}
    assert peak(played)[1] == "while games are played"
    assert found["reordered weights"] == found["allocator"] == 0
    copied = parts(network, 2, 4096, recompute=True, games=10, context=1023, cpu=True)
    assert copied["allocator"] == round(KEPT * most) and peak(copied)[0] == most + copied["allocator"]
    assert peak(copied | {"key-value cache": 10**11, "allocator": 0})[0] == peak(played)[0] + 2 * 10**9


def updates(**environment: str) -> Iterator[Callable[..., int]]:
    """Asks for the bytes that updates of a shape take, in a process of their own."""
    command = [sys.executable, str(Path(__file__).parent / "updated.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=os.environ | environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def took(shape: dict[str, Any], **settings: Any) -> int:
            asked.write(json.dumps({"shape": shape} | settings) + "\n")
            return int(answers.readline())

        yield took


@pytest.fixture(scope="module")
def exact() -> Iterator[Callable[..., int]]:
    """With an allocator that gives freed blocks back at once."""
    yield from updates(MALLOC_MMAP_THRESHOLD_="65536")


@pytest.fixture(scope="module")
def usual() -> Iterator[Callable[..., int]]:
    """With the allocator as it is."""
    yield from updates()


resident = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
in_bf16 = pytest.mark.skipif(
    not any(getattr(torch.cpu, name, bool)() for name in BF16_UNITS),
    reason="a CPU without units for bf16 takes minutes for what is measured here",
)


@resident
@pytest.mark.parametrize(
    ("hidden", "layers", "vocabulary", "length", "recompute", "dtype", "rank"),
    [
        (256, 6, 8192, 1024, False, "fp32", 0),
        (512, 4, 16384, 512, True, "fp32", 0),
        pytest.param(512, 4, 16384, 512, True, "bf16", 0, marks=in_bf16),
        pytest.param(512, 4, 1024, 1024, True, "bf16", 16, marks=in_bf16),
        pytest.param(256, 6, 1024, 1024, False, "bf16", 16, marks=in_bf16),
    ],
)
def test_what_lives_in_an_update_is_within_15_percent_of_the_estimate(
    exact: Callable[..., int], hidden: int, layers: int, vocabulary: int, length: int, recompute: bool, dtype: str,
    rank: int,
) -> None:  # fmt: skip
    shape = {
        "hidden_size": hidden, "num_hidden_layers": layers, "vocab_size": vocabulary, "intermediate_size": 3 * hidden,
        "num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128, "tie_word_embeddings": True,
    }  # fmt: skip
    took = exact(shape, length=length, rows=2, recompute=recompute, dtype=dtype, rank=rank)
    size = {"fp32": 4, "bf16": 2}[dtype]
    own = LlamaConfig(**shape)
    lora = Lora.of(own, ModelConfig(adapter="lora", lora_rank=rank)) if rank else None
    found = parts(Network.of(own), size, 2 * length, recompute=recompute, games=0, context=length, lora=lora)
    assert peak(found)[0] == pytest.approx(took, rel=0.15)


@resident
@pytest.mark.parametrize(
    ("hidden", "inner", "heads", "keys", "vocabulary", "recompute", "dtype"),
    [
        pytest.param(576, 1536, 9, 3, 49152, True, "fp32", id="SmolLM2-135M"),
        pytest.param(896, 4864, 14, 2, 32768, True, "fp32", id="Qwen2.5-0.5B"),
        pytest.param(896, 4864, 14, 2, 32768, True, "bf16", id="Qwen2.5-0.5B in bf16", marks=in_bf16),
    ],
)
def test_an_update_takes_what_the_estimate_says_within_15_percent(
    usual: Callable[..., int], hidden: int, inner: int, heads: int, keys: int, vocabulary: int, recompute: bool,
    dtype: str,
) -> None:  # fmt: skip
    """Two layers of the widths of real models."""
    shape = {
        "hidden_size": hidden, "num_hidden_layers": 2, "vocab_size": vocabulary, "intermediate_size": inner,
        "num_attention_heads": heads, "num_key_value_heads": keys, "tie_word_embeddings": True,
    }  # fmt: skip
    took = usual(shape, length=512, rows=2, recompute=recompute, dtype=dtype)
    own = Network.of(LlamaConfig(**shape))
    found = parts(own, {"fp32": 4, "bf16": 2}[dtype], 1024, recompute=recompute, games=0, context=512, cpu=True)
    assert peak(found)[0] == pytest.approx(took, rel=0.15)


def test_seconds_of_a_warm_start_by_hand() -> None:
    """10 demonstrations twice, each of 512 + 7 * (60 + 16) tokens, of a network of a million weights."""
    own = build({"env": "a", "reward": "b", "model": {"prompt": "action"}, "warm_start": {"episodes": 10, "epochs": 2}})
    network = dataclasses.replace(Network.of(LlamaConfig(hidden_size=64, num_hidden_layers=1)), parameters=10**6)
    measured = estimate.Probe(train=3e-9, read=1e-9, write=1.0)
    seconds = estimate.warm_start_seconds(network, measured, own, recompute=True)
    assert seconds == pytest.approx(20 * 1044 * 1e6 * 4e-9)
    assert estimate.warm_start_seconds(network, measured, own, recompute=False) == pytest.approx(0.75 * seconds)
    assert estimate.reply_tokens(build({"env": "a", "reward": "b", "model": {"prompt": "react"}})) == 32


def test_an_estimate_of_a_saved_model_names_what_to_lower_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiny import config, language_model

    language_model().save(tmp_path)
    for weights in tmp_path.glob("*.safetensors"):
        weights.unlink()  # never read
    own = config(model={"name": str(tmp_path), "context": 512, "threads": 1})
    found = estimate.estimate(own)
    assert found.fits and len(found.lines()) == 2
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert "for the warm start" in found.lines()[1]
    adapted = own.model_copy(update={"model": own.model.model_copy(update={"adapter": "lora"})})
    assert "adapter" in estimate.estimate(adapted).lines()[0] and "adapter" not in found.lines()[0]
    seen: list[int] = []
    attach = adapter.attach

    def noted(model: Any, *args: Any, **more: Any) -> None:
        seen.append(model.config.num_hidden_layers)
        attach(model, *args, **more)

    monkeypatch.setattr(adapter, "attach", noted)
    assert estimate.estimate(adapted).memory["Adam"] < found.memory["Adam"]
    assert seen == [2, 1]  # counted in all of its layers, and timed in one
    monkeypatch.setattr(estimate, "available", lambda device: 10**6)
    assert not estimate.estimate(own).fits
    assert estimate.estimate(own).lines()[0].endswith(": too much")
