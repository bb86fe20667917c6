"""Any causal language model with a chat template: conversations as tokens, which an engine goes on with."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from spa_bench.agents.chat import DATE, Chat, refuse_endless, template_of
from spa_bench.agents.engines import Engine, Prompt, Sampled, Sampling
from spa_bench.agents.engines.agreement import REPLIES, check
from spa_bench.agents.engines.transformers import TransformersEngine
from spa_bench.agents.model_files import loading, read_config, refuse_more_than_memory
from spa_bench.agents.model_limits import generation_ends, own_context
from spa_bench.agents.row_cache import token_bytes
from spa_bench.agents.transcript import Bookkeeper, History, Transcript, spelled
from spa_bench.core import Agent, Conversation, Message, Reply, ReplyFormat, Tokens, Trajectory, UserError, derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class _Live:
    """One conversation under way."""

    transcript: Transcript
    read: tuple[list[int], bool] | None = None
    """Context and `restart` of the reply to come, where a fork has read them."""


class CausalLM(Agent):
    """Samples replies and keeps ids and log-probs exactly as sampled.

    `temperature` 0 is greedy; log-probs are then those of temperature 1. `told` says whether the model is given the
    world's instructions (a model cloned from demonstrations needs none). `context` None is the model's own, up to
    `model_limits.LONGEST`; `history`, `halves` and `thinking` are those of `transcript.Bookkeeper` and `chat.Chat`.
    `engine` None samples with the model itself. Another one is given the model's weights before a reply wherever it has
    others, and what it samples then is scored with the model.
    """

    own_context = staticmethod(own_context)
    token_bytes = staticmethod(token_bytes)
    read_config = staticmethod(read_config)
    loading = loading

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
        engine: Engine | None = None,
    ) -> None:
        self.model, self.tokenizer, self.prompt = model, tokenizer, prompt
        self.chat = Chat(tokenizer, generation_ends(model), thinking)
        longest = own_context(model.config) if context is None else context
        self.temperature, self.told = temperature, told
        head = len(self.opening("", ""))
        self.books = Bookkeeper(self.chat, longest, max_new_tokens, history, halves, head)
        self._live: dict[int, _Live] = {}
        self.sampling_seconds = 0.0
        """Spent in `act` and `fork` so far."""
        self.tokens_read = self.tokens_written = 0
        """Tokens of prompts, each as often as it is read, and of replies, so far."""
        self.engine: Engine = engine or TransformersEngine(model, longest)

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
        engine: Engine | None = None,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """A model and tokenizer from a folder or the Hub (there of a commit, `revision`), its weights in `dtype`.

        UserError with the reason where that fails.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        of: dict[str, Any] = {} if revision is None else {"revision": revision}
        refuse_more_than_memory(name, read_config(name, revision), dtype)
        with loading(name):
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **of)
            refuse_endless(tokenizer, thinking)
            model = AutoModelForCausalLM.from_pretrained(
                name, use_safetensors=True, dtype=dtype, trust_remote_code=False, **of
            )
        return cls(
            model, tokenizer, prompt, context=context, max_new_tokens=max_new_tokens, told=told,
            history=history, halves=halves, thinking=thinking, engine=engine,
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
        names: bool = True,
        history: History = "template",
        halves: bool = False,
        thinking: bool | None = None,
        engine: Engine | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """The built-in default: tokenizer from the world's texts, weights from the seed.

        With `names` a name and its number are one token, else two. A full context loses as few turns as must go, and
        they are tokenised again, as in all tables so far.
        """
        from spa_bench.agents.embedded import build_model, train_tokenizer

        tokenizer = train_tokenizer(texts, names)
        model = build_model(tokenizer, hidden=hidden, layers=layers, heads=heads, context=context, seed=seed)
        for weight in model.parameters():  # `to` would round the buffers of the rotary embedding as well
            weight.data = weight.data.to(dtype)
        return cls(
            model, tokenizer, prompt, context=context, max_new_tokens=max_new_tokens, told=False,
            history=history, halves=halves, thinking=thinking, engine=engine,
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

        with loading(name):
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision or "main", trust_remote_code=False)
        refuse_endless(tokenizer, thinking)
        chat = Chat(tokenizer, thinking=thinking)
        text = spelled(Bookkeeper(chat, sys.maxsize, 0, history), prompt, instructions)
        return {"rendered": text, "template": template_of(chat.tokenizer), "template_date": DATE}

    def save(self, folder: Path) -> None:
        """Weights as safetensors, and the tokenizer: `load` reads the folder, and so does transformers."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def opening(self, instructions: str, observation: str) -> list[Message]:
        """Instructions and observation, or the observation alone."""
        return super().opening(instructions, observation) if self.told else [Message("user", observation)]

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """Hand each conversation's sequence to the engine; a reply is kept as it was sampled."""
        begun = time.monotonic()
        read = [self._advance(conversation) for conversation in conversations]
        sampling = Sampling(self.books.max_new_tokens, self.temperature, self.chat.ends)
        replies = []
        for conversation, (context, restart, _), sampled in zip(
            conversations, read, self._generated([prompt for *_, prompt in read], sampling), strict=True
        ):
            replies.append(self._reply(conversation.id, context, restart, sampled))
        self.sampling_seconds += time.monotonic() - begun
        return replies

    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        """The same, each reply when the engine has it; only what is waited for counts as `sampling_seconds`."""
        begun = time.monotonic()
        sampling = Sampling(self.books.max_new_tokens, self.temperature, self.chat.ends)
        prompts: deque[Prompt] = deque()
        read: dict[int, tuple[list[int], bool]] = {}

        def take() -> None:
            while asked:
                context, restart, prompt = self._advance(asked.popleft())
                read[prompt.key] = context, restart
                prompts.append(prompt)

        take()
        for key, sampled in self._generated_soon(prompts, sampling):
            reply = self._reply(key, *read.pop(key), sampled)
            self.sampling_seconds += time.monotonic() - begun
            yield key, reply
            begun = time.monotonic()
            take()
        self.sampling_seconds += time.monotonic() - begun

    def fork(self, families: Sequence[tuple[Conversation, Sequence[Conversation]]]) -> None:
        """Read what the first of each family answers once for all the others."""
        begun = time.monotonic()
        shared = []
        for source, copies in families:
            context, restart, prompt = self._advance(source)
            live = self._live[source.id]
            live.read = context, restart
            for copy in copies:
                self._live[copy.id] = replace(live, transcript=live.transcript.copy())
            shared.append((prompt, [copy.id for copy in copies]))
        self.engine.fork(shared)
        self.sampling_seconds += time.monotonic() - begun

    def forget(self, ids: Sequence[int]) -> None:
        """These conversations are over."""
        for gone in ids:
            self._live.pop(gone, None)
        self.engine.forget(ids)

    def release(self) -> None:
        """Free the engine's memory, where no conversation is under way; the weights may change now."""
        self.engine.release()
        if self.engine.holds is self:
            self.engine.holds = None

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

    def _generated(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sampled]:
        """Replies of the engine, sampled with this model's weights; UserError where they were not."""
        if not self.engine.copies or self.engine.holds is self:
            return self.engine.generate(prompts, sampling)
        self.engine.load(self.model)
        replies = self.engine.generate(prompts, sampling)
        self._score(list(zip(prompts, replies, strict=True)), sampling)
        return replies

    def _generated_soon(self, prompts: deque[Prompt], sampling: Sampling) -> Generator[tuple[int, Sampled], None, None]:
        """The same as they come: the first replies with new weights are kept, and scored when there are enough."""
        fresh = self.engine.copies and self.engine.holds is not self
        if fresh:
            self.engine.load(self.model)
        scored: list[tuple[Prompt, Sampled]] = []
        for prompt, reply in self.engine.generate_soon(prompts, sampling):
            if fresh and reply.ids:
                scored.append((replace(prompt, ids=tuple(prompt.ids)), reply))
                if len(scored) == REPLIES:
                    self._score(scored, sampling)
                    fresh = False
            yield prompt.key, reply
        if fresh:
            self._score(scored, sampling)

    def _score(self, replies: Sequence[tuple[Prompt, Sampled]], sampling: Sampling) -> None:
        """The engine holds this model's weights if it has sampled with them; UserError where it has not."""
        check(self.model, [one for one, _ in replies], [reply for _, reply in replies], sampling.temperature)
        self.engine.holds = self if any(reply.ids for _, reply in replies) else None  # scored, or not

    def _reply(self, key: int, context: list[int], restart: bool, sampled: Sampled) -> Reply:
        """What was sampled in the conversation of this id, kept as it was sampled."""
        if sampled.error is not None:
            return Reply("", error=sampled.error)
        if not math.isfinite(sum(sampled.logprobs)):
            raise UserError("the model's log-probs are no finite numbers: its weights are damaged")
        self._live[key].transcript.said(sampled.ids)
        self.tokens_written += len(sampled.ids)
        return Reply(self.chat.reply(sampled.ids), Tokens(tuple(context), sampled.ids, sampled.logprobs, restart))

    def _advance(self, conversation: Conversation) -> tuple[list[int], bool, Prompt]:
        """Ids of the context of the reply to come, whether a sequence starts, and what the engine is given.

        A conversation that goes on from the middle of another begins with all of its past.
        """
        live = self._live.get(conversation.id)
        opened = live is None
        if live is None:
            live = self._live[conversation.id] = _Live(self.books.open(conversation.messages, conversation.past))
        new = False
        if live.read is None:
            of = conversation
            context, restart = self._turn(live.transcript, of.messages, of.goal, of.admissible)
            new = restart
            self.tokens_read += len(live.transcript.ids if opened else context)
        else:
            (context, restart), live.read = live.read, None
        seed = derive_seed(conversation.seed, conversation.turn)
        return context, restart, Prompt(conversation.id, live.transcript.ids, seed, new)

    def _turn(
        self, transcript: Transcript, messages: Sequence[Message], goal: str, admissible: Sequence[str]
    ) -> tuple[list[int], bool]:
        """What is to be read next, of the conversation or of what the prompt shows of it."""
        views = self.prompt.views(messages, goal, admissible, self.books.head)
        return self.books.turn(transcript, messages, list(views))
