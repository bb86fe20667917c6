"""A reward method outside our trainer: a number for each turn of each episode, and what is left where one is taken.

Separate from the interfaces of other trainers, which differ; what a method says of an episode does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spa_bench import credit, registry
from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.method import RewardMethod
from spa_bench.rollout.branching import branches
from spa_bench.runs.names import reward_label, reward_typed
from spa_bench.training.checked_method import CheckedMethod


class StepRewards:
    """A reward method by name, or as `path.py:Class`, with its options; every number that it gives is checked."""

    def __init__(self, reward: str = "sparse", *, seed: int = 0, **options: Any) -> None:
        """UserError for an unknown method or option, and for a method that plays episodes as trees."""
        self.method = registry.build("rewards", reward, **options)
        self.method.seed = seed
        self.label = reward_label(reward, options)
        """Name of the method with its options, as in tables."""
        self.checked = CheckedMethod(reward_typed(reward), self.method)
        self.fitted = type(self.method).fit is RewardMethod.fit
        if branches(self.method):
            raise UserError(
                f"reward {self.checked.name}: it tries several replies in one state, which no other trainer plays: "
                "use it with `spa-bench run`"
            )

    @property
    def sum_name(self) -> str:
        """What the sum of an episode's step rewards is called where a trainer takes one number for each episode."""
        return f"sum of step rewards: {self.label}"

    def fit(self, explored: Sequence[Trajectory], experts: Sequence[Trajectory] = ()) -> dict[str, float]:
        """Let the method learn from explored episodes, once, before it gives rewards; returns its figures.

        `experts` are successful demonstrations, which only some methods need (`method.uses_experts`).
        """
        if self.method.uses_experts and not experts:
            raise UserError(f"reward {self.checked.name}: it learns from demonstrations: give `experts`")
        figures = self.checked.fit([episode for episode in explored if episode.steps], experts)
        self.fitted = True
        return figures

    def __call__(self, trajectories: Sequence[Trajectory]) -> list[Floats]:
        """One number for each step, an array (T,) for each episode, in order; episodes of a task are one group.

        UserError where the method has not been fitted, MethodError where it fails or gives a wrong number.
        """
        if not self.fitted:
            raise UserError(f"reward {self.checked.name}: it learns from explored episodes first: call `fit`")
        self.checked.observe(trajectories)
        found: list[Floats] = [np.zeros(0)] * len(trajectories)
        for indices in credit.groups(trajectories):
            group = [trajectories[i] for i in indices]
            for i, rewards in zip(indices, self.checked.rewards(group), strict=True):
                found[i] = rewards
        return found

    def advantages(
        self, trajectories: Sequence[Trajectory], rewards: Sequence[Floats], gamma: float = 1.0
    ) -> list[Floats]:
        """The method's own advantages of turns, an array (T,) for each episode, without a critic and not normalised.

        For methods that would use a critic they are the returns from each turn on, discounted by `gamma` per turn.
        """
        found: list[Floats] = [np.zeros(0)] * len(trajectories)
        for indices in credit.groups(trajectories):
            group, priced = [trajectories[i] for i in indices], [rewards[i] for i in indices]
            values = [np.zeros(len(turns) + 1) for turns in priced]
            for i, (advantages, _) in zip(
                indices, self.checked.advantages(group, priced, values, gamma, 1.0), strict=True
            ):
                found[i] = advantages
        return found

    def normalised(self, trajectories: Sequence[Trajectory], advantages: Sequence[Floats]) -> list[Floats]:
        """Advantages of a whole batch as our trainer lets them into the loss (`credit.normalise`)."""
        return credit.normalise(trajectories, advantages, critic=self.method.uses_critic)
