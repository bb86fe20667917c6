"""A scripted agent whose every call is checked: what goes wrong in one is a line with its name, the call and the place.

An agent may be anyone's code. A language model is not played through this: running out of memory has its own line.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from spa_bench.core import Agent, Conversation, Message, Reply
from spa_bench.method_errors import plug_in_call


class agent_call(plug_in_call):
    """`plug_in_call` for an agent, as messages call it; runs have no limit for it, its contract tests have one."""

    kind = "act"

    def __init__(self, name: str, call: str, *, code: type | None = None) -> None:
        super().__init__(f"agent {name}", call, code=code)


class CheckedAgent(Agent):
    """Plays as `agent`. Raises UserError for what it raises, and for what is no list of one reply per conversation."""

    def __init__(self, name: str, agent: Agent) -> None:
        """`name` is how messages call it."""
        with agent_call(name, "its constructor", code=type(agent)):
            super().__init__(agent.prompt)
        self.name, self.agent = name, agent
        self.uses_expert, self.apart, self.lists = agent.uses_expert, agent.apart, agent.lists
        self.records = agent.records

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
            if not isinstance(replies, list):
                raise TypeError("a list of Reply is wanted")
            if len(replies) != len(conversations):
                raise ValueError(f"{len(replies)} replies to {len(conversations)} conversations")
            if wrong := next(filter(None, map(_wrong, replies)), ""):
                raise TypeError(wrong)
        return replies

    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        """The agent's replies: by its own `act_soon` where it defines one, else by `act`."""
        if type(self.agent).act_soon is Agent.act_soon:
            yield from super().act_soon(asked)
            return
        waiting: set[int] = set()
        with contextlib.closing(self.agent.act_soon(asked)) as replies:
            while True:
                waiting |= {conversation.id for conversation in asked}
                with self._call("act_soon"):
                    told = next(replies, None)
                    if told is None:
                        break
                    index, reply = told
                    if wrong := _wrong(reply):
                        raise TypeError(wrong)
                    if index not in waiting:
                        raise ValueError(f"a reply to conversation {index!r}, which waits for none")
                waiting.discard(index)
                yield index, reply
        with self._call("act_soon"):
            if waiting:
                raise ValueError(f"{len(waiting)} conversations have no reply")

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

    def _call(self, call: str) -> agent_call:
        return agent_call(self.name, call, code=type(self.agent))


def _wrong(reply: object) -> str:
    """What is wrong with a reply; empty for nothing. The caller raises it, so that no line of ours is named with it."""
    if not isinstance(reply, Reply):
        return "a list of Reply is wanted"
    return "" if isinstance(reply.text, str) else f"the text of a reply is {type(reply.text).__name__}"
