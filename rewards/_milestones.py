"""Episodes in segments that end at milestones: what BEACON's two methods share. They differ in what a milestone is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.rewards._groups import Scaled, among_peers, within
from spa_bench.state_keys import place

Decay = Annotated[float, Field(gt=0, le=1, description="of a step's reward per step before its milestone")]
Normalise = Annotated[bool, Field(description="divide by the standard deviations; the scripts: false (mean_norm)")]
Epsilon = Annotated[float, Field(gt=0, description="added to the standard deviation; core_migpo.py: 1e-6")]


class Milestones(Scaled):
    """A = A^traj + weight * (r_t - mean r), r_t = gamma^(t_k - t) with t_k the milestone that step t's segment ends at.

    The mean is over the steps of the task that are in the same segment. A segment in which no milestone is reached, the
    last one of most failures, has r_t = 0.
    """

    conserves_return = False
    weight: float
    gamma: float
    normalise: bool
    epsilon: float

    @abstractmethod
    def segments(self, trajectory: Trajectory) -> list[Hashable]:
        """The segment of each step, (T,): what is alike for two steps is compared."""

    @abstractmethod
    def reached(self, trajectory: Trajectory) -> list[int]:
        """The steps at which milestones are reached, in order."""

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The weighted r_t, and the outcome on the last step."""
        return [self.weight * self.shaped(t) + r for t, r in zip(group, super().rewards(group), strict=True)]

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The outcome against those of the task, and r_t against those of the task's steps in the same segment."""
        outcomes = among_peers(group, self._relative)
        shaped = [self.shaped(t)[t.branch :] for t in group]
        places = [[] if t.error else [(place(t), s) for s in self.segments(t)[t.branch :]] for t in group]
        steps = within(places, shaped, self._relative)
        return [a + self.weight * s for a, s in zip(outcomes, steps, strict=True)]

    def shaped(self, trajectory: Trajectory) -> Floats:
        """r_t of each step, (T,)."""
        rewards, begin = np.zeros(len(trajectory)), 0
        for end in self.reached(trajectory):
            rewards[begin : end + 1] = self.gamma ** np.arange(end - begin, -1.0, -1.0)
            begin = end + 1
        return rewards


def best(trajectory: Trajectory) -> Floats:
    """The greatest progress before the first step and after each, (T + 1,)."""
    return np.maximum.accumulate([trajectory.start_progress, *(step.progress for step in trajectory.steps)])


def nearer(trajectory: Trajectory) -> list[int]:
    """The steps that came nearer to the goal, by the oracle's progress, than all before."""
    return [int(turn) for turn in np.flatnonzero(np.diff(best(trajectory)))]
