"""The trained network: any causal LM plus a value head."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spa_bench.training import adapter
from spa_bench.training.batches import Joined, Sequences, join, side_by_side, visible
from spa_bench.training.packing import Reads, packed_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Scores:
    """What the network says of the sampled tokens of a batch of episodes, concatenated in order; each (N,)."""

    logprobs: Tensor
    entropy: Tensor
    values: Tensor
    """The critic before each sampled token; at a turn's first token it is the value of the turn's state."""
    last_hidden: Tensor
    """(N, D): the last hidden state at each sampled token itself."""


class Policy(nn.Module):
    """A causal LM and a linear value head that starts at zero.

    The head reads the hidden states and does not shape them: in the one run of the embedded default where its loss
    went through the only two layers, malformed replies rose from 7 % to 36 % in eight iterations, as
    the critic began to fit.

    `temperature` divides the logits as it did when the tokens were sampled. The network computes in the dtype of its
    weights; log-probs, entropy and the value head are fp32.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        temperature: float = 1.0,
        recompute: bool = False,
        bare: bool = False,
        packed: bool = False,
    ) -> None:
        """With `recompute` the backward pass computes the layers again, which keep their inputs only.

        A `bare` one reads the model without its adapter; it is never trained. A `packed` one reads all sequences in one
        row, without padding and with what they share once; its model is one that `packing.prepare` took.
        """
        super().__init__()
        self.model, self.recompute, self.bare, self.packed = model, recompute, bare, packed
        width = model.config.get_text_config().hidden_size
        self.value = nn.Linear(width, 1).to(model.device)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        self.temperature = temperature

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def forward(self, episodes: Sequence[Sequences], *, entropy_graph: bool = False) -> Scores:
        """Score the sampled tokens of these episodes in one pass; the entropy has a gradient where that is asked for.

        The output layer is a `chunked` one: beyond `LOGITS` no logits are kept for the backward pass.
        """
        batch = self._batch(episodes)
        at = {name: torch.from_numpy(getattr(batch, name)).to(self.device) for name in ("row", "place", "before")}
        tokens = torch.from_numpy(batch.ids).to(self.device)
        again = self.recompute and torch.is_grad_enabled()
        with recomputed(self.model) if again else contextlib.nullcontext():
            states = self._states(batch, tokens)
        before = states[at["row"], at["before"]]
        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]

        def judge(before: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
            logp = (head(before).float() / self.temperature).log_softmax(-1)
            shown = logp if entropy_graph else logp.detach()
            return logp.gather(1, chosen[:, None])[:, 0], -(shown.exp() * shown).sum(-1)

        vocabulary = self.model.config.get_text_config().vocab_size
        logprobs, entropy = chunked(judge, before, tokens[at["row"], at["place"]], max(1, LOGITS // vocabulary))
        return Scores(
            logprobs=logprobs,
            entropy=entropy,
            values=self.value(before.detach().float())[:, 0],
            last_hidden=states[at["row"], at["place"]].float(),
        )

    def hidden(self, episodes: Sequence[Sequences]) -> Tensor:
        """(N, D): the last hidden state at each sampled token, as in `Scores`, without the output layer."""
        batch = self._batch(episodes)
        states = self._states(batch, torch.from_numpy(batch.ids).to(self.device))
        return states[
            torch.from_numpy(batch.row).to(self.device), torch.from_numpy(batch.place).to(self.device)
        ].float()

    def replies(self, episodes: Sequence[Sequences]) -> Tensor:
        """(N,): the log-prob of each sampled token, as in `Scores`; no layer is computed again in the backward pass."""
        batch = self._batch(episodes)
        tokens = torch.from_numpy(batch.ids).to(self.device)
        row, place, before = (torch.from_numpy(each).to(self.device) for each in (batch.row, batch.place, batch.before))
        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        logits: Tensor = head(self._states(batch, tokens)[row, before]).float() / self.temperature
        return logits.log_softmax(-1).gather(1, tokens[row, place][:, None])[:, 0]

    def _batch(self, episodes: Sequence[Sequences]) -> Joined:
        return side_by_side(episodes) if self.packed else join(episodes)

    def _states(self, batch: Joined, tokens: Tensor) -> Tensor:
        """(B, L, D): the last hidden states of a packed row, or of a batch that is padded on the right.

        Without an attention mask where no two of a padded batch share a past: a causal model's tokens never look at
        what is padded behind them, and attention that is causal and nothing else is 1.3 times (600 tokens) to 1.6 times
        (2,000) as fast on a CPU.
        """
        given: dict[str, Any] = {"input_ids": tokens}
        positions = torch.from_numpy(batch.positions).to(self.device)
        if batch.segments is not None:
            given = packed_inputs(tokens, positions, Reads(batch.segments, self.device))
        elif batch.branches is not None:
            mask = visible(torch.from_numpy(batch.branches).to(self.device))
            if self.model.config.get_text_config()._attn_implementation == "eager":  # it adds what it is given
                mask = torch.zeros(mask.shape, dtype=self.model.dtype, device=self.device).masked_fill_(
                    ~mask, -torch.inf
                )
            given |= {"position_ids": positions, "attention_mask": mask}
        with adapter.off(self.model) if self.bare else contextlib.nullcontext():
            states: Tensor = self.model.base_model(use_cache=False, **given).last_hidden_state
        return states


@contextlib.contextmanager
def recomputed(model: nn.Module) -> Iterator[None]:
    """Within, each layer keeps its inputs only, and is computed again in the backward pass (Chen et al. 2016).

    Transformers' own switch acts in training mode only, which would turn dropout on.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        again = functools.partial(checkpoint, layer.forward, use_reentrant=False)
        layer.forward = again
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


LOGITS = 2**26
"""Logits that are computed at once: 0.3 GB in fp32, of which a backward pass has up to four. All of a microbatch of the
embedded default are fewer."""


def chunked(
    judge: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], before: Tensor, chosen: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """`judge` of (N, D) states and their (N,) tokens, `size` at a time, each part computed again in the backward pass.

    Where there are no more than `size`, in one pass, all of which is kept.
    """
    if len(before) <= size:
        return judge(before, chosen)
    parts = [
        checkpoint(judge, states, ids, use_reentrant=False, preserve_rng_state=False)
        for states, ids in zip(torch.split(before, size), torch.split(chosen, size), strict=True)
    ]
    logprobs, entropy = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(entropy)


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

WIDE = 256
"""Hidden width from which bf16 pays on CPUs with units for it. Measured on one thread with AMX: the embedded default
(128) trains at 25.8k tokens/s in fp32 and 26.6k in bf16, a model of ten million weights at 1.2k and 2.5k. With AVX-512
alone (Zen 4): SmolLM2-135M at 89 and 170 tokens a CPU-second, forward and backward."""

BF16_UNITS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
"""What `torch.cpu` is asked for; a version that lacks one of them is asked for the other."""


def choose_dtype(wanted: str, device: torch.device, hidden: int, *, embedded: bool) -> str:
    """`fp32` or `bf16`; auto takes bf16 where it is faster: CUDA from compute capability 8, wide models on CPUs with
    units for it.

    The embedded model is fp32 everywhere: it is small.
    """
    if wanted != "auto":
        return wanted
    if embedded:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp32"
    found = (getattr(torch.cpu, name, lambda: False) for name in BF16_UNITS)
    return "bf16" if hidden >= WIDE and any(has() for has in found) else "fp32"
