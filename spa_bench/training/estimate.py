"""What a run will take: memory by part, from the model's configuration alone, and time, from a probe of one layer.

No weights are loaded: the parameters are counted on the meta device, and the probe's are random. Exact for layers as
Llama, Qwen2, Qwen3, Mistral and SmolLM2 have them, with all weights trained or an adapter beside all linear ones; for
others a guide.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from spa_bench.config import ModelConfig, RunConfig
from spa_bench.training import adapter, sizes
from spa_bench.training.devices import choose_device
from spa_bench.training.policy import DTYPES, LOGITS, choose_dtype

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GB = 10**9
FP32 = 4
KEPT = 0.12
"""Share that the heap of a CPU (glibc's) has beyond what lives in it. Measured over updates of two layers of the widths
of SmolLM2-135M and Qwen2.5-0.5B: 0.09 to 0.21; in models a third as wide up to 0.35. Giving all of it back at once
(MALLOC_MMAP_THRESHOLD_=65536: 0.02) costs a fifth of the time of a run of SmolLM2, in page faults."""
OBSERVATION, REPLY, PROMPT = 60, 32, 512
"""Tokens of an observation, of a reply where `model.max_new_tokens` allows for it, and of a first prompt: assumed, as
the worlds' own and the model's are only known when it plays."""
TURNS = 7
"""Of a demonstration, assumed. The searching expert's in the built-in tasks have 10 in ALFWorld, 6 in WebShop and in
VirtualHome; in SmolLM2's tokens, with `model.prompt=action`, they are 890, 1,170 and 720 long."""


@dataclass(frozen=True)
class Network:
    """The numbers of a causal language model that decide what it takes."""

    parameters: int
    head: int
    """Weights of the output layer."""
    hidden: int
    layers: int
    inner: int
    """Width of the feed-forward part."""
    heads: int
    queries: int
    """Numbers of all heads' queries."""
    keys: int
    """Numbers of all heads' keys; there are as many values."""
    vocabulary: int
    normed: bool
    """Queries and keys are normalised."""

    @classmethod
    def of(cls, config: PretrainedConfig) -> Network:
        """Of the text part of a model's configuration."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
        names = {name for name, _ in model.named_parameters()}
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            parameters=sum(weight.numel() for weight in model.parameters()),
            head=model.get_output_embeddings().weight.numel(),
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            inner=config.intermediate_size,
            heads=heads,
            queries=heads * width,
            keys=(getattr(config, "num_key_value_heads", None) or heads) * width,
            vocabulary=config.vocab_size,
            normed=any(name.endswith("q_norm.weight") for name in names),
        )

    def kept(self, size: int, lora: Lora | None = None) -> int:
        """Bytes that one layer keeps for the backward pass, of each token; a number of its dtype has `size`.

        Two norms (the input in fp32, and twice in its dtype), queries, keys, values, what attention makes of them for
        each sequence and once more for the whole packed row, and four of the inner width (gate, its activation, up,
        their product); for each norm and head one number more.
        Frozen weights need neither what a norm multiplies nor what a layer reads; adapters read it in fp32, in a copy
        each where it is not, and keep what their first matrix makes of it.
        """
        heads = self.heads * self.keys // self.queries
        weighed = 0 if lora else size
        norms = 2 * (self.hidden * (FP32 + weighed) + FP32)
        if self.normed:
            norms += (self.queries + self.keys) * (FP32 + weighed) + FP32 * (self.heads + heads)
        read = 2 * self.hidden + self.inner
        copied = lora is not None and size < FP32
        attention = size * ((2 if copied else 3) * self.queries + 2 * self.keys) + FP32 * self.heads
        read = FP32 * lora.read if lora and copied else size * read
        return norms + attention + 3 * size * self.inner + read + (FP32 * lora.ranks if lora else 0)


@dataclass(frozen=True)
class Lora:
    """The numbers of an adapter that decide what it takes."""

    parameters: int
    read: int
    """Width of what is read, over all adapted layers of one block of the network."""
    ranks: int
    """Their ranks, added up."""

    @classmethod
    def of(cls, config: PretrainedConfig, settings: ModelConfig) -> Lora | None:
        """Of the configured adapter; None without one, UserError where it does not fit the model."""
        from transformers import AutoModelForCausalLM

        if settings.adapter == "none":
            return None
        adapter.require_peft()
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
            adapter.attach(model, settings, seed=0)
        found = adapter.weights(model)
        firsts = [weight for name, weight in found.items() if not adapter.is_b(name)]
        blocks = config.num_hidden_layers
        return cls(
            parameters=sum(weight.numel() for weight in found.values()),
            read=sum(weight.shape[1] for weight in firsts) // blocks,
            ranks=sum(weight.shape[0] for weight in firsts) // blocks,
        )


def parts(
    network: Network,
    size: int,
    tokens: int,
    *,
    recompute: bool,
    games: int,
    context: int,
    lora: Lora | None = None,
    cpu: bool = False,
) -> dict[str, int]:
    """Bytes of each part; `size` is that of a weight, `tokens` those of a microbatch, `games` those live at once.

    Gradients and Adam's moments are fp32, and so are masters, where weights are not. A logit is there three times in
    fp32. In the backward pass of a layer three gradients of the inner width are there at once, and the gradient of the
    output layer, which waits for that of the embedding where they share their weights.
    An adapter is fp32, with gradients and moments of its own numbers only; the reference is the network without it.
    On a CPU replies are sampled with a reordered copy of the weights, and the heap holds `KEPT` more than what lives.
    """
    weights, layer = network.parameters * size, tokens * network.kept(size, lora)
    trained = lora.parameters if lora else network.parameters
    inputs = network.layers * tokens * network.hidden * size
    norm = tokens * network.hidden * (FP32 + 2 * size)
    at_work = 3 * tokens * network.inner * (FP32 if lora else size) + (0 if lora else 2 * network.head * size)
    at_once = min(tokens, max(1, LOGITS // network.vocabulary)) * network.vocabulary
    found = {
        "weights": weights,
        "adapter": lora.parameters * FP32 if lora else 0,
        "masters": 0 if size == FP32 or lora else trained * FP32,
        "gradients": trained * FP32,
        "Adam": 2 * trained * FP32,
        "reference": 0 if lora else weights,
        "activations": (inputs if recompute else network.layers * layer) + norm,
        "logits": 3 * FP32 * at_once,
        "one layer": (layer if recompute else 0) + at_work,
        "reordered weights": weights if cpu else 0,
        "key-value cache": games * (context + 1) * 2 * network.layers * network.keys * size,
        "sampling": games * (network.vocabulary * 28 + min(PROMPT, context) * 4 * network.inner * size),
        "allocator": 0,
    }
    return found | {"allocator": round(KEPT * peak(found)[0]) if cpu else 0}


def peak(found: Mapping[str, int]) -> tuple[int, str]:
    """The most bytes at once, and when.

    An update and the games are never at the same time, nor are the logits and the backward pass of a layer.
    """
    always = sum(found[name] for name in ("weights", "adapter", "masters", "Adam", "reference", "allocator"))
    update = always + found["gradients"] + found["activations"] + max(found["logits"], found["one layer"])
    games = always + found["reordered weights"] + found["key-value cache"] + found["sampling"]
    return max((update, "in an update"), (games, "while games are played"))


def available(device: torch.device) -> int:
    """Bytes of the device's memory, or of the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(frozen=True)
class Probe:
    """Seconds for each weight, measured on one layer of the model's width."""

    train: float
    """Of one token, forward and backward."""
    read: float
    """Of one token, forward, among many."""
    write: float
    """Of one step of all live games, a token each."""


def probe(
    config: PretrainedConfig, device: torch.device, dtype: torch.dtype, games: int, settings: ModelConfig
) -> Probe:
    """Measure one layer with random weights, and with an adapter where that is configured."""
    from transformers import AutoModel

    small = copy.deepcopy(config)
    small.num_hidden_layers, small.vocab_size, small.pad_token_id = 1, 128, None
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[:1]
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_config(small, dtype=dtype, trust_remote_code=False).to(device)  # type: ignore[no-untyped-call]
    weights = sum(weight.numel() for name, weight in model.named_parameters() if "embed" not in name)
    if settings.adapter == "lora":
        adapter.attach(model, settings, seed=0)

    def forward(rows: int, length: int) -> torch.Tensor:
        ids = torch.zeros(rows, length, dtype=torch.long, device=device)
        states: torch.Tensor = model(input_ids=ids, use_cache=False).last_hidden_state
        return states

    tokens = 256
    train = _seconds(lambda: torch.autograd.backward(forward(1, tokens).float().sum()), device) / tokens
    with torch.no_grad():
        read = _seconds(lambda: forward(1, tokens), device) / tokens
        write = _seconds(lambda: forward(games, 1), device)
    return Probe(train / weights, read / weights, write / weights)


def _seconds(work: Callable[[], Any], device: torch.device, budget: float = 1.0) -> float:
    """The least of some repetitions, after one that is not counted."""
    work()
    took: list[float] = []
    while len(took) < 2 or (len(took) < 10 and sum(took) < budget):
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - begun)
    return min(took)


