"""Any causal language model with a chat template, played through transformers with a persistent key-value cache."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from spa_bench.agents.chat import DATE, Chat, rendered
from spa_bench.agents.row_cache import RowCache
from spa_bench.core import Agent, Conversation, Message, Reply, ReplyFormat, Tokens, Trajectory, UserError, derive_seed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

WORTH = 0.8
"""A second pass is made where it leaves no more than this share of the computation; it has to copy what it reads."""

FEW = 0.25
"""Up to this share of the rows is copied for a pass over single tokens. Measured with 192 rows of 600 slots: 10 rows
take 16 ms apart and 46 ms among all, 48 rows 42 and 47, 64 rows 48 and 47."""


@dataclass
class _Live:
    """What one conversation has in the cache."""

    row: int
    prompt: str = ""
    reply: tuple[int, ...] = ()
    length: int = 0
    """Tokens of the current sequence, the last reply's included."""
    pending: list[int] = field(default_factory=list)
    """Still to be fed: the last token of the last reply, which was sampled; of a fork that of the context."""
    read: tuple[list[int], bool] | None = None
    """Context and `restart` of the reply to come, where a fork has read them."""


class CausalLM(Agent):
    """Samples replies and keeps ids and log-probs exactly as sampled.

    `temperature` 0 is greedy; log-probs are then those of temperature 1. `told` says whether the model is given the
    world's instructions (a model cloned from demonstrations needs none).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompt: ReplyFormat,
        *,
        context: int,
        max_new_tokens: int,
        temperature: float = 1.0,
        told: bool = True,
    ) -> None:
        self.model, self.tokenizer, self.prompt = model, tokenizer, prompt
        self.chat = Chat(tokenizer, generation_ends(model))
        self.context, self.max_new_tokens, self.temperature, self.told = context, max_new_tokens, temperature, told
        self._live: dict[int, _Live] = {}
        self._rows: list[int] = []
        self._cache: RowCache | None = None
        known = inspect.signature(model.base_model.forward).parameters
        self._cache_argument = "cache" if "cache" in known else "past_key_values"  # renamed in transformers 5.24
        self._refuse_unknown_architecture()

    @classmethod
    def load(
        cls,
        name: str,
        prompt: ReplyFormat,
        *,
        context: int,
        max_new_tokens: int,
        told: bool = True,
        revision: str | None = None,
    ) -> Self:
        """A model and tokenizer from a folder or the Hub (there of a commit, `revision`).

        UserError with the reason where that fails.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        of = {} if revision is None else {"revision": revision}
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, **of)
            model = AutoModelForCausalLM.from_pretrained(name, use_safetensors=True, dtype=torch.float32, **of)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"cannot load model {name!r}: {reason} Give `embedded`, `smollm2`, a saved model's folder or a Hub id."
            ) from None
        return cls(model, tokenizer, prompt, context=context, max_new_tokens=max_new_tokens, told=told)

    @classmethod
    def embedded(
        cls,
        texts: Sequence[str],
        prompt: ReplyFormat,
        *,
        hidden: int,
        layers: int,
        heads: int,
        context: int,
        max_new_tokens: int,
        seed: int,
    ) -> Self:
        """The built-in default: tokenizer from the world's texts, weights from the seed."""
        from spa_bench.agents.embedded import build_model, train_tokenizer

        tokenizer = train_tokenizer(texts)
        model = build_model(tokenizer, hidden=hidden, layers=layers, heads=heads, context=context, seed=seed)
        return cls(model, tokenizer, prompt, context=context, max_new_tokens=max_new_tokens, told=False)

    @classmethod
    def first_prompt(
        cls, name: str, prompt: ReplyFormat, instructions: str, revision: str | None = None
    ) -> dict[str, str]:
        """What `load` would be told of a world, as the model's template writes it, and the date that it prints."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision or "main")
        text = rendered(tokenizer, [Message("user", prompt.system(instructions))])
        return {"rendered": text, "template_date": DATE}

    def save(self, folder: Path) -> None:
        """Weights as safetensors, and the tokenizer: `load` reads the folder, and so does transformers."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def opening(self, instructions: str, observation: str) -> list[Message]:
        """Instructions and observation, or the observation alone."""
        return super().opening(instructions, observation) if self.told else [Message("user", observation)]

    @torch.inference_mode()
    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """Feed what is new in each conversation, then sample until every reply has ended."""
        self.model.train(False)
        contexts = [self._advance(conversation) for conversation in conversations]
        rows = [self._live[conversation.id].row for conversation in conversations]
        chunks: list[list[int]] = [[] for _ in self._rows]
        for row, (fed, _, _) in zip(rows, contexts, strict=True):
            chunks[row] = fed
        logits = self._feed(chunks)
        draws = np.stack(
            [np.random.default_rng(derive_seed(c.seed, c.turn)).random(self.max_new_tokens) for c in conversations]
        )
        sampled, logprobs = self._sample(logits, rows, draws)
        replies = []
        for conversation, (_, context, restart), ids, lps in zip(
            conversations, contexts, sampled, logprobs, strict=True
        ):
            live = self._live[conversation.id]
            live.reply, live.pending = tuple(ids), [ids[-1]]
            live.length += len(ids)
            replies.append(Reply(self.chat.reply(ids), Tokens(tuple(context), live.reply, tuple(lps), restart)))
        return replies

    @torch.inference_mode()
    def fork(self, families: Sequence[tuple[Conversation, Sequence[Conversation]]]) -> None:
        """Feed the first of each family all that it answers but the last token, and copy its row for the others."""
        self.model.train(False)
        advanced = [self._advance(source) for source, _ in families]
        sources = [self._live[source.id] for source, _ in families]
        chunks: list[list[int]] = [[] for _ in self._rows]
        for live, (fed, context, restart) in zip(sources, advanced, strict=True):
            chunks[live.row], live.pending, live.read = fed[:-1], fed[-1:], (context, restart)
        if any(chunks):
            self._feed(chunks)
        self._reserve(len(self._rows) + sum(len(copies) for _, copies in families))
        assert self._cache is not None
        for live, (_, copies) in zip(sources, families, strict=True):
            for copy in copies:
                self._live[copy.id] = replace(live, row=len(self._rows), pending=list(live.pending))
                self._cache.move(live.row, len(self._rows))
                self._rows.append(copy.id)

    @torch.inference_mode()
    def forget(self, ids: Sequence[int]) -> None:
        """Free the rows of these conversations; the last rows in use move into the gaps."""
        for gone in ids:
            live = self._live.pop(gone, None)
            if live is None:
                continue
            last = self._rows.pop()
            if last != gone:
                assert self._cache is not None
                self._cache.move(len(self._rows), live.row)
                self._rows[live.row] = last
                self._live[last].row = live.row

    def tokenise(self, instructions: str, trajectory: Trajectory) -> list[Tokens]:
        """A scripted episode as this model would have produced it: one Tokens per step, log-probs zero.

        For cloning. Contexts come from the same code as in play, so training and play see the same ids.
        """
        messages = self.opening(instructions, trajectory.steps[0].observation)
        turns: list[Tokens] = []
        before, length = "", 0
        reply: tuple[int, ...] = ()
        for step in trajectory.steps:
            if turns:
                messages.append(self.later(step.observation, trajectory.goal))
            context, before, restart = self._context(messages, before, reply, length)
            reply = self.chat.taught(step.reply)
            length = len(context) + len(reply) + (0 if restart else length)
            turns.append(Tokens(tuple(context), reply, (0.0,) * len(reply), restart))
            messages.append(Message("assistant", self.chat.reply(reply)))  # with the thought that the prompt opened
        return turns

    def _advance(self, conversation: Conversation) -> tuple[list[int], list[int], bool]:
        """Ids to feed now (with what was pending), ids of the context alone, and whether a sequence starts."""
        live = self._live.get(conversation.id) or self._admit(conversation)
        if live.read is not None:
            (context, restart), live.read = live.read, None
            return live.pending, context, restart
        context, live.prompt, restart = self._context(conversation.messages, live.prompt, live.reply, live.length)
        if restart:
            assert self._cache is not None
            self._cache.lengths[live.row] = 0
            live.length, live.pending = 0, []
        live.length += len(context)
        return live.pending + context, context, restart

    def _admit(self, conversation: Conversation) -> _Live:
        """A row for a conversation; where it goes on from the middle of another, all of its past is still to be fed."""
        live = self._live[conversation.id] = _Live(row=len(self._rows))
        self._rows.append(conversation.id)
        self._reserve(len(self._rows))
        assert self._cache is not None
        self._cache.lengths[live.row] = 0
        if past := conversation.past:
            first = max(k for k, tokens in enumerate(past) if k == 0 or tokens.restart)
            live.pending = [token for tokens in past[first:] for token in (*tokens.context, *tokens.reply)]
            live.length = len(live.pending)
            live.reply = past[-1].reply
            live.prompt = self.chat.prompt(conversation.messages[:-2])  # what the last reply answered
        return live

    def _context(
        self, messages: Sequence[Message], before: str, reply: tuple[int, ...], length: int
    ) -> tuple[list[int], str, bool]:
        """(new ids, rendered prompt, restart): a continuation where template and context length allow it."""
        prompt = self.chat.prompt(messages)
        more = self.chat.continuation(before, reply, prompt) if before else None
        if more is not None:
            ids = self.chat.encode(more)
            if length + len(ids) + self.max_new_tokens <= self.context:
                return ids, prompt, False
        room = self.context - self.max_new_tokens
        ids = self.chat.fitted(messages, room)
        if len(ids) > room:
            raise UserError(
                f"task and current page take {len(ids)} tokens, and model.context={self.context} leaves {room} beside "
                f"a reply of {self.max_new_tokens}: set model.context={len(ids) + self.max_new_tokens} or more"
            )
        return ids, prompt, True

    def _reserve(self, rows: int) -> None:
        """Room for this many conversations; grows by doubling, contents kept."""
        if self._cache is not None and self._cache.rows >= rows:
            return
        old = self._cache
        layers = self.model.config.get_text_config().num_hidden_layers
        new = RowCache(layers, max(16, 2 * rows), self.model.device)
        if old is not None:
            new.adopt(old)
        self._cache = new

    def _feed(self, chunks: Sequence[Sequence[int]]) -> torch.Tensor:
        """Forward passes over a chunk for each row in use; logits (rows, vocabulary) after each row's last token.

        Where one pass would mostly compute padding there are two, over the short chunks and over the long ones.
        """
        parts = split([len(chunk) for chunk in chunks])
        if len(parts[0]) == len(chunks):
            return self._pass(chunks, None)
        logits: torch.Tensor | None = None
        for rows in parts:
            found = self._pass([chunks[row] for row in rows], torch.tensor(rows, device=self.model.device))
            logits = found.new_zeros(len(chunks), found.shape[1]) if logits is None else logits
            logits[rows] = found
        assert logits is not None
        return logits

    def _pass(self, chunks: Sequence[Sequence[int]], rows: torch.Tensor | None) -> torch.Tensor:
        """One forward pass over right-padded chunks for these rows, or else the first ones."""
        assert self._cache is not None
        device = self.model.device
        width = max(1, max(len(chunk) for chunk in chunks))
        counts = torch.tensor([len(chunk) for chunk in chunks], device=device)
        ids = torch.zeros(len(chunks), width, dtype=torch.long)
        for row, chunk in enumerate(chunks):
            ids[row, : len(chunk)] = torch.tensor(chunk, dtype=torch.long)
        mask, positions = self._cache.feed(counts, width, rows)
        hidden = self.model.base_model(
            input_ids=ids.to(device),
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{self._cache_argument: self._cache},
        ).last_hidden_state
        ends = torch.arange(len(chunks), device=device), (counts - 1).clamp(min=0)
        head: torch.nn.Module = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        logits: torch.Tensor = head(hidden[ends])
        return logits.float()

    def _sample(
        self, logits: torch.Tensor, rows: Sequence[int], draws: np.ndarray
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Replies of the given rows, drawn by inversion from each conversation's own numbers (n, max_new_tokens)."""
        replies: list[list[int]] = [[] for _ in rows]
        logprobs: list[list[float]] = [[] for _ in rows]
        active = list(range(len(rows)))
        for t in range(self.max_new_tokens):
            chosen, lps = self._draw(logits[[rows[i] for i in active]], draws[active, t])
            for i, token, lp in zip(active, chosen, lps, strict=True):
                replies[i].append(token)
                logprobs[i].append(lp)
            active = [i for i in active if replies[i][-1] not in self.chat.ends]
            if not active or t + 1 == self.max_new_tokens:
                return replies, logprobs
            chunks: list[list[int]] = [[] for _ in self._rows]
            for i in active:
                chunks[rows[i]] = [replies[i][-1]]
            logits = self._feed(chunks)
        return replies, logprobs

    def _draw(self, logits: torch.Tensor, uniforms: np.ndarray) -> tuple[list[int], list[float]]:
        """One token per row by inversion of the cumulative distribution, and its log-prob."""
        logp = (logits / (self.temperature or 1.0)).log_softmax(-1)
        if self.temperature == 0:
            tokens = logits.argmax(-1)
        else:
            cumulative = logp.double().exp().cumsum(-1)
            target = torch.from_numpy(uniforms).to(logits.device)[:, None] * cumulative[:, -1:]
            tokens = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return tokens.tolist(), logp.gather(1, tokens[:, None])[:, 0].tolist()

    @torch.inference_mode()
    def _refuse_unknown_architecture(self) -> None:
        """The cached path must reproduce the model's own logits; better a refusal than silently other numbers."""
        window = sliding_window(self.model.config.get_text_config())
        if window is not None and window < self.context:
            raise UserError(
                f"the model looks back {window} tokens only, and the cache keeps all of {self.context}: "
                f"set model.context={window}, or choose another model"
            )
        self.model.train(False)
        ids = (torch.arange(12) * 7 + 5) % self.model.config.get_text_config().vocab_size
        want = self.model(input_ids=ids[None].to(self.model.device)).logits[0, -1].float()
        self._rows = [0]
        self._reserve(1)
        self._feed([ids[:7].tolist()])
        got = self._feed([ids[7:].tolist()])[0]
        self._rows, self._cache = [], None
        if not torch.allclose(want, got, rtol=1e-3, atol=1e-3):
            kind = type(self.model).__name__
            raise UserError(f"{kind} computes its logits in a way that the cache does not follow: choose another model")


def generation_ends(model: PreTrainedModel) -> list[int]:
    """The tokens at which the model's generation configuration stops."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if ends is None else [int(end) for end in (ends if isinstance(ends, list) else [ends])]


def sliding_window(config: PretrainedConfig) -> int | None:
    """How far back a layer of the model looks at the least; None where all of them look at everything."""
    window: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    return None if kinds is not None and set(kinds) <= {"full_attention"} else window


def split(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in one part, or in a part of short chunks and one of long ones where that saves enough of the computation.

    What is computed is rows times the longest chunk; rows without anything to feed need no pass. Single tokens stay
    together unless few rows have one: they cost less than the copy.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    longest = lengths[order[-1]]
    if longest == 1 and sum(lengths) <= FEW * len(lengths):
        return [[row for row, length in enumerate(lengths) if length]]

    def cost(cut: int) -> int:
        return cut * (lengths[order[cut - 1]] if cut else 0) + (len(order) - cut) * longest

    best = min(range(len(order)), key=cost)
    if longest <= 1 or cost(best) >= WORTH * cost(0):
        return [list(range(len(lengths)))]
    return [sorted(part) for part in (order[:best], order[best:]) if any(lengths[row] for row in part)]
