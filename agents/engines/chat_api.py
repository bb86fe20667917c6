"""An agent behind any OpenAI-compatible server (`/chat/completions`): messages in, text out. For evaluation only.

There are no token ids and no log-probs, so nothing can be trained on what it says.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from spa_bench.agents.engines.http import Client, ServerError
from spa_bench.core import Agent, Conversation, Message, Reply, ReplyFormat, UserError, derive_seed

TOO_LONG = ("context_length", "context length", "maximum context", "too many tokens", "prompt is too long")
"""How servers say, with status 400, that a conversation does not fit."""


class ChatAPI(Agent):
    """Sends each conversation whole. What a server does not answer ends the episode with an error."""

    apart = True

    def __init__(
        self,
        prompt: ReplyFormat,
        *,
        model: str,
        max_new_tokens: int,
        url: str = "",
        key_variable: str = "SPA_BENCH_API_KEY",
        deadline: float = 300.0,
        retries: int = 5,
        in_flight: int = 8,
        price_in: float = 0.0,
        price_out: float = 0.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """`url` ends before `/chat/completions`; prices are per million tokens read and written, in any currency.

        `extra` is added to each request and wins, such as {"reasoning_effort": "low"}. The others are `http.Client`'s.
        """
        if not (0 <= price_in < math.inf and 0 <= price_out < math.inf):
            raise UserError("model.engine_options.price_in and price_out are amounts per million tokens, from 0")
        self.prompt, self.model, self.max_new_tokens = prompt, model, max_new_tokens
        self.client = Client(url, key_variable=key_variable, deadline=deadline, retries=retries, in_flight=in_flight)
        self.prices = price_in / 1e6, price_out / 1e6
        self.extra = dict(extra or {})
        self.temperature = 0.0
        self.head = len(self.opening("", ""))
        self._dropped: dict[int, int] = {}
        self._spent = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}
        self._served: set[str] = set()

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """One request for each conversation; one that is too long for the server is sent again with fewer turns."""
        replies: dict[int, Reply] = {}
        waiting = list(conversations)
        while waiting:
            answers = self.client.post_all("/chat/completions", [self._body(one) for one in waiting])
            again = []
            for conversation, answer in zip(waiting, answers, strict=True):
                if too_long(answer) and self._drop(conversation):
                    again.append(conversation)
                else:
                    replies[conversation.id] = self._reply(answer)
            waiting = again
        return [replies[conversation.id] for conversation in conversations]

    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        """The same, each reply when its own request is answered."""
        for conversation, answer in self.client.post_soon("/chat/completions", asked, self._body):
            if too_long(answer) and self._drop(conversation):
                asked.appendleft(conversation)
            else:
                yield conversation.id, self._reply(answer)

    def forget(self, ids: Sequence[int]) -> None:
        """These conversations are over."""
        for gone in ids:
            self._dropped.pop(gone, None)

    def spent(self) -> dict[str, Any]:
        """Requests, tokens and cost since the last call, and the names of the models that the server says it used."""
        found: dict[str, Any] = dict(self._spent)
        found["cost"] = found["prompt_tokens"] * self.prices[0] + found["completion_tokens"] * self.prices[1]
        found["served"] = sorted(self._served)
        self._spent = dict.fromkeys(self._spent, 0)
        return found

    def _body(self, conversation: Conversation) -> dict[str, Any]:
        messages = self._shown(conversation)
        chat = [{"role": one.role, "content": one.content.encode("utf-8", "replace").decode()} for one in messages]
        seed = derive_seed(conversation.seed, conversation.turn) % 2**31  # servers read 32 bits
        own = {"model": self.model, "messages": chat, "max_tokens": self.max_new_tokens, "seed": seed}
        return own | {"temperature": self.temperature} | self.extra

    def _shown(self, conversation: Conversation) -> Sequence[Message]:
        """What the prompt shows of the conversation, or all of it but the turns that were dropped."""
        messages, gone = conversation.messages, self._dropped.get(conversation.id, 0)
        views = list(self.prompt.views(messages, conversation.goal, conversation.admissible, self.head))
        return views[min(gone, len(views) - 1)] if views else kept(messages, gone, self.head)

    def _drop(self, conversation: Conversation) -> bool:
        """Leave out half of the turns that are still sent, or show the next shorter form; False where there is none."""
        gone, messages = self._dropped.get(conversation.id, 0), conversation.messages
        views = list(self.prompt.views(messages, conversation.goal, conversation.admissible, self.head))
        left = len(views) - 1 - gone if views else (len(messages) - self.head) // 2 - gone
        self._dropped[conversation.id] = gone + (1 if views else (left + 1) // 2)
        return left > 0

    def _reply(self, answer: Any) -> Reply:
        if isinstance(answer, ServerError):
            return Reply("", error=str(answer))
        self._count(answer)
        try:
            text = answer["choices"][0]["message"].get("content")
        except (AttributeError, IndexError, KeyError, TypeError):
            return Reply("", error="the server's answer holds no message")
        if not isinstance(text, str | None):
            return Reply("", error="the server's message is no text")
        return Reply(text or "")

    def _count(self, answer: Any) -> None:
        self._spent["requests"] += 1
        if not isinstance(answer, dict):
            return
        usage = answer.get("usage")
        for name in ("prompt_tokens", "completion_tokens"):
            count = usage.get(name) if isinstance(usage, dict) else None
            if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**53:
                self._spent[name] += count
        if isinstance(served := answer.get("model"), str):
            self._served.add(served[:200])


def too_long(answer: Any) -> bool:
    """The server says that the conversation does not fit into the model's context."""
    return (
        isinstance(answer, ServerError)
        and answer.status == 400
        and any(words in str(answer).lower() for words in TOO_LONG)
    )


def kept(messages: Sequence[Message], dropped: int, head: int) -> Sequence[Message]:
    """The first `head` messages and what came after the turns that were dropped.

    Without any turn the first page and the last one are one message, as templates want user and assistant in turns.
    """
    later = messages[head + 2 * dropped :]
    if dropped and not later:
        return [*messages[: head - 1], Message("user", f"{messages[head - 1].content}\n\n{messages[-1].content}")]
    return [*messages[:head], *later]
