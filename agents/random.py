"""Uniform chance over what the world would execute: the lower reference, grounded at every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Agent, Conversation, Reply, ReplyFormat, derive_seed


class Random(Agent):
    """Picks one of the admissible commands; says nothing (a format fault) where there is none."""

    apart = True

    def __init__(self, prompt: ReplyFormat) -> None:
        self.prompt = prompt

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """One draw per conversation, from its own seed and turn: the batch does not matter."""
        return [Reply(self.prompt.render(_draw(conversation))) for conversation in conversations]


def _draw(conversation: Conversation) -> str:
    if not conversation.admissible:
        return ""
    rng = np.random.default_rng(derive_seed(conversation.seed, conversation.turn))
    return conversation.admissible[int(rng.integers(len(conversation.admissible)))]
