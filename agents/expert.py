"""The searching expert of the world as an agent: the upper reference, and the teacher of the warm start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.agents.rationale import reason
from spa_bench.core import Agent, Conversation, Message, Reply, ReplyFormat, derive_seed
from spa_bench.declared import declared


class Expert(Agent):
    """Says what the world's expert would do next.

    With `slip` it errs on purpose in that share of turns and has to recover, as in DART (Laskey et al. 2017): a clone
    of flawless demonstrations has never seen what follows its own mistakes. A slip is a command that is possible now
    or was possible a turn ago, so that some fail. Whoever clones must leave slips out: `Step.expert_action` is the
    teacher's own choice. Its thoughts are made by rule from what it has been shown (`rationale`).
    """

    apart = True
    uses_expert = True

    @declared("agent expert")
    def __init__(
        self,
        prompt: ReplyFormat,
        slip: Annotated[float, Field(ge=0, le=1, description="share of turns with an error on purpose (DART)")] = 0.0,
        lists: Annotated[bool, Field(description="record what was admissible at every step")] = False,
    ) -> None:
        self.prompt, self.slip, self.lists = prompt, slip, lists
        self._thinks = prompt.render("look", "so") != prompt.render("look")
        self._before: dict[int, Sequence[str]] = {}

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """The expert's action in the reply format; ValueError where the rollout has not filled it in."""
        return [Reply(self._say(conversation, self._choose(conversation))) for conversation in conversations]

    def opening(self, instructions: str, observation: str) -> list[Message]:
        """The page alone: it knows the world."""
        return [Message("user", observation)]

    def later(self, observation: str, goal: str, malformed: bool = False) -> Message:
        """The page alone."""
        return Message("user", observation)

    def forget(self, ids: Sequence[int]) -> None:
        """Drop the commands of the turn before."""
        for gone in ids:
            self._before.pop(gone, None)

    def _say(self, conversation: Conversation, action: str) -> str:
        if not self._thinks:
            return self.prompt.render(action)
        pages = [message.content for message in conversation.messages if message.role == "user"]
        done = [self.prompt.parse(message.content) for message in conversation.messages if message.role == "assistant"]
        return self.prompt.render(action, reason(conversation.goal, pages, done, action))

    def _choose(self, conversation: Conversation) -> str:
        if conversation.expert_action is None:
            raise ValueError(f"conversation {conversation.id} has no expert action: the rollout must fill it in")
        before = self._before.get(conversation.id, ())
        self._before[conversation.id] = conversation.admissible
        rng = np.random.default_rng(derive_seed(conversation.seed, "slip", conversation.turn))
        if rng.random() < self.slip and (known := sorted({*before, *conversation.admissible})):
            return known[int(rng.integers(len(known)))]
        return conversation.expert_action
