"""A scripted agent whose every call is checked: what goes wrong in one is a line with its name, the call and the place.

An agent may be anyone's code. A language model is not played through this: running out of memory has its own line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spa_bench.core import Agent, Conversation, Message, Reply
from spa_bench.method_errors import plug_in_call


class CheckedAgent(Agent):
    """Plays as `agent`. Raises UserError for what it raises, and for what is no list of one reply per conversation."""

    def __init__(self, name: str, agent: Agent) -> None:
        """`name` is how messages call it."""
        super().__init__(agent.prompt)
        self.name, self.agent = name, agent
        self.uses_expert, self.apart, self.lists = agent.uses_expert, agent.apart, agent.lists

    def opening(self, instructions: str, observation: str) -> list[Message]:
        """The agent's own."""
        with self._call("opening"):
            return self.agent.opening(instructions, observation)

    def later(self, observation: str, goal: str, malformed: bool = False) -> Message:
        """The agent's own."""
        with self._call("later"):
            return self.agent.later(observation, goal, malformed)

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """The agent's replies."""
        with self._call("act"):
            replies = self.agent.act(conversations)
            if not isinstance(replies, list) or not all(isinstance(r, Reply) for r in replies):
                raise TypeError("a list of Reply is wanted")
            if len(replies) != len(conversations):
                raise ValueError(f"{len(replies)} replies to {len(conversations)} conversations")
            if wrong := [reply.text for reply in replies if not isinstance(reply.text, str)]:
                raise TypeError(f"the text of a reply is {type(wrong[0]).__name__}")
        return replies

    def fork(self, families: Sequence[tuple[Conversation, Sequence[Conversation]]]) -> None:
        """The agent's own."""
        with self._call("fork"):
            self.agent.fork(families)

    def forget(self, ids: Sequence[int]) -> None:
        """The agent's own."""
        with self._call("forget"):
            self.agent.forget(ids)

    def spent(self) -> dict[str, Any]:
        """The agent's own."""
        with self._call("spent"):
            return self.agent.spent()

    def _call(self, call: str) -> plug_in_call:
        return plug_in_call(f"agent {self.name}", call, code=type(self.agent))
