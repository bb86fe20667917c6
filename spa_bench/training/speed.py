"""How fast an iteration was: seconds by part, rates, share of the device's peak, memory.

These figures are measured, so that no two runs have the same; no result and no identity depends on them.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from spa_bench.training import ranks
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.policy import DTYPES, Policy

T = TypeVar("T")

PARTS = ("sampling", "world", "pricing", "update", "other")
"""Of an iteration's time. `sampling`: the agent's replies to games; `world`: the rest of playing them, records
included; `pricing`: scoring under policy and reference, and the method's rewards, with the continuations that it plays;
`update`: the optimiser's steps."""

MEASURED = frozenset(
    {
        "seconds",
        *(f"seconds_{part}" for part in PARTS),
        "tokens_sampled_per_second",
        "tokens_trained_per_second",
        "env_steps_per_second",
        "mfu",
        "mfu_sampling",
        "mfu_update",
        "peak_memory_bytes",
    }
)
"""Names of such figures in `metrics.jsonl`: whatever compares two runs leaves them out."""

TERA = 10**12

PEAKS: Mapping[str, Mapping[str, float]] = {
    "NVIDIA H200": {"bf16": 989.5 * TERA, "fp32": 67 * TERA},
    "NVIDIA H100 80GB HBM3": {"bf16": 989.5 * TERA, "fp32": 67 * TERA},
    "NVIDIA H100 PCIe": {"bf16": 756 * TERA, "fp32": 51 * TERA},
    "NVIDIA A100-SXM4-40GB": {"bf16": 312 * TERA, "fp32": 19.5 * TERA},
    "NVIDIA A100-SXM4-80GB": {"bf16": 312 * TERA, "fp32": 19.5 * TERA},
    "NVIDIA A100-PCIE-40GB": {"bf16": 312 * TERA, "fp32": 19.5 * TERA},
    "NVIDIA A100 80GB PCIe": {"bf16": 312 * TERA, "fp32": 19.5 * TERA},
    "NVIDIA L40S": {"bf16": 362 * TERA, "fp32": 91.6 * TERA},
    "NVIDIA L4": {"bf16": 121 * TERA, "fp32": 30.3 * TERA},
}
"""Floating-point operations per second by the name of the device, from NVIDIA's data sheets: bf16 of the tensor cores
without sparsity (half of what is printed with it), fp32 outside of them, as torch multiplies fp32 by default."""


@dataclass(frozen=True)
class Weights:
    """How many weights take part in a token's forward pass."""

    layers: int
    """Of all layers: every token that is read goes through them."""
    head: int
    """Of the output layer: only sampled tokens need it. The embedding is looked up."""
    trained_layers: int
    trained_head: int

    @classmethod
    def of(cls, model: nn.Module) -> Weights:
        """Of a causal language model, an adapter included; of one with experts, all of them."""
        ends = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[operator]
        head = ends[1].weight
        outside = {id(end.weight) for end in ends}
        inside = [weight for weight in model.parameters() if id(weight) not in outside]
        return cls(
            layers=sum(weight.numel() for weight in inside),
            head=head.numel(),
            trained_layers=sum(weight.numel() for weight in inside if weight.requires_grad),
            trained_head=head.numel() if head.requires_grad else 0,
        )

    def forward(self, read: int, sampled: int) -> int:
        """Operations of a forward pass: a multiplication and an addition for each weight and token.

        Those of attention itself, between tokens, are left out. Over a sequence of 2,000 tokens they are 33 % of these
        for SmolLM2-135M, 12 % for Qwen2.5-0.5B, 7 % for Qwen2.5-1.5B (2 x layers x width of the queries x length for
        each token, on average).
        """
        return 2 * (self.layers * read + self.head * sampled)

    def update(self, read: int, sampled: int) -> int:
        """Operations of a forward and a backward pass, 6 for each weight and token; 4 where it is frozen.

        What is computed again to save memory is not counted, as is usual (Chowdhery et al. 2022, appendix B).
        """
        trained = self.trained_layers * read + self.trained_head * sampled
        return 2 * self.forward(read, sampled) + 2 * trained


