"""The searching expert of the world as an agent: the upper reference, and the teacher of the warm start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Agent, Conversation, Reply, ReplyFormat, derive_seed


class Expert(Agent):
    """Says what the world's expert would do next.

    With `slip` it errs on purpose in that share of turns and has to recover, as in DART (Laskey et al. 2017): a clone
    of flawless demonstrations has never seen what follows its own mistakes. A slip is a command that is possible now
    or was possible a turn ago, so that some fail. Whoever clones must leave slips out: `Step.expert_action` is the
    teacher's own choice.
    """

    uses_expert = True

    def __init__(self, prompt: ReplyFormat, slip: float = 0.0) -> None:
        self.prompt, self.slip = prompt, slip
        self._before: dict[int, Sequence[str]] = {}

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """The expert's action in the reply format; ValueError where the rollout has not filled it in."""
        return [Reply(self.prompt.render(self._choose(conversation))) for conversation in conversations]

    def forget(self, ids: Sequence[int]) -> None:
        """Drop the commands of the turn before."""
        for gone in ids:
            self._before.pop(gone, None)

    def _choose(self, conversation: Conversation) -> str:
        if conversation.expert_action is None:
            raise ValueError(f"conversation {conversation.id} has no expert action: the rollout must fill it in")
        before = self._before.get(conversation.id, ())
        self._before[conversation.id] = conversation.admissible
        rng = np.random.default_rng(derive_seed(conversation.seed, "slip", conversation.turn))
        if rng.random() < self.slip and (known := sorted({*before, *conversation.admissible})):
            return known[int(rng.integers(len(known)))]
        return conversation.expert_action