def reply_tokens(config: RunConfig) -> int:
    """Of one reply: a command alone is short."""
    most = config.model.max_new_tokens or (16 if config.model.prompt == "action" else REPLY)
    return min(most, REPLY)


def warm_start_seconds(network: Network, measured: Probe, config: RunConfig, *, recompute: bool) -> float:
    """Of the passes over demonstrations of `TURNS` turns; the expert's play comes to little beside them."""
    settings = config.warm_start
    tokens = settings.episodes * settings.epochs * (PROMPT + TURNS * (OBSERVATION + reply_tokens(config)))
    return network.parameters * tokens * (measured.train + (measured.read if recompute else 0.0))


def iteration_seconds(
    network: Network, measured: Probe, config: RunConfig, *, recompute: bool, games: int
) -> dict[str, float]:
    """Seconds of one iteration by stage: `ppo.env_steps` steps of `OBSERVATION` and `reply_tokens` each."""
    reply = reply_tokens(config)
    steps, settings = config.ppo.env_steps, config.ppo
    tokens = steps * (OBSERVATION + reply)
    each = network.parameters * tokens
    again = measured.read if recompute else 0.0
    return {
        "games": network.parameters * (steps * OBSERVATION * measured.read + steps * reply * measured.write / games),
        "scoring": 2 * each * measured.read,
        "update": settings.epochs * each * (measured.train + again),
    }


