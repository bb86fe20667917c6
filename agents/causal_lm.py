"""Any causal language model with a chat template, played through transformers with a persistent key-value cache."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from spa_bench.agents.chat import DATE, Chat, template_of
from spa_bench.agents.model_limits import generation_ends, own_context, sliding_window
from spa_bench.agents.row_cache import RowCache, split, token_bytes
from spa_bench.agents.transcript import Bookkeeper, History, Transcript, spelled
from spa_bench.core import Agent, Conversation, Message, Reply, ReplyFormat, Tokens, Trajectory, UserError, derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AGREEMENT = {4: 1e-3, 2: 5e-2}
"""By the bytes of a weight: how far the cache's logits may be from the model's own, absolute and relative."""


@dataclass
class _Live:
    """What one conversation has in the cache."""

    row: int
    transcript: Transcript
    fed: int = 0
    """So many ids of the sequence are in the cache: all but the last of a reply, or of what a fork has read."""
    read: tuple[list[int], bool] | None = None
    """Context and `restart` of the reply to come, where a fork has read them."""


class CausalLM(Agent):
    """Samples replies and keeps ids and log-probs exactly as sampled.

    `temperature` 0 is greedy; log-probs are then those of temperature 1. `told` says whether the model is given the
    world's instructions (a model cloned from demonstrations needs none). `context` None is the model's own, up to
    `model_limits.LONGEST`; `history`, `halves` and `thinking` are those of `transcript.Bookkeeper` and `chat.Chat`.
    """

    own_context = staticmethod(own_context)
    token_bytes = staticmethod(token_bytes)

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompt: ReplyFormat,
        *,
        context: int | None,
        max_new_tokens: int,
        temperature: float = 1.0,
        told: bool = True,
        history: History = "sampled",
        halves: bool = True,
        thinking: bool | None = None,
    ) -> None:
        self.model, self.tokenizer, self.prompt = model, tokenizer, prompt
        self.chat = Chat(tokenizer, generation_ends(model), thinking)
        longest = own_context(model.config) if context is None else context
        self.temperature, self.told = temperature, told
        head = len(self.opening("", ""))
        self.books = Bookkeeper(self.chat, longest, max_new_tokens, history, halves, head)
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
        context: int | None,
        max_new_tokens: int,
        told: bool = True,
        history: History = "sampled",
        halves: bool = True,
        thinking: bool | None = None,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """A model and tokenizer from a folder or the Hub (there of a commit, `revision`), its weights in `dtype`.

        UserError with the reason where that fails.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        of = {} if revision is None else {"revision": revision}
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, **of)
            model = AutoModelForCausalLM.from_pretrained(name, use_safetensors=True, dtype=dtype, **of)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"cannot load model {name!r}: {reason} Give `embedded`, `smollm2`, a saved model's folder or a Hub id."
            ) from None
        return cls(
            model, tokenizer, prompt, context=context, max_new_tokens=max_new_tokens, told=told,
            history=history, halves=halves, thinking=thinking,
        )  # fmt: skip

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
        history: History = "template",
        halves: bool = False,
        thinking: bool | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """The built-in default: tokenizer from the world's texts, weights from the seed.

        A full context loses as few turns as must go, and they are tokenised again, as in all tables so far.
        """
        from spa_bench.agents.embedded import build_model, train_tokenizer

        tokenizer = train_tokenizer(texts)
        model = build_model(tokenizer, hidden=hidden, layers=layers, heads=heads, context=context, seed=seed)
        for weight in model.parameters():  # `to` would round the buffers of the rotary embedding as well
            weight.data = weight.data.to(dtype)
        return cls(
            model, tokenizer, prompt, context=context, max_new_tokens=max_new_tokens, told=False,
            history=history, halves=halves, thinking=thinking,
        )  # fmt: skip

    @classmethod
    def example(
        cls,
        name: str,
        prompt: ReplyFormat,
        instructions: str,
        *,
        history: History = "sampled",
        thinking: bool | None = None,
        revision: str | None = None,
    ) -> dict[str, str]:
        """What `load` would read of a world: the beginning of a conversation as text, the template, and its date."""
        from transformers import AutoTokenizer

        chat = Chat(AutoTokenizer.from_pretrained(name, revision=revision or "main"), thinking=thinking)
        text = spelled(Bookkeeper(chat, sys.maxsize, 0, history), prompt, instructions)
        return {"rendered": text, "template": template_of(chat.tokenizer), "template_date": DATE}

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
        self._reserve(len(self._rows) + sum(conversation.id not in self._live for conversation in conversations))
        contexts = [self._advance(conversation) for conversation in conversations]
        chats = [self._live[conversation.id] for conversation in conversations]
        logits = self._feed(self._unread(chats))
        draws = np.stack(
            [
                np.random.default_rng(derive_seed(c.seed, c.turn)).random(self.books.max_new_tokens)
                for c in conversations
            ]
        )
        sampled, logprobs = self._sample(logits, [live.row for live in chats], draws)
        replies = []
        for live, (context, restart), ids, lps in zip(chats, contexts, sampled, logprobs, strict=True):
            live.transcript.said(ids)
            live.fed = len(live.transcript.ids) - 1  # the last one was sampled only
            replies.append(Reply(self.chat.reply(ids), Tokens(tuple(context), tuple(ids), tuple(lps), restart)))
        return replies

    @torch.inference_mode()
    def fork(self, families: Sequence[tuple[Conversation, Sequence[Conversation]]]) -> None:
        """Feed the first of each family all that it answers but the last token, and copy its row for the others."""
        self.model.train(False)
        advanced = [self._advance(source) for source, _ in families]
        sources = [self._live[source.id] for source, _ in families]
        for live, read in zip(sources, advanced, strict=True):
            live.read = read
        if any(chunks := self._unread(sources, but=1)):
            self._feed(chunks)
        self._reserve(len(self._rows) + sum(len(copies) for _, copies in families))
        assert self._cache is not None
        for live, (_, copies) in zip(sources, families, strict=True):
            for copy in copies:
                self._live[copy.id] = replace(live, row=len(self._rows), transcript=live.transcript.copy())
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

    def release(self) -> None:
        """Free the memory of the cache, where no conversation is under way."""
        if self._cache is not None and not self._rows:
            self._cache.free()
            self._cache = None
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()

    def tokenise(self, instructions: str, trajectory: Trajectory) -> list[Tokens]:
        """A scripted episode as this model would have produced it: one Tokens per step, log-probs zero.

        For cloning. Contexts come from the same code as in play, so training and play see the same ids.
        """
        messages = self.opening(instructions, trajectory.steps[0].observation)
        transcript = Transcript()
        turns: list[Tokens] = []
        said = ""
        for step in trajectory.steps:
            if turns:
                messages.append(self.later(step.observation, trajectory.goal, not said))
            context, restart = self._turn(transcript, messages, trajectory.goal, step.admissible)
            reply, said = self.chat.taught(step.reply), step.action
            transcript.said(reply)
            turns.append(Tokens(tuple(context), reply, (0.0,) * len(reply), restart))
            messages.append(Message("assistant", self.chat.reply(reply)))  # with the thought that the prompt opened
        return turns

    def _advance(self, conversation: Conversation) -> tuple[list[int], bool]:
        """Ids of the context of the reply to come, and whether a sequence starts."""
        live = self._live.get(conversation.id) or self._admit(conversation)
        if live.read is not None:
            read, live.read = live.read, None
            return read
        of = conversation
        context, restart = self._turn(live.transcript, of.messages, of.goal, of.admissible)
        if restart:
            assert self._cache is not None
            self._cache.lengths[live.row] = 0
            live.fed = 0
        return context, restart

    def _turn(
        self, transcript: Transcript, messages: Sequence[Message], goal: str, admissible: Sequence[str]
    ) -> tuple[list[int], bool]:
        """What is to be read next, of the conversation or of what the prompt shows of it."""
        views = self.prompt.views(messages, goal, admissible, self.books.head)
        return self.books.turn(transcript, messages, list(views))

    def _unread(self, chats: Sequence[_Live], but: int = 0) -> list[list[int]]:
        """For each row what is to be fed, without the last `but` ids; it then counts as fed."""
        chunks: list[list[int]] = [[] for _ in self._rows]
        for live in chats:
            ids = live.transcript.ids
            chunks[live.row], live.fed = ids[live.fed : len(ids) - but], len(ids) - but
        return chunks

    def _admit(self, conversation: Conversation) -> _Live:
        """A row for a conversation; where it goes on from the middle of another, all of its past is still to be fed."""
        transcript = self.books.open(conversation.messages, conversation.past)
        live = self._live[conversation.id] = _Live(len(self._rows), transcript)
        self._rows.append(conversation.id)
        self._reserve(len(self._rows))
        assert self._cache is not None
        self._cache.lengths[live.row] = 0
        return live

    def _reserve(self, rows: int) -> None:
        """Room for this many conversations; what is there grows by doubling, contents kept."""
        old = self._cache
        if old is not None and old.rows >= rows:
            return
        layers = self.model.config.get_text_config().num_hidden_layers
        least = 16 if old is None else 2 * old.rows
        self._cache = RowCache(layers, max(least, rows), self.model.device, self.books.context)
        if old is not None:
            self._cache.adopt(old)

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
        for t in range(self.books.max_new_tokens):
            chosen, lps = self._draw(logits[[rows[i] for i in active]], draws[active, t])
            for i, token, lp in zip(active, chosen, lps, strict=True):
                replies[i].append(token)
                logprobs[i].append(lp)
            active = [i for i in active if replies[i][-1] not in self.chat.ends]
            if not active or t + 1 == self.books.max_new_tokens:
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
        if window is not None and window < self.books.context:
            raise UserError(
                f"the model looks back {window} tokens only, and the cache keeps all of {self.books.context}: "
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
        tolerance = AGREEMENT[self.model.dtype.itemsize]
        if not torch.allclose(want, got, rtol=tolerance, atol=tolerance):
            kind = type(self.model).__name__
            raise UserError(f"{kind} computes its logits in a way that the cache does not follow: choose another model")
