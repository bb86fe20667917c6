"""How likely the policy finds its replies once it knows how the episode ended: `method.Hindsight`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spa_bench.core import Floats, Tokens, Trajectory
from spa_bench.training.batches import Limit, pack
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import score
from spa_bench.watch import Timed


class Hindsight:
    """Reads episodes again with a text after their first observation; the replies are those that were sampled."""

    def __init__(self, agent: LanguageModel, policy: Policy, instructions: str, limit: Limit) -> None:
        self.agent, self.policy, self.instructions, self.limit = agent, policy, instructions, limit
        self.tokens = 0
        """Read for the method: its overhead."""

    def __call__(self, trajectories: Sequence[Trajectory], hints: Sequence[str]) -> list[Floats]:
        """See `method.Hindsight`."""
        with Timed():  # what is read here is no time of the method that asks for it
            told = {n: pack(self._told(trajectories[n], hint)) for n, hint in enumerate(hints) if trajectories[n].steps}
            self.tokens += sum(episode.size for episode in told.values())
            found = [np.zeros(0)] * len(trajectories)
            for (n, episode), scored in zip(
                told.items(), score(self.policy, [*told.values()], self.limit), strict=True
            ):
                found[n] = np.add.reduceat(scored.logprobs, episode.starts) / episode.lengths
        return found

    def _told(self, trajectory: Trajectory, hint: str) -> list[Tokens]:
        """What the model would have read, between the replies that it wrote."""
        first, *later = trajectory.steps
        told = replace(first, observation=f"{first.observation}\n{hint}")
        shown = self.agent.tokenise(self.instructions, replace(trajectory, steps=(told, *later)))
        own = [step.tokens or read for step, read in zip(trajectory.steps, shown, strict=True)]
        return [
            replace(mine, context=read.context, restart=read.restart) for mine, read in zip(own, shown, strict=True)
        ]
