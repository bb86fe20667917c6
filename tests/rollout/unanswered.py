"""An agent that has no reply to some conversations, as one whose server is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spa_bench.core import Agent, Conversation, Reply


class Unanswered(Agent):
    """Another agent, but without a reply where `fails` says so."""

    def __init__(self, inner: Agent, fails: Callable[[Conversation], bool]) -> None:
        self.inner, self.fails, self.prompt = inner, fails, inner.prompt

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """The other agent's replies, but for those."""
        replies = self.inner.act(conversations)
        pairs = zip(conversations, replies, strict=True)
        return [Reply("", error="gone") if self.fails(talk) else reply for talk, reply in pairs]
