"""The outcome against the task's mean, as in `grpo`, averaged over all episodes of the task that took the same step.

Paper: Li et al. 2025, arXiv 2510.20022 (SALT); no public code: re-implementation from description.
Equation: the episodes of a task make a graph, its nodes the states, its edges the steps (s_t, a_t, s_(t+1)); A_t = mean
  of A_i over the times that any episode i took this edge, with A_i = (R_i - mean R) / (std R + epsilon). So an edge
  that one episode alone took (divergent) keeps its A_i, and one that several took (shared) has their average.
Defaults: normalise on <- GRPO, on which the paper builds (and on RLOO: off, but for its factor of N / (N - 1)); epsilon
  1e-6 <- as in `grpo`; key observation <- ours, see Deviations.
Deviations: re-implementation from descriptions, which leave open what makes two steps the same: here state, action, and
  the state that follows. The paper's text could not be read beyond its abstract; other descriptions speak of shared and
  divergent steps and of averages, not of a state's text. The key is that of `gigpo`: the observation by default, also
  with past turns, as an anchor, or the world's own state, because one text can be many states. An action is what was
  parsed from the reply, not its words. An edge that one episode took twice counts twice. Where all outcomes agree, and
  for a group of one, all is 0. std is that of a sample (N - 1). The trainer scales the advantages of a batch to root
  mean square 1, as for every method without a critic. Where several characters act, each is compared with the same
  character of the other episodes; episodes that went wrong outside the agent's control are left out. No critic is used,
  and none is trained.
Conserves return: yes.
Needs: several episodes of each task, and steps that are taken by several of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._groups import Scaled, among_peers, mean, within
from spa_bench.state_keys import StateKey, keyed, needed


class SALT(Scaled):
    """Reads outcomes, never step rewards; `key` is what a state is, `normalise` as in `grpo`."""

    our_form = (
        "re-implementation from descriptions, which leave open what makes two steps the same: here state, action, and "
        "the state that follows"
    )

    @declared("reward salt")
    def __init__(
        self,
        *,
        normalise: Annotated[
            bool, Field(description="divide by the standard deviation of the group; SALT on GRPO: true")
        ] = True,
        epsilon: Annotated[float, Field(gt=0, description="added to the standard deviation; as in grpo: 1e-6")] = 1e-6,
        key: StateKey = "observation",
    ) -> None:
        self.normalise, self.epsilon, self.key, self.records = normalise, epsilon, key, needed(key)

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The mean, over the times that an edge was taken, of the advantages of the episodes that took it."""
        episodes = among_peers(group, self._relative)
        own = [np.full(t.played, a) for t, a in zip(group, episodes, strict=True)]
        return within([self._edges(t) for t in group], own, mean)

    def _edges(self, trajectory: Trajectory) -> list[tuple[int, str, int]]:
        """State, action, next state of each step from `branch` on; none of an episode with an error."""
        if trajectory.error is not None:
            return []
        met = keyed(trajectory, self.key)
        edges = [(now, step.action, then) for now, step, then in zip(met, trajectory.steps, met[1:], strict=False)]
        return edges[trajectory.branch :]