class Clock:
    """Seconds since the last look."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self.last = now - self.last, now
        return seconds


class Meter:
    """Measures one iteration after another."""

    def __init__(self, agent: LanguageModel, policy: Policy) -> None:
        self.agent, self.device = agent, policy.device
        self.weights = Weights.of(policy.model)
        dtype = next(name for name, kind in DTYPES.items() if kind == policy.model.dtype)
        peak = peak_operations(self.device, dtype)
        self.peak = None if peak is None else peak * ranks.size()
        self.begin()

    def begin(self) -> None:
        """An iteration begins."""
        self.seconds = dict.fromkeys(PARTS[:-1], 0.0)
        self.read = self.written = 0
        """Tokens of prompts and of replies, while games were played."""
        self.trained = self.updated = self.scored = 0
        """Tokens read in the update; operations of the update, and of scoring."""
        self._begun = self._now()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens within counts as this one of `PARTS`."""
        begun = self._now()
        yield
        self.seconds[name] += self._now() - begun

    @contextlib.contextmanager
    def games(self) -> Iterator[None]:
        """Games are played within: what the agent takes is sampling, the rest is the world's."""
        agent = self.agent
        seconds, read, written = agent.sampling_seconds, agent.tokens_read, agent.tokens_written
        with self.part("world"):
            yield
        spent = agent.sampling_seconds - seconds
        self.seconds["sampling"] += spent
        self.seconds["world"] -= spent
        self.read += agent.tokens_read - read
        self.written += agent.tokens_written - written

    def played(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; games are played to get each of them."""
        iterator = iter(items)
        while True:
            with self.games():
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def learned(self, figures: Mapping[str, float], sampled: int, epochs: int) -> None:
        """Count an update by its figures; what it learned from holds so many sampled tokens.

        The same tokens were scored before, by the policy and by the reference.
        """
        trained = int(figures["tokens_trained"])
        self.trained += trained
        self.updated += self.weights.update(trained, epochs * sampled)
        self.scored += 2 * self.weights.forward(trained // epochs, sampled)

    def figures(self, steps: int, *, own: bool) -> dict[str, float]:
        """The figures of the iteration that ends here; each is one of `MEASURED`.

        `steps` of the environment were executed; with `own` the replies were sampled with the policy's network.
        """
        total = self._now() - self._begun
        self.read, self.written = map(int, ranks.summed([self.read, self.written]))
        spent = self.seconds | {"other": total - sum(self.seconds.values())}
        found = {"seconds": total} | {f"seconds_{part}": spent[part] for part in PARTS}
        found |= {
            "tokens_sampled_per_second": _rate(self.written, spent["sampling"]),
            "tokens_trained_per_second": _rate(self.trained, spent["update"]),
            "env_steps_per_second": _rate(steps, spent["sampling"] + spent["world"]),
            "peak_memory_bytes": peak_memory(self.device),
        }
        if self.peak is None:
            return found
        sampled = self.weights.forward(self.read + self.written, self.written) if own else 0
        found["mfu"] = _rate(sampled + self.scored + self.updated, total) / self.peak
        found["mfu_update"] = _rate(self.updated, spent["update"]) / self.peak
        return found | ({"mfu_sampling": _rate(sampled, spent["sampling"]) / self.peak} if own else {})

    def _now(self) -> float:
        """Seconds, when all that the device was given is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def peak_operations(device: torch.device, dtype: str) -> float | None:
    """Floating-point operations that the device can do in a second; None for a CPU and where that is not known."""
    if device.type != "cuda":
        return None
    return PEAKS.get(torch.cuda.get_device_name(device), {}).get(dtype)


def peak_memory(device: torch.device) -> int:
    """On CUDA the most bytes of tensors since the iteration began; else the most that this process ever had in memory.

    On Linux that is VmHWM: `ru_maxrss` would not be less than that of the process which started this one.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return 1024 * int(found[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, which has no /proc
