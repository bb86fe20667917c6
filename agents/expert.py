"""The searching expert of the world as an agent: the upper reference, and the teacher of the warm start."""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.core import Agent, Conversation, Reply, ReplyFormat


class Expert(Agent):
    """Says what the world's expert would do next."""

    uses_expert = True

    def __init__(self, prompt: ReplyFormat) -> None:
        self.prompt = prompt

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """The expert's action in the reply format; ValueError where the rollout has not filled it in."""
        return [Reply(self.prompt.render(_teacher(conversation))) for conversation in conversations]


def _teacher(conversation: Conversation) -> str:
    if conversation.expert_action is None:
        raise ValueError(f"conversation {conversation.id} has no expert action: the rollout must fill it in")
    return conversation.expert_action
