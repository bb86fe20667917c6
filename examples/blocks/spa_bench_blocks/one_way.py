"""Gives the first command that it has not given lately: what went wrong is not tried again at once."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from spa_bench import Agent, Conversation, Reply, ReplyFormat

Patience = Annotated[int, Field(ge=1, description="turns before a command may be given again")]


class OneWay(Agent):
    apart = True

    def __init__(self, prompt: ReplyFormat, *, patience: Patience = 5) -> None:
        super().__init__(prompt)
        self.patience = patience

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        return [Reply(self.prompt.render(self._next(conversation))) for conversation in conversations]

    def _next(self, conversation: Conversation) -> str:
        given = [self.prompt.parse(m.content) for m in conversation.messages if m.role == "assistant"]
        new = [command for command in conversation.admissible if command not in given[-self.patience :]]
        return (new or conversation.admissible or [""])[0]
