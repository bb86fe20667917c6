"""Sampling with the trainer's own network in this process, with a persistent key-value cache: the default engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from spa_bench.agents.engines import Engine, Prompt, Sampled, Sampling
from spa_bench.agents.engines.packed import PackedRows
from spa_bench.agents.engines.padded import PaddedRows
from spa_bench.agents.engines.prefixes import SHARED, Held, common, longest_common
from spa_bench.agents.engines.prepacked import PrepackedWeights, available
from spa_bench.agents.model_limits import FULL, SLIDING, layer_kinds
from spa_bench.core import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

AGREEMENT = {4: 1e-3, 2: 5e-2}
"""By the bytes of a weight: how far the cache's logits may be from the model's own, relative to all of them. One by one
they may be further apart in bf16: after a warm start of SmolLM2 ten of 49,152 were off by more than 0.05 and 5 %."""

WIDE = 256
"""Hidden width from which passes are packed. The tables of the embedded default (128) were made without, and its
weights are few: what its passes cost is the calls."""


@dataclass
class _Live:
    """What one conversation has in the cache."""

    row: int
    fed: int = 0
    """So many ids of its sequence are in the cache: all but the last of a reply, or of what a fork has read."""
    ids: list[int] = field(default_factory=list)
    """Those, where rows are packed."""


class TransformersEngine(Engine):
    """A row of the cache for each conversation; raises UserError for a model that the cache does not follow."""

    copies = False

    def __init__(self, model: PreTrainedModel, context: int, *, packed: bool | None = None) -> None:
        """`context` is the longest sequence, in tokens, that it will be given.

        Passes are `packed`, and what sequences begin with is read once, where the model's attention allows it; None is
        for wide networks only. The others are padded.
        """
        self.model, self.context = model, context
        self._live: dict[int, _Live] = {}
        self._rows: list[int] = []
        self._cache: PackedRows | PaddedRows | None = None
        self._prefix: list[int] = []
        self._weights: PrepackedWeights | None = None
        self._refuse_other_layers()
        wide = model.config.get_text_config().hidden_size >= WIDE if packed is None else packed
        self.packed = wide and self._follows(packed=True)
        if not self.packed and not self._follows(packed=False):
            kind = type(model).__name__
            raise UserError(f"{kind} computes its logits in a way that the cache does not follow: choose another model")
        if self.packed and available(model):
            self._weights = PrepackedWeights(model)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sampled]:
        """Feed what is new in each sequence, then sample until every reply has ended."""
        self.model.train(False)
        self._reserve(len(self._rows) + sum(prompt.key not in self._live for prompt in prompts))
        with self._fast_layers():
            chats, logits = self._read(prompts)
            draws = np.stack([np.random.default_rng(prompt.seed).random(sampling.max_new_tokens) for prompt in prompts])
            sampled, logprobs = self._sample(logits, [live.row for live in chats], draws, sampling)
        for live, ids in zip(chats, sampled, strict=True):
            live.fed += len(ids) - 1  # the last one was sampled only
            live.ids += ids[:-1]
        return [Sampled(tuple(ids), tuple(lps)) for ids, lps in zip(sampled, logprobs, strict=True)]

    @torch.inference_mode()
    def fork(self, families: Sequence[tuple[Prompt, Sequence[int]]]) -> None:
        """Feed each prompt all but its last token, and copy its row for the others."""
        self.model.train(False)
        prompts = [prompt for prompt, _ in families]
        self._reserve(len(self._rows) + sum(prompt.key not in self._live for prompt in prompts))
        with self._fast_layers():
            sources, _ = self._read(prompts, but=1)
        cache = self._reserve(len(self._rows) + sum(len(keys) for _, keys in families))
        for live, (_, keys) in zip(sources, families, strict=True):
            for key in keys:
                self._live[key] = replace(live, row=len(self._rows), ids=list(live.ids))
                cache.move(live.row, len(self._rows))
                self._rows.append(key)

    @torch.inference_mode()
    def forget(self, keys: Sequence[int]) -> None:
        """Free the rows of these conversations; the last rows in use move into the gaps."""
        for gone in keys:
            live = self._live.pop(gone, None)
            if live is None:
                continue
            last = self._rows.pop()
            if last != gone:
                assert self._cache is not None
                self._cache.move(len(self._rows), live.row)
                self._rows[live.row] = last
                self._live[last].row = live.row
        if self._prefix and not self._rows:  # the weights may change now
            assert isinstance(self._cache, PackedRows)
            self._cache.drop_prefix()
            self._prefix = []

    def load(self, model: PreTrainedModel) -> None:
        """Copy its weights into the network that replies are sampled with."""
        if model is not self.model:
            self.model.load_state_dict(model.state_dict())

    def release(self) -> None:
        """Free the memory of the cache, where no conversation is under way."""
        if self._cache is not None and not self._rows:
            self._cache.free()
            self._cache = None
            if self._weights is not None:
                self._weights.free()
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()

    def facts(self) -> dict[str, Any]:
        """The version of transformers; it has no settings."""
        import transformers

        return {"name": "transformers", "version": transformers.__version__}

    def _read(self, prompts: Sequence[Prompt], but: int = 0) -> tuple[list[_Live], Tensor]:
        """Feed what is new in each sequence, without the last `but` ids; its conversation and the logits after it.

        Of equal sequences that begin one is fed where rows are packed; the others copy it.
        """
        begun = self._enter(prompts)
        cache = self._reserve(len(self._rows))
        chats = [self._live[prompt.key] for prompt in prompts]
        chunks: dict[int, list[int]] = {}
        first: dict[tuple[int, ...], int] = {}
        source: list[int] = []
        for live, prompt in zip(chats, prompts, strict=True):
            end = len(prompt.ids) - but
            chunk, live.fed = list(prompt.ids[live.fed : end]), end
            live.ids += chunk
            twin = live.row
            if self.packed and prompt.key in begun:
                twin = first.setdefault(tuple(prompt.ids), live.row)
            source.append(twin)
            if twin == live.row and chunk:
                chunks[live.row] = chunk
        logits = cache.feed(chunks) if chunks else torch.zeros(0)
        for live, row in zip(chats, source, strict=True):
            if row != live.row:
                cache.move(row, live.row)
        order = {row: i for i, row in enumerate(chunks)}
        return chats, logits if len(chunks) < len(set(source)) else logits[[order[row] for row in source]]

    def _enter(self, prompts: Sequence[Prompt]) -> set[int]:
        """A row for each sequence; the keys of those that begin, of which what others know is in it, or nothing."""
        begun = [prompt for prompt in prompts if prompt.new or prompt.key not in self._live]
        for prompt in begun:
            if prompt.key not in self._live:
                self._live[prompt.key] = _Live(len(self._rows))
                self._rows.append(prompt.key)
        cache = self._reserve(len(self._rows))
        if isinstance(cache, PackedRows):
            self._share(cache, begun)
        else:
            for prompt in begun:
                live = self._live[prompt.key]
                cache.cut(live.row, 0)
                live.fed = 0
        return {prompt.key for prompt in begun}

    def _share(self, cache: PackedRows, begun: Sequence[Prompt]) -> None:
        """Begin each of these with the longest part that is known: of its own row, of the prefix, or of another row."""
        if not self._prefix and not any(live.fed for live in self._live.values()):
            self._keep_prefix(cache, [prompt.ids for prompt in begun])
        keys = {prompt.key for prompt in begun}
        held = Held((live.ids, live.row) for key, live in self._live.items() if key not in keys)
        for prompt in begun:
            live, ids = self._live[prompt.key], prompt.ids[:-1]
            own, before = common(live.ids, ids), common(self._prefix, ids)
            known, row = held.longest(ids)
            if known >= max(own, before) + SHARED and cache.shared[row] == before:
                cache.move(row, live.row)
                own = known
            elif before > own or not own:
                cache.share(live.row, before)
                own = before
            cache.cut(live.row, own)
            live.fed, live.ids = own, list(ids[:own])

    def _keep_prefix(self, cache: PackedRows, sequences: Sequence[Sequence[int]]) -> None:
        """Read once what all of these begin with, where it is long enough."""
        length = longest_common(sequences)
        if len(sequences) > 1 and length >= SHARED:
            self._prefix = list(sequences[0][:length])
            cache.cut(0, 0)
            cache.feed({0: self._prefix})
            cache.keep_prefix(0)

    def _reserve(self, rows: int) -> PackedRows | PaddedRows:
        """Room for this many conversations."""
        if self._cache is None:
            self._cache = (PackedRows if self.packed else PaddedRows)(self.model, self.context)
        self._cache.reserve(rows)
        return self._cache

    @contextmanager
    def _fast_layers(self) -> Iterator[None]:
        if self._weights is None:
            yield
        else:
            with self._weights.used():
                yield

    def _sample(
        self, logits: Tensor, rows: Sequence[int], draws: np.ndarray, sampling: Sampling
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Replies of the given rows, drawn by inversion from each conversation's own numbers (n, max_new_tokens)."""
        cache = self._reserve(len(self._rows))
        replies: list[list[int]] = [[] for _ in rows]
        active = list(range(len(rows)))
        uniforms = torch.from_numpy(draws).to(logits.device)
        drawn: list[tuple[list[int], Tensor]] = []
        for t in range(sampling.max_new_tokens):
            tokens, lps = self._draw(logits, uniforms[active, t], sampling.temperature)
            drawn.append((active, lps))
            for i, token in zip(active, tokens.tolist(), strict=True):
                replies[i].append(token)
            active = [i for i in active if replies[i][-1] not in sampling.ends]
            if not active or t + 1 == sampling.max_new_tokens:
                break
            logits = cache.feed({rows[i]: replies[i][-1:] for i in active})
        logprobs: list[list[float]] = [[] for _ in rows]
        for i, lp in zip(
            (i for some, _ in drawn for i in some), torch.cat([lps for _, lps in drawn]).tolist(), strict=True
        ):
            logprobs[i].append(lp)
        return replies, logprobs

    @staticmethod
    def _draw(logits: Tensor, uniforms: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """One token per row by inversion of the cumulative distribution, and its log-prob."""
        logp = (logits / (temperature or 1.0)).log_softmax(-1)
        if temperature == 0:
            tokens = logits.argmax(-1)
        else:
            cumulative = logp.double().exp().cumsum(-1)
            target = uniforms[:, None] * cumulative[:, -1:]
            tokens = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return tokens, logp.gather(1, tokens[:, None])[:, 0]

    def _refuse_other_layers(self) -> None:
        """The check by numbers is short: it sees no window, and no layers that look at a part of what is before."""
        if others := sorted(layer_kinds(self.model.config.get_text_config()) - {FULL, SLIDING}):
            raise UserError(f"the model has layers of {', '.join(others)}, for which there is no cache: choose another")

    @torch.inference_mode()
    def _follows(self, *, packed: bool) -> bool:
        """Whether the cached path reproduces the model's own logits; better a refusal than silently other numbers."""
        self.model.train(False)
        ids = (torch.arange(12) * 7 + 5) % self.model.config.get_text_config().vocab_size
        want = self.model(input_ids=ids[None].to(self.model.device)).logits[0, -1].float()
        cache = PackedRows(self.model, self.context) if packed else PaddedRows(self.model, self.context)
        cache.reserve(1)
        try:
            *_, got = [cache.feed({0: ids[a:b].tolist()})[0] for a, b in ((0, 7), (7, 11), (11, 12))]
        except (AttributeError, TypeError, ValueError):
            if packed:  # its attention is another's
                return False
            raise
        return bool((got - want).norm() <= AGREEMENT[self.model.dtype.itemsize] * want.norm())