@dataclass(frozen=True)
class Estimate:
    """Of one configuration on this machine."""

    name: str
    dtype: str
    memory: dict[str, int]
    warm_start: float
    """Seconds."""
    seconds: dict[str, float]
    """Of one iteration, by stage."""
    iterations: int
    reply: int
    """Tokens that a reply is taken to have."""
    room: int
    """Bytes of memory there are."""

    @property
    def fits(self) -> bool:
        """The peak is below what there is."""
        return peak(self.memory)[0] < self.room

    def lines(self) -> list[str]:
        """Memory and time, a line each."""
        most, when = peak(self.memory)
        sizes = ", ".join(f"{name} {size / GB:.2g}" for name, size in self.memory.items() if size)
        share = ", ".join(f"{name} {100 * s / sum(self.seconds.values()):.0f} %" for name, s in self.seconds.items())
        minutes = sum(self.seconds.values()) / 60
        return [
            f"memory of {self.name} in {self.dtype}, GB: {sizes}; at most {most / GB:.3g} {when}, "
            f"of {self.room / GB:.3g}" + ("" if self.fits else ": too much"),
            f"time, min: {self.warm_start / 60:.3g} for the warm start, {minutes:.3g} an iteration ({share}), "
            f"{minutes * self.iterations:.3g} for {self.iterations}; a step taken as {OBSERVATION} tokens of page and "
            f"{self.reply} of reply, a demonstration as {PROMPT} tokens and {TURNS} steps; evaluation comes on top",
        ]


def memory(config: RunConfig, dtype: torch.dtype, characters: int = 1, *, cpu: bool = False) -> dict[str, int]:
    """Bytes of each part of a run with weights in `dtype`; UserError where there is no configuration of the model."""
    shape, context = sizes.shape(config.model.name), sizes.full_context(config)
    return parts(
        Network.of(shape),
        dtype.itemsize,
        max(config.ppo.microbatch, context),
        recompute=config.model.gradient_checkpointing is not False,
        games=sizes.live_games(config, dtype, characters),
        context=context,
        lora=Lora.of(shape, config.model),
        cpu=cpu,
    )


def estimate(config: RunConfig, characters: int = 1) -> Estimate:
    """Of a model other than the embedded one; UserError where its configuration cannot be loaded."""
    shape = sizes.shape(config.model.name)
    device = choose_device(config.model.device)
    dtype = choose_dtype(config.model.dtype, device, shape.hidden_size, embedded=False)
    taken = memory(config, DTYPES[dtype], characters, cpu=device.type == "cpu")
    games = sizes.live_games(config, DTYPES[dtype], characters)
    recompute = config.model.gradient_checkpointing is not False
    torch.set_num_threads(config.model.threads)
    measured, network = probe(shape, device, DTYPES[dtype], games, config.model), Network.of(shape)
    return Estimate(
        name=config.model.name,
        dtype=dtype,
        memory=taken,
        warm_start=warm_start_seconds(network, measured, config, recompute=recompute),
        seconds=iteration_seconds(network, measured, config, recompute=recompute, games=games),
        iterations=config.ppo.iterations,
        reply=reply_tokens(config),
        room=available(device),
    )
