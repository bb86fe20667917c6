"""A process that updates models made from configurations, and prints the most bytes that each took.

Each line of standard input is one, as JSON; a fork of the process that has everything loaded answers it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from spa_bench.config import ModelConfig, PPOConfig
from spa_bench.training import adapter, checkpoint, packing, ppo, pricing
from spa_bench.training.batches import Limit, Sequences
from spa_bench.training.policy import DTYPES, Policy

TINY = {
    "vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 64,
    "num_attention_heads": 1, "num_key_value_heads": 1,
}  # fmt: skip


def resident() -> int:
    """Bytes in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def most() -> int:
    """The most bytes that were in memory; `ru_maxrss` would hold those of the process that started this one."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(line)


def built(shape: dict[str, Any], dtype: str, recompute: bool) -> Policy:
    model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
    for weight in model.parameters():
        weight.data = weight.data.to(DTYPES[dtype])
    return Policy(model, recompute=recompute, packed=packing.prepare(model, 2048))


def updated(shape: dict[str, Any], length: int, rows: int, dtype: str, recompute: bool, rank: int = 0) -> None:
    """An update of short episodes, from which on there are moments, and one of two microbatches, all tokens of them
    sampled ones; with a rank, of an adapter.
    """
    policy = built(shape, dtype, recompute)
    if rank:
        adapter.attach(policy.model, ModelConfig(adapter="lora", lora_rank=rank), seed=0)
        reference = Policy(policy.model, bare=True, packed=policy.packed)
    else:
        reference = built(shape, dtype, recompute).requires_grad_(False)
    optimizer = checkpoint.make_optimizer(policy, PPOConfig())
    rng = np.random.default_rng(0)
    settings = PPOConfig(minibatches=1, microbatch=rows * length, microbatch_episodes=99)
    for tokens in (8, length):
        places = np.stack([np.zeros(tokens - 1, dtype=np.int64), np.arange(1, tokens)], axis=1)
        ids = rng.integers(0, shape["vocab_size"], (2 * rows, tokens))
        episodes = [Sequences((row,), places, np.array([tokens - 1])) for row in ids]
        if tokens < length:
            pricing.score(reference, episodes, Limit.of(settings))
        scored = pricing.score(policy, episodes, Limit.of(settings))
        samples = [
            ppo.Sample(episode, found.logprobs, found.logprobs, np.ones(tokens - 1), np.zeros(tokens - 1))
            for episode, found in zip(episodes, scored, strict=True)
        ]
        ppo.update(policy, optimizer, samples, settings, rng=rng, kl_in_loss=True, ratio_tolerance=9.0)


def measured(told: dict[str, Any]) -> int:
    """The most bytes of an update, without what libraries take once."""
    torch.manual_seed(0)
    updated(TINY, 8, 2, told["dtype"], told["recompute"], told.get("rank", 0))
    before = resident()
    updated(**told)
    return most() - before


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        if os.fork() == 0:
            print(measured(json.loads(line)), flush=True)
            os._exit(0)
        _, status = os.wait()
        if status:
            sys.exit("the update failed")
