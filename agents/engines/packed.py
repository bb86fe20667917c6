"""Passes over packed tokens: what is new in all conversations is one sequence for every layer but attention.

Nothing is padded there, and only rows with something new are computed. Attention is this module's own (registered with
transformers): it knows which row each token belongs to, reads keys and values where they are, and reads those of a
prefix that rows begin with, such as the instructions, once for all of them: they are stored once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin

from spa_bench.agents.model_limits import sliding_window

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PASS = 8192
"""Tokens of one pass. It bounds the memory of a pass; smaller ones read all weights more often."""

PADDED = 1.25
"""Chunks of unlike lengths are one batch for attention where padding makes it no larger than this."""

GAPS = 4
"""Single tokens of rows that stand among up to so many times as many are computed with what is between them; keys and
values of others are copied first. The bound is that of `row_cache.FEW`."""

ATTENTION = "spa_bench_rows"


@dataclass(frozen=True)
class _Chunk:
    """New tokens of one row in one pass."""

    row: int
    ids: Sequence[int]
    last: bool = True
    """The row has no more of them in a later pass."""


@dataclass(frozen=True)
class _Batch:
    """Chunks that attention computes together."""

    rows: slice | Tensor
    slots: int
    """The longest of these rows, in slots."""
    taken: Tensor
    """(n, width): the packed tokens, padded on the right."""
    real: Tensor | None
    """Which of the n * width are asked for; None where all are."""
    masks: Mapping[int | None, Tensor]
    """By a layer's window, None without one: (n, 1, width, prefix + slots), 0 where a query may look, else -inf."""


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """Keys and values of one layer, (rows, heads, slots, width), and of the prefix, (heads, tokens, width)."""

    is_sliding = False
    keys: Tensor
    values: Tensor
    prefix: tuple[Tensor, Tensor] | None = None

    def __init__(self, cache: PackedRows) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        _, heads, _, width = key_states.shape
        shape = (self.cache.rows, heads, self.cache.slots)
        self.keys, self.values = key_states.new_zeros(*shape, width), value_states.new_zeros(*shape, width)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, slots = self.cache.written
        self.keys[rows, :, slots] = key_states[0].transpose(0, 1)
        self.values[rows, :, slots] = value_states[0].transpose(0, 1)
        return key_states, value_states

    def resize(self, rows: int, slots: int) -> None:
        """More rows or slots, contents kept; the old ones go before the next are made."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(rows, old.shape[1], slots, old.shape[3])
            new[: old.shape[0], :, : old.shape[2]] = old
            setattr(self, name, new)

    def attend(self, batch: _Batch, query: Tensor, scaling: float, window: int | None) -> Tensor:
        """Of (n, heads, width, d) queries; a single token of each row is read without copies of keys and values."""
        mask = batch.masks[window]
        keys, values = (x[batch.rows, :, : batch.slots] for x in (self.keys, self.values))
        if query.shape[2] == 1:
            return self._single(query, keys, values, mask, scaling)
        if self.prefix is not None:
            shared = (x.expand(len(query), *x.shape) for x in self.prefix)
            keys, values = (torch.cat(pair, 2) for pair in zip(shared, (keys, values), strict=True))
        grouped = query.reshape(len(query), keys.shape[1], -1, query.shape[3])  # keys are not copied for each head
        mask = mask.repeat(1, 1, query.shape[1] // keys.shape[1], 1)
        found = torch.nn.functional.scaled_dot_product_attention(grouped, keys, values, mask, scale=scaling)
        return found.reshape(query.shape)

    def _single(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scaling: float) -> Tensor:
        """Heads that share keys and values, and rows that share a prefix, are queries of one product."""
        n, heads, _, d = query.shape
        kept = keys.shape[1]
        query = query.reshape(n, kept, heads // kept, d) * scaling
        scores = query @ keys.transpose(2, 3)
        if self.prefix is not None:
            together = query.transpose(0, 1).reshape(kept, -1, d) @ self.prefix[0].transpose(1, 2)
            before = together.view(kept, n, heads // kept, -1).transpose(0, 1)
            scores = torch.cat([before, scores], -1)
        weights = (scores + mask).softmax(-1, dtype=torch.float32).to(query.dtype)
        found = weights[..., -keys.shape[2] :] @ values
        if self.prefix is not None:
            share = weights[..., : -keys.shape[2]].transpose(0, 1).reshape(kept, n * (heads // kept), -1)
            found = found + (share @ self.prefix[1]).view(kept, n, heads // kept, -1).transpose(0, 1)
        return found.reshape(n, heads, 1, -1)

    def get_seq_length(self) -> int:
        return self.cache.slots

    def get_max_length(self) -> int:
        return self.cache.most

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cache.slots, 0


class PackedRows(Cache):
    """One live conversation a row, each of its own length, behind a prefix that rows may begin with."""

    def __init__(self, model: PreTrainedModel, most: int, rows: int = 16, slots: int = 256) -> None:
        """Rows and slots grow by doubling, slots up to `most` tokens a row."""
        self.model, self.most, self.rows, self.slots = model, most, rows, min(slots, most)
        self.argument = cache_argument(model)
        self.lengths, self.shared = [0] * rows, [0] * rows
        self.prefix_length = 0
        self.written = (torch.zeros(0), torch.zeros(0))
        self.batches: list[_Batch] = []
        config = model.config.get_text_config()
        window = sliding_window(config)
        self.windows = [None] if window is None or window >= most else [None, window]
        self.row_layers = [_Layer(self) for _ in range(config.num_hidden_layers)]
        super().__init__(layers=list(self.row_layers))

    def reserve(self, rows: int) -> None:
        """Room for this many conversations."""
        if rows > self.rows:
            more = max(rows, 2 * self.rows) - self.rows
            self.rows += more
            self.lengths, self.shared = self.lengths + [0] * more, self.shared + [0] * more
            self._resize()

    def feed(self, chunks: Mapping[int, Sequence[int]]) -> Tensor:
        """Go on in these rows; logits (n, vocabulary) after each chunk, which is not empty, in their order, fp32."""
        parts = list(passes(chunks))
        with own_attention(self.model):
            logits = torch.cat([self._pass(part) for part in parts])
        at = {row: i for i, row in enumerate(chunk.row for part in parts for chunk in part if chunk.last)}
        return logits if list(at) == list(chunks) else logits[[at[row] for row in chunks]]

    def cut(self, row: int, length: int) -> None:
        """Keep so many tokens of what the row holds, prefix included."""
        self.shared[row] = min(self.shared[row], length)
        self.lengths[row] = min(self.lengths[row], length - self.shared[row])

    def share(self, row: int, length: int) -> None:
        """Begin an empty row with so many tokens of the prefix."""
        self.shared[row], self.lengths[row] = min(length, self.prefix_length), 0

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        self.lengths[target], self.shared[target] = self.lengths[source], self.shared[source]
        used = slice(0, self.lengths[source])
        for layer in self.row_layers:
            if layer.is_initialized:
                layer.keys[target, :, used] = layer.keys[source, :, used]
                layer.values[target, :, used] = layer.values[source, :, used]

    def keep_prefix(self, row: int) -> None:
        """What this row holds is what rows may begin with from now on; it is taken out of the row."""
        length = self.prefix_length = self.lengths[row]
        for layer in self.row_layers:
            layer.prefix = layer.keys[row, :, :length].clone(), layer.values[row, :, :length].clone()
        self.share(row, length)

    def drop_prefix(self) -> None:
        """No row holds anything."""
        self.prefix_length = 0
        self.shared = [0] * self.rows
        for layer in self.row_layers:
            layer.prefix = None

    def free(self) -> None:
        """Let go of all contents at once; layers and cache refer to each other, so that they go later."""
        for layer in self.row_layers:
            layer.prefix = None
            if layer.is_initialized:
                del layer.keys, layer.values

    def _resize(self) -> None:
        for layer in self.row_layers:
            if layer.is_initialized:
                layer.resize(self.rows, self.slots)

    def _pass(self, part: Sequence[_Chunk]) -> Tensor:
        """One forward pass; logits after the last token of each row that ends in it."""
        starts = [self.lengths[chunk.row] for chunk in part]
        for chunk in part:
            self.lengths[chunk.row] += len(chunk.ids)
        if (longest := max(self.lengths[chunk.row] for chunk in part)) > self.slots:
            self.slots = max(min(2 * self.slots, self.most), longest)
            self._resize()
        device = self.model.device
        sizes = np.array([len(chunk.ids) for chunk in part])
        slots = np.concatenate([np.arange(start, start + n) for start, n in zip(starts, sizes, strict=True)])
        rows = np.repeat([chunk.row for chunk in part], sizes)
        positions = torch.from_numpy(slots + np.array(self.shared)[rows]).to(device)
        self.written = torch.from_numpy(rows).to(device), torch.from_numpy(slots).to(device)
        self.batches = [self._batch(part, starts, group) for group in together(sizes.tolist())]
        ids = torch.from_numpy(np.concatenate([np.asarray(chunk.ids) for chunk in part])).to(device)
        hidden = self.model.base_model(
            input_ids=ids[None], position_ids=positions[None], use_cache=True, packed=self, **{self.argument: self}
        ).last_hidden_state
        ends = (np.cumsum(sizes) - 1)[[chunk.last for chunk in part]]
        head: torch.nn.Module = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        logits: Tensor = head(hidden[0, torch.from_numpy(ends).to(device)])
        return logits.float()

    def _batch(self, part: Sequence[_Chunk], starts: Sequence[int], group: slice) -> _Batch:
        """Where attention finds these chunks and what they may look at."""
        chunks, first = part[group], sum(len(chunk.ids) for chunk in part[: group.start])
        sizes = np.array([len(chunk.ids) for chunk in chunks])
        rows = np.array([chunk.row for chunk in chunks])
        apart = sizes[0] > 1 or rows[-1] - rows[0] >= GAPS * len(rows)
        place = np.arange(len(rows)) if apart else rows - rows[0]
        begin, shared, taken = (np.zeros(place[-1] + 1, dtype=int) for _ in range(3))
        begin[place], shared[place] = starts[group], np.array(self.shared)[rows]
        taken[place] = first + np.cumsum(sizes) - sizes
        size = np.zeros_like(taken)
        size[place] = sizes
        offsets = np.arange(sizes[0])
        real = offsets < size[:, None]
        longest = max(self.lengths[chunk.row] for chunk in chunks)
        device = self.model.device
        return _Batch(
            rows=torch.from_numpy(rows).to(device) if apart else slice(int(rows[0]), int(rows[-1]) + 1),
            slots=longest,
            taken=torch.from_numpy(taken[:, None] + np.minimum(offsets, np.maximum(size - 1, 0)[:, None])).to(device),
            real=None if real.all() else torch.from_numpy(np.flatnonzero(real)).to(device),
            masks={window: self._mask(begin[:, None] + offsets, shared, longest, window) for window in self.windows},
        )

    def _mask(self, slots: NDArray[np.int64], shared: NDArray[np.int64], longest: int, window: int | None) -> Tensor:
        """What queries in these slots, (n, width), of rows with so much of the prefix, (n,), may look at."""
        prefix = np.arange(self.prefix_length) < shared[:, None, None]
        seen = np.empty((*slots.shape, self.prefix_length + longest), dtype=bool)
        seen[..., : self.prefix_length] = prefix
        seen[..., self.prefix_length :] = np.arange(longest) <= slots[..., None]
        if window is not None:
            first = slots[..., None] - window  # the last slot out of sight; the prefix comes before slot 0
            seen[..., : self.prefix_length] &= np.arange(self.prefix_length) > first + shared[:, None, None]
            seen[..., self.prefix_length :] &= np.arange(longest) > first
        mask = torch.zeros(seen.shape, dtype=self.model.dtype).masked_fill_(~torch.from_numpy(seen), -torch.inf)
        return mask[:, None].to(self.model.device)


def passes(chunks: Mapping[int, Sequence[int]]) -> Iterator[list[_Chunk]]:
    """Chunks in passes of `PASS` tokens at most, each by falling length; one that is too long goes on in the next."""
    part: list[_Chunk] = []
    room = PASS
    for row, ids in chunks.items():
        while len(ids) > room:
            if room:
                part.append(_Chunk(row, ids[:room], last=False))
            yield falling(part)
            part, ids, room = [], ids[room:], PASS
        part.append(_Chunk(row, ids))
        room -= len(ids)
    yield falling(part)


def falling(part: Sequence[_Chunk]) -> list[_Chunk]:
    """The longest first, then by row."""
    return sorted(part, key=lambda chunk: (-len(chunk.ids), chunk.row))


def together(sizes: Sequence[int]) -> list[slice]:
    """Batches of neighbours, whose sizes fall, each `PADDED` times as large as what is in it at most.

    Single tokens are a batch of their own.
    """
    first, inside, found = 0, 0, []
    for i, size in enumerate(sizes):
        inside += size
        if (i + 1 - first) * sizes[first] > PADDED * inside or (size == 1) != (sizes[first] == 1):
            found.append(slice(first, i))
            first, inside = i, size
    return [*found, slice(first, len(sizes))]


KNOWN = {"cache", "past_key_values", "position_ids", "use_cache", "is_causal", "cache_position"}
"""What models tell their attention beside what is used here, and what changes nothing."""


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: PackedRows,
    scaling: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """(1, N, heads, width) of packed queries (1, heads, N, width); keys and values are in the cache by now.

    ValueError where the model wants something else of its attention.
    """
    if unknown := sorted(name for name, what in others.items() if what is not None and name not in KNOWN):
        raise ValueError(f"attention with {', '.join(unknown)}")
    layer = packed.row_layers[int(module.layer_idx)]  # type: ignore[arg-type]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    window = sliding_window if sliding_window in packed.windows else None  # a longer one hides nothing
    found = []
    for batch in packed.batches:
        asked = query[0][:, batch.taken].transpose(0, 1)
        answer = layer.attend(batch, asked, scaling, window).transpose(1, 2).flatten(0, 1)
        found.append(answer if batch.real is None else answer[batch.real])
    return torch.cat(found)[None], None


AttentionInterface.register(ATTENTION, attention)


@contextmanager
def own_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within, the model's layers call `attention`."""
    config = model.config.get_text_config()
    usual = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = usual


def cache_argument(model: PreTrainedModel) -> str:
    """What the cache is called; renamed in transformers 5.24."""
    return "cache" if "cache" in inspect.signature(model.base_model.forward).parameters else "past_key_values"
