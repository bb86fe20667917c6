"""Passes over right-padded chunks, one for each row of a `RowCache`: for narrow networks and all kinds of attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spa_bench.agents.engines.packed import cache_argument
from spa_bench.agents.model_limits import FULL, SLIDING, layer_kinds, sliding_window
from spa_bench.agents.row_cache import RowCache, split

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PaddedRows:
    """One live conversation a row; rows in use are the first ones."""

    def __init__(self, model: PreTrainedModel, most: int) -> None:
        """Slots grow by doubling, up to `most` tokens a row."""
        self.model, self.most = model, most
        self.argument = cache_argument(model)
        self.cache: RowCache | None = None
        self.used = 0

    def reserve(self, rows: int) -> None:
        """Room for this many conversations, which are the rows in use; what is there grows by doubling."""
        old, self.used = self.cache, rows
        if old is not None and old.rows >= rows:
            return
        layers = self.model.config.get_text_config().num_hidden_layers
        least = 16 if old is None else 2 * old.rows
        self.cache = RowCache(layers, max(least, rows), self.model.device, self.most)
        if old is not None:
            self.cache.adopt(old)

    def feed(self, chunks: Mapping[int, Sequence[int]]) -> Tensor:
        """Go on in these rows; logits (n, vocabulary) after each chunk, in their order, fp32.

        Where one pass would mostly compute padding there are two, over the short chunks and over the long ones.
        """
        rows = [chunks.get(row, []) for row in range(self.used)]
        parts = split([len(chunk) for chunk in rows])
        if len(parts[0]) == len(rows):
            return self._pass(rows, None)[list(chunks)]
        logits: Tensor | None = None
        for part in parts:
            found = self._pass([rows[row] for row in part], torch.tensor(part, device=self.model.device))
            logits = found.new_zeros(len(rows), found.shape[1]) if logits is None else logits
            logits[part] = found
        assert logits is not None
        return logits[list(chunks)]

    def cut(self, row: int, length: int) -> None:
        """Keep so many tokens of what the row holds."""
        assert self.cache is not None
        self.cache.lengths[row] = self.cache.lengths[row].clamp(max=length)

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        assert self.cache is not None
        self.cache.move(source, target)

    def free(self) -> None:
        """Let go of all contents."""
        if self.cache is not None:
            self.cache.free()

    def _pass(self, chunks: Sequence[Sequence[int]], rows: Tensor | None) -> Tensor:
        """One forward pass over right-padded chunks for these rows, or else the first ones."""
        assert self.cache is not None
        device = self.model.device
        width = max(1, max(len(chunk) for chunk in chunks))
        counts = torch.tensor([len(chunk) for chunk in chunks], device=device)
        ids = torch.zeros(len(chunks), width, dtype=torch.long)
        for row, chunk in enumerate(chunks):
            ids[row, : len(chunk)] = torch.tensor(chunk, dtype=torch.long)
        mask, positions = self.cache.feed(counts, width, rows)
        hidden = self.model.base_model(
            input_ids=ids.to(device),
            attention_mask=self._by_kind(mask, positions),
            position_ids=positions,
            use_cache=True,
            **{self.argument: self.cache},
        ).last_hidden_state
        ends = torch.arange(len(chunks), device=device), (counts - 1).clamp(min=0)
        head: torch.nn.Module = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        logits: Tensor = head(hidden[ends])
        return logits.float()

    def _by_kind(self, mask: Tensor, positions: Tensor) -> Tensor | dict[str, Tensor]:
        """The mask as the model takes it: for each kind of layer, where it names them and some see a window only."""
        config = self.model.config.get_text_config()
        window = sliding_window(config)
        if window is None or mask.shape[3] <= window:
            return self._added(mask)
        near = torch.arange(mask.shape[3], device=mask.device) > positions[:, None, :, None] - window
        windowed = self._added(mask & near)
        return {FULL: self._added(mask), SLIDING: windowed} if layer_kinds(config) else windowed

    def _added(self, mask: Tensor) -> Tensor:
        """Eager attention adds what it is given; others take truth values."""
        if self.model.config.get_text_config()._attn_implementation != "eager":
            return mask
        return torch.zeros(mask.shape, dtype=self.model.dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
